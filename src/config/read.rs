//! Settings and kubeconfigs as text, told apart by what the person has to mend where they are none,
//! and refused where the administrator's could have been written by anybody else.

use std::fs::Metadata;
use std::path::Path;

use super::problem::SettingsError;
use crate::foreign_file::{ForeignFile, NotRead};

/// The longest settings file.
pub(super) const SETTINGS_LIMIT: u64 = 1024 * 1024;

/// Whose file it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Anybody's.
    Anybody,
    /// Root's, and nobody else may write it.
    Administrator,
}

/// The text of a file; `None` where there is none.
pub(super) fn read_text(file: &Path, limit: u64, owner: Owner) -> Result<Option<String>, SettingsError> {
    let refused = |error| match error {
        NotRead::NotAFile => SettingsError::NotAFile { file: file.to_owned() },
        NotRead::TooLarge { .. } => SettingsError::TooLarge { file: file.to_owned(), limit },
        NotRead::Refused(error) => {
            SettingsError::Unreadable { file: file.to_owned(), cause: error.to_string() }
        }
    };
    let opened = match ForeignFile::open(file) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    if owner == Owner::Administrator {
        check_guarded(file, opened.metadata())?;
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let bytes = opened.read(most).map_err(refused)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(text.to_owned())),
        _ => Err(SettingsError::NotText { file: file.to_owned() }),
    }
}

/// Security: the administrator's word is beneath everybody's; whoever could write this file would
/// speak for the administrator. Looked at on the open file, so that it cannot be exchanged between.
#[cfg(unix)]
fn check_guarded(file: &Path, metadata: &Metadata) -> Result<(), SettingsError> {
    use std::os::unix::fs::MetadataExt as _;
    if is_guarded(metadata.uid(), metadata.mode()) {
        return Ok(());
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    Err(SettingsError::Unguarded { file: file.to_owned(), owner, mode })
}

/// On Windows the folder's access list guards the file: an installer must set it.
#[cfg(not(unix))]
fn check_guarded(_: &Path, _: &Metadata) -> Result<(), SettingsError> {
    Ok(())
}

#[cfg(unix)]
fn is_guarded(owner: u32, mode: u32) -> bool {
    owner == 0 && mode & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_text_of_bounded_size_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let read = |limit| read_text(&file, limit, Owner::Anybody);
        assert_eq!(read(9), Ok(None));
        assert_eq!(read_text(&file.join("below"), 9, Owner::Anybody), Ok(None));
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_text(&file.join("below"), 9, Owner::Anybody), Ok(None), "a file is not a folder");
        assert_eq!(read(5), Ok(Some("12345".to_owned())));
        assert_eq!(read(4), Err(SettingsError::TooLarge { file: file.clone(), limit: 4 }));
        for bytes in [&b"\xff\xfe"[..], b"a\0b"] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(read(9), Err(SettingsError::NotText { file: file.clone() }));
        }
        let folder_itself = folder.path().to_owned();
        assert_eq!(
            read_text(&folder_itself, 9, Owner::Anybody),
            Err(SettingsError::NotAFile { file: folder_itself })
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(read_text(&pipe, 9, Owner::Anybody), Err(SettingsError::NotAFile { file: pipe }));
    }

    #[cfg(unix)]
    #[test]
    fn only_roots_own_file_is_the_administrators() {
        for (owner, mode, good) in [
            (0, 0o100_644, true),
            (0, 0o100_600, true),
            (0, 0o100_664, false),
            (0, 0o100_646, false),
            (1000, 0o100_600, false),
        ] {
            assert_eq!(is_guarded(owner, mode), good, "{owner} {mode:o}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(matches!(
            read_text(&file, 9, Owner::Administrator),
            Err(SettingsError::Unguarded { mode: 0o666, .. })
        ));
    }
}
