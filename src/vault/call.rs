//! A call in the name of a session, and what a 403 means.

use std::sync::atomic::Ordering;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::exchange::{Ask, Reply};
use super::session::Session;
use super::{Answer, Vault, VaultError, answer};
use crate::http::Method;
use crate::token::Timestamp;

/// What a call does; each needs one capability of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET.
    Read,
    /// POST.
    Write,
    /// GET with `list=true`: the method LIST does not pass every proxy.
    List,
    /// DELETE.
    Delete,
}

/// A call in the name of the session.
#[derive(Clone)]
pub struct Call<'a> {
    /// What it does.
    pub operation: Operation,
    /// The path below `/v1/`, percent-encoded by [`super::path::join`].
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

    /// Lists.
    #[must_use]
    pub fn list(path: &'a str) -> Self {
        Self { operation: Operation::List, path, body: None, repeatable: true }
    }
}

impl std::fmt::Debug for Call<'_> {
    /// Security: without the body, which may hold a token to be published.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Call({:?} {})", self.operation, self.path)
    }
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
    pub renewable: Option<bool>,
    /// Its policies.
    #[serde(default)]
    pub policies: Option<Vec<String>>,
    /// Its accessor.
    #[serde(default)]
    pub accessor: Option<String>,
    /// `service` or `batch`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Its entity; empty for a root token, which therefore gets no identity token.
    #[serde(default)]
    pub entity_id: Option<String>,
}

pub(super) const LOOKUP_SELF: &str = "auth/token/lookup-self";

/// Whether a session that got a 403 is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Its policies are to blame.
    Alive,
    /// It is revoked, or has expired.
    Dead,
}

impl Vault {
    /// Calls, with the kept session or after an unattended log-in.
    ///
    /// Status 200, 204 and 404 are answers. After a 403 Vault is asked whether the session is
    /// dead; then it is dropped, and where nobody need be asked there is one log-in and one more
    /// call.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, VaultError> {
        let log_ins = self.log_ins.load(Ordering::Relaxed);
        let session = self.session().await?;
        let denied = match self.call_as(&session, &call).await? {
            Ok(answer) => return Ok(answer),
            Err(denied) => denied,
        };
        // A session that was made for this call is not to blame, and another would be no better.
        let is_new = self.log_ins.load(Ordering::Relaxed) != log_ins;
        if is_new || self.health(&session).await? == Health::Alive {
            return Err(denied);
        }
        let session = self.replace(&session).await?;
        self.call_as(&session, &call).await?
    }

    /// Who the session is.
    pub async fn lookup(&self) -> Result<Lookup, VaultError> {
        self.call(Call::read(LOOKUP_SELF)).await?.data()
    }

    /// The answer, or a refusal that another session may not meet: a 403, or a session used up.
    async fn call_as(
        &self,
        session: &Session,
        call: &Call<'_>,
    ) -> Result<Result<Answer, VaultError>, VaultError> {
        let method = match call.operation {
            Operation::Read | Operation::List => Method::GET,
            Operation::Write => Method::POST,
            Operation::Delete => Method::DELETE,
        };
        let body = call.body.as_ref().map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| self.exchange.unusable(call.path, error.to_string()))?;
        let reply = self
            .exchange
            .ask(Ask {
                method,
                path: call.path,
                query: (call.operation == Operation::List).then(|| Zeroizing::new("list=true".to_owned())),
                token: Some(&session.token),
                body: body.map(Zeroizing::new),
                repeatable: call.repeatable,
                deadline: self.deadline(),
            })
            .await?;
        match reply.status {
            200..=299 | 404 => Ok(Ok(Answer::new(reply, session.clone(), self.origin(), call.path))),
            403 => Ok(Err(VaultError::Denied {
                vault: self.origin().to_owned(),
                path: call.path.to_owned(),
                operation: call.operation,
                messages: reply.messages(),
            })),
            _ => {
                let rejected = self.rejected(call.path, &reply);
                // The session's last use: what the call made was revoked at once, with the session.
                let used_up = reply.messages().iter().any(|message| message.contains("had one use left"));
                if used_up { Ok(Err(rejected)) } else { Err(rejected) }
            }
        }
    }

    pub(super) fn rejected(&self, path: &str, reply: &Reply) -> VaultError {
        VaultError::Rejected {
            vault: self.origin().to_owned(),
            path: path.to_owned(),
            status: reply.status,
            messages: reply.messages(),
        }
    }

    /// Asks Vault whether the session is good; a 403 alone does not tell.
    pub(super) async fn health(&self, session: &Session) -> Result<Health, VaultError> {
        let ask = Ask::get(LOOKUP_SELF, Some(&session.token), self.deadline());
        Ok(health(&self.exchange.ask(ask).await?))
    }
}

/// What the answer to `lookup-self` says. A session without the `default` policy may not ask for
/// itself; a policy's refusal has one error, that of a dead token none or two.
pub(super) fn health(reply: &Reply) -> Health {
    let messages = reply.messages().join(" ");
    let by_policy = messages.contains("1 error occurred") && !messages.contains("invalid token");
    if reply.status == 403 && !by_policy { Health::Dead } else { Health::Alive }
}

/// What the answer to `lookup-self` tells, where it is one.
pub(super) fn lookup(reply: &Reply) -> Option<Lookup> {
    reply.is_done().then(|| answer::data(&reply.body).ok()).flatten()
}

/// Whether two sessions are one.
pub(super) fn same_token(one: &Session, other: &Session) -> bool {
    one.token.expose_secret() == other.token.expose_secret()
}
