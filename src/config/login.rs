//! What `login --method --mount --role --username` changes about a vault's log-in. The vault itself
//! stays as it was named.

use super::name::nearest;
use super::problem::{By, SettingsError};
use super::types::{AuthMethod, VaultSettings};
use super::value::{Mount, Role, Text, ValueError};

const METHODS: [&str; 8] = ["token", "userpass", "ldap", "approle", "kubernetes", "jwt", "oidc", "cert"];

/// The log-in flags as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogInOverrides {
    /// `--method`: a name of [`AuthMethod::name`].
    pub method: Option<String>,
    /// `--mount`, without `auth/`.
    pub mount: Option<String>,
    /// `--role`.
    pub role: Option<String>,
    /// `--username`.
    pub username: Option<String>,
}

impl VaultSettings {
    /// The same vault with another log-in. Another method starts from its defaults; one that needs
    /// what only settings can say (`approle`, `jwt`) must be the configured one.
    pub fn with_login_overrides(&self, flags: &LogInOverrides) -> Result<Self, SettingsError> {
        let mut vault = self.clone();
        let role = checked(flags.role.as_ref(), "--role")?.map(|role: Role| role.0);
        if let Some(method) = flags.method.as_deref().filter(|method| *method != self.auth.name()) {
            vault.auth = default_method(method, role.as_deref())?;
        }
        let method = vault.auth.name();
        if let Some(mount) = checked(flags.mount.as_ref(), "--mount")? {
            let Mount(mount) = mount;
            *mount_of(&mut vault.auth).ok_or_else(|| misplaced("--mount", method))? = mount;
        }
        if let Some(role) = role {
            match &mut vault.auth {
                AuthMethod::Kubernetes { role: field, .. } => *field = role,
                AuthMethod::Jwt { role: field, .. }
                | AuthMethod::Oidc { role: field, .. }
                | AuthMethod::Cert { role: field, .. } => *field = Some(role),
                AuthMethod::Token
                | AuthMethod::Userpass { .. }
                | AuthMethod::Ldap { .. }
                | AuthMethod::Approle { .. } => return Err(misplaced("--role", method)),
            }
        }
        if let Some(Text(name)) = checked(flags.username.as_ref(), "--username")? {
            match &mut vault.auth {
                AuthMethod::Userpass { username, .. } | AuthMethod::Ldap { username, .. } => {
                    *username = Some(name);
                }
                _ => return Err(misplaced("--username", method)),
            }
        }
        Ok(vault)
    }
}

fn default_method(method: &str, role: Option<&str>) -> Result<AuthMethod, SettingsError> {
    let mount = method.to_owned();
    let refused = |problem: String| SettingsError::LogIn { by: By::Flag("--method"), problem };
    Ok(match (method, role) {
        ("token", _) => AuthMethod::Token,
        ("userpass", _) => AuthMethod::Userpass { mount, username: None },
        ("ldap", _) => AuthMethod::Ldap { mount, username: None },
        ("oidc", _) => AuthMethod::Oidc { mount, role: None },
        ("cert", _) => AuthMethod::Cert { mount, role: None, pair: None },
        ("kubernetes", Some(role)) => AuthMethod::Kubernetes { mount, role: role.to_owned(), identity: None },
        ("kubernetes", None) => return Err(refused("`kubernetes` needs `--role`".to_owned())),
        ("approle" | "jwt", _) => {
            return Err(refused(format!(
                "`{method}` needs more than flags can say; name it in the vault's `auth`"
            )));
        }
        (unknown, _) => {
            let meant = nearest(unknown, METHODS).map(|meant| format!("; `{meant}` was probably meant"));
            return Err(refused(format!("there is no method `{unknown}`{}", meant.unwrap_or_default())));
        }
    })
}

fn mount_of(auth: &mut AuthMethod) -> Option<&mut String> {
    match auth {
        AuthMethod::Token => None,
        AuthMethod::Userpass { mount, .. }
        | AuthMethod::Ldap { mount, .. }
        | AuthMethod::Approle { mount, .. }
        | AuthMethod::Kubernetes { mount, .. }
        | AuthMethod::Jwt { mount, .. }
        | AuthMethod::Oidc { mount, .. }
        | AuthMethod::Cert { mount, .. } => Some(mount),
    }
}

fn misplaced(flag: &'static str, method: &str) -> SettingsError {
    SettingsError::LogIn { by: By::Flag(flag), problem: format!("it has no meaning for a `{method}` log-in") }
}

fn checked<T: TryFrom<String, Error = ValueError>>(
    text: Option<&String>,
    flag: &'static str,
) -> Result<Option<T>, SettingsError> {
    let word = |problem| SettingsError::Word { by: By::Flag(flag), problem };
    text.map(|text| T::try_from(text.clone()).map_err(word)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn vault(auth: &str) -> VaultSettings {
        let text = format!(
            "apiVersion: vaulttoken.dev/v1alpha1\nkind: Config\nvaults:\n  corp: {{address: https://v, auth: {auth}}}\n"
        );
        Settings::of_text(&text).unwrap().vaults.into_values().next().unwrap()
    }

    fn flags(method: &str, mount: &str, role: &str, username: &str) -> LogInOverrides {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        LogInOverrides {
            method: some(method),
            mount: some(mount),
            role: some(role),
            username: some(username),
        }
    }

    #[test]
    fn flags_change_the_configured_method_or_start_another_from_its_defaults() {
        let oidc = vault("{oidc: {mount: sso, role: reader}}");
        let auth = |flags| oidc.with_login_overrides(&flags).unwrap().auth;
        assert_eq!(auth(flags("", "", "", "")), oidc.auth);
        assert_eq!(
            auth(flags("oidc", "", "writer", "")),
            AuthMethod::Oidc { mount: "sso".into(), role: Some("writer".into()) }
        );
        assert_eq!(
            auth(flags("ldap", "", "", "me")),
            AuthMethod::Ldap { mount: "ldap".into(), username: Some("me".into()) }
        );
        assert_eq!(
            auth(flags("kubernetes", "k8s/prod", "app", "")),
            AuthMethod::Kubernetes { mount: "k8s/prod".into(), role: "app".into(), identity: None }
        );
        let changed = oidc.with_login_overrides(&flags("userpass", "", "", "")).unwrap();
        assert_eq!(
            (changed.address, changed.named_by),
            (oidc.address, oidc.named_by),
            "only the log-in changes"
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let message = |auth: &str, flags: LogInOverrides| {
            vault(auth).with_login_overrides(&flags).unwrap_err().to_string()
        };
        for (auth, flags, expected) in [
            ("token", flags("", "m", "", ""), "`--mount`: it has no meaning for a `token` log-in"),
            ("userpass", flags("", "", "r", ""), "`--role`: it has no meaning for a `userpass` log-in"),
            ("oidc", flags("", "", "", "me"), "`--username`: it has no meaning for a `oidc` log-in"),
            ("token", flags("kubernetes", "", "", ""), "`--method`: `kubernetes` needs `--role`"),
            (
                "token",
                flags("jwt", "", "", ""),
                "`--method`: `jwt` needs more than flags can say; name it in the vault's `auth`",
            ),
            (
                "token",
                flags("user-pas", "", "", ""),
                "`--method`: there is no method `user-pas`; `userpass` was probably meant",
            ),
            (
                "token",
                flags("oidc", "../x", "", ""),
                "`--mount`: `../x` cannot be a mount: a path such as `kubernetes/prod` is expected, without slashes at its ends and without empty, `.` or `..` parts",
            ),
        ] {
            assert_eq!(message(auth, flags), expected);
        }
    }
}
