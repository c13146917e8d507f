//! `login`: the one command that asks a person. It logs in to the Vault of each profile once, and
//! fetches the first token, so that the next `kubectl` waits for nothing.

use std::time::Duration;

use clap::Args;

use super::{Context, DONE, duration, output, profiles};
use crate::broker::Wish;
use crate::config::LogInOverrides;
use crate::desk::Desk;
use crate::error::{Error, ExitCode};
use crate::prompt::{self, Terminal};
use crate::sign_in::{self, SignIn};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Profiles of the settings file
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// All profiles of the settings file
    #[arg(long, conflicts_with = "profiles")]
    all: bool,
    /// How to log in, instead of what the settings say: userpass, ldap, token …
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Mount path of the method
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// Role of the method
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Name to log in with
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Vault of the settings file
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Address of a Vault; at a terminal this is your word that it may have your secrets
    #[arg(long, value_name = "URL")]
    vault_address: Option<String>,
    /// How long to wait for each answer of a person
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "3m")]
    login_timeout: Duration,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let overrides = LogInOverrides {
        method: flags.method,
        mount: flags.mount,
        role: flags.role,
        username: flags.username,
    };
    let mut orders = profiles::chosen(flags.profiles, flags.all, context)?;
    for order in &mut orders {
        order.overrides.vault.clone_from(&flags.vault);
        order.overrides.vault_address.clone_from(&flags.vault_address);
    }
    let sign_in = SignIn { overrides, person_is_there: prompt::somebody_is_there() };
    let conditions = context.conditions();
    let person = Terminal::with_patience(flags.login_timeout);
    for done in sign_in::all(&context.env, &orders, &sign_in, &conditions, &person, &mut context.calling)? {
        output::note(&done);
    }
    for order in &orders {
        // Without a profile or a role there is a log-in and nothing to fetch.
        if Desk::open(context.env.clone(), order).is_ok() {
            let issued = profiles::keep(order, Wish::Usual, context)?;
            output::note(&profiles::told(&issued));
        }
    }
    Ok(DONE)
}
