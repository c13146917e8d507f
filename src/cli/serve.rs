//! `serve`: the metadata service that Databricks' SDKs ask, for as long as somebody lets it run.

use std::sync::Arc;

use clap::Args;

use super::{Context, output};
use crate::databricks::{Listener, Profiles, Tokens, listener};
use crate::desk;
use crate::error::{Error, ExitCode};
use crate::issue::Conditions;
use crate::network::on_the_network;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Where to listen; port 0 is a free one
    #[arg(long, value_name = "127.0.0.1:PORT", default_value = "127.0.0.1:0")]
    listen: String,
}

/// The variable of the SDKs.
pub(super) const VARIABLE: &str = "DATABRICKS_METADATA_SERVICE_URL";

pub(super) fn run(flags: &Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let port = listener::place_to_listen(&flags.listen)?;
    // Whoever starts it wants to hear of a mistake now, and not through an SDK.
    let profiles = Profiles::of(&desk::settings(&context.env, context.config.as_ref())?);
    profiles.check(context.profile.as_deref())?;
    let tokens = Arc::new(tokens(context, context.profile.clone()));
    let calling = context.calling.clone();
    let outcome = on_the_network(async {
        let listener = Listener::bind(port, tokens, calling).await?;
        output::secret(&format!("{VARIABLE}="), &listener.url(), "\n")?;
        listener.serve().await;
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(ExitCode::Done),
        // Its usual end, which is no error.
        Err(Error::Interrupted(code)) => Ok(code),
        Err(error) => Err(error),
    }
}

/// The tokens of this call's settings, of one profile or of all.
pub(super) fn tokens(context: &Context, only: Option<String>) -> Tokens {
    let timeout = context.timeout.min(listener::LONGEST_FETCH);
    let conditions = Conditions { timeout, ..context.conditions() };
    Tokens::new(context.env.clone(), context.config.clone(), only, conditions)
}
