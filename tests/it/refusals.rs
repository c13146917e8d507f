//! What real servers refuse, and whether the hint mends it: the same words as in `tests/cases`, but
//! said by a real Vault, its real engines and the real API server behind them.

use serde_json::{Value, json};

use crate::home::{Home, Run};
use crate::rig::{Cluster, Vault, unique};

/// A profile `prod` with this source at this Vault, for who holds `token`.
fn home(vault: &Vault, token: &str, source: &Value) -> Home {
    let home = Home::new();
    home.plant(token);
    home.set("VAULT_TOKEN", token).set("VAULT_MAX_RETRIES", "0");
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": vault.ca_file()}},
        "profiles": {"prod": {"source": source}},
    }));
    home
}

/// Asserts the code, the first line behind the profile's name, and what the hint says.
#[track_caller]
fn refused(run: &Run, code: i32, what: &str, hint: &str) {
    let report = run.failed(code);
    let first = report.lines().next().unwrap();
    assert_eq!(first, format!("error: profile `prod`: {what}"), "{report}");
    let last = report.lines().last().unwrap();
    assert!(last.starts_with("  try: ") && last.contains(hint), "{report}");
    assert!(!report.chars().any(|character| character.is_control() && character != '\n'), "{report:?}");
}

/// A mounted engine for a cluster, with an account `reader` in a namespace of its own.
struct Engine {
    mount: String,
    namespace: String,
}

impl Engine {
    fn of(cluster: &Cluster) -> Self {
        let (mount, namespace) = (unique("kubernetes"), cluster.namespace("team"));
        cluster.service_account(&namespace, "reader");
        Vault::shared().root().kubernetes_engine(&mount, cluster);
        Vault::shared().root().kubernetes_engine_role(&mount, "reader", &namespace, "reader");
        Self { mount, namespace }
    }

    /// A role that names an account of these namespaces.
    fn role(&self, name: &str, account: &str, namespaces: &[&str]) {
        let role = json!({"service_account_name": account, "allowed_kubernetes_namespaces": namespaces});
        Vault::shared().root().write(&format!("{}/roles/{name}", self.mount), &role);
    }

    fn home(&self, role: &str) -> Home {
        let policy = unique("mint");
        let rules = format!("path \"{}/creds/*\" {{ capabilities = [\"update\"] }}", self.mount);
        Vault::shared().root().write_policy(&policy, &rules);
        let token = Vault::shared().root().child_token(&json!({"policies": [policy], "ttl": "1h"}));
        home(Vault::shared(), &token, &self.source(role))
    }

    fn source(&self, role: &str) -> Value {
        json!({"vaultKubernetes": {"vault": "corp", "mount": self.mount, "role": role}})
    }
}

const GET: [&str; 2] = ["get-token", "--profile=prod"];

fn get(home: &Home, more: &[&str]) -> Run {
    home.run(&[&GET, more].concat())
}

#[test]
fn a_real_vault_is_sealed_hangs_and_is_gone() {
    let vault = Vault::start_sealed();
    let source = json!({"vaultKubernetes": {"vault": "corp", "mount": "kubernetes", "role": "reader"}});
    let home = home(&vault, &vault.root_token, &source);
    let host = vault.address.trim_start_matches("https://");
    refused(&get(&home, &[]), 5, &format!("`{}` is sealed", vault.address), "unseal it");
    vault.pause();
    let hung = get(&home, &["--timeout=1s"]);
    refused(&hung, 5, &format!("no answer from `{host}` in time"), "--timeout");
    vault.resume();
    vault.stop();
    refused(&get(&home, &[]), 5, &format!("cannot reach `{host}`"), "the server runs");
}

#[test]
fn the_policy_of_the_hint_is_the_one_that_is_missing() {
    let engine = Engine::of(Cluster::shared());
    let (vault, policy) = (Vault::shared(), unique("wanted"));
    let token = vault.root().child_token(&json!({"policies": [policy], "ttl": "1h"}));
    let home = home(vault, &token, &engine.source("reader"));
    let run = get(&home, &[]);
    let what = format!("`{}` denied to write to `{}/creds/reader`", vault.address, engine.mount);
    refused(&run, 4, &what, "ask for a policy with `path");
    let hint = run.stderr.lines().last().unwrap();
    let rules = hint.split('`').nth(1).unwrap();
    vault.root().write_policy(&policy, rules);
    get(&home, &[]).quiet();
}

#[test]
fn engine_and_api_server_refuse_in_their_own_words() {
    let cluster = Cluster::shared();
    let engine = Engine::of(cluster);
    let (vault, mount) = (&Vault::shared().address, &engine.mount);
    let behind = format!("the API server behind `{mount}` of `{vault}`");

    let home = engine.home("absent");
    refused(&get(&home, &[]), 4, &format!("`{vault}` has no role `absent` in `{mount}`"), "set `role`");

    let home = engine.home("reader");
    let run = get(&home, &["--namespace=elsewhere"]);
    let what = format!("role `reader` in `{mount}` of `{vault}` does not allow namespace `elsewhere`");
    refused(&run, 4, &what, "set `namespace`");
    let run = get(&home, &["--ttl=5m"]);
    refused(&run, 4, &format!("{behind} refused so short a token for role `reader`"), "ttl: 10m");
    get(&home, &["--ttl=10m"]).quiet();

    engine.role("anywhere", "reader", &["*"]);
    let home = engine.home("anywhere");
    let what = format!("role `anywhere` in `{mount}` of `{vault}` needs a namespace to be named");
    refused(&get(&home, &[]), 4, &what, "--namespace");
    get(&home, &["--namespace", &engine.namespace]).quiet();
    let absent = unique("absent");
    let run = get(&home, &["--namespace", &absent]);
    refused(&run, 4, &format!("{behind} does not have namespace `{absent}`"), "kubectl create namespace");

    engine.role("nobody", "nobody", &[&engine.namespace]);
    let run = get(&engine.home("nobody"), &[]);
    let what = format!("{behind} has no service account as role `nobody` names it");
    refused(&run, 4, &what, "kubectl create serviceaccount");
}

#[test]
fn an_engine_whose_cluster_is_down_is_told_apart_from_a_refusal() {
    let cluster = Cluster::start("refusing");
    let engine = Engine::of(&cluster);
    let home = engine.home("reader");
    get(&home, &[]).quiet();
    cluster.stop();
    let what = format!("`{}` cannot reach the API server behind `{}`", Vault::shared().address, engine.mount);
    refused(&get(&home, &["--ttl=20m"]), 5, &what, "try again later");
    // The token that is kept is not touched by an outage of where it came from.
    get(&home, &[]).quiet();
}

#[test]
fn a_mount_that_is_none_and_a_session_that_is_dead() {
    let vault = Vault::shared();
    let policy = unique("all");
    vault.root().write_policy(&policy, "path \"*\" { capabilities = [\"read\", \"update\"] }");
    let token = vault.root().child_token(&json!({"policies": [policy], "ttl": "1h"}));
    let mount = unique("nothing");
    let source = json!({"vaultKubernetes": {"vault": "corp", "mount": mount, "role": "reader"}});
    let home = home(vault, &token, &source);
    let what = format!("`{}` has nothing mounted at `{mount}`", vault.address);
    refused(&get(&home, &[]), 4, &what, "secrets list");
    vault.root().write("auth/token/revoke", &json!({"token": token}));
    let run = get(&home, &["--ttl=20m"]);
    refused(&run, 3, &format!("log-in to `{}` required", vault.address), "VAULT_TOKEN");
}

#[test]
fn a_vault_namespace_that_is_none_is_told_where_there_are_namespaces() {
    let vault = Vault::shared();
    let token = vault.root().child_token(&json!({"ttl": "1h"}));
    let home = Home::new();
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": vault.ca_file(), "namespace": "nobody"}},
        "profiles": {"prod": {"source": {"vaultIdentity": {"vault": "corp", "role": "r"}}}},
    }));
    if vault.supports_namespaces() {
        let what = format!("`{}` knows no namespace `nobody`", vault.address);
        refused(&get(&home, &[]), 4, &what, "check `namespace`");
    } else {
        // Without them the header is not looked at, and the role is what is missing.
        get(&home, &[]).failed(4);
    }
}

#[test]
fn log_ins_that_a_real_vault_refuses() {
    let vault = Vault::shared();
    let mount = unique("approle");
    vault.root().enable_auth("approle", &mount);
    let (role_id, _) = vault.root().approle(&mount, "job", &[]);
    let home = Home::new();
    home.write_secret("secret-id", "5e2e7c1a-s3cret-that-is-none");
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": vault.ca_file(),
            "auth": {"approle": {"mount": mount, "roleId": role_id, "secretIdFile": home.path("secret-id")}}}},
        "profiles": {"prod": {"source": {"vaultIdentity": {"vault": "corp", "role": "r"}}}},
    }));
    let what = format!("`{}` refused the log-in with `approle` at `auth/{mount}`", vault.address);
    refused(&get(&home, &[]), 4, &what, &format!("auth/{mount}"));
}

#[test]
fn documents_that_are_not_there_or_not_what_they_should_be() {
    let (vault, mount) = (Vault::shared(), unique("documents"));
    let root = vault.root();
    root.key_value(&mount, 2);
    let policy = unique("read");
    let rules = format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}");
    root.write_policy(&policy, &rules);
    let token = root.child_token(&json!({"policies": [policy], "ttl": "1h"}));
    let team = |team: &str| {
        let source = json!({"vaultKv": {"vault": "corp", "mount": mount, "path": "sa/{cluster}/{team}",
            "cluster": "prod-eu", "team": team}});
        home(vault, &token, &source)
    };
    let write = |team: &str, data: Value| {
        root.write(&format!("{mount}/data/sa/prod-eu/{team}"), &json!({"data": data}));
    };
    let secret = |team: &str| format!("`{mount}/sa/prod-eu/{team}` in `{}`", vault.address);

    let what = format!("`{}` has no secret at `{mount}/sa/prod-eu/nobody`", vault.address);
    refused(&get(&team("nobody"), &[]), 4, &what, "correct `path`");

    write("deleted", json!({"token": "s3cret-of-a-document"}));
    root.delete(&format!("{mount}/data/sa/prod-eu/deleted"));
    let run = get(&team("deleted"), &[]);
    refused(&run, 4, &format!("the secret {} was deleted", secret("deleted")), "kv undelete -versions=1");
    // What the command of the hint does.
    root.write(&format!("{mount}/undelete/sa/prod-eu/deleted"), &json!({"versions": [1]}));
    get(&team("deleted"), &[]).quiet();

    write("destroyed", json!({"token": "s3cret-of-a-document"}));
    root.write(&format!("{mount}/destroy/sa/prod-eu/destroyed"), &json!({"versions": [1]}));
    let run = get(&team("destroyed"), &[]);
    refused(&run, 4, &format!("the secret {} was destroyed", secret("destroyed")), "rotates");

    write("fieldless", json!({"jwt": "s3cret-of-a-document"}));
    let run = get(&team("fieldless"), &[]);
    refused(&run, 6, &format!("the secret {} has no field `token`", secret("fieldless")), "set `field`");
    assert!(run.stderr.contains("it has `jwt`") && !run.stderr.contains("s3cret"), "{run:?}");

    for (field, value) in [("cluster", "test-us"), ("team", "others")] {
        write("foreign", json!({"token": "s3cret-of-a-document", field: value}));
        let run = get(&team("foreign"), &[]);
        let asked = if field == "cluster" { "prod-eu" } else { "foreign" };
        let what = format!(
            "the token document {} is for {field} `{value}`, asked for was `{asked}`",
            secret("foreign")
        );
        refused(&run, 6, &what, "see who writes the document");
    }

    write("late", json!({"token": "s3cret-of-a-document", "expirationTimestamp": "2020-01-01T00:00:00Z"}));
    let run = get(&team("late"), &[]);
    let what = format!(
        "the token in `{mount}/sa/prod-eu/late` of `{}` is already dead: its rotation is late",
        vault.address
    );
    refused(&run, 6, &what, "rotates");
}
