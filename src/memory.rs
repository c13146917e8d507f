//! What a person accepted and what was served first: the clusters of each profile, and the Vaults
//! that somebody logged in to. One small file, no secret in it; [`crate::trust`] judges by it.
//!
//! A file that cannot be read is an error and never an empty memory: forgetting would let the next
//! stranger be the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::file::{Folder, FolderError};
use crate::cache::lock;
use crate::cluster::KnownCluster;
use crate::error::Error;
use crate::trust::{Mend, Pin, TrustError};

/// A cluster that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// Which.
    #[serde(flatten)]
    pub cluster: KnownCluster,
    /// A person accepted it; else it only was the first.
    #[serde(default)]
    pub accepted: bool,
}

impl Remembered {
    /// Whether it counts beside these pins: always where there are none; else where a person accepted
    /// it, or where it completes a pin that names its server and no CA. A first cluster does not
    /// outlive the pin that came later.
    #[must_use]
    pub fn counts_beside(&self, pins: &[Pin]) -> bool {
        let completes =
            |pin: &Pin| pin.cluster.authorities.is_empty() && pin.cluster.is_at(&self.cluster.server);
        pins.is_empty() || self.accepted || pins.iter().any(completes)
    }
}

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// Clusters by profile.
    #[serde(default)]
    clusters: BTreeMap<String, Vec<Remembered>>,
    /// Addresses of Vaults that a person logged in to, beyond those that the settings name.
    #[serde(default)]
    vaults: Vec<String>,
}

impl Memory {
    /// The clusters that a profile served first or was told to trust.
    #[must_use]
    pub fn clusters(&self, profile: &str) -> &[Remembered] {
        self.clusters.get(profile).map_or(&[], Vec::as_slice)
    }

    /// The Vaults that a person logged in to.
    #[must_use]
    pub fn vaults(&self) -> &[String] {
        &self.vaults
    }

    /// Remembers a profile's first cluster.
    pub fn add_first(&mut self, profile: &str, cluster: KnownCluster) {
        self.add(profile, cluster, false);
    }

    /// Remembers a cluster that a person accepts for a profile.
    pub fn accept_cluster(&mut self, profile: &str, cluster: KnownCluster) {
        self.add(profile, cluster, true);
    }

    fn add(&mut self, profile: &str, cluster: KnownCluster, accepted: bool) {
        let known = self.clusters.entry(profile.to_owned()).or_default();
        match known.iter_mut().find(|known| known.cluster == cluster) {
            Some(known) => known.accepted |= accepted,
            None => known.push(Remembered { cluster, accepted }),
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
    folder: Option<PathBuf>,
}

const NAME: &str = "trust.json";
const LOCK: &str = "trust.lock";

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);

impl MemoryFile {
    /// The memory of a state folder.
    #[must_use]
    pub fn beneath(state_folder: Option<&Path>) -> Self {
        Self { folder: state_folder.map(Path::to_owned) }
    }

    /// Reads what is remembered; a missing file is an empty memory.
    ///
    /// # Errors
    /// [`TrustError::Memory`] where there is something that cannot be understood.
    pub fn read(&self) -> Result<Memory, TrustError> {
        let Some(path) = &self.folder else { return Ok(Memory::default()) };
        match Folder::open(path) {
            Ok(folder) => self.read_from(&folder),
            Err(FolderError::Absent { .. }) => Ok(Memory::default()),
            Err(error) => Err(self.unfolded(&error)),
        }
    }

    fn read_from(&self, folder: &Folder) -> Result<Memory, TrustError> {
        match folder.read(NAME) {
            Some(content) => serde_json::from_slice(&content)
                .map_err(|error| self.unreadable(&error.to_string(), Mend::PutAside)),
            // Security: a file that cannot be opened now, as where there are no descriptors left, is not
            // one that is not there.
            None if folder.may_hold(NAME) => {
                let mend = if folder.holds_no_file_of_ours(NAME) { Mend::PutAside } else { Mend::Guard };
                Err(self.unreadable("it is no file that only you can have written", mend))
            }
            None => Ok(Memory::default()),
        }
    }

    /// Lets `judge` look at the memory and add to it, under the file's lock, so that two processes
    /// cannot both be the first. Where nothing is to be added there is neither lock nor write.
    ///
    /// # Errors
    /// What `judge` says, or that the file cannot be read. What cannot be written is not an error:
    /// a read-only home is served too, it only remembers nothing.
    pub fn judge<T>(&self, judge: impl Fn(&mut Memory) -> Result<T, Error>) -> Result<T, Error> {
        let before = self.read()?;
        let mut after = before.clone();
        let outcome = judge(&mut after)?;
        let folder = self.folder.as_deref().and_then(|path| Folder::create(path).ok());
        let Some(folder) = folder.filter(|_| before != after) else { return Ok(outcome) };
        let _lock = lock::acquire(&folder, LOCK, PATIENCE, &mut || ());
        // Another process may have been the first meanwhile; then it is judged again.
        let mut memory = self.read_from(&folder)?;
        let outcome = judge(&mut memory)?;
        if let Ok(content) = serde_json::to_vec_pretty(&memory) {
            let _ = folder.replace(NAME, &content, true);
        }
        Ok(outcome)
    }

    /// Changes the memory at a person's word.
    ///
    /// # Errors
    /// Where it cannot be read, or not be kept: then nothing was accepted.
    pub fn accept(&self, change: impl FnOnce(&mut Memory)) -> Result<(), TrustError> {
        let path =
            self.folder.as_deref().ok_or_else(|| self.not_kept("the environment names no folder for it"))?;
        let folder = Folder::create(path).map_err(|error| self.not_kept(&error.to_string()))?;
        let _lock = lock::acquire(&folder, LOCK, PATIENCE, &mut || ());
        let mut memory = self.read_from(&folder)?;
        change(&mut memory);
        let content =
            serde_json::to_vec_pretty(&memory).map_err(|error| self.not_kept(&error.to_string()))?;
        folder.replace(NAME, &content, true).map_err(|error| self.not_kept(&error.to_string()))?;
        Ok(())
    }

    fn path(&self) -> String {
        self.folder.as_deref().map_or_else(|| NAME.into(), |folder| folder.join(NAME).display().to_string())
    }

    fn unreadable(&self, reason: &str, mend: Mend) -> TrustError {
        TrustError::Memory { path: self.path(), reason: reason.to_owned(), mend }
    }

    /// The file in a folder that cannot be used.
    fn unfolded(&self, error: &FolderError) -> TrustError {
        let mend = match error {
            FolderError::Open { path, .. } => Mend::GuardFolder(path.display().to_string()),
            FolderError::Absent { .. }
            | FolderError::Foreign { .. }
            | FolderError::NotAFolder { .. }
            | FolderError::Refused { .. } => Mend::OtherFolder,
        };
        self.unreadable(&error.to_string(), mend)
    }

    fn not_kept(&self, reason: &str) -> TrustError {
        TrustError::NotKept { path: self.path(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn cluster(server: &str) -> KnownCluster {
        KnownCluster { server: server.into(), authorities: BTreeSet::new() }
    }

    #[test]
    fn what_was_accepted_is_there_for_the_next_process() {
        let folder = TempDir::new().unwrap();
        let file = MemoryFile::beneath(Some(&folder.path().join("state/vaulttoken")));
        assert_eq!(file.read().unwrap(), Memory::default());
        file.accept(|memory| memory.accept_cluster("prod", cluster("https://a:443"))).unwrap();
        file.accept(|memory| memory.add_vault("https://v:8200".into())).unwrap();
        let memory = file.read().unwrap();
        assert_eq!(
            memory.clusters("prod"),
            [Remembered { cluster: cluster("https://a:443"), accepted: true }]
        );
        assert_eq!(memory.clusters("other"), []);
        assert_eq!(memory.vaults(), ["https://v:8200"]);
    }

    #[test]
    fn a_memory_that_cannot_be_read_is_never_an_empty_one() {
        let folder = TempDir::new().unwrap();
        let file = MemoryFile::beneath(Some(folder.path()));
        fs::write(folder.path().join(NAME), "{").unwrap();
        assert!(matches!(file.read(), Err(TrustError::Memory { .. })));
        fs::remove_file(folder.path().join(NAME)).unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join(NAME)).unwrap();
        let error = file.read().unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("trust.json`, which remembers the clusters of each profile, cannot be read")
        );
        assert!(file.accept(|_| ()).is_err());
    }

    #[test]
    fn without_a_folder_nothing_is_remembered_and_nothing_can_be_accepted() {
        let file = MemoryFile::beneath(None);
        assert!(
            file.judge(|memory| {
                memory.add_vault("v".into());
                Ok(())
            })
            .is_ok()
        );
        assert_eq!(file.read().unwrap(), Memory::default());
        assert!(matches!(file.accept(|_| ()), Err(TrustError::NotKept { .. })));
    }
}
