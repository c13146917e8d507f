//! A provider session: the tokens that a person's log-in at a provider gave, until when they live, and
//! where they are kept.
//!
//! It belongs to one issuer, one client and one set of scopes; its key names them all, so that it is
//! never sent anywhere else. Keeping it is the caller's business.

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::id_token::Believed;
use super::token_endpoint::TokenAnswer;
use crate::config::ProviderToken;
use crate::token::{ASSUMED_LIFETIME, Timestamp, after, refresh_after};
use crate::vault::session::SessionKey;

/// A log-in at a provider that is still worth something.
#[derive(Debug, Clone)]
pub struct ProviderSession {
    /// The access token; none where the provider gave none.
    pub access_token: Option<SecretString>,
    /// Its end, where the provider told it.
    pub access_expires_at: Option<Timestamp>,
    /// The ID token, checked when it came.
    pub id_token: Option<SecretString>,
    /// Its end.
    pub id_expires_at: Option<Timestamp>,
    /// What the next tokens are had with. It may be good only once.
    pub refresh_token: Option<SecretString>,
    /// When these tokens were asked for.
    pub obtained_at: Timestamp,
    /// `sub`, where there was an ID token.
    pub subject: Option<String>,
    /// A name by which a person is recognised.
    pub name: Option<String>,
    /// Whether a refresh brings an ID token; so it is until one came without.
    pub refreshes_id_token: bool,
}

/// How much of a token is left that is to be good for a while.
const ENOUGH: TimeDelta = TimeDelta::seconds(10);

impl ProviderSession {
    /// One that holds nothing yet.
    pub(super) fn empty(obtained_at: Timestamp) -> Self {
        Self {
            access_token: None,
            access_expires_at: None,
            id_token: None,
            id_expires_at: None,
            refresh_token: None,
            obtained_at,
            subject: None,
            name: None,
            refreshes_id_token: true,
        }
    }

    /// One of its tokens.
    #[must_use]
    pub fn token(&self, kind: ProviderToken) -> Option<&SecretString> {
        match kind {
            ProviderToken::Id => self.id_token.as_ref(),
            ProviderToken::Access => self.access_token.as_ref(),
        }
    }

    /// When that token ends; what nobody tells is assumed.
    #[must_use]
    pub fn token_end(&self, kind: ProviderToken) -> Timestamp {
        let told = match kind {
            ProviderToken::Id => self.id_expires_at,
            ProviderToken::Access => self.access_expires_at,
        };
        told.unwrap_or(self.obtained_at + ASSUMED_LIFETIME)
    }

    /// Whether that token can be handed out at all.
    #[must_use]
    pub fn is_usable(&self, kind: ProviderToken, now: Timestamp) -> bool {
        self.token(kind).is_some() && now + ENOUGH < self.token_end(kind) && self.obtained_at <= now + ENOUGH
    }

    /// Whether it needs no refresh yet.
    #[must_use]
    pub fn is_fresh(&self, kind: ProviderToken, now: Timestamp) -> bool {
        self.is_usable(kind, now) && now < refresh_after(self.obtained_at, self.token_end(kind))
    }

    /// Whether it ends by itself, and when; none where it can be refreshed, which nobody tells the
    /// end of.
    #[must_use]
    pub fn ends_at(&self, kind: ProviderToken) -> Option<Timestamp> {
        let is_refreshed =
            self.refresh_token.is_some() && (kind == ProviderToken::Access || self.refreshes_id_token);
        if is_refreshed { None } else { Some(self.token_end(kind)) }
    }

    /// Takes the tokens of an answer, the ID token only if it is believed.
    pub(super) fn take_over(&mut self, answer: TokenAnswer, believed: Option<Believed>, asked_at: Timestamp) {
        self.refreshes_id_token = answer.id_token.is_some();
        if let Some(believed) = believed {
            self.id_token = answer.id_token;
            self.id_expires_at = Some(believed.expires_at);
            self.subject = Some(believed.subject);
            self.name = believed.name.or(self.name.take());
        }
        self.access_expires_at = answer.expires_in.map(|seconds| after(asked_at, seconds));
        self.access_token = answer.access_token;
        if answer.refresh_token.is_some() {
            self.refresh_token = answer.refresh_token;
        }
        self.obtained_at = asked_at;
    }

    /// Whether both would be renewed with the same token.
    #[must_use]
    pub fn has_same_refresh_token(&self, other: &Self) -> bool {
        match (&self.refresh_token, &other.refresh_token) {
            (Some(one), Some(other)) => one.expose_secret() == other.expose_secret(),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Who is logged in, in a person's words.
    #[must_use]
    pub fn who(&self) -> Option<&str> {
        self.name.as_deref().or(self.subject.as_deref())
    }
}

/// The turn to spend a refresh token.
pub enum Turn {
    /// It is ours until this is dropped.
    Ours(Box<dyn Send>),
    /// Another process has it, and did not come to an end in time.
    Busy,
    /// Nothing is kept here, or locks do not work here: nobody shares this session.
    Alone,
}

/// Where provider sessions are kept between two calls.
pub trait ProviderSessionStore: Send + Sync {
    /// The session under this key, if one is kept and can be read.
    fn load(&self, key: &SessionKey) -> Option<ProviderSession>;
    /// Keeps a session, so that it is there after a crash too.
    ///
    /// # Errors
    /// Why not. A refresh token that was good once may then be lost.
    fn save(&self, key: &SessionKey, session: &ProviderSession) -> Result<(), String>;
    /// Forgets it.
    fn remove(&self, key: &SessionKey);
    /// Takes the turn of this key, waiting for it.
    fn turn(&self, key: &SessionKey) -> Turn;
}
