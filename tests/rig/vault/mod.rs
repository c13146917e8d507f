//! A Vault server, of OpenBao or of `HashiCorp`: started, initialised, unsealed, sealed, killed and started
//! again. It uses only what both have and never asks which one it is; `VAULTTOKEN_TEST_VAULT` names
//! the other one.

mod provider;
mod session;
mod setup;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

pub use provider::VaultProvider;
pub use session::Session;

use super::certificates::{Authority, Certificate};
use super::http::{Answer, Client};
use super::ports::with_free_ports;
use super::process::{Failure, Process, poll};
use super::tools::tool;

const LIMIT: Duration = Duration::from_secs(60);

/// A server that was initialised with one unseal key.
pub struct Vault {
    /// `https://127.0.0.1:PORT`.
    pub address: String,
    pub authority: Authority,
    pub root_token: String,
    unseal_key: String,
    client: Client,
    folder: PathBuf,
    process: Mutex<Option<Process>>,
}

#[derive(Clone, Copy)]
enum Storage {
    /// Quick, and gone with the process.
    Memory,
    /// Outlives the process.
    Raft,
}

impl Vault {
    /// The server that the tests of this process share. Do not seal or stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Vault> = OnceLock::new();
        SHARED.get_or_init(|| Self::unsealed("vault", Storage::Memory))
    }

    /// A second one, which nobody who trusts the first one trusts. Do not seal or stop it either.
    pub fn other() -> &'static Self {
        static OTHER: OnceLock<Vault> = OnceLock::new();
        OTHER.get_or_init(|| Self::unsealed("other-vault", Storage::Memory))
    }

    /// One of the caller's own, to be sealed, stopped and started at will; its data outlive a stop.
    pub fn start() -> Self {
        Self::unsealed("own-vault", Storage::Raft)
    }

    /// One of the caller's own that is sealed; [`Vault::unseal`] opens it.
    pub fn start_sealed() -> Self {
        Self::sealed("sealed-vault", Storage::Memory)
    }

    fn unsealed(name: &str, storage: Storage) -> Self {
        let vault = Self::sealed(name, storage);
        vault.unseal();
        vault
    }

    fn sealed(name: &str, storage: Storage) -> Self {
        let folder = super::folder(name);
        let authority = Authority::new(name);
        let client = Client::new(&authority.pem, None);
        let (address, process) = with_free_ports(|[port, cluster_port]| {
            write_configuration(&folder, &authority, storage, port, cluster_port);
            let address = format!("https://127.0.0.1:{port}");
            let process = launch(&folder, &client, &address)?;
            Ok((address, process))
        });
        let keys = client
            .call(
                "PUT",
                &format!("{address}/v1/sys/init"),
                &[],
                &json!({"secret_shares": 1, "secret_threshold": 1}),
            )
            .unwrap();
        assert!(keys.is_success(), "sys/init: {}", keys.text);
        Self {
            address,
            authority,
            root_token: text(&keys.json["root_token"]),
            unseal_key: text(&keys.json["keys"][0]),
            client,
            folder,
            process: Mutex::new(Some(process)),
        }
    }

    pub fn ca_file(&self) -> &Path {
        &self.authority.file
    }

    /// Unseals, and waits until the server does what it is asked.
    pub fn unseal(&self) {
        let answer = self.anonymous().call("PUT", "sys/unseal", &json!({"key": self.unseal_key}));
        assert!(answer.is_success(), "sys/unseal: {}", answer.text);
        poll("an unsealed vault that is active", LIMIT, || (self.health() == Some(200)).then_some(()));
        // Where the configuration file could not enable the audit log, the interface can.
        let options = json!({"type": "file", "options": {"file_path": self.audit_file()}});
        self.api("PUT", "sys/audit/rig", &options);
    }

    pub fn seal(&self) {
        self.root().write("sys/seal", &Value::Null);
    }

    /// Kills the server. What it kept in memory is lost, what [`Vault::start`] made is not.
    pub fn stop(&self) {
        self.process.lock().unwrap().take();
    }

    /// Starts a stopped server again on its port; it is sealed then, as any is.
    pub fn start_again(&self) {
        let process =
            launch(&self.folder, &self.client, &self.address).unwrap_or_else(|failure| panic!("{failure}"));
        *self.process.lock().unwrap() = Some(process);
    }

    /// Makes the server hang: it accepts and does not answer, until [`Vault::resume`].
    pub fn pause(&self) {
        self.running(Process::pause);
    }

    pub fn resume(&self) {
        self.running(Process::resume);
    }

    pub fn process_id(&self) -> u32 {
        self.running(Process::id)
    }

    fn running<T>(&self, act: impl Fn(&Process) -> T) -> T {
        act(self.process.lock().unwrap().as_ref().expect("the vault was stopped"))
    }

    /// The status code of `sys/health`: 200 active, 503 sealed; none where nobody answers.
    pub fn health(&self) -> Option<u16> {
        let url = format!("{}/v1/sys/health", self.address);
        let answer = self.client.call("GET", &url, &[], &Value::Null);
        answer.ok().map(|answer| answer.status)
    }

    /// One call with the root token: `vault.api("POST", "sys/mounts/kv", &json!({..}))`.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.root().call(method, path, body)
    }

    /// With the root token.
    pub fn root(&self) -> Session {
        self.session(&self.root_token)
    }

    /// With a token of the caller's.
    pub fn session(&self, token: &str) -> Session {
        Session::new(&self.address, self.client.clone(), Some(token))
    }

    /// Without a token, as who wants to log in is.
    pub fn anonymous(&self) -> Session {
        Session::new(&self.address, self.client.clone(), None)
    }

    /// Without a token, showing a certificate, as who wants to log in with it does.
    pub fn showing(&self, certificate: &Certificate) -> Session {
        let client = Client::new(&self.authority.pem, Some(certificate));
        Session::new(&self.address, client, None)
    }

    /// Whether an auth method can be enabled: OpenBao has fewer built in than Vault.
    pub fn has_auth_method(&self, kind: &str) -> bool {
        self.root().read("sys/plugins/catalog")["auth"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|other| other == kind))
    }

    /// Whether namespaces can be made: OpenBao has them, Vault only with a licence.
    pub fn supports_namespaces(&self) -> bool {
        self.api("PUT", "sys/namespaces/probe", &json!({})).is_success()
    }

    /// Every request and response that the server logged, oldest first; it hashes what is secret.
    pub fn audit_log(&self) -> Vec<Value> {
        fs::read_to_string(self.audit_file())
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn audit_file(&self) -> PathBuf {
        self.folder.join("audit.json")
    }
}

fn launch(folder: &Path, client: &Client, address: &str) -> Result<Process, Failure> {
    let configuration = folder.join("vault.hcl").display().to_string();
    let mut process = Process::start(
        "vault",
        folder,
        &tool("vault"),
        &["server".into(), "-config".into(), configuration],
        &[],
    );
    let url = format!("{address}/v1/sys/health");
    process.wait_until("answering", LIMIT, || client.call("GET", &url, &[], &Value::Null).ok())?;
    Ok(process)
}

fn write_configuration(folder: &Path, authority: &Authority, storage: Storage, port: u16, cluster_port: u16) {
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    let storage = match storage {
        Storage::Memory => r#"storage "inmem" {}"#.to_owned(),
        Storage::Raft => {
            format!(
                "storage \"raft\" {{\n  path    = \"{}\"\n  node_id = \"one\"\n  performance_multiplier = 1\n}}",
                data.display()
            )
        }
    };
    let certificate = authority.server(&[]);
    // `disable_mlock`: HashiCorp's wants to be told where it may not lock memory; OpenBao, which never
    // does, warns of the unknown field. `audit`: OpenBao takes it only from here, HashiCorp's warns.
    let text = format!(
        r#"
{storage}
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file   = "{certificate}"
  tls_key_file    = "{key}"
}}
audit "file" "rig" {{
  options {{
    file_path = "{audit}"
  }}
}}
api_addr      = "https://127.0.0.1:{port}"
cluster_addr  = "https://127.0.0.1:{cluster_port}"
disable_mlock = true
ui            = true
"#,
        certificate = certificate.file.display(),
        key = certificate.key_file.display(),
        audit = folder.join("audit.json").display(),
    );
    fs::write(folder.join("vault.hcl"), text).unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
