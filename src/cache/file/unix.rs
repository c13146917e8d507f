//! Folders and files on Unix. Everything is checked on open descriptors, and files are named
//! relative to the folder's, so that nothing can be exchanged between the check and the use.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta};
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{FolderError, LARGEST, LARGEST_LOG, TEMPORARY, gone, temporary_name, too_large};
use crate::token::Timestamp;

const GROUP_AND_OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);

/// A file that was read. It stays open, so that no other file can get its number.
#[derive(Debug)]
pub struct Seen(File);

/// An open folder of this user.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens a folder that exists; its mode is left as it is.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        // Security: a link in the folder's own place is not followed; on a shared `/dev/shm`
        // anybody can put one there.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let descriptor = fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => FolderError::Absent { path: path.into() },
            Errno::NOTDIR | Errno::LOOP => FolderError::NotAFolder { path: path.into() },
            other => refused(path, other),
        })?;
        let status = fs::fstat(&descriptor).map_err(|error| refused(path, error))?;
        if status.st_uid != geteuid().as_raw() {
            return Err(FolderError::Foreign { path: path.into(), owner: status.st_uid });
        }
        let mode = Mode::from_raw_mode(status.st_mode);
        // Security: somebody else may have named a folder that the system lives on, so it is refused
        // and never mended. Those who can only list it see names of files that they cannot read.
        if mode.intersects(OTHERS_WRITE) {
            return Err(FolderError::Open { path: path.into(), mode: format!("{:04o}", mode.as_raw_mode()) });
        }
        Ok(Self { path: path.into(), descriptor })
    }

    /// Opens a folder, and creates it and what is missing above it, for this user alone. What is
    /// there already keeps its mode.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        match Self::open(path) {
            Err(FolderError::Absent { .. }) => {}
            other => return other,
        }
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(|source| FolderError::Refused { path: path.into(), source })?;
        Self::open(path)
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file, or `None` where there is none that only we can have written.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.read_seen(name).map(|(content, _)| content)
    }

    /// The same, and which file that was.
    pub(in crate::cache) fn read_seen(&self, name: &str) -> Option<(Zeroizing<Vec<u8>>, Seen)> {
        // Without NONBLOCK the open of a FIFO would wait for a writer for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = File::from(fs::openat(&self.descriptor, name, flags, Mode::empty()).ok()?);
        let size = size_of_ours(&fs::fstat(&file).ok()?, LARGEST)?;
        let mut content = Zeroizing::new(vec![0; size]);
        file.read_exact(&mut content).ok()?;
        Some((content, Seen(file)))
    }

    /// Puts a file in the place of whatever has this name, whole or not at all as processes see it.
    /// `durable`: it also survives a crash of the machine right after. Without, such a crash may leave
    /// it cut or empty, which its seal or checksum shows: what can be fetched again is not worth the
    /// wait for a disk. Returns when that was, by the file system's clock.
    pub fn replace(&self, name: &str, content: &[u8], durable: bool) -> io::Result<Timestamp> {
        self.put(name, content, durable, None)
    }

    /// The same in the place of that very file; `NotFound` where somebody removed or replaced it.
    pub(in crate::cache) fn replace_seen(
        &self,
        name: &str,
        content: &[u8],
        durable: bool,
        seen: &Seen,
    ) -> io::Result<Timestamp> {
        self.put(name, content, durable, Some(seen))
    }

    fn put(&self, name: &str, content: &[u8], durable: bool, seen: Option<&Seen>) -> io::Result<Timestamp> {
        if content.len() > LARGEST {
            return Err(too_large(content.len()));
        }
        let temporary = temporary_name()?;
        let written = self.write(&temporary, content, durable).and_then(|written_at| {
            // Last of all: writing takes time, above all to a disk.
            if seen.is_some_and(|Seen(file)| !self.is_still(name, file)) {
                return Err(gone());
            }
            fs::renameat(&self.descriptor, &temporary, &self.descriptor, name)?;
            Ok(written_at)
        });
        if written.is_err() {
            // Whatever failed, it is told below; a file that stays is swept later.
            let _ = fs::unlinkat(&self.descriptor, &temporary, AtFlags::empty());
        } else if durable {
            fs::fsync(&self.descriptor)?;
        }
        written
    }

    fn write(&self, name: &str, content: &[u8], durable: bool) -> io::Result<Timestamp> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let only_us = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(fs::openat(&self.descriptor, name, flags, only_us)?);
        // A strange umask may have taken our own bits away.
        fs::fchmod(&file, only_us)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        changed_at(&fs::fstat(&file)?).ok_or_else(|| io::Error::other("the file system has no time"))
    }

    /// Removes a file; `false` where there was none.
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        match fs::unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of everything in it that is Unicode, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = Dir::read_from(&self.descriptor) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether something has this name, or may have it: only the system's plain no is one.
    #[must_use]
    pub fn may_hold(&self, name: &str) -> bool {
        !matches!(fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
    }

    /// Whether something that is no file of ours alone has this name: a link, a folder, another user's.
    /// No mode mends that.
    #[must_use]
    pub fn holds_no_file_of_ours(&self, name: &str) -> bool {
        fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|status| {
            FileType::from_raw_mode(status.st_mode) != FileType::RegularFile
                || status.st_uid != geteuid().as_raw()
                || status.st_nlink > 1
        })
    }

    /// Removes temporary files that were last changed longer ago than `age`. `now` is a moment of
    /// the file system's clock, as [`replace`](Self::replace) returns it: ours may differ, and must
    /// not take a file from a writer that is alive.
    pub fn sweep(&self, now: Timestamp, age: TimeDelta) {
        for name in self.names().iter().filter(|name| name.starts_with('.') && name.ends_with(TEMPORARY)) {
            let status = fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
            let changed_at = status.ok().and_then(|status| changed_at(&status));
            if changed_at.is_some_and(|changed_at| now - changed_at > age) {
                // Another process may have swept it meanwhile.
                let _ = fs::unlinkat(&self.descriptor, name, AtFlags::empty());
            }
        }
    }

    /// Opens a file to lock it, and creates it if need be.
    pub(in crate::cache) fn open_to_lock(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)?);
        if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(file)
    }

    /// Opens a file to read it and to add to its end, and creates it if need be. Returns its size too.
    pub fn open_to_append(&self, name: &str) -> io::Result<(File, usize)> {
        self.open_log(name, OFlags::CREATE)
    }

    /// The same for a file that must be there; `None` where it is not.
    #[must_use]
    pub fn open_existing(&self, name: &str) -> Option<(File, usize)> {
        self.open_log(name, OFlags::empty()).ok()
    }

    fn open_log(&self, name: &str, create: OFlags) -> io::Result<(File, usize)> {
        let flags = OFlags::RDWR | OFlags::APPEND | create | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Without NONBLOCK the open of a FIFO would wait.
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)?);
        let status = fs::fstat(&file)?;
        // Security: a file that others can write, or that has a second name, is not ours.
        let size = size_of_ours(&status, LARGEST_LOG)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a file of ours alone"))?;
        Ok((file, size))
    }

    /// Gives a file another name, in the place of whatever has it.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(&self.descriptor, from, &self.descriptor, to)?)
    }

    /// Whether this name still stands for this open file.
    #[must_use]
    pub fn is_still(&self, name: &str, file: &File) -> bool {
        let there = fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
        let ours = fs::fstat(file);
        matches!((there, ours), (Ok(there), Ok(ours)) if there.st_ino == ours.st_ino && there.st_dev == ours.st_dev)
    }

    /// Whether it is on a network file system, where a lock may wait for a server for ever.
    #[cfg(target_os = "linux")]
    pub(in crate::cache) fn is_remote(&self) -> bool {
        // NFS, CIFS and SMB2, from linux/magic.h.
        matches!(self.file_system(), Some(0x6969 | 0xFF53_4D42 | 0xFE53_4D42))
    }

    /// Whether it is in memory, so that nothing of it reaches a disk other than by swapping.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        // tmpfs and ramfs, from linux/magic.h.
        matches!(self.file_system(), Some(0x0102_1994 | 0x8584_58F6))
    }

    #[cfg(target_os = "linux")]
    fn file_system(&self) -> Option<u32> {
        // The magic numbers have 32 bits; the field's width and sign differ between architectures.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        fs::fstatfs(&self.descriptor).ok().map(|status| status.f_type as u32)
    }

    /// Only Linux tells file systems apart by number; elsewhere a lock is tried.
    #[cfg(not(target_os = "linux"))]
    pub(in crate::cache) fn is_remote(&self) -> bool {
        false
    }
}

fn refused(path: &Path, error: Errno) -> FolderError {
    FolderError::Refused { path: path.into(), source: error.into() }
}

fn changed_at(status: &Stat) -> Option<Timestamp> {
    DateTime::from_timestamp(status.st_mtime, 0)
}

/// The size of a regular file that is ours, that nobody else can read or write, and that has no
/// second name; else `None`.
///
/// Security: a hard link could make a file of ours from elsewhere look like an entry. No name at all
/// is fine: the file was replaced between our opening it and looking at it, and is still whole.
fn size_of_ours(status: &Stat, largest: usize) -> Option<usize> {
    let size = usize::try_from(status.st_size).ok()?;
    let is_ours = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
        && status.st_uid == geteuid().as_raw()
        && !Mode::from_raw_mode(status.st_mode).intersects(GROUP_AND_OTHERS)
        && status.st_nlink <= 1
        && size <= largest;
    is_ours.then_some(size)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, Folder) {
        let outer = TempDir::new().unwrap();
        let folder = Folder::create(&outer.path().join("a/b")).unwrap();
        (outer, folder)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(folder: &Folder, name: &str) -> Option<Vec<u8>> {
        folder.read(name).map(|content| content.to_vec())
    }

    #[test]
    fn folders_and_files_are_for_us_alone() {
        let (outer, folder) = folder();
        folder.replace("entry", b"content", true).unwrap();
        assert_eq!(mode(&outer.path().join("a")), 0o700);
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join("entry")), 0o600);
        assert_eq!(read(&folder, "entry").unwrap(), b"content");
        assert_eq!(folder.names(), ["entry"], "no temporary file is left");
        assert!(folder.may_hold("entry") && !folder.may_hold("other"));
        assert!(folder.may_hold(&"a".repeat(1000)), "what cannot be known");
        assert!(folder.remove("entry").unwrap());
        assert!(!folder.remove("entry").unwrap());
        assert_eq!(read(&folder, "entry"), None);
    }

    #[test]
    fn no_folder_that_was_there_before_changes_its_mode() {
        let outer = TempDir::new().unwrap();
        let path = outer.path().join("loose");
        std::fs::create_dir(&path).unwrap();
        // Where others can list names they cannot read what is in the files.
        for listed in [0o755, 0o711, 0o750] {
            set_mode(&path, listed);
            let folder = Folder::open(&path).unwrap();
            folder.replace("entry", b"content", false).unwrap();
            assert_eq!(read(&Folder::create(&path).unwrap(), "entry").unwrap(), b"content");
            assert_eq!(mode(&path), listed);
            assert_eq!(mode(&path.join("entry")), 0o600);
        }
        for written in [0o777, 0o720, 0o1777] {
            set_mode(&path, written);
            let error = Folder::open(&path).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("`{}` can be written by other users (mode {written:04o})", path.display())
            );
            Folder::create(&path).unwrap_err();
            assert_eq!(mode(&path), written);
        }
        // What was missing is ours alone, beneath a folder that is not.
        set_mode(&path, 0o755);
        Folder::create(&path.join("a/b")).unwrap();
        assert_eq!([mode(&path), mode(&path.join("a")), mode(&path.join("a/b"))], [0o755, 0o700, 0o700]);
    }

    #[test]
    fn a_folder_that_is_not_ours_is_refused() {
        let is_root = geteuid().is_root();
        let outer = TempDir::new().unwrap();
        // Root makes a folder for somebody else; others have one: the root folder itself.
        let (path, owner) = if is_root { (outer.path().to_owned(), 65_534) } else { ("/".into(), 0) };
        if is_root {
            std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        }
        let error = Folder::create(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` belongs to another user (uid {owner})", path.display()));
        assert!(matches!(error, FolderError::Foreign { .. }));
    }

    #[test]
    fn links_and_files_in_the_place_of_a_folder_are_refused() {
        let (outer, _folder) = folder();
        let link = outer.path().join("link");
        symlink(outer.path().join("a"), &link).unwrap();
        let error = Folder::create(&link).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` is not a folder, or is a link", link.display()));
        let file = outer.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(Folder::create(&file), Err(FolderError::NotAFolder { .. })));
        let error = Folder::create(&file.join("below")).unwrap_err();
        assert!(matches!(error, FolderError::NotAFolder { .. }), "{error}");
        let absent = outer.path().join("none");
        let error = Folder::open(&absent).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` does not exist", absent.display()));
    }

    #[test]
    fn other_messages_name_the_folder_and_the_reason() {
        let path = PathBuf::from("/some/folder");
        let open = FolderError::Open { path: path.clone(), mode: "0777".into() };
        assert_eq!(open.to_string(), "`/some/folder` can be written by other users (mode 0777)");
        let source = io::Error::other("no space left on device");
        let refused = FolderError::Refused { path, source };
        assert_eq!(refused.to_string(), "`/some/folder` cannot be used: no space left on device");
    }

    /// Everything that may lie in an entry's place without being one, and how it gets there.
    fn plant(what: &str, folder: &Folder) -> PathBuf {
        let path = folder.path().join("entry");
        folder.replace("other", b"secret", false).unwrap();
        let other = folder.path().join("other");
        match what {
            "symlink" => symlink(&other, &path).unwrap(),
            "dangling symlink" => symlink("nowhere", &path).unwrap(),
            "hard link" => std::fs::hard_link(&other, &path).unwrap(),
            "fifo" => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            "readable by others" | "writable by group" | "too large" | "sparse" => {
                folder.replace("entry", b"secret", false).unwrap();
                match what {
                    "readable by others" => set_mode(&path, 0o604),
                    "writable by group" => set_mode(&path, 0o620),
                    _ => File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap(),
                }
            }
            other => panic!("{other}"),
        }
        path
    }

    #[test]
    fn what_only_looks_like_an_entry_is_a_miss_and_is_replaced() {
        let planted = [
            "symlink",
            "dangling symlink",
            "hard link",
            "fifo",
            "socket",
            "readable by others",
            "writable by group",
            "too large",
        ];
        for what in planted {
            let (_outer, folder) = folder();
            let path = plant(what, &folder);
            assert_eq!(read(&folder, "entry"), None, "{what}");
            folder.replace("entry", b"mine", false).unwrap();
            assert_eq!(read(&folder, "entry").unwrap(), b"mine", "{what}");
            assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
            assert_eq!(read(&folder, "other").unwrap(), b"secret", "{what}: what it led to is untouched");
        }
    }

    #[test]
    fn a_foreign_file_in_our_folder_is_a_miss() {
        let (_outer, folder) = folder();
        folder.replace("entry", b"content", false).unwrap();
        let mut status = fs::statat(&folder.descriptor, "entry", AtFlags::empty()).unwrap();
        assert_eq!(size_of_ours(&status, LARGEST), Some(7));
        status.st_uid = status.st_uid.wrapping_add(1);
        assert_eq!(size_of_ours(&status, LARGEST), None);
        if geteuid().is_root() {
            std::os::unix::fs::chown(folder.path().join("entry"), Some(65_534), None).unwrap();
            assert_eq!(read(&folder, "entry"), None);
        }
    }

    #[test]
    fn a_file_that_was_replaced_while_it_is_read_still_counts() {
        let (_outer, folder) = folder();
        folder.replace("entry", b"content", false).unwrap();
        let open = File::open(folder.path().join("entry")).unwrap();
        folder.replace("entry", b"new content", false).unwrap();
        let mut status = fs::fstat(&open).unwrap();
        assert_eq!((status.st_nlink, size_of_ours(&status, LARGEST)), (0, Some(7)));
        status.st_nlink = 2;
        assert_eq!(size_of_ours(&status, LARGEST), None);
    }

    #[test]
    fn what_was_removed_or_replaced_since_it_was_read_stays_so() {
        let (_outer, folder) = folder();
        folder.replace("entry", b"one", false).unwrap();
        let (content, seen) = folder.read_seen("entry").unwrap();
        assert_eq!(content.as_slice(), b"one");
        folder.replace("entry", b"two", false).unwrap();
        let error = folder.replace_seen("entry", b"mine", true, &seen).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(read(&folder, "entry").unwrap(), b"two");
        let (_, seen) = folder.read_seen("entry").unwrap();
        folder.replace_seen("entry", b"mine", true, &seen).unwrap();
        assert_eq!(read(&folder, "entry").unwrap(), b"mine");
        let (_, seen) = folder.read_seen("entry").unwrap();
        folder.remove("entry").unwrap();
        let error = folder.replace_seen("entry", b"again", true, &seen).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(folder.names(), [""; 0], "nor is a temporary file left");
    }

    #[test]
    fn a_folder_in_an_entrys_place_is_a_miss_and_cannot_be_replaced() {
        let (_outer, folder) = folder();
        std::fs::create_dir(folder.path().join("entry")).unwrap();
        assert_eq!(read(&folder, "entry"), None);
        folder.replace("entry", b"mine", false).unwrap_err();
        assert_eq!(folder.names(), ["entry"], "the temporary file is gone");
    }

    #[test]
    fn too_much_is_not_written() {
        let (_outer, folder) = folder();
        let error = folder.replace("entry", &vec![0; LARGEST + 1], false).unwrap_err();
        assert_eq!(error.to_string(), "1048577 bytes are more than is kept");
        folder.replace("entry", &vec![0; LARGEST], false).unwrap();
        assert_eq!(read(&folder, "entry").unwrap().len(), LARGEST);
        assert_eq!(folder.names(), ["entry"]);
    }

    #[test]
    fn only_old_temporary_files_are_swept() {
        let (_outer, folder) = folder();
        let temporary = temporary_name().unwrap();
        let born = folder.write(&temporary, b"half", false).unwrap();
        folder.replace("entry", b"whole", false).unwrap();
        let age = TimeDelta::minutes(5);
        folder.sweep(born + age, age);
        assert_eq!(folder.names().len(), 2);
        folder.sweep(born - TimeDelta::hours(1), age);
        assert_eq!(folder.names().len(), 2, "a clock that went back sweeps nothing");
        folder.sweep(born + age + TimeDelta::seconds(1), age);
        assert_eq!(folder.names(), ["entry"]);
    }

    #[test]
    fn a_folder_that_was_removed_refuses_and_can_be_created_again() {
        let (_outer, folder) = folder();
        std::fs::remove_dir_all(folder.path()).unwrap();
        folder.replace("entry", b"x", false).unwrap_err();
        assert_eq!(read(&folder, "entry"), None);
        Folder::create(folder.path()).unwrap().replace("entry", b"x", false).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_told_from_a_disk() {
        let path = Path::new("/dev/shm").join(format!("vaulttoken-test-{}", std::process::id()));
        let in_memory = Folder::create(&path).unwrap();
        let answer = in_memory.is_in_memory();
        std::fs::remove_dir(&path).unwrap();
        assert!(answer);
        assert!(!in_memory.is_remote());
    }
}
