//! Logging out at a provider: the refresh token is revoked (RFC 7009), and the provider's own session
//! ended where a person asks for that. What is kept here goes in any case, and is the caller's to drop.

use secrecy::SecretString;
use url::Url;

use super::OidcError;
use super::client::Client;
use super::token_endpoint::Form;

/// What became of the tokens that a provider could still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The provider took the refresh token back: nothing is renewed with it any more.
    Done,
    /// There was no session.
    Nothing,
    /// It gave no refresh token: there was nothing to take back.
    NotRenewable,
    /// It takes none back: it names no such endpoint.
    NotOffered,
}

/// What became of the provider's own session, for which a browser has a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderSessionEnd {
    /// The provider was asked, and did not refuse. At this address a person can see to it.
    Asked(Url),
    /// It ends none for others.
    NotOffered,
}

impl Client {
    /// Has the refresh token of the kept session revoked.
    ///
    /// # Errors
    /// The provider could not be asked, or refused.
    pub async fn revoke_session(&self) -> Result<Revoked, OidcError> {
        // Whoever refreshes at this moment would leave a token behind that nobody revokes.
        let _turn = self.take_turn().await;
        let Some(session) = self.kept_session() else { return Ok(Revoked::Nothing) };
        let Some(refresh_token) = &session.refresh_token else { return Ok(Revoked::NotRenewable) };
        let metadata = self.metadata().await?;
        let Some(url) = &metadata.revocation_endpoint else { return Ok(Revoked::NotOffered) };
        let authentication = self.authentication(metadata)?;
        let form = Form::default().secret("token", refresh_token).field("token_type_hint", "refresh_token");
        self.endpoint(url, &authentication).tell(&form, self.deadline()).await?;
        Ok(Revoked::Done)
    }

    /// Has the provider end its own session of this person (OpenID Connect RP-Initiated Logout 1.0).
    ///
    /// Security: asked by this program, in a form: the ID token that says whose session is meant opens
    /// clusters, and must not stand on a terminal, in a browser's history or in a program's arguments.
    ///
    /// # Errors
    /// The provider could not be asked, or refused.
    pub async fn end_provider_session(
        &self,
        id_token: Option<&SecretString>,
    ) -> Result<ProviderSessionEnd, OidcError> {
        let metadata = self.metadata().await?;
        let Some(url) = &metadata.end_session_endpoint else { return Ok(ProviderSessionEnd::NotOffered) };
        let client_id = &self.parts.settings.client_id;
        let mut address = url.clone();
        address.query_pairs_mut().append_pair("client_id", client_id);
        if let Some(id_token) = id_token {
            let form = Form::default().secret("id_token_hint", id_token).field("client_id", client_id);
            let nobody = super::token_endpoint::ClientAuthentication::None { client_id: None };
            match self.endpoint(url, &nobody).tell(&form, self.deadline()).await {
                // Where it would send a browser now is none of ours.
                Ok(()) | Err(OidcError::Redirect { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ProviderSessionEnd::Asked(address))
    }
}
