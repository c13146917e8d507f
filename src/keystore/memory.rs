//! A folder of this user on a tmpfs, for machines without any keyring: what is there never reaches
//! a disk (other than by swapping), and ends with the machine.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::process::geteuid;

use crate::cache::file::{Folder, FolderError};
use crate::env::Env;

/// The first that can be used; else why none can.
pub(super) fn folder(env: &Env) -> Result<PathBuf, Vec<String>> {
    first(&candidates(env))
}

fn candidates(env: &Env) -> Vec<PathBuf> {
    let runtime = env.filled("XDG_RUNTIME_DIR").map(Path::new).filter(|path| path.is_absolute());
    // `/dev/shm` is shared by all users, so the name says whose it is, and the owner is checked.
    let shared = PathBuf::from(format!("/dev/shm/vaulttoken-{}", geteuid().as_raw()));
    runtime.map(|path| path.join("vaulttoken")).into_iter().chain([shared]).collect()
}

fn first(candidates: &[PathBuf]) -> Result<PathBuf, Vec<String>> {
    let mut reasons = Vec::new();
    for path in candidates {
        match is_usable(path) {
            Ok(()) => return Ok(path.clone()),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons)
}

fn is_usable(path: &Path) -> Result<(), String> {
    let opened = match Folder::open(path) {
        // Nothing is created before it is clear that it would be in memory.
        Err(FolderError::Absent { .. }) if path.parent().is_some_and(is_in_memory) => Folder::create(path),
        Err(FolderError::Absent { .. }) => return Err(not_in_memory(path)),
        other => other,
    };
    let folder = opened.map_err(|error| error.to_string())?;
    if folder.is_in_memory() { Ok(()) } else { Err(not_in_memory(path)) }
}

fn not_in_memory(path: &Path) -> String {
    format!("`{}` is not on a tmpfs", path.display())
}

fn is_in_memory(path: &Path) -> bool {
    // The magic numbers of tmpfs and ramfs have 32 bits; the field's width differs.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    statfs(path).is_ok_and(|status| matches!(status.f_type as u32, 0x0102_1994 | 0x8584_58F6))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder on the tmpfs that every Linux has, removed at the end.
    fn in_memory() -> tempfile::TempDir {
        tempfile::TempDir::with_prefix_in("vaulttoken-test-", "/dev/shm").unwrap()
    }

    #[test]
    fn the_folder_of_this_login_comes_before_the_shared_one() {
        let env = |value: &str| Env::of([("XDG_RUNTIME_DIR".to_owned(), value.to_owned())]);
        let shared = PathBuf::from(format!("/dev/shm/vaulttoken-{}", geteuid().as_raw()));
        assert_eq!(
            candidates(&env("/run/user/7")),
            [PathBuf::from("/run/user/7/vaulttoken"), shared.clone()]
        );
        assert_eq!(candidates(&env("run")), [shared.as_path()]);
        assert_eq!(candidates(&env("")), [shared]);
    }

    #[test]
    fn the_first_on_a_tmpfs_is_taken_and_nothing_is_left_elsewhere() {
        let (memory, disk) = (in_memory(), tempfile::TempDir::new_in("/var/tmp").unwrap());
        let (absent, on_disk) = (memory.path().join("none/below"), disk.path().join("vaulttoken"));
        let good = memory.path().join("vaulttoken");
        assert_eq!(first(&[absent.clone(), on_disk.clone(), good.clone()]), Ok(good.clone()));
        assert_eq!(first(std::slice::from_ref(&good)), Ok(good), "it may exist already");
        assert!(!on_disk.exists());
        std::fs::create_dir(&on_disk).unwrap();
        assert_eq!(
            first(&[absent.clone(), on_disk.clone()]),
            Err(vec![
                format!("`{}` is not on a tmpfs", absent.display()),
                format!("`{}` is not on a tmpfs", on_disk.display()),
            ])
        );
    }

    #[test]
    fn somebody_elses_link_is_not_taken() {
        let memory = in_memory();
        std::fs::create_dir(memory.path().join("target")).unwrap();
        let link = memory.path().join("vaulttoken");
        std::os::unix::fs::symlink(memory.path().join("target"), &link).unwrap();
        assert_eq!(
            first(std::slice::from_ref(&link)),
            Err(vec![format!("`{}` is not a folder, or is a link", link.display())])
        );
    }
}
