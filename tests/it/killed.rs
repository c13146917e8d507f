//! `kill -9` at every system call of what keeps something: a first call, a refresh, a renewal beside
//! the caller, and the call that starts one. Which calls there are is found by tracing. Whatever was
//! killed, the next call gives a right token in time, asks a Vault for what was not kept and for
//! nothing else, and no file is half written.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use crate::scene::{Before, Point, Scenario, Scene, Who, at_each};

/// What a point came to.
struct Outcome {
    killed: bool,
    log_ins: usize,
    mints: usize,
}

/// Kills it there, and looks what comes after.
fn kill_at(scene: &Scene<'_>, point: &Point, trace: &Path) -> Outcome {
    let Point { name, number, .. } = point;
    let before = scene.asked();
    let inject = format!("--inject={name}:signal=KILL:when={number}");
    let output = scene.run(&[&format!("--trace={name}"), &inject], trace);
    let left = scene.left(point);
    assert_eq!(scene.next_is_right(point), "", "{point:?}");
    let after = scene.asked();
    let [log_ins, mints, renewals] = [0, 1, 2].map(|index| after[index] - before[index]);
    // What was kept is asked for once in all, the rest once more at the most: what the killed one was
    // given is lost.
    let again = usize::from(!left.has_fresh_token);
    let (log_ins_allowed, mints_allowed) = match scene.scenario.before {
        Before::Nothing | Before::NoKey | Before::NoKeyInKeyring => {
            (1..=1 + usize::from(!left.has_session), 1..=1 + again)
        }
        Before::Fresh => (0..=0, 0..=usize::from(scene.scenario.arguments == ["refresh"])),
        Before::Due => (0..=0, 1..=1 + again),
    };
    let is_bounded = log_ins_allowed.contains(&log_ins) && mints_allowed.contains(&mints) && renewals <= 2;
    assert!(is_bounded, "{point:?}: {log_ins} log-ins, {mints} mints, {renewals} renewals");
    Outcome { killed: output.status.signal() == Some(9), log_ins, mints }
}

/// Kills the program of a scenario at each of its system calls. Returns the number of log-ins.
fn kill_everywhere(scenario: &'static Scenario) -> usize {
    let outcomes = at_each(scenario, |points| points, kill_at);
    let count = |does: fn(&Outcome) -> usize| outcomes.iter().map(does).sum::<usize>();
    let (killed, log_ins) = (count(|one| usize::from(one.killed)), count(|one| one.log_ins));
    let lost = count(|one| usize::from(one.log_ins > 1 || one.mints > 1));
    let (points, mints) = (outcomes.len(), count(|one| one.mints));
    let name = scenario.arguments.join(" ");
    println!("{name}: {points} points, {killed} killed, {log_ins} log-ins, {mints} mints, {lost} lost");
    // One run may make some calls less than the next: those of its allocator, and its waiting.
    assert!(killed * 10 >= points * 9 && points > 60, "{killed} of {points}");
    log_ins
}

#[test]
fn a_first_call_that_is_killed_anywhere_costs_the_next_one_what_was_not_kept() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::Nothing, who: Who::Client };
    kill_everywhere(&SCENARIO);
}

#[test]
fn a_first_call_that_is_killed_while_it_makes_the_sealing_key_wedges_nobody() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::NoKey, who: Who::Client };
    kill_everywhere(&SCENARIO);
}

#[test]
fn a_first_call_that_is_killed_while_it_makes_the_key_in_gnome_keyring_wedges_nobody() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::NoKeyInKeyring, who: Who::Client };
    kill_everywhere(&SCENARIO);
}

#[test]
fn a_new_sealing_key_that_is_killed_anywhere_loses_nothing() {
    static SCENARIO: Scenario = Scenario { arguments: &["reseal"], before: Before::Fresh, who: Who::Person };
    assert_eq!(kill_everywhere(&SCENARIO), 0);
}

#[test]
fn a_refresh_that_is_killed_anywhere_leaves_the_old_token_or_the_new_one() {
    static SCENARIO: Scenario = Scenario { arguments: &["refresh"], before: Before::Fresh, who: Who::Person };
    assert_eq!(kill_everywhere(&SCENARIO), 0);
}

#[test]
fn a_renewal_that_is_killed_anywhere_leaves_the_old_token_or_the_new_one() {
    static SCENARIO: Scenario = Scenario { arguments: &["renew"], before: Before::Due, who: Who::Caller };
    assert_eq!(kill_everywhere(&SCENARIO), 0);
}

#[test]
fn a_caller_that_is_killed_while_it_starts_a_renewal_leaves_the_old_token_or_the_new_one() {
    static SCENARIO: Scenario = Scenario { arguments: &["get-token"], before: Before::Due, who: Who::Person };
    assert_eq!(kill_everywhere(&SCENARIO), 0);
}
