//! `logout`: revokes on the server what can be revoked, removes what is kept here, and says what
//! stays valid until when.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{Context, output, profiles};
use crate::error::{Error, ExitCode};
use crate::sign_out::{self, SessionEnd, SignedOut, TokenEnd};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    chosen: profiles::Chosen,
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
        items.push(sign_out::one(&context.env, &order, &conditions, &mut context.calling)?);
    }
    let worst = items.iter().map(SignedOut::exit_code).find(|code| *code != ExitCode::Done);
    let list = List { items };
    output::document(flags.output, "LogoutList", &list, || list.items.iter().map(told).collect())?;
    Ok(worst.unwrap_or(ExitCode::Done))
}

fn told(done: &SignedOut) -> String {
    let mut text = String::new();
    let session = match done.session {
        SessionEnd::Revoked => "the session is revoked, with every lease that hung on it",
        SessionEnd::None => "there was no session of ours",
        SessionEnd::NotOurs => "the session is not ours and was left alone",
        SessionEnd::StaysValid => "the session could not be revoked and lives until its own end",
    };
    // Writing to a String does not fail.
    let _ = writeln!(text, "{}: {session}", done.profile);
    for token in &done.tokens {
        let _ = writeln!(text, "  {}", told_token(token));
    }
    if let Some(failure) = &done.failure {
        let _ = writeln!(text, "  the server did not confirm it: {failure}");
    }
    let _ = writeln!(text, "  nothing of it is kept here any more");
    text
}

fn told_token(token: &TokenEnd) -> String {
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
