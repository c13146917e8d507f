//! A person's home for a benchmark: settings, the plugin as it is released, and the Vault behind it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::launch::word;
use crate::rig::{Cluster, Vault, unique};

pub struct Person {
    folder: TempDir,
    pub plugin: PathBuf,
    /// All variables, with what kubectl tells its plugins.
    pub environment: Vec<(String, String)>,
}

/// Where the person's Vault makes tokens, and how the person logs in there.
pub struct Engine {
    pub vault: &'static Vault,
    pub log_in: String,
    pub role_id: String,
    pub secret_id: String,
    pub mint: String,
}

impl Person {
    /// With an `approle` log-in and the Kubernetes secrets engine, whose role has an existing account.
    pub fn with_an_engine(cluster: &Cluster) -> (Self, Engine) {
        let vault = Vault::shared();
        let (mount, auth, policy) = (unique("kubernetes"), unique("approle"), unique("mint"));
        let namespace = cluster.namespace("team");
        cluster.service_account(&namespace, "reader");
        let root = vault.root();
        root.kubernetes_engine(&mount, cluster);
        root.kubernetes_engine_role(&mount, "reader", &namespace, "reader");
        root.write_policy(&policy, &format!("path \"{mount}/creds/*\" {{ capabilities = [\"update\"] }}"));
        root.enable_auth("approle", &auth);
        let (role_id, secret_id) = root.approle(&auth, "bench", &[&policy]);
        let person = Self::new(&cluster.server, cluster.ca_file(), |folder| {
            let file = folder.join("secret-id");
            fs::write(&file, &secret_id).unwrap();
            json!({
                "vaults": {"corp": {
                    "address": vault.address,
                    "certificateAuthority": vault.ca_file(),
                    "auth": {"approle": {"mount": auth, "roleId": role_id, "secretIdFile": file}},
                }},
                "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "mount": mount, "role": "reader"}}}},
            })
        });
        let log_in = format!("auth/{auth}/login");
        (person, Engine { vault, log_in, role_id, secret_id, mint: format!("{mount}/creds/reader") })
    }

    /// For the cluster at `server`, with these settings, as a person writes them.
    pub fn new(server: &str, authority: &Path, settings: impl FnOnce(&Path) -> Value) -> Self {
        let folder = TempDir::with_prefix("vaulttoken-bench-").unwrap();
        let file = folder.path().join(".config/vaulttoken/config.yaml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut whole = json!({"apiVersion": "vaulttoken.dev/v1alpha1", "kind": "Config"});
        whole.as_object_mut().unwrap().extend(settings(folder.path()).as_object().unwrap().clone());
        fs::write(file, serde_saphyr::to_string(&whole).unwrap()).unwrap();
        let authority = STANDARD.encode(fs::read(authority).unwrap());
        let info = json!({
            "kind": "ExecCredential",
            "apiVersion": "client.authentication.k8s.io/v1",
            "spec": {"interactive": false, "cluster": {
                "server": server, "certificate-authority-data": authority, "config": null,
            }},
        });
        let environment = [
            ("HOME", word(folder.path())),
            ("XDG_RUNTIME_DIR", word(folder.path())),
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("VAULTTOKEN_KEYRING_SERVICE", format!("{}-{}", unique("vaulttoken-bench"), std::process::id())),
            ("KUBERNETES_EXEC_INFO", info.to_string()),
        ];
        Self {
            folder,
            plugin: plugin(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        }
    }

    /// The call that is measured, as kubectl makes it.
    pub fn call(&self) -> Vec<String> {
        [&word(&self.plugin), "get-token", "--profile=prod"].map(str::to_owned).to_vec()
    }

    /// Calls once, and gives the credential.
    pub fn get_token(&self) -> String {
        self.run(&["get-token", "--profile=prod"])
    }

    /// Where `status` says that the token is kept.
    pub fn store(&self) -> String {
        // `status` is a person's command: no client runs it.
        let mut person: Vec<_> = self.environment.clone();
        person.retain(|(name, _)| name != "KUBERNETES_EXEC_INFO");
        let output =
            Command::new(&self.plugin).args(["status", "-o", "json"]).env_clear().envs(person).output();
        let status: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        status["items"][0]["store"].as_str().expect("a kept token").to_owned()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("/bin/sh");
        // Beneath a shell of the same environment, which a client has too; `exit` keeps it our parent.
        command.args(["-c", "\"$0\" \"$@\"; exit $?", &word(&self.plugin)]).args(arguments);
        let output = command.env_clear().envs(self.environment.iter().cloned()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Back to the first day: neither token nor session is kept.
    pub fn forget(&self) {
        for kept in [".cache/vaulttoken", ".local/state/vaulttoken/sessions"] {
            let _ = fs::remove_dir_all(self.folder.path().join(kept));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The program as it is released.
fn plugin() -> PathBuf {
    let path = std::env::var_os("BENCH_PLUGIN").map(PathBuf::from);
    path.filter(|path| path.is_file()).expect("BENCH_PLUGIN names the program: run `make bench`")
}
