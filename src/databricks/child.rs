//! A program that we run for a person and stay out of the way of: its signals, its terminal and its exit
//! code are as if it had been started without us. It knows nothing of tokens.

use std::ffi::OsString;
use std::process::{Command, ExitStatus};

use secrecy::{ExposeSecret as _, SecretString};

use super::DatabricksError;
use crate::error::Error;
use crate::network::beside;
use crate::process;

/// A program to run.
pub struct Program {
    /// Its name and its arguments.
    pub words: Vec<OsString>,
    /// Variables that it gets beside ours.
    pub set: Vec<(&'static str, SecretString)>,
    /// Variables of ours that it does not get.
    pub unset: &'static [&'static str],
}

impl Program {
    /// Runs it to its end, and gives its exit code; 128 and the signal's number where a signal ended it.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn run(self) -> Result<u8, Error> {
        // Before it starts, so that no signal is lost in between.
        let mut signals = signals::Signals::new();
        let mut words = self.words.iter();
        let name = words.next().ok_or_else(|| Error::Fault("no program was named".into()))?;
        let mut command = Command::new(name);
        command.args(words);
        for variable in self.unset {
            command.env_remove(variable);
        }
        for (variable, value) in &self.set {
            command.env(variable, value.expose_secret());
        }
        let not_run = |error: std::io::Error| DatabricksError::NotRun {
            program: name.to_string_lossy().into_owned(),
            reason: error.to_string(),
        };
        let mut child = process::as_found(|| command.spawn()).map_err(not_run)?;
        let id = child.id();
        let mut end = std::pin::pin!(beside(move || child.wait()));
        loop {
            tokio::select! {
                biased;
                status = &mut end => {
                    let status = status.ok_or_else(|| Error::Fault("nobody waits for the program".into()))?;
                    return Ok(code(status.map_err(not_run)?));
                }
                () = signals.pass_on(id) => {}
            }
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            return u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128));
        }
    }
    status.code().and_then(|code| u8::try_from(code & 0xff).ok()).unwrap_or(1)
}

#[cfg(unix)]
mod signals {
    use std::fs::File;

    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use rustix::termios::tcgetpgrp;
    use tokio::signal::unix::{self, SignalKind};

    /// Signals that end or steer a program, each with its name for the other side.
    const PASSED_ON: [(fn() -> SignalKind, Signal); 6] = [
        (SignalKind::terminate, Signal::TERM),
        (SignalKind::interrupt, Signal::INT),
        (SignalKind::quit, Signal::QUIT),
        (SignalKind::hangup, Signal::HUP),
        (SignalKind::user_defined1, Signal::USR1),
        (SignalKind::user_defined2, Signal::USR2),
    ];

    pub(super) struct Signals(Vec<(unix::Signal, Signal)>);

    impl Signals {
        /// From now on none of them ends us. One that cannot be had does what it always does.
        pub(super) fn new() -> Self {
            let listen =
                |(kind, signal): (fn() -> SignalKind, Signal)| Some((unix::signal(kind()).ok()?, signal));
            Self(PASSED_ON.into_iter().filter_map(listen).collect())
        }

        /// Waits for a signal and hands it to this process.
        pub(super) async fn pass_on(&mut self, id: u32) {
            let signal = std::future::poll_fn(|context| {
                for (listener, signal) in &mut self.0 {
                    if listener.poll_recv(context).is_ready() {
                        return std::task::Poll::Ready(*signal);
                    }
                }
                std::task::Poll::Pending
            })
            .await;
            // The keyboard's signals go to all in front of the terminal, and twice is not once.
            if matches!(signal, Signal::INT | Signal::QUIT) && is_in_front() {
                return;
            }
            if let Some(id) = Pid::from_raw(id.cast_signed()) {
                // It may have ended meanwhile; it is not waited for yet, so nobody else has its number.
                let _ = kill_process(id, signal);
            }
        }
    }

    /// Whether we, and thereby the program, are what the terminal's keyboard speaks to.
    fn is_in_front() -> bool {
        File::open("/dev/tty")
            .is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|front| front == getpgrp()))
    }
}

#[cfg(not(unix))]
mod signals {
    pub(super) struct Signals;

    impl Signals {
        pub(super) fn new() -> Self {
            Self
        }

        /// Ctrl-C goes to all programs of a console: it must only not end us before the other.
        pub(super) async fn pass_on(&mut self, _: u32) {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
