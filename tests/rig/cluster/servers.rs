//! The command lines and files of the control plane's programs, as a real cluster has them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::certificates::{Authority, write_private};
use super::super::http::Client;
use super::super::process::{Failure, Process};
use super::super::tools::tool;
use super::etcd::Etcd;
use super::{LIMIT, kubeconfig, trust};

pub(super) fn api_server_flags(
    folder: &Path,
    authority: &Authority,
    etcd: &Etcd,
    prefix: &str,
) -> Vec<String> {
    let serving = authority.server(&["kubernetes.default.svc"]);
    // The service accounts' tokens are signed with a key that signs nothing else.
    let accounts = rcgen::KeyPair::generate().unwrap();
    write_private(&account_key(folder), &accounts.serialize_pem());
    let accounts_public = folder.join("accounts.pub");
    fs::write(&accounts_public, accounts.public_key_pem()).unwrap();
    let policy = folder.join("audit-policy.json");
    fs::write(&policy, audit_policy().to_string()).unwrap();

    let path = |path: &Path| path.display().to_string();
    [
        ("etcd-servers", etcd.address.clone()),
        ("etcd-cafile", path(&etcd.authority.file)),
        ("etcd-prefix", prefix.to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        // A loopback address is no endpoint that the service `kubernetes` may have.
        ("endpoint-reconciler-type", "none".to_owned()),
        ("service-cluster-ip-range", "10.96.0.0/24".to_owned()),
        ("cert-dir", path(folder)),
        ("tls-cert-file", path(&serving.file)),
        ("tls-private-key-file", path(&serving.key_file)),
        ("client-ca-file", path(&authority.file)),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", path(&accounts_public)),
        ("service-account-signing-key-file", path(&account_key(folder))),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("authentication-config", path(&trust::file(folder))),
        ("audit-policy-file", path(&policy)),
        ("audit-log-path", path(&audit_file(folder))),
    ]
    .map(|(name, value)| format!("--{name}={value}"))
    .to_vec()
}

pub(super) fn launch_api_server(
    folder: &Path,
    flags: &[String],
    admin: &Client,
    server: &str,
) -> Result<Process, Failure> {
    let program = tool("kube-apiserver");
    let mut process = Process::start("kube-apiserver", folder, &program, flags, &[]);
    let url = format!("{server}/readyz");
    process.wait_until("ready", LIMIT, || {
        let answer = admin.call("GET", &url, &[], &Value::Null).ok()?;
        answer.is_success().then_some(())
    })?;
    Ok(process)
}

pub(super) fn launch_controllers(folder: &Path, server: &str, authority: &Authority) -> Process {
    let path = folder.join("controllers.kubeconfig");
    let certificate = authority.client("system:kube-controller-manager", &[]);
    kubeconfig::write(&path, server, authority, &kubeconfig::user_of(&certificate), None);
    // Only those that matter where no pod runs; the others would use a core for nothing.
    let controllers = [
        "clusterrole-aggregation-controller",
        "garbage-collector-controller",
        "namespace-controller",
        "root-ca-certificate-publisher-controller",
        "serviceaccount-controller",
        "serviceaccount-token-controller",
    ];
    let flags = [
        format!("--kubeconfig={}", path.display()),
        format!("--controllers={}", controllers.join(",")),
        format!("--root-ca-file={}", authority.file.display()),
        format!("--service-account-private-key-file={}", account_key(folder).display()),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        // It serves nothing that a test asks for.
        "--secure-port=0".to_owned(),
    ];
    let program = tool("kube-controller-manager");
    Process::start("kube-controller-manager", folder, &program, &flags, &[])
}

pub(super) fn audit_file(folder: &Path) -> PathBuf {
    folder.join("audit.json")
}

fn account_key(folder: &Path) -> PathBuf {
    folder.join("accounts.key")
}

fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "rig-admin"]},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata"},
        ],
    })
}
