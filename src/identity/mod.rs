//! Where a workload's own JWT comes from: a file, a variable, a job's token service or agent, a Vault.
//!
//! It finds the token and refuses one that no server could accept (no JWT, dead, not yet valid, for
//! another audience) before it is sent anywhere. It believes nothing that the token says, reads the
//! environment only as it was handed in, and never puts a token or its claims into a message.

mod azure;
mod error;
mod file;
mod fingerprint;
mod github;
mod program;
mod service;
mod svid;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use program::Printer;
use secrecy::{ExposeSecret, SecretString};

pub use error::{IdentityError, Place, Provider};
pub use fingerprint::{Fingerprint, fingerprint};

use crate::config::{Identity, Name, ProviderToken};
use crate::env::Env;
use crate::error::Error;
use crate::http::{Client, HttpError};
use crate::oidc::{self, Freshness};
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
    /// Makes the client of a provider that a person logs in to; called only for those.
    pub provider: &'a dyn Fn(&Name) -> Result<Arc<oidc::Client>, Error>,
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
    Service { service: service::TokenService, client: Client, deadline: Instant },
    Program { printer: program::Printer, audience: Option<String> },
    Vault { vault: Arc<Vault>, role: String },
    Provider { client: Arc<oidc::Client> },
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
                let text = file::read(who, path, *provider)?;
                let place = Place::File(path.clone());
                let token = match provider {
                    Provider::Spiffe => self.svid(text, &place)?,
                    _ => text,
                };
                self.checked(&token, place, audience.as_deref())
            }
            Origin::Variable { name, value } => self.checked(value, Place::Variable(name.clone()), None),
            Origin::Service { service, client, deadline } => {
                let token = service.token(who, client, *deadline).await?;
                self.checked(&token, Place::Answer(service.host()), None)
            }
            Origin::Program { printer, audience } => {
                let place = Place::Output(printer.name());
                let token = self.svid(printer.text(who)?, &place)?;
                self.checked(&token, place, audience.as_deref())
            }
            Origin::Provider { client } => {
                let session = client.tokens(ProviderToken::Id, Freshness::Usual).await;
                let session = session
                    .and_then(|session| session.id_token.ok_or_else(|| client.lacks(ProviderToken::Id)));
                let token = session.map_err(|error| IdentityError::Issuer {
                    who: who.clone(),
                    failure: Error::from(error).to_failure(),
                })?;
                self.checked(&token, Place::Answer(client.issuer().to_owned()), None)
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

    /// The token of a text that may be SPIRE's JSON.
    fn svid(&self, text: SecretString, place: &Place) -> Result<SecretString, IdentityError> {
        let malformed = |why| IdentityError::Malformed { who: self.who.clone(), place: place.clone(), why };
        svid::token_of(text).map_err(malformed)
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
            Identity::Spiffe { path, audience } => {
                Self::File { path: path.clone(), provider: Provider::Spiffe, audience: audience.clone() }
            }
            Identity::Env { .. }
            | Identity::Gitlab { .. }
            | Identity::Bitbucket
            | Identity::TerraformCloud { .. }
            | Identity::Circleci { audience: None } => Self::variable(who, identity, parts.env)?,
            Identity::GithubActions { audience } => {
                Self::service(who, github::service(who, parts.env, audience.as_deref())?, parts)?
            }
            Identity::AzurePipelines { service_connection } => {
                Self::service(who, azure::service(who, parts.env, service_connection.as_deref())?, parts)?
            }
            Identity::Circleci { audience: Some(audience) } => Self::Program {
                printer: Printer::of_circleci(who, parts.env, audience, parts.deadline)?,
                audience: Some(audience.clone()),
            },
            Identity::Buildkite { audience } => Self::Program {
                printer: Printer::of_buildkite(who, parts.env, audience.as_deref(), parts.deadline)?,
                audience: audience.clone(),
            },
            Identity::Command { program, arguments } => Self::Program {
                printer: Printer::of_administrator(who, parts.env, program, arguments, parts.deadline)?,
                audience: None,
            },
            Identity::VaultIdentity { vault, role } => Self::Vault {
                vault: (parts.vault)(vault).map_err(|error| IdentityError::Issuer {
                    who: who.to_owned(),
                    failure: error.to_failure(),
                })?,
                role: role.clone(),
            },
            Identity::Oidc { provider } => Self::Provider {
                client: (parts.provider)(provider).map_err(|error| IdentityError::Issuer {
                    who: who.to_owned(),
                    failure: error.to_failure(),
                })?,
            },
        })
    }

    fn variable(who: &str, identity: &Identity, env: &Env) -> Result<Self, IdentityError> {
        let (name, value) = variable(who, identity, env)?;
        Ok(Self::Variable { name, value: SecretString::from(value) })
    }

    fn service(who: &str, service: service::TokenService, parts: &Parts<'_>) -> Result<Self, IdentityError> {
        let client = (parts.http)().map_err(|cause| IdentityError::Http { who: who.to_owned(), cause })?;
        Ok(Self::Service { service, client, deadline: parts.deadline })
    }
}

/// How far the issuer's clock may be ahead of ours; servers allow as much.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// How messages name an identity.
fn who(name: Option<&Name>) -> String {
    name.map_or_else(|| "the pod's own identity".to_owned(), |name| format!("identity `{name}`"))
}

/// The variables by which a job's identity is known, the one to mend first.
fn variables(identity: &Identity) -> (Vec<String>, Provider) {
    match identity {
        Identity::Env { variable } => (vec![variable.clone()], Provider::Person),
        Identity::Gitlab { variable } => (vec![variable.clone()], Provider::Gitlab),
        Identity::Circleci { .. } => {
            let names = ["CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"];
            (names.map(str::to_owned).to_vec(), Provider::Circleci)
        }
        Identity::Bitbucket => (vec!["BITBUCKET_STEP_OIDC_TOKEN".to_owned()], Provider::Bitbucket),
        Identity::TerraformCloud { tag } => {
            let tag = tag.as_ref().map(|tag| format!("_{tag}")).unwrap_or_default();
            (vec![format!("{TERRAFORM_VARIABLE}{tag}")], Provider::TerraformCloud)
        }
        Identity::GithubActions { .. } => {
            ([github::URL, github::TOKEN].map(str::to_owned).to_vec(), Provider::Github)
        }
        Identity::AzurePipelines { .. } => {
            ([azure::URL, azure::TOKEN].map(str::to_owned).to_vec(), Provider::AzurePipelines)
        }
        Identity::Buildkite { .. } => (vec!["BUILDKITE_JOB_ID".to_owned()], Provider::Buildkite),
        Identity::File { .. }
        | Identity::Kubernetes { .. }
        | Identity::Spiffe { .. }
        | Identity::VaultIdentity { .. }
        | Identity::Oidc { .. }
        | Identity::Command { .. } => (Vec::new(), Provider::Person),
    }
}

/// The variable of HCP Terraform's "workload identity tokens"; `_TAG` comes behind it.
const TERRAFORM_VARIABLE: &str = "TFC_WORKLOAD_IDENTITY_TOKEN";

/// The first of an identity's variables that is set, with its value.
fn variable(who: &str, identity: &Identity, env: &Env) -> Result<(String, String), IdentityError> {
    let (names, provider) = variables(identity);
    let found = names.iter().find_map(|name| Some((name.clone(), env.filled(name)?.to_owned())));
    found.ok_or_else(|| IdentityError::VariableMissing {
        who: who.to_owned(),
        variable: names.into_iter().next().unwrap_or_default(),
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
