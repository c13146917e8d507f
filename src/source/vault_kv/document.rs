//! The token document: `token` alone is enough, and whatever else is there is checked. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::not_read::Reason;
use super::template::Values;
use crate::source::cluster::{Asking, Comparison, DocumentCluster};
use crate::source::field::Field;
use crate::token::{ASSUMED_LIFETIME, Bound, Claims, Limit, Minted, Timestamp};

/// A secret's fields by name.
pub(super) type Fields = BTreeMap<String, Field>;

/// When a document was written and read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    /// `created_time` of its version; KV version 1 knows none.
    pub(super) created_at: Option<Timestamp>,
    pub(super) read_at: Timestamp,
}

/// What a document says, checked against what was asked for.
pub(super) fn read(
    mut fields: Fields,
    field: &str,
    asked: Values<'_>,
    asking: &Asking,
    moments: Moments,
) -> Result<(Minted, DocumentCluster), Reason> {
    let secret = token(&mut fields, field)?;
    if let (Some(asked), Some(found)) = (asked.cluster, text(&fields, "cluster")?)
        && asked != found
    {
        return Err(Reason::OtherCluster { asked: asked.to_owned(), found: found.to_owned() });
    }
    if let (Some(asked), Some(found)) = (asked.team, text(&fields, "team")?)
        && asked != found
    {
        return Err(Reason::OtherTeam { asked: asked.to_owned(), found: found.to_owned() });
    }
    let cluster = DocumentCluster {
        server: text(&fields, "server")?.map(str::to_owned),
        certificate_authority_data: text(&fields, "certificateAuthorityData")?.map(str::to_owned),
    };
    check_cluster(&cluster, asking)?;
    let claims = Claims::read(secret.expose_secret().trim());
    let bounds = bounds(&fields, claims.as_ref(), moments)?;
    let subject = match (text(&fields, "namespace")?, text(&fields, "serviceAccount")?) {
        (Some(namespace), Some(account)) => Some(format!("system:serviceaccount:{namespace}:{account}")),
        _ => None,
    };
    // What the token itself says of its owner is nearer to what the API server will see.
    let subject = claims.and_then(|claims| claims.subject).or(subject);
    Ok((Minted { secret, bounds, subject, lease: None, warnings: Vec::new(), request_id: None }, cluster))
}

fn token(fields: &mut Fields, field: &str) -> Result<SecretString, Reason> {
    let unusable = |why: String| Reason::Field { field: field.to_owned(), why };
    match fields.remove(field) {
        Some(Field::Text(token)) if token.expose_secret().trim().is_empty() => {
            Err(unusable("it is empty".to_owned()))
        }
        Some(Field::Text(token)) => Ok(token),
        Some(other) => Err(unusable(format!("it {}", other.is_not("text")))),
        None => {
            Err(Reason::FieldMissing { field: field.to_owned(), present: fields.keys().cloned().collect() })
        }
    }
}

/// A field that must be text where it is there; an empty one is none.
fn text<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, Reason> {
    match fields.get(name) {
        None | Some(Field::Nothing) => Ok(None),
        Some(Field::Text(text)) => Ok(Some(text.expose_secret()).filter(|text| !text.is_empty())),
        Some(other) => Err(unusable(name, format!("it {}", other.is_not("text")))),
    }
}

fn unusable(field: &str, why: String) -> Reason {
    Reason::Field { field: field.to_owned(), why }
}

/// Security: a token never goes to another cluster than the one its document names.
fn check_cluster(cluster: &DocumentCluster, asking: &Asking) -> Result<(), Reason> {
    match cluster.compare(asking) {
        Comparison::Same | Comparison::Unknown => Ok(()),
        Comparison::OtherAuthority => Err(Reason::OtherAuthority),
        Comparison::OtherServer => Err(Reason::OtherServer {
            asked: asking.server.clone().unwrap_or_default(),
            found: cluster.server.clone().unwrap_or_default(),
        }),
    }
}

fn bounds(fields: &Fields, claims: Option<&Claims>, moments: Moments) -> Result<Vec<Bound>, Reason> {
    let Moments { created_at, read_at } = moments;
    let mut bounds = Vec::new();
    bounds.extend(claims.and_then(|claims| claims.expires_at).map(|at| Bound { by: Limit::Expiry, at }));
    bounds.extend(moment(fields, "expirationTimestamp")?.map(|at| Bound { by: Limit::Document, at }));
    let issued_at = moment(fields, "issuedAt")?;
    if let Some(lifetime) = lifetime(fields)? {
        // A rewritten document is younger than its token.
        let start = [issued_at, created_at].into_iter().flatten().min();
        if start.is_none() && bounds.is_empty() {
            // KV version 1 does not say when the `ttl` began, and nothing else ends this token.
            bounds.push(Bound { by: Limit::Assumed, at: read_at + ASSUMED_LIFETIME });
        }
        let at = start.unwrap_or(read_at).checked_add_signed(lifetime).unwrap_or(Timestamp::MAX_UTC);
        bounds.push(Bound { by: Limit::Document, at });
    }
    Ok(bounds)
}

fn moment(fields: &Fields, name: &str) -> Result<Option<Timestamp>, Reason> {
    text(fields, name)?
        .map(|text| {
            DateTime::parse_from_rfc3339(text.trim()).map(|moment| moment.with_timezone(&Utc)).map_err(|_| {
                unusable(name, "it is no RFC 3339 time such as `2030-01-31T12:00:00Z`".to_owned())
            })
        })
        .transpose()
}

/// `ttl`: seconds as a number or as text, or a duration.
fn lifetime(fields: &Fields) -> Result<Option<TimeDelta>, Reason> {
    let lifetime = match fields.get("ttl") {
        None | Some(Field::Nothing) => return Ok(None),
        Some(Field::Number(seconds)) => TimeDelta::try_seconds(*seconds),
        Some(Field::Text(text)) => duration(text.expose_secret()),
        Some(Field::Other(_)) => None,
    };
    match lifetime.filter(|lifetime| *lifetime >= TimeDelta::zero()) {
        Some(lifetime) => Ok(Some(lifetime)),
        None => Err(unusable("ttl", "it is neither seconds nor a duration such as `1h30m`".to_owned())),
    }
}

/// `1h30m0s` as Go writes it, or plain seconds.
pub(super) fn duration(text: &str) -> Option<TimeDelta> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(TimeDelta::seconds(i64::from(seconds)));
    }
    let mut total = TimeDelta::zero();
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, from) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let mut characters = from.chars();
        let unit = match characters.next()? {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let seconds = i64::from(digits.parse::<u32>().ok()?).checked_mul(unit)?;
        total = total.checked_add(&TimeDelta::try_seconds(seconds)?)?;
        rest = characters.as_str();
    }
    (!text.is_empty()).then_some(total)
}
