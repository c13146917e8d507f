//! The validated settings: past this module nothing is a bare string that could be malformed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Name;
use super::providers::Provider;
use super::sources::SourceSettings;

/// Everything the settings files say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// How secrets are kept.
    pub store: Store,
    /// `journal`: whether what is handed out is written down.
    pub journal: Journaling,
    /// Vaults by name.
    pub vaults: BTreeMap<Name, VaultSettings>,
    /// OpenID providers by name.
    pub providers: BTreeMap<Name, Provider>,
    /// Workload identities by name.
    pub identities: BTreeMap<Name, Identity>,
    /// Profiles by name.
    pub profiles: BTreeMap<Name, Profile>,
}

/// `store`: how secrets are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Store {
    /// Sealed where there is a keyring, else plain on a tmpfs, else nowhere.
    #[default]
    Auto,
    /// Sealed or not at all.
    Sealed,
    /// Plain files in the cache folder.
    Plain,
    /// Nothing is kept.
    None,
}

/// `journal`: whether what is handed out is written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Journaling {
    /// It is.
    #[default]
    On,
    /// It is not.
    Off,
}

impl Store {
    /// The stricter of two: what keeps less, and that only sealed.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let strictness = |store| match store {
            Self::Plain => 0,
            Self::Auto => 1,
            Self::Sealed => 2,
            Self::None => 3,
        };
        if strictness(other) > strictness(self) { other } else { self }
    }
}

/// Who named a place to which secrets may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The settings file at its usual place (or where the person's own environment says).
    Settings,
    /// The person's own environment.
    Environment,
    /// A flag, or a settings file that a flag names: perhaps the kubeconfig's words.
    Flag,
}

/// One Vault or OpenBao, and how to log in to it.
#[derive(Debug, Clone, PartialEq)]
pub struct VaultSettings {
    /// Its name in the settings; none for one that the environment or a flag names.
    pub name: Option<Name>,
    /// Who named its address.
    pub named_by: NamedBy,
    /// Where it is.
    pub address: VaultAddress,
    /// Further nodes of it, to which it may redirect.
    pub addresses: Vec<VaultAddress>,
    /// `X-Vault-Namespace`, without slashes at its ends.
    pub namespace: Option<String>,
    /// How its certificate is judged, and what is presented to it.
    pub tls: TlsSettings,
    /// How to log in.
    pub auth: AuthMethod,
}

/// A Vault address.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum VaultAddress {
    /// `https://host:port[/prefix]`, or http. Without user, query, fragment or trailing slash.
    Url(url::Url),
    /// `unix:///path`.
    UnixSocket(PathBuf),
}

impl std::fmt::Display for VaultAddress {
    /// Without the slash that `url::Url` adds to a bare host.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => formatter.write_str(url.as_str().trim_end_matches('/')),
            Self::UnixSocket(path) => write!(formatter, "unix://{}", path.display()),
        }
    }
}

/// TLS towards one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whom to believe; empty: the variables of the environment, else the system's.
    pub certificate_authorities: Vec<Pem>,
    /// Certificate and key to present.
    pub client_certificate: Option<(Pem, Pem)>,
    /// The name in the server's certificate, where it is not the address's host.
    pub server_name: Option<String>,
    /// Verification is off: only by the person's own `VAULT_SKIP_VERIFY`.
    pub skip_verify: bool,
}

/// PEM text, in place or in a file or folder that is read when it is needed.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Inline(String),
    /// A file.
    File(PathBuf),
    /// A folder of files (`VAULT_CAPATH`).
    Folder(PathBuf),
}

impl std::fmt::Debug for Pem {
    /// Security: an inline PEM may be a private key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => formatter.write_str("Inline(..)"),
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Folder(path) => formatter.debug_tuple("Folder").field(path).finish(),
        }
    }
}

/// How to log in to a Vault. `mount` is without `auth/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// A token from the environment, the token helper or `~/.vault-token`.
    Token,
    /// Name and password.
    Userpass {
        /// Mount path.
        mount: String,
        /// The name; asked for where it is left out.
        username: Option<String>,
    },
    /// A directory's name and password.
    Ldap {
        /// Mount path.
        mount: String,
        /// The name; asked for where it is left out.
        username: Option<String>,
    },
    /// A role id and a secret id.
    Approle {
        /// Mount path.
        mount: String,
        /// The role id.
        role_id: String,
        /// File with the secret id, or with the token that wraps it.
        secret_id_file: Option<PathBuf>,
        /// The file holds a wrapping token.
        secret_id_wrapped: bool,
    },
    /// A Kubernetes service-account token.
    Kubernetes {
        /// Mount path.
        mount: String,
        /// The Vault role.
        role: String,
        /// Whose token; left out: the pod's own.
        identity: Option<Name>,
    },
    /// A JWT of a workload or of a provider.
    Jwt {
        /// Mount path.
        mount: String,
        /// The Vault role; the mount's default role where it is left out.
        role: Option<String>,
        /// Where the JWT comes from.
        from: JwtOrigin,
    },
    /// A browser.
    Oidc {
        /// Mount path.
        mount: String,
        /// The Vault role.
        role: Option<String>,
    },
    /// A client certificate.
    Cert {
        /// Mount path.
        mount: String,
        /// The certificate role.
        role: Option<String>,
        /// Certificate and key; left out: those of `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`.
        pair: Option<(Pem, Pem)>,
    },
}

impl AuthMethod {
    /// The method's name in the settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Userpass { .. } => "userpass",
            Self::Ldap { .. } => "ldap",
            Self::Approle { .. } => "approle",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Jwt { .. } => "jwt",
            Self::Oidc { .. } => "oidc",
            Self::Cert { .. } => "cert",
        }
    }

    /// Whether it can log in without a person.
    #[must_use]
    pub fn is_unattended(&self) -> bool {
        match self {
            // By a provider's token as long as the session there can be renewed; then it says so.
            Self::Approle { .. } | Self::Kubernetes { .. } | Self::Cert { .. } | Self::Jwt { .. } => true,
            Self::Token | Self::Userpass { .. } | Self::Ldap { .. } | Self::Oidc { .. } => false,
        }
    }

    /// Whether it can log in again as it did before, without a person and with what is at hand.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        // What a wrapping token wraps can be had once, and a provider's session may end with a crash too.
        let is_used_up = matches!(
            self,
            Self::Approle { secret_id_wrapped: true, .. } | Self::Jwt { from: JwtOrigin::Provider(_), .. }
        );
        self.is_unattended() && !is_used_up
    }
}

/// Where the JWT of a `jwt` log-in comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtOrigin {
    /// A workload identity.
    Identity(Name),
    /// The ID token of a provider that a person logs in to.
    Provider(Name),
}

/// Where a workload's own JWT comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A file, read at every use.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A variable that holds the JWT.
    Env {
        /// The variable.
        variable: String,
    },
    /// GitHub Actions' token service.
    GithubActions {
        /// The audience to ask for.
        audience: Option<String>,
    },
    /// A GitLab `id_tokens` variable.
    Gitlab {
        /// The variable; `VAULT_ID_TOKEN` by convention.
        variable: String,
    },
    /// A projected service-account token.
    Kubernetes {
        /// The audience it must have.
        audience: Option<String>,
        /// The file.
        path: PathBuf,
    },
    /// An identity token of a Vault.
    VaultIdentity {
        /// Which Vault.
        vault: Name,
        /// Its identity role.
        role: String,
    },
    /// A person's ID token.
    Oidc {
        /// Which provider.
        provider: Name,
    },
    /// A job of CircleCI: its variable, or its command line where an audience is named.
    Circleci {
        /// The audience to ask for.
        audience: Option<String>,
    },
    /// A job of Buildkite, whose agent is asked.
    Buildkite {
        /// The audience to ask for; the endpoint's own where it is left out.
        audience: Option<String>,
    },
    /// A job of Azure Pipelines, whose token service is asked.
    AzurePipelines {
        /// The id of the service connection that the token is for; else the pipeline's own.
        service_connection: Option<String>,
    },
    /// A step of Bitbucket Pipelines.
    Bitbucket,
    /// A run of HCP Terraform.
    TerraformCloud {
        /// The end of its variable's name, where a run has several tokens.
        tag: Option<String>,
    },
    /// A JWT-SVID in a file.
    Spiffe {
        /// The file.
        path: PathBuf,
        /// The audience it must have.
        audience: Option<String>,
    },
    /// What a program prints that the administrator's settings name.
    Command {
        /// The program, by its absolute path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

impl Identity {
    /// The token that a pod is given without asking.
    #[must_use]
    pub fn of_this_pod() -> Self {
        Self::Kubernetes { audience: None, path: super::validate::POD_TOKEN.into() }
    }
}

/// One profile: a source of tokens and the clusters that they may go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: Name,
    /// The file it was read from; `status` names it.
    pub file: Option<PathBuf>,
    /// Who named that file. A pin in a file that a flag named is perhaps the kubeconfig's words.
    pub named_by: NamedBy,
    /// The clusters its tokens may go to; empty: the first one is remembered.
    pub clusters: Vec<ClusterPin>,
    /// Where its tokens come from.
    pub source: SourceSettings,
}

/// A cluster that a profile is pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPin {
    /// The API server.
    pub server: url::Url,
    /// Its CA; without one the first CA seen at this server is remembered.
    pub certificate_authority: Option<Pem>,
    /// `insecureSkipTlsVerify: allow`: serve a kubeconfig that switches verification off.
    pub insecure_skip_tls_verify: bool,
    /// `withoutClusterInfo: allow`: serve a client that does not say which cluster it is for.
    pub without_cluster_info: bool,
}
