//! Why nothing can be kept as `store` asks, or a key not be replaced.

use crate::error::{ExitCode, Explain};

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// `store: sealed`, and no keyring can be had.
    #[error("`store: sealed` needs a keyring, and none can be used")]
    NoKeyring {
        /// What was tried and how it failed.
        reasons: Vec<String>,
    },
    /// `store: sealed` or `store: plain` without any folder.
    #[error("`store: {store}` needs a folder for what it keeps, and there is none")]
    NoFolder {
        /// The value of `store`.
        store: &'static str,
        /// What was tried and how it failed.
        reasons: Vec<String>,
    },
    /// A new key was asked for where no key seals.
    #[error("there is no sealing key to replace: nothing that is kept here is sealed")]
    NotSealed {
        /// Why not.
        reasons: Vec<String>,
    },
    /// A new key could not be made. The one before still seals and opens.
    #[error("the sealing key was not replaced")]
    NotReplaced {
        /// Who refused.
        why: String,
    },
}

impl Explain for StoreError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoKeyring { .. }
            | Self::NoFolder { .. }
            | Self::NotSealed { .. }
            | Self::NotReplaced { .. } => ExitCode::NoStore,
        }
    }
    fn why(&self) -> Option<String> {
        match self {
            Self::NoKeyring { reasons } | Self::NoFolder { reasons, .. } => Some(reasons.join("; ")),
            Self::NotSealed { reasons } => (!reasons.is_empty()).then(|| reasons.join("; ")),
            Self::NotReplaced { why } => Some(why.clone()),
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoKeyring { .. } => Some(
                "unlock the keyring of this session, or allow less with `store: auto` in the settings file"
                    .into(),
            ),
            Self::NoFolder { .. } => Some(
                "set `HOME`, or `VAULTTOKEN_CACHE_DIR` and `VAULTTOKEN_STATE_DIR`, to folders of this user"
                    .into(),
            ),
            Self::NotSealed { .. } => {
                Some("unlock the keyring of this session, or set `store: auto` in the settings file".into())
            }
            Self::NotReplaced { .. } => Some("{program} doctor".into()),
        }
    }
}
