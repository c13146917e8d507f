//! Logging in, in a person's name: each Vault once, with the method of its settings or another that
//! the person chose, and out again.
//!
//! What was fetched in the name of the session before is dropped, so that nobody is handed another
//! person's token.

use crate::config::{LogInOverrides, NamedBy, VaultSettings};
use crate::desk::{Desk, Order};
use crate::env::Env;
use crate::error::{Calling, Error, Failure};
use crate::fetch;
use crate::issue::{self, Conditions};
use crate::journal::{Entry, Event};
use crate::keys;
use crate::network::on_the_network;
use crate::person::Person;
use crate::trust;
use crate::vault::session::SessionKey;

/// A person's log-ins, to each Vault once.
#[derive(Debug)]
pub struct SignIn {
    overrides: LogInOverrides,
    person_is_there: bool,
    /// The sessions that were asked for, each with the failure if it was not had.
    done: Vec<(SessionKey, Option<Failure>)>,
}

impl SignIn {
    /// With what the person chose instead of the settings. Somebody at the terminal gives their word
    /// with a flag that names a Vault.
    #[must_use]
    pub fn new(overrides: LogInOverrides, person_is_there: bool) -> Self {
        Self { overrides, person_is_there, done: Vec::new() }
    }

    /// Logs in to the Vault of this order. Returns a line for the person; none where the source has
    /// no Vault, or an order before had the same.
    ///
    /// # Errors
    /// The log-in that failed, again for each order with the same Vault: nobody is asked twice.
    pub fn one(
        &mut self,
        env: &Env,
        order: &Order,
        conditions: &Conditions,
        person: &dyn Person,
        calling: &mut Calling,
    ) -> Result<Option<String>, Error> {
        let desk = Desk::open_for_login(env.clone(), order)?;
        calling.profile = desk.request.profile.as_ref().map(ToString::to_string);
        let (Some(key), Some(vault)) = (desk.session_key.clone(), &desk.request.vault) else {
            return Ok(None);
        };
        if let Some((_, before)) = self.done.iter().find(|(done, _)| *done == key) {
            return before.clone().map_or(Ok(None), |failure| Err(failure.into()));
        }
        let chosen = vault.with_login_overrides(&self.overrides)?;
        accept(&desk, &chosen, self.person_is_there)?;
        let outcome = one(&desk, &chosen, &key, conditions, person);
        self.done.push((key, outcome.as_ref().err().map(Error::to_failure)));
        outcome.map(Some)
    }
}

/// Security: a Vault that only a flag names is accepted by a person at a terminal and by nobody
/// else, because a kubeconfig can name flags as well.
fn accept(desk: &Desk, vault: &VaultSettings, person_is_there: bool) -> Result<(), Error> {
    let memory = desk.memory();
    if vault.named_by == NamedBy::Flag && person_is_there {
        let identity = keys::vault_identity(vault);
        return Ok(memory.accept(|memory| memory.add_vault(identity))?);
    }
    Ok(trust::judge_vault(vault, memory.read()?.vaults(), desk.env.foreign())?)
}

fn one(
    desk: &Desk,
    chosen: &VaultSettings,
    key: &SessionKey,
    conditions: &Conditions,
    person: &dyn Person,
) -> Result<String, Error> {
    let vault = fetch::vault(desk, chosen, key, conditions)?;
    let forget = || forget_tokens_of(desk, key);
    let session = on_the_network(async { Ok(vault.login_after(person, &forget).await?) })?;
    desk.tokens.clear_log_in_failures();
    let entry = Entry::new(Event::Login).profile(&desk.request.profile_label).vault(vault.origin());
    let entry = entry.subject(session.subject.as_deref()).outcome(chosen.auth.name());
    issue::journal_of_person(desk, (conditions.clock)()).add(&entry, (conditions.clock)());
    let who = session.subject.as_deref().unwrap_or("somebody whom Vault does not name");
    let until = session.expires_at.map(|end| format!(" until {}", end.format("%Y-%m-%d %H:%M:%SZ")));
    Ok(format!("logged in to {} as {who}{}", vault.origin(), until.unwrap_or_default()))
}

/// Drops what was fetched in the name of the session before.
fn forget_tokens_of(desk: &Desk, session: &SessionKey) {
    for (key, kept) in desk.tokens.list() {
        if kept.about.session_key.as_ref() == Some(&session.0) {
            // What cannot be removed cannot be read either: it lies in a folder of ours.
            let _ = desk.tokens.remove(&key);
            desk.tokens.clear_failure(&key);
        }
    }
}
