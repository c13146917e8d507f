//! The secret of a confidential client, read from its file when it is needed.

use std::path::Path;

use secrecy::SecretString;

use super::OidcError;
use crate::foreign_file;

/// More than any client's secret has.
const LARGEST_FILE: usize = 64 * 1024;

/// Reads it, without the white space round it.
///
/// # Errors
/// [`OidcError::ClientSecret`] where there is none.
pub fn read(file: &Path) -> Result<SecretString, OidcError> {
    let unusable = |why: String| OidcError::ClientSecret { file: file.display().to_string(), why };
    let bytes = foreign_file::read(file, LARGEST_FILE).map_err(|error| unusable(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is no text".to_owned()))?;
    match text.trim() {
        "" => Err(unusable("it is empty".to_owned())),
        secret => Ok(SecretString::from(secret)),
    }
}
