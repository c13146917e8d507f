//! Sessions and tokens near their ends: what is renewed in time, what heals, and what is handed out
//! no longer than the servers honour it.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use vaulttoken::cache::Sessions;
use vaulttoken::config::Store;
use vaulttoken::env::Env;
use vaulttoken::keystore::Keystore;

use crate::engine::{self, Engine, home_with, subject};
use crate::front::World;
use crate::home::Home;
use crate::rig::{Cluster, Reply, Vault, poll, unique};

const LIMIT: Duration = Duration::from_secs(120);

/// A home whose jobs log in by approle, to sessions of `lifetime` seconds.
fn home_of_job(engine: &Engine, role: &str, lifetime: u32) -> (Home, String) {
    let (root, mount) = (Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&engine.policy]);
    let ttl = json!({"token_policies": [engine.policy], "token_ttl": format!("{lifetime}s")});
    root.write(&format!("auth/{mount}/role/job"), &ttl);
    let auth = json!({"approle": {"mount": mount, "roleId": role_id, "secretIdFile": "secret-id"}});
    let home = home_with(engine, role, Some(&auth));
    home.write_secret(".config/vaulttoken/secret-id", &secret_id);
    (home, mount)
}

/// The only item of `status`.
fn status(home: &Home) -> Value {
    home.run(&["status", "--output=json"]).quiet().json()["items"][0].take()
}

#[track_caller]
fn moment(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no moment: {value}"))
}

fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Successful calls to `path` whose token has one of these policies.
fn calls(path: &str, policy: &str) -> usize {
    let of_ours = |entry: &&Value| {
        let about =
            |part: &str| entry[part]["policies"].as_array().into_iter().flatten().any(|name| name == policy);
        entry["type"] == "response"
            && entry["request"]["path"] == path
            && entry["error"].is_null()
            && (about("auth") || entry["response"]["auth"]["policies"].to_string().contains(policy))
    };
    Vault::shared().audit_log().iter().filter(of_ours).count()
}

/// The session that this home keeps, as the server sees it: found by the only accessor that has the
/// policy.
fn revoke_session(policy: &str) {
    let root = Vault::shared().root();
    for accessor in root.list("auth/token/accessors") {
        let body = json!({"accessor": accessor});
        let answer = root.call("PUT", "auth/token/lookup-accessor", &body);
        let policies = answer.json["data"]["policies"].as_array().cloned().unwrap_or_default();
        if policies.iter().any(|name| name == policy) {
            root.write("auth/token/revoke-accessor", &body);
        }
    }
}

#[test]
fn a_session_is_renewed_before_it_ends_and_nobody_logs_in_again() {
    let engine = engine::shared();
    let (home, mount) = home_of_job(&engine, "reader", 12);
    home.get_token(&[], None).quiet();
    let first = moment(&status(&home)["session"]["expiresAt"]);
    // Two thirds of it are over: the next call that needs the session renews it.
    poll("a session that is due", LIMIT, || (now() > first - TimeDelta::seconds(4)).then_some(()));
    home.run(&["refresh"]).succeeded();
    let second = moment(&status(&home)["session"]["expiresAt"]);
    assert!(second >= first + TimeDelta::seconds(6), "{first} {second}");
    assert_eq!(calls("auth/token/renew-self", &engine.policy), 1);
    assert_eq!(calls(&format!("auth/{mount}/login"), &engine.policy), 1);
    // Let it end: a job logs in by itself.
    poll("a session that ended", LIMIT, || (now() > second + TimeDelta::seconds(1)).then_some(()));
    home.run(&["refresh"]).succeeded();
    assert_eq!(calls(&format!("auth/{mount}/login"), &engine.policy), 2);
}

/// Puts the kept session where most of its life is over.
fn age_session(home: &Home) {
    let (env, now) = (Env::of(home.variables()), Utc::now());
    let place = Keystore::open(Store::Auto, &env, Duration::ZERO).unwrap_or_else(|error| panic!("{error}"));
    let sessions = Sessions::new(&Arc::new(place), Duration::ZERO, Box::new(|| ()));
    for (key, mut session) in sessions.list() {
        session.obtained_at = now - TimeDelta::minutes(50);
        session.expires_at = Some(now + TimeDelta::minutes(10));
        sessions.store(&key, &session).unwrap();
    }
}

#[test]
fn eight_forced_refreshes_at_once_renew_the_session_once_and_mint_each_token_once() {
    let (engine, renewal) = (engine::shared(), "/v1/auth/token/renew-self");
    let world = World::new(&engine, 3600);
    let home = &world.home;
    // Another token of the same session: who fetches it waits for the session only.
    let file = fs::read_to_string(home.path(".config/vaulttoken/config.yaml")).unwrap();
    let mut settings: Value = serde_json::from_str(&file).unwrap();
    settings["profiles"]["brief"] = settings["profiles"]["prod"].clone();
    settings["profiles"]["brief"]["source"]["vaultKubernetes"]["ttl"] = json!("20m");
    home.settings(&settings);
    home.run(&["refresh", "--all"]).succeeded();
    age_session(home);
    let log_ins = world.done(&world.log_in_path());
    let mints = world.done(&world.mint_path());
    world.hold(renewal, Reply::Passed);
    let log = |number| home.path(&format!("log-{number}"));
    let children: Vec<_> = (0..8)
        .map(|number| {
            let profile = if number % 2 == 0 { "prod" } else { "brief" };
            let mut command = home.command(&["refresh", profile, "-v", "--timeout=100s"]);
            let output = File::create(log(number)).unwrap();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
            command.spawn().unwrap()
        })
        .collect();
    let waits = |number: &i32| fs::read_to_string(log(*number)).unwrap().contains("waiting for another");
    poll("all who wait for one", LIMIT, || ((0..8).filter(waits).count() == 7).then_some(()));
    world.release();
    for (number, mut child) in children.into_iter().enumerate() {
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{}", fs::read_to_string(log(number.try_into().unwrap())).unwrap());
    }
    assert_eq!((world.asked(renewal), world.done(renewal)), (1, 1));
    assert_eq!(world.done(&world.mint_path()), mints + 2);
    assert_eq!((log_ins, world.done(&world.log_in_path())), (1, 1));
}

#[test]
fn a_session_that_was_revoked_heals_for_a_job() {
    let engine = engine::shared();
    let (home, mount) = home_of_job(&engine, "reader", 3600);
    home.get_token(&[], None).quiet();
    revoke_session(&engine.policy);
    home.run(&["refresh"]).succeeded();
    assert_eq!(calls(&format!("auth/{mount}/login"), &engine.policy), 2);
    let token = home.get_token(&[], None).quiet().token();
    assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()));
}

#[test]
fn a_session_that_was_revoked_is_a_matter_for_a_person_where_a_person_logged_in() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", "correct horse", &[&engine.policy]);
    let auth = json!({"userpass": {"mount": mount, "username": "alice"}});
    let home = home_with(&engine, "reader", Some(&auth));
    home.plant("correct horse");
    home.run_with_input(&["login"], "correct horse\n").succeeded();
    let before = home.get_token(&[], None).quiet().token();
    revoke_session(&engine.policy);
    // The token of an existing account is none the worse for it.
    assert_eq!(home.get_token(&[], None).quiet().token(), before);
    assert_eq!(subject(Cluster::shared(), &before), Some(engine.reader()));
    let run = home.run(&["refresh"]);
    assert!(run.failed(3).contains("why: the session was revoked, or has ended\n"), "{run:?}");
    assert!(run.stderr.contains("try: kubectl-vaulttoken login prod\n"), "{run:?}");
    home.run_with_input(&["login"], "correct horse\n").succeeded();
}

#[test]
fn a_generated_account_is_given_up_before_its_session_takes_it_along() {
    let engine = engine::shared();
    let (root, mount) = (Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    let user = json!({
        "password": "correct horse", "token_policies": [engine.policy], "token_ttl": "30s", "token_max_ttl": "30s",
    });
    root.write(&format!("auth/{mount}/users/alice"), &user);
    let auth = json!({"userpass": {"mount": mount, "username": "alice"}});
    let home = home_with(&engine, "viewer", Some(&auth));
    home.plant("correct horse");
    home.run_with_input(&["login"], "correct horse\n").succeeded();
    let run = home.get_token(&[], None).quiet();
    let token = run.token();
    let item = status(&home);
    let session_end = moment(&item["session"]["expiresAt"]);
    let usable_until = moment(&item["token"]["usableUntil"]);
    assert_eq!(item["token"]["limitedBy"], "session");
    // The one is counted from when we asked, the other is the server's own word.
    assert!(usable_until <= session_end + TimeDelta::seconds(1), "{item}");
    assert!(moment(&item["token"]["expiresAt"]) > session_end + TimeDelta::minutes(10), "{item}");
    assert!(moment(&run.json()["status"]["expirationTimestamp"]) < session_end, "{run:?}");
    assert!(subject(Cluster::shared(), &token).is_some_and(|user| user.contains(":v-")));

    // As long as we hand one out it works; and once the session has ended we have stopped. What is
    // minted last ends with the same session.
    let mut last = token;
    poll("the end of the last token", LIMIT, || {
        let run = home.get_token(&[], None);
        match run.code {
            0 => {
                last = run.token();
                let alive = cluster_accepts(&last);
                assert!(alive || now() >= session_end, "handed out dead");
                None
            }
            3 => Some(()),
            _ => panic!("{run:?}"),
        }
    });
    assert!(now() < session_end + TimeDelta::seconds(2));
    poll("a token that the API server refuses", LIMIT, || (!cluster_accepts(&last)).then_some(()));
    // The lease had a quarter of an hour; the session ended it.
    assert!(now() < session_end + TimeDelta::seconds(30), "{}", now());
    assert_eq!(status(&home)["token"]["state"], "expired");
}

/// Whether the token may still do what its role is for. A generated account first loses its binding
/// and is then forgotten, so that it is forbidden before it is unknown.
fn cluster_accepts(token: &str) -> bool {
    Cluster::shared().request("GET", "/api/v1/namespaces", Some(token)).status == 200
}

#[test]
fn a_generated_account_of_a_job_is_followed_by_another() {
    let engine = engine::shared();
    let (home, _) = home_of_job(&engine, "viewer", 30);
    // The longest that a session of this role can get.
    let (root, mount) = (Vault::shared().root(), home_mount(&home));
    let limited = json!({"token_policies": [engine.policy], "token_ttl": "30s", "token_max_ttl": "30s"});
    root.write(&format!("auth/{mount}/role/job"), &limited);
    let first = home.get_token(&[], None).quiet().token();
    let usable_until = moment(&status(&home)["token"]["usableUntil"]);
    let second = poll("another token", LIMIT, || {
        let token = home.get_token(&[], None).quiet().token();
        assert!(cluster_accepts(&token) || now() >= usable_until, "handed out dead");
        (token != first).then_some(token)
    });
    assert!(now() < usable_until, "the change was made in time");
    assert!(cluster_accepts(&second));
    poll("the end of the first", LIMIT, || (!cluster_accepts(&first)).then_some(()));
    let token = home.get_token(&[], None).quiet().token();
    assert!(cluster_accepts(&token), "the second outlives the first");
}

fn home_mount(home: &Home) -> String {
    let settings = std::fs::read_to_string(home.path(".config/vaulttoken/config.yaml")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    settings["vaults"]["corp"]["auth"]["approle"]["mount"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_that_can_grow_grows_as_far_as_the_generated_account_needs() {
    let engine = engine::shared();
    let (home, _) = home_of_job(&engine, "viewer", 60);
    let token = home.get_token(&[], None).quiet().token();
    assert!(cluster_accepts(&token));
    let item = status(&home);
    let expires_at = moment(&item["token"]["expiresAt"]);
    assert!(moment(&item["token"]["usableUntil"]) > now() + TimeDelta::minutes(10), "{item}");
    assert!(expires_at > now() + TimeDelta::minutes(10), "{item}");
}

#[test]
fn a_batch_token_mints_and_is_told_of_honestly() {
    let engine = engine::shared();
    for role in ["reader", "viewer"] {
        let (home, mount) = home_of_job(&engine, role, 120);
        let batch = json!({"token_policies": [engine.policy], "token_ttl": "120s", "token_type": "batch"});
        Vault::shared().root().write(&format!("auth/{mount}/role/job"), &batch);
        let token = home.get_token(&[], None).quiet().token();
        assert!(cluster_accepts(&token));
        let item = status(&home);
        assert_eq!(item["session"]["renewable"], false);
        let usable_until = moment(&item["token"]["usableUntil"]);
        let session_end = moment(&item["session"]["expiresAt"]);
        assert_eq!(usable_until <= session_end + TimeDelta::seconds(1), role == "viewer", "{item}");
        // Nobody can revoke it; its end is told, and what was here is gone.
        let run = home.run(&["logout", "--output=json"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
        assert_eq!(run.json()["items"][0]["session"], "staysValid", "{run:?}");
        assert_eq!(status(&home)["token"]["state"], "absent");
        assert_eq!(status(&home)["session"]["state"], "absent");
    }
}

#[test]
fn a_session_of_few_uses_is_replaced_when_they_are_used_up() {
    let engine = engine::shared();
    let (home, mount) = home_of_job(&engine, "reader", 3600);
    let few = json!({"token_policies": [engine.policy], "token_ttl": "1h", "token_num_uses": 2});
    Vault::shared().root().write(&format!("auth/{mount}/role/job"), &few);
    for _ in 0..5 {
        let run = home.get_token(&["--force-refresh"], None).quiet();
        assert!(cluster_accepts(&run.token()));
    }
    let log_ins = calls(&format!("auth/{mount}/login"), &engine.policy);
    assert!((2..=5).contains(&log_ins), "{log_ins}");
}
