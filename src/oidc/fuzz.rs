//! What the fuzz targets reach of this module. Compiled for them alone.

use chrono::DateTime;
use secrecy::SecretString;
use url::Url;

pub use super::callback::fuzz::callback;
use super::id_token::{Expected, LEEWAY, Signed};
use super::jwks::Jwks;
use super::metadata::{Metadata, is_private};
use super::token_endpoint::{ClientAuthentication, TokenEndpoint};
use crate::config::{Issuer, TlsSettings, Transport};
use crate::http::Client;

const PROVIDER: &str = "https://sso.corp.example/realms/eng";

/// The metadata of a provider.
pub fn metadata(body: &[u8]) {
    let (Ok(issuer), Ok(place)) = (Issuer::try_from(PROVIDER.to_owned()), Url::parse(PROVIDER)) else {
        return;
    };
    if let Ok(found) = Metadata::read(&issuer, &place, body) {
        // Where secrets go nobody reads along.
        assert!(is_private(&found.token_endpoint));
        assert_eq!(found.issuer.as_str(), PROVIDER);
    }
}

/// What a token endpoint answers.
pub fn token_answer(body: &[u8]) {
    thread_local! {
        static HTTP: Option<Client> = Client::new(&TlsSettings::default(), &Transport::default(), None).ok();
    }
    HTTP.with(|http| {
        let (Some(http), Ok(url)) = (http, Url::parse(PROVIDER)) else { return };
        let authentication = ClientAuthentication::None { client_id: None };
        let endpoint = TokenEndpoint { http, url, authentication: &authentication };
        if let Ok(answer) = endpoint.read(body) {
            assert!(answer.access_token.is_some() || answer.id_token.is_some());
        }
    });
}

/// The keys of a provider on the first line, and an ID token on the second.
pub fn id_token(text: &str) {
    let Some((keys, token)) = text.split_once('\n') else { return };
    let (Some(keys), token) = (Jwks::read(keys.as_bytes()), SecretString::from(token)) else { return };
    let Ok(signed) = Signed::read(&token) else { return };
    let now = DateTime::from_timestamp(1_893_456_000, 0).unwrap_or_default();
    let expected = Expected {
        issuer: "https://sso.example",
        client_id: "kubernetes",
        nonce: Some("n"),
        subject: None,
        access_token: None,
    };
    if let Ok(believed) = signed.believe(&token, &keys, &expected, now) {
        assert!(signed.is_known_to(&keys));
        assert!(believed.expires_at > now - LEEWAY && !believed.subject.is_empty());
    }
}
