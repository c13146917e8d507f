//! The users of the kubeconfig that run us: whether kubectl takes their `exec` entries, finds the
//! command, and says what we need to know. What an entry names is never run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Report, State};
use crate::config::{ContextView, ExecView, Kubeconfig, Name, Settings, profile_of};
use crate::error::ExitCode;
use crate::program;

const CHECK: &str = "kubeconfig";

pub(super) fn examine(
    kubeconfig: &Kubeconfig,
    settings: Option<&Settings>,
    path: Option<&str>,
    report: &mut Report,
) {
    let mut users = BTreeSet::new();
    let mut is_used = false;
    for name in kubeconfig.contexts() {
        // One that others broke is none of our business.
        let Ok(context) = kubeconfig.context(Some(name)) else { continue };
        let Some(exec) = context.exec.as_ref().filter(|exec| exec.own_args().is_some()) else { continue };
        is_used = true;
        let before = report.items.len();
        let user = context.user.clone().unwrap_or_default();
        if users.insert(user.clone()) {
            entry(&user, exec, path, report);
        }
        cluster(&context, settings, report);
        if report.items.iter().skip(before).all(|finding| finding.state == State::Ok) {
            report.ok(CHECK, format!("context `{name}` gets its tokens from here"));
        }
    }
    if !is_used {
        let message = "no context of the kubeconfig gets its tokens from here".to_owned();
        report.warn(CHECK, message, None, Some("write an `exec` entry, as docs/kubeconfig.md shows"));
    }
}

fn entry(user: &str, exec: &ExecView, path: Option<&str>, report: &mut Report) {
    const V1: &str = "client.authentication.k8s.io/v1";
    let mut bad = |what: String, why: &str, hint: &str| {
        let message = format!("user `{user}`: {what}");
        report.fail(CHECK, ExitCode::Usage, message, Some(why.to_owned()), Some(hint));
    };
    let version = exec.api_version.as_deref().unwrap_or_default();
    if !matches!(version, V1 | "client.authentication.k8s.io/v1beta1") {
        let what =
            if version.is_empty() { "no `apiVersion`".into() } else { format!("`apiVersion: {version}`") };
        bad(what, "clients do not take it", "set `apiVersion: client.authentication.k8s.io/v1`");
    }
    match exec.interactive_mode.as_deref() {
        None if version == V1 => {
            bad("no `interactiveMode`".into(), "v1 must have one", "set `interactiveMode: IfAvailable`");
        }
        None | Some("IfAvailable" | "Never" | "Always") => {}
        Some(other) => {
            let why = "clients know `IfAvailable`, `Never` and `Always`";
            bad(format!("`interactiveMode: {other}`"), why, "set `interactiveMode: IfAvailable`");
        }
    }
    let is_get_token = exec.own_args().is_some_and(|args| args.iter().any(|arg| arg == "get-token"));
    if !is_get_token {
        bad(
            "its `args` do not say `get-token`".into(),
            "nothing else gives a token",
            "set `args: [get-token]`",
        );
    }
    if found(exec, path).is_none() {
        let hint = "kubectl krew install vaulttoken, or write the whole path as `command`";
        bad(format!("`command: {}` is not found", exec.command), "no such program", hint);
    }
    if exec.interactive_mode.as_deref() == Some("Always") {
        let why = "programs without a terminal get no token".to_owned();
        let message = format!("user `{user}`: `interactiveMode: Always`");
        report.warn(CHECK, message, Some(why), Some("set `interactiveMode: IfAvailable`"));
    }
    if !exec.provide_cluster_info {
        let message = format!("user `{user}`: clients do not say which cluster a token is for");
        let why = "a profile with a pinned cluster gives them none".to_owned();
        report.warn(CHECK, message, Some(why), Some("set `provideClusterInfo: true`"));
    }
}

/// As client-go does: a bare name is looked for on `PATH`, a path is meant from its kubeconfig.
fn found(exec: &ExecView, path: Option<&str>) -> Option<PathBuf> {
    if Path::new(&exec.command).components().count() == 1 {
        return program::find(&exec.command, path);
    }
    let file = exec.folder.join(&exec.command);
    program::is_program(&file).then_some(file)
}

fn cluster(context: &ContextView, settings: Option<&Settings>, report: &mut Report) {
    let name = &context.name;
    if context.cluster.insecure_skip_tls_verify || context.cluster.server.starts_with("http://") {
        let message = format!("context `{name}`: TLS verification is switched off");
        let why = "anybody on the way could take the token, so it gets none".to_owned();
        let hint = "remove `insecure-skip-tls-verify`, or allow it in the profile's `cluster` pin";
        report.warn(CHECK, message, Some(why), Some(hint));
    }
    let (Some(profile), Some(settings)) = (profile_of(context), settings) else { return };
    let is_known = Name::parse(&profile).is_some_and(|name| settings.profiles.contains_key(&name));
    if !is_known {
        let known: Vec<&str> = settings.profiles.keys().map(Name::as_str).collect();
        let message = format!("context `{name}` names the profile `{profile}`, which no settings file has");
        let why = match known.as_slice() {
            [] => "there are no profiles".to_owned(),
            some => format!("there are: {}", some.join(", ")),
        };
        let hint = "correct `--profile` in the `exec` entry, or describe the profile";
        report.fail(CHECK, ExitCode::Usage, message, Some(why), Some(hint));
    }
}
