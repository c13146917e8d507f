//! `get-token`: the exec credential provider. Silent on success, and standard output only on
//! success: some clients take any line on standard error for a failure.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::source::SourceFlags;
use super::{Context, DONE, KubeconfigFlags, output};
use crate::attended;
use crate::broker::{How, Wish};
use crate::cluster::Cluster;
use crate::config::ClusterProfile;
use crate::desk::Order;
use crate::env::Env;
use crate::error::{Error, ExitCode};
use crate::exec::{self, ApiVersion, ExecError};
use crate::issue::{self, Asker, Conditions};
use crate::person::LogInHow;
use crate::prompt::{self, Terminal};
use crate::trust::TrustError;

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    source: SourceFlags,
    /// Fetch a new token even where a kept one is fresh
    #[arg(long)]
    force_refresh: bool,
    /// API server the token is for, where the client does not say
    #[arg(long, value_name = "URL")]
    cluster_server: Option<String>,
    /// Version to answer in, where the client does not say: v1 or v1beta1
    #[arg(long, value_name = "VERSION")]
    exec_api_version: Option<String>,
    /// kubeconfig in which a refusal's hint looks for the context; nothing else comes from it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context that a refusal's hint names, where it leads to the refused cluster; nothing else
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
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

pub(super) fn run(mut flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    context.kubeconfig =
        KubeconfigFlags { kubeconfig: flags.kubeconfig.take(), context: flags.context.take() };
    let Call { order, asker, wish, version, interactive } = understand(flags, context)?;
    let conditions = Conditions { wish, asker, ..context.conditions() };
    let began = (context.clock)();
    let outcome = match issue::token(&context.env, &order, &conditions, &mut context.calling) {
        // Security: a person is asked only where the client says that it may be, and at a terminal.
        Err(missing)
            if missing.exit_code() == ExitCode::LoginRequired
                && interactive
                && prompt::somebody_is_there() =>
        {
            let person = Terminal::default().who_wants(LogInHow::Browser, &context.env);
            let calling = &mut context.calling;
            attended::token(missing, began, &context.env, &order, &conditions, &person, calling)
        }
        outcome => outcome,
    };
    let issued = outcome.map_err(|error| {
        context.learn(&order);
        let error = telling_what_was_ignored(error, &context.env);
        context.with_context_of(error, &order)
    })?;
    output::credential(version, &issued.token)?;
    if let How::Stale(failure) = &issued.how
        && interactive
        && std::io::stderr().is_terminal()
    {
        output::note(&format!("warning: an older token is used, for fetching a new one failed: {failure}"));
    }
    if issued.should_be_renewed
        && let Some(arguments) = context.arguments.clone()
    {
        context.renew_beside(arguments, issued.invocation);
    }
    Ok(DONE)
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
        overrides: flags.source.overrides(context.profile.clone(), context),
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

/// Whoever wrote the kubeconfig set variables that do not count, and wonders.
fn telling_what_was_ignored(error: Error, env: &Env) -> Error {
    let own = env.own();
    if !matches!(error, Error::Settings(_)) || own.foreign().is_empty() {
        return error;
    }
    let mut failure = error.to_failure();
    let names = own.foreign().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let ignored = format!("only the kubeconfig's `exec.env` sets {names}, which does not count");
    failure.why = Some(failure.why.map_or(ignored.clone(), |why| format!("{why}; {ignored}")));
    failure.into()
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
