//! The Vault and OpenBao client: sessions, log-ins, and calls in their name.
//!
//! It sends a secret only to the address of its settings and where the redirect rule allows. It
//! never reads the environment (but for [`found_token`], which is handed one), prints, or keeps a
//! session itself.

mod answer;
mod auth;
mod call;
mod error;
mod exchange;
pub mod found_token;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod health;
pub mod path;
mod person;
mod redirect;
mod revoke;
pub mod session;
mod sessions;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;

pub use answer::Answer;
pub use call::{Call, Lookup, Operation};
pub use error::VaultError;
pub use found_token::{FoundIn, FoundToken};
pub use health::{ServerHealth, health};
pub use revoke::Revocation;

use crate::config::{Transport, VaultSettings};
use crate::error::printable;
use crate::identity::IdentityError;
use crate::token::Timestamp;
use exchange::Exchange;
use session::{Session, SessionKey, SessionStore};

/// The workload's own JWT.
pub trait JwtSource: Send + Sync {
    /// A JWT that is good now.
    fn jwt(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, IdentityError>> + Send + '_>>;
}

/// Until when the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until then, all requests together: for a process that ends. The time that a person takes
    /// to answer does not count.
    Until(Instant),
    /// So long for each request and its repetitions: for a process that stays.
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
    /// Takes lines that only a verbose caller shows; printable, never a secret.
    pub note: Arc<dyn Fn(&str) + Send + Sync>,
}

/// One Vault, one namespace, one way to log in.
pub struct Vault {
    parts: Parts,
    exchange: Exchange,
    /// The session of this process, so that it is not read for each call.
    current: Mutex<Option<Session>>,
    /// How many log-ins this process made.
    log_ins: AtomicUsize,
    /// How long a person took to answer, all in all.
    waited: Mutex<Duration>,
    /// One log-in at a time within this process; the store's lock is for the others.
    gate: tokio::sync::Mutex<()>,
}

impl Vault {
    /// A client; no file is read and nothing connected yet.
    ///
    /// # Errors
    /// [`VaultError::Cleartext`] for an address without TLS on another machine;
    /// [`VaultError::Http`] for a proxy that is none.
    pub fn new(parts: Parts) -> Result<Self, VaultError> {
        let mut settings = parts.settings.clone();
        // A session of the method `cert` may be bound to the certificate, so all calls present it.
        if let crate::config::AuthMethod::Cert { pair: Some(pair), .. } = &settings.auth {
            settings.tls.client_certificate = Some(pair.clone());
        }
        let exchange = Exchange::new(&settings, &parts.transport)?;
        Ok(Self {
            parts,
            exchange,
            current: Mutex::default(),
            log_ins: AtomicUsize::new(0),
            waited: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        })
    }

    /// The address, for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.exchange.origin
    }

    fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    fn note(&self, line: &str) {
        (self.parts.note)(&printable(line));
    }

    /// When the next request must be over.
    fn deadline(&self) -> Instant {
        match self.parts.patience {
            Patience::Until(end) => end + *held(&self.waited),
            Patience::Each(patience) => Instant::now() + patience,
        }
    }

    fn login_required(&self, why: impl Into<String>) -> VaultError {
        let method = self.parts.settings.auth.name();
        VaultError::LoginRequired { vault: self.origin().to_owned(), method, why: why.into() }
    }
}

impl std::fmt::Debug for Vault {
    /// Security: without the session.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Vault").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

/// What a lock guards; a thread that panicked while it held it left a whole value behind.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Security: a server's words, safe for a terminal.
fn printables(messages: Option<&[String]>) -> Vec<String> {
    messages.unwrap_or_default().iter().map(|message| printable(message)).collect()
}

#[cfg(test)]
mod tests;
