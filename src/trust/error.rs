//! Why a secret was not sent, in words, with the command that changes it.

use crate::cluster::ClusterFlaw;
use crate::error::{ExitCode, Explain, shell_word};

/// Why we did not send a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The profile belongs to another cluster.
    #[error("refused to hand this token to {server}: it belongs to {known}")]
    OtherCluster {
        /// Who asked.
        server: String,
        /// Whom the profile serves.
        known: String,
        /// Why the two are not the same.
        difference: Difference,
        /// The kubeconfig context that leads to `server`, where one was found.
        context: Option<String>,
    },
    /// The client will not check the certificate of whoever answers.
    #[error("refused to hand this token to {server}: TLS verification is switched off")]
    TlsOff {
        /// Who asked.
        server: String,
    },
    /// A pinned profile, and a client that does not say for which cluster.
    #[error("refused to hand out this token: the client did not say which cluster it is for")]
    NoClusterInfo,
    /// The client's description of the cluster makes no sense.
    #[error("the cluster that the client names cannot be understood")]
    Cluster(#[source] ClusterFlaw),
    /// A pin of the settings makes no sense.
    #[error("the pin to {server} cannot be used")]
    Pin {
        /// The pinned server.
        server: String,
        /// Why.
        flaw: ClusterFlaw,
    },
    /// A Vault that only the kubeconfig names.
    #[error("refused to send a Vault session to {address}: neither your settings nor you named it")]
    UnknownVault {
        /// Its address.
        address: String,
        /// Variables that only the kubeconfig set.
        foreign: Vec<String>,
    },
    /// A service that only the kubeconfig names.
    #[error("refused to send a token or a secret to {address}: your settings do not name it")]
    UnknownService {
        /// Its address.
        address: String,
    },
    /// A provider that only the kubeconfig names.
    #[error("refused to send a session to the provider {issuer}: neither your settings nor you named it")]
    UnknownProvider {
        /// Its issuer.
        issuer: String,
        /// Variables that only the kubeconfig set.
        foreign: Vec<String>,
    },
    /// `trust` without a context.
    #[error("`trust` needs the context whose cluster is meant")]
    ContextMissing,
    /// The CA is not the one that the script expects.
    #[error("{server} was not trusted: its certificate authority has another fingerprint")]
    Fingerprint {
        /// The server.
        server: String,
        /// What its CA certificates have.
        fingerprints: Vec<String>,
    },
    /// Nobody to ask.
    #[error("{server} was not trusted: there is nobody to ask")]
    NobodyToAsk {
        /// The server.
        server: String,
        /// What its CA certificates have.
        fingerprints: Vec<String>,
    },
    /// The person said no.
    #[error("{server} was not trusted")]
    Declined {
        /// The server.
        server: String,
    },
    /// What a person accepted could not be kept.
    #[error("`{path}` could not be written, so the cluster is not trusted")]
    NotKept {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// What was remembered cannot be read, so that nothing can be compared.
    #[error("`{path}`, which remembers the clusters of each profile, cannot be read")]
    Memory {
        /// The file.
        path: String,
        /// Why.
        reason: String,
        /// What helps.
        mend: Mend,
    },
}

/// What helps where the memory cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// Another mode of the file, which others could have written.
    Guard,
    /// The same of its folder.
    GuardFolder(String),
    /// Another folder.
    OtherFolder,
    /// Another name: it is damaged, or no file of ours.
    PutAside,
}

/// What makes two clusters differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Another certificate authority.
    Authority,
    /// Another host or port, or another name in the certificate.
    Server,
}

impl Explain for TrustError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Cluster(_) | Self::Pin { .. } | Self::ContextMissing => ExitCode::Usage,
            Self::NotKept { .. } => ExitCode::NoStore,
            Self::OtherCluster { .. }
            | Self::TlsOff { .. }
            | Self::NoClusterInfo
            | Self::UnknownVault { .. }
            | Self::UnknownService { .. }
            | Self::UnknownProvider { .. }
            | Self::Fingerprint { .. }
            | Self::NobodyToAsk { .. }
            | Self::Declined { .. }
            | Self::Memory { .. } => ExitCode::Withheld,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::OtherCluster { difference: Difference::Authority, .. } => {
                Some("the kubeconfig names another certificate authority".into())
            }
            Self::OtherCluster { difference: Difference::Server, .. } => {
                Some("the kubeconfig names another server".into())
            }
            Self::TlsOff { .. } => Some("anybody on the way could take the token".into()),
            Self::NoClusterInfo => Some("the profile is pinned to its cluster".into()),
            Self::Cluster(flaw) | Self::Pin { flaw, .. } => Some(flaw.to_string()),
            Self::UnknownVault { foreign, .. } | Self::UnknownProvider { foreign, .. }
                if !foreign.is_empty() =>
            {
                Some(format!(
                    "only the kubeconfig's `exec.env` sets {}",
                    foreign.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                ))
            }
            Self::UnknownVault { .. } | Self::UnknownProvider { .. } | Self::UnknownService { .. } => {
                Some("only a flag names it, which may be the kubeconfig's".into())
            }
            Self::Memory { reason, mend: Mend::PutAside, .. } => Some(format!(
                "{reason}; once it is put aside, the first cluster that asks is remembered anew"
            )),
            Self::Memory { reason, .. } | Self::NotKept { reason, .. } => Some(reason.clone()),
            Self::Fingerprint { fingerprints, .. } | Self::NobodyToAsk { fingerprints, .. } => {
                Some(match fingerprints.as_slice() {
                    [] => "the kubeconfig names no certificate authority: this system's roots decide".into(),
                    some => format!("its certificate authority has SHA-256 {}", some.join(", ")),
                })
            }
            Self::ContextMissing | Self::Declined { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherCluster { context, .. } => Some(format!(
                "{{program}} trust{{profile}}{{source}}{{config}} --context {}",
                shell_word(context.as_deref().unwrap_or("CONTEXT"))
            )),
            Self::TlsOff { .. } => Some(
                "remove `insecure-skip-tls-verify` from the kubeconfig, or allow it in the profile's `cluster` pin"
                    .into(),
            ),
            Self::NoClusterInfo => Some(
                "set `provideClusterInfo: true` in the kubeconfig's `exec` entry, or `withoutClusterInfo: allow` \
                 in the profile's `cluster` pin"
                    .into(),
            ),
            Self::Pin { .. } => {
                Some("check `cluster.certificateAuthority` of the profile in the settings file".into())
            }
            Self::Cluster(_) => Some("kubectl config view --minify".into()),
            Self::UnknownProvider { .. } => Some("{program} login{profile}{config}".into()),
            Self::UnknownVault { address, .. } => {
                Some(format!("{{program}} login{{config}} --vault-address {}", shell_word(address)))
            }
            Self::UnknownService { .. } => {
                Some("write the profile into your settings file, and leave `--config` out".into())
            }
            Self::ContextMissing => Some("{program} trust{profile}{source}{config} --context CONTEXT".into()),
            Self::Fingerprint { .. } | Self::NobodyToAsk { .. } => Some(
                "{program} trust{profile}{source}{config} --context CONTEXT --ca-fingerprint SHA256, with the fingerprint that \
                 the cluster's owner told you"
                    .into(),
            ),
            Self::Declined { .. } => None,
            Self::NotKept { path, .. } => Some(format!("make the folder of `{}` writable", shell_word(path))),
            // Whatever can still be read in it stays for who wants to look.
            Self::Memory { path, mend: Mend::Guard, .. } => Some(format!("chmod 600 {}", shell_word(path))),
            Self::Memory { mend: Mend::GuardFolder(folder), .. } => {
                Some(format!("chmod go-w {}", shell_word(folder)))
            }
            Self::Memory { mend: Mend::OtherFolder, .. } => {
                Some("set `VAULTTOKEN_STATE_DIR` to a folder of this user alone".into())
            }
            Self::Memory { path, mend: Mend::PutAside, .. } => Some(format!(
                "mv {} {}",
                shell_word(path),
                shell_word(&format!("{path}.damaged"))
            )),
        }
    }
}
