//! `exec`: runs a program that uses an SDK of Databricks', with a metadata service beside it that lives
//! as long as the program does. The token itself is in nobody's environment.

use std::ffi::OsString;
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;

use super::{Context, serve};
use crate::databricks::child::Program;
use crate::databricks::profiles::Asked;
use crate::databricks::{DatabricksError, Host, Listener};
use crate::error::Error;
use crate::network::beside_a_program;

#[derive(Debug, Args)]
pub(super) struct Flags {
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
    let mut set = vec![
        ("DATABRICKS_HOST", SecretString::from(workspace.host.as_str())),
        ("DATABRICKS_AUTH_TYPE", "metadata-service".into()),
    ];
    if let Some(account) = &workspace.exchange.account_id {
        set.push(("DATABRICKS_ACCOUNT_ID", account.as_str().into()));
    }
    let tokens = Arc::new(tokens.only(profile));
    // Whoever must log in, or is refused, hears of it before the program begins.
    tokens.token(&workspace)?;
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

/// The profile that was named, else that of the environment's host, else the only one.
fn asked(context: &Context) -> Result<Asked, Error> {
    let env = &context.env;
    let profile = context.profile.clone().or_else(|| env.filled("VAULTTOKEN_PROFILE").map(str::to_owned));
    let host = env.filled("DATABRICKS_HOST").filter(|_| profile.is_none());
    let host = host.map(|text| Host::parse(text).ok_or_else(|| DatabricksError::NotAHost(text.to_owned())));
    Ok(Asked { profile, host: host.transpose()?, account_id: None })
}
