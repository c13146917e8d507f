//! Which session calls are made with: the kept one while it is good, renewed in time, or a new
//! one where no person is needed for that. One log-in for all who wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::auth::{self, Granted, LogIn};
use super::call::{Health, LOOKUP_SELF, health, lookup, same_token};
use super::exchange::Ask;
use super::session::Session;
use super::wire::Auth;
use super::{FoundToken, Vault, VaultError, held};
use crate::config::AuthMethod;
use crate::network;
use crate::person::Person;
use crate::token::Timestamp;

const RENEW_SELF: &str = "auth/token/renew-self";

/// How much of a session is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Enough.
    Good,
    /// Past two thirds: renew it.
    Waning,
    /// About to end: what is minted with it would end at once, too.
    Ending,
    /// None.
    Over,
}

fn life(session: &Session, now: Timestamp) -> Life {
    let Some(end) = session.expires_at else { return Life::Good };
    let (left, whole) = (end - now, end - session.obtained_at);
    if left <= TimeDelta::zero() {
        Life::Over
    } else if left <= (whole / 20).min(TimeDelta::seconds(30)) {
        Life::Ending
    } else if left <= whole / 3 {
        Life::Waning
    } else {
        Life::Good
    }
}

impl Vault {
    /// The session that calls are made with: the kept one if it is good (renewed when due), else
    /// that of an unattended log-in.
    ///
    /// # Errors
    /// [`VaultError::LoginRequired`] where only a person can log in.
    pub async fn session(&self) -> Result<Session, VaultError> {
        if self.parts.settings.auth == AuthMethod::Token && !self.prefers_kept_session() {
            let known = held(&self.current).clone();
            return match known {
                Some(session) => Ok(session),
                None => self.look_up_found().await,
            };
        }
        let unattended = self.parts.settings.auth.is_unattended();
        if let Some(session) = self.kept_session() {
            let life = life(&session, self.now());
            let nothing_to_do = life == Life::Waning && !session.renewable && !unattended;
            if life == Life::Good || nothing_to_do {
                *held(&self.current) = Some(session.clone());
                return Ok(session);
            }
        }
        let _turn = self.take_turn().await;
        // Others may have been quicker while we waited.
        *held(&self.current) = None;
        let kept = self.kept_session();
        let state = kept.as_ref().map_or(Life::Over, |session| life(session, self.now()));
        let Some(session) = kept.filter(|_| state != Life::Over) else {
            return self.log_in_unattended("no session is kept, or it has ended").await;
        };
        if state == Life::Good {
            *held(&self.current) = Some(session.clone());
            return Ok(session);
        }
        if session.renewable
            && let Some(renewed) = self.renew(&session).await
        {
            return Ok(renewed);
        }
        if !unattended {
            return Ok(session);
        }
        match self.log_in_unattended("the session ends soon").await {
            // While it lives, a failure to replace it is none of the caller's business.
            Err(error) if life(&session, self.now()) != Life::Over => {
                self.note(&format!("the session is kept although it ends soon: {error}"));
                Ok(session)
            }
            outcome => outcome,
        }
    }

    /// Logs in anew, with a person where the method needs one, and keeps the session.
    pub async fn login(&self, person: &dyn Person) -> Result<Session, VaultError> {
        self.login_after(person, &|| ()).await
    }

    /// The same; `forget` drops what was had in the name of the session before. It is called once
    /// the new one is had and before it is kept, so that whoever dies in between leaves nothing
    /// behind that would be handed to another person.
    pub async fn login_after(
        &self,
        person: &dyn Person,
        forget: &(dyn Fn() + Sync),
    ) -> Result<Session, VaultError> {
        if self.parts.settings.auth != AuthMethod::Token {
            return self.log_in(Some(person), forget).await;
        }
        let Some(found) = &self.parts.found_token else { return self.keep_pasted(person, forget).await };
        let session = self.look_up(&found.token).await?;
        forget();
        if !found.is_of_the_environment() {
            // One that an earlier `login` kept would go before this one.
            self.parts.sessions.remove(&self.parts.session_key);
        }
        Ok(session)
    }

    /// Takes a token from the person, makes sure that Vault knows it, and keeps it.
    async fn keep_pasted(
        &self,
        person: &dyn Person,
        forget: &(dyn Fn() + Sync),
    ) -> Result<Session, VaultError> {
        let origin = self.origin().to_owned();
        let prompt = format!("token for {origin}: ");
        let asked = self.ask_person(Some(person), "a token", |person| person.ask_secret(&prompt))?;
        let token = SecretString::from(asked.expose_secret().trim());
        let session = Session { ours: true, ..self.look_up(&token).await? };
        forget();
        self.keep(&session);
        Ok(session)
    }

    /// Whether a session that `login` made goes before a token that lies about: a variable says what
    /// is meant for this call, a helper or a file what was meant some time.
    fn prefers_kept_session(&self) -> bool {
        let said_now = self.parts.found_token.as_ref().is_some_and(FoundToken::is_of_the_environment);
        !said_now && self.kept_session().is_some_and(|session| life(&session, self.now()) != Life::Over)
    }

    /// The session that is kept, whatever its state; none for a token that was found.
    #[must_use]
    pub fn kept_session(&self) -> Option<Session> {
        let current = held(&self.current).clone();
        current.or_else(|| self.parts.sessions.load(&self.parts.session_key)).filter(|session| session.ours)
    }

    /// Whether all that there is here is a token that somebody else made: one that was found, or one
    /// that a person handed to `login`.
    #[must_use]
    pub fn has_foreign_session(&self) -> bool {
        match self.kept_session() {
            Some(session) => session.method == AuthMethod::Token.name(),
            None => self.parts.found_token.is_some(),
        }
    }

    /// Forgets the kept session, here only.
    pub fn forget_session(&self) {
        *held(&self.current) = None;
        self.parts.sessions.remove(&self.parts.session_key);
    }

    /// A session in place of one that is dead.
    pub(super) async fn replace(&self, dead: &Session) -> Result<Session, VaultError> {
        *held(&self.current) = None;
        if !dead.ours {
            return Err(self.found_token_is_dead());
        }
        let _turn = self.take_turn().await;
        let kept = self.kept_session();
        if let Some(session) = kept
            && !same_token(&session, dead)
            && life(&session, self.now()) != Life::Over
        {
            *held(&self.current) = Some(session.clone());
            return Ok(session);
        }
        self.forget_session();
        self.log_in_unattended("the session was revoked, or has ended").await
    }

    /// The turn to log in or renew: first among the tasks of this process, then among processes.
    async fn take_turn(&self) -> (tokio::sync::MutexGuard<'_, ()>, Option<Box<dyn Send>>) {
        let gate = self.gate.lock().await;
        let (sessions, key) = (Arc::clone(&self.parts.sessions), self.parts.session_key.clone());
        // A thread costs more than all the rest of it.
        if let Some(lock) = sessions.lock_at_once(&key) {
            return (gate, Some(lock));
        }
        // Waiting for a file's lock blocks, and whoever holds it may be a task of this thread.
        let lock = network::beside(move || sessions.lock(&key)).await;
        (gate, lock.flatten())
    }

    async fn log_in_unattended(&self, why: &str) -> Result<Session, VaultError> {
        if !self.parts.settings.auth.is_unattended() {
            return Err(self.login_required(why));
        }
        self.log_in(None, &|| ()).await
    }

    async fn log_in(
        &self,
        person: Option<&dyn Person>,
        forget: &(dyn Fn() + Sync),
    ) -> Result<Session, VaultError> {
        let Granted { auth, asked_at } = auth::log_in(&LogIn { vault: self, person }).await?;
        let subject = match &self.parts.settings.auth {
            // Vault names the role here, and the person only where it is asked who the token is.
            AuthMethod::Oidc { mount, .. } => self.display_name(&auth.client_token, mount).await,
            _ => None,
        };
        let session = Session {
            subject: subject.or_else(|| auth.subject()),
            method: self.parts.settings.auth.name().to_owned(),
            obtained_at: asked_at,
            expires_at: end(&auth, asked_at),
            renewable: auth.renewable,
            accessor: auth.accessor,
            token: auth.client_token,
            ours: true,
        };
        self.log_ins.fetch_add(1, Ordering::Relaxed);
        forget();
        self.keep(&session);
        Ok(session)
    }

    /// Whom a token of this mount is, in Vault's words; none where it may not look itself up.
    async fn display_name(&self, token: &SecretString, mount: &str) -> Option<String> {
        let reply = self.exchange.ask(Ask::get(LOOKUP_SELF, Some(token), self.deadline())).await.ok()?;
        let name = lookup(&reply)?.display_name.filter(|name| !name.is_empty())?;
        let prefix = format!("{}-", mount.replace('/', "-"));
        Some(name.strip_prefix(&prefix).map(str::to_owned).unwrap_or(name))
    }

    fn keep(&self, session: &Session) {
        self.parts.sessions.save(&self.parts.session_key, session);
        *held(&self.current) = Some(session.clone());
    }

    /// The renewed session; none where it was not extended, which is not fatal while it lives.
    async fn renew(&self, session: &Session) -> Option<Session> {
        let now = self.now();
        // What comes instead, a log-in or a call with the old session, must still be in time.
        let begun = Instant::now();
        let deadline = begun + self.deadline().saturating_duration_since(begun) / 2;
        let mut ask = Ask::post(RENEW_SELF, zeroize::Zeroizing::new(b"{}".to_vec()), deadline);
        ask.token = Some(&session.token);
        // Renewing twice is renewing once.
        ask.repeatable = true;
        let auth = match self.exchange.ask(ask).await {
            Ok(reply) if reply.is_done() => reply.envelope.auth?,
            Ok(reply) => {
                let why = reply.messages().join("; ");
                self.note(&format!("the session was not renewed: status {} {why}", reply.status));
                return None;
            }
            Err(error) => {
                self.note(&format!("the session was not renewed: {error}"));
                return None;
            }
        };
        let expires_at = end(&auth, now);
        // At its maximum the server renews it by nothing.
        if let (Some(old), Some(new)) = (session.expires_at, expires_at)
            && new - old <= TimeDelta::seconds(1)
        {
            self.note("the session has reached its maximum and cannot be extended");
            return None;
        }
        let renewed = Session { obtained_at: now, expires_at, renewable: auth.renewable, ..session.clone() };
        self.keep(&renewed);
        Some(renewed)
    }

    async fn look_up_found(&self) -> Result<Session, VaultError> {
        match &self.parts.found_token {
            Some(found) => self.look_up(&found.token).await,
            None => Err(self.login_required(
                "there is no token in `VAULT_TOKEN` or `BAO_TOKEN`, a token helper or `~/.vault-token`",
            )),
        }
    }

    /// A token that somebody else made, as a session: Vault says until when it lives.
    async fn look_up(&self, token: &SecretString) -> Result<Session, VaultError> {
        let now = self.now();
        let reply = self.exchange.ask(Ask::get(LOOKUP_SELF, Some(token), self.deadline())).await?;
        if health(&reply) == Health::Dead {
            return Err(self.found_token_is_dead());
        }
        let known = lookup(&reply);
        if known.is_none() {
            self.note("the token may not look itself up, so its end is not known");
        }
        let session = Session {
            token: token.clone(),
            accessor: known.as_ref().and_then(|known| known.accessor.clone()),
            method: "token".into(),
            obtained_at: now,
            expires_at: known.as_ref().and_then(|known| known.expire_time),
            renewable: false,
            subject: known.and_then(|known| known.display_name),
            ours: false,
        };
        *held(&self.current) = Some(session.clone());
        Ok(session)
    }

    fn found_token_is_dead(&self) -> VaultError {
        let place = self.parts.found_token.as_ref().map(|found| found.from.to_string());
        self.login_required(format!(
            "the token in {} has expired or was revoked",
            place.unwrap_or_else(|| "use".into())
        ))
    }
}

/// When a session ends that was asked for at `since`; none for one that has no end.
fn end(auth: &Auth, since: Timestamp) -> Option<Timestamp> {
    let seconds = i64::try_from(auth.lease_duration).ok().filter(|seconds| *seconds > 0)?;
    // A lifetime that no calendar holds is as good as none.
    since.checked_add_signed(TimeDelta::try_seconds(seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(lifetime: i64) -> Session {
        let born = Timestamp::UNIX_EPOCH;
        Session {
            token: SecretString::from("s.1"),
            accessor: None,
            method: "approle".into(),
            obtained_at: born,
            expires_at: Some(born + TimeDelta::seconds(lifetime)),
            renewable: true,
            subject: None,
            ours: true,
        }
    }

    #[test]
    fn a_session_wanes_after_two_thirds_and_ends_before_its_end() {
        let at =
            |lifetime, seconds| life(&session(lifetime), Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds));
        assert_eq!(at(3_600, 0), Life::Good);
        assert_eq!(at(3_600, 2_399), Life::Good);
        assert_eq!(at(3_600, 2_400), Life::Waning);
        assert_eq!(at(3_600, 3_569), Life::Waning);
        assert_eq!(at(3_600, 3_570), Life::Ending);
        assert_eq!(at(3_600, 3_600), Life::Over);
        assert_eq!(at(20, 18), Life::Waning);
        assert_eq!(at(20, 19), Life::Ending);
        let endless = Session { expires_at: None, ..session(1) };
        assert_eq!(life(&endless, Timestamp::UNIX_EPOCH + TimeDelta::days(99_999)), Life::Good);
    }
}
