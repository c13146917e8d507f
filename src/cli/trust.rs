//! `trust`: lets a profile's tokens go to one more cluster. A person looks at the server and the
//! fingerprint of its CA and says yes; a script says the fingerprint that it expects.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;

use super::source::SourceFlags;
use super::{Context, DONE, KubeconfigFlags, output, profiles};
use crate::cluster::Cluster;
use crate::desk::Desk;
use crate::error::{Error, ExitCode};
use crate::person::Person as _;
use crate::prompt::{Terminal, somebody_is_there};
use crate::trust::TrustError;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Profile of the settings file
    // An id of its own: that of the field is the id of the common `--profile`.
    #[arg(id = "PROFILE", value_name = "PROFILE")]
    profile: Option<String>,
    #[command(flatten)]
    kubeconfig: KubeconfigFlags,
    #[command(flatten)]
    source: SourceFlags,
    /// SHA-256 of the cluster's CA certificate, in place of a person's yes; repeat for a bundle
    #[arg(long = "ca-fingerprint", value_name = "SHA256")]
    fingerprints: Vec<String>,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    context.kubeconfig = flags.kubeconfig;
    let mut order = profiles::one(flags.profile, context)?;
    order.overrides = flags.source.overrides(order.overrides.profile, context);
    context.calling.profile.clone_from(&order.overrides.profile);
    context.learn(&order);
    if context.kubeconfig.context.is_none() {
        return Err(TrustError::ContextMissing.into());
    }
    let desk = Desk::open(context.env.clone(), &order)?;
    context.calling.profile = desk.request.profile.as_ref().map(ToString::to_string);
    let Some(cluster) = &desk.cluster else { return Err(TrustError::ContextMissing.into()) };
    if cluster.insecure {
        return Err(TrustError::TlsOff { server: cluster.server.clone() }.into());
    }
    accept(cluster, &desk.request.profile_label, &flags.fingerprints)?;
    let label = desk.scope()?.label;
    desk.memory().accept(|memory| memory.accept_cluster(&label, cluster.to_known()))?;
    output::note(&format!("{}: tokens may go to {}", desk.request.profile_label, cluster.server));
    Ok(DONE)
}

fn accept(cluster: &Cluster, profile: &str, said: &[String]) -> Result<(), TrustError> {
    let (server, fingerprints) = (cluster.server.clone(), cluster.authorities.iter().cloned().collect());
    if !said.is_empty() {
        let said: BTreeSet<String> = said.iter().map(|text| bare(text)).collect();
        let right = said == cluster.authorities;
        return if right { Ok(()) } else { Err(TrustError::Fingerprint { server, fingerprints }) };
    }
    if !somebody_is_there() {
        return Err(TrustError::NobodyToAsk { server, fingerprints });
    }
    let terminal = Terminal::default();
    terminal.tell(&format!("profile `{profile}`: tokens would go to {}", cluster.server));
    for fingerprint in &cluster.authorities {
        terminal.tell(&format!("  certificate authority SHA-256 {}", with_colons(fingerprint)));
    }
    if cluster.authorities.is_empty() {
        terminal.tell("  no certificate authority of its own: this system's roots decide");
    }
    match terminal.ask("let them? [y/N] ") {
        Ok(answer) if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        _ => Err(TrustError::Declined { server }),
    }
}

/// A fingerprint as `openssl x509 -fingerprint` and others write it, in our form.
fn bare(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let text = text.rsplit(['=']).next().unwrap_or_default();
    text.trim_start_matches("sha256:").chars().filter(char::is_ascii_hexdigit).collect()
}

fn with_colons(fingerprint: &str) -> String {
    let mut text = String::new();
    for (at, digit) in fingerprint.chars().enumerate() {
        if at > 0 && at % 2 == 0 {
            text.push(':');
        }
        // Writing to a String does not fail.
        let _ = text.write_char(digit.to_ascii_uppercase());
    }
    text
}
