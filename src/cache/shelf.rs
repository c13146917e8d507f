//! Sealed things of one kind in one folder: the form of [`seal`](super::seal) in the files of
//! [`file`](super::file), under the names of [`key`](super::key). It knows no content.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use zeroize::Zeroizing;

use super::file::{Folder, FolderError, Seen};
use super::lock::{self, Acquired};
use super::seal::{Kind, Seal};
use super::{CacheError, CacheKey};
use crate::keystore::Place;

/// A writer that has not renamed its file after so long is dead.
const WRITERS_LIFE: TimeDelta = TimeDelta::minutes(5);

/// Where things of one kind are kept.
pub(super) struct Shelf {
    place: Arc<Place>,
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    kind: Kind,
    /// Whether what is kept must survive a crash of the machine right after.
    pub(super) durable: bool,
}

/// What became of entries that were to be sealed anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// The key of now seals them.
    pub sealed: usize,
    /// Another one does, each for this reason.
    pub left: Vec<Left>,
}

/// Why an entry was not sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Another process works on it.
    InUse,
    /// The system refused, in these words.
    Refused(String),
}

/// Whose key opens an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    /// The one that seals now.
    Ours,
    /// The one before, or one that somebody made while we run.
    Another,
}

impl Shelf {
    pub(super) fn new(place: Arc<Place>, folder: Option<PathBuf>, kind: Kind, durable: bool) -> Self {
        Self { place, folder, kind, durable }
    }

    /// The folder, where something is kept at all.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.seal().and(self.folder.as_deref())
    }

    fn seal(&self) -> Option<Seal<'_>> {
        Seal::of(self.place.tier, self.place.key.as_ref())
    }

    fn ending(&self) -> &'static str {
        match self.kind {
            Kind::Token => ".token",
            Kind::Failure => ".failure",
            Kind::Session => ".session",
            Kind::ProviderSession => ".provider",
        }
    }

    fn file_name(&self, key: &CacheKey) -> String {
        format!("{key}{}", self.ending())
    }

    /// The content under this name, if there is some that opens.
    pub(super) fn load(&self, key: &CacheKey) -> Option<Zeroizing<Vec<u8>>> {
        let seal = self.seal()?;
        // A folder is opened for each use: it may be removed at any time.
        let folder = Folder::open(self.folder.as_deref()?).ok()?;
        let file = folder.read(&self.file_name(key))?;
        seal.open(self.kind, key, file).or_else(|| Some(self.open_by_another_key(&folder, key)?.0))
    }

    fn open_by_another_key(&self, folder: &Folder, key: &CacheKey) -> Option<(Zeroizing<Vec<u8>>, Seen)> {
        self.place.other_keys().iter().find_map(|other| {
            let seal = Seal::of(self.place.tier, Some(other))?;
            // Opening works in place, so what did not open has to be read again.
            let (file, seen) = folder.read_seen(&self.file_name(key))?;
            Some((seal.open(self.kind, key, file)?, seen))
        })
    }

    /// Seals with the key of now what another one sealed.
    pub(super) fn reseal(&self, wait: Duration) -> Resealed {
        let mut count = Resealed::default();
        for key in self.keys() {
            let tried = match self.opened_by(&key) {
                Some(Opener::Another) => self.seal_anew(&key, wait),
                _ => Ok(()),
            };
            // Whoever works on it may have sealed, or removed, it meanwhile.
            match self.opened_by(&key) {
                Some(Opener::Ours) => count.sealed += 1,
                Some(Opener::Another) => count.left.push(tried.err().unwrap_or(Left::InUse)),
                // A miss, with whatever key.
                None => {}
            }
        }
        count
    }

    fn opened_by(&self, key: &CacheKey) -> Option<Opener> {
        let folder = Folder::open(self.folder.as_deref()?).ok()?;
        let file = folder.read(&self.file_name(key))?;
        if self.seal()?.open(self.kind, key, file).is_some() {
            return Some(Opener::Ours);
        }
        self.open_by_another_key(&folder, key).map(|_| Opener::Another)
    }

    fn seal_anew(&self, key: &CacheKey, wait: Duration) -> Result<(), Left> {
        // Whoever holds it is about to write. Without a lock what he writes could be undone here; the
        // key before opens it as it is.
        let _lock = match self.lock(key, wait, &mut || ()) {
            Acquired::Guard(guard) => guard,
            Acquired::Busy => return Err(Left::InUse),
            Acquired::Unsupported(why) => return Err(Left::Refused(why)),
        };
        let refused = |error: CacheError| Left::Refused(error.to_string());
        let Some(path) = &self.folder else { return Ok(()) };
        let folder = Folder::open(path).map_err(|error| refused(error.into()))?;
        let Some((content, seen)) = self.open_by_another_key(&folder, key) else { return Ok(()) };
        self.put(key, &content, Some(&seen)).map_err(refused)
    }

    /// Puts content under this name; nothing where nothing is kept.
    pub(super) fn store(&self, key: &CacheKey, content: &[u8]) -> Result<(), CacheError> {
        self.put(key, content, None)
    }

    /// Security: `seen` is for who keeps what he found, not what he got: it never brings back what
    /// somebody removed since. Who logs out takes no lock.
    fn put(&self, key: &CacheKey, content: &[u8], seen: Option<&Seen>) -> Result<(), CacheError> {
        let (Some(seal), Some(folder)) = (self.seal(), &self.folder) else { return Ok(()) };
        let file = seal.close(self.kind, key, content).ok_or(CacheError::NoRandomness)?;
        let folder = Folder::create(folder)?;
        let name = self.file_name(key);
        let written = match seen {
            Some(seen) => folder.replace_seen(&name, &file, self.durable, seen),
            None => folder.replace(&name, &file, self.durable),
        };
        match written {
            Ok(now) => {
                folder.sweep(now, WRITERS_LIFE);
                Ok(())
            }
            Err(source) => Err(CacheError::NotWritten { path: folder.path().join(name), source }),
        }
    }

    /// Removes what is under this name, whether it opens or not; `false` where there was nothing.
    pub(super) fn remove(&self, key: &CacheKey) -> Result<bool, CacheError> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let folder = match Folder::open(folder) {
            Err(FolderError::Absent { .. }) => return Ok(false),
            other => other?,
        };
        let name = self.file_name(key);
        folder
            .remove(&name)
            .map_err(|source| CacheError::NotRemoved { path: folder.path().join(name), source })
    }

    /// The names of all that is there, whether it opens or not.
    pub(super) fn keys(&self) -> Vec<CacheKey> {
        let Some(Ok(folder)) = self.folder.as_deref().map(Folder::open) else { return Vec::new() };
        let names = folder.names();
        names.iter().filter_map(|name| CacheKey::from_hex(name.strip_suffix(self.ending())?)).collect()
    }

    /// Takes the lock of this name.
    pub(super) fn lock(&self, key: &CacheKey, wait: Duration, waiting: &mut dyn FnMut()) -> Acquired {
        let (Some(_), Some(folder)) = (self.seal(), &self.folder) else {
            return Acquired::Unsupported("nothing is kept here".into());
        };
        match Folder::create(folder) {
            Ok(folder) => lock::acquire(&folder, &format!("{key}.lock"), wait, waiting),
            Err(error) => Acquired::Unsupported(error.to_string()),
        }
    }
}

impl From<FolderError> for CacheError {
    fn from(error: FolderError) -> Self {
        Self::Folder(error)
    }
}

/// What could not be turned into its form, which no caller can bring about.
pub(super) fn not_encoded() -> CacheError {
    CacheError::NotWritten { path: PathBuf::new(), source: io::Error::other("it has no written form") }
}
