//! Every system call of a call that keeps something fails once: a full disk, a quota, a disk that is
//! broken or read-only, locks that do not work, no descriptors, no keyring, no network. Each ends in a
//! right token or in one clear error, and the next call gives a right token.

use std::path::Path;

use crate::engine::subject;
use crate::home::Run;
use crate::rig::Cluster;
use crate::scene::{Before, Point, Scenario, Scene, Who, at_each};

/// What the system may say instead, as its manual pages tell; with a `+` from there on each time.
fn errors(point: &Point) -> &'static [&'static str] {
    match point.name.as_str() {
        // What wakes the runtime is no file, and cannot fail so.
        _ if point.line.contains("<anon_inode:") => &[],
        // The first two are ours, and show that there is room for the runtime's.
        "socketpair" if point.number > 2 => &[],
        "openat" => &["EMFILE+", "EACCES", "ENOSPC"],
        "mkdir" | "mkdirat" => &["EROFS", "EDQUOT"],
        "write" | "writev" | "pwrite64" => &["ENOSPC", "EDQUOT", "EIO"],
        "rename" | "renameat" | "renameat2" => &["ENOSPC", "EROFS"],
        "fsync" | "fdatasync" => &["EIO", "ENOSPC"],
        "flock" => &["ENOLCK", "EOPNOTSUPP", "EINTR"],
        "unlink" | "unlinkat" => &["EROFS"],
        "fchmod" => &["EPERM"],
        "read" | "pread64" | "readv" | "lseek" | "fstat" | "newfstatat" | "statx" | "getdents64"
        | "readlink" => &["EIO"],
        "fstatfs" | "request_key" => &["ENOSYS"],
        "keyctl" => &["EKEYREVOKED", "EPERM"],
        "add_key" => &["EDQUOT"],
        "socket" | "epoll_create1" | "eventfd2" | "socketpair" | "pipe2" => &["EMFILE"],
        "connect" => &["ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT"],
        "sendto" | "recvfrom" => &["ECONNRESET"],
        "clone" | "clone3" => &["EAGAIN"],
        _ => &[],
    }
}

type Failing = (Point, &'static str);

/// Lets it fail there, and looks what comes of it and after it.
fn fail_at(scene: &Scene<'_>, failing: &Failing, trace: &Path) -> bool {
    let (Point { name, number, .. }, error) = failing;
    let before = scene.asked();
    let from_there_on = if error.ends_with('+') { "+" } else { "" };
    let error = error.trim_end_matches('+');
    let inject = format!("--inject={name}:error={error}:when={number}{from_there_on}");
    let output = scene.run(&[&format!("--trace={name}"), &inject], trace);
    let run = scene.world.home.finished(&output);
    let failed = run.code != 0;
    // Whatever cannot be read: a cluster that nobody trusts gets nothing.
    assert!(failed || scene.scenario.who != Who::Stranger, "{failing:?}: {run:?}");
    if failed {
        is_clear(&run, failing);
    } else if scene.scenario.arguments[0] == "get-token" {
        let whose = subject(Cluster::shared(), &run.token());
        assert_eq!(whose, Some(scene.world.engine.reader()), "{failing:?}: {run:?}");
    }
    scene.left(failing);
    let said = scene.next_is_right(failing);
    // A failure is remembered for some seconds.
    assert!(said.is_empty() || said.starts_with("warning: an older token is used"), "{failing:?}: {said}");
    let after = scene.asked();
    let asked = [0, 1, 2].map(|index| after[index] - before[index]);
    // A request that broke off is not simply sent again.
    let most = if scene.scenario.arguments == ["reseal"] { 0 } else { 2 };
    assert!(asked.iter().all(|times| *times <= most), "{failing:?}: {asked:?}");
    failed
}

/// One clear error: never a panic, never half a credential.
fn is_clear(run: &Run, failing: &Failing) {
    assert!((1..=9).contains(&run.code), "{failing:?}: {run:?}");
    let is_told = run.stderr.starts_with("error: ") || run.stderr.is_empty();
    assert!(is_told && !run.stderr.contains("panicked"), "{failing:?}: {run:?}");
}

fn fail_everywhere(scenario: &'static Scenario) {
    let each = |points: Vec<Point>| -> Vec<Failing> {
        let all = points.into_iter();
        all.flat_map(|point| errors(&point).iter().map(move |error| (point.clone(), *error))).collect()
    };
    let outcomes = at_each(scenario, each, fail_at);
    let failed = outcomes.iter().filter(|failed| **failed).count();
    let name = scenario.arguments.join(" ");
    println!("{name}: {} failing calls, {failed} told, the rest gone on without", outcomes.len());
    assert!(outcomes.len() > 60 && failed > 0, "{failed} of {}", outcomes.len());
}

#[test]
fn a_first_call_in_which_a_system_call_fails_ends_well_or_clearly() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::Nothing, who: Who::Client };
    fail_everywhere(&SCENARIO);
}

#[test]
fn a_refresh_in_which_a_system_call_fails_ends_well_or_clearly() {
    static SCENARIO: Scenario = Scenario { arguments: &["refresh"], before: Before::Fresh, who: Who::Person };
    fail_everywhere(&SCENARIO);
}

#[test]
fn a_first_call_that_cannot_make_its_sealing_key_ends_well_or_clearly() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::NoKey, who: Who::Client };
    fail_everywhere(&SCENARIO);
}

#[test]
fn a_new_sealing_key_during_which_a_system_call_fails_loses_nothing() {
    static SCENARIO: Scenario = Scenario { arguments: &["reseal"], before: Before::Fresh, who: Who::Person };
    fail_everywhere(&SCENARIO);
}

#[test]
fn a_renewal_in_which_a_system_call_fails_loses_nothing() {
    static SCENARIO: Scenario = Scenario { arguments: &["renew"], before: Before::Due, who: Who::Caller };
    fail_everywhere(&SCENARIO);
}

#[test]
fn a_strange_cluster_in_whose_call_a_system_call_fails_gets_nothing() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::Fresh, who: Who::Stranger };
    fail_everywhere(&SCENARIO);
}
