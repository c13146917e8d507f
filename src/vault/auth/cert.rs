//! `cert`: the client certificate of the connection is the log-in.

use serde::Serialize;

use super::{Door, Granted, LogIn};
use crate::vault::VaultError;

#[derive(Serialize)]
struct Body<'a> {
    /// The certificate role; the server tries all without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Logs in with the client certificate that all connections to this Vault present.
pub(super) async fn log_in(
    cx: &LogIn<'_>,
    mount: &str,
    role: Option<&str>,
    has_pair: bool,
) -> Result<Granted, VaultError> {
    if !has_pair && cx.vault.parts.settings.tls.client_certificate.is_none() {
        return Err(VaultError::Settings {
            what: "the method `cert`".into(),
            why: "there is no client certificate".into(),
            hint: Some("set `certificate` and `key`, or `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`".into()),
        });
    }
    let door = Door { method: "cert", mount, path: &["login"], who: role };
    cx.knock(&door, &Body { name: role }).await
}
