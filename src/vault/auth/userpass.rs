//! `userpass`: a name and a password that a person types.

use serde::Serialize;

use super::{Door, Exposed, Granted, LogIn};
use crate::vault::VaultError;

#[derive(Serialize)]
struct Body<'a> {
    password: Exposed<'a>,
}

/// Logs in with a name and a password.
pub(super) async fn log_in(
    cx: &LogIn<'_>,
    mount: &str,
    username: Option<&str>,
) -> Result<Granted, VaultError> {
    with_password(cx, "userpass", mount, username).await
}

/// The log-in that `userpass` and `ldap` share, but for the name of the method.
pub(super) async fn with_password(
    cx: &LogIn<'_>,
    method: &'static str,
    mount: &str,
    username: Option<&str>,
) -> Result<Granted, VaultError> {
    let origin = cx.vault.origin();
    let username = match username {
        Some(username) => username.to_owned(),
        None => cx
            .vault
            .ask_person(cx.person, "a user name", |person| person.ask(&format!("user name for {origin}: ")))?
            .trim()
            .to_owned(),
    };
    let prompt = format!("password of {username} for {origin}: ");
    let password = cx.vault.ask_person(cx.person, "a password", |person| person.ask_secret(&prompt))?;
    let door = Door { method, mount, path: &["login", &username], who: Some(&username) };
    cx.knock(&door, &Body { password: Exposed(&password) }).await
}
