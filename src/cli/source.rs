//! The flags that describe a source where no profile does, and the same words for a hint.

use std::fmt::Write as _;

use clap::Args;

use super::Context;
use crate::config::{Name, NamedBy, Overrides, Request, SourceKind, SourceSettings};
use crate::error::shell_word;

/// What `get-token` and `trust` take in the place of a profile, or above it.
#[derive(Debug, Args)]
pub(super) struct SourceFlags {
    /// Kind of source, where no profile names one: vault-kubernetes, vault-kv or vault-identity
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Vault of the settings file
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Address of a Vault that you named in your environment or logged in to
    #[arg(long, value_name = "URL")]
    vault_address: Option<String>,
    /// Mount path of the engine
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// Role of the engine
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Audience of the token; repeat for several
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// Lifetime to ask for, such as 1h
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Cluster in the path of a token document
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Team in the path of a token document
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
}

impl SourceFlags {
    /// What they say, with the common flags and this profile.
    pub(super) fn overrides(self, profile: Option<String>, context: &Context) -> Overrides {
        Overrides {
            profile,
            source: self.source,
            vault: self.vault,
            vault_address: self.vault_address,
            mount: self.mount,
            role: self.role,
            namespace: context.namespace.clone(),
            audiences: self.audiences,
            ttl: self.ttl,
            cluster: self.cluster,
            team: self.team,
        }
    }
}

/// The flags that name the request's Vault, each behind a blank; none where the environment does.
pub(super) fn vault_words(request: &Request) -> String {
    let mut words = Words::default();
    if let Some(vault) = &request.vault {
        words.add("--vault", vault.name.as_ref().map(Name::as_str));
        if vault.name.is_none() && vault.named_by == NamedBy::Flag {
            words.add("--vault-address", Some(&vault.address.to_string()));
        }
    }
    words.0
}

/// The flags that describe the request's source as far as it matters where its tokens may go. Words
/// of variables and of a cluster extension are among them, for a person's shell has neither.
pub(super) fn source_words(request: &Request) -> String {
    let mut words = Words::default();
    words.add("--source", Some(SourceKind::of(&request.source).word()));
    words.0.push_str(&vault_words(request));
    match &request.source {
        SourceSettings::VaultKubernetes(source) => {
            words.add("--mount", Some(&source.mount));
            words.add("--role", Some(&source.role));
        }
        SourceSettings::VaultKv(source) => {
            words.add("--mount", Some(&source.mount));
            words.add("--cluster", source.cluster.as_deref());
            words.add("--team", source.team.as_deref());
        }
        SourceSettings::VaultIdentity(source) => words.add("--role", Some(&source.role)),
        SourceSettings::Oidc(_)
        | SourceSettings::VaultOidc(_)
        | SourceSettings::TokenExchange(_)
        | SourceSettings::TokenRequest(_) => {}
    }
    words.0
}

#[derive(Default)]
struct Words(String);

impl Words {
    fn add(&mut self, flag: &str, value: Option<&str>) {
        if let Some(value) = value {
            // Writing to a String does not fail.
            let _ = write!(self.0, " {flag}={}", shell_word(value));
        }
    }
}
