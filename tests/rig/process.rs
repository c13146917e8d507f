//! A server process with its log, and how it ends: with this process, however that ends. It knows
//! nothing of what the server does.

use std::fmt;
use std::fs::{self, DirEntry, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Becomes the server, and leaves a watcher in its process group. The watcher reads from a pipe whose
/// other end only we hold: the kernel closes it when we exit, panic or are killed, and then the
/// watcher kills the group. `exec` keeps the process id, so the server gets our signals itself.
const UNDER_WATCH: &str = r#"
exec 3<&0 </dev/null
{ read -r _; kill -KILL 0; } <&3 >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// A running server. Dropping it kills it.
pub struct Process {
    name: String,
    log: PathBuf,
    /// How long the log was already: from a run before this one, on another port or before a stop.
    log_begin: usize,
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` with its output in `folder/NAME.log`. It sees no variable of ours but `PATH`
    /// and those in `environment`, so that no setting of the person who runs the tests reaches it.
    pub fn start(
        name: &str,
        folder: &Path,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let log_begin = fs::read(&log).map_or(0, |text| text.len());
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", UNDER_WATCH, name])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .envs(environment.iter().copied())
            .current_dir(folder)
            // A group of its own: Ctrl-C reaches only us, and the watcher kills no one else.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {name}: {error}"));
        let lifeline = child.stdin.take();
        Self { name: name.to_owned(), log, log_begin, child, lifeline }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it from doing anything, without its callers being told: it accepts and does not answer.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // The signal is only sent by then; a thread on another core may still answer.
        let threads = format!("/proc/{}/task", self.id());
        poll("a stopped process", Duration::from_secs(10), || {
            let mut threads = fs::read_dir(&threads).unwrap().flatten();
            let is_stopped = |status: String| status.contains(") T ");
            let stopped = |thread: DirEntry| fs::read_to_string(thread.path().join("stat")).map(is_stopped);
            threads.all(|thread| stopped(thread).unwrap_or(true)).then_some(())
        });
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("no process has the number 0");
        kill_process(id, signal).unwrap();
    }

    /// Polls `probe` until it gives something. Fails when the server exits or `limit` is over.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let begin = Instant::now();
        loop {
            if let Some(found) = probe() {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(self.failure(&format!("ended before it was {what}: {status}")));
            }
            if begin.elapsed() > limit {
                return Err(self.failure(&format!("was not {what} within {limit:?}")));
            }
            thread::sleep(PAUSE);
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let log = fs::read(&self.log).unwrap();
        let log = String::from_utf8_lossy(&log[self.log_begin..]);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        Failure(format!("{} {what}\n{tail}\n(from {})", self.name, self.log.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ends the watcher, which kills the whole group, then the server should the watcher be gone.
        drop(self.lifeline.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a server did not start, with the end of its log.
pub struct Failure(String);

impl Failure {
    pub fn is_port_taken(&self) -> bool {
        self.0.contains("address already in use")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const PAUSE: Duration = Duration::from_millis(20);

/// Polls `probe` until it gives something. Panics, naming `what`, when `limit` is over.
pub fn poll<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(PAUSE);
    }
}
