//! Where cluster tokens come from: a closed set of sources, made from the settings.
//!
//! A source asks its issuer once and says what it got, until when it is usable, and who refused it
//! otherwise. It never touches the cache, standard output or the environment, and keeps nothing.

mod ask;
mod cluster;
mod error;
pub(crate) mod field;
pub mod oidc;
pub mod token_exchange;
pub mod token_request;
pub mod vault_identity;
pub mod vault_kubernetes;
pub mod vault_kv;
mod vault_oidc;

#[cfg(test)]
pub(crate) mod script;

use std::sync::Arc;

use ask::Ask;
pub use cluster::{Asking, Comparison, DocumentCluster};
pub use error::SourceError;
use token_exchange::Exchange;

use crate::config::{self, Name, SourceSettings};
use crate::error::Error;
use crate::token::{Claims, Flaw, Lease, Minted, Timestamp, Token, after};
use crate::vault::{Revocation, Vault};

/// A source of tokens.
pub enum Source {
    /// The Kubernetes secrets engine.
    VaultKubernetes(Arc<Vault>, config::VaultKubernetes),
    /// A token document in KV.
    VaultKv(Arc<Vault>, config::VaultKv),
    /// An identity token that the API server trusts.
    VaultIdentity(Arc<Vault>, config::VaultIdentity),
    /// A provider's token that a Vault hands on.
    VaultOidc(Arc<Vault>, config::VaultOidc),
    /// A token that is exchanged for another.
    TokenExchange(Box<Exchange>),
    /// A provider's own token.
    Oidc(oidc::Oidc),
    /// A service account's token, asked of a cluster.
    TokenRequest(token_request::Hub, config::TokenRequestSource),
}

/// What a source gave.
#[derive(Debug)]
pub struct Fetched {
    /// The token with its times.
    pub token: Token,
    /// What the server, or we, have to say about it; for a verbose caller.
    pub warnings: Vec<String>,
    /// By which the issuer's audit log knows the request.
    pub request_id: Option<String>,
    /// The cluster that a token document names.
    pub document: Option<DocumentCluster>,
    /// What came of it outside a Vault.
    pub elsewhere: Option<Elsewhere>,
}

/// Who gave a token, where no Vault did, and for what: for the journal.
#[derive(Debug)]
pub struct Elsewhere {
    /// The provider, or the endpoint of an exchange.
    pub by: String,
    /// A refresh token was spent for it.
    pub was_refreshed: bool,
    /// Whose token was exchanged for it.
    pub exchanged: Option<Claims>,
}

impl Source {
    /// The source of these settings. `vault` makes the client of the Vault that they name (`None`:
    /// the environment's), `exchange` the source of an exchange, `provider` that of a provider's token,
    /// `hub` the cluster behind a context of a kubeconfig; each is called once, and only for sources that
    /// need it.
    ///
    /// # Errors
    /// What the one that is called fails with.
    pub fn new(
        settings: &SourceSettings,
        vault: impl FnOnce(Option<&Name>) -> Result<Arc<Vault>, Error>,
        exchange: impl FnOnce(&config::TokenExchange) -> Result<Exchange, Error>,
        provider: impl FnOnce(&Name) -> Result<oidc::Oidc, Error>,
        hub: impl FnOnce(&str) -> Result<token_request::Hub, Error>,
    ) -> Result<Self, Error> {
        match settings {
            SourceSettings::VaultKubernetes(settings) => {
                Ok(Self::VaultKubernetes(vault(settings.vault.as_ref())?, settings.clone()))
            }
            SourceSettings::VaultKv(settings) => {
                Ok(Self::VaultKv(vault(settings.vault.as_ref())?, settings.clone()))
            }
            SourceSettings::VaultIdentity(settings) => {
                Ok(Self::VaultIdentity(vault(settings.vault.as_ref())?, settings.clone()))
            }
            SourceSettings::VaultOidc(settings) => {
                Ok(Self::VaultOidc(vault(settings.vault.as_ref())?, settings.clone()))
            }
            SourceSettings::TokenExchange(settings) => Ok(Self::TokenExchange(Box::new(exchange(settings)?))),
            SourceSettings::Oidc(settings) => Ok(Self::Oidc(provider(&settings.provider)?)),
            SourceSettings::TokenRequest(settings) => {
                Ok(Self::TokenRequest(hub(&settings.context)?, settings.clone()))
            }
        }
    }

    /// Asks for a token, once. `asking` is the cluster it is for, with which a document is compared.
    ///
    /// # Errors
    /// [`Error::Vault`] where Vault refuses or cannot be reached, [`Error::Source`] where its engine
    /// does, or what came is no token for this cluster.
    pub async fn mint(&self, asking: &Asking, clock: fn() -> Timestamp) -> Result<Fetched, Error> {
        match self {
            Self::VaultKubernetes(vault, settings) => {
                let minted = vault_kubernetes::mint(vault.as_ref(), settings, clock).await?;
                let path = format!("{}/creds/{}", settings.mount, settings.role);
                Ok(fetched(vault.origin(), &path, minted, None, clock())?)
            }
            Self::VaultKv(vault, settings) => document(vault.as_ref(), settings, asking, clock).await,
            Self::Oidc(oidc) => {
                let (minted, was_refreshed) = oidc.mint().await?;
                let by = oidc.client.issuer().to_owned();
                let fetched = fetched(&by, oidc.path(), minted, None, clock())?;
                Ok(Fetched { elsewhere: Some(Elsewhere { by, was_refreshed, exchanged: None }), ..fetched })
            }
            Self::VaultIdentity(vault, settings) => {
                let minted = vault_identity::mint(vault.as_ref(), &settings.role, clock).await?;
                let path = format!("identity/oidc/token/{}", settings.role);
                Ok(fetched(vault.origin(), &path, minted, None, clock())?)
            }
            Self::VaultOidc(vault, settings) => {
                let minted = vault_oidc::mint(vault.as_ref(), settings.token, clock).await?;
                Ok(fetched(vault.origin(), vault_oidc::PATH, minted, None, clock())?)
            }
            Self::TokenExchange(exchange) => exchange.mint().await,
            Self::TokenRequest(hub, settings) => {
                let minted = token_request::mint(hub, settings, clock).await?;
                let path = format!("{}/{}", settings.namespace, settings.service_account);
                Ok(fetched(hub.server(), &path, minted, None, clock())?)
            }
        }
    }

    /// Revokes the lease of a token. What that means for the token is [`Lease::ends_token`].
    ///
    /// # Errors
    /// [`Error::Vault`] where Vault cannot be asked.
    pub async fn revoke(&self, lease: &Lease) -> Result<Revocation, Error> {
        match self {
            Self::VaultKubernetes(vault, _) => Ok(vault.revoke_lease(&lease.id).await?),
            Self::TokenRequest(hub, _) => token_request::revoke(hub, lease).await,
            Self::VaultKv(..)
            | Self::VaultIdentity(..)
            | Self::VaultOidc(..)
            | Self::TokenExchange(_)
            | Self::Oidc(_) => Ok(Revocation::Nothing),
        }
    }
}

/// A token document, whose token may be dead already.
async fn document<V: Ask>(
    vault: &V,
    settings: &config::VaultKv,
    asking: &Asking,
    clock: fn() -> Timestamp,
) -> Result<Fetched, Error> {
    let vault_kv::Document { minted, cluster, place } =
        vault_kv::read(vault, settings, asking, clock).await?;
    fetched(vault.origin(), place.path(), minted, Some(cluster), clock()).map_err(|error| match error {
        SourceError::UnusableToken { flaw: Flaw::Dead(at), .. } => place.late(at).into(),
        other => other.into(),
    })
}

fn fetched(
    vault: &str,
    path: &str,
    mut minted: Minted,
    document: Option<DocumentCluster>,
    now: Timestamp,
) -> Result<Fetched, SourceError> {
    let warnings = std::mem::take(&mut minted.warnings);
    let request_id = minted.request_id.take();
    let token = Token::new(minted, now).map_err(|flaw| SourceError::UnusableToken {
        vault: vault.to_owned(),
        path: path.to_owned(),
        flaw,
    })?;
    Ok(Fetched { token, warnings, request_id, document, elsewhere: None })
}

/// The server's messages as one line.
fn words(messages: &[String]) -> Option<String> {
    let text = crate::error::printable(&messages.join("; "));
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]
mod tests;
