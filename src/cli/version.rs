//! `version`: what this program is and how it was built.

use clap::Args;
use serde::Serialize;

use super::{DONE, databricks, output};
use crate::error::{Error, ExitCode};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Output form
    #[arg(short, long, value_enum, default_value_t = output::Form::Table)]
    output: output::Form,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    #[serde(rename = "version")]
    release: &'static str,
    commit: Option<&'static str>,
    target: String,
    exec_api_versions: [&'static str; 2],
    tls: &'static str,
    /// Where an SDK of Databricks' followed a link `databricks` to this program: the release of that
    /// CLI whose `auth token` it gets.
    #[serde(rename = "Major")]
    major: u32,
    #[serde(rename = "Minor")]
    minor: u32,
    #[serde(rename = "Patch")]
    patch: u32,
}

pub(super) fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let [major, minor, patch] = databricks::RELEASE;
    let version = Version {
        release: env!("CARGO_PKG_VERSION"),
        commit: option_env!("VAULTTOKEN_COMMIT"),
        target: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        exec_api_versions: [crate::exec::ApiVersion::V1.as_str(), crate::exec::ApiVersion::V1Beta1.as_str()],
        tls: "rustls with ring",
        major,
        minor,
        patch,
    };
    output::document(flags.output, "Version", &version, || {
        format!("kubectl-vaulttoken {} ({})\n", version.release, version.target)
    })?;
    Ok(DONE)
}
