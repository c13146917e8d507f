//! Logging in, in a person's name: each provider and each Vault once, with the method of its settings or another that
//! the person chose, and out again.
//!
//! What was fetched in the name of the session before is dropped, so that nobody is handed another
//! person's token.

use crate::config::{LogInOverrides, NamedBy, Provider, VaultSettings};
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

/// A person's log-ins, to each provider and each Vault once.
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

    /// Logs in to the provider and to the Vault of this order, in that order: the provider's token may
    /// be what logs in to Vault. Returns a line for the person for each log-in; none where an order
    /// before had the same.
    ///
    /// # Errors
    /// The log-in that failed, again for each order with the same Vault or provider: nobody is asked
    /// twice.
    pub fn one(
        &mut self,
        env: &Env,
        order: &Order,
        conditions: &Conditions,
        person: &dyn Person,
        calling: &mut Calling,
    ) -> Result<Vec<String>, Error> {
        let desk = Desk::open_for_login(env.clone(), order)?;
        calling.profile = desk.request.profile.as_ref().map(ToString::to_string);
        let chosen = match &desk.request.vault {
            Some(vault) => Some(vault.with_login_overrides(&self.overrides)?),
            None => None,
        };
        let mut lines = Vec::new();
        // Whoever chose another method needs no provider for it.
        let is_another =
            |vault: &VaultSettings| desk.request.vault.as_ref().is_some_and(|own| own.auth != vault.auth);
        if let Some((_, settings)) = desk.request.provider()
            && !chosen.as_ref().is_some_and(is_another)
        {
            let key = keys::provider_key(settings);
            lines.extend(self.once(&key, |is_there| {
                accept_provider(&desk, settings, is_there)?;
                provider(&desk, settings, &key, conditions, person)
            })?);
        }
        if let (Some(key), Some(chosen)) = (desk.session_key.clone(), &chosen) {
            lines.extend(self.once(&key, |is_there| {
                accept(&desk, chosen, is_there)?;
                one(&desk, chosen, &key, conditions, person)
            })?);
        }
        Ok(lines)
    }

    /// One log-in for all orders that have it in common.
    fn once(
        &mut self,
        key: &SessionKey,
        log_in: impl FnOnce(bool) -> Result<String, Error>,
    ) -> Result<Option<String>, Error> {
        if let Some((_, before)) = self.done.iter().find(|(done, _)| done == key) {
            return before.clone().map_or(Ok(None), |failure| Err(failure.into()));
        }
        let outcome = log_in(self.person_is_there);
        self.done.push((key.clone(), outcome.as_ref().err().map(Error::to_failure)));
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

/// Security: as for a Vault.
fn accept_provider(desk: &Desk, provider: &Provider, person_is_there: bool) -> Result<(), Error> {
    let memory = desk.memory();
    if provider.named_by == NamedBy::Flag && person_is_there {
        let identity = keys::provider_identity(provider);
        return Ok(memory.accept(|memory| memory.add_vault(identity))?);
    }
    Ok(trust::judge_provider(provider, memory.read()?.vaults(), desk.env.foreign())?)
}

fn provider(
    desk: &Desk,
    settings: &Provider,
    key: &SessionKey,
    conditions: &Conditions,
    person: &dyn Person,
) -> Result<String, Error> {
    let client = fetch::provider(desk, settings, conditions)?;
    let forget = || forget_tokens_of(desk, key);
    let session = on_the_network(async { Ok(client.login(person, &forget).await?) })?;
    desk.tokens.clear_log_in_failures();
    let entry = Entry::new(Event::Login).profile(&desk.request.profile_label).provider(client.issuer());
    let entry = entry.subject(session.subject.as_deref()).outcome("oidc");
    issue::journal_of_person(desk, (conditions.clock)()).add(&entry, (conditions.clock)());
    let who = session.who().unwrap_or("somebody whom the provider does not name");
    let until = match session.ends_at(settings.token) {
        Some(end) => format!(" until {}", end.format("%Y-%m-%d %H:%M:%SZ")),
        None => ", and renewed from here on".to_owned(),
    };
    Ok(format!("logged in to {} as {who}{until}", client.issuer()))
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
