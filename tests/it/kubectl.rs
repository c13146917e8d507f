//! What a person does with the real kubectl, in each of the ways that a kubeconfig can name us.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine::{self, corp, home_with, home_with_token};
use crate::home::{Home, Run};
use crate::rig::{Cluster, Vault, claims, unique};
use crate::terminal::Terminal;

const PROD: [&str; 2] = ["get-token", "--profile=prod"];

/// Whom the API server takes us for, in kubectl's words.
fn whoami(home: &Home, kubeconfig: &Path) -> String {
    let format = "--output=jsonpath={.status.userInfo.username}";
    home.kubectl(kubeconfig, &["auth", "whoami", format]).quiet().stdout
}

fn lists_namespaces(run: &Run) -> bool {
    run.code == 0 && run.stdout.contains("namespace/kube-system")
}

#[test]
fn each_kind_of_engine_role_gives_the_account_that_it_promises() {
    let (cluster, engine) = (Cluster::shared(), engine::shared());
    for role in ["reader", "viewer", "ruled"] {
        let home = home_with_token(&engine, role);
        let kubeconfig = home.kubeconfig(cluster, &json!({"args": PROD}), None);
        let run = home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"]).quiet();
        assert!(lists_namespaces(&run), "{role}: {run:?}");
        let user = whoami(&home, &kubeconfig);
        if role == "reader" {
            assert_eq!(user, engine.reader());
        } else {
            // `v-<who asked>-<role>-…`, in the engine's own words.
            let prefix = format!("system:serviceaccount:{}:v-", engine.namespace);
            assert!(user.starts_with(&prefix) && user.contains(role), "{user}");
        }
        let pods = home.kubectl(&kubeconfig, &["get", "pods", "--all-namespaces"]);
        assert_eq!(pods.code == 0, role != "ruled", "only the rules of the role count: {pods:?}");
    }
}

#[test]
fn a_generated_account_is_bound_in_one_namespace_unless_asked_otherwise() {
    let (cluster, engine) = (Cluster::shared(), engine::shared());
    let home = home_with_token(&engine, "viewer");
    let mut source = engine.source("viewer");
    source["vaultKubernetes"]["clusterRoleBinding"] = json!(false);
    home.settings(&json!({
        "vaults": corp(Vault::shared(), None), "profiles": {"prod": {"source": source}},
    }));
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": PROD}), None);
    home.kubectl(&kubeconfig, &["get", "pods", "--namespace", &engine.namespace]).succeeded();
    let elsewhere = home.kubectl(&kubeconfig, &["get", "pods", "--namespace", "default"]);
    assert!(elsewhere.stderr.contains("forbidden"), "{elsewhere:?}");
}

#[test]
fn objects_are_applied_and_what_the_server_offers_is_found() {
    let (cluster, engine) = (Cluster::shared(), engine::shared());
    cluster.grant((&engine.namespace, "reader"), "edit");
    let home = home_with_token(&engine, "reader");
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": PROD}), None);
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"colour": "blue"},
        "metadata": {"name": "applied", "namespace": engine.namespace},
    });
    for expected in ["configmap/applied created", "configmap/applied unchanged"] {
        let run = home.kubectl_with_input(&kubeconfig, &["apply", "-f", "-"], &object.to_string()).quiet();
        assert_eq!(run.stdout.trim(), expected);
    }
    let kinds = home.kubectl(&kubeconfig, &["api-resources", "--output=name"]).quiet();
    assert!(kinds.stdout.contains("deployments.apps"), "{kinds:?}");
}

/// A token of an account that may view everything, and its namespace.
fn viewing_token(cluster: &Cluster) -> (String, String) {
    let namespace = cluster.namespace("jobs");
    cluster.service_account(&namespace, "job");
    cluster.grant((&namespace, "job"), "view");
    (cluster.token_for((&namespace, "job"), 3600, &[]), namespace)
}

/// A home whose profile `jobs` reads a document of `mount`.
fn home_of_documents(mount: &str, more: &Value) -> Home {
    let root = Vault::shared().root();
    let policy = unique("read");
    root.write_policy(&policy, &format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}"));
    let token = root.child_token(&json!({"policies": [policy], "ttl": "1h"}));
    let home = Home::new();
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    let mut source = json!({"vault": "corp", "mount": mount});
    source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    home.settings(&json!({
        "vaults": corp(Vault::shared(), None), "profiles": {"jobs": {"source": {"vaultKv": source}}},
    }));
    home
}

#[test]
fn documents_of_both_versions_of_kv_are_read() {
    let (cluster, root) = (Cluster::shared(), Vault::shared().root());
    let (token, namespace) = viewing_token(cluster);
    for version in [1, 2] {
        let mount = unique("kv");
        root.key_value(&mount, version);
        // Only the token, in a field of another name.
        let (path, document) = ("ci/pipeline", json!({"kubernetes": token}));
        match version {
            1 => root.write(&format!("{mount}/{path}"), &document),
            _ => root.write(&format!("{mount}/data/{path}"), &json!({"data": document})),
        };
        let home = home_of_documents(&mount, &json!({"path": path, "field": "kubernetes"}));
        home.plant(&token);
        let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token"]}), None);
        let run = home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"]).quiet();
        assert!(lists_namespaces(&run), "version {version}: {run:?}");
        assert_eq!(whoami(&home, &kubeconfig), format!("system:serviceaccount:{namespace}:job"));
    }
}

#[test]
fn a_path_is_filled_in_and_a_document_of_somebody_else_is_refused() {
    let (cluster, root) = (Cluster::shared(), Vault::shared().root());
    let (token, _) = viewing_token(cluster);
    let mount = unique("kv");
    root.key_value(&mount, 2);
    let document = |cluster_name: &str, team: &str, server: &str, authority: &str| {
        use base64::Engine as _;
        let authority = base64::engine::general_purpose::STANDARD.encode(authority);
        json!({"data": {
            "token": token, "cluster": cluster_name, "team": team, "server": server,
            "certificateAuthorityData": authority,
        }})
    };
    let (server, authority) = (cluster.server.as_str(), cluster.authority.pem.as_str());
    let stranger = Cluster::other();
    let right = document("eu", "pay", server, authority);
    root.write(&format!("{mount}/data/tokens/eu/pay"), &right);
    root.write(&format!("{mount}/data/tokens/eu/ops"), &document("eu", "pay", server, authority));
    root.write(&format!("{mount}/data/tokens/us/pay"), &document("eu", "pay", server, authority));
    let other_place = document("eu", "moved", &stranger.server, &stranger.authority.pem);
    root.write(&format!("{mount}/data/tokens/eu/moved"), &other_place);
    let home = home_of_documents(&mount, &json!({"path": "tokens/{cluster}/{team}", "cluster": "eu"}));
    home.plant(&token);

    let ask = |team: &str, cluster_name: &str| {
        // What the settings leave open is said by the cluster extension, and by a flag.
        let extension = json!({
            "apiVersion": "vaulttoken.dev/v1alpha1", "kind": "ClusterProfile", "cluster": cluster_name,
        });
        let arguments = ["get-token".to_owned(), format!("--team={team}")];
        let kubeconfig = home.kubeconfig(cluster, &json!({"args": arguments}), Some(&extension));
        home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"])
    };
    assert!(lists_namespaces(&ask("pay", "eu").quiet()));
    for (team, cluster_name, words) in [
        ("ops", "eu", "`pay`"),
        ("pay", "us", "`eu`"),
        ("moved", "eu", "another certificate authority"),
        ("nobody", "eu", "tokens/eu/nobody"),
    ] {
        let run = ask(team, cluster_name);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
        assert!(run.stderr.contains("error: profile `jobs`"), "{run:?}");
        assert!(run.stderr.contains(words), "{team}/{cluster_name}: {run:?}");
    }
}

/// A home whose `people` log in with name and password, and carry identity tokens; they may view.
fn home_of_people(user: &str, password: &str) -> Home {
    let (vault, name) = (Vault::shared(), unique("people"));
    let root = vault.root();
    root.enable_auth("userpass", &name);
    root.identity_role(&name, "kubernetes", &name);
    root.write_policy(&name, &format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}"));
    root.userpass_user(&name, user, password, &[&name]);
    let body = json!({"password": password});
    let session = vault.anonymous().log_in(&format!("auth/{name}/login/{user}"), &body);
    root.identity_group(&name, &session);
    let cluster = Cluster::shared();
    cluster.grant_group(&name, "view");
    cluster.trust_vault(vault);
    let home = Home::new();
    home.plant(password);
    let auth = json!({"userpass": {"mount": name, "username": user}});
    home.settings(&json!({
        "vaults": corp(vault, Some(&auth)),
        "profiles": {"people": {"source": {"vaultIdentity": {"vault": "corp", "role": name}}}},
    }));
    home
}

#[test]
fn a_person_logs_in_once_and_is_known_to_the_cluster_by_name() {
    let home = home_of_people("alice", "in wonderland");
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
    // Nobody is asked: the report names the command, as kubectl's users can type it.
    let before = home.kubectl(&kubeconfig, &["get", "namespaces"]);
    assert!(before.stderr.contains("try: kubectl-vaulttoken login people\n"), "{before:?}");
    assert!(before.stderr.contains("exit code 3"), "{before:?}");
    let login = home.kubectl_with_input(&kubeconfig, &["vaulttoken", "login"], "in wonderland\n");
    assert!(login.succeeded().stderr.contains("logged in to "));
    assert_eq!(whoami(&home, &kubeconfig), "vault:alice");
    let run = home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"]).quiet();
    assert!(lists_namespaces(&run), "{run:?}");
    let token = home.get_token(&[], None).token();
    assert_eq!(claims(&token)["aud"], "kubernetes");
}

#[test]
fn both_forms_of_the_command_are_the_same_program_and_name_themselves() {
    let home = home_of_people("bob", "the builder");
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
    let as_plugin = |arguments: &[&str]| home.kubectl(&kubeconfig, &[&["vaulttoken"], arguments].concat());
    for arguments in [["version", "--output=json"], ["status", "--output=json"]] {
        assert_eq!(as_plugin(&arguments).quiet().stdout, home.run(&arguments).quiet().stdout);
    }
    let (one, other) = (as_plugin(&["refresh"]), home.run(&["refresh"]));
    assert!(one.failed(3).contains("try: kubectl vaulttoken login people\n"));
    assert!(other.failed(3).contains("try: kubectl-vaulttoken login people\n"));
    assert!(as_plugin(&["--help"]).quiet().stdout.contains("Usage: kubectl vaulttoken "));
    assert!(home.run(&["--help"]).quiet().stdout.contains("Usage: kubectl-vaulttoken "));
}

#[test]
fn every_shape_of_a_users_entry_works() {
    let engine = engine::shared();
    let home = home_with_token(&engine, "reader");
    for version in ["v1", "v1beta1"] {
        for provide in [true, false] {
            for mode in ["Never", "IfAvailable"] {
                let exec = json!({
                    "apiVersion": format!("client.authentication.k8s.io/{version}"),
                    "args": PROD, "provideClusterInfo": provide, "interactiveMode": mode,
                });
                let kubeconfig = home.kubeconfig(Cluster::shared(), &exec, None);
                let run = home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"]).quiet();
                assert!(lists_namespaces(&run), "{exec}: {run:?}");
            }
        }
    }
    let status = home.run(&["status", "--output=json"]).quiet().json();
    let servers: Vec<_> = status["items"].as_array().unwrap().iter().map(|item| &item["cluster"]).collect();
    let known = json!({"server": Cluster::shared().server});
    assert_eq!(servers, [&json!({"server": null}), &known], "one entry with the cluster, one without");
}

#[test]
fn one_users_entry_serves_two_clusters_by_their_extensions() {
    let (one, other) = (Cluster::shared(), Cluster::other());
    let root = Vault::shared().root();
    let engines = [engine::Engine::new(&root, one), engine::Engine::new(&root, other)];
    let token = root.child_token(&json!({
        "policies": engines.each_ref().map(|engine| &engine.policy), "ttl": "1h",
    }));
    let home = Home::new();
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    home.settings(&json!({
        "vaults": corp(Vault::shared(), None),
        "profiles": {
            "one": {"source": engines[0].source("reader")}, "other": {"source": engines[1].source("reader")},
        },
    }));
    let cluster = |name: &str, cluster: &Cluster, profile: &str| {
        let extension = json!({
            "apiVersion": "vaulttoken.dev/v1alpha1", "kind": "ClusterProfile", "profile": profile,
        });
        json!({"name": name, "cluster": {
            "server": cluster.server, "certificate-authority": cluster.ca_file(),
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": extension}],
        }})
    };
    let context = |name: &str| json!({"name": name, "context": {"cluster": name, "user": "vaulttoken"}});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [cluster("one", one, "one"), cluster("other", other, "other"), cluster("swapped", other, "one")],
        "contexts": [context("one"), context("other"), context("swapped")],
        "users": [{"name": "vaulttoken", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "kubectl-vaulttoken",
            "args": ["get-token"], "interactiveMode": "IfAvailable", "provideClusterInfo": true,
        }}}],
    });
    let kubeconfig = home.write("kubeconfig", &kubeconfig.to_string());
    for (context, engine) in [("one", &engines[0]), ("other", &engines[1])] {
        let format = "--output=jsonpath={.status.userInfo.username}";
        let run = home.kubectl(&kubeconfig, &["--context", context, "auth", "whoami", format]).quiet();
        assert_eq!(run.stdout, engine.reader());
    }
    let swapped = home.kubectl(&kubeconfig, &["--context=swapped", "get", "namespaces"]);
    assert!(swapped.stderr.contains("exit code 7"), "{swapped:?}");
    // Any context that leads to that cluster will do.
    assert!(swapped.stderr.contains("trust one --context other\n"), "{swapped:?}");
}

#[test]
fn shell_completion_neither_asks_nor_waits() {
    let home = home_of_people("carol", "of the bells");
    let exec = json!({"args": ["get-token"], "interactiveMode": "IfAvailable"});
    let kubeconfig = home.kubeconfig(Cluster::shared(), &exec, None);
    let begin = Instant::now();
    // A shell completes at a terminal, with standard error elsewhere.
    let shell = "exec \"$0\" __complete get pods '' 2>complaints";
    let mut command = home.command(&[]);
    let environment: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
    command = std::process::Command::new("/bin/sh");
    command.args(["-c", shell]).arg(crate::rig::tool("kubectl"));
    command.env_clear().envs(environment).env("KUBECONFIG", &kubeconfig).current_dir(home.path(""));
    let ended = Terminal::start(command).end();
    assert!(ended.restored && !ended.shown.contains("password"), "{ended:?}");
    assert!(!std::fs::read_to_string(home.path("complaints")).unwrap().contains("password of"));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());

    home.run_with_input(&["login"], "of the bells\n").succeeded();
    let namespaces = home.kubectl(&kubeconfig, &["__complete", "get", "namespaces", "kube-s"]).succeeded();
    assert!(namespaces.stdout.starts_with("kube-system\n"), "{namespaces:?}");
}

#[test]
fn a_kubeconfig_that_insists_on_a_person_is_told_so_by_kubectl() {
    let engine = engine::shared();
    let home = home_with(&engine, "reader", None);
    let exec = json!({"args": PROD, "interactiveMode": "Always"});
    let kubeconfig = home.kubeconfig(Cluster::shared(), &exec, None);
    let run = home.kubectl(&kubeconfig, &["get", "namespaces"]);
    assert!(run.code == 1 && run.stderr.contains("standard input"), "{run:?}");
}
