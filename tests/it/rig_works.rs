//! Each part of the rig, proven by what the other parts say of it: a token of one real server is
//! judged by another. Nothing here tests the product.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{
    Authority, Cluster, Double, Issuer, Reply, Sdk, SecretService, Vault, poll, python_program, tool, unique,
};

const LIMIT: Duration = Duration::from_secs(30);

/// An account on the shared cluster that may read everything, and a role for it on an engine of the
/// shared vault; gives the path that mints.
fn minting_path(cluster: &Cluster) -> String {
    let (mount, namespace) = (unique("kubernetes"), cluster.namespace("team"));
    cluster.service_account(&namespace, "reader");
    cluster.grant((&namespace, "reader"), "view");
    let root = Vault::shared().root();
    root.kubernetes_engine(&mount, cluster);
    root.kubernetes_engine_role(&mount, "reader", &namespace, "reader");
    format!("{mount}/creds/reader")
}

fn mint(cluster: &Cluster) -> String {
    let answer = Vault::shared().root().write(&minting_path(cluster), &json!({}));
    let token = answer["data"]["service_account_token"].as_str();
    token.unwrap().to_owned()
}

#[test]
fn a_minted_token_lists_namespaces_with_the_real_kubectl() {
    let cluster = Cluster::shared();
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("config");
    cluster.write_kubeconfig(&kubeconfig, &json!({"token": mint(cluster)}), None);
    let output = Command::new(tool("kubectl"))
        .args(["get", "namespaces", "--output=name"])
        .env_clear()
        .env("KUBECONFIG", &kubeconfig)
        .env("HOME", home.path())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let names = String::from_utf8_lossy(&output.stdout);
    assert!(names.contains("namespace/kube-system"), "{names}");
}

#[test]
fn clusters_refuse_the_tokens_of_each_other() {
    let (one, other) = (Cluster::shared(), Cluster::other());
    for (issuer, stranger) in [(one, other), (other, one)] {
        let token = mint(issuer);
        let path = "/api/v1/namespaces";
        assert_eq!(issuer.request("GET", path, Some(&token)).status, 200);
        assert_eq!(stranger.request("GET", path, Some(&token)).status, 401);
    }
}

#[test]
fn the_api_server_logs_who_asked_for_what() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("logged");
    cluster.service_account(&namespace, "caller");
    let token = cluster.token_for((&namespace, "caller"), 600, &[]);
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    assert_eq!(cluster.request("GET", &path, Some(&token)).status, 403);
    let user = format!("system:serviceaccount:{namespace}:caller");
    let entry = poll("a line in the audit log", LIMIT, || {
        let log = cluster.audit_log();
        log.into_iter().find(|entry| entry["user"]["username"] == *user)
    });
    assert_eq!(entry["requestURI"], path);
}

#[test]
fn a_cluster_forgets_nothing_while_it_is_down() {
    let cluster = Cluster::start("own-cluster");
    let namespace = cluster.namespace("kept");
    cluster.stop();
    let gone = cluster.kubectl(&["get", "namespaces"]);
    assert!(!gone.status.success());
    cluster.start_again();
    let found = cluster.kubectl(&["get", "namespace", &namespace]);
    assert!(found.status.success());
}

#[test]
fn an_identity_token_is_accepted_where_its_issuer_is_trusted() {
    let (vault, cluster) = (Vault::shared(), Cluster::shared());
    let (name, root) = (unique("identity"), vault.root());
    root.enable_auth("userpass", &name);
    root.identity_role(&name, "kubernetes", &name);
    root.write_policy(&name, &format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}"));
    root.userpass_user(&name, "alice", "in wonderland", &[&name]);
    cluster.trust_vault(vault);

    let body = json!({"password": "in wonderland"});
    let alice = vault.anonymous().log_in(&format!("auth/{name}/login/alice"), &body);
    let namespaces_as_alice = || {
        let answer = alice.read(&format!("identity/oidc/token/{name}"));
        cluster.request("GET", "/api/v1/namespaces", answer["token"].as_str())
    };
    // She is known and may do nothing, which is said with another status than to strangers.
    let answer = namespaces_as_alice();
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert!(answer.text.contains("vault:alice"), "{}", answer.text);
    assert_eq!(Cluster::other().request("GET", "/api", Some("nonsense")).status, 401);

    root.identity_group(&name, &alice);
    cluster.grant_group(&name, "view");
    assert_eq!(namespaces_as_alice().status, 200);
}

#[test]
fn a_sealed_vault_answers_503_until_it_is_unsealed() {
    let vault = Vault::start_sealed();
    assert_eq!(vault.health(), Some(503));
    vault.unseal();
    assert_eq!(vault.health(), Some(200));
    vault.seal();
    assert_eq!(vault.health(), Some(503));
}

#[test]
fn a_vault_of_ones_own_keeps_its_data_when_killed() {
    let vault = Vault::start();
    vault.root().key_value("kept", 1);
    vault.root().write("kept/thing", &json!({"colour": "blue"}));
    vault.stop();
    assert_eq!(vault.health(), None);
    vault.start_again();
    assert_eq!(vault.health(), Some(503));
    vault.unseal();
    assert_eq!(vault.root().read("kept/thing")["colour"], "blue");
}

#[test]
fn a_paused_vault_accepts_and_does_not_answer() {
    let vault = Vault::start_sealed();
    vault.pause();
    let host = vault.address.trim_start_matches("https://");
    let mut connection = TcpStream::connect(host).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let error = connection.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    vault.resume();
    assert_eq!(vault.health(), Some(503));
}

#[test]
fn a_vault_knows_no_tokens_of_another() {
    let token = Vault::shared().root().child_token(&json!({"ttl": "1m"}));
    let ask = |vault: &Vault| {
        let session = vault.session(&token);
        session.call("GET", "auth/token/lookup-self", &Value::Null).status
    };
    assert_eq!(ask(Vault::shared()), 200);
    assert_eq!(ask(Vault::other()), 403);
}

#[test]
fn every_way_to_log_in_that_both_vaults_have_works() {
    let (vault, cluster) = (Vault::shared(), Cluster::shared());
    let (root, anonymous) = (vault.root(), vault.anonymous());
    for method in ["approle", "cert", "jwt", "kubernetes", "userpass"] {
        assert!(vault.has_auth_method(method), "{method}");
    }

    let mount = unique("approle");
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[]);
    let body = json!({"role_id": role_id, "secret_id": secret_id});
    anonymous.log_in(&format!("auth/{mount}/login"), &body);

    let mount = unique("jwt");
    let issuer = Issuer::new();
    root.enable_auth("jwt", &mount);
    root.jwt_trust(&mount, &issuer);
    root.jwt_role(&mount, "job", "vault", &[]);
    let token = issuer.token("job-7", "vault", &Value::Null);
    let body = json!({"role": "job", "jwt": token});
    anonymous.log_in(&format!("auth/{mount}/login"), &body);

    let mount = unique("pods");
    let namespace = cluster.namespace("pods");
    cluster.service_account(&namespace, "pod");
    root.enable_auth("kubernetes", &mount);
    root.kubernetes_auth(&mount, cluster);
    root.kubernetes_auth_role(&mount, "pod", (&namespace, "pod"), &[]);
    let token = cluster.token_for((&namespace, "pod"), 600, &[]);
    let body = json!({"role": "pod", "jwt": token});
    anonymous.log_in(&format!("auth/{mount}/login"), &body);

    let mount = unique("cert");
    let people = Authority::new("people");
    root.enable_auth("cert", &mount);
    root.cert_role(&mount, "people", &people.pem, &[]);
    let path = format!("auth/{mount}/login");
    let login = vault.showing(&people.client("alice", &[]));
    login.log_in(&path, &json!({}));
    let late = vault.showing(&people.expired_client("bob"));
    assert!(!late.call("PUT", &path, &json!({})).is_success());
}

#[test]
fn a_namespace_has_mounts_of_its_own_where_there_are_namespaces() {
    let vault = Vault::shared();
    let name = unique("team");
    if !vault.supports_namespaces() {
        let answer = vault.api("PUT", &format!("sys/namespaces/{name}"), &json!({}));
        assert_eq!(answer.status, 404, "{}", answer.text);
        return;
    }
    let inside = vault.root().create_namespace(&name);
    inside.key_value("inside", 2);
    inside.write("inside/data/thing", &json!({"data": {"colour": "green"}}));
    assert_eq!(inside.read("inside/data/thing")["data"]["colour"], "green");
    let outside = vault.api("GET", "inside/data/thing", &Value::Null);
    assert_eq!(outside.status, 404);
}

#[test]
fn a_vault_logs_every_request() {
    let vault = Vault::shared();
    let path = format!("sys/policies/acl/{}", unique("looked-for"));
    vault.api("GET", &path, &Value::Null);
    let log = vault.audit_log();
    assert!(log.iter().any(|entry| entry["request"]["path"] == *path));
}

#[test]
fn the_secret_service_gives_what_it_keeps_until_it_is_locked() {
    let service = SecretService::start();
    service.store("profile", "prod", "hunter2");
    assert_eq!(service.look_up("profile", "prod").as_deref(), Some("hunter2"));
    assert_eq!(service.look_up("profile", "test"), None);
    service.lock();
    assert_eq!(service.look_up("profile", "prod"), None);
}

#[test]
fn a_double_answers_as_told_and_remembers() {
    let authority = Authority::new("double");
    let double = Double::https(&authority, &[], |request| match request.path.as_str() {
        "/token?audience=x" => Reply::json(200, &json!({"value": "t"})),
        "/lost" => Reply::Lost,
        _ => Reply::not_found(),
    });
    let ask = |path: &str| {
        let url = format!("{}{path}", double.address);
        authority.ask("POST", &url, &json!({"k": "v"}))
    };
    assert_eq!(ask("/token?audience=x").unwrap().json["value"], "t");
    assert_eq!(ask("/other").unwrap().status, 404);
    ask("/lost").unwrap_err();
    let seen = double.seen();
    assert_eq!(seen[0].method, "POST");
    assert_eq!(seen[0].json()["k"], "v");
    assert_eq!(seen[0].header("Content-Type"), Some("application/json"));
}

#[test]
fn a_double_before_a_real_server_loses_its_answers() {
    let vault = Vault::shared();
    let double = Double::before(&vault.authority, &vault.address, |request| match request.method.as_str() {
        "PUT" => Reply::LostOnReturn,
        "GET" if request.path.ends_with("/busy") => Reply::json(429, &json!({"errors": ["slow down"]})),
        _ => Reply::Passed,
    });
    let root = vault.root();
    let through = root.at(&double.address);
    let mount = unique("faults");
    root.key_value(&mount, 1);
    let path = format!("{mount}/thing");
    let lost = through.try_call("PUT", &path, &json!({"colour": "red"}));
    lost.unwrap_err();
    assert_eq!(through.read(&path)["colour"], "red");
    assert_eq!(through.call("GET", &format!("{mount}/busy"), &Value::Null).status, 429);
    assert_eq!(double.seen().len(), 3);
}

/// Set for the process that [`servers_die_with_a_killed_process`] kills.
const VICTIM: &str = "VAULTTOKEN_RIG_VICTIM";

/// Not a test of its own: the process to be killed, which starts servers and then waits for its end.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_some() {
        let vault = Vault::start();
        let service = SecretService::start();
        println!("\nservers: {} {}", vault.process_id(), service.process_id());
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
}

#[test]
fn servers_die_with_a_killed_process() {
    // By this name it is found even where another build has replaced it meanwhile.
    let mut victim = Command::new("/proc/self/exe")
        .args(["--exact", "rig_works::victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap).find(|line| line.starts_with("servers: ")).unwrap();
    let servers: Vec<&str> = line.split(' ').skip(1).collect();
    for server in &servers {
        assert!(is_alive(server), "{server}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    for server in &servers {
        poll("the end of a server", LIMIT, || (!is_alive(server)).then_some(()));
    }
}

/// A process that has ended but that nobody waited for is dead, though it still has its number.
fn is_alive(id: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(id).join("stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

#[test]
fn each_python_has_the_clients_that_it_is_for() {
    let program = "
import importlib.metadata as metadata, sys
import databricks.sdk
print(metadata.version('databricks-sdk'))
if sys.argv[1:] == ['clouds']:
    import azure.identity, google.auth.transport.requests
";
    let version = |sdk, arguments: &[&str]| {
        let output = python_program(sdk, program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(version(Sdk::DatabricksOld, &[]), "0.67.0");
    assert_ne!(version(Sdk::Clouds, &["clouds"]), "0.67.0");
}
