//! Which profiles a person's command is about, and their tokens.

use clap::Args;

use super::{Context, KubeconfigFlags, output};
use crate::broker::{How, Wish};
use crate::cluster::Cluster;
use crate::config::{ClusterProfile, Overrides, Settings, profile_of};
use crate::desk::{self, Order};
use crate::error::{Error, printable};
use crate::issue::{self, Conditions, Issued};
use crate::trust::TrustError;

/// The profiles that a command is about.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Profiles of the settings file
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// All profiles of the settings file
    #[arg(long, conflicts_with = "profiles")]
    all: bool,
    #[command(flatten)]
    kubeconfig: KubeconfigFlags,
}

impl Chosen {
    /// The orders for the profiles that were named, for all, or for the one that is meant.
    pub(super) fn orders(self, context: &mut Context) -> Result<Vec<Order>, Error> {
        context.kubeconfig = self.kubeconfig;
        if self.all {
            let settings = desk::settings(&context.env, context.config.as_ref())?;
            return settings.profiles.keys().map(|name| one(Some(name.to_string()), context)).collect();
        }
        if self.profiles.is_empty() {
            return Ok(vec![one(None, context)?]);
        }
        self.profiles.into_iter().map(|name| one(Some(name), context)).collect()
    }
}

/// The order for one profile: the one named, else that of the context, else what the settings mean.
pub(super) fn one(name: Option<String>, context: &Context) -> Result<Order, Error> {
    let kubeconfig = context.kubeconfig();
    let (mut profile, mut cluster, mut extension) = (name.or_else(|| context.profile.clone()), None, None);
    if let Some(wanted) = &context.kubeconfig.context {
        // A context that was asked for by name must be there.
        let view = kubeconfig?.context(Some(wanted))?;
        profile = profile.or_else(|| profile_of(&view));
        extension = ClusterProfile::parse(&view.cluster.extension)?;
        cluster = Some(Cluster::of_view(&view.cluster).map_err(TrustError::Cluster)?);
    } else if let Ok(view) = kubeconfig.and_then(|kubeconfig| kubeconfig.context(None)) {
        // The current context helps where nothing else says which profile is meant.
        let settings = desk::settings(&context.env, context.config.as_ref())?;
        let is_ours = view.exec.as_ref().is_some_and(|exec| exec.own_args().is_some());
        let theirs = profile_of(&view).or_else(|| only(&settings).filter(|_| is_ours));
        let theirs = theirs.filter(|name| knows(&settings, name));
        let said = profile.as_deref().or_else(|| context.env.filled("VAULTTOKEN_PROFILE"));
        let meant = said.map(str::to_owned).or_else(|| only(&settings));
        if meant.is_none() {
            profile.clone_from(&theirs);
        }
        // What is fetched is what its clients will ask for, so its extension counts too. One that is
        // broken is told of to whoever names the context.
        if theirs.is_some() && (meant.is_none() || meant == theirs) {
            extension = ClusterProfile::parse(&view.cluster.extension).ok().flatten();
        }
    }
    Ok(Order {
        config: context.config.clone(),
        overrides: Overrides { profile, namespace: context.namespace.clone(), ..Overrides::default() },
        extension,
        cluster,
    })
}

fn only(settings: &Settings) -> Option<String> {
    let mut names = settings.profiles.keys();
    names.next().filter(|_| names.next().is_none()).map(ToString::to_string)
}

fn knows(settings: &Settings, profile: &str) -> bool {
    settings.profiles.keys().any(|name| name.as_str() == profile)
}

/// The token for one order, in a person's name, to be handed out.
pub(super) fn token(order: &Order, wish: Wish, context: &mut Context) -> Result<Issued, Error> {
    let conditions = Conditions { wish, ..context.conditions() };
    issue_by(order, &conditions, context)
}

/// The same to be kept here.
pub(super) fn keep(order: &Order, wish: Wish, context: &mut Context) -> Result<Issued, Error> {
    let conditions = Conditions { wish, hands_out: false, ..context.conditions() };
    issue_by(order, &conditions, context)
}

fn issue_by(order: &Order, conditions: &Conditions, context: &mut Context) -> Result<Issued, Error> {
    let issued = issue::token(&context.env, order, conditions, &mut context.calling)?;
    if let How::Stale(failure) = &issued.how {
        output::note(&format!("warning: an older token is used, for fetching a new one failed: {failure}"));
    }
    Ok(issued)
}

/// One line that says what was had.
pub(super) fn told(issued: &Issued) -> String {
    let end = issued.token.usable_until.format("%Y-%m-%d %H:%M:%SZ");
    let who = issued.token.subject.as_deref().map(|subject| format!(" for `{}`", printable(subject)));
    let server = issued.cluster_server.as_deref().map(|server| format!(" at {server}"));
    format!(
        "{}: a token{}{} is kept, usable until {end}",
        issued.profile,
        who.unwrap_or_default(),
        server.unwrap_or_default()
    )
}
