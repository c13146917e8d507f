//! How a Vault is, without a session: for `doctor`. Nothing secret is sent.

use std::time::Instant;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::VaultError;
use super::exchange::{Ask, Exchange};
use crate::config::{Transport, VaultSettings};
use crate::token::Timestamp;

/// What `sys/health` says (<https://openbao.org/api-docs/system/health/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// Its clock.
    pub date: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    initialized: Option<bool>,
    sealed: Option<bool>,
}

/// Asks a Vault how it is. A standby is well: it leads to the active node.
///
/// # Errors
/// No answer, none of a Vault, or that of one that is sealed or not initialised.
pub async fn health(
    settings: &VaultSettings,
    transport: &Transport,
    deadline: Instant,
) -> Result<ServerHealth, VaultError> {
    const PATH: &str = "sys/health";
    // It is asked of the server, not of a namespace in it.
    let settings = VaultSettings { namespace: None, ..settings.clone() };
    let exchange = Exchange::new(&settings, transport)?;
    let mut ask = Ask::get(PATH, None, deadline);
    ask.query = Some(Zeroizing::new("standbyok=true&perfstandbyok=true".to_owned()));
    let response = exchange.once(ask).await?;
    let vault = || exchange.origin.clone();
    let wire: Option<Wire> = serde_json::from_slice(&response.body).ok();
    match wire {
        Some(Wire { initialized: Some(true), sealed: Some(false) }) => {
            Ok(ServerHealth { date: response.date })
        }
        Some(Wire { initialized: Some(_), sealed: Some(_) }) => Err(VaultError::Sealed { vault: vault() }),
        _ if response.status >= 500 => {
            Err(VaultError::Unavailable { vault: vault(), status: response.status, messages: Vec::new() })
        }
        // Security: of a body that is not Vault's nothing is shown.
        _ => Err(exchange.unusable(PATH, format!("status {} is not that of a Vault", response.status))),
    }
}
