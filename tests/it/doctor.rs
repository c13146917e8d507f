//! `doctor` tells what is wrong, and only that: healthy homes have no failure, each fault has its line
//! and its exit code, nothing is fetched, and nothing but the token's own cluster sees it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::engine::{self, home_with, home_with_token};
use crate::home::{Home, PLUGIN, Run, exec_info};
use crate::rig::{Cluster, Vault, tool};

fn cluster_info(cluster: &Cluster) -> Value {
    let authority = STANDARD.encode(&cluster.authority.pem);
    exec_info("v1", Some(json!({"server": cluster.server, "certificate-authority-data": authority})))
}

/// What was found, by check and state.
fn findings(run: &Run) -> BTreeMap<(String, String), Vec<Value>> {
    let report = run.json();
    assert_eq!(
        (&report["apiVersion"], &report["kind"]),
        (&json!("vaulttoken.dev/v1alpha1"), &json!("DoctorReport"))
    );
    let mut found: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for item in report["items"].as_array().unwrap() {
        let word = |name: &str| item[name].as_str().unwrap().to_owned();
        found.entry((word("check"), word("state"))).or_default().push(item.clone());
    }
    found
}

#[track_caller]
fn message(run: &Run, check: &str, state: &str) -> String {
    let found = findings(run);
    let items = found.get(&(check.to_owned(), state.to_owned()));
    items.unwrap_or_else(|| panic!("no {check} {state}: {run:?}"))[0].to_string()
}

#[test]
fn a_healthy_home_has_nothing_that_fails_and_a_revoked_token_is_found() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_with_token(&engine, "viewer");
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token", "--profile=prod"]}), None);
    home.set("KUBECONFIG", kubeconfig.to_str().unwrap());
    let token = home.get_token(&[], Some(&cluster_info(cluster))).quiet().token();
    let whose = engine::subject(cluster, &token).unwrap();
    let run = home.run(&["doctor", "-o", "json"]).quiet();
    for check in ["settings", "path", "kubeconfig", "vault", "clock", "session", "token"] {
        message(&run, check, "ok");
    }
    assert!(run.stdout.contains(&format!("accepts the token, as `{whose}`")), "{run:?}");
    let minted = home.journal().len();

    // Its lease goes, and with it the account.
    Vault::shared().root().call(
        "PUT",
        &format!("sys/leases/revoke-prefix/{}/creds/viewer", engine.mount),
        &json!({}),
    );
    let run = crate::rig::poll("a token that is refused", std::time::Duration::from_secs(30), || {
        let run = home.run(&["doctor", "prod", "-o", "json"]);
        (run.code == 4).then_some(run)
    });
    let told = message(&run, "token", "fail");
    assert!(told.contains("refuses the token (401)") && told.contains("lease was revoked"), "{told}");
    assert!(told.contains("kubectl-vaulttoken refresh prod"), "{told}");
    assert_eq!(home.journal().len(), minted, "it fetches and hands out nothing");
    // Without the network it cannot know.
    let run = home.run(&["doctor", "--offline"]).quiet();
    assert!(run.stdout.contains("one for `") && !run.stdout.contains("vault "), "{run:?}");
}

#[test]
fn without_settings_everything_else_is_looked_at() {
    let home = Home::new();
    let run = home.run(&["doctor", "-o", "json"]).quiet();
    assert!(message(&run, "settings", "warn").contains("there is no settings file"), "{run:?}");
    message(&run, "kubeconfig", "warn");
    message(&run, "path", "ok");
    home.write(".config/vaulttoken/config.yaml", "kind: Config\nprofile: {}\n");
    let run = home.run(&["doctor"]);
    assert_eq!((run.code, run.stderr.as_str()), (2, ""), "{run:?}");
    assert!(run.stdout.contains("fail  settings"), "{run:?}");
}

#[test]
fn a_vault_that_is_down_and_a_missing_log_in_are_both_told() {
    let engine = engine::shared();
    let home = Home::new();
    home.settings(&json!({
        "vaults": {"corp": {
            "address": "https://127.0.0.1:1", "auth": {"userpass": {"mount": "userpass", "username": "alice"}},
        }},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    let run = home.run(&["doctor", "-o", "json", "--timeout=2s"]);
    assert_eq!((run.code, run.stderr.as_str()), (5, ""), "{run:?}");
    assert!(message(&run, "vault", "fail").contains("127.0.0.1:1"), "{run:?}");
    let told = message(&run, "session", "fail");
    assert!(told.contains("kubectl-vaulttoken login prod"), "{told}");
    let run = home.run(&["doctor", "--offline"]);
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(home.run(&["doctor", "stage"]).code, 2);
}

#[test]
fn programs_in_our_place_are_found_on_path() {
    let engine = engine::shared();
    let home = home_with(&engine, "reader", None);
    home.set("VAULT_TOKEN", "of-somebody");
    let put = |name: &str| {
        let file = home.write(name, "#!/bin/sh\n");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    put("bin/kubectl-vaulttoken");
    let path = |first: &str, then: &str| home.set("PATH", &format!("{first}:{then}:/usr/bin:/bin"));
    let (bin, ours) = (home.path("bin"), std::path::Path::new(PLUGIN).parent().unwrap());
    path(bin.to_str().unwrap(), ours.to_str().unwrap());
    let run = home.run(&["doctor", "--offline", "-o", "json"]).quiet();
    assert!(message(&run, "path", "warn").contains("several `kubectl-vaulttoken`"), "{run:?}");
    put("bin/kubectl-vaulttoken-login");
    path(ours.to_str().unwrap(), bin.to_str().unwrap());
    let run = home.run(&["doctor", "--offline", "-o", "json"]);
    assert_eq!(run.code, 7, "{run:?}");
    assert!(message(&run, "path", "fail").contains("as `kubectl vaulttoken login`"), "{run:?}");
}

#[test]
fn locks_that_do_not_work_are_told_with_the_folder_and_the_way_out() {
    let engine = engine::shared();
    let home = home_with_token(&engine, "reader");
    home.run_for_secret(&["token"]).succeeded();
    let sessions = home.path(".local/state/vaulttoken/sessions");
    fs::create_dir(&sessions).unwrap();
    fs::set_permissions(&sessions, fs::Permissions::from_mode(0o700)).unwrap();
    let run = home.run(&["doctor", "--offline", "-o", "json"]).quiet();
    assert!(message(&run, "locks", "ok").contains(".cache/vaulttoken"), "{run:?}");
    for error in ["ENOLCK", "EOPNOTSUPP"] {
        let without_locks = |arguments: &[&str]| {
            let mut command = Command::new(tool("strace"));
            command.args(["--string-limit=0", "--output=/dev/null", "--trace=flock"]);
            command.arg(format!("--inject=flock:error={error}")).arg(PLUGIN).args(arguments);
            home.prepare(&mut command);
            home.finished(&command.output().unwrap())
        };
        let run = without_locks(&["doctor", "--offline", "-o", "json"]).quiet();
        let found = findings(&run);
        let told = &found[&("locks".to_owned(), "warn".to_owned())];
        let variables = ["VAULTTOKEN_CACHE_DIR", "VAULTTOKEN_STATE_DIR"];
        assert_eq!(told.len(), variables.len(), "{error}: {told:?}");
        for (told, variable) in told.iter().zip(variables) {
            let (message, why) = (told["message"].as_str().unwrap(), told["why"].as_str().unwrap());
            assert!(message.contains("no file locks in `"), "{error}: {told}");
            assert!(why.contains("cannot be locked"), "{error}: {told}");
            assert!(told["hint"].as_str().unwrap().contains(variable), "{error}: {told}");
        }
        assert!(!found.contains_key(&("locks".to_owned(), "ok".to_owned())), "{error}");
        // And without them it goes on.
        without_locks(&["refresh"]).succeeded();
    }
}
