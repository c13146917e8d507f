//! The sealing keys that the plugin keeps in the kernel's keyring, as another program of the same user
//! sees them.

use linux_keyutils::{KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};

fn users() -> Option<KeyRing> {
    KeyRing::from_special_id(KeyRingIdentifier::User, false).ok()
}

/// What is kept under a name.
pub fn read(name: &str) -> Option<Vec<u8>> {
    users()?.search(name).ok()?.read_to_vec().ok()
}

/// Puts something there, for every process of this user.
pub fn write(name: &str, payload: &[u8]) {
    let own = KeyRing::from_special_id(KeyRingIdentifier::Process, true).unwrap();
    let key = own.add_key(name, payload).unwrap();
    let all = KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(Permission::ALL).build();
    key.set_perms(all).unwrap();
    users().unwrap().link_key(key).unwrap();
    own.unlink_key(key).unwrap();
}

pub fn remove(name: &str) {
    // Where the kernel refuses its keyring there is nothing to remove.
    if let Some(Ok(key)) = users().map(|users| users.search(name)) {
        key.invalidate().unwrap();
    }
}
