//! Token documents in KV, which the controller (or anybody) writes and jobs read.
//!
//! Both versions of the engine, without being told which: the path of version 2 is read first, which
//! costs one call where a policy allows nothing else; only where that finds nothing is the mount
//! looked up. What the document says beside the token is checked against what was asked for.

mod document;
mod not_read;
mod template;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

pub use not_read::{NotRead, Reason};
pub use template::{Fault, Problem, TemplateError};

use self::document::{Fields, Moments};
use self::template::Values;
use super::ask::{Ask, Reply};
use super::cluster::{Asking, DocumentCluster};
use super::{SourceError, words};
use crate::config::VaultKv;
use crate::error::{Error, printable};
use crate::token::{Minted, Timestamp};
use crate::vault::{Call, VaultError, path};

/// A document that was read.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) minted: Minted,
    pub(super) cluster: DocumentCluster,
    pub(super) place: Place,
}

/// Where a document is, for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    vault: String,
    path: String,
}

impl Place {
    /// Mount and path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The error of a token that is dead.
    pub(super) fn late(self, at: Timestamp) -> SourceError {
        self.not_read(Reason::Late { at })
    }

    fn not_read(&self, reason: Reason) -> SourceError {
        SourceError::Kv(Box::new(NotRead { vault: self.vault.clone(), path: self.path.clone(), reason }))
    }
}

/// Reads a token document.
pub(super) async fn read<V: Ask>(
    vault: &V,
    settings: &VaultKv,
    asking: &Asking,
    clock: fn() -> Timestamp,
) -> Result<Document, Error> {
    let asked = Values { cluster: settings.cluster.as_deref(), team: settings.team.as_deref() };
    let path = template::render("path", &settings.path, asked).map_err(unfilled)?;
    let field = template::render("field", &settings.field, asked).map_err(unfilled)?;
    let mount = settings.mount.trim_matches('/');
    let secret = Secret {
        vault,
        mount,
        path: &path,
        place: Place { vault: vault.origin().to_owned(), path: format!("{mount}/{path}") },
    };
    let read_at = clock();
    let (fields, created_at) = secret.read().await?;
    let (minted, cluster) = document::read(fields, &field, asked, asking, Moments { created_at, read_at })
        .map_err(|reason| secret.place.not_read(reason))?;
    Ok(Document { minted, cluster, place: secret.place })
}

fn unfilled(error: TemplateError) -> SourceError {
    SourceError::Template(Box::new(error))
}

/// One secret of a KV engine of either version.
struct Secret<'a, V> {
    vault: &'a V,
    mount: &'a str,
    path: &'a str,
    place: Place,
}

/// `data` of KV version 2.
#[derive(Default, Deserialize)]
struct Versioned {
    data: Option<Fields>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    created_time: String,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
    #[serde(default)]
    version: u64,
}

/// `data` of `sys/internal/ui/mounts/<path>`.
#[derive(Deserialize)]
struct Mount {
    path: String,
    #[serde(rename = "type")]
    engine: String,
    #[serde(default)]
    options: Option<MountOptions>,
}

#[derive(Deserialize)]
struct MountOptions {
    #[serde(default)]
    version: Option<String>,
}

impl<V: Ask> Secret<'_, V> {
    /// The fields, and when they were written.
    async fn read(&self) -> Result<(Fields, Option<Timestamp>), Error> {
        let path = path::join(&[self.mount, "data", self.path])?;
        let nothing = match self.vault.ask::<Versioned>(Call::read(&path)).await {
            Ok(Reply {
                status: 200,
                data: Some(Versioned { data: Some(fields), metadata: Some(metadata) }),
                ..
            }) => {
                return Ok((fields, moment(&metadata.created_time)));
            }
            Ok(Reply { status: 404, data: Some(Versioned { metadata: Some(metadata), .. }), .. }) => {
                return Err(self.gone(&metadata).await.into());
            }
            Ok(reply) if reply.is_without_mount() => return Err(self.no_mount().into()),
            Ok(_) => self.no_secret().into(),
            Err(error @ VaultError::Denied { .. }) => error.into(),
            Err(error) => return Err(self.refused(error)),
        };
        // Nothing at the path of version 2; a version 1 has another.
        let known = match self.version().await? {
            Some(Version::Two) => return Err(nothing),
            Some(Version::One) => true,
            None => false,
        };
        let path = path::join(&[self.mount, self.path])?;
        match self.vault.ask::<Fields>(Call::read(&path)).await {
            Ok(Reply { status: 200, data: Some(fields), .. }) => Ok((fields, None)),
            Ok(reply) if reply.is_without_mount() => Err(self.no_mount().into()),
            Ok(_) if known => Err(self.no_secret().into()),
            Err(error @ VaultError::Denied { .. }) if known => Err(error.into()),
            Ok(_) | Err(VaultError::Denied { .. } | VaultError::Rejected { .. }) => Err(nothing),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// The engine's version, where a policy lets it be seen: any right below the mount is enough.
    async fn version(&self) -> Result<Option<Version>, Error> {
        let path = path::join(&["sys/internal/ui/mounts", self.mount, self.path])?;
        let mount = match self.vault.ask::<Mount>(Call::read(&path)).await {
            Ok(Reply { status: 200, data: Some(mount), .. }) => mount,
            Ok(_) | Err(VaultError::Denied { .. } | VaultError::Rejected { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // `generic` is what kv was called before it had versions.
        if !matches!(mount.engine.as_str(), "kv" | "generic") {
            return Err(self.place.not_read(Reason::NotKv { engine: printable(&mount.engine) }).into());
        }
        let found = mount.path.trim_matches('/');
        if found != self.mount {
            return Err(self.place.not_read(Reason::OtherMount { mount: printable(found) }).into());
        }
        let version = mount.options.and_then(|options| options.version);
        Ok(Some(if version.as_deref() == Some("2") { Version::Two } else { Version::One }))
    }

    /// Which of the ways in which a version can be gone.
    async fn gone(&self, metadata: &Metadata) -> SourceError {
        if metadata.destroyed {
            return self.place.not_read(Reason::Destroyed);
        }
        let Some(at) = moment(&metadata.deletion_time) else {
            return self.no_secret();
        };
        let outlived = match (moment(&metadata.created_time), self.delete_version_after().await) {
            (Some(created_at), Some(lifetime)) => {
                // Vault sets both from one clock, but not in one instruction.
                at.signed_duration_since(created_at)
                    .checked_sub(&lifetime)
                    .is_some_and(|difference| difference.abs() <= TimeDelta::seconds(2))
            }
            _ => false,
        };
        self.place.not_read(if outlived {
            Reason::Outlived { at }
        } else {
            Reason::Deleted { at, version: metadata.version }
        })
    }

    /// The secret's own setting, where a policy lets it be seen.
    async fn delete_version_after(&self) -> Option<TimeDelta> {
        #[derive(Deserialize)]
        struct SecretMetadata {
            delete_version_after: String,
        }
        let path = path::join(&[self.mount, "metadata", self.path]).ok()?;
        let metadata = self.vault.ask::<SecretMetadata>(Call::read(&path)).await.ok()?.data?;
        document::duration(&metadata.delete_version_after).filter(|lifetime| *lifetime > TimeDelta::zero())
    }

    fn no_mount(&self) -> SourceError {
        SourceError::NoMount { vault: self.place.vault.clone(), mount: self.mount.to_owned() }
    }

    fn no_secret(&self) -> SourceError {
        self.place.not_read(Reason::NoSecret { with_data: self.path.starts_with("data/") })
    }

    fn refused(&self, error: VaultError) -> Error {
        match error {
            VaultError::Rejected { messages, .. } => {
                self.place.not_read(Reason::Refused { words: words(&messages) }).into()
            }
            other => other.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A moment as KV writes it; none where it writes an empty text.
fn moment(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc))
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]
mod tests;
