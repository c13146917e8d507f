//! What a call to Vault brings back.

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::exchange::Reply;
use super::session::Session;
use super::{VaultError, printables};

/// Vault's answer: status 200, 204 or 404.
pub struct Answer {
    /// 200, 204 or 404.
    pub status: u16,
    /// By which Vault's audit log knows the call.
    pub request_id: Option<String>,
    /// The lease.
    pub lease_id: Option<String>,
    /// In seconds.
    pub lease_duration: u64,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// What Vault wants known; printable.
    pub warnings: Vec<String>,
    /// The session that made the call: its end may end what it minted.
    pub session: Session,
    vault: String,
    path: String,
    messages: Vec<String>,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(super) fn new(reply: Reply, session: Session, vault: &str, path: &str) -> Self {
        let messages = reply.messages();
        let envelope = reply.envelope;
        Self {
            status: reply.status,
            request_id: envelope.request_id.filter(|id| !id.is_empty()),
            lease_id: envelope.lease_id.filter(|id| !id.is_empty()),
            lease_duration: envelope.lease_duration.unwrap_or(0),
            renewable: envelope.renewable.unwrap_or(false),
            warnings: printables(envelope.warnings.as_deref()),
            session,
            vault: vault.to_owned(),
            path: path.to_owned(),
            messages,
            body: reply.body,
        }
    }

    /// The answer's `data`.
    ///
    /// # Errors
    /// [`VaultError::Unusable`] where it is not of this shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, VaultError> {
        data(&self.body).map_err(|why| VaultError::Unusable {
            vault: self.vault.clone(),
            path: self.path.clone(),
            why,
        })
    }

    /// The server's `errors` (a 404 has them, or none); printable.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

impl std::fmt::Debug for Answer {
    /// Security: without the body.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("status", &self.status)
            .field("path", &self.path)
            .field("lease_id", &self.lease_id)
            .finish_non_exhaustive()
    }
}

/// The `data` of a body, or what is wrong with it.
pub(super) fn data<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Envelope<T> {
        data: T,
    }
    if body.is_empty() {
        return Err("it is empty".into());
    }
    // Security: only where the mistake is; the parser's words may quote a secret.
    serde_json::from_slice::<Envelope<T>>(body)
        .map(|envelope| envelope.data)
        .map_err(|error| format!("its `data` has another form than expected (column {})", error.column()))
}
