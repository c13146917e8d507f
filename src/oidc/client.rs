//! The client of one provider: the tokens of its kept session, refreshed in time and by one process at
//! a time. How a person logs in is in [`super::log_in`], how they log out in [`super::log_out`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use url::Url;

use super::id_token::{Believed, Expected, Signed};
use super::jwks::Jwks;
use super::metadata::Metadata;
use super::session::{ProviderSession, ProviderSessionStore, Turn};
use super::token_endpoint::{ClientAuthentication, Form, TokenAnswer, TokenEndpoint};
use super::{OidcError, client_secret, provider};
use crate::config::{Provider, ProviderKind, ProviderToken, Transport};
use crate::error::printable;
use crate::http;
use crate::network;
use crate::token::Timestamp;
use crate::vault::Patience;
use crate::vault::session::SessionKey;

/// What a [`Client`] is made of.
pub struct Parts {
    /// The provider, as the settings name it.
    pub settings: Provider,
    /// What the environment says about the network.
    pub transport: Transport,
    /// Where sessions are kept.
    pub sessions: Arc<dyn ProviderSessionStore>,
    /// What ours is kept under.
    pub session_key: SessionKey,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// Until when the network may be used.
    pub patience: Patience,
    /// Takes lines that only a verbose caller shows; printable, never a secret.
    pub note: Arc<dyn Fn(&str) + Send + Sync>,
}

/// Which tokens will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Those of the kept session while they are not due.
    Usual,
    /// Only those that were had since then, because others were refused or a person said so.
    Since(Timestamp),
}

/// One provider, one client, one session.
pub struct Client {
    pub(super) parts: Parts,
    pub(super) http: http::Client,
    metadata: tokio::sync::OnceCell<Metadata>,
    /// What could not be kept elsewhere, and so is kept here.
    current: Mutex<Option<ProviderSession>>,
    /// How long a person took, all in all.
    waited: Mutex<Duration>,
    /// How long a second is; less in tests.
    pub(super) second: Duration,
    /// One refresh at a time within this process; the store's turn is for the others.
    gate: tokio::sync::Mutex<()>,
}

/// A turn that is held.
pub(super) type Held<'a> = (tokio::sync::MutexGuard<'a, ()>, Option<Box<dyn Send>>);

impl Client {
    /// A client; no file is read and nothing connected yet.
    ///
    /// # Errors
    /// A proxy that is none.
    pub fn new(parts: Parts) -> Result<Self, OidcError> {
        let http = provider::http(&parts.settings, &parts.transport)?;
        Ok(Self {
            parts,
            http,
            metadata: tokio::sync::OnceCell::new(),
            current: Mutex::default(),
            waited: Mutex::default(),
            second: Duration::from_secs(1),
            gate: tokio::sync::Mutex::default(),
        })
    }

    /// The issuer, for messages.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.parts.settings.issuer.as_str()
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Provider {
        &self.parts.settings
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    pub(super) fn note(&self, line: &str) {
        (self.parts.note)(&printable(line));
    }

    /// When the next request must be over.
    pub(super) fn deadline(&self) -> Instant {
        match self.parts.patience {
            Patience::Until(end) => end + *held(&self.waited),
            Patience::Each(patience) => Instant::now() + patience,
        }
    }

    /// The time that a person took does not count.
    pub(super) fn has_waited(&self, since: Instant) {
        *held(&self.waited) += since.elapsed();
    }

    /// What the provider says about itself, asked once.
    pub(super) async fn metadata(&self) -> Result<&Metadata, OidcError> {
        let asked = || provider::metadata(&self.http, &self.parts.settings, self.deadline());
        self.metadata.get_or_try_init(asked).await
    }

    /// Whether it is asked to say who logged in.
    pub(super) fn is_openid(&self) -> bool {
        self.parts.settings.kind == ProviderKind::OpenId
    }

    /// The answer without what was not asked for. Security: such an ID token is checked by nobody.
    pub(super) fn heard(&self, answer: TokenAnswer) -> TokenAnswer {
        TokenAnswer { id_token: answer.id_token.filter(|_| self.is_openid()), ..answer }
    }

    /// The client's authentication; the file with its secret is read now.
    pub(super) fn authentication(&self, metadata: &Metadata) -> Result<ClientAuthentication, OidcError> {
        let Provider { client_id, client_secret_file, .. } = &self.parts.settings;
        let Some(file) = client_secret_file else {
            return Ok(ClientAuthentication::None { client_id: Some(client_id.clone()) });
        };
        let (client_id, secret) = (client_id.clone(), client_secret::read(file)?);
        let offers =
            |method: &str| metadata.token_endpoint_auth_methods.iter().any(|offered| offered == method);
        Ok(if offers("client_secret_post") && !offers("client_secret_basic") {
            ClientAuthentication::Post { client_id, secret }
        } else {
            ClientAuthentication::Basic { client_id, secret }
        })
    }

    pub(super) fn endpoint<'a>(
        &'a self,
        url: &Url,
        authentication: &'a ClientAuthentication,
    ) -> TokenEndpoint<'a> {
        TokenEndpoint { http: &self.http, url: url.clone(), authentication }
    }

    /// The kept session, whatever its state.
    #[must_use]
    pub fn kept_session(&self) -> Option<ProviderSession> {
        let current = held(&self.current).clone();
        current.or_else(|| self.parts.sessions.load(&self.parts.session_key))
    }

    /// Forgets the kept session, here only.
    pub fn forget_session(&self) {
        *held(&self.current) = None;
        self.parts.sessions.remove(&self.parts.session_key);
    }

    /// A session whose token of this kind is good: the kept one, or the kept one refreshed.
    ///
    /// # Errors
    /// [`OidcError::LoginRequired`] where only a person can help.
    pub async fn tokens(
        &self,
        kind: ProviderToken,
        freshness: Freshness,
    ) -> Result<ProviderSession, OidcError> {
        let before = self.kept_session();
        if let Some(session) = &before
            && freshness.is_met_by(session, kind, self.now())
        {
            return Ok(session.clone());
        }
        let _turn = match self.take_turn().await {
            Ok(turn) => turn,
            Err(error) => return self.rather(before, kind, freshness, error),
        };
        // Others may have been quicker while we waited.
        let Some(session) = self.kept_session() else {
            return Err(self.login_required("nobody has logged in there from here, or they logged out again"));
        };
        if freshness.is_met_by(&session, kind, self.now()) {
            return Ok(session);
        }
        if session.refresh_token.is_none() {
            let ended =
                self.login_required("the session has ended, and the provider gave nothing to renew it with");
            return self.rather(Some(session), kind, Freshness::Usual, ended);
        }
        if kind == ProviderToken::Id && !session.refreshes_id_token {
            let none = self.lacks(kind);
            return self.rather(Some(session), kind, Freshness::Usual, none);
        }
        match self.refresh(session.clone(), kind).await {
            Ok(session) => Ok(session),
            Err(error) => self.rather(self.kept_session().or(Some(session)), kind, freshness, error),
        }
    }

    /// While what is kept lives, a failure to renew it is none of the caller's business, unless it is
    /// another token that is wanted.
    fn rather(
        &self,
        kept: Option<ProviderSession>,
        kind: ProviderToken,
        freshness: Freshness,
        error: OidcError,
    ) -> Result<ProviderSession, OidcError> {
        match kept.filter(|session| session.is_usable(kind, self.now())) {
            Some(session) if freshness == Freshness::Usual => {
                self.note(&format!("the token of the provider is kept although it ends soon: {error}"));
                Ok(session)
            }
            _ => Err(error),
        }
    }

    /// The turn to refresh or log in: first among the tasks of this process, then among processes.
    ///
    /// Security: without it two processes could spend one refresh token, for which a provider ends the
    /// whole session.
    pub(super) async fn take_turn(&self) -> Result<Held<'_>, OidcError> {
        let gate = self.gate.lock().await;
        let (sessions, key) = (Arc::clone(&self.parts.sessions), self.parts.session_key.clone());
        // Waiting for a file's lock blocks, and whoever holds it may be a task of this thread.
        match network::beside(move || sessions.turn(&key)).await {
            Some(Turn::Ours(turn)) => Ok((gate, Some(turn))),
            Some(Turn::Alone) => Ok((gate, None)),
            Some(Turn::Busy) | None => Err(OidcError::Busy { provider: self.issuer().to_owned() }),
        }
    }

    /// There is no such token in the session.
    pub(crate) fn lacks(&self, kind: ProviderToken) -> OidcError {
        let provider = self.issuer().to_owned();
        match kind {
            ProviderToken::Id => OidcError::NoIdToken { provider },
            ProviderToken::Access => OidcError::NoAccessToken { provider },
        }
    }

    pub(super) fn login_required(&self, why: impl Into<String>) -> OidcError {
        OidcError::LoginRequired { provider: self.issuer().to_owned(), why: why.into() }
    }

    /// Spends the refresh token, and keeps what came instead before anything else is done with it.
    async fn refresh(
        &self,
        session: ProviderSession,
        kind: ProviderToken,
    ) -> Result<ProviderSession, OidcError> {
        let metadata = self.metadata().await?;
        let authentication = self.authentication(metadata)?;
        let endpoint = self.endpoint(&metadata.token_endpoint, &authentication);
        let mut session = session;
        let mut may_look_again = true;
        loop {
            let Some(refresh_token) = session.refresh_token.clone() else {
                return Err(self.login_required("the session cannot be renewed any more"));
            };
            let form = Form::of_grant("refresh_token").secret("refresh_token", &refresh_token);
            let asked_at = self.now();
            match endpoint.ask(&form, self.deadline()).await {
                Ok(answer) => return self.refreshed(session, self.heard(answer), asked_at, kind).await,
                Err(error) if error.code() == Some("invalid_grant") => {
                    // Where no lock holds, another process may have been quicker.
                    let kept = self.kept_session().filter(|kept| !kept.has_same_refresh_token(&session));
                    match kept {
                        Some(kept) if std::mem::take(&mut may_look_again) => session = kept,
                        _ => return Err(self.is_over(session, &error)),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The provider wants to see the person again. What is left is kept until its own end, without
    /// what would be refused again.
    fn is_over(&self, mut session: ProviderSession, error: &OidcError) -> OidcError {
        use crate::error::Explain as _;
        session.refresh_token = None;
        self.keep(&session);
        let words = error.why().unwrap_or_default();
        self.login_required(format!("the provider refused to renew the session: {words}"))
    }

    async fn refreshed(
        &self,
        before: ProviderSession,
        answer: TokenAnswer,
        asked_at: Timestamp,
        kind: ProviderToken,
    ) -> Result<ProviderSession, OidcError> {
        let mut session = before;
        if let Some(next) = answer.refresh_token.clone() {
            // Security: the one before is dead now. Whatever happens from here on, this one is not
            // lost, and nobody spends the dead one, for which a provider ends the whole session.
            session.refresh_token = Some(next);
            self.keep(&session);
        }
        let believed = match &answer.id_token {
            Some(token) => {
                let expected = self.expected(None, session.subject.as_deref(), answer.access_token.as_ref());
                Some(self.believe(token, &expected).await?)
            }
            None => None,
        };
        session.take_over(answer, believed, asked_at);
        self.keep(&session);
        if session.token(kind).is_none() || (kind == ProviderToken::Id && !session.refreshes_id_token) {
            return Err(self.lacks(kind));
        }
        Ok(session)
    }

    pub(super) fn expected<'a>(
        &'a self,
        nonce: Option<&'a str>,
        subject: Option<&'a str>,
        access_token: Option<&'a SecretString>,
    ) -> Expected<'a> {
        let client_id = &self.parts.settings.client_id;
        Expected { issuer: self.issuer(), client_id, nonce, subject, access_token }
    }

    /// Checks an ID token by the provider's keys; where its key is not among them they are asked for
    /// once more, as a provider may just have made a new one.
    pub(super) async fn believe(
        &self,
        token: &SecretString,
        expected: &Expected<'_>,
    ) -> Result<Believed, OidcError> {
        let lie = |lie| OidcError::IdToken { provider: self.issuer().to_owned(), lie };
        let signed = Signed::read(token).map_err(lie)?;
        let metadata = self.metadata().await?;
        let at = metadata.need("jwks_uri", metadata.jwks_uri.as_ref(), "key to check its tokens with")?;
        let mut keys = Jwks::fetch(&self.http, at, self.deadline()).await?;
        if !signed.is_known_to(&keys) {
            keys = Jwks::fetch(&self.http, at, self.deadline()).await?;
        }
        signed.believe(token, &keys, expected, self.now()).map_err(lie)
    }

    /// Keeps a session. What cannot be kept is had by this process alone.
    pub(super) fn keep(&self, session: &ProviderSession) {
        let kept = self.parts.sessions.save(&self.parts.session_key, session);
        if let Err(why) = kept {
            // Security: better none than one whose refresh token is spent.
            self.parts.sessions.remove(&self.parts.session_key);
            *held(&self.current) = Some(session.clone());
            self.note(&format!("the session could not be kept, so the next call needs a log-in: {why}"));
        }
    }
}

impl Freshness {
    fn is_met_by(self, session: &ProviderSession, kind: ProviderToken, now: Timestamp) -> bool {
        match self {
            Self::Usual => session.is_fresh(kind, now),
            Self::Since(since) => session.obtained_at >= since && session.is_usable(kind, now),
        }
    }
}

impl std::fmt::Debug for Client {
    /// Security: without the session.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

/// What a lock guards; a thread that panicked while it held it left a whole value behind.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests;
