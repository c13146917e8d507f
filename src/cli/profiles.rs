//! Which profiles a person's command is about, and their tokens.

use super::{Context, output};
use crate::broker::{How, Wish};
use crate::cluster::Cluster;
use crate::config::{ClusterProfile, Overrides, Settings, profile_of};
use crate::desk::{self, Order};
use crate::error::{Error, printable};
use crate::issue::{self, Conditions, Issued};
use crate::trust::TrustError;

/// The orders for the profiles that were named, for all, or for the one that is meant.
pub(super) fn chosen(names: Vec<String>, all: bool, context: &Context) -> Result<Vec<Order>, Error> {
    if all {
        let settings = desk::settings(&context.env, context.config.as_ref())?;
        return settings.profiles.keys().map(|name| one(Some(name.to_string()), context)).collect();
    }
    if names.is_empty() {
        return Ok(vec![one(None, context)?]);
    }
    names.into_iter().map(|name| one(Some(name), context)).collect()
}

/// The order for one profile: the one named, else that of the context, else what the settings mean.
pub(super) fn one(name: Option<String>, context: &Context) -> Result<Order, Error> {
    let kubeconfig = context.kubeconfig();
    let (mut profile, mut cluster, mut extension) = (name.or_else(|| context.profile.clone()), None, None);
    if let Some(wanted) = &context.chosen {
        // A context that was asked for by name must be there.
        let view = kubeconfig?.context(Some(wanted))?;
        profile = profile.or_else(|| profile_of(&view));
        extension = ClusterProfile::parse(&view.cluster.extension)?;
        cluster = Some(Cluster::of_view(&view.cluster).map_err(TrustError::Cluster)?);
    } else if profile.is_none() && context.env.filled("VAULTTOKEN_PROFILE").is_none() {
        // The current context helps where nothing else says which profile is meant.
        let settings = desk::settings(&context.env, context.config.as_ref())?;
        if settings.profiles.len() > 1
            && let Ok(view) = kubeconfig.and_then(|kubeconfig| kubeconfig.context(None))
        {
            profile = profile_of(&view).filter(|profile| knows(&settings, profile));
        }
    }
    Ok(Order {
        config: context.config.clone(),
        overrides: Overrides { profile, namespace: context.namespace.clone(), ..Overrides::default() },
        extension,
        cluster,
    })
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
