//! `token`: the bare token for other programs. A terminal keeps what it shows, so it is refused
//! unless asked twice.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};

use super::{Context, DONE, KubeconfigFlags, output, profiles};
use crate::broker::Wish;
use crate::error::{Error, ExitCode};
use crate::exec::ExecError;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Profile of the settings file
    // An id of its own: that of the field is the id of the common `--profile`.
    #[arg(id = "PROFILE", value_name = "PROFILE")]
    profile: Option<String>,
    #[command(flatten)]
    kubeconfig: KubeconfigFlags,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = Form::Raw)]
    output: Form,
    /// Show the token on a terminal
    #[arg(long)]
    show: bool,
}

/// How a token is written for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The token and a line break
    Raw,
    /// A JSON document with the token and its end
    Json,
    /// An HTTP header
    Header,
    /// The variable that the Terraform providers read
    Env,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    if std::io::stdout().is_terminal() && !flags.show {
        return Err(ExecError::Terminal.into());
    }
    context.kubeconfig = flags.kubeconfig;
    let order = profiles::one(flags.profile, context)?;
    let issued = profiles::token(&order, Wish::Usual, context)?;
    let token = &issued.token;
    match flags.output {
        Form::Raw => output::secret("", &token.secret, "\n"),
        Form::Header => output::secret("Authorization: Bearer ", &token.secret, "\n"),
        Form::Env => output::secret("KUBE_TOKEN=", &token.secret, "\n"),
        Form::Json => output::token_document(token),
    }?;
    Ok(DONE)
}
