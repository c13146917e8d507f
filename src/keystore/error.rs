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
        why: Unreplaced,
    },
}

/// Why a key was not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreplaced {
    /// A keyring refused.
    #[error("{0}")]
    Keyring(String),
    /// Somebody else makes a key, or replaces it.
    #[error("another process makes a key at this moment")]
    Busy,
    /// Without a lock two could do it at once.
    #[error("nobody can be kept from doing the same at this moment: {0}")]
    NoLock(String),
    /// What the key before the present one seals would be lost with it.
    #[error("other processes work on what only the key before this one opens (entries: {entries})")]
    InUse {
        /// How many.
        entries: usize,
    },
    /// The same, and no wait helps.
    #[error("what only the key before this one opens could not be sealed anew (entries: {entries}): {why}")]
    Stuck {
        /// How many.
        entries: usize,
        /// Who refused the first of them.
        why: String,
    },
    /// No random numbers.
    #[error("the system has no randomness to give")]
    NoRandomness,
}

impl Explain for StoreError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoKeyring { .. } | Self::NoFolder { .. } | Self::NotSealed { .. } => ExitCode::NoStore,
            Self::NotReplaced { why } => match why {
                Unreplaced::Keyring(_) | Unreplaced::NoLock(_) | Unreplaced::Stuck { .. } => {
                    ExitCode::NoStore
                }
                Unreplaced::Busy | Unreplaced::InUse { .. } => ExitCode::Unreachable,
                Unreplaced::NoRandomness => ExitCode::Fault,
            },
        }
    }
    fn why(&self) -> Option<String> {
        match self {
            Self::NoKeyring { reasons } | Self::NoFolder { reasons, .. } => Some(reasons.join("; ")),
            Self::NotSealed { reasons } => (!reasons.is_empty()).then(|| reasons.join("; ")),
            Self::NotReplaced { why } => Some(why.to_string()),
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
            Self::NotReplaced { why } => match why {
                Unreplaced::Keyring(_) | Unreplaced::NoLock(_) => Some("{program} doctor".into()),
                Unreplaced::Busy | Unreplaced::InUse { .. } => Some("{program} reseal".into()),
                // What they keep from now on is sealed with the key of now.
                Unreplaced::Stuck { .. } => {
                    Some("log out with `{program} logout --all` and in again; then `{program} reseal`".into())
                }
                Unreplaced::NoRandomness => None,
            },
        }
    }
}
