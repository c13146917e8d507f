//! Ten thousand calls one after another while the token is renewed again and again: nobody waits.
//!
//! Each has a client of its own, as with kubectl. One client that asks ten thousand times is another
//! thing: now and then the cluster is asked whether it refused the token. That stands beside it.

use std::time::Instant;

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use crate::launch::{Launch, word};
use crate::person::Person;
use crate::rig::{Authority, Double, Reply, Seen};
use crate::table::{Table, column, milliseconds, quantile};

const CALLS: usize = 10_000;
const RENEWALS: usize = 50;
/// Enough to see the slowest of a thousand.
const FEWER: usize = 3_000;
/// The shortest life with which a token is due well before its end: what clients are told is whole seconds.
const LIFE: TimeDelta = TimeDelta::milliseconds(3_000);

/// The slowest call of a thousand beside the usual one.
pub fn across_renewals(table: &mut Table) {
    let authority = Authority::new("calls");
    // Asked now and then whether it refused the token, where one program asks for it again and again.
    let cluster = Double::https(&authority, &[], |_| Reply::json(200, &json!({})));
    let vault = Double::https(&authority, &[], |request| {
        if !is_fetch(request) {
            // `auth/token/lookup-self`.
            return Reply::json(
                200,
                &json!({"data": {"ttl": 3600, "renewable": false, "policies": ["jobs"]}}),
            );
        }
        let now = Utc::now();
        let moment = |at: chrono::DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        Reply::json(
            200,
            &json!({"data": {
                "data": {"token": "a-token-of-no-cluster", "expirationTimestamp": moment(now + LIFE)},
                "metadata": {"created_time": moment(now), "deletion_time": "", "destroyed": false, "version": 1},
            }}),
        )
    });
    let mut person = Person::new(&cluster.address, &authority.file, |_| {
        json!({
            "vaults": {"corp": {"address": vault.address, "certificateAuthority": authority.file}},
            "profiles": {"prod": {"source": {"vaultKv": {"vault": "corp", "path": "jobs/prod"}}}},
        })
    });
    person.environment.push(("VAULT_TOKEN".to_owned(), "hvs.of-a-benchmark".to_owned()));
    let launch = Launch::new(&person);
    person.get_token();
    let fetches = || vault.seen().iter().filter(|seen| is_fetch(seen)).count();
    let before = fetches();
    let commands = [person.call(), vec![word(&launch.nothing)]];
    let pause = pause(&launch, &commands);
    let rounds = launch.turns(CALLS, pause, &commands);
    let renewals = fetches() - before;
    let ratio = tail(table, &format!("{CALLS} calls across {renewals} renewals"), &rounds, |ratio| {
        Some((ratio <= 3.0 && renewals >= RENEWALS, "3".to_owned()))
    });
    if ratio > 3.0 {
        table.note(&format!("the slowest of those calls: {}", slowest(&rounds)));
    }
    let (before, asked) = (fetches(), cluster.seen().len());
    let rounds = launch.lasting(FEWER, pause, &commands);
    let (renewals, asked) = (fetches() - before, cluster.seen().len() - asked);
    let what = format!("{FEWER} of one client across {renewals} renewals, the cluster asked {asked} times");
    tail(table, &what, &rounds, |_| None);
}

/// Microseconds between two calls, so that all of them last as long as the renewals do: a token is due
/// in the last quarter of its life.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some milliseconds")]
fn pause(launch: &Launch, commands: &[Vec<String>]) -> u32 {
    let began = Instant::now();
    launch.turns(200, 0, commands);
    let one = began.elapsed().as_secs_f64() / 200.0;
    let whole = LIFE.as_seconds_f64() * 0.75 * 1.15 * RENEWALS as f64 / CALLS as f64;
    ((whole - one) * 1e6).max(1_000.0) as u32
}

/// The row of the slowest of a thousand calls beside the usual one, with what an empty program has.
fn tail(
    table: &mut Table,
    what: &str,
    rounds: &[Vec<f64>],
    goal: impl Fn(f64) -> Option<(bool, String)>,
) -> f64 {
    let (mut calls, mut starts) = (column(rounds, 0), column(rounds, 1));
    let (median, slow) = (quantile(&mut calls, 0.5), quantile(&mut calls, 0.999));
    let floor = quantile(&mut starts, 0.999) / quantile(&mut starts, 0.5);
    let ratio = slow / median;
    table.row(
        &format!("{what}: p99.9 beside the median"),
        &milliseconds(slow),
        &format!("{} ({floor:.1} for an empty C program)", milliseconds(median)),
        &format!("{ratio:.3}"),
        goal(ratio),
    );
    ratio
}

/// Which calls took longest, and how long, the longest first.
fn slowest(rounds: &[Vec<f64>]) -> String {
    let mut calls: Vec<(usize, f64)> = column(rounds, 0).into_iter().enumerate().collect();
    calls.sort_by(|a, b| b.1.total_cmp(&a.1));
    let said = |(number, took): &(usize, f64)| format!("{number}: {}", milliseconds(*took));
    calls.iter().take(20).map(said).collect::<Vec<_>>().join(", ")
}

fn is_fetch(request: &Seen) -> bool {
    request.path.starts_with("/v1/secret/data/")
}
