//! Where the key rests that seals what is kept, and in which folders the sealed things go: the
//! keyring of the system, the kernel's keyring, plain files on a tmpfs, or nowhere.
//!
//! It owns the order of these places and the reasons why a better one was not had. It never asks
//! a person anything, and reads no environment but the one it is given.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::config::Store;
use crate::env::Env;
use crate::error::{ExitCode, Explain};

/// The key that seals entries. It has no `Debug`, and is wiped when it is dropped.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// The key itself: for the cipher and for keyrings, nobody else.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How well what is kept is guarded. `status` shows these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tier {
    /// Sealed; the key is in the keyring of the system.
    Keyring,
    /// Sealed; the key is in the kernel's keyring alone, and gone with the next start of the machine.
    KernelKeyring,
    /// Files that only their modes guard.
    Plain,
    /// Nothing is kept.
    None,
}

/// Where secrets rest, for the length of one call.
pub struct Place {
    /// How well they are guarded.
    pub tier: Tier,
    /// The key that seals them, in the two sealed tiers.
    pub key: Option<SealingKey>,
    /// Folder of tokens and failures. Not created yet, in most cases.
    pub cache_folder: Option<PathBuf>,
    /// Folder beneath which sessions are kept (`sessions/`). Other state, which is no secret,
    /// belongs in [`Env::state_folder`].
    pub state_folder: Option<PathBuf>,
    /// Why better tiers were not had, best first; `status` and `doctor` say it.
    pub reasons: Vec<String>,
}

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
    #[error("`store: {store}` needs a folder, and the environment names none")]
    NoFolder {
        /// The value of `store`.
        store: &'static str,
    },
}

impl Explain for StoreError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::NoStore
    }
    fn why(&self) -> Option<String> {
        todo!()
    }
    fn hint(&self) -> Option<String> {
        todo!()
    }
}

/// The keyrings of this user.
pub struct Keystore;

impl Keystore {
    /// Finds the place that `policy` asks for. Where the kernel's keyring has the key this costs
    /// three system calls; a keyring of the system that does not answer costs `patience`, once.
    pub fn open(policy: Store, env: &Env, patience: Duration) -> Result<Place, StoreError> {
        todo!()
    }
}
