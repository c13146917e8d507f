//! Asking a person in the course of a log-in to this Vault.

use std::time::Instant;

use super::{Vault, VaultError, held};
use crate::person::{NoAnswer, Person};

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
