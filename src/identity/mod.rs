//! Where a workload's own JWT comes from: a file, a variable, a job's token service, a Vault.
//!
//! It finds the token and refuses one that no server could accept (no JWT, dead, not yet valid, for
//! another audience) before it is sent anywhere. It believes nothing that the token says, reads the
//! environment only as it was handed in, and never puts a token or its claims into a message.

mod error;
mod file;
mod fingerprint;
mod github;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

pub use error::{IdentityError, Place, Provider};
pub use fingerprint::{Fingerprint, fingerprint};

use crate::config::{Identity, Name};
use crate::env::Env;
use crate::error::Error;
use crate::http::{Client, HttpError};
use crate::source::vault_identity;
use crate::token::{Claims, Timestamp};
use crate::vault::{JwtSource, Vault};

/// What a workload's identity is made with.
pub struct Parts<'a> {
    /// The variables of the job.
    pub env: &'a Env,
    /// Makes the client for a token service; called only where one is asked.
    pub http: &'a dyn Fn() -> Result<Client, HttpError>,
    /// Makes the client of a Vault that issues identities; called only for those.
    pub vault: &'a dyn Fn(&Name) -> Result<Arc<Vault>, Error>,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// When a token service must have answered.
    pub deadline: Instant,
}

/// A workload that can say who it is.
pub struct Workload {
    who: String,
    origin: Origin,
    clock: fn() -> Timestamp,
}

enum Origin {
    File { path: PathBuf, provider: Provider, audience: Option<String> },
    Variable { name: String, value: SecretString },
    Github { service: github::TokenService, client: Client, deadline: Instant },
    Vault { vault: Arc<Vault>, role: String },
    Unavailable(IdentityError),
}

impl Workload {
    /// The workload of an identity in the settings; without a name the pod's own.
    ///
    /// What is missing is an error only when a token is asked for: a session that is still good
    /// needs none.
    #[must_use]
    pub fn new(name: Option<&Name>, identity: &Identity, parts: &Parts<'_>) -> Self {
        let who = who(name);
        let origin = Origin::new(&who, identity, parts).unwrap_or_else(Origin::Unavailable);
        Self { who, origin, clock: parts.clock }
    }

    async fn token(&self) -> Result<SecretString, IdentityError> {
        let who = &self.who;
        match &self.origin {
            Origin::Unavailable(error) => Err(error.clone()),
            Origin::File { path, provider, audience } => {
                let token = file::read(who, path, *provider)?;
                self.checked(&token, Place::File(path.clone()), audience.as_deref())
            }
            Origin::Variable { name, value } => self.checked(value, Place::Variable(name.clone()), None),
            Origin::Github { service, client, deadline } => {
                let token = service.token(who, client, *deadline).await?;
                self.checked(&token, Place::Answer(service.host()), None)
            }
            Origin::Vault { vault, role } => {
                let minted =
                    vault_identity::mint(vault.as_ref(), role, self.clock).await.map_err(|error| {
                        IdentityError::Issuer { who: who.clone(), failure: error.to_failure() }
                    })?;
                self.checked(&minted.secret, Place::Answer(vault.origin().to_owned()), None)
            }
        }
    }

    /// Refuses what no server could accept; gives the token without white space round it.
    fn checked(
        &self,
        token: &SecretString,
        place: Place,
        audience: Option<&str>,
    ) -> Result<SecretString, IdentityError> {
        let text = token.expose_secret().trim();
        let claims = shape(&self.who, &place, text)?;
        let (who, now) = (self.who.clone(), (self.clock)());
        if let Some(ended_at) = claims.expires_at.filter(|at| *at <= now) {
            return Err(IdentityError::Dead { who, place, ended_at });
        }
        if let Some(starts_at) = claims.not_before.filter(|at| *at > now + CLOCK_TOLERANCE) {
            return Err(IdentityError::NotYet { who, place, starts_at });
        }
        if let Some(audience) = audience
            && !claims.audiences.iter().any(|found| found == audience)
        {
            return Err(IdentityError::WrongAudience { who, place, audience: audience.to_owned() });
        }
        Ok(SecretString::from(text))
    }
}

impl JwtSource for Workload {
    fn jwt(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, IdentityError>> + Send + '_>> {
        Box::pin(self.token())
    }
}

impl Origin {
    fn new(who: &str, identity: &Identity, parts: &Parts<'_>) -> Result<Self, IdentityError> {
        Ok(match identity {
            Identity::File { path } => {
                Self::File { path: path.clone(), provider: Provider::Person, audience: None }
            }
            Identity::Kubernetes { audience, path } => {
                Self::File { path: path.clone(), provider: Provider::Kubelet, audience: audience.clone() }
            }
            Identity::Env { variable } => Self::variable(who, variable, parts.env, Provider::Person)?,
            Identity::Gitlab { variable } => Self::variable(who, variable, parts.env, Provider::Gitlab)?,
            Identity::GithubActions { audience } => Self::Github {
                service: github::TokenService::new(who, parts.env, audience.as_deref())?,
                client: (parts.http)().map_err(|cause| IdentityError::Http { who: who.to_owned(), cause })?,
                deadline: parts.deadline,
            },
            Identity::VaultIdentity { vault, role } => Self::Vault {
                vault: (parts.vault)(vault).map_err(|error| IdentityError::Issuer {
                    who: who.to_owned(),
                    failure: error.to_failure(),
                })?,
                role: role.clone(),
            },
            Identity::Oidc { .. } => {
                return Err(IdentityError::NotInThisVersion { who: who.to_owned(), kind: "oidc" });
            }
        })
    }

    fn variable(who: &str, name: &str, env: &Env, provider: Provider) -> Result<Self, IdentityError> {
        let value = variable(who, name, env.filled(name), provider)?;
        Ok(Self::Variable { name: name.to_owned(), value: SecretString::from(value) })
    }
}

/// How far the issuer's clock may be ahead of ours; servers allow as much.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// How messages name an identity.
fn who(name: Option<&Name>) -> String {
    name.map_or_else(|| "the pod's own identity".to_owned(), |name| format!("identity `{name}`"))
}

fn variable<'a>(
    who: &str,
    name: &str,
    value: Option<&'a str>,
    provider: Provider,
) -> Result<&'a str, IdentityError> {
    value.ok_or_else(|| IdentityError::VariableMissing {
        who: who.to_owned(),
        variable: name.to_owned(),
        provider,
    })
}

/// The claims of what must be a JWS in compact form (RFC 7515 §7.1), white space round it allowed.
fn shape(who: &str, place: &Place, text: &str) -> Result<Claims, IdentityError> {
    let text = text.trim();
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > file::LONGEST {
        "it is longer than 64 KiB"
    } else if text.split('.').count() != 3 || !text.split('.').all(is_base64url) {
        "it is not three parts in base64url with dots between them"
    } else if let Some(claims) = Claims::read(text) {
        return Ok(claims);
    } else {
        "its second part is no set of JWT claims"
    };
    Err(IdentityError::Malformed { who: who.to_owned(), place: place.clone(), why })
}

fn is_base64url(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]
mod tests;
