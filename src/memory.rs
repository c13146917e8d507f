//! What a person accepted and what was served first: the clusters of each profile, and the Vaults
//! that somebody logged in to. One small file, no secret in it; [`crate::trust`] judges by it.
//!
//! A file that cannot be read is an error and never an empty memory: forgetting would let the next
//! stranger be the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::file;
use crate::cache::lock;
use crate::cluster::KnownCluster;
use crate::trust::TrustError;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// Clusters by profile.
    #[serde(default)]
    clusters: BTreeMap<String, Vec<KnownCluster>>,
    /// Addresses of Vaults that a person logged in to, beyond those that the settings name.
    #[serde(default)]
    vaults: Vec<String>,
}

impl Memory {
    /// The clusters that a profile served first or was told to trust.
    #[must_use]
    pub fn clusters(&self, profile: &str) -> &[KnownCluster] {
        self.clusters.get(profile).map_or(&[], Vec::as_slice)
    }

    /// The Vaults that a person logged in to.
    #[must_use]
    pub fn vaults(&self) -> &[String] {
        &self.vaults
    }

    /// Remembers a cluster for a profile.
    pub fn add_cluster(&mut self, profile: &str, cluster: KnownCluster) {
        let known = self.clusters.entry(profile.to_owned()).or_default();
        if !known.contains(&cluster) {
            known.push(cluster);
        }
    }

    /// Remembers a Vault.
    pub fn add_vault(&mut self, address: String) {
        if !self.vaults.contains(&address) {
            self.vaults.push(address);
        }
    }
}

/// The file that keeps a [`Memory`]; in the state folder, or nowhere where there is none.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    path: Option<PathBuf>,
}

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);

impl MemoryFile {
    /// The memory of a state folder.
    #[must_use]
    pub fn beneath(state_folder: Option<&Path>) -> Self {
        Self { path: state_folder.map(|folder| folder.join("trust.json")) }
    }

    /// Reads what is remembered; a missing file is an empty memory.
    ///
    /// # Errors
    /// [`TrustError::Memory`] where there is something that cannot be understood.
    pub fn read(&self) -> Result<Memory, TrustError> {
        let Some(path) = &self.path else { return Ok(Memory::default()) };
        match file::read_private(path) {
            Ok(None) => Ok(Memory::default()),
            Ok(Some(bytes)) => {
                serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error.to_string()))
            }
            Err(reason) => Err(unreadable(path, &reason.to_string())),
        }
    }

    /// Changes the memory at a person's word.
    ///
    /// # Errors
    /// Where it cannot be read, or not be kept: then nothing was accepted.
    pub fn accept(&self, change: impl FnOnce(&mut Memory)) -> Result<(), TrustError> {
        let nowhere = || TrustError::NotKept {
            path: "trust.json".into(),
            reason: "the environment names no folder for state".into(),
        };
        let path = self.path.as_deref().ok_or_else(nowhere)?;
        let not_kept =
            |reason: String| TrustError::NotKept { path: path.display().to_string(), reason };
        if let Some(folder) = path.parent() {
            file::ensure_folder(folder).map_err(|error| not_kept(error.to_string()))?;
        }
        let _lock = lock::acquire(&path.with_extension("lock"), PATIENCE, &mut || ());
        let mut memory = self.read()?;
        change(&mut memory);
        let bytes = serde_json::to_vec_pretty(&memory).map_err(|error| not_kept(error.to_string()))?;
        file::replace(path, &bytes, file::Durability::Synced).map_err(|error| not_kept(error.to_string()))
    }

    /// Reads, lets `judge` change the memory, and writes it back, all under the file's lock, so
    /// that two processes cannot both be the first.
    ///
    /// # Errors
    /// What `judge` says, or that the file cannot be read. What cannot be written is not an error:
    /// a read-only home serves too, it only remembers nothing.
    pub fn change<T, E: From<TrustError>>(
        &self,
        judge: impl FnOnce(&mut Memory) -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(path) = &self.path else { return judge(&mut Memory::default()) };
        if let Some(folder) = path.parent() {
            // Where this fails the write fails as well, and is then the one that counts.
            let _ = file::ensure_folder(folder);
        }
        let _lock = lock::acquire(&path.with_extension("lock"), PATIENCE, &mut || ());
        let before = self.read()?;
        let mut memory = before.clone();
        let outcome = judge(&mut memory)?;
        if memory != before
            && let Ok(bytes) = serde_json::to_vec_pretty(&memory)
        {
            let _ = file::replace(path, &bytes, file::Durability::Synced);
        }
        Ok(outcome)
    }
}

fn unreadable(path: &Path, reason: &str) -> TrustError {
    TrustError::Memory { path: path.display().to_string(), reason: reason.to_owned() }
}
