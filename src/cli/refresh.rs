//! `refresh`: a new token now, for whoever knows that the kept one is of no use any more: its role
//! has changed, or the cluster refuses it.

use clap::Args;

use super::{Context, DONE, output, profiles};
use crate::broker::Wish;
use crate::error::{Error, ExitCode};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    chosen: profiles::Chosen,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    for order in flags.chosen.orders(context)? {
        let issued = profiles::keep(&order, Wish::Anew, context)?;
        output::note(&profiles::told(&issued));
    }
    Ok(DONE)
}
