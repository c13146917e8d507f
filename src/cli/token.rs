//! `token`: the bare token for other programs. A terminal keeps what it shows, so it is refused
//! unless asked twice.

use chrono::SecondsFormat;
use clap::{Args, ValueEnum};

use super::{Context, DONE, KubeconfigFlags, output, profiles};
use crate::broker::Wish;
use crate::databricks::profiles::Asked;
use crate::databricks::{DatabricksError, Profiles, Workspace, cfg};
use crate::desk;
use crate::error::{Error, ExitCode};
use crate::issue::Issued;

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
    /// HTTP path of a warehouse or cluster, for `jdbc`
    #[arg(long, value_name = "PATH")]
    http_path: Option<String>,
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
    /// The profile of this name in .databrickscfg, which is written and not printed
    Databrickscfg,
    /// The address for the JDBC driver of Databricks
    Jdbc,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    if flags.output != Form::Databrickscfg {
        output::not_on_a_terminal(flags.show)?;
    }
    if flags.http_path.is_some() && flags.output != Form::Jdbc {
        return Err(DatabricksError::HttpPathAlone.into());
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
        Form::Databrickscfg => into_file(&issued, context),
        Form::Jdbc => {
            let workspace = workspace(&issued.profile, context)?;
            let before = jdbc(&workspace, flags.http_path.as_deref())?;
            output::secret(&before, &token.secret, "\n")
        }
    }?;
    Ok(DONE)
}

/// The workspace of a profile.
fn workspace(profile: &str, context: &Context) -> Result<Workspace, Error> {
    let profiles = Profiles::of(&desk::settings(&context.env, context.config.as_ref())?);
    let asked = Asked { profile: Some(profile.to_owned()), ..Asked::default() };
    Ok(profiles.choose(&asked)?.clone())
}

/// Puts the token into `.databrickscfg`, beneath the profile's own name.
fn into_file(issued: &Issued, context: &Context) -> Result<(), Error> {
    let workspace = workspace(&issued.profile, context)?;
    let end = issued.token.reported_end().to_rfc3339_opts(SecondsFormat::Secs, true);
    let place = cfg::place(&context.env).ok_or(DatabricksError::NoPlaceForFile)?;
    let head = format!("# by kubectl-vaulttoken; the token ends {end}\nhost = {}\n", workspace.host);
    let account = workspace.exchange.account_id.as_ref().map(|id| format!("account_id = {id}\n"));
    let lines = output::whole(
        &format!("{head}{}auth_type = pat\ntoken = ", account.unwrap_or_default()),
        &issued.token.secret,
        "\n",
    );
    let state = context.env.state_folder();
    cfg::put(&place, state.as_deref(), &issued.profile, &lines)
        .map_err(|reason| DatabricksError::FileNotWritten { path: place.display().to_string(), reason })?;
    output::note(&format!("{}: the token is in {}, until {end}", issued.profile, place.display()));
    Ok(())
}

/// The address up to its token, after "Authentication settings for the Databricks JDBC Driver": a token
/// is passed through with `AuthMech=11` and `Auth_Flow=0`.
fn jdbc(workspace: &Workspace, http_path: Option<&str>) -> Result<String, DatabricksError> {
    let host = workspace.host.as_str();
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let port =
        if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { "" } else { ":443" };
    let http_path = match http_path {
        // Whatever ends the value would begin a setting of its own.
        Some(path) if path.contains([';', ' ', '\n']) => {
            return Err(DatabricksError::NotAnHttpPath(path.to_owned()));
        }
        Some(path) => format!("httpPath={path};"),
        None => String::new(),
    };
    Ok(format!("jdbc:databricks://{host}{port};{http_path}AuthMech=11;Auth_Flow=0;Auth_AccessToken="))
}
