//! The credential plugin of a context, run as client-go runs it: in the person's environment with the
//! kubeconfig's variables, told by `KUBERNETES_EXEC_INFO` that nobody is there to be asked. The
//! kubeconfig is the person's own, so it may name a program.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::hub::{HubParts, LONGEST, not_granted};
use super::not_granted::Reason;
use crate::config::{ContextView, Pem, UserExec, profile_of};
use crate::error::ExitCode;
use crate::program::{self, NotRun};
use crate::source::SourceError;
use crate::source::field::SecretText;

/// Profiles on whose behalf a plugin is run, so that two cannot wait for each other for ever.
const CHAIN: &str = "VAULTTOKEN_REQUESTED_BY";

/// What a plugin gives: a token, or a certificate with its key, or both.
pub(super) type Credential = (Option<SecretString>, Option<(Pem, Pem)>);

#[derive(Deserialize)]
struct Given {
    status: Status,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<SecretText>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretText>,
}

/// Runs the context's plugin for what it gives.
pub(super) fn run(
    view: &ContextView,
    exec: &UserExec,
    parts: &HubParts<'_>,
) -> Result<Credential, SourceError> {
    let refused = |reason| not_granted(&view.name, &view.cluster.server, reason);
    let mut environment = parts.env.for_child();
    // Security: a profile that waits for a token of its own would start programs without end.
    let mut chain: Vec<&str> =
        parts.env.get(CHAIN).unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
    let own = profile_of(view);
    if chain.contains(&parts.profile) || own.as_deref() == Some(parts.profile) {
        return Err(refused(Reason::Recursion(parts.profile.to_owned())));
    }
    chain.push(parts.profile);
    let program: Option<PathBuf> = match exec.command.components().count() {
        1 => {
            let name = exec.command.to_string_lossy();
            program::find(&name, environment.get("PATH").map(String::as_str))
        }
        _ => Some(exec.command.clone()),
    };
    let name = exec.command.display().to_string();
    let plugin = |cause: String, exit_code| refused(Reason::Plugin { name: name.clone(), cause, exit_code });
    let program = program.ok_or_else(|| plugin("it is not on `PATH`".to_owned(), ExitCode::Usage))?;
    environment.extend(exec.env.iter().cloned());
    environment.insert(CHAIN.to_owned(), chain.join(","));
    environment.insert("KUBERNETES_EXEC_INFO".to_owned(), exec_info(view, exec).to_string());
    let mut command = Command::new(program);
    command.args(&exec.args).env_clear().envs(&environment);
    let printed = program::output(&mut command, LONGEST, parts.deadline).map_err(|cause| {
        let exit_code = match cause {
            NotRun::Late => ExitCode::Unreachable,
            NotRun::Interrupted => ExitCode::Interrupted,
            NotRun::NotStarted(_) => ExitCode::Usage,
            NotRun::Failed(_) => ExitCode::Refused,
            NotRun::TooMuch { .. } | NotRun::NoText => ExitCode::Unusable,
        };
        plugin(cause.to_string(), exit_code)
    })?;
    // The parser's own words are left out: they could quote the token.
    let no_credential = || {
        plugin("it printed no ExecCredential with a token or a certificate".to_owned(), ExitCode::Unusable)
    };
    let Ok(Given { status }) = serde_json::from_str(&printed) else { return Err(no_credential()) };
    let pair = match (status.client_certificate_data, status.client_key_data) {
        (Some(certificate), Some(SecretText(key))) => Some((Pem::Inline(certificate), inline(&key))),
        _ => None,
    };
    let token = status.token.map(|token| token.0);
    if token.is_none() && pair.is_none() {
        return Err(no_credential());
    }
    Ok((token, pair))
}

fn inline(key: &SecretString) -> Pem {
    Pem::Inline(key.expose_secret().to_owned())
}

fn exec_info(view: &ContextView, exec: &UserExec) -> Value {
    let mut spec = json!({ "interactive": false });
    if let (true, Some(spec)) = (exec.provide_cluster_info, spec.as_object_mut()) {
        let mut cluster = json!({ "server": view.cluster.server });
        if let Some(cluster) = cluster.as_object_mut() {
            let authority = view.cluster.certificate_authority_pem.as_ref();
            let encoded = authority.map(|pem| STANDARD.encode(pem));
            cluster.extend(encoded.map(|data| ("certificate-authority-data".to_owned(), json!(data))));
            let name = view.cluster.tls_server_name.as_ref();
            cluster.extend(name.map(|name| ("tls-server-name".to_owned(), json!(name))));
            let proxy = view.cluster.proxy_url.as_ref();
            cluster.extend(proxy.map(|proxy| ("proxy-url".to_owned(), json!(proxy))));
            if !view.cluster.extension.is_null() {
                cluster.insert("config".to_owned(), view.cluster.extension.clone());
            }
        }
        spec.insert("cluster".to_owned(), cluster);
    }
    json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec})
}
