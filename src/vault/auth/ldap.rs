//! `ldap`: a directory's name and password. OpenBao has it as a plugin, with the same endpoints.

use super::{Granted, LogIn, userpass};
use crate::vault::VaultError;

/// Logs in with a directory's name and password.
pub(super) async fn log_in(
    cx: &LogIn<'_>,
    mount: &str,
    username: Option<&str>,
) -> Result<Granted, VaultError> {
    userpass::with_password(cx, "ldap", mount, username).await
}
