//! Many processes at once: one of them does the work, and the others have what came of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use vaulttoken::cache::TokenStore;
use vaulttoken::config::Store;
use vaulttoken::env::Env;
use vaulttoken::keystore::Keystore;

use crate::engine::{self, subject};
use crate::front::{Fault, LIMIT, World};
use crate::home::{PLUGIN, Run};
use crate::rig::{Cluster, Reply, poll};

const MANY: usize = 100;

/// So many processes at once that each want a token; `held` is called once all but one wait.
fn storm(world: &World, timeout: &str, held: Option<&dyn Fn()>) -> Vec<Run> {
    let log = |number| world.home.path(&format!("log-{number}"));
    let children: Vec<_> = (0..MANY)
        .map(|number| {
            let mut command = world.home.command(&["get-token", "-v", timeout]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log(number)).unwrap());
            command.spawn().unwrap()
        })
        .collect();
    let read = |number| std::fs::read_to_string(log(number)).unwrap();
    if let Some(release) = held {
        let waits = |number: &usize| read(*number).contains("waiting for another process");
        poll("all who wait for one", LIMIT, || ((0..MANY).filter(waits).count() == MANY - 1).then_some(()));
        release();
    }
    let finish = |(number, child): (usize, std::process::Child)| {
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Run { code: output.status.code().unwrap(), stdout, stderr: read(number) }
    };
    children.into_iter().enumerate().map(finish).collect()
}

#[test]
fn a_hundred_at_once_cause_one_log_in_and_one_mint() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    world.hold(&world.mint_path(), Reply::Passed);
    let runs = storm(&world, "--timeout=100s", Some(&|| world.release()));
    let token = runs[0].token();
    world.home.plant(&token);
    for run in &runs {
        assert_eq!((run.code, run.token()), (0, token.clone()), "{}", run.stderr);
    }
    assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()));
    assert_eq!(world.done(&world.log_in_path()), 1);
    assert_eq!(world.done(&world.mint_path()), 1);
}

#[test]
fn a_hundred_at_once_share_the_failure_of_the_one_that_asked() {
    let engine = engine::shared();
    for path in [World::log_in_path, World::mint_path] {
        let world = World::new(&engine, 3600);
        let path = path(&world);
        world.hold(&path, Reply::json(503, &json!({"errors": ["Vault is sealed"]})));
        let runs = storm(&world, "--timeout=100s", Some(&|| world.release()));
        let line = format!("error: profile `prod`: `{}` is sealed", world.address);
        for run in &runs {
            assert_eq!((run.code, run.stdout.as_str()), (5, ""), "{run:?}");
            assert_eq!(run.stderr.lines().filter(|other| **other == line).count(), 1, "{run:?}");
        }
        assert_eq!((world.asked(&path), world.done(&path)), (1, 0));
    }
}

/// Nobody outwaits the one that asks by so little that it asks itself.
#[test]
fn a_hundred_at_once_at_a_vault_that_hangs_do_not_all_ask() {
    let engine = engine::shared();
    let mut world = World::new(&engine, 3600);
    let path = world.log_in_path();
    world.suffer(Fault::Answers(Reply::Hung, usize::MAX), &path);
    let runs = storm(&world, "--timeout=3s", None);
    for run in &runs {
        assert_eq!((run.code, run.stdout.as_str()), (5, ""), "{run:?}");
    }
    // Who comes after the first failure may try again.
    let asked = world.asked(&path);
    assert!(asked <= 5, "asked {asked} times");
}

/// Spawns the plugin itself, so that it is the one that is killed.
fn start(world: &World<'_>, arguments: &[&str]) -> Child {
    let mut command = Command::new(PLUGIN);
    world.home.prepare(&mut command);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What came of it; the bare token is a secret from now on.
fn end(world: &World<'_>, child: Child) -> Option<String> {
    let output = child.wait_with_output().unwrap();
    if output.status.signal() == Some(9) {
        return None;
    }
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    world.home.plant(&token);
    Some(token)
}

#[test]
fn a_leader_that_is_killed_is_replaced_by_one_of_those_who_wait() {
    let engine = engine::shared();
    for path in [World::log_in_path, World::mint_path] {
        let world = World::new(&engine, 3600);
        let path = path(&world);
        world.hold(&path, Reply::Passed);
        let mut leader = start(&world, &["token"]);
        poll("the leader's request", LIMIT, || (world.asked(&path) == 1).then_some(()));
        let waiting: Vec<_> = (0..10).map(|_| start(&world, &["token"])).collect();
        leader.kill().unwrap();
        assert_eq!(end(&world, leader), None);
        // Whoever follows asks, and nobody else.
        poll("the next request", LIMIT, || (world.asked(&path) == 2).then_some(()));
        world.release();
        let tokens: Vec<_> = waiting.into_iter().map(|child| end(&world, child).unwrap()).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_eq!(subject(Cluster::shared(), &tokens[0]), Some(engine.reader()));
        assert_eq!(world.asked(&path), 2);
    }
}

#[test]
fn a_leader_that_hangs_is_outwaited_and_harms_nobody_when_it_goes_on() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    let path = world.mint_path();
    world.hold(&path, Reply::Passed);
    let leader = start(&world, &["token"]);
    poll("the leader's request", LIMIT, || (world.asked(&path) == 1).then_some(()));
    let id = Pid::from_raw(leader.id().cast_signed()).unwrap();
    kill_process(id, Signal::STOP).unwrap();
    world.release();
    let began = Instant::now();
    let token = end(&world, start(&world, &["token", "--timeout=3s"])).unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()));
    kill_process(id, Signal::CONT).unwrap();
    let late = end(&world, leader).unwrap();
    assert_eq!(subject(Cluster::shared(), &late), Some(engine.reader()));
    assert_eq!(world.asked(&path), 2);
}

/// As many rounds as `make storm` says; some where nothing is said.
fn rounds() -> usize {
    let said = std::env::var("VAULTTOKEN_TEST_STORM_ROUNDS").ok();
    said.map_or(12, |said| said.parse().expect("VAULTTOKEN_TEST_STORM_ROUNDS is a number"))
}

/// Numbers that look random and are the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Puts the kept token near its end, or past it.
fn age(tokens: &TokenStore, is_over: bool) {
    let now = chrono::Utc::now();
    for (key, mut kept) in tokens.list() {
        kept.token.refresh_after = now - chrono::TimeDelta::minutes(2);
        if is_over {
            kept.token.usable_until = now - chrono::TimeDelta::minutes(1);
        }
        tokens.store(&key, &kept.token, &kept.about).unwrap();
    }
}

#[test]
fn a_hundred_at_once_in_many_rounds_with_kills_and_expiry() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    let env = Env::of(world.home.variables());
    world.get_token().quiet();
    let place =
        Arc::new(Keystore::open(Store::Auto, &env, Duration::ZERO).unwrap_or_else(|error| panic!("{error}")));
    let tokens = TokenStore::new(&place);
    let (mut dice, mut killed, mut right) = (Dice(0x9E37_79B9_7F4A_7C15), 0, BTreeSet::new());
    let (log_ins, mints) = (world.asked(&world.log_in_path()), world.asked(&world.mint_path()));
    let rounds = rounds();
    for round in 0..rounds {
        match dice.below(4) {
            0 => age(&tokens, false),
            1 => age(&tokens, true),
            2 => fs::remove_dir_all(world.home.path(".cache/vaulttoken")).unwrap(),
            _ => {}
        }
        let mut children = Vec::new();
        for _ in 0..MANY {
            children.push(start(&world, &["token"]));
            // One of the youngest, at no particular moment of its life.
            if dice.below(30) == 0 {
                let age = usize::try_from(dice.below(4)).unwrap().min(children.len() - 1);
                let victim = children.len() - 1 - age;
                let _ = children[victim].kill();
            }
        }
        let given: Vec<_> = children.into_iter().map(|child| end(&world, child)).collect();
        killed += given.iter().filter(|token| token.is_none()).count();
        for token in given.into_iter().flatten() {
            if !right.contains(&token) {
                assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()), "round {round}");
                right.insert(token);
            }
        }
    }
    let log_ins = world.asked(&world.log_in_path()) - log_ins;
    let mints = world.asked(&world.mint_path()) - mints;
    println!(
        "{rounds} rounds of {MANY}: {killed} killed, {log_ins} log-ins, {mints} mints, {} tokens",
        right.len()
    );
    assert!(mints <= rounds + killed && log_ins == 0, "{mints} mints, {log_ins} log-ins");
    assert!(mints > 0 && killed > 0);
}
