//! This process itself: its clock, what it may leave behind, and whose child it is.

use std::fmt;

use crate::token::Timestamp;

/// The system's clock. Everything else is given the time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one reading of the clock")]
pub fn now() -> Timestamp {
    chrono::Utc::now()
}

/// Security: a process that holds tokens leaves no core file and lets no other process of this user
/// read its memory. Best effort: a system that refuses is told nothing else by us.
pub fn harden() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let found = getrlimit(Resource::Core);
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: found.maximum });
        let _ = FOUND.set(found);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// The limit of core files that [`harden`] found, which a program of the person's shall have.
#[cfg(unix)]
static FOUND: std::sync::OnceLock<rustix::process::Rlimit> = std::sync::OnceLock::new();

/// Starts a program of the person's with the limits that we were started with. On Linux this process
/// leaves no core file meanwhile either, for it is not dumpable.
pub fn as_found<T>(start: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    if let Some(found) = FOUND.get() {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, *found);
        let started = start();
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: found.maximum });
        return started;
    }
    start()
}

/// The living program that ran us: its process id and when it started, so that a later one of the
/// same id is another caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its process id.
    pub id: u32,
    started: u64,
    /// What the system calls the program, at most 15 bytes of it; shown, never believed.
    pub name: String,
    /// A shell that does not act for a client: a person's terminal, or a script of theirs.
    pub is_shell: bool,
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.started) == (other.id, other.started)
    }
}

/// How many shells are looked through for the program above them.
const MOST_SHELLS: usize = 4;

/// A file of `/proc`. None of them says how long it is, and what is read in pieces that grow is made
/// by the kernel again for each.
#[cfg(target_os = "linux")]
pub(crate) fn read_at_once(path: &str) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::with_capacity(4096);
    std::fs::File::open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

impl Caller {
    /// The program that ran us, where the system shows when it started: our parent, or whoever is
    /// above it where the parent is a shell that was started only to run us. Some clients start a
    /// new one each time (`sh -c "kubectl-vaulttoken …"`), and a script may be the command of the
    /// kubeconfig; `is_client` says that a client is there for sure, above any script.
    #[must_use]
    pub fn of_this_process(is_client: bool) -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            let mut id = rustix::process::getppid()?.as_raw_nonzero().get().unsigned_abs();
            for _ in 0..MOST_SHELLS {
                let (found, parent) = Self::read(id)?;
                if !found.is_shell || !only_runs_us(id, is_client) {
                    return Some(found);
                }
                id = parent;
            }
            None
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = is_client;
            None
        }
    }

    /// Whether the program that `Display` wrote down still runs.
    #[must_use]
    pub fn lives(written: &str) -> bool {
        #[cfg(target_os = "linux")]
        {
            let id = written.split('@').next().and_then(|id| id.parse().ok());
            id.and_then(Self::read).is_some_and(|(found, _)| found.to_string() == written)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = written;
            false
        }
    }

    /// A process, and its parent's id.
    #[cfg(target_os = "linux")]
    fn read(id: u32) -> Option<(Self, u32)> {
        let stat = String::from_utf8(read_at_once(&format!("/proc/{id}/stat")).ok()?).ok()?;
        // The second field, a name in brackets, may hold blanks and brackets.
        let (head, rest) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        // Field 22.
        let started = fields.nth(17)?.parse().ok()?;
        let is_shell = SHELLS.contains(&name.as_str());
        Some((Self { id, started, name, is_shell }, parent))
    }

    /// Whether it is a shell that asks what could complete a command line. Nobody is asked then,
    /// and nobody waits.
    #[must_use]
    pub fn completes_a_command_line(&self) -> bool {
        arguments(self.id).iter().skip(1).take(2).any(|word| word.starts_with("__complete"))
    }
}

/// Programs that run others and carry no token anywhere themselves.
const SHELLS: [&str; 8] = ["sh", "dash", "bash", "ash", "busybox", "zsh", "ksh", "fish"];

/// Whether a shell was started to run us and nothing else: by `-c` with our name in the text, or,
/// beneath a client, with a script.
fn only_runs_us(shell: u32, is_client: bool) -> bool {
    runs_only(&arguments(shell), is_client)
}

fn runs_only(arguments: &[String], is_client: bool) -> bool {
    let mut words = arguments.iter().skip(1).skip_while(|word| word.starts_with('-') && *word != "-c");
    match (words.next().map(String::as_str), words.next()) {
        (Some("-c"), text) => text.is_some_and(|text| text.contains("kubectl-vaulttoken")),
        (Some(_script), _) => is_client,
        (None, _) => false,
    }
}

fn arguments(id: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    line.split_terminator('\0').map(str::to_owned).collect()
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.id, self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_looked_through_only_where_it_was_started_to_run_us() {
        let runs = |line: &str, is_client| {
            let words: Vec<String> = line.split('|').map(str::to_owned).collect();
            runs_only(&words, is_client)
        };
        assert!(runs("sh|-c|kubectl-vaulttoken get-token -p prod", false));
        assert!(runs("bash|--norc|-c|exec /opt/kubectl-vaulttoken get-token", false));
        assert!(runs("sh|/opt/wrapper|get-token", true), "the kubeconfig's command is a script");
        assert!(!runs("sh|/home/me/loop.sh", false), "a person's script asks for itself");
        assert!(!runs("-bash", true) && !runs("bash", false), "a person types");
        assert!(!runs("sh|-c|make deploy; helm list|kubectl-vaulttoken", true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_known_by_its_number_and_its_birth() {
        let (this, parent) = Caller::read(std::process::id()).unwrap();
        assert_eq!(parent, rustix::process::getppid().unwrap().as_raw_nonzero().get().unsigned_abs());
        let (mut later, _) = Caller::read(std::process::id()).unwrap();
        assert_eq!(this, later);
        later.started += 1;
        assert_ne!(this, later, "another process may get the same number");
        assert!(!this.is_shell);
    }
}
