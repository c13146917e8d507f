//! The Databricks CLI, as far as Databricks' SDKs run it: `version` and `auth token`. This program
//! answers so under the name `databricks`, and under its own: SDKs resolve a link that they find on
//! PATH, and call what it leads to.
//!
//! How the CLI is called, and what it answers, stands in databricks-sdk-go `config/cli_token_source.go`
//! and databricks-sdk-py `credentials_provider.py` (`DatabricksCliTokenSource`).

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use chrono::Local;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use serde_json::json;

use super::{Common, Context, DONE, duration, output};
use crate::broker::Wish;
use crate::databricks::profiles::Asked;
use crate::databricks::{DatabricksError, Host, Profiles, cfg, tokens};
use crate::desk;
use crate::env::Env;
use crate::error::{Error, ExitCode, printable};
use crate::issue::{self, Conditions, Issued};
use crate::token::Timestamp;

/// The release of the Databricks CLI whose `auth token` is answered: SDKs use its flags from 0.296.0 on.
pub(super) const RELEASE: [u32; 3] = [0, 298, 0];

/// The command line under the name `databricks`.
#[derive(Debug, Parser)]
#[command(name = "databricks", disable_version_flag = true, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// Profile of the settings, or of .databrickscfg
    #[arg(short, long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Longest use of the network
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "20s")]
    timeout: Duration,
    /// Say more on standard error
    #[arg(long, global = true)]
    debug: bool,
    /// Show the version
    #[arg(short = 'v', long)]
    version: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the version
    Version {
        /// Output form
        #[arg(short, long, value_enum, default_value_t = Form::Text)]
        output: Form,
    },
    /// Tokens for Databricks' tools
    Auth(Auth),
}

/// The forms of the CLI. A token is a JSON document in both, as SDKs give none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// `auth`, of which SDKs run `token` alone.
#[derive(Debug, Args)]
pub(super) struct Auth {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Debug, Subcommand)]
enum AuthCommand {
    /// Print a token and its end
    Token(Flags),
}

#[derive(Debug, Args)]
struct Flags {
    /// Host of the workspace or account, or a profile
    #[arg(id = "HOST_OR_PROFILE", value_name = "HOST_OR_PROFILE", conflicts_with = "host")]
    meant: Option<String>,
    /// Host of the workspace or account
    #[arg(long, value_name = "URL")]
    host: Option<String>,
    /// Account, among those of one host
    #[arg(long, value_name = "ID")]
    account_id: Option<String>,
    /// A unified host: it is found by its name like every other, so this says nothing new
    #[arg(long, hide = true)]
    experimental_is_unified_host: bool,
    /// A token that is not older than a few seconds
    #[arg(long)]
    force_refresh: bool,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = Form::Json)]
    output: Form,
    /// Show the token on a terminal
    #[arg(long)]
    show: bool,
}

/// Whether the program was called by the name of the Databricks CLI.
pub(super) fn is_called(arguments: &[OsString]) -> bool {
    let name = arguments.first().map(Path::new).and_then(Path::file_stem);
    name.is_some_and(|name| name.eq_ignore_ascii_case("databricks"))
}

/// What a call by that name asks for.
pub(super) enum Call {
    Version { as_json: bool },
    Auth(Auth, Common),
}

/// Reads the command line of such a call.
pub(super) fn parse(arguments: &[OsString]) -> Result<Call, clap::Error> {
    let mut definitions = CommandLine::command();
    let matches = definitions
        .try_get_matches_from_mut(arguments)
        .map_err(|error| in_the_words_of_the_cli(error, &mut definitions))?;
    let line = CommandLine::from_arg_matches(&matches)?;
    let common = Common {
        config: None,
        profile: line.profile,
        namespace: None,
        timeout: line.timeout,
        verbose: line.debug.into(),
    };
    match line.command {
        Some(Command::Auth(auth)) => Ok(Call::Auth(auth, common)),
        Some(Command::Version { output: Form::Json }) => Ok(Call::Version { as_json: true }),
        Some(Command::Version { output: Form::Text }) | None => Ok(Call::Version { as_json: false }),
    }
}

/// A flag that is not there, in the words that SDKs look for before they try without it (`unknown flag:
/// --profile`, in `config/cli_token_source.go` and `DatabricksCliCredentials.js`).
pub(super) fn in_the_words_of_the_cli(error: clap::Error, definitions: &mut clap::Command) -> clap::Error {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument => {
            definitions.error(ErrorKind::UnknownArgument, format!("unknown flag: {}", printable(flag)))
        }
        _ => error,
    }
}

/// The version, as the CLI writes it: the Go SDK reads the text, the Python SDK the numbers.
pub(super) fn version(as_json: bool) -> Result<ExitCode, Error> {
    let [major, minor, patch] = RELEASE;
    let release = format!("{major}.{minor}.{patch}");
    if as_json {
        let own = concat!("kubectl-vaulttoken ", env!("CARGO_PKG_VERSION"));
        let document = json!({
            "Version": release, "Major": major, "Minor": minor, "Patch": patch,
            "Prerelease": "", "IsSnapshot": false, "AnsweredBy": own,
        });
        output::text(&format!("{document:#}\n"))?;
    } else {
        output::text(&format!("Databricks CLI v{release}\n"))?;
    }
    Ok(DONE)
}

pub(super) fn run(auth: Auth, context: &mut Context) -> Result<ExitCode, Error> {
    let AuthCommand::Token(flags) = auth.command;
    output::not_on_a_terminal(flags.show)?;
    let asked = asked(&flags, context)?;
    let profiles = Profiles::of(&desk::settings(&context.env, context.config.as_ref())?);
    let profile = profiles.choose(&asked)?.profile.to_string();
    let order = tokens::order(context.config.as_ref(), &profile);
    let conditions = context.conditions();
    let lasting = Conditions { wish: Wish::Lasting(tokens::LEAST_LIFE), ..conditions.clone() };
    let issued = if flags.force_refresh {
        let since = Wish::Since((context.clock)() - tokens::NEW_ENOUGH);
        let anew = Conditions { wish: since, ..conditions };
        match issue::token(&context.env, &order, &anew, &mut context.calling) {
            // SDKs ask for a new one each time, and one that is kept and good is better than none.
            Err(error) if error.exit_code() == ExitCode::Unreachable => {
                issue::token(&context.env, &order, &lasting, &mut context.calling).map_err(|_| error)
            }
            outcome => outcome,
        }
    } else {
        issue::token(&context.env, &order, &lasting, &mut context.calling)
    }?;
    print(&issued, &context.env)?;
    if issued.should_be_renewed {
        let mut arguments =
            vec![context.calling.program.clone(), "get-token".into(), format!("--profile={profile}")];
        if let Some(config) = context.config.as_ref().and_then(|config| config.to_str()) {
            arguments.push(format!("--config={config}"));
        }
        context.renew_beside(arguments, issued.invocation);
    }
    Ok(DONE)
}

/// What the flags mean, else what the environment does.
fn asked(flags: &Flags, context: &Context) -> Result<Asked, Error> {
    let host = |text: &str| Host::parse(text).ok_or_else(|| DatabricksError::NotAHost(text.to_owned()));
    let settings = desk::settings(&context.env, context.config.as_ref())?;
    let is_ours = |name: &str| settings.profiles.keys().any(|profile| profile.as_str() == name);
    let mut asked = Asked { account_id: flags.account_id.clone(), ..Asked::default() };
    asked.host = flags.host.as_deref().map(host).transpose()?;
    let mut profile = context.profile.clone();
    match &flags.meant {
        Some(meant) if profile.is_none() && (is_ours(meant) || !meant.contains(['.', ':'])) => {
            profile = Some(meant.clone());
        }
        Some(meant) => asked.host = Some(host(meant)?),
        None => {}
    }
    let env = &context.env;
    if profile.is_none() && asked.host.is_none() {
        profile = env.filled("DATABRICKS_CONFIG_PROFILE").map(str::to_owned);
        asked.host = env.filled("DATABRICKS_HOST").map(host).transpose()?;
    }
    if let Some(name) = profile {
        match host_in_file(env, &name).filter(|_| !is_ours(&name)) {
            Some((theirs, account_id)) => {
                asked.host = asked.host.or(Some(host(&theirs)?));
                asked.account_id = asked.account_id.or(account_id);
            }
            None => asked.profile = Some(name),
        }
    }
    Ok(asked)
}

/// The host and the account of a profile in `.databrickscfg`. One that cannot be read says nothing.
fn host_in_file(env: &Env, profile: &str) -> Option<(String, Option<String>)> {
    let text = cfg::read(&cfg::place(env)?).ok()?;
    Some((cfg::value(&text, profile, "host")?, cfg::value(&text, profile, "account_id")))
}

fn print(issued: &Issued, env: &Env) -> Result<(), Error> {
    let end = expiry(issued.token.reported_end(), env);
    let quoted = output::quoted(&issued.token.secret)?;
    output::secret(
        "{\n  \"access_token\": ",
        &quoted,
        &format!(",\n  \"token_type\": \"Bearer\",\n  \"expiry\": \"{end}\"\n}}\n"),
    )
}

/// Local time with a fraction and an offset, which all SDKs understand: Go reads RFC 3339; Python and
/// Java cut it at the first dot, take off a `Z`, and compare what is left with local time.
fn expiry(end: Timestamp, env: &Env) -> String {
    const FORM: &str = "%Y-%m-%dT%H:%M:%S%.6f%:z";
    // An empty TZ is UTC to the C library, and thereby to Python.
    if env.get("TZ") == Some("") {
        return end.format(FORM).to_string();
    }
    end.with_timezone(&Local).format(FORM).to_string()
}
