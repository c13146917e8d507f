//! `logout`: revokes on the server what can be revoked, removes what is kept here, and says what
//! stays valid until when.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{Context, output, profiles};
use crate::error::{Error, ExitCode, printable};
use crate::sign_out::{self, ProviderOut, RefreshTokenEnd, SessionEnd, SignedOut, TokenEnd};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    chosen: profiles::Chosen,
    /// End the provider's own session too, by which a browser is logged in there
    #[arg(long)]
    provider_session: bool,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = output::Form::Table)]
    output: output::Form,
}

#[derive(Serialize)]
struct List {
    items: Vec<SignedOut>,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let conditions = context.conditions();
    let mut items = Vec::new();
    for order in flags.chosen.orders(context)? {
        let also_at_provider = flags.provider_session;
        items.push(sign_out::one(&context.env, &order, &conditions, also_at_provider, &mut context.calling)?);
    }
    let worst = items.iter().map(SignedOut::exit_code).find(|code| *code != ExitCode::Done);
    let list = List { items };
    output::document(flags.output, "LogoutList", &list, || list.items.iter().map(told).collect())?;
    Ok(worst.unwrap_or(ExitCode::Done))
}

fn told(done: &SignedOut) -> String {
    let mut text = String::new();
    let provider = done.provider.as_ref().map(told_provider);
    let session = match done.session {
        // A profile without a Vault has no other session.
        SessionEnd::None if provider.is_some() => "",
        SessionEnd::Revoked => "the session is revoked, with every lease that hung on it",
        SessionEnd::None => "there was no session of ours",
        SessionEnd::NotOurs => "the session is not ours and was left alone",
        SessionEnd::StaysValid => "the session could not be revoked and lives until its own end",
    };
    // Writing to a String does not fail.
    let lines = Some(session.to_owned())
        .filter(|line| !line.is_empty())
        .into_iter()
        .chain(provider.into_iter().flatten());
    for line in lines {
        let _ = writeln!(text, "{}: {line}", done.profile);
    }
    for token in &done.tokens {
        let _ = writeln!(text, "  {}", told_token(token));
    }
    if let Some(failure) = &done.failure {
        let _ = writeln!(text, "  the server did not confirm it: {failure}");
    }
    let _ = writeln!(text, "  nothing of it is kept here any more");
    text
}

fn told_provider(provider: &ProviderOut) -> Vec<String> {
    let name = &provider.name;
    let mut lines = vec![match provider.refresh_token {
        RefreshTokenEnd::Revoked => {
            format!("the session at provider `{name}` is revoked, and renews nothing any more")
        }
        RefreshTokenEnd::None => format!("there was nothing to revoke at provider `{name}`"),
        RefreshTokenEnd::NotOffered => {
            format!("provider `{name}` revokes nothing; a copy of the session would live until its own end")
        }
        RefreshTokenEnd::StaysValid => {
            format!("the session at provider `{name}` could not be revoked and lives until its own end")
        }
    }];
    if let Some(address) = &provider.own_session {
        let address = printable(address);
        lines.push(format!("provider `{name}` was asked to end its own session; see to it at {address}"));
    }
    lines
}

pub(super) fn told_token(token: &TokenEnd) -> String {
    let cluster = token.cluster.as_deref().map(|server| format!(" for {server}")).unwrap_or_default();
    match (token.revoked, token.stays_valid_until, token.why) {
        (true, _, _) => format!("the token{cluster} is revoked"),
        (false, Some(end), Some(why)) => format!(
            "the token{cluster} was removed here; a copy of it stays valid until {}: {why}",
            end.format("%Y-%m-%d %H:%M:%SZ")
        ),
        (false, _, _) => format!("the token{cluster} had ended already"),
    }
}
