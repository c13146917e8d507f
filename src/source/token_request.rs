//! A service account's token, asked of a cluster: `POST …/serviceaccounts/<name>/token` (the
//! `TokenRequest` of `authentication.k8s.io/v1`) through a context of the person's own kubeconfig.
//!
//! With `boundObject: own` each token hangs on a Secret that was made for it and holds nothing: when it
//! is deleted the API server takes the token no more.

mod hub;
mod not_granted;
mod plugin;

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

pub use hub::{Hub, HubParts};
pub use not_granted::{NotGranted, Reason};

use super::field::SecretText;
use super::{SourceError, after};
use crate::config::TokenRequestSource;
use crate::error::Error;
use crate::http::{Method, Response};
use crate::token::{Bound, Claims, Lease, Limit, Minted, Timestamp};
use crate::vault::Revocation;
use hub::quoted;

/// What the API server gives where nothing is asked for.
const USUAL_LIFETIME: Duration = Duration::from_secs(3600);
/// The shortest that it gives.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(600);
/// The one lifetime that is not what it says: for pods the API server makes a year of it (the constant
/// `WarnOnlyBoundTokenExpirationPeriod` of `pkg/serviceaccount`).
const TRAP: u64 = 3607;
/// By which our Secrets are found.
const LABEL: &str = "app.kubernetes.io/managed-by";
const OURS: &str = "kubectl-vaulttoken";
/// Until when the Secret is of use.
const ENDS: &str = "vaulttoken.dev/ends";
/// How many Secrets whose tokens have ended are removed beside one that is made.
const MOST_SWEPT: usize = 20;

/// The account as it is now.
#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    uid: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Granted {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: SecretText,
    expiration_timestamp: Option<DateTime<chrono::Utc>>,
}

/// Asks for a token, once.
pub(super) async fn mint(
    hub: &Hub,
    settings: &TokenRequestSource,
    clock: fn() -> Timestamp,
) -> Result<Minted, Error> {
    let asked = settings.ttl.unwrap_or(USUAL_LIFETIME);
    if asked < SHORTEST_LIFETIME {
        return Err(hub.not_granted(settings, Reason::TooShort, None).into());
    }
    let mut warnings = Vec::new();
    let uid = account_uid(hub, settings, &mut warnings).await?;
    let asked_at = clock();
    let bound = if settings.bound_object {
        sweep(hub, settings, asked_at).await;
        Some(make_bound_object(hub, settings, uid.as_deref(), after(asked_at, asked.as_secs())).await?)
    } else {
        None
    };
    let outcome = request(hub, settings, asked, uid.as_deref(), bound.as_ref(), asked_at).await;
    match outcome {
        Ok(mut minted) => {
            warnings.append(&mut minted.warnings);
            Ok(Minted { warnings, ..minted })
        }
        Err(error) => {
            if let Some(bound) = &bound {
                // A Secret without a token is of no use; one that cannot be removed is swept later.
                let _ = delete(hub, &bound.path(&settings.namespace), &bound.uid).await;
            }
            Err(error)
        }
    }
}

/// The lifetime to ask for: never the one that means another.
fn seconds(asked: Duration) -> u64 {
    match asked.as_secs() {
        TRAP => TRAP - 1,
        seconds => seconds,
    }
}

async fn request(
    hub: &Hub,
    settings: &TokenRequestSource,
    asked: Duration,
    uid: Option<&str>,
    bound: Option<&BoundObject>,
    asked_at: Timestamp,
) -> Result<Minted, Error> {
    let mut spec = json!({ "expirationSeconds": seconds(asked), "audiences": settings.audiences });
    if let (Some(bound), Some(spec)) = (bound, spec.as_object_mut()) {
        let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": bound.name, "uid": bound.uid});
        spec.insert("boundObjectRef".to_owned(), reference);
    }
    let mut metadata = json!({ "name": settings.service_account });
    if let (Some(uid), Some(metadata)) = (uid, metadata.as_object_mut()) {
        // An account that was deleted and made again under the same name is another one.
        metadata.insert("uid".to_owned(), json!(uid));
    }
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": metadata, "spec": spec,
    });
    let path = format!("{}/token", account_path(settings));
    let response = hub.ask(Method::POST, &path, Some(&body)).await?;
    if response.status != 201 {
        return Err(refusal(hub, settings, &response, Step::Token).into());
    }
    let unusable = |why: &str| hub.not_granted(settings, Reason::Answer(why.to_owned()), None);
    // The parser's own words are left out: they could quote the token.
    let granted: Granted = serde_json::from_slice(&response.body)
        .map_err(|_| unusable("it has no `status.token` that is text"))?;
    let Status { token: SecretText(secret), expiration_timestamp } = granted.status;
    let claims = claims(&secret).ok_or_else(|| unusable("`status.token` is no JWT"))?;
    let mut warnings: Vec<String> = response.header("warning").and_then(warning).into_iter().collect();
    warnings.extend(shortened(seconds(asked), &claims, expiration_timestamp, asked_at));
    Ok(Minted {
        secret,
        // `exp` and `warnafter` of the token itself are looked at with every token.
        bounds: expiration_timestamp.map(|at| Bound { by: Limit::ExpiresIn, at }).into_iter().collect(),
        subject: Some(subject(settings)),
        lease: bound.map(|bound| Lease {
            id: format!("{} {}", bound.path(&settings.namespace), bound.uid),
            ends_token: Some(true),
        }),
        warnings,
        request_id: response.header("audit-id").map(str::to_owned),
    })
}

fn subject(settings: &TokenRequestSource) -> String {
    format!("system:serviceaccount:{}:{}", settings.namespace, settings.service_account)
}

fn claims(secret: &SecretString) -> Option<Claims> {
    use secrecy::ExposeSecret as _;
    Claims::read(secret.expose_secret())
}

/// The text of a `Warning` header: `299 - "text"` (RFC 7234 §5.5).
fn warning(header: &str) -> Option<String> {
    let (_, text) = header.split_once('"')?;
    Some(crate::error::printable(text.trim_end_matches('"')))
}

/// Our own warning where the token lives shorter than asked for: a server with
/// `--service-account-max-token-expiration` says so in a header only.
fn shortened(
    asked: u64,
    claims: &Claims,
    status_end: Option<Timestamp>,
    asked_at: Timestamp,
) -> Option<String> {
    let end = [claims.expires_at, claims.warn_after, status_end].into_iter().flatten().min()?;
    let granted = end.signed_duration_since(asked_at);
    let asked = TimeDelta::try_seconds(i64::try_from(asked).ok()?)?;
    (asked.checked_sub(&granted)? > TimeDelta::seconds(60))
        .then(|| format!("asked for {} s, got {} s", asked.num_seconds(), granted.num_seconds()))
}

/// The UID that the token is asked for: the settings' own, which must be the account's, or the
/// account's as it is now. Who may ask for tokens and not read the account gets one all the same.
async fn account_uid(
    hub: &Hub,
    settings: &TokenRequestSource,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, Error> {
    if let Some(uid) = &settings.uid {
        return Ok(Some(uid.clone()));
    }
    let response = hub.ask(Method::GET, &account_path(settings), None).await?;
    match response.status {
        200 => {
            let object: Object = serde_json::from_slice(&response.body).map_err(|_| {
                hub.not_granted(
                    settings,
                    Reason::Answer("the account has no `metadata.uid`".to_owned()),
                    None,
                )
            })?;
            Ok(Some(object.metadata.uid))
        }
        403 => {
            warnings
                .push(format!("the UID of `{}` may not be read, so none is asked for", subject(settings)));
            Ok(None)
        }
        _ => Err(refusal(hub, settings, &response, Step::Account).into()),
    }
}

/// What was being done when the API server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Account,
    Secret,
    Token,
}

fn refusal(hub: &Hub, settings: &TokenRequestSource, response: &Response, step: Step) -> SourceError {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Words {
        message: Option<String>,
    }
    let words: Words = serde_json::from_slice(&response.body).unwrap_or_default();
    let message = words.message.unwrap_or_default();
    let reason = Reason::of(response.status, &message, step);
    hub.not_granted(settings, reason, Some(message).filter(|message| !message.is_empty()))
}

fn account_path(settings: &TokenRequestSource) -> String {
    format!(
        "api/v1/namespaces/{}/serviceaccounts/{}",
        quoted(&settings.namespace),
        quoted(&settings.service_account)
    )
}

fn secrets_path(namespace: &str) -> String {
    format!("api/v1/namespaces/{}/secrets", quoted(namespace))
}

/// The Secret that one token hangs on.
struct BoundObject {
    name: String,
    uid: String,
}

impl BoundObject {
    fn path(&self, namespace: &str) -> String {
        format!("{}/{}", secrets_path(namespace), quoted(&self.name))
    }
}

async fn make_bound_object(
    hub: &Hub,
    settings: &TokenRequestSource,
    uid: Option<&str>,
    ends: Timestamp,
) -> Result<BoundObject, Error> {
    let account = &settings.service_account;
    // Whoever deletes the account deletes what was made for it.
    let owners: Vec<Value> = uid
        .map(|uid| json!({"apiVersion": "v1", "kind": "ServiceAccount", "name": account, "uid": uid}))
        .into_iter()
        .collect();
    let body = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
        "metadata": {
            "generateName": "vaulttoken-",
            "labels": {LABEL: OURS},
            "annotations": {
                "vaulttoken.dev/service-account": account,
                ENDS: ends.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            },
            "ownerReferences": owners,
        },
    });
    let response = hub.ask(Method::POST, &secrets_path(&settings.namespace), Some(&body)).await?;
    if response.status != 201 {
        return Err(refusal(hub, settings, &response, Step::Secret).into());
    }
    let object: Object = serde_json::from_slice(&response.body).map_err(|_| {
        hub.not_granted(settings, Reason::Answer("the Secret has no name and UID".to_owned()), None)
    })?;
    Ok(BoundObject { name: object.metadata.name, uid: object.metadata.uid })
}

/// Removes what hung on tokens that have ended. Best effort: who may not list them leaves them to the
/// account's end.
async fn sweep(hub: &Hub, settings: &TokenRequestSource, now: Timestamp) {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Object>,
    }
    let path = format!("{}?labelSelector={LABEL}%3D{OURS}&limit=200", secrets_path(&settings.namespace));
    let Ok(response) = hub.ask(Method::GET, &path, None).await else { return };
    let Ok(list) = serde_json::from_slice::<List>(&response.body) else { return };
    let has_ended = |object: &Object| {
        let ends = object.metadata.annotations.get(ENDS).and_then(|ends| ends.parse::<Timestamp>().ok());
        // Clocks differ, and the API server itself allows for a minute.
        ends.is_some_and(|ends| ends + TimeDelta::minutes(10) < now)
    };
    for object in list.items.into_iter().filter(has_ended).take(MOST_SWEPT) {
        let bound = BoundObject { name: object.metadata.name, uid: object.metadata.uid };
        if delete(hub, &bound.path(&settings.namespace), &bound.uid).await.is_err() {
            return;
        }
    }
}

/// Deletes the Secret that the token of this lease hangs on.
pub(super) async fn revoke(hub: &Hub, lease: &Lease) -> Result<Revocation, Error> {
    match lease.id.split_once(' ') {
        Some((path, uid)) => delete(hub, path, uid).await,
        None => Ok(Revocation::Nothing),
    }
}

async fn delete(hub: &Hub, path: &str, uid: &str) -> Result<Revocation, Error> {
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
    let response = hub.ask(Method::DELETE, path, Some(&body)).await?;
    Ok(match response.status {
        200..=299 => Revocation::Done,
        // Another one of the same name is not ours.
        404 | 409 => Revocation::Gone,
        401 | 403 => Revocation::NotAllowed,
        status => return Err(hub.refused(status, &response).into()),
    })
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]
mod tests;
