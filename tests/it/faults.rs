//! Faults between this program and a real vault, for each of the four things that it asks of one: a
//! log-in, a mint, the renewal of a session and its revocation. Each ends in a token that the API
//! server accepts or in one clear error, in time, and the real vault is asked a bounded number of times.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::engine::{self, subject};
use crate::front::{Fault, LIMIT, World};
use crate::home::Run;
use crate::rig::{Authority, Cluster, Double, Reply, poll, unique};

/// What a call may take: its timeout of three seconds, and what busy cores add.
const IN_TIME: Duration = Duration::from_secs(8);

/// An exit code, and what the first line says; `HOST`, `PATH` and others stand for this world's names.
type Outcome = (i32, &'static str);

/// A fault and what must come of it.
struct Cell {
    name: &'static str,
    outcome: Outcome,
    /// How often the server before the vault is asked for it.
    asked: RangeInclusive<usize>,
    /// How often the vault does it.
    done: usize,
}

const fn cell(name: &'static str, outcome: Outcome, asked: RangeInclusive<usize>, done: usize) -> Cell {
    Cell { name, outcome, asked, done }
}

const FINE: Outcome = (0, "");
const UNREACHABLE: Outcome = (5, "cannot reach `HOST`");
const UNTRUSTED: Outcome = (5, "no trusted TLS connection to `HOST`");
const BROKEN_OFF: Outcome = (5, "`HOST` broke off before its answer was complete");
const LATE: Outcome = (5, "no answer from `HOST` in time");
const BUSY: Outcome = (5, "`https://HOST` is too busy for another request");
const SEALED: Outcome = (5, "`https://HOST` is sealed");
const UNAVAILABLE: Outcome = (5, "`https://HOST` cannot serve at the moment (status 503)");
const LOOP: Outcome = (5, "`https://HOST` cannot serve at the moment (status 307)");
const ELSEWHERE: Outcome = (7, "`https://HOST` redirects to `ELSEWHERE`, where nothing secret is sent");
const ENDLESS: Outcome = (6, "the answer of `HOST` is larger than 4194304 bytes");
const NO_HTTP: Outcome = (6, "the answer of `HOST` is not HTTP");
const NO_VAULT: Outcome = (6, "the answer of `https://HOST` to `PATH` cannot be used");

/// A server that nobody named, and which must never hear anything.
struct Elsewhere(Double);

impl Elsewhere {
    fn new() -> Self {
        Self(Double::https(&Authority::new(&unique("elsewhere")), &[], |_| Reply::not_found()))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        assert!(thread::panicking() || self.0.seen().is_empty(), "{:?}", self.0.seen());
    }
}

/// The faults by name, for requests to `path`.
fn fault(name: &str, path: &str, elsewhere: &Elsewhere) -> Fault {
    let errors = |status, message: &str| Reply::json(status, &json!({"errors": [message]}));
    let always = |reply| Fault::Answers(reply, usize::MAX);
    let raw = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes();
    match name {
        "refused" => Fault::Refused,
        "untrusted" => Fault::Impostor,
        "dead" => Fault::Dead,
        "lost" => always(Reply::Lost),
        "lost once" => Fault::Answers(Reply::Lost, 1),
        "lost on return" => always(Reply::LostOnReturn),
        "lost on return once" => Fault::Answers(Reply::LostOnReturn, 1),
        "hung" => always(Reply::Hung),
        "hung in its body" => always(Reply::Begun(raw("Content-Length: 100", "{\"auth\""))),
        "dripping" => always(Reply::Dripped(Duration::from_millis(100), raw("Content-Length: 400", ""))),
        "slow" => always(Reply::Late(Duration::from_millis(300), Box::new(Reply::Passed))),
        "denied" => always(errors(403, "1 error occurred:\n\t* permission denied\n\n")),
        "busy" => always(errors(429, "request path \"x\": rate limit quota exceeded")),
        "busy for a minute" => always(errors(429, "quota exceeded").with_header("Retry-After", "60")),
        "busy for a second" => {
            Fault::Answers(errors(429, "quota exceeded").with_header("Retry-After", "1"), 1)
        }
        "failing" => always(errors(500, "1 error occurred:\n\t* internal error\n\n")),
        "without a leader once" => Fault::Answers(errors(500, "active cluster node not found"), 1),
        "sealed" => always(errors(503, "Vault is sealed")),
        "unavailable" => always(Reply::text(503, "text/html", "<h1>no backend</h1>")),
        "redirecting to itself" => always(errors(307, "").with_header("Location", path)),
        "redirecting elsewhere" => {
            let target = format!("{}{path}", elsewhere.0.address);
            always(errors(307, "").with_header("Location", &target))
        }
        "cut off" => always(Reply::Raw(raw("Content-Length: 100", "{\"auth\""))),
        "endless" => {
            let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000)).into_bytes();
            always(Reply::Endless(raw("Transfer-Encoding: chunked", ""), chunk))
        }
        "not HTTP" => always(Reply::Raw(b"SSH-2.0-server\r\n\r\n".to_vec())),
        "not Vault" => always(Reply::text(200, "text/html", "<h1>please log in</h1>")),
        other => panic!("no fault `{other}`"),
    }
}

impl World<'_> {
    /// The words of a cell with this world's names in them.
    fn in_words(&self, line: &str, path: &str, elsewhere: &Elsewhere) -> String {
        let host = self.address.trim_start_matches("https://");
        let (path, mount) = (path.trim_start_matches("/v1/"), format!("auth/{}", self.mount));
        let elsewhere = &elsewhere.0.address;
        let line = line.replace("HOST", host).replace("ELSEWHERE", elsewhere);
        line.replace("PATH", path).replace("AUTH", &mount).replace("MOUNT", &self.engine.mount)
    }

    /// A token that the API server takes for what it is, or the cell's words.
    fn check(&self, run: &Run, (name, (code, line)): (&str, Outcome), path: &str, elsewhere: &Elsewhere) {
        if code == 0 {
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{name}: {run:?}");
            let user = subject(Cluster::shared(), &run.token());
            assert_eq!(user, Some(self.engine.reader()), "{name}");
        } else {
            assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{name}: {run:?}");
            let line = self.in_words(line, path, elsewhere);
            let expected = format!("error: profile `prod`: {line}");
            assert_eq!(run.stderr.lines().next(), Some(expected.as_str()), "{name}: {run:?}");
        }
    }
}

/// Runs `call`, and sees that it ended in time.
fn in_time(name: &str, call: impl FnOnce() -> Run) -> Run {
    let began = Instant::now();
    let run = call();
    assert!(began.elapsed() < IN_TIME, "{name} took {:?}: {run:?}", began.elapsed());
    run
}

const LOG_IN: &[Cell] = &[
    cell("refused", UNREACHABLE, 0..=0, 0),
    cell("untrusted", UNTRUSTED, 0..=0, 0),
    cell("lost", BROKEN_OFF, 1..=1, 0),
    cell("lost on return", BROKEN_OFF, 1..=1, 1),
    cell("hung", LATE, 1..=1, 0),
    cell("hung in its body", LATE, 1..=1, 0),
    cell("dripping", LATE, 1..=1, 0),
    cell("slow", FINE, 1..=1, 1),
    cell("denied", (4, "`https://HOST` refused the log-in with `approle` at `AUTH`"), 1..=1, 0),
    cell("busy", BUSY, 3..=3, 0),
    cell("busy for a minute", BUSY, 1..=1, 0),
    cell("busy for a second", FINE, 2..=2, 1),
    cell("failing", (4, "`https://HOST` refused the log-in with `approle` at `AUTH`"), 1..=1, 0),
    cell("without a leader once", FINE, 2..=2, 1),
    cell("sealed", SEALED, 1..=1, 0),
    cell("unavailable", UNAVAILABLE, 1..=1, 0),
    cell("redirecting to itself", LOOP, 6..=6, 0),
    cell("redirecting elsewhere", ELSEWHERE, 1..=1, 0),
    cell("cut off", BROKEN_OFF, 1..=1, 0),
    cell("endless", ENDLESS, 1..=1, 0),
    cell("not HTTP", NO_HTTP, 1..=1, 0),
    cell("not Vault", NO_VAULT, 1..=1, 0),
];

#[test]
fn a_log_in_that_meets_a_fault_ends_in_a_token_or_one_clear_error() {
    let (engine, elsewhere) = (engine::shared(), Elsewhere::new());
    for cell in LOG_IN {
        let mut world = World::new(&engine, 3600);
        let path = world.log_in_path();
        world.suffer(fault(cell.name, &path, &elsewhere), &path);
        let run = in_time(cell.name, || world.get_token());
        world.check(&run, (cell.name, cell.outcome), &path, &elsewhere);
        let asked = world.asked(&path);
        assert!(cell.asked.contains(&asked), "{}: asked {asked} times", cell.name);
        assert_eq!(world.done(&path), cell.done, "{}", cell.name);
        assert_eq!(world.done(&world.mint_path()), usize::from(cell.outcome == FINE), "{}", cell.name);
        // What was mended works at once, and costs one log-in more at the most.
        if world.front.is_some() {
            world.recover();
            world.check(&world.get_token(), (cell.name, FINE), &path, &elsewhere);
            assert_eq!(world.done(&path), cell.done + usize::from(cell.outcome != FINE), "{}", cell.name);
            assert_eq!(world.done(&world.mint_path()), 1, "{}", cell.name);
        }
    }
}

const MINT: &[Cell] = &[
    cell("refused", UNREACHABLE, 0..=0, 0),
    cell("untrusted", UNTRUSTED, 0..=0, 0),
    cell("lost", BROKEN_OFF, 1..=1, 0),
    cell("lost on return", BROKEN_OFF, 1..=1, 1),
    cell("hung", LATE, 1..=1, 0),
    cell("hung in its body", LATE, 1..=1, 0),
    cell("dripping", LATE, 1..=1, 0),
    cell("slow", FINE, 1..=1, 1),
    cell("dead", FINE, 2..=2, 1),
    cell("denied", (4, "`https://HOST` denied to write to `PATH`"), 1..=1, 0),
    cell("busy", BUSY, 3..=3, 0),
    cell("busy for a minute", BUSY, 1..=1, 0),
    cell("busy for a second", FINE, 2..=2, 1),
    cell("failing", (4, "`https://HOST` refused a token for role `reader` in `MOUNT`"), 1..=1, 0),
    cell("without a leader once", FINE, 2..=2, 1),
    cell("sealed", SEALED, 1..=1, 0),
    cell("unavailable", UNAVAILABLE, 1..=1, 0),
    cell("redirecting to itself", LOOP, 6..=6, 0),
    cell("redirecting elsewhere", ELSEWHERE, 1..=1, 0),
    cell("cut off", BROKEN_OFF, 1..=1, 0),
    cell("endless", ENDLESS, 1..=1, 0),
    cell("not HTTP", NO_HTTP, 1..=1, 0),
    cell("not Vault", NO_VAULT, 1..=1, 0),
];

#[test]
fn a_mint_that_meets_a_fault_ends_in_a_token_or_one_clear_error() {
    let (engine, elsewhere) = (engine::shared(), Elsewhere::new());
    for cell in MINT {
        let mut world = World::new(&engine, 3600);
        let path = world.mint_path();
        // A session is there, and no token.
        world.home.run(&["login"]).succeeded();
        std::fs::remove_dir_all(world.home.path(".cache/vaulttoken")).unwrap();
        let (asked, done) = (world.asked(&path), world.done(&path));
        world.suffer(fault(cell.name, &path, &elsewhere), &path);
        let run = in_time(cell.name, || world.get_token());
        world.check(&run, (cell.name, cell.outcome), &path, &elsewhere);
        let asked = world.asked(&path).saturating_sub(asked);
        assert!(cell.asked.contains(&asked), "{}: asked {asked} times", cell.name);
        assert_eq!(world.done(&path) - done, cell.done, "{}", cell.name);
        // A log-in only where the session was to blame.
        assert_eq!(world.done(&world.log_in_path()), 1 + usize::from(cell.name == "dead"), "{}", cell.name);
        if world.front.is_some() {
            world.recover();
            world.check(&world.get_token(), (cell.name, FINE), &path, &elsewhere);
            let more = usize::from(cell.outcome != FINE);
            assert_eq!(world.done(&path) - done, cell.done + more, "{}", cell.name);
        }
    }
}

/// `done` is how often the job logs in again instead.
const RENEWAL: &[Cell] = &[
    cell("refused", UNREACHABLE, 0..=0, 0),
    cell("untrusted", UNTRUSTED, 0..=0, 0),
    cell("lost", FINE, 3..=3, 1),
    cell("lost once", FINE, 2..=2, 0),
    cell("lost on return", FINE, 3..=3, 1),
    cell("lost on return once", FINE, 2..=2, 0),
    cell("hung", FINE, 1..=1, 1),
    cell("hung in its body", FINE, 1..=1, 1),
    cell("dripping", FINE, 1..=1, 1),
    cell("slow", FINE, 1..=1, 0),
    cell("dead", FINE, 1..=1, 1),
    cell("denied", FINE, 1..=1, 1),
    cell("busy", FINE, 3..=3, 1),
    cell("busy for a minute", FINE, 1..=1, 1),
    cell("busy for a second", FINE, 2..=2, 0),
    cell("failing", FINE, 1..=1, 1),
    cell("without a leader once", FINE, 2..=2, 0),
    cell("sealed", FINE, 1..=1, 1),
    cell("unavailable", FINE, 3..=3, 1),
    cell("redirecting to itself", FINE, 6..=6, 1),
    cell("redirecting elsewhere", FINE, 1..=1, 1),
    cell("cut off", FINE, 3..=3, 1),
    cell("endless", FINE, 1..=1, 1),
    cell("not HTTP", FINE, 1..=3, 1),
    cell("not Vault", FINE, 1..=1, 1),
];

#[test]
fn a_renewal_that_meets_a_fault_costs_a_log_in_at_the_most() {
    let (elsewhere, path) = (Elsewhere::new(), "/v1/auth/token/renew-self");
    // They wait for the same moment, but busy cores serve no two dozen calls within one's deadline.
    let (turns, next): ([Mutex<()>; 4], _) = (Default::default(), AtomicUsize::new(0));
    let suffer = |cell: &Cell| {
        // An engine each: one makes only some tokens a second.
        let engine = engine::shared();
        let mut world = World::new(&engine, 120);
        world.home.run(&["login"]).succeeded();
        std::fs::remove_dir_all(world.home.path(".cache/vaulttoken")).unwrap();
        let end = world.status()["session"]["expiresAt"].take();
        let end: chrono::DateTime<chrono::Utc> = end.as_str().unwrap().parse().unwrap();
        let two_thirds = end - chrono::TimeDelta::seconds(39);
        poll("a session that wanes", LIMIT, || (chrono::Utc::now() > two_thirds).then_some(()));
        let turn = &turns[next.fetch_add(1, Ordering::Relaxed) % turns.len()];
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mints = world.done(&world.mint_path());
        world.suffer(fault(cell.name, path, &elsewhere), path);
        let run = in_time(cell.name, || world.home.get_token(&["--timeout=4s"], None));
        world.check(&run, (cell.name, cell.outcome), path, &elsewhere);
        let asked = world.asked(path);
        assert!(cell.asked.contains(&asked), "{}: asked {asked} times", cell.name);
        assert_eq!(world.done(&world.log_in_path()), 1 + cell.done, "{}", cell.name);
        let minted = usize::from(cell.outcome == FINE);
        assert_eq!(world.done(&world.mint_path()) - mints, minted, "{}", cell.name);
    };
    at_once(RENEWAL, suffer);
}

/// All cells beside each other: they wait for the same clock.
fn at_once(cells: &'static [Cell], suffer: impl Fn(&Cell) + Sync) {
    thread::scope(|scope| {
        for cell in cells {
            scope.spawn(|| suffer(cell));
        }
    });
}

#[test]
fn a_mint_that_fails_is_no_matter_while_the_kept_token_lives() {
    let elsewhere = Elsewhere::new();
    let suffer = |cell: &Cell| {
        if cell.outcome == FINE {
            return;
        }
        let engine = engine::shared();
        // This job may not see what kind of role it is, so its tokens end with the session.
        let mut world = World::new(&engine, 75);
        let (path, name) = (world.mint_path(), cell.name);
        let kept = world.home.get_token(&[], None).quiet().token();
        poll("a token that is due", LIMIT, || {
            (world.status()["token"]["state"] == "refreshDue").then_some(())
        });
        let before = (world.asked(&path), world.done(&path));
        world.suffer(fault(name, &path, &elsewhere), &path);
        // The first call is served at once and has it renewed beside it, which fails.
        poll("a remembered failure", LIMIT, || {
            let run = in_time(name, || world.get_token()).quiet();
            assert_eq!(run.token(), kept, "{name}");
            (world.home.journal().last().unwrap()["outcome"] == "stale").then_some(())
        });
        let asked = world.asked(&path);
        let by_this = asked.saturating_sub(before.0);
        assert!(cell.asked.contains(&by_this), "{name}: asked {by_this} times");
        for _ in 0..3 {
            assert_eq!(world.get_token().quiet().token(), kept, "{name}");
        }
        // A person hears of it, and has the token all the same.
        let run = world.home.run_for_secret(&["token"]).succeeded();
        assert_eq!(run.stdout.trim(), kept, "{name}");
        assert!(run.stderr.starts_with("warning: an older token is used"), "{name}: {}", run.stderr);
        assert_eq!(world.asked(&path), asked, "{name}: it was tried again at once");
        assert_eq!(world.done(&path) - before.1, cell.done, "{name}");
        assert_eq!(subject(Cluster::shared(), &kept), Some(engine.reader()), "{name}");
    };
    at_once(MINT, suffer);
}

const STAYS: Outcome = (0, "");

/// `done` is whether the session is dead in the end.
const REVOCATION: &[Cell] = &[
    cell("refused", UNREACHABLE, 0..=0, 0),
    cell("untrusted", UNTRUSTED, 0..=0, 0),
    cell("lost", BROKEN_OFF, 3..=3, 0),
    cell("lost once", FINE, 2..=2, 1),
    cell("lost on return", BROKEN_OFF, 3..=3, 1),
    cell("lost on return once", FINE, 2..=2, 1),
    cell("hung", LATE, 1..=1, 0),
    cell("hung in its body", LATE, 1..=1, 0),
    cell("dripping", LATE, 1..=1, 0),
    cell("slow", FINE, 1..=1, 1),
    cell("dead", FINE, 1..=1, 1),
    cell("denied", STAYS, 1..=1, 0),
    cell("busy", BUSY, 3..=3, 0),
    cell("busy for a minute", BUSY, 1..=1, 0),
    cell("busy for a second", FINE, 2..=2, 1),
    cell("failing", (4, "`https://HOST` rejected the call to `PATH` with status 500"), 1..=1, 0),
    cell("without a leader once", FINE, 2..=2, 1),
    cell("sealed", SEALED, 1..=1, 0),
    cell("unavailable", UNAVAILABLE, 3..=3, 0),
    cell("redirecting to itself", LOOP, 6..=6, 0),
    cell("redirecting elsewhere", ELSEWHERE, 1..=1, 0),
    cell("cut off", BROKEN_OFF, 3..=3, 0),
    cell("endless", ENDLESS, 1..=1, 0),
    cell("not HTTP", NO_HTTP, 1..=1, 0),
    cell("not Vault", NO_VAULT, 1..=1, 0),
];

#[test]
fn a_log_out_that_meets_a_fault_leaves_nothing_here_and_says_what_lives_on() {
    let (engine, elsewhere, path) = (engine::shared(), Elsewhere::new(), "/v1/auth/token/revoke-self");
    for cell in REVOCATION {
        let (mut world, name) = (World::new(&engine, 3600), cell.name);
        world.get_token().quiet();
        world.suffer(fault(name, path, &elsewhere), path);
        let run = in_time(name, || world.home.run(&["logout", "--timeout=3s"]));
        let (code, line) = cell.outcome;
        assert_eq!((run.code, run.stderr.as_str()), (code, ""), "{name}: {run:?}");
        let is_told = run.stdout.starts_with("prod: the session is revoked");
        // What is done although its answer was lost is not promised.
        assert_eq!(is_told, code == 0 && cell.done == 1, "{name}: {run:?}");
        if !is_told {
            let told = "prod: the session could not be revoked and lives until its own end\n";
            assert!(run.stdout.starts_with(told), "{name}: {run:?}");
        }
        if code != 0 {
            let why = format!("did not confirm it: {}\n", world.in_words(line, path, &elsewhere));
            assert!(run.stdout.contains(&why), "{name}: {run:?}");
        }
        let asked = world.asked(path);
        assert!(cell.asked.contains(&asked), "{name}: asked {asked} times");
        assert_eq!(world.sessions().is_empty(), cell.done == 1, "{name}");
        let status = world.status();
        assert_eq!(status["session"]["state"], "absent", "{name}");
        assert_eq!(status["token"]["state"], "absent", "{name}");
    }
}
