//! The words of `doctor`, pinned: every finding that a check can tell, from what it looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta};
use secrecy::SecretString;
use snapbox::{assert_data_eq, file};

use super::*;
use crate::cache::Acquired;
use crate::config::Store;
use crate::inventory::{SessionItem, TokenState};
use crate::keystore::{Place, Tier};
use crate::probe::Review;
use crate::token::{Minted, Token};

fn now() -> Timestamp {
    DateTime::from_timestamp(1_893_456_000, 0).unwrap()
}

fn report() -> Report {
    let calling =
        Calling { program: "kubectl vaulttoken".into(), profile: Some("prod".into()), ..Calling::default() };
    Report { calling, ..Report::default() }
}

fn told(report: &Report) -> String {
    let line = |finding: &Finding| {
        let Finding { check, state, message, why, hint, code } = finding;
        let more: Vec<&str> = [why, hint].into_iter().flatten().map(String::as_str).collect();
        format!("{code} {state:?} {check}: {message}\n    {}\n", more.join("\n    "))
    };
    report.items.iter().map(line).map(|text| text.replace("    \n", "")).collect()
}

#[test]
fn of_the_place_for_secrets() {
    let mut report = report();
    for tier in [Tier::Keyring, Tier::KernelKeyring, Tier::Plain, Tier::None] {
        let place = Place { tier, ..Place::nowhere(vec!["system keyring: it is locked".into()]) };
        place::store(&place, Store::Auto, &mut report);
    }
    place::store(&Place { tier: Tier::Plain, ..Place::nowhere(vec![]) }, Store::Plain, &mut report);
    place::store(&Place::nowhere(vec![]), Store::None, &mut report);
    let folder = Path::new("/home/me/.cache/vaulttoken");
    place::told(folder, "VAULTTOKEN_CACHE_DIR", &Acquired::Busy, &mut report);
    let reason = Acquired::Unsupported("it is on a network file system".into());
    place::told(folder, "VAULTTOKEN_CACHE_DIR", &reason, &mut report);
    assert_data_eq!(told(&report), file!["words/place.txt"].raw());
}

#[test]
fn of_sessions_and_clocks() {
    let mut report = report();
    let session = |state, expires_at| SessionItem {
        vault: Some("corp".into()),
        provider: None,
        method: "userpass".into(),
        state,
        expires_at,
        renewable: false,
    };
    for (state, end) in [
        (TokenState::Valid, Some(now())),
        (TokenState::Valid, None),
        (TokenState::Expired, Some(now())),
        (TokenState::Absent, None),
    ] {
        profile::told_session("prod", &session(state, end), false, &mut report);
    }
    profile::told_session("prod", &session(TokenState::Absent, None), true, &mut report);
    for seconds in [30, 31, -31] {
        servers::compare("https://vault.example", TimeDelta::seconds(seconds), &mut report);
    }
    assert_data_eq!(told(&report), file!["words/profile.txt"].raw());
}

#[test]
fn of_what_a_cluster_says() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let token = |secret: &str| {
        let minted = Minted {
            secret: SecretString::from(secret),
            bounds: Vec::new(),
            subject: None,
            lease: None,
            warnings: Vec::new(),
            request_id: None,
        };
        Token::new(minted, now()).unwrap()
    };
    let claims = r#"{"iss":"https://vault.example","aud":["a","b"],"exp":1893459600}"#;
    let jwt = token(&format!("e30.{}.signature", URL_SAFE_NO_PAD.encode(claims)));
    let mut report = report();
    for (status, user) in [
        (201, Some("system:serviceaccount:team:reader")),
        (201, Some("system:anonymous")),
        (401, None),
        (403, None),
        (503, None),
        (201, Some("evil\u{1b}[2J\nforged: line")),
    ] {
        let review = Review { status, user: user.map(str::to_owned), date: None };
        profile::told_review("prod", "https://prod:6443", &review, &jwt, &mut report);
    }
    let review = Review { status: 401, user: None, date: None };
    profile::told_review("prod", "https://prod:6443", &review, &token("opaque-token"), &mut report);
    assert_eq!(report.exit_code(), ExitCode::Refused);
    assert_data_eq!(told(&report), file!["words/cluster.txt"].raw());
}

#[test]
fn of_the_kubeconfig() {
    use crate::config::{Kubeconfig, KubeconfigFiles};

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let entries: BTreeMap<&str, &str> = BTreeMap::from([
        (
            "bad",
            "{apiVersion: client.authentication.k8s.io/v1alpha1, command: kubectl-vaulttoken, args: [login]}",
        ),
        (
            "bare",
            "{apiVersion: client.authentication.k8s.io/v1, command: ./kubectl-vaulttoken, args: [get-token]}",
        ),
        ("other", "{apiVersion: client.authentication.k8s.io/v1, command: aws, args: [get-token]}"),
        (
            "wrong",
            "{apiVersion: client.authentication.k8s.io/v1, command: kubectl-vaulttoken, interactiveMode: Always, \
             args: [get-token, --profile=none], provideClusterInfo: true}",
        ),
    ]);
    let list = |each: &dyn Fn(&str, &str) -> String| {
        entries.iter().map(|(name, exec)| each(name, exec)).collect::<Vec<_>>().concat()
    };
    let text = format!(
        "contexts:\n{}users:\n{}clusters:\n- {{name: c, cluster: {{server: 'http://prod'}}}}\n",
        list(&|name, _| format!("- {{name: {name}, context: {{cluster: c, user: {name}}}}}\n")),
        list(&|name, exec| format!("- {{name: {name}, user: {{exec: {exec}}}}}\n")),
    );
    std::fs::write(&file, text).unwrap();
    let kubeconfig = Kubeconfig::load(&KubeconfigFiles::Named(file)).unwrap();
    let mut report = report();
    kubeconfig::examine(
        &kubeconfig,
        Some(&crate::config::Settings::default()),
        Some("/nowhere"),
        &mut report,
    );
    kubeconfig::examine(&Kubeconfig::default(), None, None, &mut report);
    assert_data_eq!(told(&report), file!["words/kubeconfig.txt"].raw());
}

#[cfg(unix)]
#[test]
fn of_path() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mode = |file: &Path, mode| {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let put = |name: &str| {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::write(at(name), "").unwrap();
        mode(&at(name), 0o755);
    };
    for name in ["a/kubectl-vaulttoken", "b/kubectl-vaulttoken", "b/kubectl-vaulttoken-get_token"] {
        put(name);
    }
    std::fs::create_dir(at("open")).unwrap();
    mode(&at("open"), 0o777);
    let mut report = report();
    let path = |names: &[&str]| {
        std::env::join_paths(names.iter().map(|name| match *name {
            "." => PathBuf::from("."),
            name => at(name),
        }))
        .unwrap()
        .into_string()
        .unwrap()
    };
    path::examine(Some(&path(&["a"])), Some(&at("a/kubectl-vaulttoken")), &mut report);
    path::examine(Some(&path(&["none"])), None, &mut report);
    path::examine(Some(&path(&[".", "open", "a", "b"])), Some(&at("b/kubectl-vaulttoken")), &mut report);
    let text = told(&report).replace(&folder.path().display().to_string(), "/folder");
    assert_data_eq!(text, file!["words/path.txt"].raw());
}
