//! `get-token`: the exec credential provider. Silent on success, and standard output only on
//! success: some clients take any line on standard error for a failure.

use std::io::IsTerminal as _;

use clap::Args;

use super::{Context, DONE, output};
use crate::broker::{How, Wish};
use crate::cluster::Cluster;
use crate::config::{ClusterProfile, Overrides};
use crate::desk::Order;
use crate::error::{Error, ExitCode};
use crate::exec::{self, ApiVersion, ExecError};
use crate::issue::{self, Asker, Conditions};
use crate::renew::{self, Task};
use crate::trust::TrustError;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Kind of source, where no profile names one: vault-kubernetes, vault-kv or vault-identity
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Vault of the settings file
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Address of a Vault that you named in your environment or logged in to
    #[arg(long, value_name = "URL")]
    vault_address: Option<String>,
    /// Mount path of the engine
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// Role of the engine
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Audience of the token; repeat for several
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// Lifetime to ask for, such as 1h
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Cluster in the path of a token document
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Team in the path of a token document
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Fetch a new token even where a kept one is fresh
    #[arg(long)]
    force_refresh: bool,
    /// API server the token is for, where the client does not say
    #[arg(long, value_name = "URL")]
    cluster_server: Option<String>,
    /// Version to answer in, where the client does not say: v1 or v1beta1
    #[arg(long, value_name = "VERSION")]
    exec_api_version: Option<String>,
}

/// A call, understood.
pub(super) struct Call {
    /// What is asked for.
    pub(super) order: Order,
    /// Who asks.
    pub(super) asker: Asker,
    wish: Wish,
    version: ApiVersion,
    interactive: bool,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let Call { order, asker, wish, version, interactive } = understand(flags, context)?;
    let conditions = Conditions { wish, asker, ..context.conditions() };
    let outcome = issue::token(&context.env, &order, &conditions, &mut context.calling);
    let issued = outcome.map_err(|error| context.with_context_of(error, &order))?;
    output::credential(version, &issued.token)?;
    if let How::Stale(failure) = &issued.how
        && interactive
        && std::io::stderr().is_terminal()
    {
        output::note(&format!("warning: an older token is used, for fetching a new one failed: {failure}"));
    }
    if issued.should_be_renewed {
        renew_beside(context, issued.invocation);
    }
    Ok(DONE)
}

/// Has the token renewed for the next caller. Where that cannot be, the next one waits.
fn renew_beside(context: &Context, invocation: String) {
    let (Some(arguments), Ok(program)) = (context.arguments.clone(), std::env::current_exe()) else { return };
    let task = Task::new(arguments, &context.env.own(), invocation);
    if let Err(error) = renew::start(program, &task)
        && context.verbose > 0
    {
        output::note(&format!("no renewal was started: {error}"));
    }
}

/// What the client and the flags say.
pub(super) fn understand(flags: Flags, context: &Context) -> Result<Call, Error> {
    let info = exec::read(context.env.get("KUBERNETES_EXEC_INFO"))?;
    let version = answer_version(info.api_version, flags.exec_api_version.as_deref(), context)?;
    let extension = match info.cluster.as_ref().and_then(|cluster| cluster.config.as_ref()) {
        Some(config) => ClusterProfile::parse(config)?,
        None => None,
    };
    let cluster = match &info.cluster {
        Some(cluster) => Some(Cluster::of(cluster).map_err(TrustError::Cluster)?),
        None => None,
    };
    let order = Order {
        config: context.config.clone(),
        overrides: Overrides {
            profile: context.profile.clone(),
            source: flags.source,
            vault: flags.vault,
            vault_address: flags.vault_address,
            mount: flags.mount,
            role: flags.role,
            namespace: context.namespace.clone(),
            audiences: flags.audiences,
            ttl: flags.ttl,
            cluster: flags.cluster,
            team: flags.team,
        },
        extension,
        cluster,
    };
    Ok(Call {
        order,
        asker: Asker::Client { claimed_server: flags.cluster_server },
        wish: if flags.force_refresh { Wish::Anew } else { Wish::AtOnce },
        version,
        interactive: info.interactive,
    })
}

/// The version that the client wants back: what it says, else what its kubeconfig's author says in
/// its place, else v1.
fn answer_version(
    asked: Option<ApiVersion>,
    flag: Option<&str>,
    context: &Context,
) -> Result<ApiVersion, ExecError> {
    let said = flag.or_else(|| context.env.filled("VAULTTOKEN_EXEC_API_VERSION"));
    let said = match said {
        Some(text) => Some(ApiVersion::parse(text).ok_or_else(|| ExecError::NoSuchVersion(text.to_owned()))?),
        None => None,
    };
    Ok(asked.or(said).unwrap_or_default())
}
