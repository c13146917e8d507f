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
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// The living program that ran us: its process id and when it started, so that a later one of the
/// same id is another caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: u32,
    started: String,
}

impl Caller {
    /// Our parent, where the system shows when it started.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            let id = rustix::process::getppid()?.as_raw_nonzero().get().unsigned_abs();
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // Field 22 is the start time; the second field, a name in brackets, may hold blanks.
            let started = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.to_owned();
            Some(Self { id, started })
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Whether it is a shell that asks what could complete a command line. Nobody is asked then,
    /// and nobody waits.
    #[must_use]
    pub fn completes_a_command_line(&self) -> bool {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        arguments.split(|byte| *byte == 0).skip(1).take(2).any(|word| word.starts_with(b"__complete"))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.id, self.started)
    }
}
