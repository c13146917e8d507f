//! The command line: flags in, a request out to the module that does the work, text back.
//!
//! One file per command. Nothing here opens a connection or knows a wire format; the clock and the
//! environment are read here once and handed down.

mod completion;
mod databricks;
mod doctor;
mod exec;
mod federation;
mod get_token;
mod login;
mod logout;
mod output;
mod profiles;
mod refresh;
mod renew;
mod reseal;
mod revoke;
mod serve;
mod source;
mod status;
mod token;
mod trust;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::broker::Wish;
use crate::cluster::Cluster;
use crate::config::{Kubeconfig, KubeconfigFiles, Request, SettingsError, parse_duration};
use crate::desk::{self, Order};
use crate::env::Env;
use crate::error::{Calling, Error, ExitCode, printable};
use crate::exec::ExecError;
use crate::issue::{Asker, Conditions};
use crate::renew::{self as renewal, Task};
use crate::token::Timestamp;
use crate::trust::TrustError;

/// Short-lived cluster tokens from Vault or OpenBao for kubectl.
#[derive(Debug, Parser)]
#[command(arg_required_else_help = true, disable_version_flag = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one credential for a client (the exec credential provider)
    GetToken(get_token::Flags),
    /// Log in and fetch the first token
    Login(login::Flags),
    /// Revoke what can be revoked and remove what is kept here
    Logout(logout::Flags),
    /// Kill the tokens of a profile, where their source can
    Revoke(revoke::Flags),
    /// Show what is kept and how long it lives, without using the network
    Status(status::Flags),
    /// Find out why something does not work; changes nothing
    Doctor(doctor::Flags),
    /// Fetch a new token now
    Refresh(refresh::Flags),
    /// Make a new sealing key, and seal with it what is kept
    Reseal(reseal::Flags),
    /// Print the bare token for other programs
    Token(token::Flags),
    /// Let a profile's tokens go to one more cluster
    Trust(trust::Flags),
    /// Hand Databricks' SDKs tokens on this machine (their metadata service)
    Serve(serve::Flags),
    /// Run a program that uses an SDK of Databricks', with its tokens at hand
    Exec(exec::Flags),
    /// The trust of Databricks in a cluster's service accounts
    Federation(federation::Flags),
    /// Tokens as the Databricks CLI prints them, for SDKs that take this program for it
    #[command(hide = true)]
    Auth(databricks::Auth),
    /// Renew what a call of get-token found due; started by that call, never by a person
    #[command(hide = true)]
    Renew,
    /// Print what a shell needs to complete command lines
    Completion(completion::Flags),
    /// Show the version and how it was built
    Version(version::Flags),
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common flags")]
struct Common {
    /// Settings file, instead of the usual place
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Profile of the settings file
    #[arg(short, long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Namespace in the cluster for which a token is asked
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// Longest use of the network, such as 30s
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "20s")]
    timeout: Duration,
    /// Say more on standard error; repeat for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Flags of the commands that look into a kubeconfig.
#[derive(Debug, Default, Args)]
pub(crate) struct KubeconfigFlags {
    /// kubeconfig file, instead of $KUBECONFIG or the usual place
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// What each command is given besides its flags.
pub(crate) struct Context {
    /// The environment as it stands; `Env::own` for what is the person's own.
    pub(crate) env: Env,
    /// The form in which we were called.
    pub(crate) calling: Calling,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--profile`.
    pub(crate) profile: Option<String>,
    /// `--namespace`.
    pub(crate) namespace: Option<String>,
    /// `--kubeconfig` and `--context` of the commands that have them.
    pub(crate) kubeconfig: KubeconfigFlags,
    /// `--timeout`.
    pub(crate) timeout: Duration,
    /// How often `-v` was given.
    pub(crate) verbose: u8,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
    /// The words of the command line; none where one of them is no text.
    pub(crate) arguments: Option<Vec<String>>,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Runs one command: the whole program but for the process itself.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, env: Env, clock: fn() -> Timestamp) -> u8 {
    let program = called_as(&env);
    let mut calling = Calling { program: program.to_owned(), ..Calling::default() };
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(words) = completion::asked(&arguments) {
        return ended(completion::complete(&words, &env), &calling);
    }
    let line = if databricks::is_called(&arguments) {
        match databricks::parse(&arguments) {
            Ok(databricks::Call::Version { as_json }) => {
                return ended(databricks::version(as_json), &calling);
            }
            Ok(databricks::Call::Auth(auth, common)) => {
                Ok(CommandLine { command: Command::Auth(auth), common })
            }
            Err(error) => Err(error),
        }
    } else {
        parse(&arguments, program)
    };
    let CommandLine { command, common } = match line {
        Ok(line) => line,
        Err(error) => return ended(output::usage(&error), &calling),
    };
    calling.config.clone_from(&common.config);
    let arguments = arguments.into_iter().map(|word| word.into_string().ok()).collect();
    let mut context = Context::new(common, env, calling, clock, arguments);
    let outcome = match command.for_persons(&context.env) {
        Err(error) => Err(Error::from(error)),
        Ok(()) => match command {
            Command::GetToken(flags) => get_token::run(flags, &mut context),
            Command::Login(flags) => login::run(flags, &mut context),
            Command::Logout(flags) => logout::run(flags, &mut context),
            Command::Revoke(flags) => revoke::run(flags, &mut context),
            Command::Status(flags) => status::run(flags, &mut context),
            Command::Doctor(flags) => doctor::run(flags, &mut context),
            Command::Refresh(flags) => refresh::run(flags, &mut context),
            Command::Token(flags) => token::run(flags, &mut context),
            Command::Trust(flags) => trust::run(flags, &mut context),
            Command::Serve(flags) => serve::run(&flags, &mut context),
            Command::Exec(flags) => match exec::run(flags, &mut context) {
                Ok(code) => return code,
                Err(error) => Err(error),
            },
            Command::Federation(flags) => federation::run(flags, &mut context),
            Command::Auth(auth) => databricks::run(auth, &mut context),
            Command::Renew => renew::run(clock),
            Command::Reseal(flags) => reseal::run(&flags, &context),
            Command::Completion(flags) => completion::run(&flags),
            Command::Version(flags) => version::run(&flags),
        },
    };
    ended(outcome, &context.calling)
}

/// The exit code of an outcome, whose error is told.
fn ended(outcome: Result<ExitCode, Error>, calling: &Calling) -> u8 {
    outcome.unwrap_or_else(|error| {
        output::error_text(&error.report(calling));
        error.exit_code()
    }) as u8
}

impl Command {
    /// Security: a kubeconfig names the program's arguments, and all but `get-token` act in a
    /// person's name: `login` and `trust` would accept new places for secrets. `exec.env` cannot
    /// unset `KUBERNETES_EXEC_INFO`, so its presence is a sign that a client runs us.
    fn for_persons(&self, env: &Env) -> Result<(), ExecError> {
        let name = match self {
            Self::GetToken(_) | Self::Version(_) => return Ok(()),
            Self::Login(_) => "login",
            Self::Logout(_) => "logout",
            Self::Revoke(_) => "revoke",
            Self::Status(_) => "status",
            Self::Doctor(_) => "doctor",
            Self::Refresh(_) => "refresh",
            Self::Reseal(_) => "reseal",
            Self::Completion(_) => "completion",
            Self::Token(_) => "token",
            Self::Trust(_) => "trust",
            Self::Serve(_) => "serve",
            Self::Exec(_) => "exec",
            Self::Federation(_) => "federation",
            Self::Auth(_) => "auth",
            Self::Renew => crate::renew::COMMAND,
        };
        if env.get("KUBERNETES_EXEC_INFO").is_some() { Err(ExecError::NotForClients(name)) } else { Ok(()) }
    }
}

/// kubectl tells its plugins where it is; an exec entry with `command: kubectl-vaulttoken` is run
/// without.
fn called_as(env: &Env) -> &'static str {
    if env.filled("KUBECTL_PATH").is_some() { "kubectl vaulttoken" } else { "kubectl-vaulttoken" }
}

fn parse(arguments: &[OsString], program: &'static str) -> Result<CommandLine, clap::Error> {
    match parse_get_token(arguments) {
        Some(line) => Ok(line),
        None => parse_any(arguments, program),
    }
}

/// Clients run `get-token` again and again, and making the definitions of all commands takes a sixth
/// of such a call: here are those of this one, the very same. What they do not take (a mistake, a
/// call for help, another command) is [`parse_any`]'s to judge and to report.
fn parse_get_token(arguments: &[OsString]) -> Option<CommandLine> {
    let (_, [command, flags @ ..]) = arguments.split_first()? else { return None };
    if command != "get-token" {
        return None;
    }
    let definitions = clap::Command::new("get-token").no_binary_name(true);
    let mut definitions = Common::augment_args(get_token::Flags::augment_args(definitions));
    let matches = definitions.try_get_matches_from_mut(flags);
    // Taking them apart again is work for nothing: the process ends with this call.
    std::mem::forget(definitions);
    let matches = matches.ok()?;
    Some(CommandLine {
        command: Command::GetToken(get_token::Flags::from_arg_matches(&matches).ok()?),
        common: Common::from_arg_matches(&matches).ok()?,
    })
}

fn parse_any<W: Into<OsString> + Clone>(
    arguments: &[W],
    program: &'static str,
) -> Result<CommandLine, clap::Error> {
    let mut command = CommandLine::command().name(program).bin_name(program);
    let matches = command.try_get_matches_from_mut(arguments.iter().cloned()).map_err(|error| {
        // Security: the message repeats what was typed, and a kubeconfig may have typed it. A line
        // break in it would write a line of its own, so the same mistake is told of printable words.
        let printable = arguments.iter().map(|word| printable(&word.clone().into().to_string_lossy()));
        let error = command.try_get_matches_from_mut(printable).err().unwrap_or(error);
        let is_for_an_sdk = arguments.get(1).is_some_and(|word| word.clone().into() == "auth");
        if is_for_an_sdk { databricks::in_the_words_of_the_cli(error, &mut command) } else { error }
    })?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

impl Context {
    fn new(
        common: Common,
        env: Env,
        calling: Calling,
        clock: fn() -> Timestamp,
        arguments: Option<Vec<String>>,
    ) -> Self {
        let Common { config, profile, namespace, timeout, verbose } = common;
        Self {
            env,
            calling,
            config,
            profile,
            namespace,
            kubeconfig: KubeconfigFlags::default(),
            timeout,
            verbose,
            clock,
            arguments,
        }
    }

    /// The conditions of a call in a person's name.
    fn conditions(&self) -> Conditions {
        let verbose = self.verbose > 0;
        Conditions {
            clock: self.clock,
            timeout: self.timeout,
            wish: Wish::Usual,
            asker: Asker::Person,
            hands_out: true,
            note: Arc::new(move |line: &str| {
                if verbose {
                    output::note(line);
                }
            }),
        }
    }

    /// The kubeconfig of this call.
    fn kubeconfig(&self) -> Result<Kubeconfig, SettingsError> {
        Kubeconfig::load(&KubeconfigFiles::of(&self.env, self.kubeconfig.kubeconfig.as_deref()))
    }

    /// Has a token renewed for the next caller, by a call of `get-token` with these arguments. Where
    /// that cannot be, the next one waits.
    fn renew_beside(&self, arguments: Vec<String>, invocation: String) {
        let Ok(program) = std::env::current_exe() else { return };
        let task = Task::new(arguments, &self.env.own(), invocation);
        if let Err(error) = renewal::start(program, &task)
            && self.verbose > 0
        {
            output::note(&format!("no renewal was started: {error}"));
        }
    }

    /// Learns how what this order asks for is named on a command line, so that a hint can be pasted.
    fn learn(&mut self, order: &Order) {
        // Variables of the kubeconfig's are not those of the person who pastes.
        let own = self.env.own();
        let Ok(settings) = desk::settings(&own, order.config.as_ref()) else { return };
        let settings = Arc::new(settings);
        let Ok(request) = Request::resolve(&settings, &own, &order.overrides, order.extension.as_ref())
        else {
            return;
        };
        let names_vault = order.overrides.vault.is_some() || order.overrides.vault_address.is_some();
        if request.profile.is_none() {
            self.calling.source = source::source_words(&request);
        }
        if request.profile.is_none() || names_vault {
            self.calling.vault = source::vault_words(&request);
        }
    }

    /// Names the kubeconfig context in a refusal, so that its hint can be pasted.
    fn with_context_of(&self, error: Error, order: &Order) -> Error {
        let Error::Trust(TrustError::OtherCluster { server, known, difference, context: None }) = error
        else {
            return error;
        };
        let leads_there = |kubeconfig: &Kubeconfig, name: &&str| {
            let view = kubeconfig.context(Some(name)).ok();
            let cluster = view.and_then(|view| Cluster::of_view(&view.cluster).ok());
            cluster.is_some() && cluster == order.cluster
        };
        let context = self.kubeconfig().ok().and_then(|kubeconfig| {
            let mut names = self.kubeconfig.context.as_deref().into_iter().chain(kubeconfig.contexts());
            names.find(|name| leads_there(&kubeconfig, name)).map(str::to_owned)
        });
        TrustError::OtherCluster { server, known, difference, context }.into()
    }
}

/// The usual end of a command.
const DONE: ExitCode = ExitCode::Done;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words that mean something to `get-token`, to all commands, to others or to none.
    const WORDS: [&str; 32] = [
        "get-token",
        "status",
        "help",
        "--help",
        "-h",
        "-p",
        "--profile",
        "--profile=prod",
        "prod",
        "-pprod",
        "-n",
        "-v",
        "-vvp",
        "--",
        "-",
        "",
        "--timeout=3s",
        "--timeout",
        "soon",
        "--audience",
        "a,b",
        "--audience=c",
        "--force-refresh",
        "--force-refresh=yes",
        "--cluster-server=https://prod",
        "--ttl",
        "1h",
        "--rol",
        "--role=x",
        "--method=ldap",
        "--config",
        "--verbose",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]
        #[test]
        fn the_quick_way_understands_get_token_as_the_usual_way_does(
            words in proptest::collection::vec(proptest::sample::select(&WORDS), 0..5),
            command_first: bool,
        ) {
            let start = if command_first { &["kubectl-vaulttoken", "get-token"][..] } else { &["kubectl-vaulttoken"] };
            let arguments: Vec<OsString> = start.iter().chain(&words).map(OsString::from).collect();
            let usual = parse_any(&arguments, "kubectl-vaulttoken");
            if let Some(quick) = parse_get_token(&arguments) {
                prop_assert_eq!(format!("{quick:?}"), format!("{:?}", usual.unwrap()));
            } else if command_first {
                prop_assert!(usual.is_err(), "{usual:?}");
            }
        }
    }
}
