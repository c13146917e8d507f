//! Tokens of the Kubernetes secrets engine: `POST <mount>/creds/<role>`.
//!
//! An engine's role either names an existing service account, whose token lives until its own `exp`
//! whatever happens to the lease, or generates one, which is deleted with its lease, and the lease
//! ends with the session that asked for it. The answer does not say which, so the role is read
//! where it makes a difference, and the shorter life assumed where it may not be read.

mod refused;

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

pub use refused::{Reason, Refused};

use super::ask::{Ask, Ignored, Reply};
use super::field::Field;
use super::{SourceError, after, words};
use crate::config::VaultKubernetes;
use crate::error::Error;
use crate::token::{Bound, Claims, Lease, Limit, Minted, Timestamp};
use crate::vault::session::Session;
use crate::vault::{Call, Lookup, VaultError, path};

/// Asks the engine for a token, once: every call makes a lease, and perhaps a service account.
pub(super) async fn mint<V: Ask>(
    vault: &V,
    settings: &VaultKubernetes,
    clock: fn() -> Timestamp,
) -> Result<Minted, Error> {
    let path = path::join(&[&settings.mount, "creds", &settings.role])?;
    // Before the call, so that what counts from the server's answer never ends later than we think.
    let asked_at = clock();
    let reply = match vault.ask::<Credential>(Call::write(&path, body(settings))).await {
        Ok(reply) => reply,
        Err(VaultError::Rejected { messages, .. }) => {
            return Err(refusal(vault, settings, &messages).into());
        }
        Err(error) => return Err(error.into()),
    };
    if reply.status == 404 {
        return Err(if reply.is_without_mount() {
            SourceError::NoMount { vault: vault.origin().to_owned(), mount: settings.mount.clone() }.into()
        } else {
            refusal(vault, settings, &reply.messages).into()
        });
    }
    let Reply { data, lease_id, lease_duration, mut warnings, request_id, session, .. } = reply;
    let credential = Account::read(data, settings).map_err(|why| SourceError::Answer {
        vault: vault.origin().to_owned(),
        path: path.clone(),
        why,
    })?;
    let claims = Claims::read(credential.token.expose_secret()).unwrap_or_default();
    warnings.extend(shortened(settings.ttl, &claims, asked_at, lease_duration));

    let mut ends = Ends {
        token: claims.expires_at,
        // An answer without a lease is ended by none.
        lease: lease_id.as_ref().map(|_| after(asked_at, lease_duration)),
        session: session.expires_at,
    };
    let mut kind = None;
    if ends.matter() {
        kind = read_kind(vault, settings).await;
        if kind == Some(Kind::Generated)
            && ends.session_is_short()
            && session.ours
            && session.renewable
            && let Some(end) = longer_session(vault, &session, &ends, asked_at).await
        {
            ends.session = end;
        }
    }
    // What the name tells costs nothing, and `logout` can then say what became of the token.
    let kind = kind.or_else(|| is_named_by_the_engine(&credential.subject).then_some(Kind::Generated));
    // Of no use to anybody: a client is told a little less than what is left.
    let soonest = clock() + SHORTEST_USE;
    if kind == Some(Kind::Generated) && ends.session.is_some_and(|end| end <= soonest) {
        return Err(session_was_over(vault, &session).into());
    }
    Ok(Minted {
        secret: credential.token,
        bounds: ends.bounds(kind),
        subject: Some(credential.subject),
        lease: lease_id.map(|id| Lease { id, ends_token: kind.map(|kind| kind == Kind::Generated) }),
        warnings,
        request_id,
    })
}

/// What a token must have left to be handed out.
const SHORTEST_USE: TimeDelta = TimeDelta::seconds(2);

/// The account is deleted with the session that it was made in: the token is no more at fault than
/// anybody's clock.
fn session_was_over<V: Ask>(vault: &V, session: &Session) -> VaultError {
    VaultError::LoginRequired {
        vault: vault.origin().to_owned(),
        method: if session.ours { "session" } else { "token" },
        why: "the session ended while the token was made, and took it along".to_owned(),
    }
}

fn body(settings: &VaultKubernetes) -> serde_json::Value {
    let mut body = serde_json::Map::new();
    if let Some(namespace) = &settings.namespace {
        body.insert("kubernetes_namespace".to_owned(), json!(namespace));
    }
    if let Some(ttl) = settings.ttl {
        body.insert("ttl".to_owned(), json!(format!("{}s", ttl.as_secs())));
    }
    if !settings.audiences.is_empty() {
        body.insert("audiences".to_owned(), json!(settings.audiences));
    }
    if settings.cluster_role_binding {
        body.insert("cluster_role_binding".to_owned(), json!(true));
    }
    serde_json::Value::Object(body)
}

fn refusal<V: Ask>(vault: &V, settings: &VaultKubernetes, messages: &[String]) -> SourceError {
    SourceError::Kubernetes(Box::new(Refused {
        vault: vault.origin().to_owned(),
        mount: settings.mount.clone(),
        role: settings.role.clone(),
        namespace: settings.namespace.clone(),
        reason: Reason::of(messages),
        words: words(messages),
    }))
}

/// `data` of the answer.
#[derive(Deserialize)]
struct Credential {
    #[serde(default, rename = "service_account_name")]
    name: Field,
    #[serde(default, rename = "service_account_namespace")]
    namespace: Field,
    #[serde(default, rename = "service_account_token")]
    token: Field,
}

/// The token and whose it is.
struct Account {
    token: secrecy::SecretString,
    subject: String,
}

impl Account {
    fn read(data: Option<Credential>, settings: &VaultKubernetes) -> Result<Self, String> {
        let data = data.ok_or("it has no `data`")?;
        let text = |name: &str, field: &Field| match field.text() {
            Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
            Some(_) => Err(format!("`{name}` is empty")),
            None => Err(format!("`{name}` {}", field.is_not("text"))),
        };
        let name = text("service_account_name", &data.name)?;
        let namespace = text("service_account_namespace", &data.namespace)?;
        let token = match data.token {
            Field::Text(token) if !token.expose_secret().trim().is_empty() => token,
            Field::Text(_) => return Err("`service_account_token` is empty".to_owned()),
            other => return Err(format!("`service_account_token` {}", other.is_not("text"))),
        };
        if let Some(asked) = &settings.namespace
            && *asked != namespace
        {
            return Err(format!(
                "it holds a token for namespace `{namespace}`, asked for was one for `{asked}`"
            ));
        }
        Ok(Self { token, subject: format!("system:serviceaccount:{namespace}:{name}") })
    }
}

/// What a role makes tokens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An existing service account.
    Existing,
    /// A service account of its own, deleted with the lease.
    Generated,
}

/// What may end the token.
#[derive(Debug, Clone, Copy)]
struct Ends {
    /// `exp`.
    token: Option<Timestamp>,
    lease: Option<Timestamp>,
    /// None for a root token.
    session: Option<Timestamp>,
}

/// The clocks of Vault, the API server and ours are not one: ends that lie so close are the same.
const SAME: TimeDelta = TimeDelta::seconds(60);

impl Ends {
    /// Whether it makes a difference what kind of role this is.
    fn matter(&self) -> bool {
        self.is_short(self.lease) || self.session_is_short()
    }

    fn session_is_short(&self) -> bool {
        self.is_short(self.session)
    }

    fn is_short(&self, end: Option<Timestamp>) -> bool {
        match (end, self.token) {
            (Some(end), Some(token)) => token.signed_duration_since(end) > SAME,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn bounds(&self, kind: Option<Kind>) -> Vec<Bound> {
        let mut bounds = Vec::with_capacity(3);
        bounds.extend(self.token.map(|at| Bound { by: Limit::Expiry, at }));
        if kind != Some(Kind::Existing) {
            bounds.extend(self.lease.map(|at| Bound { by: Limit::Lease, at }));
            bounds.extend(self.session.map(|at| Bound { by: Limit::Session, at }));
        }
        bounds
    }
}

/// Whether the account has a name as the engine's default template makes them:
/// `v-<who>-<role>-<unix time>-<24 random characters>`. An account that a person named so would only
/// be handed out for a shorter time.
fn is_named_by_the_engine(subject: &str) -> bool {
    let name = subject.rsplit(':').next().unwrap_or_default();
    let mut parts = name.rsplit('-');
    let (random, time) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    name.starts_with("v-")
        && random.len() == 24
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && time.len() >= 10
        && time.bytes().all(|byte| byte.is_ascii_digit())
}

/// The role's kind; `None` where it cannot be read, which is no reason to lose a good token.
async fn read_kind<V: Ask>(vault: &V, settings: &VaultKubernetes) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Role {
        #[serde(default)]
        service_account_name: Field,
        #[serde(default)]
        kubernetes_role_name: Field,
        #[serde(default)]
        generated_role_rules: Field,
    }
    let path = path::join(&[&settings.mount, "roles", &settings.role]).ok()?;
    let role = vault.ask::<Role>(Call::read(&path)).await.ok()?.data?;
    let is_set = |field: &Field| field.text().is_some_and(|text| !text.is_empty());
    if is_set(&role.service_account_name) {
        Some(Kind::Existing)
    } else if is_set(&role.kubernetes_role_name) || is_set(&role.generated_role_rules) {
        Some(Kind::Generated)
    } else {
        None
    }
}

/// Renews the session as far as the token goes, and asks the server how far it went; `None` where
/// it would not, and the old end stands.
async fn longer_session<V: Ask>(
    vault: &V,
    minted_by: &Session,
    ends: &Ends,
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    let goal = [ends.token, ends.lease].into_iter().flatten().min()?;
    let increment = goal.signed_duration_since(now).num_seconds().max(0);
    let body = json!({ "increment": format!("{increment}s") });
    vault.ask::<Option<Ignored>>(Call::write("auth/token/renew-self", body)).await.ok()?;
    let reply = vault.ask::<Lookup>(Call::read("auth/token/lookup-self")).await.ok()?;
    // A session that died meanwhile was replaced, and its lease went with it: the new one's end
    // tells nothing about this token.
    let is_same =
        reply.session.obtained_at == minted_by.obtained_at && reply.session.accessor == minted_by.accessor;
    reply.data.filter(|_| is_same).map(|lookup| lookup.expire_time)
}

/// Our own warning where the token lives shorter than asked for.
fn shortened(
    asked: Option<Duration>,
    claims: &Claims,
    asked_at: Timestamp,
    lease_duration: u64,
) -> Option<String> {
    let asked = TimeDelta::from_std(asked?).ok()?;
    let granted = match (claims.expires_at, claims.issued_at) {
        (Some(end), Some(start)) => end.signed_duration_since(start),
        (Some(end), None) => end.signed_duration_since(asked_at),
        (None, _) => TimeDelta::try_seconds(i64::try_from(lease_duration).ok()?)?,
    };
    (asked.checked_sub(&granted)? > SAME)
        .then(|| format!("asked for {}, got {}", in_words(asked), in_words(granted)))
}

/// `1h30m`, as the settings write it.
fn in_words(lifetime: TimeDelta) -> String {
    let seconds = lifetime.num_seconds().max(0);
    let parts = [(seconds / 3600, 'h'), (seconds % 3600 / 60, 'm'), (seconds % 60, 's')];
    let text: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.concat() }
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]
mod tests;
