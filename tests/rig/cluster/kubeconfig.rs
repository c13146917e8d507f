//! Kubeconfigs for a cluster, and the real kubectl run with them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::super::certificates::{Authority, Certificate, write_private};
use super::super::tools::tool;
use super::Cluster;

impl Cluster {
    /// Writes a kubeconfig at `path` for this cluster and `user`, which is what stands below `user` in
    /// one: `{"token": ..}` or `{"exec": {..}}`. The cluster's `extension` is what plugins are handed.
    pub fn write_kubeconfig(&self, path: &Path, user: &Value, extension: Option<&Value>) {
        write(path, &self.server, &self.authority, user, extension);
    }

    /// Runs the real kubectl as one who may do everything.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        run(&self.kubeconfig, arguments, "")
    }

    /// `kubectl apply` of YAML or JSON. Panics where it fails.
    pub fn apply(&self, objects: &str) {
        let output = run(&self.kubeconfig, &["apply", "-f", "-"], objects);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl apply: {complaint}");
    }
}

/// The user that a client certificate makes.
pub(super) fn user_of(certificate: &Certificate) -> Value {
    json!({"client-certificate": certificate.file, "client-key": certificate.key_file})
}

pub(super) fn write(
    path: &Path,
    server: &str,
    authority: &Authority,
    user: &Value,
    extension: Option<&Value>,
) {
    let mut cluster = json!({"server": server, "certificate-authority": authority.file});
    if let Some(extension) = extension {
        let name = "client.authentication.k8s.io/exec";
        cluster["extensions"] = json!([{"name": name, "extension": extension}]);
    }
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rig", "cluster": cluster}],
        "users": [{"name": "rig", "user": user}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
        "current-context": "rig",
    });
    write_private(path, &text.to_string());
}

fn run(kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
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
