//! The settings of an OpenID provider, validated, and what else is known of one that the settings of a
//! source make.

use std::path::PathBuf;

use super::types::{NamedBy, Pem};

/// An OpenID issuer. `url::Url` alone would not do: it adds a slash to a bare host and lower-cases
/// it, and an issuer is compared byte for byte (OpenID Connect Discovery 1.0, section 4.3).
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Issuer {
    pub(super) text: String,
    pub(super) url: url::Url,
}

impl Issuer {
    /// Byte for byte what discovery and ID tokens must say.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, to build an address from.
    #[must_use]
    pub fn url(&self) -> &url::Url {
        &self.url
    }
}

impl std::fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// An OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Who named it: a client secret or an identity must not go to a place that a flag named.
    pub named_by: NamedBy,
    /// What is known of it besides.
    pub kind: ProviderKind,
    /// Byte for byte what discovery and ID tokens must say; a host of Databricks by its address.
    pub issuer: Issuer,
    /// The client's id.
    pub client_id: String,
    /// File with its secret, for a confidential client.
    pub client_secret_file: Option<PathBuf>,
    /// Scopes, beyond `openid` where it is an OpenID provider.
    pub scopes: Vec<String>,
    /// Fixed port of the callback; else a free one.
    pub redirect_port: Option<u16>,
    /// Which of its tokens a cluster gets.
    pub token: ProviderToken,
    /// Whom to believe.
    pub certificate_authority: Option<Pem>,
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderKind {
    /// An OpenID provider: its own metadata say all about it.
    OpenId,
    /// A host of Databricks, which logs people in by OAuth alone and gives no ID token.
    Databricks {
        /// The account, where the settings name it.
        account: Option<String>,
    },
}

/// Which of a provider's tokens a cluster gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProviderToken {
    /// The ID token.
    #[default]
    Id,
    /// The access token.
    Access,
}
