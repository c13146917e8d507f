//! Folders and files where modes and owners do not tell who wrote a file. On Windows a person's
//! profile folder is closed to other users by the access list that it hands down; nothing more is
//! checked here than that an entry is a regular file of sensible size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use zeroize::Zeroizing;

use super::{FolderError, LARGEST, LARGEST_LOG, TEMPORARY, gone, temporary_name, too_large};
use crate::token::Timestamp;

/// A file that was read: when it was last changed. An open one could not be replaced everywhere.
#[derive(Debug)]
pub struct Seen(SystemTime);

/// A folder of this user.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that exists.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        match fs::symlink_metadata(path) {
            Ok(status) if status.is_dir() => Ok(Self { path: path.into() }),
            Ok(_) => Err(FolderError::NotAFolder { path: path.into() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FolderError::Absent { path: path.into() })
            }
            Err(source) => Err(FolderError::Refused { path: path.into(), source }),
        }
    }

    /// Opens a folder, and creates it and what is missing above it.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        match Self::open(path) {
            Err(FolderError::Absent { .. }) => {}
            other => return other,
        }
        fs::create_dir_all(path).map_err(|source| FolderError::Refused { path: path.into(), source })?;
        Self::open(path)
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file, or `None` where there is none that can be an entry.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.read_seen(name).map(|(content, _)| content)
    }

    /// The same, and which file that was.
    pub(in crate::cache) fn read_seen(&self, name: &str) -> Option<(Zeroizing<Vec<u8>>, Seen)> {
        let path = self.path.join(name);
        // Opening what is no regular file may block or have effects, so look before.
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut file = File::open(&path).ok()?;
        let status = file.metadata().ok()?;
        let size = usize::try_from(status.len()).ok().filter(|size| *size <= LARGEST)?;
        let mut content = Zeroizing::new(vec![0; size]);
        file.read_exact(&mut content).ok()?;
        Some((content, Seen(status.modified().ok()?)))
    }

    /// Puts a file in the place of whatever has this name, whole or not at all. Returns when that
    /// was, by the file system's clock.
    pub fn replace(&self, name: &str, content: &[u8], _durable: bool) -> io::Result<Timestamp> {
        self.put(name, content, None)
    }

    /// The same in the place of that very file; `NotFound` where somebody removed or replaced it.
    pub(in crate::cache) fn replace_seen(
        &self,
        name: &str,
        content: &[u8],
        _durable: bool,
        seen: &Seen,
    ) -> io::Result<Timestamp> {
        self.put(name, content, Some(seen))
    }

    fn put(&self, name: &str, content: &[u8], seen: Option<&Seen>) -> io::Result<Timestamp> {
        if content.len() > LARGEST {
            return Err(too_large(content.len()));
        }
        let temporary = self.path.join(temporary_name()?);
        let written = write(&temporary, content).and_then(|written_at| {
            let path = self.path.join(name);
            if let Some(Seen(changed)) = seen
                && fs::symlink_metadata(&path)?.modified()? != *changed
            {
                return Err(gone());
            }
            fs::rename(&temporary, path)?;
            Ok(written_at)
        });
        if written.is_err() {
            // Whatever failed, it is told below; a file that stays is swept later.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes a file; `false` where there was none.
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        match fs::remove_file(self.path.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The names of everything in it that is Unicode, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Whether something has this name, or may have it: only the system's plain no is one.
    #[must_use]
    pub fn may_hold(&self, name: &str) -> bool {
        let there = fs::symlink_metadata(self.path.join(name));
        !there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether something that is no file has this name.
    #[must_use]
    pub fn holds_no_file_of_ours(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path.join(name)).is_ok_and(|there| !there.is_file())
    }

    /// Removes temporary files that were last changed longer ago than `age`; `now` is a moment of
    /// the file system's clock.
    pub fn sweep(&self, now: Timestamp, age: TimeDelta) {
        for name in self.names().iter().filter(|name| name.starts_with('.') && name.ends_with(TEMPORARY)) {
            let path = self.path.join(name);
            let Ok(changed) = fs::symlink_metadata(&path).and_then(|status| status.modified()) else {
                continue;
            };
            if now - DateTime::<Utc>::from(changed) > age {
                // Another process may have swept it meanwhile.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Opens a file to read it and to add to its end, and creates it if need be. Returns its size too.
    pub fn open_to_append(&self, name: &str) -> io::Result<(File, usize)> {
        self.open_log(name, true)
    }

    /// The same for a file that must be there; `None` where it is not.
    #[must_use]
    pub fn open_existing(&self, name: &str) -> Option<(File, usize)> {
        self.open_log(name, false).ok()
    }

    fn open_log(&self, name: &str, create: bool) -> io::Result<(File, usize)> {
        let file = OpenOptions::new().read(true).append(true).create(create).open(self.path.join(name))?;
        let status = file.metadata()?;
        let size = usize::try_from(status.len()).ok().filter(|size| status.is_file() && *size <= LARGEST_LOG);
        let size =
            size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a file of ours"))?;
        Ok((file, size))
    }

    /// Gives a file another name, in the place of whatever has it.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    /// Opens a file to lock it, and creates it if need be.
    pub(in crate::cache) fn open_to_lock(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path.join(name))
    }

    /// Whether this name still stands for this open file: an open file cannot be removed here.
    #[expect(clippy::unused_self, reason = "the same face as on Unix")]
    #[must_use]
    pub fn is_still(&self, _name: &str, _file: &File) -> bool {
        true
    }

    /// Locks are tried on every file system.
    #[expect(clippy::unused_self, reason = "the same face as on Unix")]
    pub(in crate::cache) fn is_remote(&self) -> bool {
        false
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<Timestamp> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(DateTime::from(file.metadata()?.modified()?))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn files_are_replaced_read_and_removed() {
        let outer = TempDir::new().unwrap();
        let path = outer.path().join("a/b");
        assert!(matches!(Folder::open(&path), Err(FolderError::Absent { .. })));
        let folder = Folder::create(&path).unwrap();
        assert_eq!(folder.path(), path);
        folder.replace("entry", b"one", true).unwrap();
        folder.replace("entry", b"two", false).unwrap();
        assert_eq!(folder.read("entry").unwrap().as_slice(), b"two");
        assert_eq!(folder.names(), ["entry"]);
        assert!(folder.remove("entry").unwrap());
        assert!(!folder.remove("entry").unwrap());
        assert!(folder.read("entry").is_none());
        assert!(!folder.may_hold("entry") && folder.may_hold(&"a".repeat(1000)), "what cannot be known");
        let file = folder.open_to_lock("lock").unwrap();
        assert!(folder.is_still("lock", &file) && !folder.is_remote());
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(folder.holds_no_file_of_ours("folder") && !folder.holds_no_file_of_ours("lock"));
    }

    #[test]
    fn what_was_removed_or_replaced_since_it_was_read_stays_so() {
        let outer = TempDir::new().unwrap();
        let folder = Folder::create(outer.path()).unwrap();
        folder.replace("entry", b"one", false).unwrap();
        let (_, seen) = folder.read_seen("entry").unwrap();
        folder.replace_seen("entry", b"two", false, &seen).unwrap();
        let (content, seen) = folder.read_seen("entry").unwrap();
        assert_eq!(content.as_slice(), b"two");
        let other = Seen(SystemTime::UNIX_EPOCH);
        let error = folder.replace_seen("entry", b"mine", false, &other).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(folder.read("entry").unwrap().as_slice(), b"two");
        folder.remove("entry").unwrap();
        let error = folder.replace_seen("entry", b"mine", false, &seen).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(folder.names(), [""; 0], "nor is a temporary file left");
    }

    #[test]
    fn folders_files_of_any_size_and_leftovers() {
        let outer = TempDir::new().unwrap();
        let folder = Folder::create(outer.path()).unwrap();
        fs::create_dir(outer.path().join("entry")).unwrap();
        assert!(folder.read("entry").is_none());
        folder.replace("entry", b"x", false).unwrap_err();
        assert_eq!(folder.names(), ["entry"]);
        folder.replace("large", &vec![0; LARGEST + 1], false).unwrap_err();
        fs::write(outer.path().join("large"), vec![0; LARGEST + 1]).unwrap();
        assert!(folder.read("large").is_none());
        assert!(matches!(Folder::create(&outer.path().join("large")), Err(FolderError::NotAFolder { .. })));

        let temporary = outer.path().join(temporary_name().unwrap());
        let born = write(&temporary, b"half").unwrap();
        folder.sweep(born + TimeDelta::minutes(4), TimeDelta::minutes(5));
        assert!(temporary.exists());
        folder.sweep(born + TimeDelta::minutes(6), TimeDelta::minutes(5));
        assert!(!temporary.exists());
    }

    #[test]
    fn a_log_is_added_to_and_can_be_put_aside() {
        let outer = TempDir::new().unwrap();
        let folder = Folder::create(&outer.path().join("a")).unwrap();
        assert!(folder.open_existing("log").is_none());
        for expected in [0, 2] {
            let (mut log, size) = folder.open_to_append("log").unwrap();
            assert_eq!(size, expected);
            log.write_all(b"x\n").unwrap();
        }
        folder.rename("log", "log.1").unwrap();
        assert_eq!(folder.open_existing("log.1").unwrap().1, 4);
        assert!(folder.is_still("log.1", &folder.open_existing("log.1").unwrap().0));
    }
}
