//! A provider's keys (RFC 7517), and whether a signature (RFC 7515) is of one of them. Which
//! algorithms may sign is decided here and nowhere else: none without a key, none with a shared one.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use url::Url;

use super::OidcError;
use super::metadata::{shown, target};
use crate::http::{Client, Method, Request};

/// More keys than any provider has.
const MOST_KEYS: usize = 100;

/// An algorithm that we verify (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names in the RFC")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// By its name in a header. Security: `none` and the `HS` family have none here, so a token that
    /// nobody signed, or that whoever knows a public key "signed", is never believed.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    /// Its name in a header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The hash that goes with it (OpenID Connect Core 1.0 section 3.1.3.6: for `at_hash`).
    #[must_use]
    pub fn hash(self) -> &'static ring::digest::Algorithm {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &ring::digest::SHA256,
            Self::Rs384 | Self::Ps384 | Self::Es384 => &ring::digest::SHA384,
            Self::Rs512 | Self::Ps512 | Self::EdDsa => &ring::digest::SHA512,
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }

    /// Key type, curve, and how many bytes a coordinate has.
    fn curve(self) -> Option<(&'static str, &'static str, usize, &'static dyn VerificationAlgorithm)> {
        match self {
            Self::Es256 => Some(("EC", "P-256", 32, &ECDSA_P256_SHA256_FIXED)),
            Self::Es384 => Some(("EC", "P-384", 48, &ECDSA_P384_SHA384_FIXED)),
            Self::EdDsa => Some(("OKP", "Ed25519", 32, &ED25519)),
            _ => None,
        }
    }
}

/// One key as it is published (RFC 7517 section 4); what cannot be read is no key of ours.
#[derive(Debug, Clone, Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys that a provider publishes.
#[derive(Debug, Clone, Default)]
pub struct Jwks {
    keys: Vec<Key>,
}

impl Jwks {
    /// Asks for them.
    ///
    /// # Errors
    /// No answer, or none that is a set of keys.
    pub async fn fetch(http: &Client, at: &Url, deadline: Instant) -> Result<Self, OidcError> {
        let response = http.send(Request::new(Method::GET, at.clone(), deadline)).await?;
        let endpoint = shown(at);
        match response.status {
            200 => Self::read(&response.body)
                .ok_or_else(|| OidcError::Unusable { endpoint, why: "it is no set of keys".to_owned() }),
            300..=399 => {
                let target = target(at, response.header("location"));
                Err(OidcError::Redirect { endpoint, target })
            }
            status @ (429 | 500..) => Err(OidcError::Unavailable { endpoint, status }),
            status => {
                Err(OidcError::Unusable { endpoint, why: format!("status {status} is no set of keys") })
            }
        }
    }

    /// Reads a set; a key in it that is of another kind is passed over (RFC 7517 section 5).
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(body).ok()?;
        let keys = set.keys.into_iter().take(MOST_KEYS);
        Some(Self { keys: keys.filter_map(|key| serde_json::from_value(key).ok()).collect() })
    }

    /// Whether there is a key that may have signed in this way, under this name where one is given.
    #[must_use]
    pub fn knows(&self, algorithm: Algorithm, name: Option<&str>) -> bool {
        self.candidates(algorithm, name).next().is_some()
    }

    /// Whether one of the keys that may have signed did.
    #[must_use]
    pub fn verifies(
        &self,
        algorithm: Algorithm,
        name: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.candidates(algorithm, name).any(|key| key.verifies(algorithm, message, signature))
    }

    fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> + 'a {
        self.keys
            .iter()
            .filter(move |key| key.may_sign(algorithm) && (name.is_none() || key.kid.as_deref() == name))
    }
}

impl Key {
    /// Security: a key is used for what it was published for: not one for encryption, and not with
    /// another algorithm than its own.
    fn may_sign(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match algorithm.curve() {
            Some((kind, curve, ..)) => self.kty == kind && self.crv.as_deref() == Some(curve),
            None => self.kty == "RSA",
        };
        is_of_kind
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == algorithm.name())
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verified(algorithm, message, signature).is_some()
    }

    fn verified(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<()> {
        if let Some(parameters) = algorithm.rsa() {
            let (n, e) = (integer(self.n.as_deref()?)?, integer(self.e.as_deref()?)?);
            return RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).ok();
        }
        let (kind, _, length, verification) = algorithm.curve()?;
        let x = decoded(self.x.as_deref()?).filter(|x| x.len() == length)?;
        let point = if kind == "EC" {
            let y = decoded(self.y.as_deref()?).filter(|y| y.len() == length)?;
            // An uncompressed point (SEC 1 section 2.3.3).
            [&[4][..], &x, &y].concat()
        } else {
            x
        };
        UnparsedPublicKey::new(verification, point).verify(message, signature).ok()
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    // Some pad, which RFC 7515 section 2 forbids.
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// A number without leading zeros, as ring wants it; some publish a sign byte.
fn integer(text: &str) -> Option<Vec<u8>> {
    let bytes = decoded(text)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}
