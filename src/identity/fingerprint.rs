//! Who a workload is, as far as that can be told without the network: a digest that keeps apart the
//! cache entries of two identities that share a home.

use ring::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};

use super::{Provider, file, shape, svid, variable, variables, who};
use crate::config::{Identity, Name};
use crate::env::Env;
use crate::hex::hex;
use crate::identity::IdentityError;
use crate::identity::error::Place;

/// A SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// As text, for a cache key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells who the workload is: issuer and subject of a token file, the whole value of a variable, what
/// a job asks its token service or agent with, the words of a command, Vault and role of an identity
/// that a Vault issues (there the fingerprint of that Vault's own log-in belongs beside it).
///
/// # Errors
/// Where there is nothing to read yet: a file or variable that is missing, or no JWT.
pub fn fingerprint(
    name: Option<&Name>,
    identity: &Identity,
    env: &Env,
) -> Result<Fingerprint, IdentityError> {
    let who = who(name);
    match identity {
        Identity::File { path } => of_file("file", &who, path, Provider::Person),
        Identity::Kubernetes { path, .. } => of_file("kubernetes", &who, path, Provider::Kubelet),
        Identity::Spiffe { path, .. } => of_file("spiffe", &who, path, Provider::Spiffe),
        Identity::Env { .. } => of_variable("env", &who, identity, env),
        Identity::Gitlab { .. } => of_variable("gitlab", &who, identity, env),
        Identity::Bitbucket => of_variable("bitbucket", &who, identity, env),
        Identity::TerraformCloud { .. } => of_variable("terraformCloud", &who, identity, env),
        Identity::Circleci { audience } => {
            let (_, value) = variable(&who, identity, env)?;
            Ok(digest(&["circleci", &value, audience.as_deref().unwrap_or_default()]))
        }
        Identity::GithubActions { .. } => of_all("githubActions", &who, identity, env, &[]),
        Identity::AzurePipelines { service_connection } => {
            let connection = service_connection.as_deref().unwrap_or_default();
            of_all("azurePipelines", &who, identity, env, &[connection])
        }
        Identity::Buildkite { audience } => {
            of_all("buildkite", &who, identity, env, &[audience.as_deref().unwrap_or_default()])
        }
        Identity::Command { program, arguments } => {
            let program = program.to_string_lossy();
            let words = ["command", &program].into_iter().chain(arguments.iter().map(String::as_str));
            Ok(digest(&words.collect::<Vec<_>>()))
        }
        Identity::VaultIdentity { vault, role } => Ok(digest(&["vaultIdentity", vault.as_str(), role])),
        Identity::Oidc { provider } => Ok(digest(&["oidc", provider.as_str()])),
    }
}

fn of_variable(kind: &str, who: &str, identity: &Identity, env: &Env) -> Result<Fingerprint, IdentityError> {
    let (_, value) = variable(who, identity, env)?;
    Ok(digest(&[kind, &value]))
}

/// A job by all variables that it asks with.
fn of_all(
    kind: &str,
    who: &str,
    identity: &Identity,
    env: &Env,
    more: &[&str],
) -> Result<Fingerprint, IdentityError> {
    let (names, provider) = variables(identity);
    let mut parts = vec![kind];
    for name in &names {
        parts.push(env.filled(name).ok_or_else(|| IdentityError::VariableMissing {
            who: who.to_owned(),
            variable: name.clone(),
            provider,
        })?);
    }
    parts.extend_from_slice(more);
    Ok(digest(&parts))
}

fn of_file(
    kind: &str,
    who: &str,
    path: &std::path::Path,
    provider: Provider,
) -> Result<Fingerprint, IdentityError> {
    let text: SecretString = file::read(who, path, provider)?;
    let place = Place::File(path.to_owned());
    let malformed = |why| IdentityError::Malformed { who: who.to_owned(), place: place.clone(), why };
    let token = match provider {
        Provider::Spiffe => svid::token_of(text).map_err(malformed)?,
        _ => text,
    };
    let claims = shape(who, &place, token.expose_secret())?;
    match (&claims.issuer, &claims.subject) {
        // A token that says nothing of its owner is its own identity.
        (None, None) => Ok(digest(&[kind, "token", token.expose_secret().trim()])),
        (issuer, subject) => Ok(digest(&[
            kind,
            "claims",
            issuer.as_deref().unwrap_or_default(),
            subject.as_deref().unwrap_or_default(),
        ])),
    }
}

/// Each part with its length before it, so that no two lists of parts read the same.
fn digest(parts: &[&str]) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    context.update(b"vaulttoken identity 1");
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    Fingerprint(hex(context.finish().as_ref()))
}
