//! `jwt` and `kubernetes`: a workload's own JWT (or a person's ID token) and a role.

use serde::Serialize;

use super::{Door, Exposed, Granted, LogIn};
use crate::vault::VaultError;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    jwt: Exposed<'a>,
}

/// Logs in with the JWT of the workload, made or read for this log-in.
pub(super) async fn log_in(
    cx: &LogIn<'_>,
    method: &'static str,
    mount: &str,
    role: Option<&str>,
) -> Result<Granted, VaultError> {
    let Some(workload) = &cx.vault.parts.workload else {
        return Err(VaultError::Settings {
            what: format!("the method `{method}`"),
            why: "no identity gives the JWT that it needs".into(),
            hint: Some("name an `identity` in `auth` of this vault".into()),
        });
    };
    let jwt = workload.jwt().await?;
    let door = Door { method, mount, path: &["login"], who: None };
    cx.knock(&door, &Body { role, jwt: Exposed(&jwt) }).await
}
