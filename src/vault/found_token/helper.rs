//! The external token helper of the `vault` and `bao` commands: `token_helper = "/path [args]"` in
//! their configuration, run as `$SHELL -c "<it> get"`, prints the token.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::LARGEST_FILE;
use crate::env::Env;
use crate::error::printable;
use crate::vault::VaultError;

/// What mends one that does not work.
pub(in crate::vault) const HINT: &str = "run it by hand with the word `get`, or set `VAULT_TOKEN`";

/// A token helper that may be run.
#[derive(Debug)]
pub(super) struct Helper {
    /// As configured, with its arguments.
    command: String,
    /// Its first word.
    path: PathBuf,
}

impl Helper {
    /// The helper that a configuration names, if any.
    pub(super) fn of_configuration(text: &str, file: &Path) -> Result<Option<Self>, VaultError> {
        let malformed = |NoText| VaultError::Settings {
            what: format!("`{}`", file.display()),
            why: "its `token_helper` is not a text in quotes".into(),
            hint: None,
        };
        let Some(command) = token_helper(text).map_err(malformed)? else { return Ok(None) };
        let Some(first) = command.split_whitespace().next() else { return Ok(None) };
        let path = PathBuf::from(first);
        Ok(Some(Self { command, path }))
    }

    pub(super) fn command(&self) -> &str {
        &self.command
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it and returns what it printed.
    pub(super) fn get(
        &self,
        env: &Env,
        address: &str,
        deadline: Instant,
    ) -> Result<Zeroizing<String>, VaultError> {
        let failed = |why: String| VaultError::Settings {
            what: format!("the token helper `{}`", self.path.display()),
            why,
            hint: Some(HINT.into()),
        };
        // Security: we run it with the person's rights, so nobody else may have put it there.
        trusted(&self.path).map_err(failed)?;
        let mut child = self.start(env, address).map_err(|error| failed(error.to_string()))?;
        let output = collect(child.stdout.take(), LARGEST_FILE);
        let complaint = collect(child.stderr.take(), 4 * 1024);
        // It closes its output when it is about to end; but perhaps it does not end.
        let waited = until(deadline, || output.try_recv().ok())
            .and_then(|token| Ok((token, until(deadline, || child.try_wait().transpose())?)));
        let (token, status) = waited.map_err(|given_up| {
            end(&mut child);
            match given_up {
                GivenUp::Late => VaultError::HelperLate { helper: self.path.display().to_string() },
                GivenUp::Interrupted => VaultError::GivenUp { vault: address.to_owned() },
            }
        })?;
        let status = status.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            let complaint = complaint.recv_timeout(Duration::from_millis(100)).unwrap_or_default();
            return Err(failed(printable(&format!("{status} {}", String::from_utf8_lossy(&complaint)))));
        }
        if token.len() > LARGEST_FILE {
            return Err(failed("it printed more than 64 KiB".into()));
        }
        let text = std::str::from_utf8(&token).map_err(|_| failed("it printed no text".into()))?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }

    fn start(&self, env: &Env, address: &str) -> std::io::Result<Child> {
        let line = format!("{} get", self.command);
        let mut command = if cfg!(windows) {
            let mut command = Command::new("cmd");
            command.args(["/C", &line]);
            command
        } else {
            let mut command = Command::new(env.filled("SHELL").unwrap_or("/bin/sh"));
            command.args(["-c", &line]);
            command
        };
        command
            // Security: ours is what a kubeconfig made of it.
            .env_clear()
            .envs(env.for_child())
            .env("VAULT_ADDR", address)
            .env("BAO_ADDR", address)
            .env_remove("VAULT_TOKEN")
            .env_remove("BAO_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        {
            // A group of its own, so that what it starts can be ended with it.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        command.spawn()
    }
}

/// Reads at most a byte more than `most` in a thread, and drains the rest.
fn collect(pipe: Option<impl Read + Send + 'static>, most: usize) -> mpsc::Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    // Without a thread nothing is collected, as from a helper that says nothing.
    let _ = std::thread::Builder::new().spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 * 1024));
        let _ = pipe.by_ref().take(most as u64 + 1).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    });
    receiver
}

/// Why a helper is not waited for any longer.
enum GivenUp {
    Late,
    /// By a signal.
    Interrupted,
}

/// Looks until there is something to see.
fn until<T>(deadline: Instant, mut look: impl FnMut() -> Option<T>) -> Result<T, GivenUp> {
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(GivenUp::Late);
        }
        pause()?;
    }
}

/// A signal has a handler by now and does not reach the helper's group, and a wait for a channel
/// would be begun again after it; `poll` is not.
#[cfg(unix)]
fn pause() -> Result<(), GivenUp> {
    let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    match rustix::event::poll(&mut [], Some(&moment)) {
        Err(rustix::io::Errno::INTR) => Err(GivenUp::Interrupted),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same face as on Unix")]
fn pause() -> Result<(), GivenUp> {
    std::thread::sleep(Duration::from_millis(2));
    Ok(())
}

/// Ends the helper, its shell and whatever they started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Whether only this person and the administrator can have put the helper there.
fn trusted(path: &Path) -> Result<(), String> {
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
            // The sticky bit keeps others from replacing a folder, not from adding a helper.
            if mode & 0o002 != 0 && (is_parent || mode & 0o1000 == 0) {
                return Err(format!("everybody can write to `{}`", folder.display()));
            }
        }
    }
    Ok(())
}

/// `token_helper` is something else than a text.
#[derive(Debug, PartialEq, Eq)]
struct NoText;

/// The value of `token_helper` in HCL or JSON. No other key of that file has a meaning.
fn token_helper(text: &str) -> Result<Option<String>, NoText> {
    if text.trim_start().starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| NoText)?;
        return match value.get("token_helper") {
            None => Ok(None),
            Some(value) => value.as_str().map(|value| Some(value.to_owned())).ok_or(NoText),
        };
    }
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.starts_with('#') || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(value) =
            rest.strip_prefix("token_helper").or_else(|| rest.strip_prefix("\"token_helper\""))
        {
            let value = value.trim_start().strip_prefix('=').and_then(|value| quoted(value.trim_start()));
            return value.map(Some).ok_or(NoText);
        } else {
            // Another key: on to the next line.
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }
}

/// The text in quotes at the beginning, with its escapes.
fn quoted(text: &str) -> Option<String> {
    let mut characters = text.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            '\n' => return None,
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_read_from_hcl_and_json() {
        for (text, expected) in [
            ("", Ok(None)),
            ("# token_helper = \"/no\"\n// x\n/* token_helper\n*/ other = 1\n", Ok(None)),
            ("token_helper = \"/usr/bin/helper --flag\"\n", Ok(Some("/usr/bin/helper --flag"))),
            ("x = 1\n  token_helper=\"/a\\\\b\\\"c\"", Ok(Some("/a\\b\"c"))),
            ("\"token_helper\" = \"/x\"", Ok(Some("/x"))),
            ("token_helper = /x", Err(NoText)),
            ("token_helper = \"/x\n\"", Err(NoText)),
            ("token_helper = \"/x", Err(NoText)),
            ("{\"token_helper\": \"/x\"}", Ok(Some("/x"))),
            ("{\"other\": 1}", Ok(None)),
            ("{\"token_helper\": 1}", Err(NoText)),
            ("{", Err(NoText)),
        ] {
            assert_eq!(token_helper(text), expected.map(|it| it.map(str::to_owned)), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_configuration_makes_the_reader_stumble(text in "\\PC{0,200}") {
            let _ = token_helper(&text);
        }
    }
}
