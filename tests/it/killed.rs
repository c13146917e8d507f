//! `kill -9` at every system call of what keeps something: a first call, a refresh, a renewal beside
//! the caller, and the call that starts one. Which calls there are is found by tracing. Whatever was
//! killed, the next call gives a right token in time, asks a Vault for what was not kept and for
//! nothing else, and no file is half written.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use vaulttoken::cache::{Sessions, TokenStore};
use vaulttoken::config::Store;
use vaulttoken::env::Env;
use vaulttoken::journal;
use vaulttoken::keystore::{Keystore, Place};
use vaulttoken::renew::Task;

use crate::engine::{self, subject};
use crate::front::World;
use crate::home::PLUGIN;
use crate::rig::{Cluster, folder, tool, unique};

/// What the next call may use of the network. A wedge at a lock would last longer.
const TIMEOUT: &str = "--timeout=15s";
const IN_TIME: Duration = Duration::from_secs(15);

/// Homes that are killed in beside each other. Each has a Kubernetes engine of its own, which makes
/// some five tokens a second.
const HOMES: usize = 4;

const RENEW: &str = "/v1/auth/token/renew-self";

/// What is there before a program is killed.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// A session and a fresh token.
    Fresh,
    /// A session that wanes, and a token that is due.
    Due,
}

struct Scenario {
    arguments: &'static [&'static str],
    before: Before,
    /// It is the child that renews, and is told what by its standard input.
    is_child: bool,
}

/// The so-many-th system call of this name.
type Point = (String, usize);

/// A program that can be killed in, and what is there before.
struct Scene<'a> {
    world: World<'a>,
    scenario: &'static Scenario,
    /// The files that are there before.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// What all points of a scenario came to.
#[derive(Debug, Default)]
struct Sum {
    points: usize,
    killed: usize,
    log_ins: usize,
    mints: usize,
    /// A session or a token was given and not kept: nobody else will ever use it.
    lost: usize,
}

impl Scene<'_> {
    fn new<'a>(world: World<'a>, scenario: &'static Scenario) -> Scene<'a> {
        let mut scene = Scene { world, scenario, files: Vec::new() };
        // Also where nothing is to be there before: the key is made once.
        scene.world.get_token().quiet();
        if scenario.before == Before::Due {
            scene.age();
        }
        if scenario.before != Before::Nothing {
            scene.files = [scene.cache(), scene.sessions()].iter().flat_map(|path| kept(path)).collect();
            assert_eq!(scene.files.len(), 2, "{:?}", scene.files);
        }
        scene
    }

    fn cache(&self) -> PathBuf {
        self.world.home.path(".cache/vaulttoken")
    }

    fn state(&self) -> PathBuf {
        self.world.home.path(".local/state/vaulttoken")
    }

    fn sessions(&self) -> PathBuf {
        self.state().join("sessions")
    }

    fn place(&self) -> Arc<Place> {
        let env = Env::of(self.world.home.variables());
        Arc::new(Keystore::open(Store::Auto, &env, Duration::ZERO).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Puts the token and the session where most of their lives are over.
    fn age(&self) {
        let (place, now) = (self.place(), Utc::now());
        let tokens = TokenStore::new(&place);
        for (key, mut kept) in tokens.list() {
            kept.token.refresh_after = now - TimeDelta::minutes(1);
            tokens.store(&key, &kept.token, &kept.about).unwrap();
        }
        let sessions = Sessions::new(&place, Duration::ZERO, Box::new(|| ()));
        for (key, mut session) in sessions.list() {
            session.obtained_at = now - TimeDelta::minutes(50);
            session.expires_at = Some(now + TimeDelta::minutes(10));
            sessions.store(&key, &session).unwrap();
        }
    }

    fn reset(&self) {
        for path in [self.cache(), self.sessions()] {
            let _ = fs::remove_dir_all(&path);
        }
        let _ = fs::remove_file(self.state().join(journal::NAME));
        for (path, content) in &self.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    }

    /// Runs it under `strace`; the trace, and whether it was killed.
    fn run(&self, options: &[&str], trace: &Path) -> (String, bool) {
        self.reset();
        let mut command = Command::new(tool("strace"));
        // Without strings, so that no trace holds a secret.
        command.args(["--string-limit=0", "--output"]).arg(trace).args(options).arg(PLUGIN);
        self.world.home.prepare(&mut command);
        command.args(self.scenario.arguments).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        if self.scenario.is_child {
            let variables = self.world.home.variables();
            let env = Env::settled(variables.clone(), Vec::new(), variables);
            let arguments = vec![PLUGIN.to_owned(), "get-token".to_owned()];
            let task = serde_json::to_vec(&Task::new(arguments, &env, "killed".into())).unwrap();
            // Who is killed before it has read does not read.
            let _ = input.write_all(&task);
        }
        drop(input);
        let status = child.wait().unwrap();
        (fs::read_to_string(trace).unwrap(), status.signal() == Some(9))
    }

    /// All its system calls, from the first that `main` makes.
    fn points(&self, trace: &Path) -> Vec<Point> {
        let (text, was_killed) = self.run(&[], trace);
        assert!(!was_killed);
        let (mut counts, mut points, mut in_main) = (BTreeMap::<&str, usize>::new(), Vec::new(), false);
        for line in text.lines() {
            let Some((name, _)) = line.split_once('(').filter(|(name, _)| !name.contains(' ')) else {
                continue;
            };
            let count = counts.entry(name).or_default();
            *count += 1;
            // The first thing that `main` does is to forbid core files.
            in_main |= line.contains("RLIMIT_CORE");
            if in_main {
                points.push((name.to_owned(), *count));
            }
        }
        points
    }

    fn asked(&self) -> [usize; 3] {
        let world = &self.world;
        [world.asked(&world.log_in_path()), world.asked(&world.mint_path()), world.asked(RENEW)]
    }

    /// Kills it there, and looks what comes after.
    fn kill_at(&self, point: &Point, trace: &Path) -> Sum {
        let (name, number) = point;
        let before = self.asked();
        let inject = format!("--inject={name}:signal=KILL:when={number}");
        let trace_only = format!("--trace={name}");
        let (_, killed) = self.run(&[&trace_only, &inject], trace);
        let place = self.place();
        let tokens = TokenStore::new(&place).list();
        let sessions = Sessions::new(&place, Duration::ZERO, Box::new(|| ())).list();
        assert_eq!(kept(&self.cache()).len(), tokens.len(), "{point:?}: half written");
        assert_eq!(kept(&self.sessions()).len(), sessions.len(), "{point:?}: half written");
        if self.scenario.before != Before::Nothing {
            assert_eq!((tokens.len(), sessions.len()), (1, 1), "{point:?}: lost");
        }
        if let Ok(content) = fs::read(self.state().join(journal::NAME)) {
            journal::verify(&content, None).unwrap_or_else(|error| panic!("{point:?}: {error}"));
        }

        let began = Instant::now();
        // It renews what is due itself, and leaves nobody behind.
        let run = self.world.home.run_for_secret(&["token", TIMEOUT]).quiet();
        assert!(began.elapsed() < IN_TIME, "{point:?} took {:?}", began.elapsed());
        let token = run.stdout.trim();
        let whose = subject(Cluster::shared(), token);
        assert_eq!(whose, Some(self.world.engine.reader()), "{point:?}: {run:?}");
        let after = self.asked();
        let [log_ins, mints, renewals] = [0, 1, 2].map(|index| after[index] - before[index]);
        // What was kept is asked for once in all, the rest once more at the most: what the killed one
        // was given is lost.
        let is_fresh = tokens.iter().any(|(_, kept)| kept.token.refresh_after > Utc::now());
        let (log_ins_allowed, mints_allowed) = match self.scenario.before {
            Before::Nothing => (1..=1 + usize::from(sessions.is_empty()), 1..=1 + usize::from(!is_fresh)),
            Before::Fresh => (0..=0, 0..=1),
            Before::Due => (0..=0, 1..=1 + usize::from(!is_fresh)),
        };
        let is_bounded =
            log_ins_allowed.contains(&log_ins) && mints_allowed.contains(&mints) && renewals <= 2;
        assert!(is_bounded, "{point:?}: {log_ins} log-ins, {mints} mints, {renewals} renewals");
        Sum {
            points: 1,
            killed: usize::from(killed),
            log_ins,
            mints,
            lost: usize::from(log_ins > 1 || mints > 1),
        }
    }
}

/// The tokens or sessions of a folder as they lie there.
fn kept(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_kept = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "token" || kind == "session");
    entries.filter(is_kept).map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Kills the program of a scenario at each of its system calls.
fn kill_everywhere(scenario: &'static Scenario) -> Sum {
    let (points, sum) = (Mutex::new(None::<Vec<Point>>), Mutex::new(Sum::default()));
    thread::scope(|scope| {
        for _ in 0..HOMES {
            scope.spawn(|| {
                let engine = engine::shared();
                let scene = Scene::new(World::new(&engine, 3600), scenario);
                let trace = folder("killed").join(unique("trace"));
                loop {
                    let next = points.lock().unwrap().get_or_insert_with(|| scene.points(&trace)).pop();
                    let Some(point) = next else { break };
                    let of_this = scene.kill_at(&point, &trace);
                    let mut sum = sum.lock().unwrap();
                    sum.points += of_this.points;
                    sum.killed += of_this.killed;
                    sum.log_ins += of_this.log_ins;
                    sum.mints += of_this.mints;
                    sum.lost += of_this.lost;
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    println!("{}: {sum:?}", scenario.arguments.join(" "));
    // One run may make some calls less than the next: those of its allocator, and its waiting.
    assert!(sum.killed * 10 >= sum.points * 9 && sum.points > 60, "{sum:?}");
    sum
}

#[test]
fn a_first_call_that_is_killed_anywhere_costs_the_next_one_what_was_not_kept() {
    static SCENARIO: Scenario =
        Scenario { arguments: &["get-token"], before: Before::Nothing, is_child: false };
    kill_everywhere(&SCENARIO);
}

#[test]
fn a_refresh_that_is_killed_anywhere_leaves_the_old_token_or_the_new_one() {
    static SCENARIO: Scenario = Scenario { arguments: &["refresh"], before: Before::Fresh, is_child: false };
    let sum = kill_everywhere(&SCENARIO);
    assert_eq!(sum.log_ins, 0, "{sum:?}");
}

#[test]
fn a_renewal_that_is_killed_anywhere_leaves_the_old_token_or_the_new_one() {
    static SCENARIO: Scenario = Scenario { arguments: &["renew"], before: Before::Due, is_child: true };
    let sum = kill_everywhere(&SCENARIO);
    assert_eq!(sum.log_ins, 0, "{sum:?}");
}

#[test]
fn a_caller_that_is_killed_while_it_starts_a_renewal_leaves_the_old_token_or_the_new_one() {
    static SCENARIO: Scenario = Scenario { arguments: &["get-token"], before: Before::Due, is_child: false };
    let sum = kill_everywhere(&SCENARIO);
    assert_eq!(sum.log_ins, 0, "{sum:?}");
}
