//! What becomes of a log-in at a provider that rotates its refresh tokens and counts what it is asked.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ARRIVED, address_for_browser, hand_over, logged_in};
use crate::home::{Home, PLUGIN, exec_info};
use crate::rig::{Browser, OpenIdProvider, claims, poll};

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
    let first = claims(&token());
    assert_eq!((&first["sub"], refreshes(&provider)), (&json!("alice"), vec![]));

    let ends_at = first["exp"].as_i64().unwrap();
    poll("the end of the first token", Duration::from_secs(120), || {
        (chrono::Utc::now().timestamp() > ends_at).then_some(())
    });
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
    let (state, copy) = (home.path(".local/state/vaulttoken/sessions"), home.path("copy"));
    let files = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    fs::create_dir(&copy).unwrap();
    for file in files(&state) {
        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    let run = home.run(&["logout", "prod"]).succeeded();
    assert!(run.stdout.contains("prod: the session at provider `sso` is revoked"), "{run:?}");
    for file in files(&copy) {
        fs::copy(&file, state.join(file.file_name().unwrap())).unwrap();
    }
    let run = home.run(&["refresh", "prod"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert_eq!(refreshes(&provider), [200, 200, 400]);
}
