//! Whether an ID token is to be believed (OpenID Connect Core 1.0 section 3.1.3.7; 12.2 for one of a
//! refresh). It is checked before anything is made of it, and each lie has a name of its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use ring::digest::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::jwks::{Algorithm, Jwks};
use crate::error::printable;
use crate::token::{Claims, Timestamp};

/// How far the provider's clock and ours may differ.
pub const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// What an ID token has to say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, byte for byte.
    pub issuer: &'a str,
    /// The client that asked.
    pub client_id: &'a str,
    /// What a code flow sent along; none where nothing was sent (device code, refresh).
    pub nonce: Option<&'a str>,
    /// Whose token it was before; only at a refresh.
    pub subject: Option<&'a str>,
    /// The access token that came with it.
    pub access_token: Option<&'a SecretString>,
}

/// What a believed ID token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    /// `sub`.
    pub subject: String,
    /// A name for a person to recognise: `preferred_username`, `email` or `name`.
    pub name: Option<String>,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// Why an ID token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is; `found` is printable")]
pub enum Lie {
    #[error("it is no signed JWT in compact form")]
    Malformed,
    #[error("nobody signed it: its algorithm is `none`")]
    Unsigned,
    #[error("it is signed with `{found}`, a shared key, which whoever knows it can do")]
    SharedKey { found: String },
    #[error("it is signed with `{found}`, which is not known here")]
    UnknownAlgorithm { found: String },
    #[error("it is signed with a key that the provider does not publish ({})", key_name(found.as_deref()))]
    ForeignKey { found: Option<String> },
    #[error("its signature is not of the key that it names")]
    Signature,
    #[error("it lacks `{claim}`")]
    Lacks { claim: &'static str },
    #[error("it is of another issuer, `{found}`")]
    OtherIssuer { found: String },
    #[error("it is for another client: its audience is {found}")]
    OtherAudience { found: String },
    #[error("it was issued to another client, `{found}`")]
    OtherParty { found: String },
    #[error("it ended at {at}")]
    Expired { at: Timestamp },
    #[error("it was issued in the future, at {at}")]
    FromTheFuture { at: Timestamp },
    #[error("it is not valid before {at}")]
    NotYet { at: Timestamp },
    #[error("it does not belong to this log-in: its nonce is another, or is missing")]
    OtherNonce,
    #[error("it does not belong to the access token that came with it")]
    OtherAccessToken,
    #[error("it is of another person than the session before")]
    OtherSubject,
}

fn key_name(found: Option<&str>) -> String {
    found.map_or_else(|| "it names none".to_owned(), |name| format!("it names `{name}`"))
}

/// A token taken apart, its signature not yet looked at.
pub struct Signed {
    algorithm: Algorithm,
    key: Option<String>,
    /// Up to the second dot: what was signed.
    message: usize,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Further {
    azp: Option<String>,
    nonce: Option<String>,
    at_hash: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    name: Option<String>,
}

impl Signed {
    /// Takes a token apart, as far as its algorithm allows.
    ///
    /// # Errors
    /// What it is signed with is not believed, or it is no JWT.
    pub fn read(token: &SecretString) -> Result<Self, Lie> {
        let text = token.expose_secret();
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Lie::Malformed);
        };
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Lie::Malformed)?;
        let Header { alg, kid } = serde_json::from_slice(&header).map_err(|_| Lie::Malformed)?;
        let algorithm = Algorithm::named(&alg).ok_or_else(|| match alg.to_ascii_uppercase().as_str() {
            "NONE" => Lie::Unsigned,
            upper if upper.starts_with("HS") => Lie::SharedKey { found: printable(&alg) },
            _ => Lie::UnknownAlgorithm { found: printable(&alg) },
        })?;
        let message = text.len() - signature.len() - 1;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Lie::Malformed)?;
        if payload.is_empty() || signature.is_empty() {
            return Err(Lie::Malformed);
        }
        Ok(Self { algorithm, key: kid, message, signature })
    }

    /// Whether the key that it names is among these.
    #[must_use]
    pub fn is_known_to(&self, keys: &Jwks) -> bool {
        keys.knows(self.algorithm, self.key.as_deref())
    }

    /// Believes the token, or says what is wrong with it.
    ///
    /// # Errors
    /// The first [`Lie`] that is found; the signature comes first, as all else may be made up.
    pub fn believe(
        &self,
        token: &SecretString,
        keys: &Jwks,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<Believed, Lie> {
        if !self.is_known_to(keys) {
            return Err(Lie::ForeignKey { found: self.key.as_deref().map(printable) });
        }
        let text = token.expose_secret();
        let message = text.as_bytes().get(..self.message).ok_or(Lie::Malformed)?;
        if !keys.verifies(self.algorithm, self.key.as_deref(), message, &self.signature) {
            return Err(Lie::Signature);
        }
        let claims = Claims::read(text).ok_or(Lie::Malformed)?;
        let payload = text.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let further: Further =
            payload.and_then(|payload| serde_json::from_slice(&payload).ok()).ok_or(Lie::Malformed)?;
        let Claims { issuer, subject, audiences, expires_at, issued_at, not_before, .. } = claims;
        let issuer = issuer.ok_or(Lie::Lacks { claim: "iss" })?;
        if issuer != expected.issuer {
            return Err(Lie::OtherIssuer { found: printable(&issuer) });
        }
        check_audience(&audiences, further.azp.as_deref(), expected.client_id)?;
        let expires_at = expires_at.ok_or(Lie::Lacks { claim: "exp" })?;
        // Reckoned from our own time: theirs may be the last that there is.
        if now - LEEWAY >= expires_at {
            return Err(Lie::Expired { at: expires_at });
        }
        let issued_at = issued_at.ok_or(Lie::Lacks { claim: "iat" })?;
        if issued_at > now + LEEWAY {
            return Err(Lie::FromTheFuture { at: issued_at });
        }
        if let Some(at) = not_before.filter(|at| *at > now + LEEWAY) {
            return Err(Lie::NotYet { at });
        }
        // Security: else somebody else's token, caught elsewhere, could be slipped in here.
        if expected.nonce.is_some_and(|nonce| further.nonce.as_deref() != Some(nonce)) {
            return Err(Lie::OtherNonce);
        }
        if let (Some(hash), Some(access_token)) = (&further.at_hash, expected.access_token)
            && self.half_hash(access_token) != hash.trim_end_matches('=')
        {
            return Err(Lie::OtherAccessToken);
        }
        let subject = subject.filter(|subject| !subject.is_empty()).ok_or(Lie::Lacks { claim: "sub" })?;
        if expected.subject.is_some_and(|before| before != subject) {
            return Err(Lie::OtherSubject);
        }
        let name = further.preferred_username.or(further.email).or(further.name);
        Ok(Believed { subject, name: name.filter(|name| !name.is_empty()), expires_at })
    }

    /// `at_hash` (OpenID Connect Core 1.0 section 3.1.3.6): the left half of the access token's hash.
    fn half_hash(&self, access_token: &SecretString) -> String {
        let hash = digest(self.algorithm.hash(), access_token.expose_secret().as_bytes());
        let half = hash.as_ref().get(..hash.as_ref().len() / 2).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(half)
    }
}

/// The client must be in the audience, and must be who it was issued to where the token says so; with
/// several audiences it has to say so.
fn check_audience(audiences: &[String], party: Option<&str>, client_id: &str) -> Result<(), Lie> {
    if audiences.is_empty() {
        return Err(Lie::Lacks { claim: "aud" });
    }
    if !audiences.iter().any(|audience| audience == client_id) {
        let found = printable(&format!("`{}`", audiences.join("`, `")));
        return Err(Lie::OtherAudience { found });
    }
    match party {
        Some(party) if party != client_id => Err(Lie::OtherParty { found: printable(party) }),
        None if audiences.len() > 1 => Err(Lie::Lacks { claim: "azp" }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
