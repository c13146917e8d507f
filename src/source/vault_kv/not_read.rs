//! Why a token document gave no token: what Vault has not, what the document lacks, and whom it is
//! for instead.

use crate::error::{ExitCode, Explain, shell_word};
use crate::token::Timestamp;

/// A token document that gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// The Vault, printable.
    pub vault: String,
    /// Mount path and path of the secret, as a person writes them.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// Why there is no token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was ever written there.
    NoSecret {
        /// The path begins with `data/`, which belongs to the API and not into the settings.
        with_data: bool,
    },
    /// The newest version was deleted, and can be restored.
    Deleted {
        /// When.
        at: Timestamp,
        /// Which.
        version: u64,
    },
    /// The newest version has outlived the secret's `delete_version_after`.
    Outlived {
        /// When.
        at: Timestamp,
    },
    /// The newest version was destroyed.
    Destroyed,
    /// The mount is of another engine.
    NotKv {
        /// Its type.
        engine: String,
    },
    /// The path lies in another mount.
    OtherMount {
        /// Which.
        mount: String,
    },
    /// Vault refused to read it for another reason.
    Refused {
        /// Its own words.
        words: Option<String>,
    },
    /// The field is not there.
    FieldMissing {
        /// The field of the settings.
        field: String,
        /// The names of those that are.
        present: Vec<String>,
    },
    /// A field is of no use.
    Field {
        /// Its name.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The document is for another cluster.
    OtherCluster {
        /// The one asked for.
        asked: String,
        /// The one that the document names.
        found: String,
    },
    /// The document is for another team.
    OtherTeam {
        /// The one asked for.
        asked: String,
        /// The one that the document names.
        found: String,
    },
    /// The document is for another API server.
    OtherServer {
        /// The one that asks.
        asked: String,
        /// The one that the document names.
        found: String,
    },
    /// The document is for a cluster with another CA.
    OtherAuthority,
    /// The token is dead.
    Late {
        /// Since when.
        at: Timestamp,
    },
}

impl std::error::Error for NotRead {}

impl std::fmt::Display for NotRead {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { vault, path, .. } = self;
        match &self.reason {
            Reason::NoSecret { .. } => write!(formatter, "`{vault}` has no secret at `{path}`"),
            Reason::Deleted { .. } => write!(formatter, "the secret `{path}` in `{vault}` was deleted"),
            Reason::Outlived { .. } => {
                write!(formatter, "the secret `{path}` in `{vault}` has outlived its `delete_version_after`")
            }
            Reason::Destroyed => write!(formatter, "the secret `{path}` in `{vault}` was destroyed"),
            Reason::NotKv { engine } => {
                write!(formatter, "`{path}` in `{vault}` is not in a kv engine but in one of type `{engine}`")
            }
            Reason::OtherMount { mount } => {
                write!(formatter, "`{path}` in `{vault}` belongs to the mount `{mount}`")
            }
            Reason::Refused { .. } => write!(formatter, "`{vault}` refused to read `{path}`"),
            Reason::FieldMissing { field, .. } => {
                write!(formatter, "the secret `{path}` in `{vault}` has no field `{field}`")
            }
            Reason::Field { field, .. } => {
                write!(formatter, "the field `{field}` of the secret `{path}` in `{vault}` cannot be used")
            }
            Reason::OtherCluster { asked, found } => write!(
                formatter,
                "the token document `{path}` in `{vault}` is for cluster `{found}`, asked for was `{asked}`"
            ),
            Reason::OtherTeam { asked, found } => write!(
                formatter,
                "the token document `{path}` in `{vault}` is for team `{found}`, asked for was `{asked}`"
            ),
            Reason::OtherServer { asked, found } => write!(
                formatter,
                "the token document `{path}` in `{vault}` is for the API server `{found}`, asked for was `{asked}`"
            ),
            Reason::OtherAuthority => write!(
                formatter,
                "the token document `{path}` in `{vault}` is for a cluster with another certificate authority"
            ),
            Reason::Late { .. } => {
                write!(formatter, "the token in `{path}` of `{vault}` is already dead: its rotation is late")
            }
        }
    }
}

impl Explain for NotRead {
    fn exit_code(&self) -> ExitCode {
        match self.reason {
            Reason::NoSecret { .. }
            | Reason::Deleted { .. }
            | Reason::Outlived { .. }
            | Reason::Destroyed
            | Reason::NotKv { .. }
            | Reason::OtherMount { .. }
            | Reason::Refused { .. } => ExitCode::Refused,
            Reason::FieldMissing { .. }
            | Reason::Field { .. }
            | Reason::OtherCluster { .. }
            | Reason::OtherTeam { .. }
            | Reason::OtherServer { .. }
            | Reason::OtherAuthority
            | Reason::Late { .. } => ExitCode::Unusable,
        }
    }

    fn why(&self) -> Option<String> {
        match &self.reason {
            Reason::Deleted { at, .. } => Some(format!("its `deletion_time` is {}", written(*at))),
            Reason::Outlived { at } => Some(format!("its time was over at {}", written(*at))),
            Reason::Refused { words } => words.clone(),
            Reason::FieldMissing { present, .. } if present.is_empty() => Some("it has no fields".to_owned()),
            Reason::FieldMissing { present, .. } => Some(format!("it has {}", listed(present))),
            Reason::Field { why, .. } => Some(why.clone()),
            Reason::Late { at } => Some(format!("it ended at {}", written(*at))),
            Reason::NoSecret { .. }
            | Reason::Destroyed
            | Reason::NotKv { .. }
            | Reason::OtherMount { .. }
            | Reason::OtherCluster { .. }
            | Reason::OtherTeam { .. }
            | Reason::OtherServer { .. }
            | Reason::OtherAuthority => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.reason {
            Reason::NoSecret { with_data: true } => {
                Some("leave `data/` out of `path` in the profile's `vaultKv`".to_owned())
            }
            Reason::NoSecret { with_data: false } => Some(
                "correct `path`, `cluster` and `team` in the profile's `vaultKv`, or see whether the controller has \
                 written it yet"
                    .to_owned(),
            ),
            Reason::Deleted { version, .. } => {
                let command = format!("kv undelete -versions={version} {}", shell_word(&self.path));
                Some(format!("bring it back with `vault {command}` or `bao {command}`, or write it anew"))
            }
            Reason::Outlived { .. } | Reason::Destroyed | Reason::Late { .. } => {
                Some(format!("see why whoever rotates `{}` has not written a new version", shell_word(&self.path)))
            }
            Reason::NotKv { .. } => {
                Some("set `mount` in the profile's `vaultKv` to a mount of type `kv`".to_owned())
            }
            Reason::OtherMount { mount } => Some(format!(
                "set `mount: {}` in the profile's `vaultKv`, and leave it out of `path`",
                shell_word(mount)
            )),
            Reason::FieldMissing { .. } => {
                Some("set `field` in the profile's `vaultKv` to the one that holds the token".to_owned())
            }
            Reason::OtherCluster { .. } | Reason::OtherTeam { .. } => {
                Some("correct `path` in the profile's `vaultKv`, or see who writes the document".to_owned())
            }
            Reason::OtherServer { .. } | Reason::OtherAuthority => {
                Some("use a profile whose document is for this cluster".to_owned())
            }
            Reason::Field { .. } => Some(format!("see who writes `{}`", shell_word(&self.path))),
            Reason::Refused { .. } => None,
        }
    }
}

/// Names in a row; as many as fit into a line.
fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    let text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST) {
        None | Some(0) => text,
        Some(more) => format!("{text} and {more} more"),
    }
}

fn written(moment: Timestamp) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
