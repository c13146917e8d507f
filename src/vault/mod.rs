//! The Vault and OpenBao client: sessions, log-ins, and calls in their name.
//!
//! It sends a secret only to the address of its settings and where the redirect rule allows. It
//! never reads the environment, prints, or keeps a session itself.

mod error;
pub mod path;
pub mod session;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use error::VaultError;

use crate::config::{Transport, VaultSettings};
use crate::identity::IdentityError;
use crate::token::Timestamp;
use session::{Session, SessionKey, SessionStore};

/// The workload's own JWT.
pub trait JwtSource: Send + Sync {
    /// A JWT that is good now.
    fn jwt(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, IdentityError>> + Send + '_>>;
}

/// The person at the terminal.
pub trait Person: Send + Sync {
    /// Asks for something that may be seen while it is typed.
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer>;
    /// Asks for something that may not.
    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer>;
    /// Tells something that is worth knowing while waiting.
    fn tell(&self, line: &str);
}

/// Why a person did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is no person: no terminal, or the client said so.
    Nobody,
    /// Ctrl-C or end of input.
    Interrupted,
    /// The terminal failed, in the words of the system.
    Failed(String),
}

/// A token that was found lying, and where.
#[derive(Debug, Clone)]
pub struct FoundToken {
    /// The token.
    pub token: SecretString,
    /// Where it was.
    pub from: FoundIn,
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundIn {
    /// This variable.
    Environment(&'static str),
    /// This external token helper.
    Helper(std::path::PathBuf),
    /// This file.
    File(std::path::PathBuf),
}

/// Until when the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until then, all calls together: for a process that ends. The time that a person takes to
    /// answer does not count.
    Until(Instant),
    /// So long for each call: for a process that stays.
    Each(Duration),
}

/// What a [`Vault`] is made of.
pub struct Parts {
    /// Where it is and how to log in.
    pub settings: VaultSettings,
    /// What the environment says about the network.
    pub transport: Transport,
    /// Where sessions are kept.
    pub sessions: Arc<dyn SessionStore>,
    /// What ours is kept under.
    pub session_key: SessionKey,
    /// The workload's JWT, for `kubernetes` and `jwt`.
    pub workload: Option<Arc<dyn JwtSource>>,
    /// The token for the method `token`.
    pub found_token: Option<FoundToken>,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// Until when.
    pub patience: Patience,
    /// Takes lines that only a verbose caller shows; never a secret.
    pub note: Arc<dyn Fn(&str) + Send + Sync>,
}

/// One Vault, one namespace, one way to log in.
pub struct Vault {
    parts: Parts,
    origin: String,
}

/// What a call does; each is one capability of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET.
    Read,
    /// POST.
    Write,
    /// GET with `list=true`.
    List,
    /// DELETE.
    Delete,
}

/// A call in the name of the session.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// What it does.
    pub operation: Operation,
    /// The path below `/v1/`, percent-encoded by [`path::join`].
    pub path: &'a str,
    /// The JSON body of a write.
    pub body: Option<serde_json::Value>,
    /// Whether calling twice does no harm. A mint is not repeatable.
    pub repeatable: bool,
}

impl<'a> Call<'a> {
    /// Reads.
    #[must_use]
    pub fn read(path: &'a str) -> Self {
        Self { operation: Operation::Read, path, body: None, repeatable: true }
    }

    /// Writes; not repeatable.
    #[must_use]
    pub fn write(path: &'a str, body: serde_json::Value) -> Self {
        Self { operation: Operation::Write, path, body: Some(body), repeatable: false }
    }
}

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
    /// The session that made the call.
    pub session: Session,
    origin: String,
    path: String,
    messages: Vec<String>,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The answer's `data`.
    ///
    /// # Errors
    /// [`VaultError::Unusable`] where it is not of this shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, VaultError> {
        #[derive(serde::Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        serde_json::from_slice::<Envelope<T>>(&self.body).map(|envelope| envelope.data).map_err(|error| {
            // Security: only the place and kind of the mistake; the text round it may be a secret.
            VaultError::Unusable {
                vault: self.origin.clone(),
                path: self.path.clone(),
                why: format!(
                    "{:?} error at line {}, column {}",
                    error.classify(),
                    error.line(),
                    error.column()
                ),
            }
        })
    }

    /// The server's `errors` (a 404 has them, or none); printable.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

/// What became of something that was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked.
    Done,
    /// No policy of ours allows it.
    NotAllowed,
    /// It was gone already.
    Gone,
    /// There was nothing of ours.
    Nothing,
}

/// What `auth/token/lookup-self` says about the session.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Lookup {
    /// `display_name`.
    #[serde(default)]
    pub display_name: Option<String>,
    /// When it ends; none for a root token.
    #[serde(default)]
    pub expire_time: Option<Timestamp>,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Its policies.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Its accessor.
    #[serde(default)]
    pub accessor: Option<String>,
    /// `service` or `batch`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Its entity; empty for a root token.
    #[serde(default)]
    pub entity_id: Option<String>,
}

impl Vault {
    /// A client; nothing is connected yet.
    pub fn new(parts: Parts) -> Result<Self, VaultError> {
        let origin = format!("{:?}", parts.settings.address);
        Ok(Self { parts, origin })
    }

    /// The address, for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    fn unfinished(&self) -> VaultError {
        VaultError::Path { part: format!("{:?}", self.parts.settings.name) }
    }

    /// The session that calls are made with: the kept one (renewed when due), else an unattended log-in.
    pub async fn session(&self) -> Result<Session, VaultError> {
        std::future::ready(Err(self.unfinished())).await
    }

    /// Logs in anew, and keeps the session.
    pub async fn login(&self, _person: &dyn Person) -> Result<Session, VaultError> {
        std::future::ready(Err(self.unfinished())).await
    }

    /// Calls. A dead session is dropped and an unattended log-in tried once.
    pub async fn call(&self, _call: Call<'_>) -> Result<Answer, VaultError> {
        std::future::ready(Err(self.unfinished())).await
    }

    /// Who the session is.
    pub async fn lookup(&self) -> Result<Lookup, VaultError> {
        std::future::ready(Err(self.unfinished())).await
    }

    /// Revokes the kept session, if it is ours, and forgets it.
    pub async fn revoke_session(&self) -> Result<Revocation, VaultError> {
        std::future::ready(Err(self.unfinished())).await
    }

    /// Revokes a lease, and waits until it is done.
    pub async fn revoke_lease(&self, _lease_id: &str) -> Result<Revocation, VaultError> {
        std::future::ready(Err(self.unfinished())).await
    }
}
