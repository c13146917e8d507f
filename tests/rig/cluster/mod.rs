//! A Kubernetes control plane: a real kube-apiserver over etcd, and the controllers that make service
//! accounts, fill aggregated roles and collect garbage. There are no nodes, so no pod ever runs.

mod etcd;
mod kubeconfig;
mod objects;
mod servers;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::certificates::Authority;
use super::http::{Answer, Client};
use super::ports::with_free_ports;
use super::process::Process;
use trust::Trust;

const LIMIT: Duration = Duration::from_secs(120);

/// A running control plane, and the right to do everything on it.
pub struct Cluster {
    /// `https://127.0.0.1:PORT`.
    pub server: String,
    pub authority: Authority,
    /// Of a client certificate that may do everything.
    pub kubeconfig: PathBuf,
    folder: PathBuf,
    anyone: Client,
    admin: Client,
    flags: Vec<String>,
    api_server: Mutex<Option<Process>>,
    controllers: Mutex<Option<Process>>,
    trust: Mutex<Trust>,
    issuing_account: OnceLock<String>,
}

impl Cluster {
    /// The cluster that the tests of this process share. Do not stop it; make a namespace each.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("cluster"))
    }

    /// A second one with another authority and other signing keys.
    pub fn other() -> &'static Self {
        static OTHER: OnceLock<Cluster> = OnceLock::new();
        OTHER.get_or_init(|| Self::start("other-cluster"))
    }

    /// One of the caller's own, to be stopped and started at will.
    pub fn start(name: &str) -> Self {
        let folder = super::folder(name);
        let authority = Authority::new(name);
        let admin_certificate = authority.client("rig-admin", &["system:masters"]);
        let admin = Client::new(&authority.pem, Some(&admin_certificate));
        let anyone = Client::new(&authority.pem, None);
        let etcd = etcd::shared();
        let prefix = format!("/{}", super::unique(name));
        let trust = Trust::start(&folder);
        let fixed = servers::api_server_flags(&folder, &authority, etcd, &prefix);

        let (server, flags, api_server) = with_free_ports(|[port]| {
            let server = format!("https://127.0.0.1:{port}");
            let mut flags = fixed.clone();
            flags.push(format!("--secure-port={port}"));
            let api_server = servers::launch_api_server(&folder, &flags, &admin, &server)?;
            Ok((server, flags, api_server))
        });
        let path = folder.join("admin.kubeconfig");
        kubeconfig::write(&path, &server, &authority, &kubeconfig::user_of(&admin_certificate), None);
        let controllers = servers::launch_controllers(&folder, &server, &authority);

        let cluster = Self {
            server,
            authority,
            kubeconfig: path,
            folder,
            anyone,
            admin,
            flags,
            api_server: Mutex::new(Some(api_server)),
            controllers: Mutex::new(Some(controllers)),
            trust: Mutex::new(trust),
            issuing_account: OnceLock::new(),
        };
        cluster.wait_for_controllers();
        cluster
    }

    pub fn ca_file(&self) -> &Path {
        &self.authority.file
    }

    /// Kills the API server and the controllers: a cluster that is down.
    pub fn stop(&self) {
        self.controllers.lock().unwrap().take();
        self.api_server.lock().unwrap().take();
    }

    /// Starts a stopped cluster again, on its port and with what it knew.
    pub fn start_again(&self) {
        let api_server = servers::launch_api_server(&self.folder, &self.flags, &self.admin, &self.server)
            .unwrap_or_else(|failure| panic!("{failure}"));
        *self.api_server.lock().unwrap() = Some(api_server);
        let controllers = servers::launch_controllers(&self.folder, &self.server, &self.authority);
        *self.controllers.lock().unwrap() = Some(controllers);
    }

    /// Makes the API server hang: it accepts and does not answer, until [`Cluster::resume`].
    pub fn pause(&self) {
        self.running(Process::pause);
    }

    pub fn resume(&self) {
        self.running(Process::resume);
    }

    fn running(&self, act: impl Fn(&Process)) {
        act(self.api_server.lock().unwrap().as_ref().expect("the cluster was stopped"));
    }

    /// One call with a bearer token, or with none.
    pub fn request(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        self.anyone
            .call(method, &self.url(path), &headers, &Value::Null)
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// One call that may do everything; `path` begins with `/api`, and a null `body` is none.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.admin
            .call(method, &self.url(path), &[], body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// Every request that the API server logged, oldest first, but for those of the cluster itself.
    pub fn audit_log(&self) -> Vec<Value> {
        std::fs::read_to_string(servers::audit_file(&self.folder))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn wait_for_controllers(&self) {
        let view = "/apis/rbac.authorization.k8s.io/v1/clusterroles/view";
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        let authority = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
        let mut controllers = self.controllers.lock().unwrap();
        controllers
            .as_mut()
            .expect("was just started")
            .wait_until("done with the first objects", LIMIT, || {
                let filled = self.api("GET", view, &json!(null)).json["rules"]
                    .as_array()
                    .is_some_and(|rules| !rules.is_empty());
                let made = |path| self.api("GET", path, &json!(null)).is_success();
                (filled && made(account) && made(authority)).then_some(())
            })
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}
