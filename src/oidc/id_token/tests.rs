use std::collections::BTreeMap;

use chrono::DateTime;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::*;

/// Made by another library (Python's `cryptography`): keys, a token by each algorithm, and lies.
#[derive(Deserialize)]
struct Vectors {
    keys: Value,
    believed: BTreeMap<String, String>,
    lies: BTreeMap<String, String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn now() -> Timestamp {
    DateTime::from_timestamp(1_893_456_000, 0).unwrap()
}

fn expected(access_token: Option<&SecretString>) -> Expected<'_> {
    Expected {
        issuer: "https://sso.example",
        client_id: "kubernetes",
        nonce: Some("n"),
        subject: None,
        access_token,
    }
}

fn judge(token: &str, keys: &Jwks, expected: &Expected<'_>, now: Timestamp) -> Result<Believed, Lie> {
    let token = SecretString::from(token);
    Signed::read(&token)?.believe(&token, keys, expected, now)
}

#[test]
fn every_algorithm_of_the_list_is_verified() {
    let Vectors { keys, believed, .. } = vectors();
    let keys = Jwks::read(keys.to_string().as_bytes()).unwrap();
    assert_eq!(believed.len(), 9);
    let access_token = SecretString::from("the-access-token");
    for (name, token) in believed {
        let believed = judge(&token, &keys, &expected(Some(&access_token)), now());
        let expires_at = now() + TimeDelta::seconds(300);
        let alice = Believed { subject: "alice".into(), name: Some("Alice".into()), expires_at };
        assert_eq!(believed, Ok(alice), "{name}");
        // One bit of the signature, and one of what was signed.
        let (message, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[10] ^= 1;
        let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(judge(&forged, &keys, &expected(None), now()), Err(Lie::Signature), "{name}");
        let (header, payload) = message.split_once('.').unwrap();
        let mallory = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let mallory = URL_SAFE_NO_PAD.encode(mallory.replace("alice", "malic"));
        let forged = format!("{header}.{mallory}.{signature}");
        assert_eq!(judge(&forged, &keys, &expected(None), now()), Err(Lie::Signature), "{name}");
    }
}

#[test]
fn what_is_signed_by_nobody_or_by_anybody_is_not_believed() {
    let Vectors { keys, lies, .. } = vectors();
    let keys = Jwks::read(keys.to_string().as_bytes()).unwrap();
    let found: BTreeMap<String, Lie> = lies
        .into_iter()
        .map(|(name, token)| (name, judge(&token, &keys, &expected(None), now()).unwrap_err()))
        .collect();
    let of = |name: &str, lie: Lie| (name.to_owned(), lie);
    assert_eq!(
        found,
        BTreeMap::from([
            of("none", Lie::Unsigned),
            of("HS256", Lie::SharedKey { found: "HS256".into() }),
            of("ES512", Lie::UnknownAlgorithm { found: "ES512".into() }),
            of("encryption key", Lie::ForeignKey { found: Some("enc".into()) }),
            of("other algorithm of a key", Lie::ForeignKey { found: Some("only-256".into()) }),
            of("foreign key under a known name", Lie::Signature),
            of("unknown name", Lie::ForeignKey { found: Some("p257".into()) }),
        ])
    );
    for text in ["", "a", "a.b", "a.b.c", "a.b.c.d", "e30.e30.e30", "..", "eyJhbGciOiJFUzI1NiJ9.e30.!"] {
        assert_eq!(judge(text, &keys, &expected(None), now()), Err(Lie::Malformed), "{text}");
    }
}

/// A provider whose key signs whatever it is given.
struct Signer(rcgen::KeyPair);

impl Signer {
    fn keys(&self, name: Option<&str>) -> Jwks {
        let point = self.0.public_key_raw();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": name, "x": x, "y": y}]});
        Jwks::read(set.to_string().as_bytes()).unwrap()
    }

    fn sign(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({"iss": "https://sso.example", "sub": "alice", "aud": ["kubernetes"],
            "iat": 1_893_456_000, "exp": 1_893_456_300, "nonce": "n"});
        change(&mut claims);
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256"}).to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let random = SystemRandom::new();
        let key = self.0.serialized_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random).unwrap();
        let signature = key.sign(&random, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

type Change = Box<dyn FnOnce(&mut Value)>;

#[test]
fn each_lie_of_a_true_signature_has_its_name() {
    let signer = Signer(rcgen::KeyPair::generate().unwrap());
    // Neither the token nor the key has a name: the key that fits is used.
    let keys = signer.keys(None);
    let at = |second: i64| now() + TimeDelta::seconds(second);
    let seconds = |second: i64| 1_893_456_000 + second;
    let set = |claim: &'static str, value: Value| -> Change {
        Box::new(move |claims: &mut Value| claims[claim] = value)
    };
    let drop = |claim: &'static str| -> Change {
        Box::new(move |claims: &mut Value| {
            claims.as_object_mut().unwrap().remove(claim);
        })
    };
    let cases: Vec<(Change, Result<(), Lie>)> = vec![
        (Box::new(|_| {}), Ok(())),
        (set("aud", json!("kubernetes")), Ok(())),
        (
            set("iss", json!("https://sso.example/")),
            Err(Lie::OtherIssuer { found: "https://sso.example/".into() }),
        ),
        (drop("iss"), Err(Lie::Lacks { claim: "iss" })),
        (set("aud", json!("other")), Err(Lie::OtherAudience { found: "`other`".into() })),
        (set("aud", json!([])), Err(Lie::Lacks { claim: "aud" })),
        (set("aud", json!(["kubernetes", "b"])), Err(Lie::Lacks { claim: "azp" })),
        (set("azp", json!("other")), Err(Lie::OtherParty { found: "other".into() })),
        (set("azp", json!("kubernetes")), Ok(())),
        (set("exp", json!(seconds(-60))), Err(Lie::Expired { at: at(-60) })),
        (set("exp", json!(seconds(-59))), Ok(())),
        // The last moment of the calendar that is used here.
        (set("exp", json!(8_210_266_876_799_i64)), Ok(())),
        (drop("exp"), Err(Lie::Lacks { claim: "exp" })),
        (set("iat", json!(seconds(61))), Err(Lie::FromTheFuture { at: at(61) })),
        (set("iat", json!(seconds(60))), Ok(())),
        (drop("iat"), Err(Lie::Lacks { claim: "iat" })),
        (set("nbf", json!(seconds(61))), Err(Lie::NotYet { at: at(61) })),
        (set("nonce", json!("m")), Err(Lie::OtherNonce)),
        (drop("nonce"), Err(Lie::OtherNonce)),
        (set("at_hash", json!("AAAA")), Err(Lie::OtherAccessToken)),
        (drop("sub"), Err(Lie::Lacks { claim: "sub" })),
        (set("sub", json!("")), Err(Lie::Lacks { claim: "sub" })),
        (set("exp", json!("soon")), Err(Lie::Malformed)),
    ];
    let access_token = SecretString::from("a");
    for (change, outcome) in cases {
        let token = signer.sign(change);
        let judged = judge(&token, &keys, &expected(Some(&access_token)), now());
        assert_eq!(judged.map(|_| ()), outcome, "{token}");
    }
    // At a refresh: the same person, and no nonce.
    let refreshed = |subject| Expected { nonce: None, subject: Some(subject), ..expected(None) };
    let token = signer.sign(|claims| claims["nonce"] = Value::Null);
    assert!(judge(&token, &keys, &refreshed("alice"), now()).is_ok());
    assert_eq!(judge(&token, &keys, &refreshed("bob"), now()), Err(Lie::OtherSubject));
    // A key that nobody named signs for no name.
    let other = Signer(rcgen::KeyPair::generate().unwrap());
    assert_eq!(judge(&token, &other.keys(Some("a")), &refreshed("alice"), now()), Err(Lie::Signature));
}

#[test]
fn no_set_of_keys_makes_anybody_stumble() {
    assert!(Jwks::read(b"{}").is_none() && Jwks::read(b"[]").is_none());
    let odd = json!({"keys": [7, {}, {"kty": "EC"}, {"kty": "RSA", "n": "", "e": "AQAB"}, {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "OKP", "crv": "Ed25519", "x": "A"}]});
    let keys = Jwks::read(odd.to_string().as_bytes()).unwrap();
    for token in vectors().believed.values() {
        let token = token.replace("\"kid\"", "\"x\"");
        assert!(judge(&token, &keys, &expected(None), now()).is_err());
    }
}
