//! Whom a person's own kubeconfig logs in as: the user of one context. Read only where a `tokenRequest`
//! profile asks through that context; every other reader of kubeconfigs leaves these fields alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;

use super::kubeconfig::{KUBECONFIG_LIMIT, KubeconfigFiles, or_empty};
use super::problem::SettingsError;
use super::read::{Owner, read_text};
use super::types::Pem;
use super::yaml::{self, Node, Twice};
use crate::source::field::SecretText;

/// The user of a context, by what client-go looks at.
#[derive(Default)]
pub struct KubeconfigUser {
    /// Certificate and key to show.
    pub client_certificate: Option<(Pem, Pem)>,
    /// A bearer token.
    pub token: Option<SecretString>,
    /// A file that holds one; it goes before `token`.
    pub token_file: Option<PathBuf>,
    /// A plugin that gives one.
    pub exec: Option<UserExec>,
    /// What it has that cannot be used here.
    pub unsupported: Option<&'static str>,
}

/// A credential plugin as client-go runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserExec {
    /// The version of the contract.
    pub api_version: String,
    /// The command: bare, absolute, or made absolute by the kubeconfig's folder.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that are added to its environment.
    pub env: Vec<(String, String)>,
    /// Whether it is told the cluster.
    pub provide_cluster_info: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    #[serde(deserialize_with = "or_empty")]
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default, deserialize_with = "or_empty")]
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<SecretText>,
    client_key: Option<String>,
    client_key_data: Option<SecretText>,
    token: Option<SecretText>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
    auth_provider: Option<serde::de::IgnoredAny>,
    exec: Option<Exec>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Exec {
    api_version: Option<String>,
    command: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    args: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    env: Vec<BTreeMap<String, String>>,
    provide_cluster_info: Option<bool>,
}

impl KubeconfigUser {
    /// The user of that name; of several files the first that has it counts. None where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or a field of the user that makes no sense.
    pub fn load(files: &KubeconfigFiles, context: &str, name: &str) -> Result<Option<Self>, SettingsError> {
        let list = match files {
            KubeconfigFiles::Named(file) => std::slice::from_ref(file),
            KubeconfigFiles::Usual(list) => list.as_slice(),
        };
        for file in list {
            let Some(text) = read_text(file, KUBECONFIG_LIMIT, Owner::Anybody)? else { continue };
            if let Some(user) = user_of(file, &text, name)? {
                let folder = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                let folder = folder.parent().unwrap_or(Path::new(""));
                let broken = |cause| SettingsError::BrokenContext { context: context.to_owned(), cause };
                return user.view(folder).map(Some).map_err(broken);
            }
        }
        Ok(None)
    }
}

fn user_of(file: &Path, text: &str, name: &str) -> Result<Option<User>, SettingsError> {
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Ok(None);
    }
    let read = Node::parse(text, Twice::LastCounts).and_then(|node| yaml::read::<Option<File>>(&node));
    let read = read.map_err(|error| super::document::explain(file, error))?;
    let users = read.unwrap_or_default().users;
    Ok(users.into_iter().find(|entry| entry.name == name).map(|entry| entry.user))
}

impl User {
    fn view(self, folder: &Path) -> Result<KubeconfigUser, String> {
        let certificate = pem(self.client_certificate_data, self.client_certificate, folder);
        let key = pem(self.client_key_data, self.client_key, folder);
        let client_certificate = match (certificate?, key?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("its user has a client certificate without key, or a key without".to_owned()),
        };
        let unsupported = if self.username.is_some_and(|name| !name.is_empty()) {
            Some("a user name and a password")
        } else if self.impersonate.is_some_and(|name| !name.is_empty()) {
            Some("`as`, to act as somebody else")
        } else if self.auth_provider.is_some() {
            Some("an `auth-provider`")
        } else {
            None
        };
        Ok(KubeconfigUser {
            client_certificate,
            token: self.token.map(|token| token.0),
            token_file: self.token_file.filter(|file| !file.is_empty()).map(|file| folder.join(file)),
            exec: self.exec.and_then(|exec| exec.view(folder)),
            unsupported,
        })
    }
}

/// As client-go does: data goes before a file, and a file's path is relative to its kubeconfig.
fn pem(data: Option<SecretText>, file: Option<String>, folder: &Path) -> Result<Option<Pem>, String> {
    use secrecy::ExposeSecret as _;
    let Some(data) = data.filter(|data| !data.0.expose_secret().is_empty()) else {
        return Ok(file.filter(|file| !file.is_empty()).map(|file| Pem::File(folder.join(file))));
    };
    let compact: String = data.0.expose_secret().split_ascii_whitespace().collect();
    let text = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or("its user's certificate or key is not a PEM in base64")?;
    Ok(Some(Pem::Inline(text)))
}

impl Exec {
    fn view(self, folder: &Path) -> Option<UserExec> {
        let command = PathBuf::from(self.command.filter(|command| !command.is_empty())?);
        let is_bare = command.components().count() == 1;
        let variable = |entry: BTreeMap<String, String>| {
            Some((entry.get("name")?.clone(), entry.get("value").cloned().unwrap_or_default()))
        };
        Some(UserExec {
            api_version: self.api_version.unwrap_or_else(|| "client.authentication.k8s.io/v1".to_owned()),
            command: if is_bare { command } else { folder.join(command) },
            args: self.args,
            env: self.env.into_iter().filter_map(variable).collect(),
            provide_cluster_info: self.provide_cluster_info.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn user(fields: &str) -> Result<KubeconfigUser, String> {
        let text = format!("users:\n- name: other\n- name: me\n  user: {fields}\n");
        user_of(Path::new("/k/config"), &text, "me").unwrap().unwrap().view(Path::new("/k"))
    }

    #[test]
    fn a_user_is_read_as_client_go_reads_it() {
        let me =
            user("{token: t, tokenFile: file, client-certificate: c.pem, client-key-data: UEVN}").unwrap();
        assert_eq!(me.token.unwrap().expose_secret(), "t");
        assert_eq!(me.token_file.unwrap(), Path::new("/k/file"));
        assert_eq!(me.client_certificate, Some((Pem::File("/k/c.pem".into()), Pem::Inline("PEM".into()))));
        assert!(user("{client-certificate: c.pem}").is_err());
        assert!(user("{client-certificate-data: '%', client-key: k}").is_err());
        assert_eq!(
            user("{username: me, password: p}").unwrap().unsupported,
            Some("a user name and a password")
        );
        assert!(user("{as: admin}").unwrap().unsupported.is_some());
        assert!(user("{auth-provider: {name: gcp}}").unwrap().unsupported.is_some());
        assert!(user_of(Path::new("/k"), "users: []", "me").unwrap().is_none());
        assert!(user_of(Path::new("/k"), "\n", "me").unwrap().is_none());
    }

    #[test]
    fn a_plugin_is_found_where_client_go_looks_for_it() {
        let command = |command: &str| {
            user(&format!("{{exec: {{command: {command}, args: null, env: null}}}}"))
                .unwrap()
                .exec
                .unwrap()
                .command
        };
        assert_eq!(command("plugin"), Path::new("plugin"));
        assert_eq!(command("./bin/plugin"), Path::new("/k/./bin/plugin"));
        assert_eq!(command("/opt/plugin"), Path::new("/opt/plugin"));
        let exec = user(
            "{exec: {apiVersion: v, command: p, args: [a], env: [{name: N, value: V}], provideClusterInfo: true}}",
        );
        let exec = exec.unwrap().exec.unwrap();
        assert_eq!((exec.args, exec.env), (vec!["a".to_owned()], vec![("N".to_owned(), "V".to_owned())]));
        assert!(exec.provide_cluster_info && exec.api_version == "v");
    }
}
