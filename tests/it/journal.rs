//! What the journal of a home says about real calls.

use std::fs;

use serde_json::{Value, json};
use vaulttoken::journal::{Tampered, verify};

use crate::home::Home;
use crate::rig::{Cluster, Vault, claims, unique};

fn home(cluster: &Cluster, extra: &Value) -> Home {
    let (mount, namespace, vault) = (unique("kubernetes"), cluster.namespace("journal"), Vault::shared());
    cluster.service_account(&namespace, "reader");
    vault.root().kubernetes_engine(&mount, cluster);
    vault.root().kubernetes_engine_role(&mount, "reader", &namespace, "reader");
    let home = Home::new();
    let auth = unique("userpass");
    let policy = unique("mint");
    vault
        .root()
        .write_policy(&policy, &format!("path \"{mount}/creds/*\" {{ capabilities = [\"update\"] }}"));
    vault.root().enable_auth("userpass", &auth);
    vault.root().userpass_user(&auth, "alice", "planted-password", &[&policy]);
    home.plant("planted-password");
    let mut settings = json!({
        "vaults": {"corp": {
            "address": vault.address,
            "certificateAuthority": vault.ca_file(),
            "auth": {"userpass": {"mount": auth, "username": "alice"}},
        }},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "mount": mount, "role": "reader"}}}},
    });
    settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    home.settings(&settings);
    home
}

#[test]
fn a_call_can_be_followed_from_the_program_to_vaults_own_log() {
    let cluster = Cluster::shared();
    let home = home(cluster, &json!({}));
    home.run_with_input(&["login", "prod"], "planted-password\n").succeeded();
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token", "--profile=prod"]}), None);
    home.kubectl(&kubeconfig, &["get", "--raw=/version"]).quiet();
    let token = home.run(&["token", "prod"]).succeeded().stdout;
    home.run(&["logout", "prod"]);
    home.get_token(&["--profile=prod"], None).failed(3);

    let journal = home.journal();
    let events: Vec<&str> = journal.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["login", "mint", "handOut", "handOut", "revocation", "revocation", "refusal"]);
    let id = &claims(token.trim())["jti"];
    for line in &journal[1..4] {
        assert_eq!((&line["tokenId"], &line["profile"]), (id, &json!("prod")), "{line}");
    }
    assert_eq!((&journal[2]["program"], &journal[2]["outcome"]), (&json!("kubectl"), &json!("kept")));
    assert_eq!(journal[2]["cluster"], cluster.server);
    assert_eq!(journal[6]["exitCode"], 3);
    let request = &journal[1]["requestId"];
    assert!(request.is_string(), "{}", journal[1]);
    let asked = Vault::shared().audit_log();
    assert!(asked.iter().any(|line| line["request"]["id"] == *request), "Vault knows {request}");
    assert_eq!(journal[5]["leaseId"], journal[1]["leaseId"]);

    let path = home.path(".local/state/vaulttoken/journal.jsonl");
    let whole = fs::read(path).unwrap();
    assert_eq!(verify(&whole, None).unwrap().lines, 7);
    let without = whole.split_inclusive(|byte| *byte == b'\n').skip(1).collect::<Vec<_>>().concat();
    assert_eq!(verify(&without, None), Err(Tampered::Before(1)));
}

#[test]
fn it_is_off_where_the_settings_say_so() {
    let home = home(Cluster::shared(), &json!({"journal": "off"}));
    home.run_with_input(&["login", "prod"], "planted-password\n").succeeded();
    home.get_token(&["--profile=prod"], None).quiet();
    assert!(!home.path(".local/state/vaulttoken/journal.jsonl").exists());
}
