//! Logging out: what hangs on a session is revoked on the server, what is kept here removed, and
//! what stays valid all the same is said with its end.

use serde::Serialize;

use crate::cache::{CacheKey, Kept, ProviderSessions, Sessions};
use crate::desk::{Desk, Order};
use crate::env::Env;
use crate::error::{Calling, Error, ExitCode};
use crate::fetch;
use crate::issue::{self, Conditions};
use crate::journal::{Entry, Event};
use crate::keys;
use crate::network::on_the_network;
use crate::oidc::{OidcError, ProviderSessionEnd, ProviderSessionStore as _, Revoked};
use crate::revoke;
use crate::token::{Timestamp, Token};
use crate::vault::session::SessionStore as _;
use crate::vault::{Revocation, Vault};

/// What became of one profile's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedOut {
    /// The profile.
    pub profile: String,
    /// What became of the session at Vault.
    pub session: SessionEnd,
    /// What became of the session at the provider, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderOut>,
    /// What became of each token.
    pub tokens: Vec<TokenEnd>,
    /// Why the server could not be asked, where it could not. What was kept here is gone anyway.
    pub failure: Option<String>,
    #[serde(skip)]
    exit_code: Option<ExitCode>,
}

/// What became of a provider session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderOut {
    /// The provider's name in the settings.
    pub name: String,
    /// What became of its refresh token.
    pub refresh_token: RefreshTokenEnd,
    /// Where a person can see to the provider's own session, once it was asked to end it.
    pub own_session: Option<String>,
}

/// What became of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RefreshTokenEnd {
    /// Revoked.
    Revoked,
    /// There was none.
    None,
    /// The provider revokes none.
    NotOffered,
    /// The provider did not do it; it lives until its own end.
    StaysValid,
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionEnd {
    /// Revoked, with every lease that hung on it.
    Revoked,
    /// There was none.
    None,
    /// It is somebody else's: found in the environment, a helper or `~/.vault-token`, or handed to
    /// `login` by a person who may use it elsewhere.
    NotOurs,
    /// The server did not do it; it lives until its own end.
    StaysValid,
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenEnd {
    /// The API server it was for, where that is known.
    pub cluster: Option<String>,
    /// Whether nobody can use it any more.
    pub revoked: bool,
    /// Until when a copy of it could still be used.
    pub stays_valid_until: Option<Timestamp>,
    /// Why it could not be revoked.
    pub why: Option<&'static str>,
}

impl SignedOut {
    /// The code that a command ends with that did this.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.exit_code.unwrap_or(ExitCode::Done)
    }
}

/// Logs out of one profile.
///
/// # Errors
/// Settings that cannot be understood. A server that cannot be reached is told in the result: what
/// is kept here goes all the same.
pub fn one(
    env: &Env,
    order: &Order,
    conditions: &Conditions,
    also_at_provider: bool,
    calling: &mut Calling,
) -> Result<SignedOut, Error> {
    let desk = Desk::open_for_person(env, order, calling)?;
    let kept = desk.tokens_of_session();
    let (session, leases, failure) = match (&desk.request.vault, &desk.session_key) {
        (None, _) | (_, None) => {
            let (leases, failure) = revoke::ask(&desk, &kept, conditions);
            (SessionEnd::None, leases, failure)
        }
        (Some(settings), Some(key)) => {
            let outcome = on_the_network(async {
                let vault = fetch::vault(&desk, settings, key, conditions)?;
                Ok(revoke_at(&vault, &kept).await)
            });
            // Whatever became of it on the server: who logs out leaves none here.
            Sessions::new(&desk.place, conditions.timeout, Box::new(|| ())).remove(key);
            match outcome {
                Ok(revoked) => revoked,
                Err(error) => (SessionEnd::StaysValid, Vec::new(), Some(error)),
            }
        }
    };
    let (provider, provider_failure) = provider_out(&desk, conditions, also_at_provider);
    let failure = failure.or(provider_failure);
    let tokens = kept.iter().enumerate().map(|(at, (_, kept))| {
        let by_lease = matches!(leases.get(at), Some(Some(Revocation::Done | Revocation::Gone)));
        end_of(&kept.token, session == SessionEnd::Revoked, by_lease, (conditions.clock)())
    });
    let tokens: Vec<TokenEnd> = tokens
        .zip(&kept)
        .map(|(end, (_, kept))| TokenEnd { cluster: kept.about.cluster_server.clone(), ..end })
        .collect();
    write_down(&desk, &kept, session, &leases, (conditions.clock)());
    for (key, _) in &kept {
        let _ = desk.tokens.remove(key);
        desk.tokens.clear_failure(key);
    }
    Ok(SignedOut {
        profile: desk.request.profile_label.clone(),
        session,
        provider,
        tokens,
        exit_code: failure.as_ref().map(Error::exit_code),
        failure: failure.map(|error| error.to_string()),
    })
}

/// Ends the session at the provider, where there is one.
fn provider_out(
    desk: &Desk,
    conditions: &Conditions,
    also_at_provider: bool,
) -> (Option<ProviderOut>, Option<Error>) {
    let Some((name, settings)) = desk.request.provider() else { return (None, None) };
    let ended = on_the_network(async {
        let client = fetch::provider(desk, settings, conditions)?;
        let id_token = client.kept_session().and_then(|session| session.id_token);
        let revoked = client.revoke_session().await;
        // Whatever became of it there: who logs out leaves none here.
        client.forget_session();
        let own_session =
            if also_at_provider { Some(client.end_provider_session(id_token.as_ref()).await) } else { None };
        Ok((revoked, own_session))
    });
    let key = keys::provider_key(settings);
    ProviderSessions::new(&desk.place, conditions.timeout, Box::new(|| ())).remove(&key);
    let mut out =
        ProviderOut { name: name.to_string(), refresh_token: RefreshTokenEnd::StaysValid, own_session: None };
    let (revoked, own_session) = match ended {
        Ok(ended) => ended,
        Err(error) => return (Some(out), Some(error)),
    };
    let mut failure = None;
    match revoked {
        Ok(Revoked::Done) => out.refresh_token = RefreshTokenEnd::Revoked,
        Ok(Revoked::Nothing | Revoked::NotRenewable) => out.refresh_token = RefreshTokenEnd::None,
        Ok(Revoked::NotOffered) => out.refresh_token = RefreshTokenEnd::NotOffered,
        Err(error) => failure = Some(error),
    }
    match own_session {
        Some(Ok(ProviderSessionEnd::Asked(address))) => out.own_session = Some(address.to_string()),
        Some(Ok(ProviderSessionEnd::NotOffered)) => {
            let provider = settings.issuer.as_str().to_owned();
            let without = "end of its own session";
            failure.get_or_insert(OidcError::NotOffered { provider, field: "end_session_endpoint", without });
        }
        Some(Err(error)) => {
            failure.get_or_insert(error);
        }
        None => {}
    }
    if out.refresh_token == RefreshTokenEnd::Revoked {
        let entry = Entry::new(Event::Revocation).profile(&desk.request.profile_label);
        let entry = entry.provider(settings.issuer.as_str()).outcome("refresh token");
        issue::journal_of_person(desk, (conditions.clock)()).add(&entry, (conditions.clock)());
    }
    (Some(out), failure.map(Error::from))
}

/// The session's end, and for each lease its own.
fn write_down(
    desk: &Desk,
    kept: &[(CacheKey, Kept)],
    session: SessionEnd,
    leases: &[Option<Revocation>],
    now: Timestamp,
) {
    let journal = issue::journal_of_person(desk, now);
    let entry = || Entry::new(Event::Revocation).profile(&desk.request.profile_label);
    if let (SessionEnd::Revoked, Some(vault)) = (session, &desk.request.vault) {
        journal.add(&entry().vault(&vault.address.to_string()).outcome("session"), now);
    }
    for (at, (_, kept)) in kept.iter().enumerate() {
        let by_lease = leases.get(at).copied().flatten() == Some(Revocation::Done);
        if by_lease || (session == SessionEnd::Revoked && kept.token.lease.is_some()) {
            let cluster = kept.about.cluster_server.as_deref();
            journal.add(&entry().cluster(cluster).token(&kept.token).outcome("lease"), now);
        }
    }
}

type VaultOut = (SessionEnd, Vec<Option<Revocation>>, Option<Error>);

/// Revokes the session, which takes its leases with it; where it cannot be revoked or is not ours,
/// each lease. Where there is none nobody logs in only to log out.
async fn revoke_at(vault: &Vault, kept: &[(CacheKey, Kept)]) -> VaultOut {
    let mut leases = Vec::with_capacity(kept.len());
    if vault.has_foreign_session() {
        revoke_leases(vault, kept, &mut leases).await;
        vault.forget_session();
        return (SessionEnd::NotOurs, leases, None);
    }
    match vault.revoke_session().await {
        Ok(Revocation::Done | Revocation::Gone) => (SessionEnd::Revoked, leases, None),
        Ok(Revocation::Nothing) => (SessionEnd::None, leases, None),
        Ok(Revocation::NotAllowed) => {
            revoke_leases(vault, kept, &mut leases).await;
            (SessionEnd::StaysValid, leases, None)
        }
        Err(error) => (SessionEnd::StaysValid, leases, Some(Error::from(error))),
    }
}

async fn revoke_leases(vault: &Vault, kept: &[(CacheKey, Kept)], leases: &mut Vec<Option<Revocation>>) {
    for (_, kept) in kept {
        leases.push(match &kept.token.lease {
            Some(lease) => vault.revoke_lease(&lease.id).await.ok(),
            None => None,
        });
    }
}

/// Whether a token is dead now. A token of an existing service account lives until its own end,
/// whatever becomes of its lease.
pub(crate) fn end_of(token: &Token, session_revoked: bool, lease_revoked: bool, now: Timestamp) -> TokenEnd {
    let lease_ends_it = token.lease.as_ref().and_then(|lease| lease.ends_token);
    let hangs_on_lease = token.lease.is_some();
    let revoked = hangs_on_lease && (session_revoked || lease_revoked) && lease_ends_it == Some(true);
    let own_end = token.expires_at.unwrap_or(token.usable_until);
    let why = match lease_ends_it {
        _ if revoked || own_end <= now => None,
        Some(false) => Some("it belongs to an existing service account, which Vault cannot revoke"),
        None if hangs_on_lease && (session_revoked || lease_revoked) => {
            Some("its lease is revoked; where its account was not generated it lives on")
        }
        Some(true) => Some("the server did not revoke its lease"),
        None => Some("nothing revokes it before its own end"),
    };
    TokenEnd { cluster: None, revoked, stays_valid_until: why.map(|_| own_end), why }
}
