//! Locks between processes: the only user of the system's file locks. A lock is a file of its own
//! beside the entry, never the entry, and ends with the process that holds it. Where locks do not
//! work, callers go on without one.

use std::fs::TryLockError;
use std::thread;
use std::time::{Duration, Instant};

use super::file::Folder;

/// How an attempt at a lock ended.
#[derive(Debug)]
#[must_use]
pub enum Acquired {
    /// The lock is ours until the guard is dropped. Look again at what it guards: somebody else
    /// may have had it until now.
    Guard(Guard),
    /// Somebody else still has it at the end of the wait.
    Busy,
    /// Locks do not work here, for this reason; go on without one.
    Unsupported(String),
}

/// A lock that is held. It is free again when this is dropped, or when the process ends in
/// whatever way.
#[must_use = "a lock ends with its guard"]
#[derive(Debug)]
pub struct Guard {
    _file: std::fs::File,
}

/// Pauses between two attempts: short at first, as most holders are about to finish.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// After so long a person should hear what we wait for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes the lock `name` of a folder, waiting for so long. `waiting` is called once, when the wait
/// has lasted a second.
pub fn acquire(folder: &Folder, name: &str, wait: Duration, waiting: &mut dyn FnMut()) -> Acquired {
    // Even an attempt that is not to wait can hang on a network file system whose server is gone.
    if folder.is_remote() {
        return Acquired::Unsupported(format!("`{}` is on a network file system", folder.path().display()));
    }
    let start = Instant::now();
    let timer = Timer { elapsed: &|| start.elapsed(), pause: &thread::sleep };
    wait_for(|| attempt(folder, name), wait, &timer, waiting)
}

/// Time as a wait sees it.
struct Timer<'a> {
    elapsed: &'a dyn Fn() -> Duration,
    pause: &'a dyn Fn(Duration),
}

fn wait_for(
    mut attempt: impl FnMut() -> Acquired,
    wait: Duration,
    timer: &Timer<'_>,
    waiting: &mut dyn FnMut(),
) -> Acquired {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let acquired = attempt();
        if !matches!(acquired, Acquired::Busy) {
            return acquired;
        }
        let elapsed = (timer.elapsed)();
        let Some(left) = wait.checked_sub(elapsed).filter(|left| !left.is_zero()) else {
            return Acquired::Busy;
        };
        if elapsed >= PATIENCE && !told {
            waiting();
            told = true;
        }
        (timer.pause)(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one user of file locks")]
fn attempt(folder: &Folder, name: &str) -> Acquired {
    let unsupported = |reason: std::io::Error| {
        Acquired::Unsupported(format!("`{}` cannot be locked: {reason}", folder.path().join(name).display()))
    };
    let file = match folder.open_to_lock(name) {
        Ok(file) => file,
        Err(error) => return unsupported(error),
    };
    match file.try_lock() {
        // Whoever removed the cache took the lock's name from its holder; one that nobody else can
        // find is worth nothing, so try with the file that has the name now.
        Ok(()) if !folder.is_still(name, &file) => Acquired::Busy,
        Ok(()) => Acquired::Guard(Guard { _file: file }),
        Err(TryLockError::WouldBlock) => Acquired::Busy,
        Err(TryLockError::Error(error)) => unsupported(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, Folder) {
        let outer = TempDir::new().unwrap();
        let folder = Folder::create(&outer.path().join("locks")).unwrap();
        (outer, folder)
    }

    fn at_once(folder: &Folder, name: &str) -> Acquired {
        acquire(folder, name, Duration::ZERO, &mut || panic!("there was nothing to wait for"))
    }

    #[test]
    fn one_holds_it_until_the_guard_goes() {
        let (_outer, folder) = folder();
        let Acquired::Guard(guard) = at_once(&folder, "a.lock") else { panic!() };
        assert!(matches!(at_once(&folder, "a.lock"), Acquired::Busy));
        assert!(matches!(at_once(&folder, "b.lock"), Acquired::Guard(_)), "each key has its own");
        drop(guard);
        assert!(matches!(at_once(&folder, "a.lock"), Acquired::Guard(_)));
    }

    #[test]
    fn those_who_wait_get_it_one_after_another() {
        let (_outer, folder) = folder();
        let (inside, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let acquired = acquire(&folder, "a.lock", Duration::from_secs(60), &mut || {});
                    assert!(matches!(acquired, Acquired::Guard(_)), "{acquired:?}");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::yield_now();
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    passed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(passed.into_inner(), 8);
    }

    #[test]
    fn a_wait_has_growing_pauses_a_notice_after_a_second_and_an_end() {
        let now = Cell::new(Duration::ZERO);
        let pauses = RefCell::new(Vec::new());
        let timer = Timer {
            elapsed: &|| now.get(),
            pause: &|pause| {
                pauses.borrow_mut().push(pause);
                now.set(now.get() + pause);
            },
        };
        let mut told_at = Vec::new();
        let acquired =
            wait_for(|| Acquired::Busy, Duration::from_secs(2), &timer, &mut || told_at.push(now.get()));
        assert!(matches!(acquired, Acquired::Busy));
        assert_eq!(now.get(), Duration::from_secs(2), "not a moment longer than asked");
        assert_eq!(told_at.len(), 1);
        assert!(told_at[0] >= PATIENCE && told_at[0] < PATIENCE + LONGEST_PAUSE);
        let milliseconds: Vec<u128> = pauses.borrow().iter().take(6).map(Duration::as_millis).collect();
        assert_eq!(milliseconds, [5, 10, 20, 40, 50, 50]);
    }

    #[test]
    fn what_cannot_be_locked_is_gone_without() {
        let (_outer, folder) = folder();
        let path = folder.path().to_owned();
        std::fs::create_dir(path.join("a.lock")).unwrap();
        let Acquired::Unsupported(reason) = at_once(&folder, "a.lock") else { panic!() };
        let name = path.join("a.lock");
        assert_eq!(reason, format!("`{}` cannot be locked: Is a directory (os error 21)", name.display()));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("elsewhere", path.join("b.lock")).unwrap();
            assert!(matches!(at_once(&folder, "b.lock"), Acquired::Unsupported(_)));
            assert!(!path.join("elsewhere").exists(), "the link was not followed");
            let made = std::process::Command::new("mkfifo").arg(path.join("c.lock")).status().unwrap();
            assert!(made.success());
            let Acquired::Unsupported(reason) = at_once(&folder, "c.lock") else { panic!() };
            assert!(reason.ends_with("cannot be locked: it is not a regular file"), "{reason}");
        }
        std::fs::remove_dir_all(&path).unwrap();
        assert!(matches!(at_once(&folder, "d.lock"), Acquired::Unsupported(_)), "the folder is gone");
    }

    #[test]
    fn a_lock_whose_file_was_removed_does_not_count() {
        let (_outer, folder) = folder();
        let Acquired::Guard(held) = at_once(&folder, "a.lock") else { panic!() };
        folder.remove("a.lock").unwrap();
        let Acquired::Guard(again) = at_once(&folder, "a.lock") else { panic!() };
        assert!(matches!(at_once(&folder, "a.lock"), Acquired::Busy));
        drop((held, again));
    }

    /// A process that holds a lock and is killed: `flock` of util-linux takes the same lock.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_holder_that_dies_frees_it() {
        use std::io::Read as _;
        use std::process::{Command, Stdio};

        let (_outer, folder) = folder();
        let path = folder.path().join("a.lock");
        let mut holder = Command::new("flock")
            .args(["--no-fork", "--exclusive"])
            .arg(&path)
            .args(["sh", "-c", "echo held; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert!(matches!(at_once(&folder, "a.lock"), Acquired::Busy));
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(matches!(at_once(&folder, "a.lock"), Acquired::Guard(_)));
    }
}
