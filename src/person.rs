//! The person at the terminal, as a log-in needs one. It only says what can be asked of a person;
//! [`crate::prompt`] does it.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use crate::browser::NotOpened;

/// The person at the terminal.
pub trait Person: Send + Sync {
    /// Asks for something that may be seen while it is typed.
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer>;
    /// Asks for something that may not.
    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer>;
    /// Tells something that is worth knowing while waiting.
    fn tell(&self, line: &str);
    /// Shows an address whole, however long it is, so that it can be copied.
    fn show(&self, address: &Url) {
        self.tell(address.as_str());
    }
    /// A line that was typed meanwhile, without waiting for one; [`NoAnswer::Nobody`] where none will
    /// come any more.
    fn typed(&self) -> Result<Option<Zeroizing<String>>, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    /// Has a browser open an address that was shown.
    fn open(&self, _address: &Url) -> Result<(), NotOpened> {
        Err(NotOpened::Unwanted)
    }
    /// How they want to log in where a browser is needed.
    fn wants(&self) -> LogInHow {
        LogInHow::Browser
    }
    /// How long they may take for what is done elsewhere.
    fn patience(&self) -> Duration {
        USUAL_PATIENCE
    }
}

/// How long a person has for a log-in, unless they say otherwise.
pub const USUAL_PATIENCE: Duration = Duration::from_secs(3 * 60);

/// How a person wants to log in where a browser is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogInHow {
    /// In a browser that is opened here.
    #[default]
    Browser,
    /// In one that they open themselves, perhaps elsewhere; what it ends at may be pasted.
    NoBrowser,
    /// On another device, by a code that they type there.
    DeviceCode,
}

/// Sends a person to an address: shows it, and has a browser open it where they want that.
///
/// # Errors
/// Why no browser was asked; the person knows it.
pub fn send(person: &dyn Person, address: &Url) -> Result<(), NotOpened> {
    let how = person.wants();
    person.tell(match how {
        LogInHow::Browser => "log in with a browser; if none opens, open this address yourself:",
        LogInHow::NoBrowser => "log in with a browser, at this address:",
        LogInHow::DeviceCode => "log in on any device, at this address:",
    });
    person.show(address);
    if how != LogInHow::Browser {
        return Err(NotOpened::Unwanted);
    }
    let opened = person.open(address);
    if let Err(why) = &opened
        && *why != NotOpened::Unwanted
    {
        person.tell(&format!("no browser was opened: {why}"));
    }
    opened
}

/// Why a person did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is no person: no terminal, or the client said so.
    Nobody,
    /// Ctrl-C or the end of input.
    Interrupted,
    /// The person did not answer in the time that they were given.
    TimedOut,
    /// The terminal failed, in the words of the system.
    Failed(String),
}
