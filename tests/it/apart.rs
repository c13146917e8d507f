//! Two of everything in one home: no call ever gets the token of another.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::engine::{Engine, subject};
use crate::home::{Home, Run, exec_info};
use crate::rig::{Cluster, Session, Vault, unique};

fn info(cluster: &Cluster) -> Value {
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(&cluster.authority.pem);
    exec_info("v1", Some(json!({"server": cluster.server, "certificate-authority-data": authority})))
}

/// One call of the matrix, and what must come of it.
struct Case {
    name: String,
    cluster: &'static Cluster,
    expected: String,
}

/// An engine with a second account and a role for it, `writer`.
fn engine_with_two_roles(root: &Session, cluster: &'static Cluster) -> Engine {
    let engine = Engine::new(root, cluster);
    cluster.service_account(&engine.namespace, "writer");
    root.kubernetes_engine_role(&engine.mount, "writer", &engine.namespace, "writer");
    engine
}

fn get(home: &Home, profile: &str, cluster: &Cluster) -> Run {
    home.get_token(&["--profile", profile], Some(&info(cluster)))
}

#[test]
fn every_pair_of_cluster_role_vault_and_namespace_has_tokens_of_its_own() {
    let clusters = [("here", Cluster::shared()), ("there", Cluster::other())];
    let mut vaults = vec![
        ("shared".to_owned(), Vault::shared(), Vault::shared().root()),
        ("other".to_owned(), Vault::other(), Vault::other().root()),
    ];
    // Two namespaces of one vault, whose mounts and roles have the same names.
    if Vault::shared().supports_namespaces() {
        for name in ["one", "two"] {
            let session = Vault::shared().root().create_namespace(&unique("apart"));
            vaults.push((name.to_owned(), Vault::shared(), session));
        }
    }
    let home = Home::new();
    let (mut settings, mut profiles, mut cases) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (vault_name, vault, root) in &vaults {
        let mount = unique("approle");
        root.enable_auth("approle", &mount);
        let engines = clusters.map(|(_, cluster)| engine_with_two_roles(root, cluster));
        let policies = engines.each_ref().map(|engine| engine.policy.as_str());
        let (role_id, secret_id) = root.approle(&mount, "job", &policies);
        let file = home.write_secret(&format!("{vault_name}-secret"), &secret_id);
        let mut entry = json!({
            "address": vault.address, "certificateAuthority": vault.ca_file(),
            "auth": {"approle": {"mount": mount, "roleId": role_id, "secretIdFile": file}},
        });
        if let Some(namespace) = &root.namespace {
            entry["namespace"] = json!(namespace);
        }
        settings.insert(vault_name.clone(), entry);
        for ((cluster_name, cluster), engine) in clusters.iter().zip(&engines) {
            for role in ["reader", "writer"] {
                let name = format!("{vault_name}-{cluster_name}-{role}");
                let source = json!({"vault": vault_name, "mount": engine.mount, "role": role});
                profiles.insert(name.clone(), json!({"source": {"vaultKubernetes": source}}));
                let expected = format!("system:serviceaccount:{}:{role}", engine.namespace);
                cases.push(Case { name, cluster, expected });
            }
        }
    }
    home.settings(&json!({"vaults": settings, "profiles": profiles}));

    // Cold, then warm, then in the other order: nothing depends on who came first.
    let mut tokens = BTreeMap::new();
    for case in &cases {
        let token = get(&home, &case.name, case.cluster).quiet().token();
        assert_eq!(subject(case.cluster, &token).as_ref(), Some(&case.expected), "{}", case.name);
        tokens.insert(case.name.clone(), token);
    }
    for case in cases.iter().rev() {
        assert_eq!(get(&home, &case.name, case.cluster).quiet().token(), tokens[&case.name], "{}", case.name);
    }
    for one in &cases {
        let stranger = clusters.iter().find(|(_, cluster)| cluster.server != one.cluster.server).unwrap().1;
        assert_eq!(subject(stranger, &tokens[&one.name]), None, "{}", one.name);
        // Asked for in the name of the other cluster it is not handed out at all.
        get(&home, &one.name, stranger).failed(7);
        for other in cases.iter().filter(|other| other.name != one.name) {
            assert_ne!(tokens[&one.name], tokens[&other.name], "{} {}", one.name, other.name);
        }
    }
    // One log-out touches nobody else.
    home.run(&["logout", "shared-here-reader"]).succeeded();
    for case in cases.iter().filter(|case| !case.name.starts_with("shared-")) {
        assert_eq!(get(&home, &case.name, case.cluster).quiet().token(), tokens[&case.name], "{}", case.name);
    }
}

#[test]
fn a_role_or_namespace_that_a_call_names_has_a_token_of_its_own() {
    let cluster = Cluster::shared();
    let root = Vault::shared().root();
    let engine = engine_with_two_roles(&root, cluster);
    let (one, two) = (cluster.namespace("tenant"), cluster.namespace("tenant"));
    for namespace in [&one, &two] {
        cluster.service_account(namespace, "tenant");
    }
    let role = json!({
        "allowed_kubernetes_namespaces": [one, two], "service_account_name": "tenant", "token_default_ttl": "1h",
    });
    root.write(&format!("{}/roles/tenant", engine.mount), &role);
    let token = engine.vault_token(&root);
    let home = crate::engine::home_with(&engine, "reader", None);
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    let ask = |flags: &[&str]| {
        let token = home.get_token(flags, Some(&info(cluster))).quiet().token();
        subject(cluster, &token).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(ask(&[]), engine.reader());
        assert_eq!(ask(&["--role=writer"]), format!("system:serviceaccount:{}:writer", engine.namespace));
        for namespace in [&one, &two] {
            let user = ask(&["--role=tenant", "--namespace", namespace]);
            assert_eq!(user, format!("system:serviceaccount:{namespace}:tenant"));
        }
    }
    let audience = home.get_token(&["--audience=elsewhere"], Some(&info(cluster))).quiet().token();
    assert_eq!(crate::rig::claims(&audience)["aud"], json!(["elsewhere"]));
    assert_eq!(subject(cluster, &audience), None, "it is for somebody else");
    assert_eq!(ask(&[]), engine.reader());
}

#[test]
fn two_persons_in_one_home_do_not_meet() {
    let (vault, cluster, name) = (Vault::shared(), Cluster::shared(), unique("persons"));
    let root = vault.root();
    cluster.trust_vault(vault);
    root.enable_auth("userpass", &name);
    root.identity_role(&name, "kubernetes", &name);
    root.write_policy(&name, &format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}"));
    let home = Home::new();
    let (mut vaults, mut profiles) = (json!({}), json!({}));
    for user in ["alice", "bob"] {
        root.userpass_user(&name, user, &format!("password of {user}"), &[&name]);
        vaults[user] = json!({
            "address": vault.address, "certificateAuthority": vault.ca_file(),
            "auth": {"userpass": {"mount": name, "username": user}},
        });
        profiles[user] = json!({"source": {"vaultIdentity": {"vault": user, "role": name}}});
    }
    home.settings(&json!({"vaults": vaults, "profiles": profiles}));
    let ask = |user: &str| home.get_token(&["--profile", user], Some(&info(cluster)));
    let who = |user: &str| subject(cluster, &ask(user).quiet().token());
    home.run_with_input(&["login", "alice"], "password of alice\n").succeeded();
    // The other one is not served by her session.
    assert!(ask("bob").failed(3).contains("login bob\n"));
    home.run_with_input(&["login", "bob"], "password of bob\n").succeeded();
    assert_eq!((who("alice"), who("bob")), (Some("vault:alice".into()), Some("vault:bob".into())));
    home.run(&["logout", "alice"]).succeeded();
    ask("alice").failed(3);
    assert_eq!(who("bob"), Some("vault:bob".into()));
}

#[test]
fn another_persons_log_in_under_the_same_profile_brings_tokens_of_theirs() {
    let (vault, cluster, name) = (Vault::shared(), Cluster::shared(), unique("persons"));
    let root = vault.root();
    cluster.trust_vault(vault);
    root.enable_auth("userpass", &name);
    root.identity_role(&name, "kubernetes", &name);
    root.write_policy(&name, &format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}"));
    let home = Home::new();
    home.settings(&json!({
        "vaults": {"corp": {
            "address": vault.address, "certificateAuthority": vault.ca_file(), "auth": {"userpass": {"mount": name}},
        }},
        "profiles": {"people": {"source": {"vaultIdentity": {"vault": "corp", "role": name}}}},
    }));
    for user in ["alice", "bob", "alice"] {
        root.userpass_user(&name, user, "their password", &[&name]);
        home.run_with_input(&["login", "--username", user], "their password\n").succeeded();
        let token = home.get_token(&[], Some(&info(cluster))).quiet().token();
        assert_eq!(subject(cluster, &token), Some(format!("vault:{user}")));
    }
}

#[test]
fn another_token_in_the_environment_is_another_caller() {
    let cluster = Cluster::shared();
    let root = Vault::shared().root();
    let engine = Engine::new(&root, cluster);
    let home = crate::engine::home_with(&engine, "viewer", None);
    let ask = |token: &str| {
        home.plant(token);
        home.set("VAULT_TOKEN", token);
        home.get_token(&[], Some(&info(cluster))).quiet().token()
    };
    let (mine, yours) = (engine.vault_token(&root), engine.vault_token(&root));
    let (one, other) = (ask(&mine), ask(&yours));
    assert_ne!(one, other);
    assert_eq!((ask(&mine), ask(&yours)), (one, other));
}
