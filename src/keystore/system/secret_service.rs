//! The Secret Service (GNOME Keyring, `KWallet`, `KeePassXC`) over the session bus.
//!
//! A locked collection would ask a person to unlock it. That only happens when a client asks to
//! unlock, or follows the prompt that an answer offers: here neither is done, and the library is
//! told to follow no prompt.

use std::collections::HashMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use dbus_secret_service::{EncryptionType, Error, SecretService};
use zeroize::Zeroizing;

use super::USER;
use crate::env::Env;
use crate::error::printable;
use crate::keystore::SealingKey;

const ADDRESS: &str = "DBUS_SESSION_BUS_ADDRESS";
const RUNTIME_FOLDER: &str = "XDG_RUNTIME_DIR";

/// Whether there is a session bus that this environment means.
///
/// libdbus reads these variables from the process by itself.
pub(super) fn is_reachable(env: &Env) -> Result<(), String> {
    let own = env.own();
    let process = Env::of_process();
    for name in [ADDRESS, RUNTIME_FOLDER] {
        // Security: a kubeconfig must not choose who is asked for the key.
        if own.foreign().iter().any(|foreign| foreign == name) {
            return Err(format!("`{name}` was set by the kubeconfig"));
        }
    }
    match own.filled(ADDRESS) {
        Some(address) if process.get(ADDRESS) != Some(address) => {
            Err(format!("`{ADDRESS}` is not that of this process"))
        }
        // Security: other kinds of address start programs or leave this machine.
        Some(address) if !address.split(';').all(|one| one.starts_with("unix:")) => {
            Err(format!("`{ADDRESS}` is not a local socket"))
        }
        Some(_) => Ok(()),
        None => match own.filled(RUNTIME_FOLDER) {
            Some(folder)
                if process.get(RUNTIME_FOLDER) == Some(folder)
                    && process.filled(ADDRESS).is_none()
                    && is_socket(&Path::new(folder).join("bus")) =>
            {
                Ok(())
            }
            _ => Err("there is no session bus".into()),
        },
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|status| status.file_type().is_socket())
}

fn connect() -> Result<SecretService, String> {
    // No prompt is waited for, so none is shown. `Plain`: the bus is a socket of this user.
    SecretService::connect_with_max_prompt_timeout(EncryptionType::Plain, 0).map_err(|error| words(&error))
}

fn attributes(service: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", service), ("username", USER)])
}

/// The key under this service.
pub(super) fn read(service: &str) -> Result<Option<SealingKey>, String> {
    let bus = connect()?;
    let mut found = bus.search_items(attributes(service)).map_err(|error| words(&error))?;
    // Where two were created at once, everybody must take the same.
    found.unlocked.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(item) = found.unlocked.first() {
        let secret = Zeroizing::new(item.get_secret().map_err(|error| words(&error))?);
        return SealingKey::parse(&secret)
            .map(Some)
            .ok_or_else(|| format!("`{service}` in it is not a sealing key"));
    }
    if !found.locked.is_empty() {
        return Err(words(&Error::Locked));
    }
    // Some services do not show what a locked collection holds.
    let collection = bus.get_default_collection().map_err(|error| words(&error))?;
    if collection.is_locked().map_err(|error| words(&error))? {
        return Err(words(&Error::Locked));
    }
    Ok(None)
}

/// Keeps the key in the default collection.
pub(super) fn write(service: &str, key: &SealingKey) -> Result<(), String> {
    let bus = connect()?;
    let collection = bus.get_default_collection().map_err(|error| words(&error))?;
    let label = format!("{service} (key that seals cached tokens)");
    collection
        .create_item(&label, attributes(service), key.to_text().as_bytes(), true, "text/plain")
        .map(drop)
        .map_err(|error| words(&error))
}

fn words(error: &Error) -> String {
    match error {
        Error::Locked | Error::Prompt => "it is locked".into(),
        Error::NoResult => "it has no default collection".into(),
        Error::Dbus(error) => printable(error.message().unwrap_or("the session bus failed")),
        other => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(variables: &[(&str, &str)]) -> Result<(), String> {
        is_reachable(&Env::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into()))))
    }

    #[test]
    fn without_a_session_bus_nothing_is_tried() {
        assert_eq!(reach(&[]), Err("there is no session bus".into()));
        assert_eq!(reach(&[(ADDRESS, "")]), Err("there is no session bus".into()));
        assert_eq!(reach(&[(RUNTIME_FOLDER, "/nowhere")]), Err("there is no session bus".into()));
    }

    #[test]
    fn the_bus_of_another_environment_is_not_asked() {
        assert_eq!(
            reach(&[(ADDRESS, "unix:path=/nowhere/else")]),
            Err("`DBUS_SESSION_BUS_ADDRESS` is not that of this process".into())
        );
    }

    #[test]
    fn failures_are_told_in_words() {
        assert_eq!(words(&Error::Locked), "it is locked");
        assert_eq!(words(&Error::Prompt), "it is locked");
        assert_eq!(words(&Error::NoResult), "it has no default collection");
        assert_eq!(words(&Error::Parse), "Unexpected Error: Parse");
    }
}
