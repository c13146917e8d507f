//! What the Kubernetes engine and the API server behind it refuse. The engine answers most of it
//! with status 500, so the words decide; both products use the same ones.

use crate::error::{ExitCode, Explain, shell_word};

/// A token that was refused, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The Vault, printable.
    pub vault: String,
    /// Mount path of the engine.
    pub mount: String,
    /// The engine's role.
    pub role: String,
    /// The namespace asked for.
    pub namespace: Option<String>,
    /// Why, as far as we understand it.
    pub reason: Reason,
    /// The server's own words.
    pub words: Option<String>,
}

/// Why the engine gave no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The engine has no such role.
    NoRole,
    /// The role does not allow the namespace.
    NamespaceNotAllowed,
    /// The role allows several namespaces, and none was named.
    NamespaceNeeded,
    /// A role of the kind `Role` cannot be bound in the whole cluster.
    ClusterWideBinding,
    /// The engine was never told about its cluster.
    Unconfigured,
    /// The engine cannot reach its API server.
    Unreachable,
    /// The API server issues no token for less than ten minutes.
    LifetimeTooShort,
    /// The service account of the role is not there.
    AccountMissing,
    /// The namespace is not there.
    NamespaceMissing,
    /// The engine's own account lacks a right in the cluster.
    EngineForbidden,
    /// The engine's own token is not good any more.
    EngineUnauthorized,
    /// Words that we do not know.
    Other,
}

impl Reason {
    /// Reads it from the server's `errors`.
    pub(super) fn of(messages: &[String]) -> Self {
        let text = messages.join("\n").to_ascii_lowercase();
        let says = |words: &str| text.contains(words);
        let misses = |kind: &str| says(&format!("{kind} \"")) && says("not found");
        // The narrow ones first: an API server that forbids something names its kind too.
        if says("role '") && says("does not exist") {
            Self::NoRole
        } else if says("allowed_kubernetes_namespace") && says("is not present in role") {
            Self::NamespaceNotAllowed
        } else if says("'kubernetes_namespace' is required") {
            Self::NamespaceNeeded
        } else if says("clusterrolebinding cannot ref a role") {
            Self::ClusterWideBinding
        } else if says("less than 10 minutes") {
            Self::LifetimeTooShort
        } else if says("is forbidden") {
            Self::EngineForbidden
        } else if misses("serviceaccounts") {
            Self::AccountMissing
        } else if misses("namespaces") {
            Self::NamespaceMissing
        } else if NOT_CONFIGURED.iter().any(|words| says(words)) {
            Self::Unconfigured
        } else if NOT_REACHED.iter().any(|words| says(words)) {
            Self::Unreachable
        } else if says("unauthorized") {
            Self::EngineUnauthorized
        } else {
            Self::Other
        }
    }
}

const NOT_CONFIGURED: [&str; 4] = [
    "could not load backend configuration",
    "missing environment variables",
    "/var/run/secrets/kubernetes.io/",
    "unable to load in-cluster configuration",
];

/// Words of Go's network and TLS libraries.
const NOT_REACHED: [&str; 13] = [
    "connection refused",
    "connection reset",
    "no such host",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "tls handshake timeout",
    "context deadline exceeded",
    "client.timeout exceeded",
    "x509:",
    "tls: ",
    "server gave http response to https client",
    ": eof",
];

impl std::error::Error for Refused {}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { vault, mount, role, .. } = self;
        let namespace = || match &self.namespace {
            Some(namespace) => format!("namespace `{namespace}`"),
            None => "the role's namespace".to_owned(),
        };
        let cluster = format!("the API server behind `{mount}` of `{vault}`");
        match self.reason {
            Reason::NoRole => write!(formatter, "`{vault}` has no role `{role}` in `{mount}`"),
            Reason::NamespaceNotAllowed => {
                write!(formatter, "role `{role}` in `{mount}` of `{vault}` does not allow {}", namespace())
            }
            Reason::NamespaceNeeded => {
                write!(formatter, "role `{role}` in `{mount}` of `{vault}` needs a namespace to be named")
            }
            Reason::ClusterWideBinding => {
                write!(
                    formatter,
                    "role `{role}` in `{mount}` of `{vault}` cannot be bound in the whole cluster"
                )
            }
            Reason::Unconfigured => {
                write!(formatter, "`{mount}` of `{vault}` is not configured for any cluster")
            }
            Reason::Unreachable => {
                write!(formatter, "`{vault}` cannot reach the API server behind `{mount}`")
            }
            Reason::LifetimeTooShort => {
                write!(formatter, "{cluster} refused so short a token for role `{role}`")
            }
            Reason::AccountMissing => {
                write!(formatter, "{cluster} has no service account as role `{role}` names it")
            }
            Reason::NamespaceMissing => write!(formatter, "{cluster} does not have {}", namespace()),
            Reason::EngineForbidden => write!(
                formatter,
                "{cluster} does not allow the engine's own account what role `{role}` needs"
            ),
            Reason::EngineUnauthorized => {
                write!(formatter, "{cluster} does not accept the engine's own token")
            }
            Reason::Other => write!(formatter, "`{vault}` refused a token for role `{role}` in `{mount}`"),
        }
    }
}

impl Explain for Refused {
    fn exit_code(&self) -> ExitCode {
        match self.reason {
            Reason::Unreachable => ExitCode::Unreachable,
            Reason::NoRole
            | Reason::NamespaceNotAllowed
            | Reason::NamespaceNeeded
            | Reason::ClusterWideBinding
            | Reason::Unconfigured
            | Reason::LifetimeTooShort
            | Reason::AccountMissing
            | Reason::NamespaceMissing
            | Reason::EngineForbidden
            | Reason::EngineUnauthorized
            | Reason::Other => ExitCode::Refused,
        }
    }

    fn why(&self) -> Option<String> {
        self.words.clone()
    }

    fn hint(&self) -> Option<String> {
        let Self { mount, role, .. } = self;
        let word = |text: String| shell_word(&text).into_owned();
        let (roles, role) = (word(format!("{mount}/roles")), word(format!("{mount}/roles/{role}")));
        let config = word(format!("{mount}/config"));
        let namespace = self.namespace.as_deref().map(shell_word);
        Some(match self.reason {
            Reason::NoRole => format!(
                "set `role` in the profile to one that `vault list {roles}` or `bao list {roles}` shows"
            ),
            Reason::NamespaceNotAllowed => {
                format!(
                    "set `namespace` in the profile to one that `vault read {role}` or `bao read {role}` allows"
                )
            }
            Reason::NamespaceNeeded => {
                "set `namespace` in the profile's `vaultKubernetes`, or pass `--namespace`".to_owned()
            }
            Reason::ClusterWideBinding => {
                "leave `clusterRoleBinding` out of the profile, or use a role whose `kubernetes_role_type` is \
                 `ClusterRole`"
                    .to_owned()
            }
            Reason::Unconfigured => {
                format!("write `kubernetes_host`, `kubernetes_ca_cert` and `service_account_jwt` to `{config}`")
            }
            Reason::Unreachable => {
                format!("try again later; `{config}` in Vault names the API server and its CA")
            }
            Reason::LifetimeTooShort => {
                "set `ttl: 10m` or more in the profile's `vaultKubernetes`".to_owned()
            }
            Reason::AccountMissing => format!(
                "create the service account that `{role}` names: `kubectl create serviceaccount NAME{}`",
                namespace.map(|namespace| format!(" --namespace {namespace}")).unwrap_or_default()
            ),
            Reason::NamespaceMissing => match namespace {
                Some(namespace) => format!("kubectl create namespace {namespace}"),
                None => format!("create the namespace that `{role}` allows"),
            },
            Reason::EngineForbidden => format!(
                "bind a ClusterRole with that right to the service account whose token `{config}` holds"
            ),
            Reason::EngineUnauthorized => {
                format!("write a fresh `service_account_jwt` to `{config}`")
            }
            Reason::Other => return None,
        })
    }
}
