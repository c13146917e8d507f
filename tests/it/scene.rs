//! The real program at each of its system calls: a home with what is there before, the program run in
//! it under `strace`, which can kill it at a call or make the call fail, and a look at what is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use vaulttoken::cache::{Sessions, TokenStore};
use vaulttoken::config::Store;
use vaulttoken::env::Env;
use vaulttoken::journal;
use vaulttoken::keystore::{Keystore, Place};
use vaulttoken::renew::Task;

use crate::engine::{self, subject};
use crate::front::World;
use crate::home::{PLUGIN, exec_info};
use crate::kernel_keys;
use crate::rig::{Cluster, SecretService, folder, tool, unique};

/// What the next call may use of the network. A wedge at a lock would last longer.
const TIMEOUT: &str = "--timeout=15s";
const IN_TIME: Duration = Duration::from_secs(15);

/// Homes that are killed in beside each other. Each has a Kubernetes engine of its own, which makes
/// some five tokens a second.
const HOMES: usize = 4;

const RENEW: &str = "/v1/auth/token/renew-self";

/// What is there before a program is killed.
#[derive(Clone, Copy, PartialEq)]
pub enum Before {
    Nothing,
    /// Not even a sealing key.
    NoKey,
    /// The same, and GNOME's keyring to make it in.
    NoKeyInKeyring,
    /// A session and a fresh token.
    Fresh,
    /// A session that wanes, and a token that is due.
    Due,
}

/// What is run, and what is there before.
pub struct Scenario {
    pub arguments: &'static [&'static str],
    pub before: Before,
    pub who: Who,
}

impl Scenario {
    /// Whether a token and a session are there before.
    pub fn has_entries(&self) -> bool {
        matches!(self.before, Before::Fresh | Before::Due)
    }
}

/// Who runs it.
#[derive(Clone, Copy, PartialEq)]
pub enum Who {
    /// A person or a job.
    Person,
    /// A client that says for which cluster.
    Client,
    /// A client with another cluster than the one that was served before.
    Stranger,
    /// A caller that has its token: it is the child that renews, told what by its standard input.
    Caller,
}

/// A system call: the so-many-th of its name.
#[derive(Clone, Debug)]
pub struct Point {
    pub name: String,
    pub number: usize,
    /// As `strace` writes it, with what a descriptor stands for.
    pub line: String,
}

/// A home in which it is run again and again.
pub struct Scene<'a> {
    pub world: World<'a>,
    pub scenario: &'static Scenario,
    /// The files that are there before.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// The sealing key that is there before, where a run changes it.
    key: Option<(String, Vec<u8>)>,
    /// The keyring of the system, where there is one.
    keyring: Option<SecretService>,
    /// A folder in memory, where a run may find no keyring.
    memory: Option<TempDir>,
}

impl Scene<'_> {
    pub fn new<'a>(world: World<'a>, scenario: &'static Scenario) -> Scene<'a> {
        let keyring = (scenario.before == Before::NoKeyInKeyring).then(SecretService::start);
        for (name, value) in keyring.iter().flat_map(SecretService::environment) {
            world.home.set(name, &value);
        }
        let in_memory = || TempDir::with_prefix_in("vaulttoken-scene-", "/dev/shm").unwrap();
        let memory = (scenario.before == Before::NoKey).then(in_memory);
        if let Some(memory) = &memory {
            world.home.set("XDG_RUNTIME_DIR", memory.path().to_str().unwrap());
        }
        let mut scene = Scene { world, scenario, files: Vec::new(), key: None, keyring, memory };
        // Also where nothing is to be there before: the key is made once.
        scene.world.home.get_token(&[], scene.says_which_cluster().then(info).as_ref()).quiet();
        if scenario.before == Before::Due {
            scene.age();
        }
        if scenario.arguments == ["reseal"] {
            let name = scene.world.home.keyring_service();
            scene.key = kernel_keys::read(&name).map(|key| (name, key));
            assert!(scene.key.is_some(), "the kernel refuses its keyring");
        }
        if scenario.has_entries() {
            let folders = [scene.cache(), scene.sessions(), scene.state()];
            scene.files = folders.iter().flat_map(|path| kept(path)).collect();
            let known = usize::from(scene.says_which_cluster());
            assert_eq!(scene.files.len(), 2 + known, "{:?}", scene.files);
        }
        scene
    }

    fn says_which_cluster(&self) -> bool {
        matches!(self.scenario.who, Who::Client | Who::Stranger)
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
        let in_memory = self.memory.iter().map(|memory| memory.path().join("vaulttoken"));
        for path in [self.cache(), self.state()].into_iter().chain(in_memory) {
            let _ = fs::remove_dir_all(&path);
        }
        let previous = format!("{}.previous", self.world.home.keyring_service());
        match (&self.key, self.scenario.before) {
            (Some((name, key)), _) => {
                kernel_keys::write(name, key);
                kernel_keys::remove(&previous);
            }
            (None, Before::NoKey | Before::NoKeyInKeyring) => {
                let name = self.world.home.keyring_service();
                kernel_keys::remove(&name);
                if let Some(keyring) = &self.keyring {
                    keyring.clear(&["service", &name, "username", "sealing-key"]);
                }
            }
            (None, _) => {}
        }
        for (path, content) in &self.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    }

    /// Runs it under `strace`, from the same beginning.
    pub fn run(&self, options: &[&str], trace: &Path) -> Output {
        self.reset();
        let mut command = Command::new(tool("strace"));
        // Without strings, so that no trace holds a secret.
        command.args(["--string-limit=0", "--output"]).arg(trace).args(options);
        // The bus is spoken to by a thread of its own. What is counted is counted for each.
        command.args(self.keyring.is_some().then_some("--follow-forks")).arg(PLUGIN);
        self.world.home.prepare(&mut command);
        match self.scenario.who {
            Who::Client => drop(command.env("KUBERNETES_EXEC_INFO", info().to_string())),
            Who::Stranger => drop(command.env("KUBERNETES_EXEC_INFO", info_of("other").to_string())),
            Who::Person | Who::Caller => {}
        }
        command.args(self.scenario.arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        if self.scenario.who == Who::Caller {
            let variables = self.world.home.variables();
            let env = Env::settled(variables.clone(), Vec::new(), variables);
            let arguments = vec![PLUGIN.to_owned(), "get-token".to_owned()];
            let task = serde_json::to_vec(&Task::new(arguments, &env, "traced".into())).unwrap();
            // Who is killed before it has read does not read.
            let _ = input.write_all(&task);
        }
        drop(input);
        child.wait_with_output().unwrap()
    }

    /// All its system calls, from the first that `main` makes.
    pub fn points(&self, trace: &Path) -> Vec<Point> {
        let output = self.run(&["--decode-fds=path"], trace);
        assert_eq!(output.status.success(), self.scenario.who != Who::Stranger, "{output:?}");
        let text = fs::read_to_string(trace).unwrap();
        let (mut counts, mut in_main) = (BTreeMap::<(&str, &str), usize>::new(), false);
        let mut points: Vec<Point> = Vec::new();
        for line in text.lines() {
            // Before the call, the thread, where they are followed.
            let call = line.trim_start_matches(|character: char| character.is_ascii_digit());
            let (thread, call) = (&line[..line.len() - call.len()], call.trim_start());
            let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.contains(' ')) else {
                continue;
            };
            let count = counts.entry((thread, name)).or_default();
            *count += 1;
            // The first thing that `main` does is to forbid core files.
            in_main |= call.contains("RLIMIT_CORE");
            let is_known = points.iter().any(|point| point.name == name && point.number == *count);
            if in_main && !is_known {
                points.push(Point { name: name.to_owned(), number: *count, line: call.to_owned() });
            }
        }
        points
    }

    /// How often the server before the vault was asked for a log-in, a mint and a renewal.
    pub fn asked(&self) -> [usize; 3] {
        let world = &self.world;
        [world.asked(&world.log_in_path()), world.asked(&world.mint_path()), world.asked(RENEW)]
    }

    /// What lies there now; all of it opens.
    pub fn left(&self, what: &dyn std::fmt::Debug) -> Left {
        // A bus that another process speaks to is none of ours: we would make a key of our own.
        if self.keyring.is_some() && kernel_keys::read(&self.world.home.keyring_service()).is_none() {
            assert!(kept(&self.cache()).is_empty() && kept(&self.sessions()).is_empty(), "{what:?}: sealed");
            return Left { has_session: false, has_fresh_token: false };
        }
        let place = self.place();
        let tokens = TokenStore::new(&place).list();
        let sessions = Sessions::new(&place, Duration::ZERO, Box::new(|| ())).list();
        assert_eq!(kept(&self.cache()).len(), tokens.len(), "{what:?}: half written");
        assert_eq!(kept(&self.sessions()).len(), sessions.len(), "{what:?}: half written");
        if self.scenario.has_entries() {
            assert_eq!((tokens.len(), sessions.len()), (1, 1), "{what:?}: lost");
        }
        if let Ok(content) = fs::read(self.state().join(journal::NAME)) {
            journal::verify(&content, None).unwrap_or_else(|error| panic!("{what:?}: {error}"));
        }
        let has_fresh_token = tokens.iter().any(|(_, kept)| kept.token.refresh_after > Utc::now());
        Left { has_session: !sessions.is_empty(), has_fresh_token }
    }

    /// The next call: a right token, in time. Returns what it said.
    pub fn next_is_right(&self, what: &dyn std::fmt::Debug) -> String {
        let (home, began) = (&self.world.home, Instant::now());
        let (run, token);
        if self.says_which_cluster() {
            run = home.get_token(&[TIMEOUT], Some(&info())).succeeded();
            token = run.token();
        } else {
            // It renews what is due itself, and leaves nobody behind.
            run = home.run_for_secret(&["token", TIMEOUT]).succeeded();
            token = run.stdout.trim().to_owned();
        }
        assert!(began.elapsed() < IN_TIME, "{what:?} took {:?}", began.elapsed());
        assert_eq!(subject(Cluster::shared(), &token), Some(self.world.engine.reader()), "{what:?}");
        run.stderr
    }
}

/// What a run left.
pub struct Left {
    pub has_session: bool,
    pub has_fresh_token: bool,
}

/// What a client says that names its cluster.
fn info() -> Value {
    info_of("prod")
}

fn info_of(cluster: &str) -> Value {
    exec_info("v1", Some(json!({"server": format!("https://{cluster}.example:6443"), "config": null})))
}

/// The tokens, sessions and known clusters of a folder as they lie there.
fn kept(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let kinds = ["token", "session", "json"];
    let is_kept = |path: &PathBuf| path.extension().is_some_and(|kind| kinds.iter().any(|one| kind == *one));
    entries.filter(is_kept).map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Does something at each of these moments of a scenario, in several homes beside each other.
pub fn at_each<T: Clone + Send, R: Send>(
    scenario: &'static Scenario,
    moments: impl Fn(Vec<Point>) -> Vec<T> + Sync,
    deed: impl Fn(&Scene<'_>, &T, &Path) -> R + Sync,
) -> Vec<R> {
    let (left, results) = (Mutex::new(None::<Vec<T>>), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..HOMES {
            scope.spawn(|| {
                let engine = engine::shared();
                let scene = Scene::new(World::new(&engine, 3600), scenario);
                let trace = folder("scene").join(unique("trace"));
                let next = || left.lock().unwrap().get_or_insert_with(|| moments(scene.points(&trace))).pop();
                while let Some(moment) = next() {
                    let result = deed(&scene, &moment, &trace);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap()
}
