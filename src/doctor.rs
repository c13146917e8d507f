//! Finds out why something does not work: settings, the place for secrets, `PATH`, the kubeconfig,
//! then each profile with its servers. It mends nothing, asks nobody, and shows no secret; a token is
//! sent to the cluster that it is for and nowhere else.

mod kubeconfig;
mod path;
mod place;
mod profile;
mod servers;
mod settings;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Kubeconfig, KubeconfigFiles};
use crate::env::Env;
use crate::error::{Calling, Error, ExitCode, Failure, printable};
use crate::token::Timestamp;

/// What is looked at.
pub struct Order<'a> {
    /// The environment.
    pub env: &'a Env,
    /// `--config`.
    pub config: Option<&'a PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<&'a Path>,
    /// The profiles; all where none is named.
    pub profiles: Vec<String>,
    /// Whether the network is left alone.
    pub offline: bool,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// The longest that one server may take.
    pub timeout: Duration,
    /// How we were called, for hints.
    pub calling: Calling,
    /// This program.
    pub program: Option<PathBuf>,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and could be better; or it will not work for somebody.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which check: a word that stays.
    pub check: &'static str,
    /// How grave it is.
    pub state: State,
    /// What was found.
    pub message: String,
    /// Why, where it is known.
    pub why: Option<String>,
    /// The command, or the change, that mends it.
    pub hint: Option<String>,
    #[serde(skip)]
    code: ExitCode,
}

/// All that was found, in the order of the checks.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The findings.
    pub items: Vec<Finding>,
    #[serde(skip)]
    calling: Calling,
}

impl Report {
    /// That of the first failure.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let failed = self.items.iter().find(|finding| finding.state == State::Fail);
        failed.map_or(ExitCode::Done, |finding| finding.code)
    }

    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(check, State::Ok, ExitCode::Done, &message.into(), None, None);
    }

    fn warn(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        why: Option<String>,
        hint: Option<&str>,
    ) {
        self.push(check, State::Warn, ExitCode::Done, &message.into(), why, hint);
    }

    fn fail(
        &mut self,
        check: &'static str,
        code: ExitCode,
        message: impl Into<String>,
        why: Option<String>,
        hint: Option<&str>,
    ) {
        self.push(check, State::Fail, code, &message.into(), why, hint);
    }

    /// An error as any other command would tell it.
    fn error(&mut self, check: &'static str, error: impl Into<Error>) {
        let Failure { exit_code, what, why, hint } = error.into().to_failure();
        self.fail(check, exit_code, what, why, hint.as_deref());
    }

    /// Security: the words may be a server's or a kubeconfig's.
    fn push(
        &mut self,
        check: &'static str,
        state: State,
        code: ExitCode,
        message: &str,
        why: Option<String>,
        hint: Option<&str>,
    ) {
        let hint = hint.map(|hint| printable(&self.calling.complete(hint)));
        let (message, why) = (printable(message), why.map(|why| printable(&why)));
        self.items.push(Finding { check, state, message, why, hint, code });
    }
}

/// Looks at everything.
///
/// # Errors
/// A signal that ended it. What is wrong is in the report.
pub fn examine(order: &Order<'_>) -> Result<Report, Error> {
    let mut report = Report { calling: order.calling.clone(), ..Report::default() };
    let settings = settings::examine(order, &mut report).map(Arc::new);
    place::examine(order, settings.as_deref(), &mut report);
    path::examine(order.env.filled("PATH"), order.program.as_deref(), &mut report);
    let files = KubeconfigFiles::of(order.env, order.kubeconfig);
    let kubeconfig = match Kubeconfig::load(&files) {
        Ok(kubeconfig) => {
            kubeconfig::examine(&kubeconfig, settings.as_deref(), order.env.filled("PATH"), &mut report);
            kubeconfig
        }
        Err(error) => {
            report.error("kubeconfig", error);
            Kubeconfig::default()
        }
    };
    if let Some(settings) = settings {
        profile::examine(order, &settings, &kubeconfig, &mut report)?;
    }
    Ok(report)
}
