//! `login`: the one command that asks a person. It logs in to the Vault of each profile once, and
//! fetches the first token, so that the next `kubectl` waits for nothing.

use std::time::Duration;

use clap::Args;

use super::{Context, DONE, duration, output, profiles};
use crate::attended;
use crate::broker::Wish;
use crate::config::LogInOverrides;
use crate::desk::{Desk, Order};
use crate::error::{Error, ExitCode};
use crate::person::LogInHow;
use crate::prompt::{self, Terminal};
use crate::sign_in::SignIn;

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    chosen: profiles::Chosen,
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
    /// Open no browser; the answer may be pasted where the browser is on another machine
    #[arg(long, conflicts_with = "device_code")]
    no_browser: bool,
    /// Log in on another device, by a code
    #[arg(long)]
    device_code: bool,
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
    let mut orders = flags.chosen.orders(context)?;
    for order in &mut orders {
        order.overrides.vault.clone_from(&flags.vault);
        order.overrides.vault_address.clone_from(&flags.vault_address);
    }
    let mut sign_in = SignIn::new(overrides, prompt::somebody_is_there());
    let how = match (flags.no_browser, flags.device_code) {
        (true, _) => LogInHow::NoBrowser,
        (_, true) => LogInHow::DeviceCode,
        _ => LogInHow::Browser,
    };
    let person = Terminal::with_patience(flags.login_timeout).who_wants(how, &context.env);
    let mut first_failure = None;
    for order in &orders {
        context.calling.profile = None;
        let Err(error) = one(order, &mut sign_in, &person, context) else { continue };
        let code = error.exit_code();
        if matches!(code, ExitCode::Interrupted | ExitCode::Terminated) {
            return Err(error);
        }
        // The others are none the worse for it.
        output::error_text(&error.report(&context.calling));
        first_failure.get_or_insert(code);
    }
    Ok(first_failure.unwrap_or(DONE))
}

fn one(order: &Order, sign_in: &mut SignIn, person: &Terminal, context: &mut Context) -> Result<(), Error> {
    let conditions = context.conditions();
    let turn = attended::turn_of_command(&context.env, order, &conditions, person)?;
    for line in sign_in.one(&context.env, order, &conditions, person, &mut context.calling)? {
        output::note(&line);
    }
    drop(turn);
    // Without a profile or a role there is a log-in and nothing to fetch.
    if Desk::open(context.env.clone(), order).is_ok() {
        let issued = profiles::keep(order, Wish::Usual, context)?;
        output::note(&profiles::told(&issued));
    }
    Ok(())
}
