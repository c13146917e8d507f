//! Programs that we run for what they print: a token helper, a job's agent, an administrator's
//! command, the exec entry of a person's own kubeconfig. Each has a deadline, a limit for its output
//! and a process group of its own; whose program may be run, and in which environment, is decided by
//! whoever asks.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::printable;
use crate::network::{has_room, interrupted};

/// Why a program gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRun {
    /// The system could not start it.
    #[error("{0}")]
    NotStarted(String),
    /// It ended with an error; its status and what it complained of, on one line.
    #[error("{0}")]
    Failed(String),
    /// It had not ended in time.
    #[error("it gave no answer in time")]
    Late,
    /// A signal ended the wait.
    #[error("the wait was interrupted")]
    Interrupted,
    /// It printed more than any answer has.
    #[error("it printed more than {} KiB", limit / 1024)]
    TooMuch {
        /// The most bytes.
        limit: usize,
    },
    /// It printed bytes that are no text.
    #[error("it printed no text")]
    NoText,
}

/// Runs it without input and gives what it printed.
pub(crate) fn output(
    command: &mut Command,
    limit: usize,
    deadline: Instant,
) -> Result<Zeroizing<String>, NotRun> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    {
        // A group of its own, so that what it starts can be ended with it.
        std::os::unix::process::CommandExt::process_group(command, 0);
    }
    let signal = Signal::listen();
    let mut child = command.spawn().map_err(|error| NotRun::NotStarted(error.to_string()))?;
    let (printed, complaint) = (collect(child.stdout.take(), limit), collect(child.stderr.take(), 4 * 1024));
    let (Ok(printed), Ok(complaint)) = (printed, complaint) else {
        end(&mut child);
        return Err(NotRun::NotStarted("there is no thread to read what it prints".to_owned()));
    };
    // It closes its output when it is about to end; but perhaps it does not end.
    let waited = until(deadline, &signal, || printed.try_recv().ok())
        .and_then(|printed| Ok((printed, until(deadline, &signal, || child.try_wait().transpose())?)));
    let (printed, status) = waited.inspect_err(|_| end(&mut child))?;
    let status = status.map_err(|error| NotRun::NotStarted(error.to_string()))?;
    if !status.success() {
        let complaint = complaint.recv_timeout(Duration::from_millis(100)).unwrap_or_default();
        let words = format!("{status} {}", String::from_utf8_lossy(&complaint));
        return Err(NotRun::Failed(printable(words.trim())));
    }
    if printed.len() > limit {
        return Err(NotRun::TooMuch { limit });
    }
    let text = std::str::from_utf8(&printed).map_err(|_| NotRun::NoText)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads at most a byte more than `most` in a thread, and drains the rest.
fn collect(
    pipe: Option<impl Read + Send + 'static>,
    most: usize,
) -> std::io::Result<mpsc::Receiver<Zeroizing<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 * 1024));
        let _ = pipe.by_ref().take(most as u64 + 1).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    })?;
    Ok(receiver)
}

/// A signal that came while a program is waited for. The one who waits blocks the thread in which the
/// handlers' work is done, and a wait for a channel is begun again after a signal: so another thread
/// listens.
struct Signal {
    seen: mpsc::Receiver<()>,
    /// Ends the thread when it is dropped.
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Signal {
    fn listen() -> Self {
        let (sender, seen) = mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        // Without a thread, or a runtime in it, a signal is seen when the program has ended.
        let _ = std::thread::Builder::new().spawn(move || {
            let build = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = has_room().and_then(|()| build()) else { return };
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupted() => { let _ = sender.send(()); }
                    _ = ended => {}
                }
            });
        });
        Self { seen, _end: end }
    }
}

const MOMENT: Duration = Duration::from_millis(2);

/// Looks until there is something to see.
fn until<T>(deadline: Instant, signal: &Signal, mut look: impl FnMut() -> Option<T>) -> Result<T, NotRun> {
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(NotRun::Late);
        }
        match signal.seen.recv_timeout(MOMENT) {
            Ok(()) => return Err(NotRun::Interrupted),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Nobody listens.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(MOMENT),
        }
    }
}

/// Ends the program and whatever it started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A program by its name in the folders of `PATH`.
///
/// Security: a relative folder of `PATH`, an empty one among them, is where the caller happens to
/// stand, and whoever made that folder would be run.
pub(crate) fn find(name: &str, path: Option<&str>) -> Option<PathBuf> {
    std::env::split_paths(path.unwrap_or_default())
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| is_program(file))
}

pub(crate) fn is_program(file: &Path) -> bool {
    let Ok(about) = std::fs::metadata(file) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        about.is_file() && about.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    about.is_file()
}

/// Whether only this person and the administrator can have put the program there.
pub(crate) fn trusted(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("its path is not absolute".into());
    }
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is not a file".into());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let us = rustix::process::geteuid().as_raw();
        if about.mode() & 0o022 != 0 || !matches!(about.uid(), owner if owner == us || owner == 0) {
            return Err("others can write to it".into());
        }
        // The path as the system resolves it: a link in a safe folder may lead to another.
        let real = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
        for folder in path.ancestors().chain(real.ancestors()).skip(1).filter(|folder| folder.is_dir()) {
            let mode = std::fs::metadata(folder).map_err(|error| error.to_string())?.mode();
            let is_parent = path.parent() == Some(folder) || real.parent() == Some(folder);
            // The sticky bit keeps others from replacing a folder, not from adding a program.
            if mode & 0o002 != 0 && (is_parent || mode & 0o1000 == 0) {
                return Err(format!("everybody can write to `{}`", folder.display()));
            }
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn what_a_program_prints_is_given_and_what_goes_wrong_is_said() {
        let run = |script: &str| output(&mut shell(script), 16, soon());
        assert_eq!(run("printf 'a b\n'").unwrap().as_str(), "a b\n");
        let failed = run("printf 'no\\033[2J\\nway' >&2; exit 3").unwrap_err();
        assert_eq!(failed, NotRun::Failed("exit status: 3 no�[2J way".into()));
        assert_eq!(run("printf 12345678901234567").unwrap_err(), NotRun::TooMuch { limit: 16 });
        assert_eq!(run("printf '\\377'").unwrap_err(), NotRun::NoText);
        assert!(matches!(
            output(&mut Command::new("/nonexistent/agent"), 16, soon()),
            Err(NotRun::NotStarted(_))
        ));
        assert_eq!(run("read line && echo \"$line\" || echo none").unwrap().as_str(), "none\n");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let script = format!("sleep 600 & echo $! > '{}'; wait", file.display());
        let deadline = Instant::now() + Duration::from_millis(300);
        assert_eq!(output(&mut shell(&script), 16, deadline), Err(NotRun::Late));
        let child = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        // A process that was ended is gone as soon as the system has seen to it.
        let gone = || {
            let state = std::fs::read_to_string(&stat).unwrap_or_default();
            (state.is_empty() || state.contains(") Z")).then_some(())
        };
        assert_eq!(until(soon(), &Signal::listen(), gone), Ok(()));
    }

    #[test]
    fn a_program_is_found_on_path_and_never_where_the_caller_stands() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = |folder: &tempfile::TempDir, mode| {
            let file = folder.path().join("agent");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        let (plain, program) = (place(&folder, 0o644), place(&other, 0o755));
        assert!(plain.exists());
        let path = format!("::.:bin:{}:{}", folder.path().display(), other.path().display());
        assert_eq!(find("agent", Some(&path)), Some(program));
        assert_eq!(find("agent", Some(".:")), None);
        // A folder that has it, named from where the caller stands.
        let up = "../".repeat(std::env::current_dir().unwrap().components().count());
        let relative = format!("{up}{}", other.path().strip_prefix("/").unwrap().display());
        assert!(Path::new(&relative).join("agent").exists());
        assert_eq!(find("agent", Some(&relative)), None);
        assert_eq!(find("agent", None), None);
    }

    #[test]
    fn a_program_that_others_can_write_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent");
        std::fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&file, 0o755);
        assert_eq!(trusted(&file), Ok(()));
        mode(&file, 0o775);
        assert_eq!(trusted(&file), Err("others can write to it".into()));
        mode(&file, 0o755);
        mode(folder.path(), 0o1777);
        assert!(trusted(&file).unwrap_err().starts_with("everybody can write to `"));
        assert_eq!(trusted(Path::new("agent")), Err("its path is not absolute".into()));
        assert_eq!(trusted(folder.path()), Err("it is not a file".into()));
    }
}
