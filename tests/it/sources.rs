//! Each source against a real engine, a real API server and a real kubectl.

use serde_json::json;

use crate::home::{Home, exec_info};
use crate::rig::{Cluster, Vault, unique};

/// A home whose profile `prod` mints for an existing account that may view everything.
fn home_with_existing_account(cluster: &Cluster) -> Home {
    let (mount, namespace) = (unique("kubernetes"), cluster.namespace("team"));
    cluster.service_account(&namespace, "reader");
    cluster.grant((&namespace, "reader"), "view");
    let vault = Vault::shared();
    vault.root().kubernetes_engine(&mount, cluster);
    vault.root().kubernetes_engine_role(&mount, "reader", &namespace, "reader");
    let policy = unique("mint");
    vault
        .root()
        .write_policy(&policy, &format!("path \"{mount}/creds/*\" {{ capabilities = [\"update\"] }}"));
    let token = vault.root().child_token(&json!({"policies": [policy], "ttl": "1h"}));
    let home = Home::new();
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": vault.ca_file()}},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "mount": mount, "role": "reader"}}}},
    }));
    home
}

#[test]
fn a_minted_token_lists_namespaces_through_the_real_kubectl() {
    let cluster = Cluster::shared();
    let home = home_with_existing_account(cluster);
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token", "--profile=prod"]}), None);
    let run = home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"]).quiet();
    assert!(run.stdout.contains("namespace/kube-system"), "{run:?}");
    // The second call, and the command that kubectl's plugin mechanism finds by name.
    home.kubectl(&kubeconfig, &["get", "namespaces"]).quiet();
    let status = home.kubectl(&kubeconfig, &["vaulttoken", "status"]).quiet();
    assert!(status.stdout.contains(&cluster.server), "{status:?}");
}

#[test]
fn both_versions_of_the_contract_are_answered_in_kind() {
    let home = home_with_existing_account(Cluster::shared());
    for version in ["v1", "v1beta1"] {
        let run = home.get_token(&["--profile=prod"], Some(&exec_info(version, None))).quiet();
        assert_eq!(run.json()["apiVersion"], format!("client.authentication.k8s.io/{version}"));
        assert_eq!(run.stdout.lines().count(), 1);
    }
    let run = home.get_token(&["-p", "prod"], None).quiet();
    assert_eq!(run.json()["apiVersion"], "client.authentication.k8s.io/v1");
}
