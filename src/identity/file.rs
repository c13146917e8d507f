//! Reads a token file: once per use, because the kubelet and agents replace it.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::error::{IdentityError, Place, Provider};

/// Larger than any token a server takes in a header.
pub(super) const LONGEST: usize = 64 * 1024;

/// The file's text. Follows symbolic links, because a projected volume is made of them.
pub(super) fn read(who: &str, path: &Path, provider: Provider) -> Result<SecretString, IdentityError> {
    let unreadable = |cause: String| IdentityError::Unreadable {
        who: who.to_owned(),
        path: path.to_owned(),
        cause,
        provider,
    };
    let malformed =
        |why| IdentityError::Malformed { who: who.to_owned(), place: Place::File(path.to_owned()), why };
    let file = open(path).map_err(|error| unreadable(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    // Security: a device or a pipe could hold us for ever, or feed us without end.
    if !metadata.is_file() {
        return Err(malformed("it is no regular file"));
    }
    // One piece, so that no half-grown copy of the secret stays behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() > LONGEST {
        return Err(malformed("it is longer than 64 KiB"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(malformed("it is no text")),
    }
}

#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Without O_NONBLOCK the opening of a pipe would wait for a writer.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
