//! The command lines and files of the control plane's programs, as a real cluster has them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::super::certificates::{Authority, Certificate, write_private};
use super::super::http::Client;
use super::super::process::{Failure, Process};
use super::super::tools::tool;
use super::LIMIT;
use super::etcd::Etcd;
use super::trust;

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
    let kubeconfig = folder.join("controllers.kubeconfig");
    let certificate = authority.client("system:kube-controller-manager", &[]);
    write_kubeconfig(&kubeconfig, server, authority, &certificate);
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
        format!("--kubeconfig={}", kubeconfig.display()),
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

pub(super) fn kubectl(kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(tool("kubectl"))
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        // Its caches of what the server offers go beside the kubeconfig, never into the person's home.
        .env("HOME", kubeconfig.parent().expect("lies in a folder"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().expect("is piped");
    // One that does not read its input closes it, which is not for us to judge.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

pub(super) fn write_kubeconfig(path: &Path, server: &str, authority: &Authority, certificate: &Certificate) {
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rig", "cluster": {
            "server": server,
            "certificate-authority": authority.file,
        }}],
        "users": [{"name": "rig", "user": {
            "client-certificate": certificate.file,
            "client-key": certificate.key_file,
        }}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
        "current-context": "rig",
    });
    write_private(path, &text.to_string());
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
