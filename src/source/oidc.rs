//! `oidc`: a provider's own token, straight to an API server that trusts the provider
//! (`--oidc-issuer-url`, or an `AuthenticationConfiguration`). Nothing revokes it before its end.

use std::sync::Arc;

use crate::config::ProviderToken;
use crate::error::Error;
use crate::oidc::{Client, Freshness};
use crate::token::{Bound, Limit, Minted};

/// A provider, and which of its tokens is wanted.
pub struct Oidc {
    /// Its client.
    pub client: Arc<Client>,
    /// Which token.
    pub token: ProviderToken,
    /// Whether that of the kept session will do.
    pub freshness: Freshness,
}

impl Oidc {
    /// How messages name the token.
    pub(super) fn path(&self) -> &'static str {
        match self.token {
            ProviderToken::Id => "id_token",
            ProviderToken::Access => "access_token",
        }
    }

    /// The token of the kept session, renewed where it is due; and whether it was.
    pub(super) async fn mint(&self) -> Result<(Minted, bool), Error> {
        let before = self.client.kept_session();
        let session = self.client.tokens(self.token, self.freshness).await?;
        let secret = session.token(self.token).cloned().ok_or_else(|| self.client.lacks(self.token))?;
        let (by, told) = match self.token {
            ProviderToken::Id => (Limit::Expiry, session.id_expires_at),
            ProviderToken::Access => (Limit::ExpiresIn, session.access_expires_at),
        };
        let was_refreshed = before.is_some_and(|before| before.obtained_at != session.obtained_at);
        let minted = Minted {
            secret,
            bounds: told.map(|at| Bound { by, at }).into_iter().collect(),
            subject: session.subject,
            lease: None,
            warnings: Vec::new(),
            request_id: None,
        };
        Ok((minted, was_refreshed))
    }
}
