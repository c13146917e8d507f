//! Time that goes by in a home at once: all that is kept there becomes older, while the clock stays. A
//! test that follows a token over hours waits for nothing that way.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use vaulttoken::cache::{ProviderSessions, TokenStore};
use vaulttoken::config::Store;
use vaulttoken::env::Env;
use vaulttoken::keystore::{Keystore, Place};
use vaulttoken::oidc::ProviderSessionStore as _;
use vaulttoken::token::State;
use vaulttoken::vault::session::SessionKey;

use crate::home::Home;

fn place(home: &Home) -> Arc<Place> {
    let env = Env::of(home.variables());
    Arc::new(Keystore::open(Store::Auto, &env, Duration::ZERO).unwrap_or_else(|error| panic!("{error}")))
}

/// Makes kept tokens, and the sessions at providers that they were had by, so much older; failures of
/// theirs are as good as forgotten by then.
pub fn pass(home: &Home, time: TimeDelta) {
    let place = place(home);
    let tokens = TokenStore::new(&place);
    let sessions = ProviderSessions::new(&place, Duration::ZERO, Box::new(|| ()));
    for (name, mut kept) in tokens.list() {
        let token = &mut kept.token;
        for moment in [&mut token.issued_at, &mut token.refresh_after, &mut token.usable_until] {
            *moment -= time;
        }
        token.expires_at = token.expires_at.map(|end| end - time);
        // This forgets the failure, too.
        tokens.store(&name, &kept.token, &kept.about).unwrap();
        let Some(key) = kept.about.session_key.map(SessionKey) else { continue };
        if let Some(mut session) = sessions.load(&key) {
            session.obtained_at -= time;
            session.access_expires_at = session.access_expires_at.map(|end| end - time);
            session.id_expires_at = session.id_expires_at.map(|end| end - time);
            sessions.save(&key, &session).unwrap();
        }
    }
}

/// Whether a token is kept that is due, and that somebody renews if anybody does.
pub fn is_due(home: &Home) -> bool {
    let kept = TokenStore::new(&place(home)).list();
    kept.iter().any(|(_, kept)| kept.token.state(Utc::now()) == State::RefreshDue)
}
