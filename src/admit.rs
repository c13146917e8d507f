//! Whether a call may have what it asks for: the judgement of [`crate::trust`] on what
//! [`crate::scope`] gathers and [`crate::memory`] keeps, and the first cluster remembered.

use crate::cluster::{Cluster, KnownCluster};
use crate::desk::Desk;
use crate::error::Error;
use crate::issue::Asker;
use crate::memory::Memory;
use crate::scope::Scope;
use crate::trust::{self, TrustError, Verdict};

/// Whether a kept token may be handed out unjudged. One that is bound to a cluster is kept under that
/// cluster's key, and was judged when it was fetched.
#[must_use]
pub fn may_hit(desk: &Desk, asker: &Asker) -> bool {
    match asker {
        // Security: a person may have fetched this one for any cluster of the pins; a client that
        // hides its own, or only claims one, must be judged each time.
        Asker::Client { claimed_server } if desk.cluster.is_none() => {
            let pins = &desk.request.pins;
            claimed_server.is_none() && (pins.is_empty() || pins.iter().any(|pin| pin.without_cluster_info))
        }
        Asker::Client { .. } | Asker::Person => true,
    }
}

/// Whether the token may go to the cluster. Gives the cluster that would be the profile's first.
///
/// # Errors
/// The refusal, or settings and a memory that cannot be read.
pub fn judge(desk: &Desk, asker: &Asker) -> Result<Option<KnownCluster>, Error> {
    // A person's own command, and no cluster known yet: the first that asks will be it.
    if *asker == Asker::Person && desk.cluster.is_none() {
        return Ok(None);
    }
    let (scope, memory) = (desk.scope()?, desk.memory().read()?);
    Ok(judge_in(&scope, &memory, desk.cluster.as_ref(), asker)?)
}

fn judge_in(
    scope: &Scope,
    memory: &Memory,
    cluster: Option<&Cluster>,
    asker: &Asker,
) -> Result<Option<KnownCluster>, TrustError> {
    let remembered = scope.remembered(memory);
    if let (Asker::Client { claimed_server: Some(server) }, None) = (asker, cluster) {
        if !scope.restricting.is_empty() {
            trust::judge_claim(&scope.restricting, &[], server)?;
        }
        trust::judge_claim(&scope.pins, &remembered, server)?;
        return Ok(None);
    }
    if !scope.restricting.is_empty() {
        trust::judge(&scope.restricting, &[], cluster)?;
    }
    match trust::judge(&scope.pins, &remembered, cluster)? {
        Verdict::Known => Ok(None),
        Verdict::First(cluster) => Ok(Some(cluster)),
    }
}

/// Remembers the first cluster, judged once more under the lock: two processes cannot both be first.
///
/// # Errors
/// The refusal, where another process was first.
pub fn remember(desk: &Desk, asker: &Asker, first: Option<&KnownCluster>) -> Result<(), Error> {
    if first.is_none() {
        return Ok(());
    }
    let scope = desk.scope()?;
    desk.memory().judge(|memory| {
        if let Some(first) = judge_in(&scope, memory, desk.cluster.as_ref(), asker)? {
            memory.add_first(&scope.label, first);
        }
        Ok(())
    })
}
