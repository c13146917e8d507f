//! The commands besides `get-token`, as `SURFACE.md` promises them, with real tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::{self, Engine, corp, home_with, home_with_token, log_ins, subject};
use crate::home::{Home, exec_info};
use crate::rig::{Cluster, Double, Reply, Vault, poll, unique};

const LIMIT: Duration = Duration::from_secs(30);

/// A home where alice has logged in, for one role of the engine.
fn home_of_alice(engine: &Engine, role: &str) -> Home {
    let (root, mount) = (Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", "correct horse", &[&engine.policy]);
    let auth = json!({"userpass": {"mount": mount, "username": "alice"}});
    let home = home_with(engine, role, Some(&auth));
    home.plant("correct horse");
    home.run_with_input(&["login"], "correct horse\n").succeeded();
    home
}

fn cluster_info(cluster: &Cluster) -> Value {
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(&cluster.authority.pem);
    exec_info("v1", Some(json!({"server": cluster.server, "certificate-authority-data": authority})))
}

/// Whether there is a session of the server with this policy.
fn is_session_alive(policy: &str) -> bool {
    let root = Vault::shared().root();
    root.list("auth/token/accessors").iter().any(|accessor| {
        let answer = root.call("PUT", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
        answer.json["data"]["policies"].as_array().into_iter().flatten().any(|name| name == policy)
    })
}

#[test]
fn logout_kills_a_generated_account_and_the_session() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_of_alice(&engine, "viewer");
    let token = home.get_token(&[], Some(&cluster_info(cluster))).quiet().token();
    assert_eq!(cluster.request("GET", "/api/v1/namespaces", Some(&token)).status, 200);
    assert!(is_session_alive(&engine.policy));
    let run = home.run(&["logout", "--output=json"]).quiet();
    let list = run.json();
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&json!("vaulttoken.dev/v1alpha1"), &json!("LogoutList"))
    );
    assert_eq!(list["items"][0]["session"], "revoked");
    let told = json!([{"cluster": cluster.server, "revoked": true, "staysValidUntil": null, "why": null}]);
    assert_eq!(list["items"][0]["tokens"], told);
    assert!(!is_session_alive(&engine.policy));
    // The server answers first and then revokes the leases of a session.
    let leases = format!("sys/leases/lookup/{}/creds/viewer", engine.mount);
    poll("the end of the lease", LIMIT, || Vault::shared().root().list(&leases).is_empty().then_some(()));
    poll("a token that the API server refuses", LIMIT, || subject(cluster, &token).is_none().then_some(()));
    assert_eq!(home.get_token(&[], None).code, 3);
    assert_eq!(home.run(&["status", "--output=json"]).json()["items"][0]["token"]["state"], "absent");
}

#[test]
fn logout_says_until_when_a_token_of_an_existing_account_lives() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_of_alice(&engine, "reader");
    let token = home.get_token(&[], Some(&cluster_info(cluster))).quiet().token();
    let end = home.run(&["status", "--output=json"]).json()["items"][0]["token"]["expiresAt"].take();
    let list = home.run(&["logout", "--output=json"]).quiet().json();
    let told = &list["items"][0];
    assert_eq!(told["session"], "revoked");
    assert_eq!(told["tokens"][0]["revoked"], false);
    assert_eq!(told["tokens"][0]["staysValidUntil"], end);
    // The role need not be read to mint, so its kind may not be known.
    assert!(told["tokens"][0]["why"].as_str().is_some_and(|why| why.contains("lives on")), "{told}");
    assert!(!is_session_alive(&engine.policy));
    // It is the truth.
    assert_eq!(subject(cluster, &token), Some(engine.reader()));
    let again = home.run(&["logout"]).quiet();
    assert_eq!(again.stdout, "prod: there was no session of ours\n  nothing of it is kept here any more\n");
}

#[test]
fn logout_without_a_session_of_ours_revokes_the_lease_alone() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_with(&engine, "viewer", None);
    let root = Vault::shared().root();
    let policy = unique("revoke");
    root.write_policy(&policy, "path \"sys/leases/revoke\" { capabilities = [\"update\"] }");
    let vault_token = root.child_token(&json!({"policies": [engine.policy, policy], "ttl": "1h"}));
    home.plant(&vault_token);
    home.set("VAULT_TOKEN", &vault_token);
    let token = home.get_token(&[], Some(&cluster_info(cluster))).quiet().token();
    let list = home.run(&["logout", "--output=json"]).quiet().json();
    assert_eq!(list["items"][0]["session"], "notOurs", "{list}");
    assert_eq!(list["items"][0]["tokens"][0]["revoked"], true, "{list}");
    poll("a token that the API server refuses", LIMIT, || subject(cluster, &token).is_none().then_some(()));
    assert!(Vault::shared().session(&vault_token).read("auth/token/lookup-self")["ttl"].is_number());
}

#[test]
fn logout_leaves_nothing_here_even_where_the_server_cannot_be_reached() {
    let engine = engine::shared();
    let (root, mount) = (Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", "correct horse", &[&engine.policy]);
    let is_down = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_down);
    let proxy = Double::before(&Vault::shared().authority, &Vault::shared().address, move |_| {
        if seen.load(Ordering::SeqCst) { Reply::Lost } else { Reply::Passed }
    });
    let home = Home::new();
    home.plant("correct horse");
    home.settings(&json!({
        "vaults": {"corp": {
            "address": proxy.address, "certificateAuthority": Vault::shared().ca_file(),
            "auth": {"userpass": {"mount": mount, "username": "alice"}},
        }},
        "profiles": {"prod": {"source": engine.source("viewer")}},
    }));
    home.run_with_input(&["login"], "correct horse\n").succeeded();
    is_down.store(true, Ordering::SeqCst);
    let run = home.run(&["logout", "--timeout=2s", "--output=json"]);
    assert_eq!((run.code, run.stderr.as_str()), (5, ""), "{run:?}");
    let told = &run.json()["items"][0];
    assert_eq!((&told["session"], &told["tokens"][0]["revoked"]), (&json!("staysValid"), &json!(false)));
    assert!(told["failure"].as_str().is_some_and(|failure| failure.contains("127.0.0.1")), "{told}");
    let item = home.run(&["status", "--output=json"]).json()["items"][0].take();
    assert_eq!((&item["token"]["state"], &item["session"]["state"]), (&json!("absent"), &json!("absent")));
    assert!(is_session_alive(&engine.policy), "as it was told");
}

#[test]
fn logout_forgets_a_session_that_no_client_can_be_made_for() {
    let engine = engine::shared();
    let home = home_with(&engine, "reader", None);
    let pasted = engine.vault_token(&Vault::shared().root());
    home.plant(&pasted);
    home.run_with_input(&["login", "--method=token"], &format!("{pasted}\n")).succeeded();
    // From now on the token helper fails, and with it every call.
    home.write(".vault", "token_helper = \"/nowhere/helper\"\n");
    let run = home.run(&["logout", "--output=json"]);
    assert_ne!(run.code, 0, "{run:?}");
    let item = home.run(&["status", "--output=json"]).json()["items"][0].take();
    assert_eq!((&item["token"]["state"], &item["session"]["state"]), (&json!("absent"), &json!("absent")));
}

#[test]
fn a_log_in_with_a_token_that_lies_about_replaces_what_was_kept() {
    let engine = engine::shared();
    let home = home_with(&engine, "reader", None);
    let (first, second) = (engine.vault_token(&Vault::shared().root()), unique("second"));
    home.plant(&first);
    home.run_with_input(&["login"], &format!("{first}\n")).succeeded();
    let root = Vault::shared().root();
    let options = json!({"policies": [engine.policy], "ttl": "1h", "display_name": second});
    home.write_secret(".vault-token", &root.child_token(&options));
    let run = home.run(&["login"]).succeeded();
    assert!(run.stderr.contains(&second), "{run:?}");
    home.run(&["refresh"]).succeeded();
    let minted = Vault::shared().audit_log().into_iter().rev().find(|entry| {
        entry["request"]["path"] == format!("{}/creds/reader", engine.mount) && entry["type"] == "response"
    });
    let name = minted.unwrap()["auth"]["display_name"].take();
    assert!(name.as_str().is_some_and(|name| name.contains(&second)), "{name}");
}

#[test]
fn what_was_refused_for_want_of_a_log_in_works_at_once_after_it() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_of_alice(&engine, "reader");
    home.run(&["logout"]).succeeded();
    home.get_token(&[], Some(&cluster_info(cluster))).failed(3);
    home.run_with_input(&["login"], "correct horse\n").succeeded();
    // The token that `login` fetched is of no cluster yet; without it the failure would count.
    for entry in std::fs::read_dir(home.path(".cache/vaulttoken")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "token") {
            std::fs::remove_file(path).unwrap();
        }
    }
    home.get_token(&[], Some(&cluster_info(cluster))).quiet();
}

#[test]
fn login_goes_on_after_a_failure_and_asks_for_one_password_once() {
    let engine = engine::shared();
    let (root, mount) = (Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", "correct horse", &[&engine.policy]);
    let home = Home::new();
    home.plant("correct horse");
    let auth = json!({"userpass": {"mount": mount, "username": "alice"}});
    home.settings(&json!({
        "vaults": corp(Vault::shared(), Some(&auth)),
        "profiles": {"a": {"source": engine.source("reader")}, "b": {"source": engine.source("viewer")}},
    }));
    let run = home.run_with_input(&["login", "nobody", "a", "b"], "correct horse\n");
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.starts_with("error: `--profile`: there is no profile `nobody`\n"), "{run:?}");
    assert_eq!(run.stderr.matches("logged in to ").count(), 1, "{run:?}");
    assert_eq!(run.stderr.matches(": a token for ").count(), 2, "{run:?}");

    let before = log_ins(&mount);
    let run = home.run_with_input(&["login", "--all"], "battery staple\n");
    assert_eq!(run.code, 4, "{run:?}");
    for profile in ["a", "b"] {
        let told = format!("error: profile `{profile}`: ");
        assert_eq!(run.stderr.matches(&told).count(), 1, "{run:?}");
    }
    assert_eq!(log_ins(&mount), before + 1);
}

#[test]
fn login_fetches_what_the_current_context_will_ask_for() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_with_token(&engine, "viewer");
    let extension =
        json!({"apiVersion": "vaulttoken.dev/v1alpha1", "kind": "ClusterProfile", "role": "ruled"});
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token"]}), Some(&extension));
    home.set("KUBECONFIG", kubeconfig.to_str().unwrap());
    home.run(&["login"]).succeeded();
    let mints = || {
        let path = format!("{}/creds/ruled", engine.mount);
        let is_mint = |entry: &Value| entry["type"] == "response" && entry["request"]["path"] == path;
        Vault::shared().audit_log().iter().filter(|entry| is_mint(entry)).count()
    };
    let before = mints();
    assert_eq!(before, 1);
    home.kubectl(&kubeconfig, &["get", "namespaces"]).succeeded();
    assert_eq!(mints(), before, "kubectl found what login had fetched");
}

#[test]
fn settings_that_are_missed_tell_which_variables_did_not_count() {
    let home = Home::new();
    let flags = ["get-token", "--source=vault-kubernetes", "--role=reader"];
    let env = json!([{"name": "VAULT_ADDR", "value": "https://vault.example:8200"}]);
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": flags, "env": env}), None);
    let run = home.kubectl(&kubeconfig, &["get", "namespaces"]);
    assert!(
        run.stderr.contains("; only the kubeconfig's `exec.env` sets `VAULT_ADDR`, which does not count\n"),
        "{run:?}"
    );
}

#[test]
fn nobody_logs_in_only_to_log_out() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&engine.policy]);
    let auth = json!({"approle": {"mount": mount, "roleId": role_id, "secretIdFile": "secret-id"}});
    let home = home_with(&engine, "viewer", Some(&auth));
    home.write_secret(".config/vaulttoken/secret-id", &secret_id);
    home.get_token(&[], None).quiet();
    std::fs::remove_dir_all(home.path(".local/state/vaulttoken/sessions")).unwrap();
    let before = log_ins(&mount);
    let list = home.run(&["logout", "--output=json"]).quiet().json();
    assert_eq!(list["items"][0]["session"], "none", "{list}");
    assert_eq!(list["items"][0]["tokens"][0]["revoked"], false, "{list}");
    assert_eq!(log_ins(&mount), before);
}

/// The session of a provider of this home's settings, as a log-in there leaves it.
fn provider_session_of(home: &Home, expires_in: i64) {
    use vaulttoken::cache::ProviderSessions;
    use vaulttoken::config::{Settings, SettingsFiles, Store};
    use vaulttoken::keystore::Keystore;
    use vaulttoken::oidc::{ProviderSession, ProviderSessionStore as _};

    let env = vaulttoken::env::Env::of(home.variables());
    let settings = Settings::load(&SettingsFiles::of(&env, None)).unwrap();
    let place = Arc::new(Keystore::open(Store::Auto, &env, Duration::ZERO).unwrap());
    let sessions = ProviderSessions::new(&place, Duration::ZERO, Box::new(|| ()));
    let now = chrono::Utc::now();
    let session = ProviderSession {
        access_token: None,
        access_expires_at: None,
        id_token: Some("an-id-token-of-the-provider".into()),
        id_expires_at: Some(now + chrono::TimeDelta::seconds(expires_in)),
        refresh_token: None,
        obtained_at: now,
        subject: None,
        name: None,
        refreshes_id_token: true,
    };
    let provider = settings.providers.values().next().unwrap();
    sessions.save(&vaulttoken::keys::provider_key(provider), &session).unwrap();
}

#[test]
fn status_shows_both_sessions_where_a_provider_logs_in_to_the_vault() {
    let engine = engine::shared();
    let home = Home::new();
    home.plant("an-id-token-of-the-provider");
    home.settings(&json!({
        "vaults": {"corp": {
            "address": "https://127.0.0.1:1", "auth": {"jwt": {"mount": "jwt", "role": "dev", "provider": "sso"}},
        }},
        "providers": {"sso": {"issuer": "https://127.0.0.1:2", "clientId": "kubernetes"}},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    let states = |vault: &str, provider: &str| {
        let item = home.run(&["status", "-o", "json"]).quiet().json()["items"][0].take();
        let of = |session: &Value, name: &str| (session[name].clone(), session["state"].clone());
        assert_eq!(of(&item["session"], "vault"), (json!("corp"), json!(vault)), "{item}");
        assert_eq!(of(&item["providerSession"], "provider"), (json!("sso"), json!(provider)), "{item}");
        let table = home.run(&["status"]).quiet().stdout;
        assert!(table.contains(&format!("{vault} (sso: {provider})")), "{table}");
    };
    states("absent", "absent");
    let run = home.run(&["doctor", "--offline"]);
    assert!(run.code == 3 && run.stdout.contains("a person must log in at `sso` by `oidc`"), "{run:?}");
    provider_session_of(&home, 3600);
    states("absent", "valid");
    let run = home.run(&["doctor", "--offline"]).quiet();
    assert!(run.stdout.contains("logged in at `sso` by `oidc` until"), "{run:?}");
    provider_session_of(&home, -1);
    states("absent", "expired");
}

#[test]
fn status_has_the_fields_that_programs_read_and_never_asks_anybody() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_of_alice(&engine, "reader");
    home.get_token(&[], Some(&cluster_info(cluster))).quiet();
    let requests = Vault::shared().audit_log().len();
    let run = home.run(&["status", "--output=json"]).quiet();
    let list = run.json();
    let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&json!("vaulttoken.dev/v1alpha1"), &json!("StatusList"))
    );
    let item = &list["items"][0];
    let sorted = ["cluster", "configFile", "profile", "session", "source", "store", "subject", "token"];
    assert_eq!(keys(item), sorted);
    assert_eq!(item["cluster"], json!({"server": cluster.server}));
    assert_eq!(item["configFile"], json!(home.path(".config/vaulttoken/config.yaml")));
    assert_eq!((&item["profile"], &item["source"]), (&json!("prod"), &json!("vaultKubernetes")));
    assert_eq!(item["subject"], json!(engine.reader()));
    assert!(["keyring", "kernelKeyring", "plain"].contains(&item["store"].as_str().unwrap()), "{item}");
    assert_eq!(keys(&item["token"]), ["expiresAt", "limitedBy", "refreshAfter", "state", "usableUntil"]);
    assert_eq!(item["token"]["state"], "valid");
    // Its lease was given the same length, and one of them begins a moment earlier.
    let limit = item["token"]["limitedBy"].as_str().unwrap();
    assert!(["expiry", "lease"].contains(&limit), "{item}");
    assert_eq!(keys(&item["session"]), ["expiresAt", "method", "renewable", "state", "vault"]);
    let session = &item["session"];
    assert_eq!((&session["vault"], &session["method"]), (&json!("corp"), &json!("userpass")));
    assert_eq!((&session["state"], &session["renewable"]), (&json!("valid"), &json!(true)));

    let yaml = home.run(&["status", "prod", "--output=yaml"]).quiet().stdout;
    for line in ["apiVersion: vaulttoken.dev/v1alpha1", "kind: StatusList", &format!("limitedBy: {limit}")] {
        assert!(yaml.contains(line), "{yaml}");
    }
    let table = home.run(&["status"]).quiet().stdout;
    let mut lines = table.lines();
    let head: Vec<&str> =
        lines.next().unwrap().split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let expected =
        ["PROFILE", "SOURCE", "CLUSTER", "TOKEN", "USABLE UNTIL", "LIMITED BY", "SESSION", "STORE"];
    assert_eq!(head, expected);
    assert!(lines.next().unwrap().starts_with("prod      vaultKubernetes   https://"), "{table}");
    assert!(home.run(&["status", "prdo"]).failed(2).contains("`prod`"));
    let ours = Vault::shared().audit_log();
    let asked = ours[requests..].iter().filter(|entry| {
        entry["auth"]["policies"].as_array().into_iter().flatten().any(|name| *name == engine.policy)
    });
    assert_eq!(asked.count(), 0, "status never touches the network");
}

#[test]
fn refresh_gets_another_token_and_kubectls_next_call_uses_it() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_with_token(&engine, "reader");
    let first = home.get_token(&[], Some(&cluster_info(cluster))).quiet().token();
    assert_eq!(home.get_token(&[], Some(&cluster_info(cluster))).quiet().token(), first);
    let run = home.run(&["refresh", "prod"]).succeeded();
    assert!(
        run.stdout.is_empty() && run.stderr.starts_with("prod: a token for `system:serviceaccount:"),
        "{run:?}"
    );
    let second = home.get_token(&[], Some(&cluster_info(cluster))).quiet().token();
    assert_ne!(first, second);
    let third = home.get_token(&["--force-refresh"], Some(&cluster_info(cluster))).quiet().token();
    assert_ne!(second, third);
    for token in [&first, &second, &third] {
        assert_eq!(subject(cluster, token), Some(engine.reader()), "an existing account's live on");
    }
}

#[test]
fn the_bare_token_is_printed_for_programs_in_each_form() {
    let engine = engine::shared();
    let home = home_with_token(&engine, "reader");
    let token = home.get_token(&[], None).quiet().token();
    for (form, expected) in [
        ("raw", format!("{token}\n")),
        ("header", format!("Authorization: Bearer {token}\n")),
        ("env", format!("KUBE_TOKEN={token}\n")),
    ] {
        let run = home.run_for_secret(&["token", "--output", form]).quiet();
        assert_eq!(run.stdout, expected, "{form}");
    }
    let document = home.run_for_secret(&["token", "prod", "--output=json"]).quiet().json();
    assert_eq!(
        (&document["apiVersion"], &document["kind"]),
        (&json!("vaulttoken.dev/v1alpha1"), &json!("Token"))
    );
    assert_eq!(document["token"], json!(token));
    let credential = home.get_token(&[], None).json();
    assert_eq!(document["expirationTimestamp"], credential["status"]["expirationTimestamp"]);
}

#[test]
fn a_terminal_is_not_shown_a_token_unless_it_is_asked_for_twice() {
    let engine = engine::shared();
    let home = home_with_token(&engine, "reader");
    let token = home.get_token(&[], None).quiet().token();
    for form in ["raw", "json", "header", "env"] {
        let ended = home.at_terminal(&["token", "--output", form]).end();
        home.showed(&ended.shown);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.shown.contains("token --show"), "{ended:?}");
    }
    let ended = home.at_terminal(&["token", "--show"]).end();
    assert_eq!((ended.code, ended.shown.trim()), (Some(0), token.as_str()));
}

#[test]
fn version_says_what_was_built() {
    let home = Home::new();
    let version = home.run(&["version", "--output=json"]).quiet().json();
    assert_eq!(
        (&version["apiVersion"], &version["kind"]),
        (&json!("vaulttoken.dev/v1alpha1"), &json!("Version"))
    );
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let spoken = json!(["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]);
    assert_eq!(version["execApiVersions"], spoken);
    let text = home.run(&["version"]).quiet().stdout;
    assert!(text.starts_with(&format!("kubectl-vaulttoken {} (", env!("CARGO_PKG_VERSION"))), "{text}");
}

#[test]
fn a_client_may_run_get_token_and_nothing_that_acts_for_a_person() {
    let engine = engine::shared();
    let home = home_with_token(&engine, "reader");
    for command in ["login", "logout", "revoke", "status", "doctor", "refresh", "token", "trust"] {
        let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": [command]}), None);
        let run = home.kubectl(&kubeconfig, &["get", "namespaces"]);
        assert!(run.stderr.contains("exit code 7"), "{command}: {run:?}");
        assert!(run.stderr.contains("a kubeconfig may run `get-token` and nothing else"), "{run:?}");
    }
}

#[test]
fn login_without_a_profile_logs_in_to_the_vault_that_is_named() {
    let engine = engine::shared();
    let (root, mount) = (Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", "correct horse", &[&engine.policy]);
    let home = Home::new();
    home.plant("correct horse");
    let auth = json!({"userpass": {"mount": mount, "username": "alice"}});
    home.settings(&json!({
        "vaults": corp(Vault::shared(), Some(&auth)),
        "profiles": {"a": {"source": engine.source("reader")}, "b": {"source": engine.source("viewer")}},
    }));
    // It is about tokens, and may stay set.
    home.set("VAULTTOKEN_NAMESPACE", "team");
    let run = home.run_with_input(&["login", "--vault=corp"], "correct horse\n").succeeded();
    home.unset("VAULTTOKEN_NAMESPACE");
    assert_eq!(run.stderr.matches("logged in to ").count(), 1);
    // Both profiles come by that one session.
    for profile in ["a", "b"] {
        home.get_token(&["--profile", profile], None).quiet();
    }
    let all = home.run(&["logout", "--all", "--output=json"]).quiet().json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let run = home.run_with_input(&["login", "--all"], "correct horse\n").succeeded();
    assert_eq!(run.stderr.matches("logged in to ").count(), 1, "one log-in for both: {run:?}");
    assert_eq!(run.stderr.matches(": a token for ").count(), 2, "{run:?}");
}
