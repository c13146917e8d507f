//! The only reader of the environment, of home directories and of what the parent process is.
//!
//! A kubeconfig may add variables to ours through `exec.env`, and it is foreign input. This module
//! tells them apart from the person's own by looking at the parent's environment, which lacks what
//! the kubeconfig added; it decides nothing about what a variable means.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables that name a place, a settings file, a proxy or a TLS switch. They count only where
/// the parent has them with the same value.
const PLACES: [&str; 15] = [
    "HOME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "KUBECONFIG",
    "SHELL",
    "SYSTEM_OIDCREQUESTURI",
];

/// Prefixes and endings of further such variables; compared without regard to case, as proxies'
/// variables are written both ways.
fn names_a_place(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if PLACES.contains(&name.as_str()) || name.ends_with("_PROXY") {
        return true;
    }
    if let Some(rest) = name.strip_prefix("VAULTTOKEN_") {
        return matches!(rest, "CONFIG" | "CACHE_DIR" | "STATE_DIR" | "KEYRING_SERVICE");
    }
    name.strip_prefix("VAULT_").or_else(|| name.strip_prefix("BAO_")).is_some_and(|rest| {
        !matches!(rest, "TOKEN" | "MFA" | "WRAP_TTL" | "CLIENT_TIMEOUT" | "MAX_RETRIES" | "RATE_LIMIT")
    }) || name.starts_with("ACTIONS_ID_TOKEN_REQUEST_")
        || name.starts_with("AZURE_")
}

/// One reading of the environment.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    /// Names of variables that only the kubeconfig can have set.
    foreign: Vec<String>,
    /// It was told apart already: there is no parent to compare with.
    settled: bool,
    /// What a program that we run is given, where it was told apart already.
    for_child: Option<BTreeMap<String, String>>,
}

impl Env {
    /// The environment of this process. A variable that is not Unicode is left out.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables, ..Self::default() }
    }

    /// An environment made by hand, for tests and for the controller.
    #[must_use]
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect(), ..Self::default() }
    }

    /// The person's own environment as the process that started us found it with [`Self::own`]:
    /// what a kubeconfig added is not in it, and our parent is nobody to compare it with.
    #[must_use]
    pub fn settled(
        variables: BTreeMap<String, String>,
        foreign: Vec<String>,
        for_child: BTreeMap<String, String>,
    ) -> Self {
        Self { variables, foreign, settled: true, for_child: Some(for_child) }
    }

    /// Whether it came from the process that started us and not from our own.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// All variables by name.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// The value of a variable; `None` where it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The variables that were left out because only the kubeconfig set them.
    #[must_use]
    pub fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// This environment without what a kubeconfig added to it: each variable that names a place
    /// has the parent's value, or none.
    ///
    /// Where a client ran us (`KUBERNETES_EXEC_INFO`, which `exec.env` cannot unset) and the
    /// parent can be seen, this is exact. Anywhere else there is nothing to compare with (a shell's
    /// own record does not show what was exported after its start), and all variables count.
    #[must_use]
    pub fn own(&self) -> Self {
        if self.settled {
            return self.clone();
        }
        self.of_parent(names_a_place).map_or_else(|| self.clone(), |parent| self.without_foreign(&parent))
    }

    /// All variables for a program that we run: the parent's where a client ran us and the parent can
    /// be seen, else ours.
    ///
    /// Security: `PATH`, `BASH_ENV` or `LD_PRELOAD` of a kubeconfig would make a person's program run
    /// another one, and no list of such names is complete; so nothing that was added counts.
    #[must_use]
    pub fn for_child(&self) -> BTreeMap<String, String> {
        let settled = self.for_child.clone();
        settled.or_else(|| self.of_parent(|_| true)).unwrap_or_else(|| self.variables.clone())
    }

    /// Whether [`Self::for_child`] surely holds nothing that a kubeconfig added.
    #[must_use]
    pub fn can_tell_what_was_added(&self) -> bool {
        let is_client = self.get("KUBERNETES_EXEC_INFO").is_some();
        !is_client || self.for_child.is_some() || self.of_parent(names_a_place).is_some()
    }

    /// Those of the parent's variables that are wanted, where a client ran us.
    fn of_parent(&self, wanted: fn(&str) -> bool) -> Option<BTreeMap<String, String>> {
        self.get("KUBERNETES_EXEC_INFO").and_then(|_| parent_environment(wanted))
    }

    fn without_foreign(&self, parent: &BTreeMap<String, String>) -> Self {
        let mut own = self.clone();
        for (name, value) in &self.variables {
            if names_a_place(name) && parent.get(name) != Some(value) {
                own.foreign.push(name.clone());
                own.variables.remove(name);
            }
        }
        for (name, value) in parent {
            if names_a_place(name) && self.variables.get(name) != Some(value) {
                own.foreign.push(name.clone());
                own.variables.insert(name.clone(), value.clone());
            }
        }
        own.foreign.sort_unstable();
        own.foreign.dedup();
        own
    }

    /// This environment without the variables that choose among what the settings offer.
    #[must_use]
    pub fn without_choices(&self) -> Self {
        let mut plain = self.clone();
        plain.variables.retain(|name, _| !name.starts_with("VAULTTOKEN_") || names_a_place(name));
        plain
    }

    /// The person's home directory.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.filled(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// `$VAULTTOKEN_CONFIG`, else the usual place of a person's settings.
    #[must_use]
    pub fn settings_file(&self) -> Option<PathBuf> {
        if let Some(path) = self.filled("VAULTTOKEN_CONFIG") {
            return Some(PathBuf::from(path));
        }
        self.base("XDG_CONFIG_HOME", "APPDATA", ".config").map(|base| base.join("vaulttoken/config.yaml"))
    }

    /// The administrator's settings, which a person cannot write.
    #[must_use]
    pub fn administrator_settings_file(&self) -> PathBuf {
        if cfg!(windows) {
            let base = self.filled("PROGRAMDATA").unwrap_or(r"C:\ProgramData");
            return PathBuf::from(base).join(r"vaulttoken\config.yaml");
        }
        PathBuf::from("/etc/vaulttoken/config.yaml")
    }

    /// Where cached tokens are kept.
    #[must_use]
    pub fn cache_folder(&self) -> Option<PathBuf> {
        self.folder("VAULTTOKEN_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
    }

    /// Where sessions, remembered clusters and the journal are kept.
    #[must_use]
    pub fn state_folder(&self) -> Option<PathBuf> {
        self.folder("VAULTTOKEN_STATE_DIR", "XDG_STATE_HOME", ".local/state")
    }

    fn folder(&self, own: &str, base: &str, beneath_home: &str) -> Option<PathBuf> {
        match self.filled(own) {
            Some(path) => Some(PathBuf::from(path)),
            None => self.base(base, "LOCALAPPDATA", beneath_home).map(|base| base.join("vaulttoken")),
        }
    }

    /// A base directory: the XDG specification ignores values that are not absolute.
    fn base(&self, unix: &str, windows: &str, beneath_home: &str) -> Option<PathBuf> {
        let name = if cfg!(windows) { windows } else { unix };
        self.filled(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| self.home().map(|home| home.join(beneath_home)))
    }
}

/// What names a place in the parent's environment at its start, where the system shows it.
#[cfg(target_os = "linux")]
fn parent_environment(wanted: fn(&str) -> bool) -> Option<BTreeMap<String, String>> {
    let parent = rustix::process::getppid()?;
    let block = crate::process::read_at_once(&format!("/proc/{}/environ", parent.as_raw_nonzero())).ok()?;
    let variables = block.split(|byte| *byte == 0).filter_map(|entry| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        wanted(name).then(|| (name.to_owned(), value.to_owned()))
    });
    Some(variables.collect())
}

#[cfg(not(target_os = "linux"))]
fn parent_environment(_: fn(&str) -> bool) -> Option<BTreeMap<String, String>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_only_the_kubeconfig_set_does_not_count() {
        let ours = Env::of(map(&[
            ("VAULT_ADDR", "https://evil"),
            ("HTTPS_PROXY", "http://evil"),
            ("HOME", "/tmp/evil"),
            ("VAULT_TOKEN", "t"),
            ("BAO_SKIP_VERIFY", "1"),
            ("VAULTTOKEN_PROFILE", "prod"),
        ]));
        let own = ours.without_foreign(&map(&[("HOME", "/home/me"), ("VAULT_NAMESPACE", "mine")]));
        assert_eq!(own.get("VAULT_ADDR"), None);
        assert_eq!(own.get("HTTPS_PROXY"), None);
        assert_eq!(own.get("BAO_SKIP_VERIFY"), None);
        assert_eq!(own.get("HOME"), Some("/home/me"));
        assert_eq!(own.get("VAULT_NAMESPACE"), Some("mine"), "what the kubeconfig took away is back");
        assert_eq!(own.get("VAULT_TOKEN"), Some("t"));
        assert_eq!(own.get("VAULTTOKEN_PROFILE"), Some("prod"), "a profile may be chosen");
        assert_eq!(
            own.foreign(),
            ["BAO_SKIP_VERIFY", "HOME", "HTTPS_PROXY", "VAULT_ADDR", "VAULT_NAMESPACE"]
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_of_ours_has_nothing_that_a_client_added() {
        let alone = Env::of(map(&[("BASH_ENV", "mine")]));
        assert_eq!(alone.for_child(), map(&[("BASH_ENV", "mine")]));
        let run = Env::of(map(&[("BASH_ENV", "evil"), ("KUBERNETES_EXEC_INFO", "{}")]));
        // The parent of this process is whoever runs the tests.
        assert_eq!(run.for_child(), parent_environment(|_| true).unwrap());
        assert_eq!(run.own().for_child(), parent_environment(|_| true).unwrap());
        assert!(run.for_child().keys().any(|name| !names_a_place(name)), "all of it");
        assert_ne!(run.for_child().get("BASH_ENV").map(String::as_str), Some("evil"));
        let settled = Env::settled(run.variables.clone(), Vec::new(), map(&[("BASH_ENV", "mine")]));
        assert_eq!(settled.own().for_child(), map(&[("BASH_ENV", "mine")]));
    }

    #[test]
    fn relative_base_directories_are_ignored_as_xdg_asks() {
        let env = Env::of(map(&[("HOME", "/home/me"), ("XDG_CACHE_HOME", "cache")]));
        assert_eq!(env.cache_folder(), Some(PathBuf::from("/home/me/.cache/vaulttoken")));
        assert_eq!(env.settings_file(), Some(PathBuf::from("/home/me/.config/vaulttoken/config.yaml")));
        assert_eq!(Env::of(map(&[])).state_folder(), None);
    }
}
