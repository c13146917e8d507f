//! `reseal`: a new sealing key.

use clap::Args;

use super::{Context, DONE, output};
use crate::error::{Error, ExitCode};
use crate::reseal;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Output form
    #[arg(short, long, value_enum, default_value_t = output::Form::Table)]
    output: output::Form,
}

pub(super) fn run(flags: &Flags, context: &Context) -> Result<ExitCode, Error> {
    let outcome = reseal::run(&context.env, context.config.as_ref(), context.timeout)?;
    output::document(flags.output, "Resealed", &outcome, || {
        let reseal::Outcome { tokens, sessions, left, .. } = outcome;
        let left = match left {
            0 => String::new(),
            left => format!("; {left} in use are sealed with the one before, which opens them"),
        };
        format!("a new key seals what is kept (tokens: {tokens}, sessions: {sessions}){left}\n")
    })?;
    Ok(DONE)
}
