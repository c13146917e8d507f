//! Keychain and Credential Manager.
//!
//! macOS may show a dialogue of its own when another build of this program created the key; the
//! deadline then ends the wait, and the answer that a person gave counts from the next call on.

use keyring::{Entry, Error};
use zeroize::Zeroizing;

use super::USER;
use crate::env::Env;
use crate::error::printable;
use crate::keystore::SealingKey;

/// Always: these keyrings are part of the system.
pub(super) fn is_reachable(_env: &Env) -> Result<(), String> {
    Ok(())
}

/// The key under this service.
pub(super) fn read(service: &str) -> Result<Option<SealingKey>, String> {
    let secret = match entry(service)?.get_secret() {
        Ok(secret) => Zeroizing::new(secret),
        Err(Error::NoEntry) => return Ok(None),
        Err(error) => return Err(printable(&error.to_string())),
    };
    SealingKey::parse(&secret).map(Some).ok_or_else(|| format!("`{service}` in it is not a sealing key"))
}

/// Keeps the key.
pub(super) fn write(service: &str, key: &SealingKey) -> Result<(), String> {
    entry(service)?.set_secret(key.to_text().as_bytes()).map_err(|error| printable(&error.to_string()))
}

fn entry(service: &str) -> Result<Entry, String> {
    Entry::new(service, USER).map_err(|error| printable(&error.to_string()))
}
