//! Where secrets rest, how well they are guarded there, and whether file locks work.

use std::path::Path;
use std::time::Duration;

use super::{Order, Report};
use crate::cache::Acquired;
use crate::cache::file::{Folder, FolderError};
use crate::cache::lock;
use crate::config::{Settings, Store};
use crate::desk::KEYRING_PATIENCE;
use crate::keystore::{Keystore, Place, Tier};

const STORE: &str = "store";
const LOCKS: &str = "locks";
/// A name that nobody else locks; it is removed again.
const LOCK: &str = "doctor.lock";

pub(super) fn examine(order: &Order<'_>, settings: Option<&Settings>, report: &mut Report) {
    let policy = settings.map(|settings| settings.store).unwrap_or_default();
    let place = match Keystore::open(policy, order.env, KEYRING_PATIENCE) {
        Ok(place) => place,
        Err(error) => return report.error(STORE, error),
    };
    store(&place, policy, report);
    if place.tier == Tier::Keyring
        && let Err(why) = Keystore::ask_system(order.env, KEYRING_PATIENCE)
    {
        let message = "the keyring of the system does not answer: the kernel's copy of the key is used";
        report.warn(STORE, message, Some(why), Some("unlock the keyring of this session before you log out"));
    }
    if place.tier == Tier::None {
        return;
    }
    let sessions = place.state_folder.as_ref().map(|folder| folder.join("sessions"));
    for (folder, variable) in
        [(&place.cache_folder, "VAULTTOKEN_CACHE_DIR"), (&sessions, "VAULTTOKEN_STATE_DIR")]
    {
        if let Some(folder) = folder {
            locks(folder, variable, report);
        }
    }
}

pub(super) fn store(place: &Place, policy: Store, report: &mut Report) {
    let why = (!place.reasons.is_empty()).then(|| place.reasons.join("; "));
    match place.tier {
        Tier::Keyring => report.ok(STORE, "secrets rest sealed; the key is in the keyring of the system"),
        Tier::KernelKeyring => report.ok(
            STORE,
            "secrets rest sealed; the key is in the kernel's keyring, and gone when the machine stops",
        ),
        Tier::Plain if policy == Store::Plain => {
            report.ok(
                STORE,
                "secrets rest in plain files, as `store: plain` asks; only their modes guard them",
            );
        }
        Tier::Plain => {
            let message = "secrets rest in plain files in memory; only their modes guard them".to_owned();
            report.warn(STORE, message, why, Some("unlock the keyring of this session"));
        }
        Tier::None if policy == Store::None => {
            report.ok(STORE, "nothing is kept, as `store: none` asks: each call fetches a token");
        }
        Tier::None => {
            let message = "nothing is kept: each call fetches a token".to_owned();
            let hint = "unlock the keyring of this session, or set `HOME` to a folder of this user";
            report.warn(STORE, message, why, Some(hint));
        }
    }
}

/// A folder that is not there yet is made by whoever needs it.
fn locks(path: &Path, variable: &'static str, report: &mut Report) {
    match Folder::open(path) {
        Ok(folder) => {
            let acquired = lock::acquire(&folder, LOCK, Duration::ZERO, &mut || {});
            if matches!(acquired, Acquired::Guard(_)) {
                // One that stays is an empty file.
                let _ = folder.remove(LOCK);
            }
            told(path, variable, &acquired, report);
        }
        Err(FolderError::Absent { .. }) => {}
        Err(error) => {
            let message = format!("`{}` cannot be used", path.display());
            let hint = format!("set `{variable}` to a folder of this user alone");
            report.warn(LOCKS, message, Some(error.to_string()), Some(&hint));
        }
    }
}

pub(super) fn told(path: &Path, variable: &'static str, acquired: &Acquired, report: &mut Report) {
    match acquired {
        Acquired::Guard(_) | Acquired::Busy => {
            report.ok(LOCKS, format!("file locks work in `{}`", path.display()));
        }
        Acquired::Unsupported(reason) => {
            let message =
                format!("no file locks in `{}`: callers at the same time each fetch", path.display());
            let hint = format!("set `{variable}` to a folder of this machine");
            report.warn(LOCKS, message, Some(reason.clone()), Some(&hint));
        }
    }
}
