//! `federation`: the policy that lets a service account of a cluster log in to Databricks, and why a
//! program gets no token so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{Context, DONE, KubeconfigFlags, output};
use crate::databricks::check::{self, Expected, Report, Subject, Weight};
use crate::databricks::policy::{self, Decision, Keys, Policy, Target};
use crate::databricks::sdk::{self, Machine};
use crate::databricks::{DatabricksError, cluster};
use crate::env::Env;
use crate::error::{Error, ExitCode};
use crate::foreign_file;

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the federation policy of a service principal for a service account of the cluster
    Policy(PolicyFlags),
    /// Say why a program in this environment gets no token, before anything is sent
    Check(CheckFlags),
}

#[derive(Debug, Args)]
struct PolicyFlags {
    /// Service account, in the namespace of `--namespace`
    #[arg(long, value_name = "NAME")]
    service_account: String,
    /// Audience that the account's tokens have; repeat for several. Left out: the account's id
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// Account of Databricks
    #[arg(long, value_name = "ID")]
    account_id: Option<String>,
    /// Number of the service principal, which is not its application id
    #[arg(long, value_name = "NUMBER")]
    service_principal_id: Option<u64>,
    /// Where Databricks gets the cluster's keys from
    #[arg(long, value_enum, default_value_t = KeyPlace::Auto)]
    keys: KeyPlace,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = PolicyForm::Cli)]
    output: PolicyForm,
    #[command(flatten)]
    kubeconfig: KubeconfigFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyPlace {
    /// From the policy, unless the issuer's name is a public one
    Auto,
    /// From the policy
    Inline,
    /// From the issuer
    Issuer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PolicyForm {
    /// A command of the Databricks CLI
    Cli,
    /// A request to the account's API
    Rest,
    /// A resource of Terraform
    Terraform,
    /// The request's body
    Json,
}

#[derive(Debug, Args)]
struct CheckFlags {
    /// File of the subject token; left out: where this environment's variables say
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Issuer that the policy names
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Audience that the policy names; repeat for several
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// Subject that the policy names
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = output::Form::Table)]
    output: output::Form,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    match flags.command {
        Command::Policy(flags) => print_policy(flags, context),
        Command::Check(flags) => print_check(flags, context),
    }
}

fn print_policy(flags: PolicyFlags, context: &mut Context) -> Result<ExitCode, Error> {
    let audiences = match (flags.audiences.is_empty(), &flags.account_id) {
        (false, _) => flags.audiences,
        (true, Some(account)) => vec![account.clone()],
        (true, None) => return Err(DatabricksError::NoAudience.into()),
    };
    let namespace = context.namespace.clone().ok_or(DatabricksError::NoNamespace)?;
    let KubeconfigFlags { kubeconfig, context: name } = flags.kubeconfig;
    let kubectl = context.env.filled("KUBECTL_PATH").unwrap_or("kubectl");
    let asked =
        cluster::Asked { kubectl: kubectl.into(), kubeconfig, context: name, timeout: context.timeout };
    let issuer = asked.discovery()?.issuer;
    let decision = match flags.keys {
        KeyPlace::Auto => Decision::about(&issuer),
        KeyPlace::Inline => Decision { keys: Keys::Inline, why: "that was asked for".into() },
        KeyPlace::Issuer => Decision { keys: Keys::OfIssuer, why: "that was asked for".into() },
    };
    let key_set = match decision.keys {
        Keys::Inline => Some(policy::key_set(&asked.key_set()?)?),
        Keys::OfIssuer => None,
    };
    let subject = policy::subject(&namespace, &flags.service_account);
    let policy = Policy { issuer, audiences, subject, key_set };
    let target = Target { service_principal: flags.service_principal_id, account_id: flags.account_id };
    output::note(&match decision.keys {
        Keys::Inline => format!(
            "the keys are in the policy, for {}: when the cluster's keys change, the policy must",
            decision.why
        ),
        Keys::OfIssuer => format!(
            "Databricks fetches the keys from the issuer, for {}; `--keys inline` puts them into the policy",
            decision.why
        ),
    });
    output::text(&match flags.output {
        PolicyForm::Cli => policy.cli(&target),
        PolicyForm::Rest => policy.rest(&target),
        PolicyForm::Terraform => policy.terraform(&target),
        PolicyForm::Json => format!("{:#}\n", policy.body()),
    })?;
    Ok(DONE)
}

fn print_check(flags: CheckFlags, context: &Context) -> Result<ExitCode, Error> {
    let env = &context.env;
    let expected = Expected { issuer: flags.issuer, audiences: flags.audiences, subject: flags.subject };
    let file = match &flags.token_file {
        Some(path) => Some(path.clone()),
        None if sdk::env_token(env).is_some() => None,
        None => {
            ["DATABRICKS_OIDC_TOKEN_FILEPATH", "DATABRICKS_OIDC_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"]
                .into_iter()
                .find_map(|name| env.filled(name))
                .map(PathBuf::from)
        }
    };
    let read = file.as_deref().and_then(text_of);
    if let (Some(path), None) = (&flags.token_file, &read) {
        return Err(DatabricksError::TokenFile(path.display().to_string()).into());
    }
    let subject = match (&file, &read, sdk::env_token(env)) {
        (Some(path), Some(text), _) => Some(Subject { place: format!("`{}`", path.display()), text }),
        (None, _, Some(text)) => Some(Subject { place: format!("`{}`", sdk::env_token_variable(env)), text }),
        _ => None,
    };
    let machine = Machine {
        has_file: &|path| text_of(Path::new(path)).is_some_and(|text| !text.trim().is_empty()),
        has_program: &|name| has_program(env, name),
    };
    let report = check::check(env, subject.as_ref(), &expected, &machine, (context.clock)());
    output::document(flags.output, "FederationReport", &report, || table(&report))?;
    Ok(match report.findings.first().map(|finding| finding.weight) {
        Some(Weight::Subject) => ExitCode::Unusable,
        Some(Weight::Environment) => ExitCode::Usage,
        Some(Weight::Note) | None => DONE,
    })
}

/// What a file holds, where it is text of a token's size.
fn text_of(path: &Path) -> Option<zeroize::Zeroizing<String>> {
    let bytes = foreign_file::read(path, 64 * 1024).ok()?;
    std::str::from_utf8(&bytes).ok().map(|text| zeroize::Zeroizing::new(text.to_owned()))
}

fn has_program(env: &Env, name: &str) -> bool {
    if name.contains('/') {
        return Path::new(name).is_file();
    }
    std::env::split_paths(env.get("PATH").unwrap_or_default()).any(|folder| folder.join(name).is_file())
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let weight = if finding.weight == Weight::Note { "note" } else { "error" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{weight}: {} ({})", finding.what, finding.code);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "  try: {mend}");
        }
    }
    for verdict in &report.sdks {
        let outcome = match (verdict.auth_type, &verdict.failure) {
            (Some(way), _) => format!("logs in with `{way}`"),
            (None, Some(failure)) => format!("fails: {failure}"),
            (None, None) => "fails".to_owned(),
        };
        let _ = writeln!(text, "SDK for {}: {outcome}", verdict.sdk.name());
    }
    text
}
