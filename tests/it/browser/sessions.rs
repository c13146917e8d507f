//! What becomes of a log-in at a provider that rotates its refresh tokens and counts what it is asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::providers::Provider;
use super::{ARRIVED, LIMIT, address_for_browser, hand_over, handed, logged_in, whoami_at_terminal};
use crate::home::{Home, PLUGIN, exec_info};
use crate::rig::{Browser, Cluster, OpenIdProvider, claims, poll};
use crate::terminal::Terminal;

/// Whose ID tokens end before a test does.
const CLIENT: &str = "brief";

/// How the provider answered each refresh so far.
fn refreshes(provider: &OpenIdProvider) -> Vec<Value> {
    let asked = provider.token_requests(CLIENT).into_iter();
    asked
        .filter(|request| request["grant"] == "refresh_token")
        .map(|request| request["status"].clone())
        .collect()
}

/// The sessions of a home, as they lie there.
fn kept_sessions(home: &Home) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(home.path(".local/state/vaulttoken/sessions")).unwrap();
    files.map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn lay_back(sessions: Vec<(PathBuf, Vec<u8>)>) {
    for (path, content) in sessions {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Waits until this ID token is over.
fn wait_for_the_end(token: &str) {
    let ends_at = claims(token)["exp"].as_i64().unwrap();
    poll("the end of a token", LIMIT, || (chrono::Utc::now().timestamp() > ends_at).then_some(()));
}

#[test]
fn callers_at_once_spend_one_refresh_token_and_a_logout_kills_the_last() {
    let provider = OpenIdProvider::start("openid-sessions");
    let home = Home::new();
    home.plant(OpenIdProvider::PASSWORD);
    home.settings(&json!({
        "providers": {"sso": {
            "issuer": provider.issuer, "clientId": CLIENT, "certificateAuthority": provider.ca_file(),
            "scopes": ["profile", "offline_access"],
        }},
        "profiles": {"prod": {"source": {"oidc": {"provider": "sso"}}}},
    }));
    hand_over(&home);
    let terminal = home.at_terminal(&["login"]);
    let browser = Browser::start();
    browser.open(&address_for_browser(&home, &terminal));
    OpenIdProvider::sign_in(&browser, "alice");
    browser.wait_for_text(ARRIVED);
    logged_in(&home, terminal);
    let token = || home.get_token(&[], Some(&exec_info("v1", None))).succeeded().token();
    let first = token();
    assert_eq!((&claims(&first)["sub"], refreshes(&provider)), (&json!("alice"), vec![]));
    wait_for_the_end(&first);
    let script = format!(
        "for n in 1 2 3 4 5 6 7 8; do {PLUGIN} get-token >/dev/null & all=\"$all $!\"; done\n\
         for one in $all; do wait $one || exit 9; done"
    );
    home.run_program("/bin/sh", &["-c", &script]).succeeded();
    assert_eq!(refreshes(&provider), [200], "one request for all of them");

    // The refresh token that came with it is another, and good.
    home.run(&["refresh", "prod"]).succeeded();
    assert_eq!(refreshes(&provider), [200, 200]);

    // Whoever copied the session before the log-out has nothing.
    let kept = kept_sessions(&home);
    let run = home.run(&["logout", "prod"]).succeeded();
    assert!(run.stdout.contains("prod: the session at provider `sso` is revoked"), "{run:?}");
    lay_back(kept);
    let run = home.run(&["refresh", "prod"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert_eq!(refreshes(&provider), [200, 200, 400]);
}

#[test]
fn fifty_kubectls_with_a_spent_session_open_one_browser() {
    let (home, browser) = (Provider::Small.home(CLIENT), Browser::start());
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
    let log_in = |terminal: &Terminal, count| {
        let address = poll("a browser that is asked", LIMIT, || {
            assert!(terminal.is_running(), "{}", terminal.shown());
            Some(handed(&home)).filter(|addresses| addresses.len() == count)?.pop()
        });
        browser.open(&address);
        OpenIdProvider::sign_in(&browser, "alice");
        browser.wait_for_text(ARRIVED);
    };
    let terminal = home.at_terminal(&["login"]);
    log_in(&terminal, 1);
    logged_in(&home, terminal);
    // Spent: its ID token is over, and its refresh token was used already, by whoever has the next one.
    let (kept, first) = (kept_sessions(&home), home.get_token(&[], None).quiet().token());
    home.run(&["refresh"]).succeeded();
    lay_back(kept);
    fs::remove_dir_all(home.path(".cache/vaulttoken")).unwrap();
    wait_for_the_end(&first);
    let terminals: Vec<Terminal> = (0..50).map(|_| whoami_at_terminal(&home, &kubeconfig)).collect();
    log_in(&terminals[0], 2);
    for terminal in terminals {
        let ended = terminal.end();
        home.showed(&ended.shown);
        assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
        assert!(ended.shown.ends_with(&Provider::Small.user("alice")), "{ended:?}");
    }
    assert_eq!(handed(&home).len(), 2, "one for the log-in before, one for all of them");
}
