//! Identities that a program prints: the agent of a job's platform, found on the `PATH` of the job,
//! or the command that an administrator named. Nothing of a kubeconfig chooses program, arguments or
//! environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use secrecy::SecretString;
use serde_json::json;

use super::error::{IdentityError, Provider};
use super::file;
use crate::env::Env;
use crate::error::ExitCode;
use crate::program::{self, NotRun};

/// A program that prints a JWT, as often as it is asked.
pub(super) struct Printer {
    /// The file.
    program: PathBuf,
    arguments: Vec<String>,
    /// Its whole environment.
    environment: Vec<(String, String)>,
    provider: Provider,
    deadline: Instant,
}

/// What an administrator's command is given of the environment; everything else stays here.
const FOR_COMMANDS: [&str; 9] =
    ["HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "SystemRoot"];

/// `PATH` of an administrator's command.
const PATH_FOR_COMMANDS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Printer {
    /// The command line of CircleCI in a job: "OIDC tokens with custom claims".
    pub(super) fn of_circleci(
        who: &str,
        env: &Env,
        audience: &str,
        deadline: Instant,
    ) -> Result<Self, IdentityError> {
        let claims = json!({ "aud": audience }).to_string();
        let arguments = ["run", "oidc", "get", "--claims", &claims];
        Self::of_job(who, env, "circleci", &arguments, Provider::Circleci, deadline)
    }

    /// Buildkite's agent in a job: "buildkite-agent oidc".
    pub(super) fn of_buildkite(
        who: &str,
        env: &Env,
        audience: Option<&str>,
        deadline: Instant,
    ) -> Result<Self, IdentityError> {
        let mut arguments = vec!["oidc", "request-token"];
        arguments.extend(audience.into_iter().flat_map(|audience| ["--audience", audience]));
        Self::of_job(who, env, "buildkite-agent", &arguments, Provider::Buildkite, deadline)
    }

    fn of_job(
        who: &str,
        env: &Env,
        name: &'static str,
        arguments: &[&str],
        provider: Provider,
        deadline: Instant,
    ) -> Result<Self, IdentityError> {
        // Security: `PATH` and the rest of what the job itself has, without what a kubeconfig added.
        let environment = env.for_child();
        let program = program::find(name, environment.get("PATH").map(String::as_str));
        let missing = || IdentityError::ProgramMissing { who: who.to_owned(), program: name, provider };
        Ok(Self {
            program: program.ok_or_else(missing)?,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: environment.into_iter().collect(),
            provider,
            deadline,
        })
    }

    /// The command of the administrator's settings.
    pub(super) fn of_administrator(
        who: &str,
        env: &Env,
        program: &Path,
        arguments: &[String],
        deadline: Instant,
    ) -> Result<Self, IdentityError> {
        // Security: it runs with the person's rights, so nobody else may have put it there.
        program::trusted(program).map_err(|why| IdentityError::ProgramWithheld {
            who: who.to_owned(),
            program: program.to_owned(),
            why,
        })?;
        let mut environment = env.for_child();
        environment.retain(|name, _| FOR_COMMANDS.contains(&name.as_str()));
        environment.insert("PATH".to_owned(), PATH_FOR_COMMANDS.to_owned());
        Ok(Self {
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            environment: environment.into_iter().collect(),
            provider: Provider::Administrator,
            deadline,
        })
    }

    /// How messages name it.
    pub(super) fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What it prints.
    pub(super) fn text(&self, who: &str) -> Result<SecretString, IdentityError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let printed = program::output(&mut command, file::LONGEST, self.deadline);
        printed.map(|text| SecretString::from(text.as_str())).map_err(|cause| IdentityError::ProgramFailed {
            who: who.to_owned(),
            program: self.name(),
            exit_code: match cause {
                NotRun::Late => ExitCode::Unreachable,
                NotRun::Interrupted => ExitCode::Interrupted,
                NotRun::NotStarted(_) | NotRun::Failed(_) | NotRun::TooMuch { .. } | NotRun::NoText => {
                    ExitCode::Unusable
                }
            },
            cause: cause.to_string(),
            provider: self.provider,
        })
    }
}
