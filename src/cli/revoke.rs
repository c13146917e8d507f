//! `revoke`: kills what was minted, where the source can, and says what lives on and until when.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::logout::told_token;
use super::{Context, output, profiles};
use crate::error::{Error, ExitCode};
use crate::revoke::{self, Revoked};

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
    items: Vec<Revoked>,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let conditions = context.conditions();
    let mut items = Vec::new();
    for order in flags.chosen.orders(context)? {
        items.push(revoke::one(&context.env, &order, &conditions, &mut context.calling)?);
    }
    let worst = items.iter().map(Revoked::exit_code).find(|code| *code != ExitCode::Done);
    let list = List { items };
    output::document(flags.output, "RevokeList", &list, || list.items.iter().map(told).collect())?;
    Ok(worst.unwrap_or(ExitCode::Done))
}

fn told(done: &Revoked) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    if done.tokens.is_empty() {
        let _ = writeln!(text, "{}: no token of it is kept here", done.profile);
    } else {
        let _ = writeln!(text, "{}:", done.profile);
    }
    for token in &done.tokens {
        let _ = writeln!(text, "  {}", told_token(token));
    }
    if let Some(failure) = &done.failure {
        let _ = writeln!(text, "  the server did not confirm it: {failure}");
        let _ = writeln!(text, "  what it did not confirm is kept, so that you can try again");
    }
    text
}
