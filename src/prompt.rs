//! The terminal: whether a person sits there, and asking that person. Nothing else reads standard
//! input.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use crate::browser::{self, NotOpened};
use crate::env::Env;
use crate::error::printable;
use crate::person::{LogInHow, NoAnswer, Person, USUAL_PATIENCE};

/// The longest answer that is read: a password, a token, a passcode.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Whether a person can be asked: standard input and standard error both are terminals. Under
/// shell completion `interactive` is true and standard error is not.
#[must_use]
pub fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The person at the terminal, or whoever filled standard input: then each question takes a line.
#[derive(Default)]
pub struct Terminal {
    /// How long an answer may take; none: as long as it takes.
    patience: Option<Duration>,
    /// What came of a line that was typed unasked.
    begun: Mutex<Zeroizing<Vec<u8>>>,
    /// How they want to log in where a browser is needed.
    how: LogInHow,
    /// The environment in which their browser is found; none: they are shown addresses only.
    browser: Option<Env>,
}

impl Terminal {
    /// A terminal where nobody is waited for longer than this.
    #[must_use]
    pub fn with_patience(patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::default() }
    }

    /// The same person, who wants to log in like this, and whose browser is found in this environment.
    #[must_use]
    pub fn who_wants(mut self, how: LogInHow, env: &Env) -> Self {
        self.how = how;
        self.browser = Some(env.clone());
        self
    }

    /// Until when the answer to a question that is asked now is waited for.
    fn until(&self) -> Option<Instant> {
        Instant::now().checked_add(self.patience?)
    }
}

impl Person for Terminal {
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer> {
        show(prompt);
        read_line(self.until()).map(|line| line.trim().to_owned())
    }

    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer> {
        show(prompt);
        if io::stdin().is_terminal() {
            let answer = hidden::read(self.until());
            // The person's Enter was not shown.
            show("\n");
            return answer.map(|line| SecretString::from(line.as_str()));
        }
        read_line(self.until()).map(|line| SecretString::from(line.trim_end_matches(['\n', '\r'])))
    }

    fn tell(&self, line: &str) {
        show(&printable(line));
        show("\n");
    }

    fn show(&self, address: &Url) {
        // Security: an address as it is written for the wire has no character that steers a terminal.
        show(&format!("\n    {address}\n\n"));
    }

    fn open(&self, address: &Url) -> Result<(), NotOpened> {
        // A script that fills standard input has no eyes.
        if !somebody_is_there() {
            return Err(NotOpened::Unwanted);
        }
        self.browser.as_ref().map_or(Err(NotOpened::Unwanted), |env| browser::open(env, address))
    }

    fn wants(&self) -> LogInHow {
        self.how
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or(USUAL_PATIENCE)
    }

    fn typed(&self) -> Result<Option<Zeroizing<String>>, NoAnswer> {
        let mut line = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match read_byte(Some(Instant::now())) {
                Ok(Some(b'\n')) => {
                    let whole = text_of(&line);
                    line.zeroize();
                    return whole.map(Some);
                }
                Ok(Some(byte)) if line.len() < LONGEST_ANSWER => line.push(byte),
                Ok(Some(_)) => return Err(NoAnswer::Failed("the line is too long".into())),
                // Ctrl-D; a pipe that has ended says no more.
                Ok(None) if io::stdin().is_terminal() => return Err(NoAnswer::Interrupted),
                Ok(None) => return Err(NoAnswer::Nobody),
                // A signal ends whoever waits, who will see it.
                Err(NoAnswer::TimedOut | NoAnswer::Interrupted) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Prompts go to standard error, which kubectl hands through; standard output is for results.
fn show(text: &str) {
    let mut output = io::stderr().lock();
    // A terminal that is gone cannot be told so.
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

fn read_line(until: Option<Instant>) -> Result<Zeroizing<String>, NoAnswer> {
    let mut line = Zeroizing::new(Vec::new());
    loop {
        match read_byte(until)? {
            None if line.is_empty() => return Err(NoAnswer::Interrupted),
            None | Some(b'\n') => break,
            Some(byte) if line.len() < LONGEST_ANSWER => line.push(byte),
            Some(_) => return Err(NoAnswer::Failed("the line is too long".into())),
        }
    }
    text_of(&line)
}

fn text_of(bytes: &[u8]) -> Result<Zeroizing<String>, NoAnswer> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(NoAnswer::Failed("what was typed is not UTF-8".into())),
    }
}

/// One byte of standard input; none at its end. Without a buffer, so that it can be known whether a
/// read would wait.
///
/// A signal has a handler by the time that a person is asked, and a read would be begun again after
/// it, so that neither Ctrl-C nor a service manager could end the wait; `poll` is not begun again.
#[cfg(unix)]
fn read_byte(until: Option<Instant>) -> Result<Option<u8>, NoAnswer> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::{Errno, read};
    let given_up = |error| match error {
        Errno::INTR => NoAnswer::Interrupted,
        other => NoAnswer::Failed(other.to_string()),
    };
    let input = io::stdin();
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    // A time that the system cannot count is none.
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    if poll(&mut [PollFd::new(&input, PollFlags::IN)], left.as_ref()).map_err(given_up)? == 0 {
        return Err(NoAnswer::TimedOut);
    }
    let mut byte = Zeroizing::new([0]);
    let count = read(&input, &mut *byte).map_err(given_up)?;
    Ok(byte.first().copied().filter(|_| count > 0))
}

/// The read cannot be given up, so another thread waits in it, one for all reads; it ends with the
/// process.
#[cfg(not(unix))]
fn read_byte(until: Option<Instant>) -> Result<Option<u8>, NoAnswer> {
    use std::io::Read as _;
    use std::sync::{LazyLock, mpsc};
    type Read = io::Result<Option<u8>>;
    static READER: LazyLock<Mutex<mpsc::Receiver<Read>>> = LazyLock::new(|| {
        // Nothing is read ahead of whoever asks.
        let (sender, bytes) = mpsc::sync_channel(0);
        std::thread::spawn(move || {
            loop {
                let mut byte = Zeroizing::new([0]);
                let count = io::stdin().read(&mut *byte);
                let read: Read = count.map(|count| byte.first().copied().filter(|_| count > 0));
                if sender.send(read).is_err() {
                    return;
                }
            }
        });
        Mutex::new(bytes)
    });
    let reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    let read = match until {
        Some(until) => reader.recv_timeout(until.saturating_duration_since(Instant::now())),
        None => reader.recv().map_err(mpsc::RecvTimeoutError::from),
    };
    match read {
        Ok(read) => read.map_err(|error| NoAnswer::Failed(error.to_string())),
        Err(_) => Err(NoAnswer::TimedOut),
    }
}

#[cfg(unix)]
mod hidden {
    //! Reading without echo. The terminal is as it was on every way out but SIGKILL: Ctrl-C arrives
    //! as a character while signals of the keyboard are off.

    use std::io;
    use std::time::Instant;

    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
    use zeroize::Zeroizing;

    use crate::person::NoAnswer;

    struct Restore(Termios);

    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        }
    }

    pub(super) fn read(until: Option<Instant>) -> Result<Zeroizing<String>, NoAnswer> {
        let failed = |error: rustix::io::Errno| NoAnswer::Failed(error.to_string());
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _restore = Restore(before);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
        let mut typed = Zeroizing::new(Vec::new());
        loop {
            let Some(byte) = super::read_byte(until)? else { return Err(NoAnswer::Interrupted) };
            match byte {
                // Ctrl-C; Ctrl-\; Ctrl-D on an empty line.
                0x03 | 0x1c => return Err(NoAnswer::Interrupted),
                0x04 if typed.is_empty() => return Err(NoAnswer::Interrupted),
                b'\n' | b'\r' | 0x04 => break,
                // Backspace takes a whole character, Ctrl-U the line.
                0x08 | 0x7f => {
                    while let Some(last) = typed.pop() {
                        if last & 0xc0 != 0x80 {
                            break;
                        }
                    }
                }
                0x15 => typed.clear(),
                byte if typed.len() < super::LONGEST_ANSWER => typed.push(byte),
                _ => {}
            }
        }
        super::text_of(&typed)
    }
}

#[cfg(not(unix))]
mod hidden {
    //! Where echo cannot be switched off, the secret has to come through a pipe.

    use std::time::Instant;

    use zeroize::Zeroizing;

    use crate::person::NoAnswer;

    pub(super) fn read(_: Option<Instant>) -> Result<Zeroizing<String>, NoAnswer> {
        Err(NoAnswer::Failed("this system's terminal cannot hide what is typed: pipe it in".into()))
    }
}
