//! A token that the cluster refuses is replaced without a person, and one that it accepts is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::home::{Home, exec_info};
use crate::rig::{Authority, Cluster, Double, Reply, Vault, poll, unique};

const LIMIT: Duration = Duration::from_secs(60);

/// A home whose profile `prod` mints with this role, through a server that counts.
pub struct Minting {
    pub home: Home,
    front: Double,
    mount: String,
    namespace: String,
}

impl Minting {
    /// For accounts that the engine makes, which die with their lease.
    pub fn generated(cluster: &Cluster) -> Self {
        let namespace = cluster.namespace("generated");
        let role = json!({
            "allowed_kubernetes_namespaces": [namespace],
            "kubernetes_role_name": "view",
            "kubernetes_role_type": "ClusterRole",
            "token_default_ttl": "1h",
        });
        Self::new(cluster, &role, &namespace)
    }

    fn existing(cluster: &Cluster, namespace: &str) -> Self {
        cluster.service_account(namespace, "reader");
        let role = json!({
            "allowed_kubernetes_namespaces": [namespace],
            "service_account_name": "reader",
            "token_default_ttl": "1h",
        });
        Self::new(cluster, &role, namespace)
    }

    fn new(cluster: &Cluster, role: &Value, namespace: &str) -> Self {
        let (vault, mount, home) = (Vault::shared(), unique("kubernetes"), Home::new());
        vault.root().kubernetes_engine(&mount, cluster);
        vault.root().write(&format!("{mount}/roles/r"), role);
        let policy = unique("mint");
        vault.root().write_policy(
            &policy,
            &format!(
                "path \"{mount}/creds/*\" {{ capabilities = [\"update\"] }}\n\
                 path \"{mount}/roles/*\" {{ capabilities = [\"read\"] }}"
            ),
        );
        let session = vault.root().child_token(&json!({"policies": [policy], "ttl": "2h"}));
        home.plant(&session);
        home.set("VAULT_TOKEN", &session);
        let front = Double::before(&vault.authority, &vault.address, |_| Reply::Passed);
        let source = json!({"vault": "corp", "mount": mount, "role": "r", "namespace": namespace});
        home.settings(&json!({
            "vaults": {"corp": {"address": front.address, "certificateAuthority": vault.ca_file()}},
            "profiles": {"prod": {"source": {"vaultKubernetes": source}}},
        }));
        Self { home, front, mount, namespace: namespace.to_owned() }
    }

    pub fn mints(&self) -> usize {
        let path = format!("/v1/{}/creds/r", self.mount);
        self.front.seen().iter().filter(|request| request.path == path).count()
    }

    /// Revokes what was minted, and waits until the cluster does not know the token any more.
    pub fn revoke(&self, cluster: &Cluster) {
        let token = self.home.run(&["token", "prod"]).succeeded().stdout;
        Vault::shared()
            .root()
            .write(&format!("sys/leases/revoke-prefix/{}/creds/r", self.mount), &Value::Null);
        wait_until_refused(cluster, token.trim());
    }
}

fn wait_until_refused(cluster: &Cluster, token: &str) {
    poll("a token that is refused", LIMIT, || {
        (cluster.request("GET", "/api", Some(token)).status == 401).then_some(())
    });
}

/// Revoked twice: once seen by single requests, once by a command that looks at what the server offers.
fn heals(exec: &Value) {
    let cluster = Cluster::shared();
    let minting = Minting::generated(cluster);
    let home = &minting.home;
    let kubeconfig = home.kubeconfig(cluster, exec, None);
    home.kubectl(&kubeconfig, &["get", "--raw=/api"]).quiet();
    minting.revoke(cluster);
    // client-go does not repeat the request itself.
    let refused = home.kubectl(&kubeconfig, &["get", "--raw=/api"]);
    assert!(refused.code != 0 && refused.stderr.contains("Unauthorized"), "{refused:?}");
    home.kubectl(&kubeconfig, &["get", "--raw=/api"]).quiet();
    assert_eq!(minting.mints(), 2);
    minting.revoke(cluster);
    // Discovery is tried again by kubectl itself: one command is enough.
    home.kubectl(&kubeconfig, &["get", "configmaps", "--namespace", &minting.namespace]).succeeded();
    assert_eq!(minting.mints(), 3);
}

#[test]
fn a_revoked_token_heals_without_a_person() {
    heals(&json!({"args": ["get-token", "--profile=prod"]}));
}

#[test]
fn a_revoked_token_heals_through_a_shell_that_is_new_each_time() {
    let text = "kubectl-vaulttoken get-token --profile=prod; exit $?";
    heals(&json!({"command": "/bin/sh", "args": ["-c", text]}));
}

#[test]
fn an_account_that_was_made_anew_heals_too() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("deleted");
    let minting = Minting::existing(cluster, &namespace);
    let exec = json!({"args": ["get-token", "--profile=prod"]});
    let kubeconfig = minting.home.kubeconfig(cluster, &exec, None);
    minting.home.kubectl(&kubeconfig, &["get", "--raw=/api"]).quiet();
    let token = minting.home.run(&["token", "prod"]).succeeded().stdout;
    let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/reader");
    cluster.api("DELETE", &account, &Value::Null);
    wait_until_refused(cluster, token.trim());
    // Nothing can be minted now: the reason is Vault's.
    let run = minting.home.kubectl(&kubeconfig, &["get", "--raw=/api"]);
    assert!(run.code != 0 && run.stderr.contains("not found"), "{run:?}");
    cluster.service_account(&namespace, "reader");
    minting.home.kubectl(&kubeconfig, &["get", "--raw=/api"]).quiet();
}

/// A home that reads a token document, whose tokens go to an API server that a test scripts.
struct Reading {
    home: Home,
    vault: Double,
    cluster: Double,
    status: Arc<AtomicU16>,
}

impl Reading {
    fn new() -> Self {
        let vault = Double::http(|request| {
            let body = if request.path.contains("/data/") {
                json!({"data": {"data": {"token": "opaque-planted-token", "ttl": "1h"}, "metadata": {"version": 1}}})
            } else {
                json!({"data": {"options": {"version": "2"}, "path": "secret/", "type": "kv"}})
            };
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            Reply::Answer { status: 200, headers, body: body.to_string().into_bytes() }
        });
        let authority = Authority::new(&unique("api-server"));
        let status = Arc::new(AtomicU16::new(201));
        let answered = Arc::clone(&status);
        let cluster = Double::https(&authority, &[], move |_| match answered.load(Ordering::SeqCst) {
            0 => Reply::Lost,
            status => Reply::Answer { status, headers: Vec::new(), body: b"{}".to_vec() },
        });
        let home = Home::new();
        home.plant("opaque-planted-token");
        home.set("VAULT_TOKEN", "planted-session");
        home.plant("planted-session");
        home.settings(&json!({
            "vaults": {"corp": {"address": vault.address}},
            "profiles": {"jobs": {"source": {"vaultKv": {"vault": "corp", "mount": "secret", "path": "t"}}}},
        }));
        let pem = base64(authority.pem.as_bytes());
        let info =
            exec_info("v1", Some(json!({"server": cluster.address, "certificate-authority-data": pem})));
        home.set("KUBERNETES_EXEC_INFO", &info.to_string());
        Self { home, vault, cluster, status }
    }

    /// The same program asks so many times; the codes it got.
    fn ask(&self, times: usize) -> Vec<String> {
        let script = format!(
            "for n in $(seq {times}); do \"$PLUGIN\" get-token --profile=jobs; echo \"code $?\"; done"
        );
        let run = self.home.shell(None, &script);
        run.stdout.lines().filter_map(|line| line.strip_prefix("code ")).map(str::to_owned).collect()
    }

    fn fetches(&self) -> usize {
        self.vault.seen().iter().filter(|request| request.path.contains("/data/")).count()
    }

    fn probes(&self) -> usize {
        self.cluster.seen().len()
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_program_that_just_asks_often_costs_one_question_and_no_fetch() {
    for status in [201, 403, 404, 500, 0] {
        let reading = Reading::new();
        reading.status.store(status, Ordering::SeqCst);
        assert_eq!(reading.ask(1), ["0"]);
        assert_eq!((reading.fetches(), reading.probes()), (1, 0), "a miss asks nobody else");
        assert_eq!(reading.ask(1), ["0"]);
        assert_eq!((reading.fetches(), reading.probes()), (1, 0), "nor does the first hit of a program");
        assert_eq!(reading.ask(4), ["0"; 4]);
        let asked = reading.cluster.seen();
        assert_eq!((reading.fetches(), asked.len()), (1, 1), "{status}");
        for request in asked {
            assert_eq!(request.header("authorization"), Some("Bearer opaque-planted-token"));
            assert_eq!(request.path, "/apis/authentication.k8s.io/v1/selfsubjectreviews");
        }
    }
}

#[test]
fn what_is_refused_whatever_is_fetched_is_said_and_not_fetched_on_and_on() {
    let reading = Reading::new();
    reading.status.store(401, Ordering::SeqCst);
    assert_eq!(reading.ask(4), ["0", "4", "4", "4"]);
    assert_eq!((reading.fetches(), reading.probes()), (2, 2), "one fetch, and each token asked about once");
    assert_eq!(reading.ask(3), ["0", "4", "4"], "another program");
    assert_eq!((reading.fetches(), reading.probes()), (2, 3));
    let script = "\"$PLUGIN\" get-token --profile=jobs >/dev/null; \"$PLUGIN\" get-token --profile=jobs";
    let run = reading.home.shell(None, script);
    let expected =
        format!("error: profile `jobs`: {} refused the token, and a new one", reading.cluster.address);
    assert!(run.stderr.starts_with(&expected), "{run:?}");
    assert!(run.stderr.contains("\n  why: it answered 401") && run.stderr.contains("\n  try: "), "{run:?}");
    let refusals = reading.home.journal().into_iter().filter(|line| line["event"] == "refusal");
    assert_eq!(refusals.filter(|line| line["exitCode"] == 4).count(), 6);
}

#[test]
fn where_no_cluster_is_known_one_program_gets_one_new_token() {
    let reading = Reading::new();
    reading.home.set("KUBERNETES_EXEC_INFO", &exec_info("v1", None).to_string());
    assert_eq!(reading.ask(5), ["0"; 5]);
    assert_eq!((reading.fetches(), reading.probes()), (2, 0));
}

#[test]
fn a_cluster_whose_certificate_is_not_checked_is_never_asked() {
    let reading = Reading::new();
    let cluster = json!({"server": reading.cluster.address, "insecure-skip-tls-verify": true});
    reading.home.settings(&json!({
        "vaults": {"corp": {"address": reading.vault.address}},
        "profiles": {"jobs": {
            "cluster": {"server": reading.cluster.address, "insecureSkipTlsVerify": "allow"},
            "source": {"vaultKv": {"vault": "corp", "mount": "secret", "path": "t"}},
        }},
    }));
    reading.home.set("KUBERNETES_EXEC_INFO", &exec_info("v1", Some(cluster)).to_string());
    assert_eq!(reading.ask(4), ["0"; 4]);
    assert_eq!((reading.fetches(), reading.probes()), (2, 0));
}
