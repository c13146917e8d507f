//! What is kept, for `status`: every profile with its tokens and its session, without a secret and
//! without the network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cache::{Kept, ProviderSessions, Sessions};
use crate::config::{Name, Overrides, Request, Settings};
use crate::desk::{self, Desk};
use crate::env::Env;
use crate::error::{Error, printable};
use crate::keys;
use crate::keystore::{Keystore, Tier};
use crate::oidc::ProviderSessionStore as _;
use crate::token::{Limit, State, Timestamp, Token};
use crate::vault::session::SessionStore as _;

/// One profile, and one cluster that it has a token for (or none).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The profile's name.
    pub profile: String,
    /// The settings file that it comes from.
    pub config_file: Option<PathBuf>,
    /// The source's name.
    pub source: &'static str,
    /// The cluster.
    pub cluster: ClusterItem,
    /// Whom the API server will see.
    pub subject: Option<String>,
    /// Where secrets rest.
    pub store: Tier,
    /// The token.
    pub token: TokenItem,
    /// The session that it comes by, where its source has one: a Vault's, else a provider's.
    pub session: Option<SessionItem>,
    /// The provider's session that logs in to that Vault, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_session: Option<SessionItem>,
}

/// The cluster of a token.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClusterItem {
    /// Its API server; none: not known yet.
    pub server: Option<String>,
}

/// What can be told about a kept token.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenItem {
    /// `valid`, `refreshDue`, `expired` or `absent`.
    pub state: TokenState,
    /// From here on a new one is fetched.
    pub refresh_after: Option<Timestamp>,
    /// From here on nobody is handed it.
    pub usable_until: Option<Timestamp>,
    /// Its own end.
    pub expires_at: Option<Timestamp>,
    /// What `usable_until` comes from.
    pub limited_by: Option<Limit>,
}

/// The state of a token that may not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenState {
    /// Good.
    Valid,
    /// Good, and a new one will be fetched at the next call.
    RefreshDue,
    /// Of no use any more.
    Expired,
    /// Not there.
    Absent,
}

/// What can be told about a session.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionItem {
    /// The Vault's name in the settings, else its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// The provider's name in the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The method.
    pub method: String,
    /// `valid`, `expired` or `absent`.
    pub state: TokenState,
    /// Its end.
    pub expires_at: Option<Timestamp>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// The items of these profiles; of all where none is named.
///
/// # Errors
/// A profile that does not exist, or settings that cannot be used.
pub fn of(env: &Env, settings: Settings, wanted: Vec<String>, now: Timestamp) -> Result<Vec<Item>, Error> {
    let settings = Arc::new(settings);
    let names =
        if wanted.is_empty() { settings.profiles.keys().map(Name::to_string).collect() } else { wanted };
    let mut items = Vec::new();
    for name in names {
        let overrides = Overrides { profile: Some(name), ..Overrides::default() };
        items.extend(of_profile(env, Request::resolve(&settings, env, &overrides, None)?, now)?);
    }
    Ok(items)
}

/// The kept tokens of a profile, by their clusters.
pub(crate) fn kept_tokens(desk: &Desk) -> Vec<Kept> {
    let mut kept: Vec<Kept> = desk.kept_tokens().into_iter().map(|(_, kept)| kept).collect();
    kept.sort_by(|one, other| one.about.cluster_server.cmp(&other.about.cluster_server));
    kept
}

fn of_profile(env: &Env, request: Request, now: Timestamp) -> Result<Vec<Item>, Error> {
    let desk = Desk::of(env.clone(), request, None)?;
    let kept = kept_tokens(&desk);
    let session = session(&desk, now);
    let provider_session = desk.request.vault.as_ref().and_then(|_| provider_session(&desk, now));
    let item = |kept: Option<&Kept>| Item {
        profile: desk.request.profile_label.clone(),
        config_file: desk.request.file.clone(),
        source: desk.request.source.name(),
        cluster: ClusterItem { server: kept.and_then(|kept| kept.about.cluster_server.clone()) },
        subject: kept.and_then(|kept| kept.token.subject.as_deref()).map(printable),
        store: desk.place.tier,
        token: token(kept.map(|kept| &kept.token), now),
        session: session.clone(),
        provider_session: provider_session.clone(),
    };
    if kept.is_empty() {
        return Ok(vec![item(None)]);
    }
    Ok(kept.iter().map(|kept| item(Some(kept))).collect())
}

fn token(token: Option<&Token>, now: Timestamp) -> TokenItem {
    TokenItem {
        state: match token.map(|token| token.state(now)) {
            None => TokenState::Absent,
            Some(State::Valid) => TokenState::Valid,
            Some(State::RefreshDue) => TokenState::RefreshDue,
            Some(State::Expired) => TokenState::Expired,
        },
        refresh_after: token.map(|token| token.refresh_after),
        usable_until: token.map(|token| token.usable_until),
        expires_at: token.and_then(|token| token.expires_at),
        limited_by: token.map(|token| token.limited_by),
    }
}

/// The session that a profile's tokens come by.
pub(crate) fn session(desk: &Desk, now: Timestamp) -> Option<SessionItem> {
    let Some(vault) = desk.request.vault.as_ref() else { return provider_session(desk, now) };
    let key = desk.session_key.as_ref()?;
    let sessions = Sessions::new(&desk.place, Duration::ZERO, Box::new(|| ()));
    let session = sessions.load(key);
    let expires_at = session.as_ref().and_then(|session| session.expires_at);
    Some(SessionItem {
        vault: Some(vault.name.as_ref().map_or_else(|| vault.address.to_string(), ToString::to_string)),
        provider: None,
        method: session
            .as_ref()
            .map_or_else(|| vault.auth.name().to_owned(), |session| session.method.clone()),
        state: match &session {
            None => TokenState::Absent,
            Some(_) if expires_at.is_some_and(|end| end <= now) => TokenState::Expired,
            Some(_) => TokenState::Valid,
        },
        expires_at,
        renewable: session.is_some_and(|session| session.renewable),
    })
}

/// A session that can be renewed has no end that anybody tells.
pub(crate) fn provider_session(desk: &Desk, now: Timestamp) -> Option<SessionItem> {
    let (name, settings) = desk.request.provider()?;
    let sessions = ProviderSessions::new(&desk.place, Duration::ZERO, Box::new(|| ()));
    let session = sessions.load(&keys::provider_key(settings));
    let expires_at = session.as_ref().and_then(|session| session.ends_at(settings.token));
    Some(SessionItem {
        vault: None,
        provider: Some(name.to_string()),
        method: "oidc".to_owned(),
        state: match &session {
            None => TokenState::Absent,
            Some(_) if expires_at.is_some_and(|end| end <= now) => TokenState::Expired,
            Some(_) => TokenState::Valid,
        },
        expires_at,
        renewable: session.is_some_and(|session| session.refresh_token.is_some()),
    })
}

/// Why secrets do not rest in a better place.
///
/// # Errors
/// Settings that cannot be used.
pub fn place_reasons(env: &Env, config: Option<&PathBuf>) -> Result<Vec<String>, Error> {
    let settings = desk::settings(env, config)?;
    Ok(Keystore::open(settings.store, env, desk::KEYRING_PATIENCE)?.reasons.clone())
}

impl Item {
    /// The cells of a table row.
    #[must_use]
    pub fn row(&self) -> [String; 8] {
        let dash = || "-".to_owned();
        [
            self.profile.clone(),
            self.source.to_owned(),
            self.cluster.server.as_deref().map_or_else(dash, printable),
            word(self.token.state),
            self.token.usable_until.map_or_else(dash, |end| end.format("%Y-%m-%d %H:%M:%SZ").to_string()),
            self.token.limited_by.map_or_else(dash, |limit| json_word(&limit)),
            self.session.as_ref().map_or_else(dash, |session| self.session_words(session)),
            json_word(&self.store),
        ]
    }
}

impl Item {
    /// The Vault's session, and beside it the provider's, by which the next one comes.
    fn session_words(&self, session: &SessionItem) -> String {
        let words = word(session.state);
        match &self.provider_session {
            Some(SessionItem { provider: Some(name), state, .. }) => {
                format!("{words} ({}: {})", printable(name), word(*state))
            }
            _ => words,
        }
    }
}

fn word(state: TokenState) -> String {
    json_word(&state)
}

/// The word that the JSON form has for a value, so that both forms say the same.
fn json_word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "-".into(),
    }
}
