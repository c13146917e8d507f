//! `doctor`: finds out why something does not work. One line for each thing that was looked at.

use std::fmt::Write as _;

use clap::Args;

use super::{Context, output};
use crate::doctor::{self, Finding, Order, State};
use crate::error::{Error, ExitCode};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Profiles of the settings file; all where none is named
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Leave the network alone
    #[arg(long)]
    offline: bool,
    /// kubeconfig file, instead of $KUBECONFIG or the usual place
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = output::Form::Table)]
    output: output::Form,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let mut profiles = flags.profiles;
    profiles.extend(context.profile.take());
    let report = doctor::examine(&Order {
        env: &context.env,
        config: context.config.as_ref(),
        kubeconfig: flags.kubeconfig.as_deref(),
        profiles,
        offline: flags.offline,
        clock: context.clock,
        timeout: context.timeout,
        calling: context.calling.clone(),
        program: std::env::current_exe().ok(),
    })?;
    output::document(flags.output, "DoctorReport", &report, || report.items.iter().map(line).collect())?;
    Ok(report.exit_code())
}

/// What, why, and what mends it.
fn line(finding: &Finding) -> String {
    let state = match finding.state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "fail",
    };
    let mut line = format!("{state:4}  {:10}  {}", finding.check, finding.message);
    for more in [&finding.why, &finding.hint].into_iter().flatten() {
        // Writing to a String does not fail.
        let _ = write!(line, " — {more}");
    }
    line.push('\n');
    line
}
