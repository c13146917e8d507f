//! The Vault token that lies about: in the environment, with the token helper of the `vault` or
//! `bao` command, or in `~/.vault-token`; looked for in the order of those commands. It is used,
//! and never stored, renewed or revoked.

mod helper;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::VaultError;
use crate::env::Env;
use crate::foreign_file;
use crate::hex::hex;
use helper::Helper;

pub(super) use helper::HINT as HELPER_HINT;

/// Larger than any token, and than any configuration of the command.
const LARGEST_FILE: usize = 64 * 1024;

/// A token that was found, and where.
#[derive(Debug, Clone)]
pub struct FoundToken {
    /// The token, trimmed.
    pub token: SecretString,
    /// Where it was.
    pub from: FoundIn,
}

impl FoundToken {
    /// Whether a variable names it, and so somebody means it for this very call.
    #[must_use]
    pub fn is_of_the_environment(&self) -> bool {
        matches!(self.from, FoundIn::Environment(_))
    }
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundIn {
    /// This variable.
    Environment(&'static str),
    /// This external token helper.
    Helper(PathBuf),
    /// This file.
    File(PathBuf),
}

impl fmt::Display for FoundIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(variable) => write!(formatter, "`{variable}`"),
            Self::Helper(path) => write!(formatter, "the token helper `{}`", path.display()),
            Self::File(path) => write!(formatter, "`{}`", path.display()),
        }
    }
}

/// Finds the token for the Vault at `address`, running the token helper if there is one.
///
/// # Errors
/// [`VaultError::Settings`] for a helper that may not be run or fails, and for a file that exists
/// but cannot be read.
pub fn find(env: &Env, address: &str, deadline: Instant) -> Result<Option<FoundToken>, VaultError> {
    let (token, from) = match place(env)? {
        None => return Ok(None),
        Some(Place::Variable(variable, value)) => {
            (Zeroizing::new(value.to_owned()), FoundIn::Environment(variable))
        }
        Some(Place::Helper(helper)) => {
            (helper.get(env, address, deadline)?, FoundIn::Helper(helper.path().to_owned()))
        }
        Some(Place::File(path)) => {
            let text = read(&path).map_err(|why| unreadable(&path, why))?;
            (text.unwrap_or_default(), FoundIn::File(path))
        }
    };
    let token = token.trim();
    Ok((!token.is_empty()).then(|| FoundToken { token: SecretString::from(token), from }))
}

/// What tells one caller's token from another's, without running anything: a digest of the token,
/// or of the helper's command line. `None`: there is no token.
#[must_use]
pub fn fingerprint(env: &Env) -> Option<String> {
    let (kind, text) = match place(env).ok()?? {
        Place::Variable(_, value) => ("token", Zeroizing::new(value.to_owned())),
        Place::Helper(helper) => ("helper", Zeroizing::new(helper.command().to_owned())),
        Place::File(path) => ("token", read(&path).ok()??),
    };
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"vaulttoken found token v1\0");
    context.update(kind.as_bytes());
    context.update(b"\0");
    context.update(text.as_bytes());
    Some(hex(context.finish().as_ref()))
}

/// Where the token is to be taken from.
enum Place<'a> {
    Variable(&'static str, &'a str),
    Helper(Helper),
    File(PathBuf),
}

fn place(env: &Env) -> Result<Option<Place<'_>>, VaultError> {
    if let Some((variable, value)) = either(env, "BAO_TOKEN", "VAULT_TOKEN") {
        return Ok(Some(Place::Variable(variable, value)));
    }
    if let Some(helper) = configured_helper(env)? {
        return Ok(Some(Place::Helper(helper)));
    }
    let path = either(env, "BAO_TOKEN_PATH", "VAULT_TOKEN_PATH").map(|(_, path)| PathBuf::from(path));
    Ok(path.or_else(|| env.home().map(|home| home.join(".vault-token"))).map(Place::File))
}

/// Of a pair of variables that which is set, even if empty, OpenBao's first; an empty one is none.
fn either<'a>(env: &'a Env, bao: &'static str, vault: &'static str) -> Option<(&'static str, &'a str)> {
    let chosen = if env.get(bao).is_some() { bao } else { vault };
    env.get(chosen).map(str::trim).filter(|value| !value.is_empty()).map(|value| (chosen, value))
}

/// The helper that the command's configuration names.
fn configured_helper(env: &Env) -> Result<Option<Helper>, VaultError> {
    let named = either(env, "BAO_CONFIG_PATH", "VAULT_CONFIG_PATH").map(|(_, path)| PathBuf::from(path));
    let candidates = match (named, env.home()) {
        (Some(path), _) => vec![path],
        (None, Some(home)) => vec![home.join(".bao"), home.join(".vault")],
        (None, None) => Vec::new(),
    };
    for path in candidates {
        // A folder of that name, as some keep one, is no configuration.
        if path.is_dir() {
            continue;
        }
        if let Some(text) = read(&path).map_err(|why| unreadable(&path, why))? {
            return Helper::of_configuration(&text, &path);
        }
    }
    Ok(None)
}

/// A small text file; `None` where there is none.
fn read(path: &Path) -> Result<Option<Zeroizing<String>>, String> {
    match foreign_file::read(path, LARGEST_FILE) {
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
            Err(_) => Err("it is no text".into()),
        },
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn unreadable(path: &Path, why: String) -> VaultError {
    VaultError::Settings { what: format!("`{}`", path.display()), why, hint: None }
}

#[cfg(test)]
mod tests;
