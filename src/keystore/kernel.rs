//! The sealing key in the Linux kernel's keyring of this user (`keyrings(7)`): found with three
//! system calls, never on a disk, gone when the machine stops.
//!
//! It lies in the user keyring (`@u`), which every process of this user and user namespace can
//! search. Most processes do not *possess* that keyring (an ssh session without `pam_keyinit`, a
//! service of systemd), so the key says that its owner may read it. A container that is let in by
//! its seccomp profile shares the keyring with the same uid of its host: the key is worth nothing
//! without the files, so this is no more than sharing a name.

use linux_keyutils::{Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};
use zeroize::Zeroizing;

use super::SealingKey;

/// A copy of the system keyring's key is dropped after so long, so that an emptied keyring counts
/// in the end. The next call copies it anew. A key that stands alone has no end: with it all that
/// it sealed would be lost.
const LIFE_OF_A_COPY: usize = 30 * 24 * 60 * 60;

/// Where the key comes from; a byte of the payload, as `status` tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The system's keyring has it too.
    System,
    /// It is nowhere else.
    Alone,
}

/// Version, origin, key.
const PAYLOAD: usize = 34;
const VERSION: u8 = 1;

/// The key under this description. `Err` says why there can be none.
pub(super) fn read(description: &str) -> Result<Option<(Origin, SealingKey)>, String> {
    let key = match find(description) {
        Ok(key) => key,
        Err(error) if is_absent(error) => return Ok(None),
        Err(error) => return Err(words(error)),
    };
    let mut payload = Zeroizing::new([0; PAYLOAD]);
    match key.read(&mut *payload) {
        // The size is that of the payload, even where it is more than there was room for.
        Ok(PAYLOAD) => {}
        Ok(_) => return Err(format!("`{description}` in it is something else")),
        Err(error) if is_absent(error) => return Ok(None),
        Err(error) => return Err(words(error)),
    }
    let [version, origin, bytes @ ..] = &*payload;
    let origin = match (*version, *origin) {
        (VERSION, 1) => Origin::System,
        (VERSION, 2) => Origin::Alone,
        _ => return Err(format!("`{description}` in it is something else")),
    };
    Ok(Some((origin, SealingKey::from_bytes(*bytes))))
}

/// Puts the key there, in the place of what has this description.
pub(super) fn write(description: &str, origin: Origin, key: &SealingKey) -> Result<(), String> {
    put(description, origin, key).map_err(words)
}

fn put(description: &str, origin: Origin, key: &SealingKey) -> Result<(), KeyError> {
    let mut payload = Zeroizing::new([VERSION; PAYLOAD]);
    let [_, origin_byte, bytes @ ..] = &mut *payload;
    *origin_byte = match origin {
        Origin::System => 1,
        Origin::Alone => 2,
    };
    *bytes = *key.expose();
    // A key can only be opened to its owner by whoever possesses it, and what is added to a
    // keyring that we do not possess, we do not possess. So it is made in a keyring of this
    // process, and then linked, complete, in one step.
    let own = KeyRing::from_special_id(KeyRingIdentifier::Process, true)?;
    let key = own.add_key(description, &*payload)?;
    // Security: view, search and read for this uid; nothing for group and others.
    let owner = Permission::VIEW | Permission::SEARCH | Permission::READ;
    key.set_perms(KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(owner).build())?;
    if origin == Origin::System {
        key.set_timeout(LIFE_OF_A_COPY)?;
    }
    users()?.link_key(key)?;
    own.unlink_key(key)
}

/// Removes the key.
#[cfg(test)]
pub(super) fn remove(description: &str) {
    if let (Ok(users), Ok(key)) = (users(), find(description)) {
        users.unlink_key(key).unwrap();
    }
}

fn users() -> Result<KeyRing, KeyError> {
    KeyRing::from_special_id(KeyRingIdentifier::User, false)
}

fn find(description: &str) -> Result<Key, KeyError> {
    users()?.search(description)
}

/// Expired and revoked keys stay visible for some minutes, and can be replaced.
fn is_absent(error: KeyError) -> bool {
    matches!(error, KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked)
}

fn words(error: KeyError) -> String {
    match error {
        KeyError::PermissionDenied => "not permitted (as in most containers)".into(),
        KeyError::AccessDenied => "access to a key of this name is denied".into(),
        KeyError::QuotaExceeded => "this user has too many keys".into(),
        // ENOSYS.
        KeyError::Unknown(38) => "the kernel has none".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs where there is a keyring; elsewhere checks that its absence is told, not found out by
    /// a crash.
    fn with_keyring(test: &str, body: impl FnOnce(&str)) {
        let description = format!("vaulttoken-test-{}-{test}", std::process::id());
        match read(&description) {
            Ok(found) => {
                assert!(found.is_none());
                body(&description);
                remove(&description);
            }
            Err(reason) => {
                assert_eq!(write(&description, Origin::Alone, &SealingKey::from_bytes([1; 32])), Err(reason));
            }
        }
    }

    fn read_back(description: &str) -> Option<(Origin, [u8; 32])> {
        read(description).unwrap().map(|(origin, key)| (origin, *key.expose()))
    }

    #[test]
    fn a_key_is_found_with_its_origin_and_can_be_replaced() {
        with_keyring("replace", |description| {
            write(description, Origin::Alone, &SealingKey::from_bytes([1; 32])).unwrap();
            assert_eq!(read_back(description), Some((Origin::Alone, [1; 32])));
            write(description, Origin::System, &SealingKey::from_bytes([2; 32])).unwrap();
            assert_eq!(read_back(description), Some((Origin::System, [2; 32])));
            let found = find(description).unwrap().metadata().unwrap();
            assert_eq!(found.get_perms().bits(), 0x3f0b_0000, "its owner may view, read and search");
        });
    }

    #[test]
    fn another_thread_without_possession_finds_it() {
        with_keyring("thread", |description| {
            let write_it = || write(description, Origin::Alone, &SealingKey::from_bytes([3; 32])).unwrap();
            std::thread::scope(|scope| scope.spawn(write_it).join().unwrap());
            assert_eq!(read_back(description), Some((Origin::Alone, [3; 32])));
        });
    }

    #[test]
    fn a_revoked_key_is_absent_and_another_payload_is_told() {
        with_keyring("other", |description| {
            write(description, Origin::Alone, &SealingKey::from_bytes([1; 32])).unwrap();
            users().unwrap().search(description).unwrap().invalidate().unwrap();
            assert_eq!(read_back(description), None);
            for payload in [&b"short"[..], &[9; PAYLOAD], &[1; 1000]] {
                let own = KeyRing::from_special_id(KeyRingIdentifier::Process, true).unwrap();
                let key = own.add_key(description, payload).unwrap();
                key.set_perms(
                    KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(Permission::ALL).build(),
                )
                .unwrap();
                users().unwrap().link_key(key).unwrap();
                let reason = read(description).err();
                // 34 bytes of 1 would be a valid payload with the key 1, 1, 1, …; 1000 are too many.
                assert_eq!(reason, Some(format!("`{description}` in it is something else")));
            }
        });
    }

    #[test]
    fn refusals_are_told_in_words() {
        assert_eq!(words(KeyError::PermissionDenied), "not permitted (as in most containers)");
        assert_eq!(words(KeyError::AccessDenied), "access to a key of this name is denied");
        assert_eq!(words(KeyError::QuotaExceeded), "this user has too many keys");
        assert_eq!(words(KeyError::Unknown(38)), "the kernel has none");
        assert_eq!(words(KeyError::OutOfMemory), "OutOfMemory");
    }
}
