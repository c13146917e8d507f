//! The person at the terminal, as a log-in needs one.

use std::time::Instant;

use secrecy::SecretString;

use super::{Vault, VaultError, held};

/// The person at the terminal.
pub trait Person: Send + Sync {
    /// Asks for something that may be seen while it is typed.
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer>;
    /// Asks for something that may not.
    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer>;
    /// Tells something that is worth knowing while waiting.
    fn tell(&self, line: &str);
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

impl Vault {
    /// Asks a person, and adds the time that it took to the deadline.
    pub(super) fn ask_person<T>(
        &self,
        person: Option<&dyn Person>,
        what: &str,
        ask: impl FnOnce(&dyn Person) -> Result<T, NoAnswer>,
    ) -> Result<T, VaultError> {
        let begun = Instant::now();
        let answer = person.ok_or(NoAnswer::Nobody).and_then(ask);
        *held(&self.waited) += begun.elapsed();
        answer.map_err(|none| match none {
            NoAnswer::Nobody => self.login_required(format!("nobody can be asked for {what} here")),
            NoAnswer::Interrupted => VaultError::GivenUp { vault: self.origin().to_owned() },
            NoAnswer::TimedOut => VaultError::Unanswered { vault: self.origin().to_owned() },
            NoAnswer::Failed(why) => VaultError::Settings { what: "the terminal".into(), why, hint: None },
        })
    }
}
