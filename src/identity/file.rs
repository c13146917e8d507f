//! Reads a token file: once per use, because the kubelet and agents replace it.

use std::path::Path;

use secrecy::SecretString;

use super::error::{IdentityError, Place, Provider};
use crate::foreign_file::{self, NotRead};

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
    let bytes = foreign_file::read(path, LONGEST).map_err(|error| match error {
        NotRead::Refused(error) => unreadable(error.to_string()),
        NotRead::NotAFile => malformed("it is no regular file"),
        NotRead::TooLarge { .. } => malformed("it is longer than 64 KiB"),
    })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(malformed("it is no text")),
    }
}
