//! Identity tokens: `GET identity/oidc/token/<role>` gives a JWT that an API server trusts where its
//! `AuthenticationConfiguration` names this Vault as an issuer. No lease and no session ends them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::ask::Ask;
use super::field::Field;
use super::{SourceError, after, words};
use crate::error::{Error, ExitCode, Explain, printable, shell_word};
use crate::token::{Bound, Claims, Limit, Minted, Timestamp};
use crate::vault::{Call, VaultError, path};

/// Asks for an identity token for the session's entity.
pub(crate) async fn mint<V: Ask>(vault: &V, role: &str, clock: fn() -> Timestamp) -> Result<Minted, Error> {
    let path = path::join(&["identity/oidc/token", role])?;
    let not_issued = |reason: Reason, words: Option<String>| -> Error {
        let (vault, role) = (vault.origin().to_owned(), role.to_owned());
        SourceError::Identity(Box::new(NotIssued { vault, role, reason, words })).into()
    };
    let asked_at = clock();
    let reply = match vault.ask::<Issued>(Call::read(&path)).await {
        Ok(reply) => reply,
        Err(VaultError::Rejected { messages, .. }) => {
            return Err(not_issued(Reason::of(&messages), words(&messages)));
        }
        Err(error) => return Err(error.into()),
    };
    if reply.status == 404 {
        return Err(not_issued(Reason::NoRole, words(&reply.messages)));
    }
    let unusable = |why: String| -> Error {
        SourceError::Answer { vault: vault.origin().to_owned(), path: path.clone(), why }.into()
    };
    let issued = reply.data.ok_or_else(|| unusable("it has no `data`".to_owned()))?;
    let (secret, ttl) = issued.parts().map_err(unusable)?;
    match algorithm(secret.expose_secret()) {
        None => return Err(unusable("`token` is no JWT".to_owned())),
        Some(algorithm) if ACCEPTED.contains(&algorithm.as_str()) => {}
        Some(algorithm) => return Err(not_issued(Reason::Algorithm(printable(&algorithm)), None)),
    }
    let claims =
        Claims::read(secret.expose_secret()).ok_or_else(|| unusable("`token` is no JWT".to_owned()))?;
    let mut bounds = Vec::with_capacity(2);
    bounds.extend(claims.expires_at.map(|at| Bound { by: Limit::Expiry, at }));
    bounds.extend(ttl.map(|seconds| Bound { by: Limit::ExpiresIn, at: after(asked_at, seconds) }));
    Ok(Minted {
        secret,
        bounds,
        subject: claims.subject,
        lease: None,
        warnings: reply.warnings,
        request_id: reply.request_id,
    })
}

/// The signatures that an API server verifies; see `--oidc-signing-algs` of kube-apiserver.
const ACCEPTED: [&str; 9] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];

/// `alg` of a JWT's header (RFC 7515 §4.1.1).
pub(super) fn algorithm(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let header = URL_SAFE_NO_PAD.decode(token.trim().split('.').next()?).ok()?;
    serde_json::from_slice::<Header>(&header).ok().map(|header| header.alg)
}

/// `data` of the answer.
#[derive(Deserialize)]
struct Issued {
    #[serde(default)]
    token: Field,
    #[serde(default)]
    ttl: Field,
}

impl Issued {
    fn parts(self) -> Result<(SecretString, Option<u64>), String> {
        let token = match self.token {
            Field::Text(token) if !token.expose_secret().trim().is_empty() => token,
            Field::Text(_) => return Err("`token` is empty".to_owned()),
            other => return Err(format!("`token` {}", other.is_not("text"))),
        };
        let ttl = match self.ttl {
            Field::Nothing => None,
            Field::Number(seconds) => {
                Some(u64::try_from(seconds).map_err(|_| "`ttl` is negative".to_owned())?)
            }
            other => return Err(format!("`ttl` {}", other.is_not("a number"))),
        };
        Ok((token, ttl))
    }
}

/// An identity token that was not issued, or that no API server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotIssued {
    /// The Vault, printable.
    pub vault: String,
    /// The identity role.
    pub role: String,
    /// Why, as far as we understand it.
    pub reason: Reason,
    /// The server's own words.
    pub words: Option<String>,
}

/// Why there is no identity token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The session is nobody's: a root or orphan token.
    NoEntity,
    /// No such role.
    NoRole,
    /// The role's key does not list the role's client id.
    ClientNotAllowed,
    /// Signed in a way that no API server verifies.
    Algorithm(String),
    /// Words that we do not know.
    Other,
}

impl Reason {
    fn of(messages: &[String]) -> Self {
        let text = messages.join("\n").to_ascii_lowercase();
        if text.contains("no entity associated") {
            Self::NoEntity
        } else if text.contains("does not list the client id") {
            Self::ClientNotAllowed
        } else if text.contains("role") && text.contains("not found") {
            Self::NoRole
        } else {
            Self::Other
        }
    }
}

impl std::error::Error for NotIssued {}

impl std::fmt::Display for NotIssued {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { vault, role, .. } = self;
        match &self.reason {
            Reason::NoEntity => {
                write!(formatter, "`{vault}` issues no identity token to this session: it has no entity")
            }
            Reason::NoRole => write!(formatter, "`{vault}` has no identity role `{role}`"),
            Reason::ClientNotAllowed => {
                write!(
                    formatter,
                    "the key of identity role `{role}` in `{vault}` does not allow its client id"
                )
            }
            Reason::Algorithm(algorithm) => write!(
                formatter,
                "identity role `{role}` in `{vault}` signs with `{algorithm}`, which no API server accepts"
            ),
            Reason::Other => write!(formatter, "`{vault}` refused an identity token for role `{role}`"),
        }
    }
}

impl Explain for NotIssued {
    fn exit_code(&self) -> ExitCode {
        match self.reason {
            Reason::Algorithm(_) => ExitCode::Unusable,
            Reason::NoEntity | Reason::NoRole | Reason::ClientNotAllowed | Reason::Other => ExitCode::Refused,
        }
    }

    fn why(&self) -> Option<String> {
        match self.reason {
            Reason::Algorithm(_) => Some("API servers verify RS, ES and PS signatures".to_owned()),
            Reason::NoEntity | Reason::NoRole | Reason::ClientNotAllowed | Reason::Other => {
                self.words.clone()
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let role = format!("identity/oidc/role/{}", self.role);
        let role = shell_word(&role);
        match self.reason {
            Reason::NoEntity => Some(
                "log in with an auth method instead of a root or orphan token: `{program} login{profile}{vault}{config}`"
                    .to_owned(),
            ),
            Reason::NoRole => Some(
                "set `role` in the profile to one that `vault list identity/oidc/role` or \
                 `bao list identity/oidc/role` shows"
                    .to_owned(),
            ),
            Reason::ClientNotAllowed => {
                Some(format!("add the `client_id` of `{role}` to `allowed_client_ids` of its key"))
            }
            Reason::Algorithm(_) => Some(format!("give `{role}` a key with `algorithm=ES256`")),
            Reason::Other => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]
mod tests;
