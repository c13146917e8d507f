//! A Vault session: the token that a log-in gave, how long it lives, and where it is kept.
//!
//! The session belongs to one origin, one namespace, one method and one identity; [`SessionKey`]
//! names them all, so that it cannot be sent anywhere else. Keeping it is the caller's business.

use secrecy::SecretString;

use crate::token::Timestamp;

/// What a session is kept under: a digest of origin, namespace, method and identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey(pub String);

/// A log-in that is still good.
#[derive(Debug, Clone)]
pub struct Session {
    /// `client_token`.
    pub token: SecretString,
    /// Its accessor, by which Vault's audit log and an operator know it.
    pub accessor: Option<String>,
    /// The method that gave it.
    pub method: String,
    /// When we got it.
    pub obtained_at: Timestamp,
    /// When it ends; none for a root token.
    pub expires_at: Option<Timestamp>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Who Vault says we are: display name or alias, where it told.
    pub subject: Option<String>,
    /// Whether we logged in, or found the token lying (environment, token helper, `~/.vault-token`).
    /// Only what is ours is kept, renewed and revoked.
    pub ours: bool,
}

/// Where sessions are kept between two calls.
pub trait SessionStore: Send + Sync {
    /// The session under this key, if one is kept and can be read.
    fn load(&self, key: &SessionKey) -> Option<Session>;
    /// Keeps a session. What cannot be kept is not an error: the next call logs in again.
    fn save(&self, key: &SessionKey, session: &Session);
    /// Forgets it.
    fn remove(&self, key: &SessionKey);
    /// Takes the lock of this key if nobody has it. `None`: somebody has it, or only
    /// [`lock`](Self::lock) can say.
    fn lock_at_once(&self, _: &SessionKey) -> Option<Box<dyn Send>> {
        None
    }
    /// Takes the lock of this key, so that a hundred processes log in once. `None`: no lock could
    /// be had in time, or locks do not work here; go on without.
    fn lock(&self, key: &SessionKey) -> Option<Box<dyn Send>>;
}
