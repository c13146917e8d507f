//! The settings of each kind of source, validated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Name;
use super::problem::{By, SettingsError};
use super::providers::{Issuer, Provider, ProviderToken};
use super::types::Pem;
use super::value::{PathPart, WebAddress};
use crate::env::Env;

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
    /// A provider's own token, handed on by a Vault.
    VaultOidc(VaultOidc),
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
            Self::VaultOidc(source) => source.vault.as_ref(),
            Self::Oidc(_) | Self::TokenExchange(_) | Self::TokenRequest(_) => None,
        }
    }

    /// Whether it speaks to a Vault at all.
    #[must_use]
    pub fn needs_vault(&self) -> bool {
        match self {
            Self::VaultKubernetes(_) | Self::VaultKv(_) | Self::VaultIdentity(_) | Self::VaultOidc(_) => true,
            Self::Oidc(_) | Self::TokenExchange(_) | Self::TokenRequest(_) => false,
        }
    }

    /// The source's name in the settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::VaultKubernetes(_) => "vaultKubernetes",
            Self::VaultKv(_) => "vaultKv",
            Self::VaultIdentity(_) => "vaultIdentity",
            Self::Oidc(_) | Self::VaultOidc(_) => "oidc",
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

/// `oidc` with `provider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSource {
    /// Which provider.
    pub provider: Name,
}

/// `oidc` with `vault`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultOidc {
    /// Which Vault; `None` once a flag named another.
    pub vault: Option<Name>,
    /// Which of the provider's tokens.
    pub token: ProviderToken,
}

/// `tokenExchange` (RFC 8693), and what stands in its place at some issuers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenExchange {
    /// What is sent where nothing else is said.
    pub preset: Preset,
    /// The service's host, for presets that derive the endpoint from it.
    pub host: Option<url::Url>,
    /// Issuer whose discovery names the endpoint.
    pub issuer: Option<Issuer>,
    /// The endpoint itself.
    pub token_endpoint: Option<url::Url>,
    /// Whose token is exchanged.
    pub identity: Option<Name>,
    /// Where a person logs in, whose own token it is then: nothing is exchanged.
    pub person: Option<Box<Provider>>,
    /// A token file that the environment names (`AZURE_FEDERATED_TOKEN_FILE`) in the identity's place.
    pub federated_token_file: Option<PathBuf>,
    /// The client's id.
    pub client_id: Option<String>,
    /// File with the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// Where the secret goes; the preset's way where it is left out.
    pub client_authentication: Option<SecretPlace>,
    /// Account, for presets that have one.
    pub account_id: Option<String>,
    /// Tenant, for presets that have one.
    pub tenant_id: Option<String>,
    /// Authority, for presets that have one.
    pub authority_host: Option<url::Url>,
    /// The service account of Google that is impersonated with the exchanged token.
    pub service_account: Option<String>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Audiences to ask for.
    pub audiences: Vec<String>,
    /// `subject_token_type`.
    pub subject_token_type: Option<String>,
    /// `requested_token_type`.
    pub requested_token_type: Option<String>,
    /// The field of the answer that holds the token; `access_token` where it is left out.
    pub result: Option<ResultField>,
    /// Further form fields.
    pub parameters: BTreeMap<String, String>,
    /// Whom to believe.
    pub certificate_authority: Option<Pem>,
}

impl TokenExchange {
    /// Fills what the person's own environment says about a workload of Azure, as the webhook of AKS
    /// sets it; see "Microsoft Entra Workload ID: mutating admission webhook".
    ///
    /// # Errors
    /// What neither it nor the settings say.
    pub(super) fn fill(&mut self, env: &Env) -> Result<(), SettingsError> {
        if self.preset != Preset::Entra {
            return Ok(());
        }
        let variable = |name: &str| env.filled(name).map(str::to_owned);
        self.client_id = self.client_id.take().or_else(|| variable("AZURE_CLIENT_ID"));
        if let (None, Some(text)) = (&self.tenant_id, variable("AZURE_TENANT_ID")) {
            let tenant = PathPart::try_from(text)
                .map_err(|problem| SettingsError::Word { by: By::Variable("AZURE_TENANT_ID"), problem })?;
            self.tenant_id = Some(tenant.0);
        }
        if self.identity.is_none() && self.client_secret_file.is_none() {
            self.federated_token_file = variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from);
        }
        if let (None, Some(text)) = (&self.authority_host, variable("AZURE_AUTHORITY_HOST")) {
            let host = WebAddress::try_from(text).map_err(|problem| SettingsError::Word {
                by: By::Variable("AZURE_AUTHORITY_HOST"),
                problem,
            })?;
            self.authority_host = Some(host.0);
        }
        let has_subject = self.identity.is_some()
            || self.client_secret_file.is_some()
            || self.federated_token_file.is_some();
        for (is_there, what, flag) in [
            (self.tenant_id.is_some(), "`tenantId`, or `AZURE_TENANT_ID` in its environment", "tenantId"),
            (self.client_id.is_some(), "`clientId`, or `AZURE_CLIENT_ID` in its environment", "clientId"),
            (has_subject, "`identity`, or `AZURE_FEDERATED_TOKEN_FILE` in its environment", "identity"),
        ] {
            if !is_there {
                return Err(SettingsError::Needed { source_kind: "tokenExchange", what, flag });
            }
        }
        Ok(())
    }
}

/// A named set of what an issuer expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// RFC 8693 as it is written.
    Generic,
    /// A workspace or an account of Databricks.
    Databricks,
    /// Keycloak's standard token exchange.
    Keycloak,
    /// Dex.
    Dex,
    /// Workload identity of Microsoft Entra.
    Entra,
    /// Workload identity federation of Google.
    Google,
    /// Okta's on-behalf-of exchange.
    Okta,
}

impl Preset {
    /// All, in the order in which messages list them.
    pub const ALL: [Self; 7] =
        [Self::Generic, Self::Databricks, Self::Keycloak, Self::Dex, Self::Entra, Self::Google, Self::Okta];

    /// Its name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Databricks => "databricks",
            Self::Keycloak => "keycloak",
            Self::Dex => "dex",
            Self::Entra => "entra",
            Self::Google => "google",
            Self::Okta => "okta",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }
}

/// Where a client's secret goes (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace {
    /// Into the header `Authorization`.
    Basic,
    /// Into the form.
    Post,
}

/// The field of an answer that holds the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultField {
    /// `access_token`, where RFC 8693 puts whatever was asked for.
    AccessToken,
    /// `id_token`.
    IdToken,
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
    /// The UID that the account must have; else the one that it has when it is asked for.
    pub uid: Option<String>,
    /// Each token hangs on a Secret of its own.
    pub bound_object: bool,
}
