//! `approle`: a role id of the settings and a secret id from a file, plain or wrapped.

use std::path::Path;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Door, Exposed, Granted, LogIn};
use crate::foreign_file;
use crate::vault::exchange::Ask;
use crate::vault::{VaultError, answer, wire};

/// Larger than any secret id or wrapping token.
const LARGEST_FILE: usize = 64 * 1024;

/// Where the secret id comes from.
pub(super) enum SecretId<'a> {
    /// There is none: the role is bound by other means, such as addresses.
    None,
    /// The file holds it.
    Plain(&'a Path),
    /// The file holds a token that wraps it.
    Wrapped(&'a Path),
}

impl<'a> SecretId<'a> {
    pub(super) fn of(file: Option<&'a Path>, wrapped: bool) -> Self {
        match file {
            None => Self::None,
            Some(file) if wrapped => Self::Wrapped(file),
            Some(file) => Self::Plain(file),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    role_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<Exposed<'a>>,
}

/// Logs in with role id and secret id; the file is read now, since others replace it.
pub(super) async fn log_in(
    cx: &LogIn<'_>,
    mount: &str,
    role_id: &str,
    secret_id: SecretId<'_>,
) -> Result<Granted, VaultError> {
    let secret_id = match secret_id {
        SecretId::None => None,
        SecretId::Plain(file) => Some(read(file)?),
        SecretId::Wrapped(file) => Some(unwrap(cx, mount, file).await?),
    };
    let door = Door { method: "approle", mount, path: &["login"], who: None };
    cx.knock(&door, &Body { role_id, secret_id: secret_id.as_ref().map(Exposed) }).await
}

fn read(file: &Path) -> Result<SecretString, VaultError> {
    let unusable = |why: String| VaultError::Settings {
        what: format!("the secret id in `{}`", file.display()),
        why,
        hint: Some("check `secretIdFile` in `auth` of this vault".into()),
    };
    let bytes = foreign_file::read(file, LARGEST_FILE).map_err(|error| unusable(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is no text".into()))?;
    match text.trim() {
        "" => Err(unusable("it is empty".into())),
        secret => Ok(SecretString::from(secret)),
    }
}

#[derive(Serialize)]
struct WrappingToken<'a> {
    token: Exposed<'a>,
}

#[derive(Deserialize)]
struct Origin {
    creation_path: String,
}

#[derive(Deserialize)]
struct Unwrapped {
    #[serde(deserialize_with = "wire::secret")]
    secret_id: SecretString,
}

/// Unwraps the secret id, once it is sure that it was wrapped where secret ids are made.
async fn unwrap(cx: &LogIn<'_>, mount: &str, file: &Path) -> Result<SecretString, VaultError> {
    const LOOKUP: &str = "sys/wrapping/lookup";
    const UNWRAP: &str = "sys/wrapping/unwrap";
    let (vault, exchange) = (cx.vault, &cx.vault.exchange);
    let shown = || file.display().to_string();
    let spent = |messages| VaultError::WrappingSpent {
        vault: vault.origin().to_owned(),
        mount: mount.to_owned(),
        file: shown(),
        messages,
    };
    let wrapping = read(file)?;

    let mut ask =
        Ask::post(LOOKUP, cx.body(LOOKUP, &WrappingToken { token: Exposed(&wrapping) })?, vault.deadline());
    ask.repeatable = true;
    let reply = exchange.ask(ask).await?;
    if !reply.is_done() {
        return Err(spent(reply.messages()));
    }
    let Origin { creation_path } = answer::data(&reply.body).map_err(|why| exchange.unusable(LOOKUP, why))?;
    // Security: whoever can write the file could make us unwrap, and log in with, what is theirs.
    if !makes_secret_ids(&creation_path, mount, vault.parts.settings.namespace.as_deref()) {
        return Err(VaultError::WrappingForeign {
            vault: vault.origin().to_owned(),
            mount: mount.to_owned(),
            file: shown(),
            creation_path,
        });
    }

    let mut ask = Ask::post(UNWRAP, Zeroizing::new(b"{}".to_vec()), vault.deadline());
    ask.token = Some(&wrapping);
    let reply = exchange.ask(ask).await?;
    if !reply.is_done() {
        return Err(spent(reply.messages()));
    }
    let Unwrapped { secret_id } = answer::data(&reply.body).map_err(|why| exchange.unusable(UNWRAP, why))?;
    Ok(secret_id)
}

/// Whether a path is `auth/<mount>/role/<role>/secret-id` (or `custom-secret-id`), perhaps behind
/// the namespace.
fn makes_secret_ids(creation_path: &str, mount: &str, namespace: Option<&str>) -> bool {
    let path = namespace
        .and_then(|namespace| creation_path.strip_prefix(namespace)?.strip_prefix('/'))
        .unwrap_or(creation_path);
    let role = path
        .strip_prefix("auth/")
        .and_then(|path| path.strip_prefix(mount.trim_matches('/')))
        .and_then(|path| path.strip_prefix("/role/"))
        .and_then(|path| path.strip_suffix("/secret-id").or_else(|| path.strip_suffix("/custom-secret-id")));
    role.is_some_and(|role| !role.is_empty() && !role.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_mount_makes_our_secret_ids() {
        for (path, expected) in [
            ("auth/approle/role/ci/secret-id", true),
            ("auth/approle/role/ci/custom-secret-id", true),
            ("team/auth/approle/role/ci/secret-id", true),
            ("auth/approle/role//secret-id", false),
            ("auth/approle/role/ci/x/secret-id", false),
            ("auth/approle2/role/ci/secret-id", false),
            ("auth/other/role/ci/secret-id", false),
            ("auth/approle/role/ci/secret-id/lookup", false),
            ("other/auth/approle/role/ci/secret-id", false),
            ("sys/wrapping/wrap", false),
            ("cubbyhole/x", false),
        ] {
            assert_eq!(makes_secret_ids(path, "approle", Some("team")), expected, "{path}");
        }
        assert!(makes_secret_ids("auth/a/b/role/ci/secret-id", "a/b", None));
    }
}
