//! Logging in: one file for each method, which knows its endpoint and its body. What all answers
//! have in common is checked here: a log-in ends with a token, perhaps after another factor.

mod approle;
mod cert;
mod jwt;
mod ldap;
mod mfa;
mod oidc;
mod userpass;

use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use zeroize::Zeroizing;

use super::exchange::{Ask, Reply};
use super::wire::Auth;
use super::{Vault, VaultError, path};
use crate::config::AuthMethod;
use crate::person::Person;
use crate::token::Timestamp;

/// One log-in.
pub(super) struct LogIn<'a> {
    pub(super) vault: &'a Vault,
    /// Whom to ask; nobody in an unattended log-in.
    pub(super) person: Option<&'a dyn Person>,
}

/// What a log-in gave.
pub(super) struct Granted {
    pub(super) auth: Auth,
    /// When it was asked for: its life is counted from here.
    pub(super) asked_at: Timestamp,
}

/// A log-in's endpoint, for messages too.
struct Door<'a> {
    method: &'static str,
    mount: &'a str,
    /// Below the mount.
    path: &'a [&'a str],
    /// Who logs in, where that is known.
    who: Option<&'a str>,
}

/// Logs in as the settings say.
pub(super) async fn log_in(cx: &LogIn<'_>) -> Result<Granted, VaultError> {
    match &cx.vault.parts.settings.auth {
        // The token itself is the log-in; see `sessions`.
        AuthMethod::Token => Err(cx.vault.login_required("a token cannot be made, only found")),
        AuthMethod::Userpass { mount, username } => userpass::log_in(cx, mount, username.as_deref()).await,
        AuthMethod::Ldap { mount, username } => ldap::log_in(cx, mount, username.as_deref()).await,
        AuthMethod::Approle { mount, role_id, secret_id_file, secret_id_wrapped } => {
            let secret_id = approle::SecretId::of(secret_id_file.as_deref(), *secret_id_wrapped);
            approle::log_in(cx, mount, role_id, secret_id).await
        }
        AuthMethod::Kubernetes { mount, role, .. } => jwt::log_in(cx, "kubernetes", mount, Some(role)).await,
        AuthMethod::Jwt { mount, role, .. } => jwt::log_in(cx, "jwt", mount, role.as_deref()).await,
        AuthMethod::Cert { mount, role, pair } => {
            cert::log_in(cx, mount, role.as_deref(), pair.is_some()).await
        }
        AuthMethod::Oidc { mount, role } => oidc::log_in(cx, mount, role.as_deref()).await,
    }
}

impl LogIn<'_> {
    /// Knocks, and satisfies what further factors the server wants.
    async fn knock(&self, door: &Door<'_>, body: &impl Serialize) -> Result<Granted, VaultError> {
        let (path, reply, asked_at) = self.post(door, body, self.vault.deadline()).await?;
        self.settle(door, &path, reply, asked_at).await
    }

    /// Asks at a door; the answer with its path and when it was asked for.
    async fn post(
        &self,
        door: &Door<'_>,
        body: &impl Serialize,
        deadline: Instant,
    ) -> Result<(String, Reply, Timestamp), VaultError> {
        let mut parts = vec!["auth", door.mount];
        parts.extend(door.path);
        let path = path::join(&parts)?;
        let ask = Ask::post(&path, self.body(&path, body)?, deadline);
        let asked_at = self.vault.now();
        // Security: a log-in whose fate is unknown is not repeated, lest a person be locked out or
        // a secret id used up.
        let reply = self.vault.exchange.ask(ask).await?;
        Ok((path, reply, asked_at))
    }

    /// What a log-in gave, once what further factors the server wants are satisfied.
    async fn settle(
        &self,
        door: &Door<'_>,
        path: &str,
        reply: Reply,
        asked_at: Timestamp,
    ) -> Result<Granted, VaultError> {
        let granted = self.granted(door, path, reply, asked_at)?;
        match granted.auth.mfa_requirement {
            Some(ref wanted) if granted.auth.client_token.expose_secret().is_empty() => {
                mfa::satisfy(self, door, wanted).await
            }
            _ => self.with_token(path, granted),
        }
    }

    /// JSON in a buffer that is wiped, and large enough not to be moved while it is written.
    fn body(&self, path: &str, body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        serde_json::to_writer(&mut *bytes, body)
            .map_err(|error| self.vault.exchange.unusable(path, error.to_string()))?;
        Ok(bytes)
    }

    fn granted(
        &self,
        door: &Door<'_>,
        path: &str,
        reply: Reply,
        asked_at: Timestamp,
    ) -> Result<Granted, VaultError> {
        if !reply.is_done() {
            return Err(self.refused(door, reply.status, reply.messages()));
        }
        if reply.envelope.wrap_info.is_some() {
            return Err(self.vault.exchange.unusable(path, "it is wrapped, which nobody asked for"));
        }
        let auth = reply.envelope.auth;
        let auth = auth.ok_or_else(|| self.vault.exchange.unusable(path, "it holds no `auth`"))?;
        Ok(Granted { auth, asked_at })
    }

    /// Security: an empty token would make every further call an anonymous one.
    fn with_token(&self, path: &str, granted: Granted) -> Result<Granted, VaultError> {
        if granted.auth.client_token.expose_secret().is_empty() {
            return Err(self.vault.exchange.unusable(path, "its `client_token` is empty"));
        }
        Ok(granted)
    }

    fn refused(&self, door: &Door<'_>, status: u16, messages: Vec<String>) -> VaultError {
        VaultError::LoginRefused {
            vault: self.vault.origin().to_owned(),
            method: door.method,
            mount: door.mount.to_owned(),
            who: door.who.map(str::to_owned),
            status,
            messages,
        }
    }
}

/// A secret in a body.
struct Exposed<'a>(&'a SecretString);

impl Serialize for Exposed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}
