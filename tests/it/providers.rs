//! A person's log-in at an OpenID provider, and what becomes of it: renewed by one process at a time,
//! told in `status`, ended by `logout`; and every lie of a provider, each with its error.

use serde_json::json;
use url::Url;

use crate::engine::{self, corp, gets_a_token, log_ins};
use crate::home::{Home, PLUGIN};
use crate::liar::{Liar, Lie};
use crate::rig::{Vault, claims, unique};

fn as_it_comes(_: &mut Url) {}

/// What `login` ends with where this is not true, without what differs from run to run.
fn told(lie: Lie, change: impl Fn(&mut Url)) -> String {
    let liar = Liar::who_says(lie);
    let home = liar.home(&json!({}));
    let run = liar.log_in(&home, change);
    assert_ne!(run.code, 0, "{lie}: {run:?}");
    let error = run.stderr.split_once("error: ").unwrap_or_else(|| panic!("{lie}: {run:?}")).1;
    assert_eq!(home.get_token(&[], None).code, 3, "{lie}: nothing is kept of it");
    let error = error.replace(&liar.double.address, "SSO");
    let host = liar.double.address.trim_start_matches("https://").to_owned();
    format!("{} {}", run.code, error.replace(&host, "SSO"))
}

fn says(lie: Lie, code: i32, words: &[&str]) {
    let told = told(lie, as_it_comes);
    assert!(told.starts_with(&format!("{code} ")), "{lie}: {told}");
    for word in words {
        assert!(told.contains(word), "{lie}: {told}");
    }
}

#[test]
fn a_provider_that_lies_about_itself_is_not_asked() {
    says("issuer of the metadata", 6, &["is that of another issuer, `SSO/`", "set `issuer` to `SSO/`"]);
    says("authorization in clear", 7, &["`authorization_endpoint`", "does not begin with `https://`"]);
    says("tokens in clear", 7, &["`token_endpoint`", "does not begin with `https://`"]);
    says("no authorization endpoint", 2, &["names no `authorization_endpoint`"]);
    says("discovery redirects", 7, &["redirects to `https://evil.example/", "where nothing is sent"]);
    says("discovery loops", 7, &["redirects to `SSO/"]);
    says("discovery is huge", 6, &["is larger than 4194304 bytes"]);
    says("discovery is a page", 6, &["it is not JSON", "check `issuer`"]);
    says("there is no discovery", 6, &["publishes no metadata", "status 404"]);
}

#[test]
fn an_id_token_that_lies_is_not_believed() {
    let lies: [(Lie, &str); 13] = [
        ("none", "nobody signed it"),
        ("HS256 with the public key", "signed with `HS256`, a shared key"),
        ("a foreign key", "a key that the provider does not publish"),
        ("changed after it was signed", "its signature is not of the key"),
        ("issuer", "it is of another issuer, `https://evil.example`"),
        ("audience", "its audience is `another`"),
        ("two audiences", "it lacks `azp`"),
        ("party", "it was issued to another client, `another`"),
        ("nonce", "its nonce is another"),
        ("expired", "it ended at "),
        ("the future", "it was issued in the future"),
        ("keys are no set", "it is no set of keys"),
        ("no ID token", "it has no `id_token`"),
    ];
    for (lie, words) in lies {
        says(lie, 6, &[words]);
    }
}

#[test]
fn a_token_endpoint_that_answers_otherwise_is_named() {
    says("the token endpoint redirects", 7, &["redirects to `https://evil.example/token`"]);
    says("an answer without tokens", 6, &["it has no `access_token`; there is `token`"]);
}

#[test]
fn an_answer_in_the_browser_that_is_not_this_log_ins_is_refused() {
    let with = |name: &'static str, value: Option<&'static str>| {
        move |back: &mut Url| {
            let pairs: Vec<(String, String)> =
                back.query_pairs().into_owned().filter(|(other, _)| other != name).collect();
            back.query_pairs_mut().clear().extend_pairs(pairs);
            if let Some(value) = value {
                back.query_pairs_mut().append_pair(name, value);
            }
        }
    };
    let mixed_up = told("", with("iss", Some("https://evil.example")));
    assert!(mixed_up.starts_with("7 ") && mixed_up.contains("it is of `https://evil.example`"), "{mixed_up}");
    let nameless = told("", with("iss", None));
    assert!(nameless.starts_with("7 ") && nameless.contains("it does not say whose it is"), "{nameless}");
    let refused = told("", |back: &mut Url| {
        let state = back.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        back.query_pairs_mut().clear().append_pair("state", &state).append_pair("error", "access_denied");
    });
    assert!(refused.starts_with("4 ") && refused.contains("access_denied"), "{refused}");
    let stale = told("", with("code", Some("s3cret-code-of-yesterday")));
    assert!(stale.starts_with("4 ") && stale.contains("`invalid_grant`"), "{stale}");
}

fn logged_in(liar: &Liar, scopes: &[&str]) -> Home {
    let home = liar.home(&json!({"scopes": scopes}));
    let run = liar.log_in(&home, as_it_comes).succeeded();
    let expected = format!("logged in to {} as Alice, and renewed from here on", liar.double.address);
    assert!(run.stderr.contains(&expected), "{run:?}");
    home
}

#[test]
fn a_person_logs_in_and_the_cluster_gets_the_id_token() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &["groups", "offline_access"]);
    let token = home.get_token(&[], None).succeeded().token();
    assert_eq!(claims(&token)["sub"], "alice");
    // The same until it is due, without the network.
    let asked = liar.double.seen().len();
    assert_eq!(home.get_token(&[], None).succeeded().token(), token);
    assert_eq!(liar.double.seen().len(), asked);
    let status = home.run(&["status", "-o=json"]).quiet().json();
    let item = &status["items"][0];
    assert_eq!(
        item["session"],
        json!({"provider": "sso", "method": "oidc", "state": "valid", "expiresAt": null,
        "renewable": true})
    );
    assert_eq!((&item["token"]["limitedBy"], &item["subject"]), (&json!("expiry"), &json!("alice")));
    let events: Vec<_> = home.journal().iter().map(|line| line["event"].clone()).collect();
    assert!(events.contains(&json!("login")) && events.contains(&json!("mint")), "{events:?}");
    // A log-in, and a renewal, ask for metadata, tokens and keys once each.
    home.run(&["refresh", "prod"]).succeeded();
    for path in ["/.well-known/openid-configuration", "/token", "/keys"] {
        assert_eq!(liar.double.seen().iter().filter(|seen| seen.path == path).count(), 2, "{path}");
    }
    let renewal = home.journal().pop().unwrap();
    assert_eq!((&renewal["event"], &renewal["outcome"]), (&json!("mint"), &json!("refreshed")));
    assert_eq!((&renewal["provider"], &renewal["subject"]), (&json!(liar.double.address), &json!("alice")));
}

#[test]
fn many_who_want_another_token_cause_one_refresh() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    let before = home.get_token(&[], None).succeeded().token();
    liar.says("slow refreshes");
    let script = format!("for n in 1 2 3 4 5 6 7 8; do {PLUGIN} refresh prod & done; wait");
    home.run_program("/bin/sh", &["-c", &script]).succeeded();
    assert_eq!(liar.refreshes(), 1, "one refresh token is spent once");
    assert_ne!(home.get_token(&[], None).succeeded().token(), before);
    // The one that came instead is good.
    home.run(&["refresh", "prod"]).succeeded();
    assert_eq!(liar.refreshes(), 2);
    home.get_token(&[], None).succeeded();
}

#[test]
fn two_profiles_with_one_provider_share_its_session() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    home.settings(&json!({
        "providers": {"sso": {"issuer": liar.double.address, "clientId": "kubernetes",
            "certificateAuthority": liar.authority.file}},
        "profiles": {"prod": {"source": {"oidc": {"provider": "sso"}}},
            "test": {"source": {"oidc": {"provider": "sso"}}}},
    }));
    home.get_token(&["-p=test"], None).succeeded();
    home.get_token(&["-p=prod"], None).succeeded();
    assert_eq!(liar.refreshes(), 0);
    // Another client of the same provider is not logged in.
    home.settings(&json!({
        "providers": {"sso": {"issuer": liar.double.address, "clientId": "other",
            "certificateAuthority": liar.authority.file}},
        "profiles": {"prod": {"source": {"oidc": {"provider": "sso"}}}},
    }));
    assert_eq!(home.get_token(&[], None).code, 3);
}

#[test]
fn a_session_that_the_provider_ended_asks_for_a_log_in() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    liar.says("the session is over");
    let run = home.run(&["refresh", "prod"]);
    assert!(run.stderr.contains("required"), "{run:?}");
    std::fs::remove_dir_all(home.path(".cache/vaulttoken")).unwrap();
    // What is left of it is good until its own end.
    home.get_token(&[], None).succeeded();
    assert_eq!(liar.refreshes(), 0);
}

#[test]
fn a_refresh_that_is_not_believed_keeps_the_session() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    for (lie, words) in [
        ("another person", "is not believed"),
        ("no ID token at a refresh", "gives no ID token when a session is renewed"),
    ] {
        liar.says(lie);
        let run = home.run(&["refresh", "prod"]);
        assert!(run.stderr.contains(words), "{lie}: {run:?}");
    }
}

#[test]
fn logging_out_revokes_the_refresh_token_and_says_what_lives_on() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    let run = home.run(&["logout", "prod"]).succeeded();
    assert!(run.stdout.contains("prod: the session at provider `sso` is revoked"), "{run:?}");
    assert!(run.stdout.contains("a copy of it stays valid until"), "{run:?}");
    let revoked = liar.double.seen().into_iter().find(|seen| seen.path == "/revoke").unwrap();
    assert!(revoked.field("token").unwrap().starts_with("s3cret-refresh"));
    assert_eq!(revoked.field("token_type_hint").as_deref(), Some("refresh_token"));
    assert!(!liar.double.seen().iter().any(|seen| seen.path == "/end"), "only when asked");
    assert_eq!(home.get_token(&[], None).code, 3);
    assert_eq!(home.run(&["status", "-o=json"]).json()["items"][0]["session"]["state"], "absent");
}

#[test]
fn the_providers_own_session_ends_when_asked() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    let run = home.run(&["logout", "prod", "--provider-session"]).succeeded();
    let address = format!("see to it at {}/end?client_id=kubernetes", liar.double.address);
    assert!(run.stdout.contains(&address), "{run:?}");
    let ended = liar.double.seen().into_iter().find(|seen| seen.path == "/end").unwrap();
    assert_eq!(claims(&ended.field("id_token_hint").unwrap())["sub"], "alice");

    let liar = Liar::who_says("no end of sessions");
    let home = logged_in(&liar, &[]);
    let run = home.run(&["logout", "prod", "--provider-session", "-o=json"]);
    assert_eq!(run.code, 2, "{run:?}");
    let item = &run.json()["items"][0];
    assert_eq!(item["provider"], json!({"name": "sso", "refreshToken": "revoked", "ownSession": null}));
    assert!(item["failure"].as_str().unwrap().contains("end_session_endpoint"), "{item}");

    let liar = Liar::who_says("no revocation");
    let home = logged_in(&liar, &[]);
    let run = home.run(&["logout", "prod"]).succeeded();
    assert!(run.stdout.contains("provider `sso` revokes nothing"), "{run:?}");
}

#[test]
fn the_access_token_goes_to_whoever_takes_it() {
    let liar = Liar::who_says("no ID token");
    let home = liar.home(&json!({"token": "access"}));
    let run = liar.log_in(&home, as_it_comes).succeeded();
    assert!(run.stderr.contains("as somebody whom the provider does not name"), "{run:?}");
    let credential = home.run_for_secret(&["get-token"]);
    assert!(credential.stdout.contains("s3cret-access"), "{}", credential.code);
    let status = home.run(&["status", "-o=json"]).json();
    assert_eq!(status["items"][0]["token"]["limitedBy"], "expiresIn");
}

#[test]
fn a_log_in_that_cannot_be_renewed_says_so() {
    let liar = Liar::who_says("no refresh token");
    let home = liar.home(&json!({}));
    let run = liar.log_in(&home, as_it_comes).succeeded();
    assert!(run.stderr.contains("as Alice until "), "{run:?}");
    assert!(run.stderr.contains("with `offline_access` among `scopes`"), "{run:?}");
    let session = &home.run(&["status", "-o=json"]).json()["items"][0]["session"];
    assert_eq!((&session["renewable"], session["expiresAt"].is_string()), (&json!(false), true));
}

#[test]
fn a_code_on_another_device_logs_in() {
    let liar = Liar::who_says("");
    let home = liar.home(&json!({}));
    let run = home.run(&["login", "--device-code"]).succeeded();
    assert!(run.stderr.contains(&format!("{}/activate", liar.double.address)), "{run:?}");
    assert!(run.stderr.contains("the code is WDJB-MJHT"), "{run:?}");
    assert_eq!(claims(&home.get_token(&[], None).succeeded().token())["sub"], "alice");
    for (lie, code, words) in
        [("the code is refused", 4, "was refused there"), ("the code is too old", 5, "has expired")]
    {
        let liar = Liar::who_says(lie);
        let home = liar.home(&json!({}));
        let run = home.run(&["login", "--device-code"]);
        assert!(run.code == code && run.stderr.contains(words), "{lie}: {run:?}");
    }
}

#[test]
fn nobody_is_asked_by_a_client_and_a_provider_that_a_flag_names_gets_nothing() {
    let liar = Liar::who_says("");
    let home = logged_in(&liar, &[]);
    home.run(&["logout", "prod"]).succeeded();
    let run = home.get_token(&[], None);
    assert!(run.failed(3).contains("login prod"), "{run:?}");
    // A settings file that a kubeconfig may have named.
    let settings = home.path(".config/vaulttoken/config.yaml");
    std::fs::rename(&settings, home.path("theirs.yaml")).unwrap();
    let asked = liar.double.seen().len();
    let theirs = home.path("theirs.yaml").display().to_string();
    let run = home.get_token(&["--config", &theirs], None);
    assert!(run.failed(7).contains("refused to send a session to the provider"), "{run:?}");
    assert_eq!(liar.double.seen().len(), asked);
}

#[test]
fn a_provider_logs_in_to_vault_and_does_so_again_without_a_person() {
    let (liar, engine, vault, mount) = (Liar::who_says(""), engine::shared(), Vault::shared(), unique("jwt"));
    let root = vault.root();
    root.enable_auth("jwt", &mount);
    root.jwt_trust(&mount, &liar.keys);
    root.jwt_role(&mount, "job", "kubernetes", &[&engine.policy]);
    let home = liar.home(&json!({}));
    let auth = json!({"jwt": {"mount": mount, "role": "job", "provider": "sso"}});
    home.settings(&json!({
        "providers": {"sso": {"issuer": liar.double.address, "clientId": "kubernetes",
            "certificateAuthority": liar.authority.file}},
        "vaults": corp(vault, Some(&auth)),
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    let run = liar.log_in(&home, as_it_comes).succeeded();
    for address in [&liar.double.address, &vault.address] {
        assert!(run.stderr.contains(&format!("logged in to {address} as ")), "{run:?}");
    }
    gets_a_token(&home, &engine);
    assert_eq!(log_ins(&mount), 1);
    // Vault's session is gone, the provider's is not.
    for entry in std::fs::read_dir(home.path(".local/state/vaulttoken/sessions")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "session") {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::remove_dir_all(home.path(".cache/vaulttoken")).unwrap();
    gets_a_token(&home, &engine);
    assert_eq!(log_ins(&mount), 2);
    let run = home.run(&["logout", "prod"]).succeeded();
    assert!(run.stdout.contains("prod: the session is revoked"), "{run:?}");
    assert!(run.stdout.contains("prod: the session at provider `sso` is revoked"), "{run:?}");
    let run = home.get_token(&[], None);
    assert!(run.failed(3).contains(&format!("log-in to `{}` required", liar.double.address)), "{run:?}");
}

#[test]
fn a_client_secret_is_read_from_its_file() {
    let liar = Liar::who_says("");
    let home = liar.home(&json!({"clientSecretFile": "secret"}));
    let run = liar.log_in(&home, as_it_comes);
    assert!(run.code == 2 && run.stderr.contains("the client's secret in `"), "{run:?}");
    home.write_secret(".config/vaulttoken/secret", "s3cret-of-the-client\n");
    // This provider wants the name in the form; it sees what it does not understand and says no.
    let run = liar.log_in(&home, as_it_comes);
    assert!(run.code == 4 && run.stderr.contains("`invalid_client`"), "{run:?}");
    let seen = liar.double.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(seen.header("authorization"), Some("Basic a3ViZXJuZXRlczpzM2NyZXQtb2YtdGhlLWNsaWVudA=="));
}
