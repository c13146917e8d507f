//! Why a source gave no token that can be used. What Vault itself refuses is a
//! [`VaultError`](crate::vault::VaultError); these are what its engines, and what stands behind
//! them, refuse or answer.

use super::token_exchange::ExchangeError;
use super::token_request::NotGranted;
use super::vault_identity::NotIssued;
use super::vault_kubernetes::Refused;
use super::vault_kv::{NotRead, TemplateError};
use crate::config::ProviderToken;
use crate::error::{Error, ExitCode, Explain};
use crate::token::Flaw;

/// What a source got instead of a token. `vault` is a printable address.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// There is no such engine.
    #[error("`{vault}` has nothing mounted at `{mount}`")]
    NoMount {
        /// Which Vault.
        vault: String,
        /// The mount path of the settings.
        mount: String,
    },
    /// An answer that is not of the documented shape.
    #[error("the answer of `{vault}` to `{path}` cannot be used")]
    Answer {
        /// Which Vault.
        vault: String,
        /// The path that was called.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A token that cannot be handed out.
    #[error("the token that `{vault}` gave for `{path}` cannot be used")]
    UnusableToken {
        /// Which Vault.
        vault: String,
        /// The path that was called.
        path: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The Kubernetes engine, or the cluster behind it.
    #[error(transparent)]
    Kubernetes(Box<Refused>),
    /// A path or field of the settings that cannot be filled in.
    #[error(transparent)]
    Template(Box<TemplateError>),
    /// The token document in KV.
    #[error(transparent)]
    Kv(Box<NotRead>),
    /// The identity engine.
    #[error(transparent)]
    Identity(Box<NotIssued>),
    /// The metadata of the session have no token of a provider.
    #[error("`{vault}` hands on no {} of a provider", words_of(*kind))]
    NotHandedOn {
        /// Which Vault.
        vault: String,
        /// Which token.
        kind: ProviderToken,
    },
    /// The authorization server of an exchange.
    #[error(transparent)]
    Exchange(Box<ExchangeError>),
    /// A cluster that was asked for a service account's token.
    #[error(transparent)]
    TokenRequest(Box<NotGranted>),
}

fn words_of(kind: ProviderToken) -> &'static str {
    match kind {
        ProviderToken::Id => "ID token",
        ProviderToken::Access => "access token",
    }
}

fn field_of(kind: ProviderToken) -> &'static str {
    match kind {
        ProviderToken::Id => "id_token",
        ProviderToken::Access => "access_token",
    }
}

impl From<ExchangeError> for SourceError {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(Box::new(error))
    }
}

impl From<ExchangeError> for Error {
    fn from(error: ExchangeError) -> Self {
        SourceError::from(error).into()
    }
}

impl Explain for SourceError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoMount { .. } | Self::NotHandedOn { .. } => ExitCode::Refused,
            Self::Answer { .. } | Self::UnusableToken { .. } => ExitCode::Unusable,
            Self::Kubernetes(error) => error.exit_code(),
            Self::Template(error) => error.exit_code(),
            Self::Kv(error) => error.exit_code(),
            Self::Identity(error) => error.exit_code(),
            Self::Exchange(error) => error.exit_code(),
            Self::TokenRequest(error) => error.exit_code(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::NoMount { .. } => None,
            Self::NotHandedOn { kind, .. } => {
                Some(format!("the metadata of the session have no `oauth2_{}`", field_of(*kind)))
            }
            Self::Answer { why, .. } => Some(why.clone()),
            Self::UnusableToken { flaw, .. } => Some(flaw.to_string()),
            Self::Kubernetes(error) => error.why(),
            Self::Template(error) => error.why(),
            Self::Kv(error) => error.why(),
            Self::Identity(error) => error.why(),
            Self::Exchange(error) => error.why(),
            Self::TokenRequest(error) => error.why(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoMount { .. } => Some(
                "set `mount` in the profile to a path that `vault secrets list` or `bao secrets list` shows"
                    .to_owned(),
            ),
            Self::NotHandedOn { kind, .. } => Some(format!(
                "add `{}` to `oauth2_metadata` of the role, which OpenBao's have, then log in anew: \
                 `{{program}} login{{profile}}{{vault}}{{config}}`",
                field_of(*kind)
            )),
            Self::Answer { .. } => None,
            Self::UnusableToken { flaw, .. } => match flaw {
                Flaw::Dead(_) | Flaw::NotYet(_) => {
                    Some("compare the clock of this machine with the server's: `date -u`".to_owned())
                }
                Flaw::Empty | Flaw::Unprintable | Flaw::TooLong(_) => None,
            },
            Self::Kubernetes(error) => error.hint(),
            Self::Template(error) => error.hint(),
            Self::Kv(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Exchange(error) => error.hint(),
            Self::TokenRequest(error) => error.hint(),
        }
    }
}
