//! `tokenRequest` and `revoke` on a real API server: through a certificate, a token and a plugin of the
//! person's own kubeconfig.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine;
use crate::home::{Home, PLUGIN, Run, exec_info};
use crate::rig::{Cluster, Vault, folder, poll, unique};

const LIMIT: Duration = Duration::from_secs(60);

/// A home with a profile that asks for tokens of an account of its own.
struct Hub {
    cluster: &'static Cluster,
    home: Home,
    namespace: String,
    kubeconfig: PathBuf,
}

impl Hub {
    /// `user` stands in the kubeconfig's context `hub`, `more` in the source of profile `prod`.
    fn new(user: &Value, more: &Value) -> Self {
        let (cluster, home) = (Cluster::shared(), Home::new());
        let namespace = cluster.namespace("team");
        cluster.service_account(&namespace, "reader");
        cluster.grant((&namespace, "reader"), "view");
        // Not in the home: a kubeconfig holds its credentials in clear.
        let kubeconfig = folder("kubeconfig").join("config");
        let exec = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": PLUGIN,
            "args": ["get-token", "--profile=prod"], "interactiveMode": "Never", "provideClusterInfo": true,
        }});
        let whole = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "prod",
            "clusters": [{"name": "rig", "cluster": {
                "server": cluster.server, "certificate-authority": cluster.ca_file(),
            }}],
            "users": [{"name": "hub", "user": user}, {"name": "prod", "user": exec}],
            "contexts": [
                {"name": "hub", "context": {"cluster": "rig", "user": "hub"}},
                {"name": "prod", "context": {"cluster": "rig", "user": "prod"}},
            ],
        });
        fs::write(&kubeconfig, whole.to_string()).unwrap();
        home.set("KUBECONFIG", &kubeconfig.display().to_string());
        let hub = Self { cluster, home, namespace, kubeconfig };
        hub.settings(more);
        hub
    }

    /// As the administrator, by a client certificate.
    fn of_administrator(more: &Value) -> Self {
        Self::new(&administrator(), more)
    }

    fn settings(&self, more: &Value) {
        let mut source = json!({"context": "hub", "namespace": self.namespace, "serviceAccount": "reader"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.home.settings(&json!({"profiles": {"prod": {"source": {"tokenRequest": source}}}}));
    }

    fn token(&self) -> String {
        self.home.get_token(&["--profile=prod"], None).quiet().token()
    }

    fn secrets(&self) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        self.cluster.api("GET", &path, &Value::Null).json["items"].as_array().unwrap().clone()
    }

    fn is_alive(&self, token: &str) -> bool {
        self.cluster.request("GET", "/api", Some(token)).status == 200
    }

    fn waits_for_the_end_of(&self, token: &str) {
        poll("a token that is refused", LIMIT, || (!self.is_alive(token)).then_some(()));
    }
}

/// The user of the rig's own kubeconfig.
fn administrator() -> Value {
    let text = fs::read_to_string(&Cluster::shared().kubeconfig).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["users"][0]["user"].clone()
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn lifetime(token: &str) -> i64 {
    let claims = claims(token);
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

#[test]
fn a_token_of_an_account_comes_through_a_context_and_works_in_kubectl() {
    let hub = Hub::of_administrator(&json!({"ttl": "15m"}));
    let run = hub.home.kubectl(&hub.kubeconfig, &["get", "namespaces", "--output=name"]).quiet();
    assert!(run.stdout.contains("namespace/kube-system"), "{run:?}");
    let run = hub.home.kubectl(&hub.kubeconfig, &["auth", "whoami", "--output=json"]).quiet();
    let who = &run.json()["status"]["userInfo"]["username"];
    assert_eq!(*who, json!(format!("system:serviceaccount:{}:reader", hub.namespace)));
    let mints = hub.home.journal().iter().filter(|entry| entry["event"] == "mint").count();
    assert_eq!(mints, 1, "one for both");
    assert!(hub.secrets().is_empty());
    let list = hub.home.run(&["status", "--output=json"]).quiet().json();
    assert_eq!(list["items"][0]["source"], "tokenRequest");
    assert_eq!(list["items"][0]["token"]["state"], "valid");
}

#[test]
fn lifetimes_and_audiences_are_asked_for_and_never_the_one_that_means_a_year() {
    let hub = Hub::of_administrator(&json!({"ttl": "3607s", "audiences": ["vault"]}));
    let token = hub.token();
    assert_eq!(lifetime(&token), 3606);
    assert_eq!(claims(&token)["aud"], json!(["vault"]));
    let hub = Hub::of_administrator(&json!({"ttl": "10m"}));
    assert_eq!(lifetime(&hub.token()), 600);
    let hub = Hub::of_administrator(&json!({"ttl": "9m"}));
    let run = hub.home.get_token(&[], None);
    assert!(run.failed(2).contains("less than ten minutes"), "{run:?}");
}

#[test]
fn revoke_kills_a_token_that_hangs_on_a_secret_of_its_own_at_once() {
    let hub = Hub::of_administrator(&json!({"boundObject": "own"}));
    let token = hub.token();
    assert!(hub.is_alive(&token));
    let [secret] = hub.secrets().try_into().unwrap();
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "kubectl-vaulttoken");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["name"], "reader");
    assert!(secret.get("data").is_none());
    assert_eq!(claims(&token)["kubernetes.io"]["secret"]["uid"], secret["metadata"]["uid"]);

    let list = hub.home.run(&["revoke", "prod", "--output=json"]).quiet().json();
    assert_eq!(
        (&list["kind"], &list["items"][0]["tokens"][0]["revoked"]),
        (&json!("RevokeList"), &json!(true))
    );
    assert!(hub.secrets().is_empty());
    hub.waits_for_the_end_of(&token);
    let revocations = hub.home.journal();
    let revocations: Vec<_> = revocations.iter().filter(|entry| entry["event"] == "revocation").collect();
    assert_eq!(revocations.len(), 1, "{revocations:?}");
    let again = hub.home.run(&["revoke"]).quiet();
    assert_eq!(again.stdout, "prod: no token of it is kept here\n");
    // The next call has another one, which `logout` kills as well.
    let next = hub.token();
    assert!(hub.is_alive(&next));
    let run = hub.home.run(&["logout"]).quiet();
    assert!(run.stdout.contains("the token is revoked"), "{run:?}");
    assert!(hub.secrets().is_empty());
    hub.waits_for_the_end_of(&next);
}

#[test]
fn revoke_says_what_lives_on_and_until_when() {
    let hub = Hub::of_administrator(&json!({}));
    let token = hub.token();
    let run = hub.home.run(&["revoke"]).quiet();
    assert!(run.stdout.contains("stays valid until 20"), "{run:?}");
    assert!(run.stdout.contains("nothing revokes it before its own end"), "{run:?}");
    assert!(hub.is_alive(&token), "as it said");
    assert_ne!(hub.token(), token, "it is not handed out again");
}

#[test]
fn revoke_that_reaches_nobody_keeps_what_it_needs_to_try_again() {
    let hub = Hub::of_administrator(&json!({"boundObject": "own"}));
    let token = hub.token();
    let good = fs::read_to_string(&hub.kubeconfig).unwrap();
    fs::write(&hub.kubeconfig, good.replace(&hub.cluster.server, "https://127.0.0.1:1")).unwrap();
    let run = hub.home.run(&["revoke"]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stdout.contains("is kept, so that you can try again"), "{run:?}");
    fs::write(&hub.kubeconfig, good).unwrap();
    hub.home.run(&["revoke"]).quiet();
    hub.waits_for_the_end_of(&token);
}

#[test]
fn revoke_kills_the_lease_of_a_vault_and_leaves_the_session() {
    let (engine, home) = (engine::shared(), Home::new());
    let token = engine.vault_token(&Vault::shared().root());
    home.set_secret("VAULT_TOKEN", &token);
    let mut source = engine.source("viewer");
    source["vaultKubernetes"]["namespace"] = json!(engine.namespace);
    home.settings(&json!({
        "vaults": {"corp": {"address": Vault::shared().address, "certificateAuthority": Vault::shared().ca_file()}},
        "profiles": {"prod": {"source": source}},
    }));
    let policy = unique("revoke");
    let root = Vault::shared().root();
    root.write_policy(&policy, "path \"sys/leases/revoke\" { capabilities = [\"update\"] }");
    let may = root.child_token(&json!({"policies": [policy, engine.policy], "ttl": "1h"}));
    let first = home.get_token(&[], None).quiet().token();
    // Without the right to: said, and exit 4.
    let run = home.run(&["revoke"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.stdout.contains("did not revoke its lease"), "{run:?}");
    assert_eq!(Cluster::shared().request("GET", "/api", Some(&first)).status, 200);
    home.set_secret("VAULT_TOKEN", &may);
    let second = home.get_token(&[], None).quiet().token();
    let run = home.run(&["revoke"]).quiet();
    assert!(run.stdout.contains("the token is revoked"), "{run:?}");
    poll("a token that is refused", LIMIT, || {
        (Cluster::shared().request("GET", "/api", Some(&second)).status == 401).then_some(())
    });
    home.get_token(&[], None).quiet();
}

/// Runs the command of a report's hint as the administrator.
fn mend(hub: &Hub, run: &Run) {
    let hint =
        run.stderr.lines().find_map(|line| line.trim().strip_prefix("try: let an administrator run: "));
    let command = hint.unwrap_or_else(|| panic!("{run:?}")).split("; or ").next().unwrap().to_owned();
    let mut whole: Value = serde_json::from_str(&fs::read_to_string(&hub.kubeconfig).unwrap()).unwrap();
    whole["users"][0]["user"] = administrator();
    let file = folder("administrator").join("config");
    fs::write(&file, whole.to_string()).unwrap();
    let script = command.replace("kubectl ", "\"$KUBECTL\" ");
    hub.home.shell(Some(&file), &script).succeeded();
}

#[test]
fn a_missing_right_is_named_with_the_command_that_gives_it() {
    let cluster = Cluster::shared();
    let robots = cluster.namespace("robots");
    cluster.service_account(&robots, "robot");
    let robot = cluster.token_for((&robots, "robot"), 3600, &[]);
    let hub = Hub::new(&json!({"token": robot}), &json!({"boundObject": "own"}));
    hub.home.plant(&robot);
    for words in ["forbids context `hub` to make a Secret", "forbids context `hub` to ask for a token"] {
        let run = hub.home.get_token(&[], None);
        assert!(run.failed(4).contains(words), "{run:?}");
        assert!(hub.secrets().is_empty(), "what was made for a token that did not come is gone");
        mend(&hub, &run);
    }
    let token = hub.token();
    assert!(hub.is_alive(&token));
    hub.home.run(&["revoke"]).quiet();
    hub.waits_for_the_end_of(&token);
}

#[test]
fn an_account_that_is_missing_or_another_one_is_told_apart() {
    let hub = Hub::of_administrator(&json!({"serviceAccount": "nobody"}));
    let run = hub.home.get_token(&[], None);
    assert!(run.failed(4).contains("has no service account `nobody`"), "{run:?}");
    hub.settings(&json!({"namespace": "nowhere"}));
    let run = hub.home.get_token(&[], None);
    assert!(run.failed(4).contains("nowhere"), "{run:?}");
    hub.settings(&json!({"uid": "3f1c7d0e-7a61-4a53-9f0b-6f4f4b1f2d11"}));
    let run = hub.home.get_token(&[], None);
    assert!(run.failed(4).contains("is not the one that was expected"), "{run:?}");
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/reader", hub.namespace);
    let account = hub.cluster.api("GET", &path, &Value::Null).json;
    hub.settings(&json!({"uid": account["metadata"]["uid"]}));
    assert!(hub.is_alive(&hub.token()));
    hub.settings(&json!({"context": "hob"}));
    let run = hub.home.get_token(&[], None);
    assert!(run.failed(2).contains("hob"), "{run:?}");
}

#[test]
fn the_context_may_have_a_plugin_even_this_one_for_another_profile_but_in_no_circle() {
    let exec = |profile: &str| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": PLUGIN,
            "args": ["get-token", format!("--profile={profile}")], "interactiveMode": "Never",
        }})
    };
    let hub = Hub::new(&exec("hub"), &json!({}));
    let (namespace, cluster) = (&hub.namespace, hub.cluster);
    cluster.service_account(namespace, "issuer");
    let rules = json!([{"apiGroups": [""], "resources": ["serviceaccounts", "serviceaccounts/token"],
        "verbs": ["get", "create"]}]);
    cluster.grant((namespace, "issuer"), &cluster.cluster_role("issuer", &rules));
    let profile = |context: &str, account: &str| {
        json!({"source": {"tokenRequest": {
            "context": context, "namespace": namespace, "serviceAccount": account,
        }}})
    };
    // The first profile asks as the administrator, the second with what the first gives.
    let mut whole: Value = serde_json::from_str(&fs::read_to_string(&hub.kubeconfig).unwrap()).unwrap();
    let push = |list: &mut Value, entry: Value| list.as_array_mut().unwrap().push(entry);
    push(&mut whole["users"], json!({"name": "root", "user": administrator()}));
    push(&mut whole["contexts"], json!({"name": "root", "context": {"cluster": "rig", "user": "root"}}));
    fs::write(&hub.kubeconfig, whole.to_string()).unwrap();
    hub.home.settings(&json!({
        "profiles": {"hub": profile("root", "issuer"), "prod": profile("hub", "reader")},
    }));
    let run = hub.home.kubectl(&hub.kubeconfig, &["auth", "whoami", "--output=json"]).quiet();
    assert!(run.stdout.contains(&format!("system:serviceaccount:{namespace}:reader")), "{run:?}");
    // Each waits for the other.
    hub.home.settings(&json!({
        "profiles": {"hub": profile("prod", "issuer"), "prod": profile("hub", "reader")},
    }));
    hub.home.run(&["logout", "--all"]);
    let run = hub.home.get_token(&["--profile=prod"], Some(&exec_info("v1", None)));
    assert!(run.stderr.contains("cannot be used to ask for tokens"), "{run:?}");
    assert!(run.stderr.contains("which asks"), "{run:?}");
}
