//! The settings of each kind of source, validated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Name;
use super::types::{Issuer, Pem};

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSettings {
    /// The Kubernetes secrets engine.
    VaultKubernetes(VaultKubernetes),
    /// A token document in KV.
    VaultKv(VaultKv),
    /// An identity token that the API server trusts.
    VaultIdentity(VaultIdentity),
    /// A provider's own token.
    Oidc(OidcSource),
    /// RFC 8693.
    TokenExchange(Box<TokenExchange>),
    /// A service account's token, asked of a cluster.
    TokenRequest(TokenRequestSource),
}

impl SourceSettings {
    /// The Vault that it names.
    #[must_use]
    pub fn vault(&self) -> Option<&Name> {
        match self {
            Self::VaultKubernetes(source) => source.vault.as_ref(),
            Self::VaultKv(source) => source.vault.as_ref(),
            Self::VaultIdentity(source) => source.vault.as_ref(),
            Self::Oidc(_) | Self::TokenExchange(_) | Self::TokenRequest(_) => None,
        }
    }

    /// Whether it speaks to a Vault at all.
    #[must_use]
    pub fn needs_vault(&self) -> bool {
        matches!(self, Self::VaultKubernetes(_) | Self::VaultKv(_) | Self::VaultIdentity(_))
    }

    /// The source's name in the settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::VaultKubernetes(_) => "vaultKubernetes",
            Self::VaultKv(_) => "vaultKv",
            Self::VaultIdentity(_) => "vaultIdentity",
            Self::Oidc(_) => "oidc",
            Self::TokenExchange(_) => "tokenExchange",
            Self::TokenRequest(_) => "tokenRequest",
        }
    }
}

/// `vaultKubernetes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultKubernetes {
    /// Which Vault; `None`: the environment's.
    pub vault: Option<Name>,
    /// Mount path of the engine.
    pub mount: String,
    /// The engine's role.
    pub role: String,
    /// `kubernetes_namespace`; may be left out where the role has just one.
    pub namespace: Option<String>,
    /// Lifetime to ask for; the role's default where it is left out.
    pub ttl: Option<Duration>,
    /// Audiences to ask for.
    pub audiences: Vec<String>,
    /// Bind a generated account in the whole cluster.
    pub cluster_role_binding: bool,
}

/// `vaultKv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultKv {
    /// Which Vault; `None`: the environment's.
    pub vault: Option<Name>,
    /// Mount path of the engine.
    pub mount: String,
    /// Path, in which `{cluster}` and `{team}` stand for the fields below.
    pub path: String,
    /// Field that holds the token.
    pub field: String,
    /// The cluster that the document must be for.
    pub cluster: Option<String>,
    /// The team that the document must be for.
    pub team: Option<String>,
}

impl VaultKv {
    /// The path of the document: `{cluster}` and `{team}` stand for the fields. A request that was
    /// resolved has a field for each that its path names.
    #[must_use]
    pub fn document_path(&self) -> String {
        self.path
            .replace("{cluster}", self.cluster.as_deref().unwrap_or_default())
            .replace("{team}", self.team.as_deref().unwrap_or_default())
    }
}

/// `vaultIdentity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultIdentity {
    /// Which Vault; `None`: the environment's.
    pub vault: Option<Name>,
    /// Role below `identity/oidc/role`.
    pub role: String,
}

/// `oidc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSource {
    /// Which provider.
    pub provider: Name,
}

/// `tokenExchange` (RFC 8693).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenExchange {
    /// A named set of the fields below.
    pub preset: Option<String>,
    /// The service's host, for presets that derive the endpoint from it.
    pub host: Option<url::Url>,
    /// Issuer whose discovery names the endpoint.
    pub issuer: Option<Issuer>,
    /// The endpoint itself.
    pub token_endpoint: Option<url::Url>,
    /// Whose token is exchanged.
    pub identity: Option<Name>,
    /// The client's id.
    pub client_id: Option<String>,
    /// File with the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// Account, for presets that have one.
    pub account_id: Option<String>,
    /// Tenant, for presets that have one.
    pub tenant_id: Option<String>,
    /// Authority, for presets that have one.
    pub authority_host: Option<url::Url>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Audiences to ask for.
    pub audiences: Vec<String>,
    /// `subject_token_type`.
    pub subject_token_type: Option<String>,
    /// `requested_token_type`.
    pub requested_token_type: Option<String>,
    /// Further form fields.
    pub parameters: BTreeMap<String, String>,
    /// Whom to believe.
    pub certificate_authority: Option<Pem>,
}

/// `tokenRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequestSource {
    /// kubeconfig context to ask through.
    pub context: String,
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub service_account: String,
    /// Audiences to ask for.
    pub audiences: Vec<String>,
    /// Lifetime to ask for.
    pub ttl: Option<Duration>,
}
