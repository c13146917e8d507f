//! Ten thousand calls one after another while the token is renewed again and again: nobody waits.

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use crate::launch::{Launch, word};
use crate::person::Person;
use crate::rig::{Authority, Double, Reply, Seen};
use crate::table::{Table, column, milliseconds, quantile};

const CALLS: usize = 10_000;
const RENEWALS: usize = 50;
/// Between two calls, in microseconds, so that they last as long as fifty renewals do.
const PAUSE: u32 = 5_000;
/// The shortest life with which a token is due well before its end: what clients are told is whole seconds.
const LIFE: TimeDelta = TimeDelta::milliseconds(3_000);

/// The slowest call of a thousand beside the usual one.
pub fn across_renewals(table: &mut Table) {
    let authority = Authority::new("calls");
    // Asked now and then whether it refused the token, as one program asks for it again and again.
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
    let rounds = launch.turns(CALLS, PAUSE, &[person.call(), vec![word(&launch.nothing)]]);
    let renewals = fetches() - before;
    let (mut calls, mut starts) = (column(&rounds, 0), column(&rounds, 1));
    let (median, slowest) = (quantile(&mut calls, 0.5), quantile(&mut calls, 0.999));
    let floor = quantile(&mut starts, 0.999) / quantile(&mut starts, 0.5);
    let ratio = slowest / median;
    table.row(
        &format!("{CALLS} calls across {renewals} renewals: p99.9 beside the median"),
        &milliseconds(slowest),
        &format!("{} ({floor:.1} for an empty C program)", milliseconds(median)),
        &format!("{ratio:.3}"),
        Some((ratio <= 3.0 && renewals >= RENEWALS, "3".to_owned())),
    );
}

fn is_fetch(request: &Seen) -> bool {
    request.path.starts_with("/v1/secret/data/")
}
