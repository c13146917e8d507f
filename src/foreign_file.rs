//! The one way in which files that somebody else wrote get from the disk into memory: settings,
//! certificates, tokens. Only plain files, links to them included, and never more than a limit;
//! what the bytes mean, and whose file it has to be, is not decided here.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRead {
    /// The system refused; perhaps there is none.
    #[error(transparent)]
    Refused(#[from] io::Error),
    /// A folder, a pipe, a device.
    #[error("it is not a file")]
    NotAFile,
    /// More bytes than whoever asked will take.
    #[error("it is larger than {} KiB", limit / 1024)]
    TooLarge {
        /// The most bytes.
        limit: usize,
    },
}

impl NotRead {
    /// Whether nothing is there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

/// A plain file that is open.
pub(crate) struct ForeignFile {
    file: File,
    metadata: Metadata,
}

impl ForeignFile {
    pub(crate) fn open(path: &Path) -> Result<Self, NotRead> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            // Security: opening a pipe would wait for whoever writes into it, perhaps for ever.
            let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
            options.custom_flags(flags.bits().cast_signed());
        }
        let file = match options.open(path) {
            Ok(file) => file,
            // Windows refuses to open a folder, and Unix a socket.
            Err(_) if path.exists() && !path.is_file() => return Err(NotRead::NotAFile),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        // Security: a device could feed us without end.
        if metadata.is_file() { Ok(Self { file, metadata }) } else { Err(NotRead::NotAFile) }
    }

    /// What the system says about the file that is open.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All of it.
    pub(crate) fn read(self, limit: usize) -> Result<Zeroizing<Vec<u8>>, NotRead> {
        let announced = usize::try_from(self.metadata.len()).ok().filter(|size| *size <= limit);
        let Some(announced) = announced else { return Err(NotRead::TooLarge { limit }) };
        // Room for a byte more than there should be: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced + 32));
        self.file.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > limit { Err(NotRead::TooLarge { limit }) } else { Ok(bytes) }
    }
}

/// The bytes of a file.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, NotRead> {
    ForeignFile::open(path)?.read(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(path: &Path) -> String {
        read(path, 2048).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_file_of_bounded_size_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(read(&path, 9).unwrap_err().is_absent());
        std::fs::write(&path, "x".repeat(2048)).unwrap();
        assert_eq!(read(&path, 2048).unwrap().len(), 2048);
        assert!(read(&path.join("below"), 9).unwrap_err().is_absent());
        std::fs::write(&path, "x".repeat(2049)).unwrap();
        assert_eq!(failure(&path), "it is larger than 2 KiB");
        assert_eq!(failure(folder.path()), "it is not a file");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_neither_pipes_nor_devices_nor_sockets_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert_eq!(read(&path("link"), 9).unwrap().as_slice(), b"text");
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for wrong in [path("pipe"), path("socket"), "/dev/zero".into()] {
            assert_eq!(failure(&wrong), "it is not a file", "{}", wrong.display());
        }
        // A file that says nothing about its size.
        #[cfg(target_os = "linux")]
        assert_eq!(
            read(Path::new("/proc/self/environ"), 0).unwrap_err().to_string(),
            "it is larger than 0 KiB"
        );
    }
}
