//! Killing what was minted for a profile, where its source can: leases of a Vault, Secrets that tokens
//! hang on. The session stays, so that the next call has a new token; [`crate::sign_out`] ends it too.

use serde::Serialize;

use crate::cache::{CacheKey, Kept};
use crate::desk::{Desk, Order};
use crate::env::Env;
use crate::error::{Calling, Error, ExitCode};
use crate::fetch;
use crate::issue::{self, Conditions};
use crate::journal::{Entry, Event};
use crate::network::on_the_network;
use crate::sign_out::{TokenEnd, end_of};
use crate::vault::Revocation;

/// What became of one profile's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// The profile.
    pub profile: String,
    /// What became of each token.
    pub tokens: Vec<TokenEnd>,
    /// Why the server could not be asked, where it could not. Such tokens stay kept, so that it can be
    /// tried again.
    pub failure: Option<String>,
    #[serde(skip)]
    exit_code: Option<ExitCode>,
}

impl Revoked {
    /// The code that a command ends with that did this.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.exit_code.unwrap_or(ExitCode::Done)
    }
}

/// Revokes the tokens of one profile.
///
/// # Errors
/// Settings that cannot be understood. A server that cannot be reached is told in the result.
pub fn one(
    env: &Env,
    order: &Order,
    conditions: &Conditions,
    calling: &mut Calling,
) -> Result<Revoked, Error> {
    let desk = Desk::open_for_person(env, order, calling)?;
    let kept = desk.kept_tokens();
    let (outcomes, failure) = ask(&desk, &kept, conditions);
    let now = (conditions.clock)();
    let journal = issue::journal_of_person(&desk, now);
    let mut tokens = Vec::with_capacity(kept.len());
    for ((key, kept), outcome) in kept.iter().zip(&outcomes) {
        let is_revoked = matches!(outcome, Some(Revocation::Done | Revocation::Gone));
        let end = end_of(&kept.token, false, is_revoked, now);
        tokens.push(TokenEnd { cluster: kept.about.cluster_server.clone(), ..end });
        if is_revoked {
            let entry = Entry::new(Event::Revocation).profile(&desk.request.profile_label);
            let cluster = kept.about.cluster_server.as_deref();
            journal.add(&entry.cluster(cluster).token(&kept.token).outcome("lease"), now);
        }
        // Nobody here shall be handed it again; but one that was to be killed and was not is needed
        // to try again.
        if kept.token.lease.is_none() || outcome.is_some() {
            let _ = desk.tokens.remove(key);
            desk.tokens.clear_failure(key);
        }
    }
    let may_not = outcomes.iter().flatten().any(|outcome| *outcome == Revocation::NotAllowed);
    let exit_code = failure.as_ref().map(Error::exit_code).or(may_not.then_some(ExitCode::Refused));
    Ok(Revoked {
        profile: desk.request.profile_label.clone(),
        tokens,
        failure: failure.map(|error| error.to_string()),
        exit_code,
    })
}

/// Revokes the lease of each token that has one. `None`: there is none, or nobody could be asked.
pub(crate) fn ask(
    desk: &Desk,
    kept: &[(CacheKey, Kept)],
    conditions: &Conditions,
) -> (Vec<Option<Revocation>>, Option<Error>) {
    let mut outcomes = Vec::with_capacity(kept.len());
    if kept.iter().all(|(_, kept)| kept.token.lease.is_none()) {
        return (vec![None; kept.len()], None);
    }
    let asked = on_the_network(async {
        let source = fetch::source(desk, conditions)?;
        for (_, kept) in kept {
            outcomes.push(match &kept.token.lease {
                Some(lease) => Some(source.revoke(lease).await?),
                None => None,
            });
        }
        Ok(())
    });
    outcomes.resize(kept.len(), None);
    (outcomes, asked.err())
}
