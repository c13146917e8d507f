//! Who a workload is, as far as that can be told without the network: a digest that keeps apart the
//! cache entries of two identities that share a home.

use ring::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};

use super::{Provider, file, github, shape, variable, who};
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

/// Tells who the workload is: issuer and subject of a token file, the whole value of a variable, the
/// request token of a GitHub job, Vault and role of an identity that a Vault issues (there the
/// fingerprint of that Vault's own log-in belongs beside it).
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
        Identity::Env { variable: name } => {
            let value = variable(&who, name, env.filled(name), Provider::Person)?;
            Ok(digest(&["env", value]))
        }
        Identity::Gitlab { variable: name } => {
            let value = variable(&who, name, env.filled(name), Provider::Gitlab)?;
            Ok(digest(&["gitlab", value]))
        }
        Identity::GithubActions { .. } => {
            let url = variable(&who, github::URL, env.filled(github::URL), Provider::Github)?;
            let token = variable(&who, github::TOKEN, env.filled(github::TOKEN), Provider::Github)?;
            Ok(digest(&["githubActions", url, token]))
        }
        Identity::VaultIdentity { vault, role } => Ok(digest(&["vaultIdentity", vault.as_str(), role])),
        Identity::Oidc { .. } => Err(IdentityError::NotInThisVersion { who, kind: "oidc" }),
    }
}

fn of_file(
    kind: &str,
    who: &str,
    path: &std::path::Path,
    provider: Provider,
) -> Result<Fingerprint, IdentityError> {
    let token: SecretString = file::read(who, path, provider)?;
    let place = Place::File(path.to_owned());
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
