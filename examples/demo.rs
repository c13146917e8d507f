//! `make demo`: the README's main job on real parts. It starts an OpenBao and a kube-apiserver on
//! loopback, sets the engine up as an operator would, writes a settings file and a kubeconfig as a
//! person would, and lets the real kubectl list namespaces with a token that came through us.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a demonstration stops at the first surprise, and uses only a part of the rig"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::json;

use rig::{Cluster, Vault, tool};

const PASSWORD: &str = "correct horse battery staple";

fn main() {
    say("starting an OpenBao and a kube-apiserver with etcd on loopback, each with TLS");
    let (vault, cluster) = (Vault::shared(), Cluster::shared());
    prepare(vault, cluster);
    let home = Home::new(vault, cluster);

    say("logging in: kubectl vaulttoken login --username alice (the password comes from standard input)");
    home.run_with_input(&["vaulttoken", "login", "prod"], PASSWORD);

    say("the first kubectl finds the token that `login` fetched:");
    home.show(&["get", "namespaces"]);

    say("as the API server sees us:");
    home.show(&["auth", "whoami"]);

    say("what is kept, without the token itself:");
    home.show(&["vaulttoken", "status"]);

    home.run(&["vaulttoken", "refresh", "prod"]);
    fs::remove_dir_all(home.folder.path().join(".cache/vaulttoken")).unwrap();
    let cold = home.time_get_token();
    let mut warm: Vec<Duration> = (0..20).map(|_| home.time_get_token()).collect();
    warm.sort_unstable();
    say(&format!(
        "cold call (one mint at the vault): {:.1} ms; warm call (median of 20): {:.1} ms",
        milliseconds(cold),
        milliseconds(warm[warm.len() / 2])
    ));

    say("logging out revokes what can be revoked, and says what stays valid:");
    home.show(&["vaulttoken", "logout", "prod"]);
}

fn say(line: &str) {
    println!("\n# {line}");
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What an operator does once: the engine, a role for it, a user who may use the role.
fn prepare(vault: &Vault, cluster: &Cluster) {
    say("as an operator: the Kubernetes secrets engine at `kubernetes`, its role `viewer`, the user `alice`");
    let root = vault.root();
    let namespace = cluster.namespace("team");
    cluster.grant_group(&format!("system:serviceaccounts:{namespace}"), "view");
    root.kubernetes_engine("kubernetes", cluster);
    root.write(
        "kubernetes/roles/viewer",
        &json!({
            "allowed_kubernetes_namespaces": namespace,
            "kubernetes_role_name": "view",
            "kubernetes_role_type": "ClusterRole",
            "token_default_ttl": "1h",
            "token_max_ttl": "2h",
        }),
    );
    root.write_policy("deploy", "path \"kubernetes/creds/viewer\" { capabilities = [\"update\"] }");
    root.enable_auth("userpass", "userpass");
    root.userpass_user("userpass", "alice", PASSWORD, &["deploy"]);
}

/// A person's home with the two files that a person writes.
struct Home {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Home {
    fn new(vault: &Vault, cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "\
apiVersion: vaulttoken.dev/v1alpha1
kind: Config
vaults:
  demo:
    address: {}
    certificateAuthority: {}
    auth: {{userpass: {{username: alice}}}}
profiles:
  prod:
    source:
      vaultKubernetes: {{vault: demo, role: viewer}}
",
            vault.address,
            vault.ca_file().display()
        );
        say("as a person: the settings file ~/.config/vaulttoken/config.yaml");
        print!("{settings}");
        let path = folder.path().join(".config/vaulttoken/config.yaml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, settings).unwrap();

        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "kubectl-vaulttoken",
            "args": ["get-token", "--profile=prod"],
            "interactiveMode": "IfAvailable",
            "provideClusterInfo": true,
        });
        say("and the user entry of the kubeconfig");
        println!("exec: {exec:#}");
        let kubeconfig = folder.path().join("kubeconfig");
        cluster.write_kubeconfig(&kubeconfig, &json!({"exec": exec}), None);
        Self { folder, kubeconfig }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/bin:/bin", plugin().parent().unwrap().display());
        command.env_clear().env("HOME", self.folder.path()).env("PATH", path);
        command.env("XDG_RUNTIME_DIR", self.folder.path()).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(&tool("kubectl")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn run_with_input(&self, arguments: &[&str], line: &str) {
        let input = self.folder.path().join("answer");
        fs::write(&input, format!("{line}\n")).unwrap();
        let mut command = self.command(&tool("kubectl"));
        let status = command.args(arguments).stdin(fs::File::open(&input).unwrap()).status().unwrap();
        fs::remove_file(&input).unwrap();
        assert!(status.success());
    }

    fn show(&self, arguments: &[&str]) {
        println!("$ kubectl {}", arguments.join(" "));
        print!("{}", String::from_utf8_lossy(&self.run(arguments).stdout));
    }

    /// One call as a client makes it that sends no exec info.
    fn time_get_token(&self) -> Duration {
        let mut command = self.command(&plugin());
        command.args(["get-token", "--profile=prod"]);
        let began = Instant::now();
        let output = command.output().unwrap();
        let took = began.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        took
    }
}

/// The release build, in the same target folder as this example.
fn plugin() -> PathBuf {
    let example = std::env::current_exe().unwrap();
    let plugin = example.ancestors().nth(3).unwrap().join("release/kubectl-vaulttoken");
    assert!(plugin.is_file(), "{} is missing: run `make build`", plugin.display());
    plugin
}
