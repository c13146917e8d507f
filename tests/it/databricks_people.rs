//! People at Databricks: their log-in by a browser, which a program that `BROWSER` names stands for,
//! and their token of another provider in exchange for one of Databricks.

use std::net::TcpListener;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::ages;
use crate::browser_log_ins::{browser_that, for_a_person, opened};
use crate::home::{Home, exec_info};
use crate::liar::Liar;
use crate::rig::{Authority, Databricks, Policy, Reply, claims};

/// A host of Databricks, and a home whose profile `lake` is a person's.
struct Lake {
    workspace: Databricks,
    home: Home,
}

impl Lake {
    fn new(is_account: bool) -> Self {
        let authority = Authority::new("databricks");
        let workspace =
            if is_account { Databricks::account(&authority) } else { Databricks::workspace(&authority) };
        let home = Home::new();
        let mut exchange = json!({
            "preset": "databricks", "host": workspace.address, "certificateAuthority": authority.file,
        });
        if is_account {
            exchange["accountId"] = json!(workspace.account_id);
        }
        home.settings(&json!({"profiles": {"lake": {"source": {"tokenExchange": exchange}}}}));
        let follow = format!("curl -sL --cacert {} \"$1\" >> \"$0.page\"\n", authority.file.display());
        browser_that(&home, &follow);
        Self { workspace, home }
    }

    fn log_in(&self) {
        let ended = self.home.at_terminal(&["login"]).end();
        self.home.showed(&ended.shown);
        assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
        let host = &self.workspace.address;
        assert!(
            ended
                .shown
                .contains(&format!("logged in to {host} as ada@example.com, and renewed from here on")),
            "{ended:?}"
        );
    }

    fn asked(&self, name: &str) -> String {
        let address = url::Url::parse(opened(&self.home).last().unwrap()).unwrap();
        let found = address.query_pairs().find(|(other, _)| other == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

fn is_of_ada(token: &str) {
    assert_eq!(claims(token)["sub"], "ada@example.com");
}

#[test]
fn a_person_logs_in_by_a_browser_and_out_again() {
    for is_account in [false, true] {
        let lake = Lake::new(is_account);
        let run = lake.home.get_token(&[], None);
        assert!(run.failed(3).contains("try: kubectl-vaulttoken login lake"), "{run:?}");
        lake.log_in();
        assert_eq!(lake.asked("client_id"), "databricks-cli");
        assert_eq!(lake.asked("scope"), "all-apis offline_access");
        assert_eq!((lake.asked("prompt"), lake.asked("nonce")), (String::new(), String::new()));
        let redirect = lake.asked("redirect_uri");
        let port: u16 = redirect.strip_prefix("http://localhost:").unwrap().parse().unwrap();
        assert!((8020..=8040).contains(&port), "{redirect}");
        is_of_ada(&lake.home.get_token(&[], None).quiet().token());
        let healthy = lake.home.run(&["doctor"]);
        assert!(healthy.stdout.contains("answers, and describes itself"), "{healthy:?}");
        let kept = lake.home.run(&["status", "-o", "json"]).succeeded().json();
        assert!(kept.to_string().contains(&lake.workspace.address), "{kept}");
        assert_eq!(lake.workspace.grants(), ["authorization_code"]);
        let out = lake.home.run(&["logout"]);
        assert_eq!(out.code, 0, "{out:?}");
        lake.home.get_token(&[], None).failed(3);
        assert_eq!(lake.workspace.grants(), ["authorization_code"]);
    }
}

#[test]
fn a_client_has_a_person_log_in_where_that_is_allowed() {
    let lake = Lake::new(false);
    let ended = for_a_person(&lake.home).end();
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert_eq!(opened(&lake.home).len(), 1);
    is_of_ada(&lake.home.get_token(&[], Some(&exec_info("v1", None))).quiet().token());
}

#[test]
fn the_next_port_is_taken_where_another_program_has_the_first() {
    let lake = Lake::new(false);
    // Another log-in of these tests may have it, which is as good.
    let taken = TcpListener::bind("127.0.0.1:8020");
    lake.log_in();
    if taken.is_ok() {
        assert_ne!(lake.asked("redirect_uri"), "http://localhost:8020");
    }
}

#[test]
fn eight_forced_refreshes_spend_one_refresh_token() {
    let lake = Lake::new(false);
    lake.log_in();
    // Whoever wants a new token is content with one of these last seconds.
    ages::pass(&lake.home, TimeDelta::seconds(60));
    let run = lake.home.script(
        "for number in 1 2 3 4 5 6 7 8; do\n\
         kubectl-vaulttoken auth token --profile lake --force-refresh > answer.$number & done; wait\n\
         for number in 1 2 3 4 5 6 7 8; do tr -d '\\n' < answer.$number; echo; done; rm answer.*",
        "",
    );
    assert_eq!((run.code, run.stdout.lines().count()), (0, 8), "{}", run.stderr);
    for answer in run.stdout.lines() {
        let answer: Value = serde_json::from_str(answer).unwrap();
        is_of_ada(answer["access_token"].as_str().unwrap());
    }
    assert_eq!(lake.workspace.grants(), ["authorization_code", "refresh_token"]);
    let journal = lake.home.journal();
    let host = &lake.workspace.address;
    let mut mints =
        journal.iter().filter(|line| line["event"] == "mint" && line["provider"] == host.as_str());
    assert_eq!(mints.next_back().unwrap()["outcome"], "refreshed");
    assert!(mints.all(|line| line["outcome"].is_null()), "{journal:?}");
    // The one that came instead is good, too.
    is_of_ada(&lake.home.get_token(&["--force-refresh"], None).quiet().token());
    assert_eq!(lake.workspace.grants().len(), 3);
}

#[test]
fn an_authorization_elsewhere_is_not_opened() {
    let lake = Lake::new(false);
    lake.workspace.authorizes_at("https://evil.example/oidc/v1/authorize");
    let ended = lake.home.at_terminal(&["login"]).end();
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.shown.contains("https://evil.example/oidc/v1/authorize"), "{ended:?}");
    assert_eq!(opened(&lake.home), [""; 0]);
}

#[test]
fn an_answer_of_another_host_is_refused_and_one_of_an_account_here_is_not() {
    let lake = Lake::new(false);
    lake.workspace.answers_as("https://evil.example/oidc");
    let ended = lake.home.at_terminal(&["login"]).end();
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.shown.contains("it is of `https://evil.example/oidc`"), "{ended:?}");
    assert_eq!(lake.workspace.grants(), [""; 0]);
    lake.workspace.answers_as(&format!("{}/oidc/accounts/0d26daa6", lake.workspace.address));
    lake.log_in();
}

#[test]
fn a_session_that_was_ended_there_asks_for_a_log_in() {
    let lake = Lake::new(false);
    lake.log_in();
    ages::pass(&lake.home, TimeDelta::seconds(60));
    let over = json!({"error": "invalid_grant", "error_description": "Refresh token is invalid"});
    lake.workspace.answer(Some(Reply::json(400, &over)));
    let run = lake.home.get_token(&["--force-refresh"], None);
    assert!(run.failed(3).contains("try: kubectl-vaulttoken login lake"), "{run:?}");
    // What is left of it is good until its own end, and what was refused is not sent again.
    for arguments in [&[][..], &["--force-refresh"]] {
        is_of_ada(&lake.home.get_token(arguments, None).quiet().token());
    }
    assert_eq!(lake.workspace.grants(), ["authorization_code", "refresh_token"]);
    ages::pass(&lake.home, TimeDelta::hours(1));
    lake.home.get_token(&[], None).failed(3);
    lake.workspace.answer(None);
    lake.log_in();
    is_of_ada(&lake.home.get_token(&[], None).quiet().token());
}

#[test]
fn a_person_of_another_provider_is_exchanged_for_one_of_databricks() {
    let provider = Liar::who_says("the truth");
    let workspace = Databricks::workspace(&provider.authority);
    let policy = Policy {
        issuer: provider.double.address.clone(),
        audiences: vec!["kubernetes".into()],
        client_id: None,
        subject: None,
    };
    workspace.allow(&provider.keys, policy);
    let home = provider.home(&json!({}));
    home.settings(&json!({
        "providers": {"sso": {"issuer": provider.double.address, "clientId": "kubernetes",
            "scopes": ["offline_access"], "certificateAuthority": provider.authority.file}},
        "identities": {"me": {"oidc": {"provider": "sso"}}},
        "profiles": {"lake": {"source": {"tokenExchange": {
            "preset": "databricks", "host": workspace.address, "identity": "me",
            "certificateAuthority": provider.authority.file,
        }}}},
    }));
    let run = home.get_token(&[], None);
    assert!(run.failed(3).contains("try: kubectl-vaulttoken login lake"), "{run:?}");
    assert_eq!(provider.log_in(&home, |_| ()).code, 0);
    assert_eq!(claims(&home.get_token(&[], None).quiet().token())["sub"], "alice");
    assert_eq!(workspace.grants(), ["urn:ietf:params:oauth:grant-type:token-exchange"]);
    home.run(&["logout"]).succeeded();
    home.get_token(&[], None).failed(3);
}
