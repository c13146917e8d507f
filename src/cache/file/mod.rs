//! Files that only this user can have written: a folder of ours, read and written without
//! following anybody's links, and replaced whole or not at all. It owns modes, owners and names of
//! temporary files, and knows nothing of what a file holds.
//!
//! Root is a user like any other here: a folder of another user is refused, so that `sudo kubectl`
//! in somebody's environment neither believes their files nor leaves files of root among them.

use std::io;
use std::path::PathBuf;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{Folder, Seen};

// Its tests also run on Unix, so that it cannot rot unseen.
#[cfg(any(not(unix), test))]
#[cfg_attr(unix, expect(unreachable_pub, reason = "nobody but its tests uses it here"))]
mod portable;
#[cfg(not(unix))]
pub use portable::{Folder, Seen};

/// The largest file that is read or written; tokens are a few kilobytes.
pub const LARGEST: usize = 1024 * 1024;

/// The largest file that is added to; whoever adds sees to it that it stays far smaller.
const LARGEST_LOG: usize = 16 * LARGEST;

/// Endings of files that a writer left behind when it died.
const TEMPORARY: &str = ".tmp";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is none yet. Only when it was not to be created.
    #[error("`{}` does not exist", path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else owns it: choose another one.
    #[error("`{}` belongs to another user (uid {owner})", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others can write there. Its mode is not ours to change.
    #[error("`{}` can be written by other users (mode {mode})", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode, in octal.
        mode: String,
    },
    /// A file or a link is in its place.
    #[error("`{}` is not a folder, or is a link", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("`{}` cannot be used: {source}", path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A name for a temporary file that nobody else has.
fn temporary_name() -> io::Result<String> {
    let random: [u8; 16] = ring::rand::generate(&ring::rand::SystemRandom::new())
        .map_err(|_| io::Error::other("the system has no randomness to give"))?
        .expose();
    Ok(format!(".{:032x}{TEMPORARY}", u128::from_be_bytes(random)))
}

/// What was to be replaced is not there any more.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "somebody removed or replaced it meanwhile")
}

fn too_large(size: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("{size} bytes are more than is kept"))
}
