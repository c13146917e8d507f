//! Why a workload's own JWT could not be had, told apart by who has to provide it. Neither a token
//! nor what it claims is ever part of a message; only when it starts and ends.

use std::path::PathBuf;

use crate::error::{ExitCode, Explain, Failure, shell_word};
use crate::http::HttpError;
use crate::token::Timestamp;

/// Why there is no JWT to present. `who` names the identity as in "identity `build`".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IdentityError {
    /// The file is not there, or not for us.
    #[error("{who}: cannot read its token file `{}`", path.display())]
    Unreadable {
        /// The identity.
        who: String,
        /// The file.
        path: PathBuf,
        /// In the words of the system.
        cause: String,
        /// Who puts it there.
        provider: Provider,
    },
    /// The variable is missing or empty.
    #[error("{who}: the variable `{variable}` is not set")]
    VariableMissing {
        /// The identity.
        who: String,
        /// The variable.
        variable: String,
        /// Who sets it.
        provider: Provider,
    },
    /// The variable should say where to ask, and does not.
    #[error("{who}: the variable `{variable}` holds no address")]
    NoAddress {
        /// The identity.
        who: String,
        /// The variable.
        variable: &'static str,
        /// Who sets it.
        provider: Provider,
    },
    /// What is there is no JWT.
    #[error("{who}: {place} holds no token that can be used")]
    Malformed {
        /// The identity.
        who: String,
        /// Where it was found.
        place: Place,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It has ended.
    #[error("{who}: the token in {place} has expired")]
    Dead {
        /// The identity.
        who: String,
        /// Where it was found.
        place: Place,
        /// Its `exp`.
        ended_at: Timestamp,
    },
    /// It starts later.
    #[error("{who}: the token in {place} is not valid yet")]
    NotYet {
        /// The identity.
        who: String,
        /// Where it was found.
        place: Place,
        /// Its `nbf`.
        starts_at: Timestamp,
    },
    /// It is for somebody else.
    #[error("{who}: the token in {place} is not for the audience `{audience}`")]
    WrongAudience {
        /// The identity.
        who: String,
        /// Where it was found.
        place: Place,
        /// The audience of the settings.
        audience: String,
    },
    /// A token service that is not reached over TLS.
    #[error("{who}: refused to send the job's request token to `{host}` without TLS")]
    Cleartext {
        /// The identity.
        who: String,
        /// The service's host.
        host: String,
        /// The variable that names it.
        variable: &'static str,
        /// Who sets it.
        provider: Provider,
    },
    /// The token service said no.
    #[error("{who}: `{host}` issued no token but answered with status {status}")]
    Refused {
        /// The identity.
        who: String,
        /// The service's host.
        host: String,
        /// Its status code.
        status: u16,
        /// Its own words.
        words: Option<String>,
        /// Whose it is.
        provider: Provider,
    },
    /// The platform's agent is not on `PATH`.
    #[error("{who}: there is no program `{program}` on `PATH`")]
    ProgramMissing {
        /// The identity.
        who: String,
        /// Its name.
        program: &'static str,
        /// Who puts it there.
        provider: Provider,
    },
    /// The administrator's program is one that others can change.
    #[error("{who}: refused to run `{}`", program.display())]
    ProgramWithheld {
        /// The identity.
        who: String,
        /// The program.
        program: PathBuf,
        /// Why it is not trusted.
        why: String,
    },
    /// The program that should print the token did not.
    #[error("{who}: `{program}` gave no token")]
    ProgramFailed {
        /// The identity.
        who: String,
        /// Its name.
        program: String,
        /// What went wrong, with its own words.
        cause: String,
        /// What that means for the caller.
        exit_code: ExitCode,
        /// Whose it is.
        provider: Provider,
    },
    /// The token service is not reachable.
    #[error("{who}: {cause}")]
    Http {
        /// The identity.
        who: String,
        /// What happened.
        cause: HttpError,
    },
    /// The Vault that issues the identity failed.
    #[error("{who}: {failure}")]
    Issuer {
        /// The identity.
        who: String,
        /// Its failure, in words.
        failure: Failure,
    },
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// The answer of a service, by its host.
    Answer(String),
    /// What a program printed, by its name.
    Output(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file `{}`", path.display()),
            Self::Variable(name) => write!(formatter, "variable `{name}`"),
            Self::Answer(host) => write!(formatter, "the answer of `{host}`"),
            Self::Output(program) => write!(formatter, "the output of `{program}`"),
        }
    }
}

/// Who provides a token, and so can mend that it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Whoever wrote the settings.
    Person,
    /// The kubelet.
    Kubelet,
    /// GitHub Actions.
    Github,
    /// GitLab.
    Gitlab,
    /// CircleCI.
    Circleci,
    /// Buildkite.
    Buildkite,
    /// Azure Pipelines.
    AzurePipelines,
    /// Bitbucket Pipelines.
    Bitbucket,
    /// HCP Terraform.
    TerraformCloud,
    /// SPIRE's agent, or a helper that asks it.
    Spiffe,
    /// The administrator.
    Administrator,
}

impl Provider {
    /// What mends that nothing is there.
    fn hint(self, place: &Place) -> String {
        match (self, place) {
            (Self::Person, Place::File(path)) => format!(
                "let what issues the token write it to `{}`, or correct `path` in `identities`",
                path.display()
            ),
            (Self::Person, place) => {
                format!("let the job set the {place} to its token, or correct `variable` in `identities`")
            }
            (Self::Kubelet, _) => {
                "project a token into the pod: `volumes: [{name: tokens, projected: {sources: [{serviceAccountToken: \
                 {path: vault, audience: AUDIENCE}}]}}]`"
                    .to_owned()
            }
            (Self::Github, _) => "give the job `permissions: {id-token: write}` in its workflow".to_owned(),
            (Self::Gitlab, place) => {
                format!("give the job the {place} under `id_tokens:` in `.gitlab-ci.yml`, with its `aud`")
            }
            (Self::Circleci, _) => {
                "run this in a job of CircleCI with a context: `context: NAME` under the job in \
                 `.circleci/config.yml`"
                    .to_owned()
            }
            (Self::Buildkite, _) => {
                "run this in a job of Buildkite; in a container let the docker plugin bring its agent along: \
                 `mount-buildkite-agent: true`"
                    .to_owned()
            }
            (Self::AzurePipelines, _) => {
                "give the step the job's token in `azure-pipelines.yml`: \
                 `env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`"
                    .to_owned()
            }
            (Self::Bitbucket, _) => "give the step `oidc: true` in `bitbucket-pipelines.yml`".to_owned(),
            (Self::TerraformCloud, Place::Variable(name)) => format!(
                "set the environment variable `{}` of the workspace to the audience",
                name.replace("IDENTITY_TOKEN", "IDENTITY_AUDIENCE")
            ),
            (Self::TerraformCloud, _) => "run this in HCP Terraform".to_owned(),
            (Self::Spiffe, _) => {
                "let spiffe-helper write it: `jwt_svids = [{jwt_audience=\"AUDIENCE\", \
                 jwt_svid_file_name=\"FILE\"}]`"
                    .to_owned()
            }
            (Self::Administrator, _) => {
                "run the `command` of the administrator's settings by hand: it must print one JWT".to_owned()
            }
        }
    }

    /// The platform by its name, for those that set variables with addresses.
    fn name(self) -> &'static str {
        match self {
            Self::Github => "GitHub Actions",
            Self::AzurePipelines => "Azure Pipelines",
            Self::Gitlab => "GitLab",
            Self::Circleci => "CircleCI",
            Self::Buildkite => "Buildkite",
            Self::Bitbucket => "Bitbucket Pipelines",
            Self::TerraformCloud => "HCP Terraform",
            Self::Person | Self::Kubelet | Self::Spiffe | Self::Administrator => "your platform",
        }
    }
}

impl Explain for IdentityError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unreadable { .. }
            | Self::VariableMissing { .. }
            | Self::NoAddress { .. }
            | Self::Malformed { .. }
            | Self::Dead { .. }
            | Self::NotYet { .. }
            | Self::WrongAudience { .. }
            | Self::ProgramMissing { .. } => ExitCode::Unusable,
            Self::Cleartext { .. } | Self::ProgramWithheld { .. } => ExitCode::Withheld,
            Self::ProgramFailed { exit_code, .. } => *exit_code,
            Self::Refused { status: 429 | 500.., .. } => ExitCode::Unreachable,
            Self::Refused { .. } => ExitCode::Refused,
            Self::Http { cause, .. } => cause.exit_code(),
            Self::Issuer { failure, .. } => failure.exit_code,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::VariableMissing { .. } | Self::NoAddress { .. } | Self::ProgramMissing { .. } => None,
            Self::Unreadable { cause, .. } | Self::ProgramFailed { cause, .. } => Some(cause.clone()),
            Self::ProgramWithheld { why, .. } => Some(why.clone()),
            Self::Malformed { why, .. } => Some((*why).to_owned()),
            Self::Dead { ended_at, .. } => Some(format!("it ended at {}", written(*ended_at))),
            Self::NotYet { starts_at, .. } => {
                Some(format!("it starts at {}; or the clock of this machine is behind", written(*starts_at)))
            }
            Self::WrongAudience { .. } => Some("its `aud` does not name it".to_owned()),
            Self::Cleartext { variable, .. } => Some(format!("`{variable}` is not an https address")),
            Self::Refused { words, .. } => words.clone(),
            Self::Http { cause, .. } => cause.why(),
            Self::Issuer { failure, .. } => failure.why.clone(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { path, provider, .. } => Some(provider.hint(&Place::File(path.clone()))),
            Self::VariableMissing { variable, provider, .. } => {
                Some(provider.hint(&Place::Variable(variable.clone())))
            }
            Self::NoAddress { provider, .. } => {
                Some(format!("run this in a job of {}, which sets it", provider.name()))
            }
            Self::Malformed { place: Place::Answer(host), .. } => {
                Some(format!("see whether `{host}` is the token service of this job"))
            }
            Self::Malformed { place, .. } => {
                Some(format!("see what writes the {place}: it must be one JWT and nothing else"))
            }
            Self::Dead { place, .. } => Some(match place {
                Place::File(_) => {
                    "see what renews that file: the kubelet or the agent that writes it".to_owned()
                }
                Place::Variable(_) => {
                    "start the job again: a variable keeps the token of its start".to_owned()
                }
                Place::Answer(_) | Place::Output(_) => {
                    "compare the clock of this machine with the service's: `date -u`".to_owned()
                }
            }),
            Self::NotYet { .. } => {
                Some("compare the clock of this machine with the issuer's: `date -u`".to_owned())
            }
            Self::WrongAudience { place: Place::Output(_), .. } => {
                Some("correct `audience` in `identities`".to_owned())
            }
            Self::WrongAudience { audience, .. } => Some(format!(
                "project a token with `audience: {audience}`, or correct `audience` in `identities`"
            )),
            Self::Cleartext { provider, .. } => {
                Some(format!("run this in a job of {}, which sets an https address", provider.name()))
            }
            Self::ProgramFailed { exit_code: ExitCode::Unreachable, .. }
            | Self::Refused { status: 429 | 500.., .. } => Some("try again later".to_owned()),
            Self::Refused { status: 401 | 403, host, provider, .. } => {
                Some(provider.hint(&Place::Answer(host.clone())))
            }
            Self::ProgramMissing { program, provider, .. } => {
                Some(provider.hint(&Place::Output((*program).to_owned())))
            }
            Self::ProgramFailed { program, provider, .. } => {
                Some(provider.hint(&Place::Output(program.clone())))
            }
            Self::ProgramWithheld { program, .. } => {
                let program = program.to_string_lossy();
                let program = shell_word(&program);
                Some(format!("sudo chown root {program} && sudo chmod go-w {program}"))
            }
            Self::Refused { .. } => None,
            Self::Http { cause, .. } => cause.hint(),
            Self::Issuer { failure, .. } => failure.hint.clone(),
        }
    }
}

/// A moment as people compare it with `date -u`.
fn written(moment: Timestamp) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
