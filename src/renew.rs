//! Renewal beside the caller: a token that is due is handed out at once, and a detached child of
//! this program fetches the next one. This module starts that child and tells it what to do; what a
//! renewal may do is [`crate::issue::renew`]'s business.
//!
//! Security: the child must act in the person's own environment and cannot see whose child its
//! caller was. So the caller, who can, tells apart what a kubeconfig added, and hands the result
//! down a pipe, with its own arguments and what the client said. There is no variable and no flag
//! that says so: `renew` is refused to whoever has `KUBERNETES_EXEC_INFO` in the environment, which
//! a kubeconfig cannot unset, and what comes down its standard input is nobody's but that of whoever
//! starts it: a client without exec info could as well let `get-token` fetch. It prints nothing,
//! hands out nothing, and renews only a token that is kept already for the same cluster.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::env::Env;

/// The hidden command.
pub const COMMAND: &str = "renew";

/// The environment of a person has some kilobytes, a cluster's CA some more.
const LARGEST: u64 = 4 * 1024 * 1024;

/// What a child is to renew: the call that handed out the token which is due.
#[derive(Serialize, Deserialize)]
pub struct Task {
    /// The arguments of that call, the program's name first.
    pub arguments: Vec<String>,
    variables: BTreeMap<String, String>,
    foreign: Vec<String>,
    for_child: BTreeMap<String, String>,
    /// By which the journal knows the call.
    pub invocation: String,
}

impl Task {
    /// The task to do what a call with these `arguments` does in its `own` environment.
    #[must_use]
    pub fn new(arguments: Vec<String>, own: &Env, invocation: String) -> Self {
        Self {
            arguments,
            variables: own.variables().clone(),
            foreign: own.foreign().to_vec(),
            for_child: own.for_child(),
            invocation,
        }
    }

    /// The person's own environment.
    #[must_use]
    pub fn env(&self) -> Env {
        Env::settled(self.variables.clone(), self.foreign.clone(), self.for_child.clone())
    }

    /// Reads what [`start`] wrote.
    ///
    /// # Errors
    /// Whatever else comes in.
    pub fn read(input: impl Read) -> io::Result<Self> {
        let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
        input.take(LARGEST).read_to_end(&mut text)?;
        // Security: the parser's words may quote a variable.
        serde_json::from_slice(&text).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// What a child needs of an environment before it has read its own from the pipe: where a keyring's
/// library and the loader look. Nothing secret stands there.
const PASSED_ON: [&str; 6] =
    ["PATH", "HOME", "SYSTEMROOT", "LD_LIBRARY_PATH", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"];

/// Starts a child that does this task, and does not wait for it.
///
/// # Errors
/// It was not started, or it is gone already. The caller has its token anyway.
pub fn start(program: PathBuf, task: &Task) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(COMMAND).env_clear();
    for name in PASSED_ON {
        if let Some(value) = task.for_child.get(name) {
            command.env(name, value);
        }
    }
    // kubectl waits until nobody holds its pipe any more, and so does a pipe behind `2>&1`.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(windows)]
    {
        const DETACHED_PROCESS: u32 = 0x0000_0008;
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
        std::os::windows::process::CommandExt::creation_flags(
            &mut command,
            DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP,
        );
    }
    let text = Zeroizing::new(serde_json::to_vec(task)?);
    let mut child = command.spawn()?;
    // The pipe ends with this: what the child holds after it is nobody's but its own.
    child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&text))
}

/// Leaves the terminal and the process group of the caller, as Ctrl-C there is not meant for us, and
/// lets go of every descriptor beyond the third: a shell that holds a lock with `exec 9>lock` passes
/// it on through kubectl and the plugin to us. The first act of a child, as long as it has opened
/// nothing itself.
pub fn detach() {
    #[cfg(unix)]
    {
        // A process that leads a group already has been detached by whoever started it.
        let _ = rustix::process::setsid();
        let inherited: Vec<i32> = std::fs::read_dir("/dev/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|number| *number > 2)
            .collect();
        for number in inherited {
            // One of them was the folder's own and is closed by now.
            let _ = nix::unistd::close(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_reads_the_task_that_was_written_and_nothing_else() {
        let own = Env::of([("HOME".to_owned(), "/home/me".to_owned())]);
        let task = Task::new(vec!["kubectl-vaulttoken".into(), "get-token".into()], &own, "7-5".into());
        let text = serde_json::to_vec(&task).unwrap();
        let read = Task::read(text.as_slice()).unwrap();
        assert_eq!(read.arguments, ["kubectl-vaulttoken", "get-token"]);
        assert_eq!(read.env().get("HOME"), Some("/home/me"));
        assert!(read.env().is_settled() && !own.is_settled());
        for wrong in [&b""[..], b"{}", &text[..text.len() - 1]] {
            assert!(Task::read(wrong).is_err());
        }
    }
}
