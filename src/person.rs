//! The person at the terminal, as a log-in needs one. It only says what can be asked of a person;
//! [`crate::prompt`] does it.

use secrecy::SecretString;
use zeroize::Zeroizing;

/// The person at the terminal.
pub trait Person: Send + Sync {
    /// Asks for something that may be seen while it is typed.
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer>;
    /// Asks for something that may not.
    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer>;
    /// Tells something that is worth knowing while waiting.
    fn tell(&self, line: &str);
    /// A line that was typed meanwhile, without waiting for one; [`NoAnswer::Nobody`] where none will
    /// come any more.
    fn typed(&self) -> Result<Option<Zeroizing<String>>, NoAnswer>;
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
