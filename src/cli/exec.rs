//! `exec`: runs a program that uses an SDK of Databricks', with a metadata service beside it that lives
//! as long as the program does, or with this program in the place of the Databricks CLI. The token
//! itself is in nobody's environment.

use std::ffi::OsString;
use std::sync::Arc;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Context, output, serve};
use crate::databricks::child::Program;
use crate::databricks::profiles::Asked;
use crate::databricks::{DatabricksError, Host, Listener, Workspace, tokens};
use crate::desk::Desk;
use crate::error::Error;
use crate::fetch;
use crate::network::beside_a_program;
use crate::token::Claims;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Give the program the subject token as well, for one whose code asks for `env-oidc`
    #[arg(long)]
    allow_env_token: bool,
    /// For an SDK that knows no metadata service, as the one for Java: it runs us as the Databricks CLI
    #[arg(long, conflicts_with = "allow_env_token")]
    databricks_cli: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// What would make an SDK log in another way, or refuse because there are two ("more than one
/// authorization method configured").
const UNSET: &[&str] = &[
    "DATABRICKS_TOKEN",
    "DATABRICKS_USERNAME",
    "DATABRICKS_PASSWORD",
    "DATABRICKS_CLIENT_ID",
    "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_OIDC_TOKEN",
    "DATABRICKS_OIDC_TOKEN_ENV",
    "DATABRICKS_OIDC_TOKEN_FILE",
    "DATABRICKS_OIDC_TOKEN_FILEPATH",
    "DATABRICKS_CONFIG_PROFILE",
    "DATABRICKS_METADATA_SERVICE_URL",
    "DATABRICKS_AZURE_RESOURCE_ID",
    "DATABRICKS_GOOGLE_SERVICE_ACCOUNT",
    "DATABRICKS_ACCOUNT_ID",
];

/// Gives the program's own exit code.
pub(super) fn run(flags: Flags, context: &mut Context) -> Result<u8, Error> {
    let tokens = serve::tokens(context, None);
    let workspace = tokens.choose(&asked(context)?)?;
    let profile = workspace.profile.to_string();
    context.calling.profile = Some(profile.clone());
    let mut set = vec![("DATABRICKS_HOST", SecretString::from(workspace.host.as_str()))];
    if let Some(account) = &workspace.exchange.account_id {
        set.push(("DATABRICKS_ACCOUNT_ID", account.as_str().into()));
    }
    if flags.databricks_cli {
        if context.config.is_some() {
            return Err(DatabricksError::ConfigForTheCli.into());
        }
        // The SDK names the host and the account, and then this profile must be the only one.
        let account_id = workspace.exchange.account_id.clone();
        tokens.choose(&Asked { profile: None, host: Some(workspace.host.clone()), account_id })?;
    }
    let tokens = Arc::new(tokens.only(profile));
    // Whoever must log in, or is refused, hears of it before the program begins.
    tokens.token(&workspace)?;
    if flags.databricks_cli {
        set.extend(as_the_cli()?);
        return beside_a_program(Program { words: flags.program, set, unset: UNSET }.run());
    }
    if flags.allow_env_token {
        set.extend(subject(&workspace, context)?);
    }
    set.push(("DATABRICKS_AUTH_TYPE", "metadata-service".into()));
    let calling = context.calling.clone();
    beside_a_program(async {
        let listener = Listener::bind(0, tokens, calling).await?;
        set.push((serve::VARIABLE, listener.url()));
        let service = tokio::spawn(listener.serve());
        let code = Program { words: flags.program, set, unset: UNSET }.run().await;
        service.abort();
        code
    })
}

/// What an SDK needs to run this program for a token.
fn as_the_cli() -> Result<[(&'static str, SecretString); 2], Error> {
    let fault = |error| Error::Fault(format!("this program cannot tell where it lies: {error}"));
    let program = std::env::current_exe().map_err(fault)?.display().to_string();
    Ok([("DATABRICKS_AUTH_TYPE", "databricks-cli".into()), ("DATABRICKS_CLI_PATH", program.into())])
}

/// What a program needs whose code asks for `env-oidc`: it does not look at the metadata service.
fn subject(workspace: &Workspace, context: &Context) -> Result<Vec<(&'static str, SecretString)>, Error> {
    let profile = workspace.profile.as_str();
    let desk = Desk::open(context.env.own(), &tokens::order(context.config.as_ref(), profile))?;
    let token = fetch::subject(&desk, &context.conditions())?
        .ok_or_else(|| DatabricksError::NoSubject { profile: profile.to_owned() })?;
    let end = Claims::read(token.expose_secret()).and_then(|claims| claims.expires_at);
    let until = end.map(|end| format!(" until {}", end.format("%Y-%m-%d %H:%M:%SZ")));
    output::note(&format!(
        "the subject token is in the program's environment, and whoever can read that can log in with it{}; a \
         program that asks for `env-oidc` can log in no longer than that. Change `auth_type=\"env-oidc\"` in its \
         code to `auth_type=\"metadata-service\"`, and it works for as long as it runs, without this flag",
        until.unwrap_or_default()
    ));
    let client_id = workspace.exchange.client_id.as_deref().map(|id| ("DATABRICKS_CLIENT_ID", id.into()));
    Ok([("DATABRICKS_OIDC_TOKEN", token)].into_iter().chain(client_id).collect())
}

/// The profile that was named, else that of the environment's host, else the only one.
fn asked(context: &Context) -> Result<Asked, Error> {
    let env = &context.env;
    let profile = context.profile.clone().or_else(|| env.filled("VAULTTOKEN_PROFILE").map(str::to_owned));
    let host = env.filled("DATABRICKS_HOST").filter(|_| profile.is_none());
    let host = host.map(|text| Host::parse(text).ok_or_else(|| DatabricksError::NotAHost(text.to_owned())));
    Ok(Asked { profile, host: host.transpose()?, account_id: None })
}
