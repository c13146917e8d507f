//! An issuer of JWTs that the rig holds the key of: what a CI system, a pod or an identity provider
//! would hand to a job. It serves nothing; give its public key to whoever shall trust it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// Signs JWTs with one ES256 key.
pub struct Issuer {
    key: KeyPair,
    key_id: String,
}

impl Issuer {
    pub fn new() -> Self {
        Self { key: KeyPair::generate().unwrap(), key_id: super::unique("key") }
    }

    /// The public key, as `jwt_validation_pubkeys` takes it.
    pub fn public_key_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// The public key, for a double that verifies what it is sent.
    pub fn public_key(&self) -> PublicKey {
        PublicKey { key_id: self.key_id.clone(), point: self.key.public_key_raw().to_vec() }
    }

    /// The public key as a JSON Web Key Set, as a discovery document's `jwks_uri` serves it.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: a marker, then both coordinates, 32 bytes each.
        let point = self.key.public_key_raw();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]})
    }

    /// A JWT for `audience` that says who `subject` is, for a quarter of an hour from now; `more` are
    /// further claims.
    pub fn token(&self, subject: &str, audience: &str, more: &Value) -> String {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({
            "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 900,
        });
        let more = more.as_object().into_iter().flatten();
        let claims_now = claims.as_object_mut().expect("is one");
        claims_now.extend(more.map(|(name, value)| (name.clone(), value.clone())));
        self.sign(&claims)
    }

    /// A JWT of exactly these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.key_id});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let random = SystemRandom::new();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.key.serialized_der(), &random)
                .unwrap();
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What verifies the JWTs of one issuer.
#[derive(Clone)]
pub struct PublicKey {
    key_id: String,
    point: Vec<u8>,
}

impl PublicKey {
    /// The ES256 key of a JSON Web Key Set that a token names as its own.
    pub fn of_key_set(keys: &Value, token: &str) -> Self {
        let header = token.split('.').next().unwrap();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let mut keys = keys["keys"].as_array().unwrap().iter();
        let key = keys.find(|key| key["kid"] == header["kid"]).expect("the key that signed it");
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let point = [&[4][..], &coordinate("x"), &coordinate("y")].concat();
        Self { key_id: header["kid"].as_str().unwrap().to_owned(), point }
    }

    /// The claims of a JWT that this key signed; none for any other text.
    pub fn verified(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header["alg"] != "ES256" || header["kid"] != self.key_id.as_str() {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point);
        key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

/// The claims of a JWT, read without checking its signature.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
