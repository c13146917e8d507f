//! Why a tool of Databricks' gets no token from us.

use super::Host;
use crate::error::{ExitCode, Explain, printable};

/// What stands between a tool and a token, besides what a source may say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabricksError {
    /// The settings hold no profile for Databricks.
    #[error("no profile of the settings is for Databricks")]
    NoProfiles,
    /// The named one is not there, or is for something else.
    #[error("no profile `{}` of the settings is for Databricks", printable(.name))]
    NoSuchProfile {
        /// What was named.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// None is for this host.
    #[error("no profile of the settings is for {}", of_host(.host.as_ref()))]
    NoProfileFor {
        /// Which host.
        host: Option<Host>,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Several are.
    #[error("several profiles of the settings are for {}", of_host(.host.as_ref()))]
    SeveralProfiles {
        /// Which host; none: any.
        host: Option<Host>,
        /// Their names.
        profiles: Vec<String>,
    },
    /// The profile that was named is for another host than was asked for.
    #[error("profile `{profile}` is for {own}, not for {asked}")]
    OtherHost {
        /// The profile.
        profile: String,
        /// What was asked for.
        asked: Host,
        /// What it is for.
        own: Host,
    },
    /// What was given as a host is none.
    #[error("`{}` is no host of Databricks", printable(.0))]
    NotAHost(String),
    /// `--http-path` would say more than a path.
    #[error("`{}` is no HTTP path of a warehouse or cluster", printable(.0))]
    NotAnHttpPath(String),
    /// `--http-path` where it has no effect.
    #[error("`--http-path` is for `--output jdbc` alone")]
    HttpPathAlone,
    /// No home, and no variable that names the file.
    #[error("the environment names no place for `.databrickscfg`")]
    NoPlaceForFile,
    /// `.databrickscfg` stays as it was.
    #[error("`{path}` could not be written")]
    FileNotWritten {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A program could not be started.
    #[error("`{}` cannot be run", printable(.program))]
    NotRun {
        /// Its name.
        program: String,
        /// The system's words.
        reason: String,
    },
    /// `--allow-env-token` for a profile whose exchange has no subject token.
    #[error("profile `{profile}` has no subject token to give a program")]
    NoSubject {
        /// The profile.
        profile: String,
    },
    /// `--databricks-cli` with settings that the program's own calls do not name.
    #[error("`--databricks-cli` cannot be used with `--config`")]
    ConfigForTheCli,
    /// No audience was named, and no account whose id would be it.
    #[error("a policy needs an audience")]
    NoAudience,
    /// No namespace was named.
    #[error("a policy needs the namespace of the service account")]
    NoNamespace,
    /// The cluster's keys are none, or not only public ones.
    #[error("`/openid/v1/jwks` of the cluster is no set of public keys")]
    NoKeySet,
    /// The cluster does not give a document.
    #[error("the cluster does not tell `{path}`")]
    ClusterSilent {
        /// Which document.
        path: &'static str,
        /// It said no, and not nothing.
        refused: bool,
        /// kubectl's words.
        reason: String,
    },
    /// The cluster's document is of another shape.
    #[error("what the cluster tells in `{path}` cannot be read")]
    ClusterUnclear {
        /// Which document.
        path: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// `--token-file` names no file of a token.
    #[error("`{}` cannot be read as a token", printable(.0))]
    TokenFile(String),
    /// `--listen` names a place that others can reach, or that no SDK asks.
    #[error("`--listen {}` is refused", printable(.0))]
    ListenElsewhere(String),
    /// The port could not be had.
    #[error("{address} cannot be listened on")]
    NotListening {
        /// Where.
        address: String,
        /// The system's words.
        reason: String,
    },
}

fn of_host(host: Option<&Host>) -> String {
    host.map_or_else(|| "Databricks".to_owned(), Host::to_string)
}

impl Explain for DatabricksError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoProfiles
            | Self::NoSuchProfile { .. }
            | Self::NoProfileFor { .. }
            | Self::SeveralProfiles { .. }
            | Self::OtherHost { .. }
            | Self::NotAHost(_)
            | Self::NotAnHttpPath(_)
            | Self::HttpPathAlone
            | Self::NoPlaceForFile
            | Self::NotRun { .. }
            | Self::NoSubject { .. }
            | Self::ConfigForTheCli
            | Self::NoAudience
            | Self::NoNamespace
            | Self::ListenElsewhere(_) => ExitCode::Usage,
            Self::FileNotWritten { .. } => ExitCode::NoStore,
            Self::ClusterSilent { refused: true, .. } => ExitCode::Refused,
            Self::NoKeySet | Self::ClusterUnclear { .. } | Self::TokenFile(_) => ExitCode::Unusable,
            Self::ClusterSilent { refused: false, .. } | Self::NotListening { .. } => ExitCode::Unreachable,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::NoSuchProfile { known, .. } | Self::NoProfileFor { known, .. } => {
                Some(format!("there are {}", known.join(", ")))
            }
            Self::SeveralProfiles { profiles, .. } => Some(format!("they are `{}`", profiles.join("`, `"))),
            Self::ListenElsewhere(_) => {
                Some("tokens are handed out on this machine alone, and the SDKs ask 127.0.0.1 alone".into())
            }
            Self::ConfigForTheCli => {
                Some("the program's SDK runs us without that flag, and other settings would count".into())
            }
            Self::NotListening { reason, .. }
            | Self::FileNotWritten { reason, .. }
            | Self::NotRun { reason, .. }
            | Self::ClusterSilent { reason, .. }
            | Self::ClusterUnclear { reason, .. } => Some(reason.clone()),
            Self::NoProfiles
            | Self::OtherHost { .. }
            | Self::NotAHost(_)
            | Self::NotAnHttpPath(_)
            | Self::HttpPathAlone
            | Self::NoSubject { .. }
            | Self::NoAudience
            | Self::NoNamespace
            | Self::NoKeySet
            | Self::TokenFile(_)
            | Self::NoPlaceForFile => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoProfiles | Self::NoProfileFor { .. } => Some(
                "add a profile with `tokenExchange: {preset: databricks, host: …}` to the settings".into(),
            ),
            Self::NoSuchProfile { .. } | Self::SeveralProfiles { .. } => {
                Some("name one of them with `--profile`".into())
            }
            Self::OtherHost { profile, .. } => {
                Some(format!("leave out `--profile {profile}`, or ask for its own host"))
            }
            Self::NotAHost(_) => Some("write it as `https://dbc-1.cloud.databricks.com`".into()),
            Self::NotAnHttpPath(_) => {
                Some("copy it from the connection details, as `/sql/1.0/warehouses/…`".into())
            }
            Self::NotRun { .. } => Some("name a program that is on PATH, or its whole path".into()),
            Self::NoSubject { .. } => Some("leave out `--allow-env-token`".into()),
            Self::ConfigForTheCli => Some("name the file in `VAULTTOKEN_CONFIG`".into()),
            Self::NoAudience => Some("name it with `--audience`, or the account with `--account-id`".into()),
            Self::NoNamespace => Some("name it with `--namespace`".into()),
            Self::ClusterSilent { refused: true, .. } => {
                Some("bind the cluster role `system:service-account-issuer-discovery` to whoever asks".into())
            }
            Self::ClusterSilent { .. } | Self::ClusterUnclear { .. } | Self::NoKeySet => {
                Some("name another cluster with `--context`".into())
            }
            Self::TokenFile(_) => Some("name the file of a projected service account token".into()),
            Self::HttpPathAlone => {
                Some("{program} token{profile}{config} --output jdbc --http-path …".into())
            }
            Self::NoPlaceForFile | Self::FileNotWritten { .. } => {
                Some("name another file in `DATABRICKS_CONFIG_FILE`".into())
            }
            Self::ListenElsewhere(_) | Self::NotListening { .. } => {
                Some("{program} serve{config} --listen 127.0.0.1:0".into())
            }
        }
    }
}
