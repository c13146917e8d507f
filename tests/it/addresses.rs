//! Where a Vault can be, how it is found and believed, and what every request to it carries.

use std::fs;

use serde_json::json;

use crate::engine::{self, Engine, home_with, subject};
use crate::home::{Home, exec_info};
use crate::rig::{Authority, Cluster, Double, Reply, Seen, Vault, unique};

/// Gets a token and makes sure that the cluster takes it.
#[track_caller]
fn gets_a_token(home: &Home, arguments: &[&str], engine: &Engine) {
    let token = home.get_token(arguments, Some(&exec_info("v1", None))).quiet().token();
    assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()));
}

/// A home without settings, and the flags that stand for a profile.
fn home_without_settings(engine: &Engine) -> (Home, [String; 3]) {
    let home = Home::new();
    let token = engine.vault_token(&Vault::shared().root());
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    let flags =
        ["--source=vault-kubernetes".into(), format!("--mount={}", engine.mount), "--role=reader".into()];
    (home, flags)
}

fn strs(flags: &[String; 3]) -> [&str; 3] {
    flags.each_ref().map(String::as_str)
}

/// Passes a request on to the real server, as a proxy that is not there would.
fn pass(seen: &Seen, path: &str) -> Reply {
    let vault = Vault::shared();
    let headers: Vec<(&str, &str)> = seen
        .headers
        .iter()
        .filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-vault-"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let url = format!("{}{path}", vault.address);
    let answer = vault.authority.ask_with(&seen.method, &url, &headers, &seen.json()).unwrap();
    Reply::text(answer.status, "application/json", &answer.text)
}

#[test]
fn a_vault_behind_a_unix_socket_is_asked_without_tls() {
    let engine = engine::shared();
    let home = home_with(&engine, "reader", None);
    let socket = home.path("agent.sock");
    let agent = Double::unix(&socket, |seen| pass(seen, &seen.path));
    let token = engine.vault_token(&Vault::shared().root());
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    home.settings(&json!({
        "vaults": {"corp": {"address": format!("unix://{}", socket.display())}},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &[], &engine);
    let seen = agent.seen();
    assert!(seen.iter().any(|seen| seen.path == format!("/v1/{}/creds/reader", engine.mount)), "{seen:?}");
}

#[test]
fn a_prefix_of_the_address_stays_before_every_path() {
    let engine = engine::shared();
    let edge = Authority::new("edge");
    let proxy = Double::https(&edge, &[], |seen| match seen.path.strip_prefix("/tools/vault") {
        Some(path) => pass(seen, path),
        None => Reply::not_found(),
    });
    let (root, mount) = (Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&engine.policy]);
    let home = Home::new();
    let file = home.write_secret("secret-id", &secret_id);
    home.settings(&json!({
        "vaults": {"corp": {
            "address": format!("{}/tools/vault/", proxy.address), "certificateAuthority": edge.file,
            "auth": {"approle": {"mount": mount, "roleId": role_id, "secretIdFile": file}},
        }},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &[], &engine);
    let seen = proxy.seen();
    assert!(seen.len() >= 2);
    for seen in seen {
        assert!(seen.path.starts_with("/tools/vault/v1/"), "{seen:?}");
        // Without it the listeners of agents and proxies answer 412, against forged requests.
        assert_eq!(seen.header("x-vault-request"), Some("true"), "{seen:?}");
        let is_log_in = seen.path.contains("/login");
        assert_eq!(seen.header("x-vault-token").is_none(), is_log_in, "{seen:?}");
    }
}

#[test]
fn the_variables_of_both_products_name_the_vault_and_openbaos_go_first() {
    let (engine, vault) = (engine::shared(), Vault::shared());
    let (home, flags) = home_without_settings(&engine);
    let ca = vault.ca_file().display().to_string();
    let (elsewhere, stranger) = ("https://127.0.0.1:1", Vault::other().ca_file().display().to_string());
    home.set("VAULT_ADDR", &vault.address).set("VAULT_CACERT", &ca);
    gets_a_token(&home, &strs(&flags), &engine);
    home.set("VAULT_ADDR", elsewhere).set("BAO_ADDR", &vault.address);
    gets_a_token(&home, &strs(&flags), &engine);
    home.set("VAULT_CACERT", &stranger).set("BAO_CACERT", &ca);
    gets_a_token(&home, &[&strs(&flags)[..], &["--force-refresh"]].concat(), &engine);
    // Set to nothing it is still OpenBao's word, and then there is no address.
    home.set("BAO_ADDR", "").set("VAULT_ADDR", &vault.address);
    let run = home.get_token(&strs(&flags), None);
    assert!(
        run.failed(2).contains("neither the settings nor `VAULT_ADDR` or `BAO_ADDR` name one"),
        "{run:?}"
    );
}

#[test]
fn an_authority_may_be_a_file_a_folder_or_a_text() {
    let (engine, vault) = (engine::shared(), Vault::shared());
    let (home, flags) = home_without_settings(&engine);
    let flags = [&strs(&flags)[..], &["--force-refresh"]].concat();
    home.set("VAULT_ADDR", &vault.address);
    let unknown = home.get_token(&flags, None);
    assert_eq!(unknown.code, 5, "{unknown:?}");
    assert!(unknown.stderr.contains("certificate"), "{unknown:?}");
    let folder = home.path("authorities");
    fs::create_dir(&folder).unwrap();
    fs::copy(vault.ca_file(), folder.join("corp.pem")).unwrap();
    for (variable, value) in [
        ("VAULT_CACERT", vault.ca_file().display().to_string()),
        ("VAULT_CACERT_BYTES", vault.authority.pem.clone()),
        ("VAULT_CAPATH", folder.display().to_string()),
        ("SSL_CERT_FILE", vault.ca_file().display().to_string()),
    ] {
        home.set(variable, &value);
        gets_a_token(&home, &flags, &engine);
        home.unset(variable);
    }
    // In the settings a text will do as well, and another's authority will not.
    for (pem, code) in [(&vault.authority.pem, 0), (&Vault::other().authority.pem, 5)] {
        home.settings(&json!({
            "vaults": {"corp": {"address": vault.address, "certificateAuthority": pem}},
            "profiles": {"prod": {"source": engine.source("reader")}},
        }));
        assert_eq!(home.get_token(&["--force-refresh"], None).code, code);
    }
}

#[test]
fn verification_is_switched_off_by_a_persons_own_variable_alone() {
    let (engine, vault) = (engine::shared(), Vault::shared());
    let (home, flags) = home_without_settings(&engine);
    home.set("VAULT_ADDR", &vault.address).set("VAULT_SKIP_VERIFY", "");
    assert_eq!(home.get_token(&strs(&flags), None).code, 5, "empty is not set");
    home.set("VAULT_SKIP_VERIFY", "true");
    gets_a_token(&home, &strs(&flags), &engine);
    home.unset("VAULT_SKIP_VERIFY");
    let arguments = [&["get-token"], &strs(&flags)[..], &["--force-refresh"]].concat();
    let exec = json!({
        "args": arguments,
        "env": [{"name": "VAULT_SKIP_VERIFY", "value": "true"}],
    });
    let kubeconfig = home.kubeconfig(Cluster::shared(), &exec, None);
    let run = home.kubectl(&kubeconfig, &["get", "namespaces"]);
    assert!(run.stderr.contains("exit code 5"), "the kubeconfig's word does not count: {run:?}");
}

#[test]
fn a_namespace_is_said_with_every_request() {
    let vault = Vault::shared();
    let root = if vault.supports_namespaces() {
        vault.root().create_namespace(&unique("tenant")).create_namespace("team")
    } else {
        // A server that has none takes the header for one that it does not know.
        vault.root().within("tenant/team")
    };
    let namespace = root.namespace.clone().unwrap();
    let engine = Engine::new(&root, Cluster::shared());
    let mount = unique("approle");
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&engine.policy]);
    let proxy = Double::before(&vault.authority, &vault.address, |_| Reply::Passed);
    let home = Home::new();
    let file = home.write_secret("secret-id", &secret_id);
    home.settings(&json!({
        "vaults": {"corp": {
            "address": proxy.address, "certificateAuthority": vault.ca_file(), "namespace": namespace,
            "auth": {"approle": {"mount": mount, "roleId": role_id, "secretIdFile": file}},
        }},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &[], &engine);
    // The lease is in the namespace, and so is what ends it.
    let list = home.run(&["logout", "--output=json"]).quiet().json();
    assert_eq!(list["items"][0]["session"], "revoked");
    let seen = proxy.seen();
    assert!(seen.len() >= 3);
    for seen in seen {
        assert_eq!(seen.header("x-vault-namespace"), Some(namespace.as_str()), "{seen:?}");
    }
}

#[test]
fn a_namespace_of_the_environment_goes_with_its_address_and_openbaos_goes_first() {
    let (engine, vault) = (engine::shared(), Vault::shared());
    let namespaces = vault.supports_namespaces();
    let (home, flags) = home_without_settings(&engine);
    let proxy = Double::before(&vault.authority, &vault.address, |_| Reply::Passed);
    home.set("VAULT_ADDR", &proxy.address).set("VAULT_CACERT", &vault.ca_file().display().to_string());
    home.set("VAULT_NAMESPACE", "nobody/here/");
    let run = home.get_token(&strs(&flags), None);
    if namespaces {
        assert!(run.failed(4).contains("`nobody/here`"), "{run:?}");
    }
    assert_eq!(proxy.seen()[0].header("x-vault-namespace"), Some("nobody/here"));
    let before = proxy.seen().len();
    home.set("BAO_NAMESPACE", "");
    gets_a_token(&home, &strs(&flags), &engine);
    assert_eq!(proxy.seen()[before].header("x-vault-namespace"), None);
}
