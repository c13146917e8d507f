use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::error::Explain as _;
use crate::http::scripted::{Scripted, Step, reply};

fn now() -> Timestamp {
    DateTime::from_timestamp(1_893_456_000, 0).unwrap()
}

fn seconds(from_now: i64) -> Timestamp {
    now() + TimeDelta::seconds(from_now)
}

/// Sessions in memory, and every refresh token that was ever kept, in its order.
#[derive(Default)]
pub(in crate::oidc) struct Drawer {
    sessions: Mutex<BTreeMap<String, ProviderSession>>,
    refresh_tokens: Mutex<Vec<String>>,
    is_full: bool,
    busy: bool,
}

impl ProviderSessionStore for Drawer {
    fn load(&self, key: &SessionKey) -> Option<ProviderSession> {
        self.sessions.lock().unwrap().get(&key.0).cloned()
    }

    fn save(&self, key: &SessionKey, session: &ProviderSession) -> Result<(), String> {
        if self.is_full {
            return Err("no space".into());
        }
        let token = session.refresh_token.as_ref().map(|token| token.expose_secret().to_owned());
        self.refresh_tokens.lock().unwrap().push(token.unwrap_or_default());
        self.sessions.lock().unwrap().insert(key.0.clone(), session.clone());
        Ok(())
    }

    fn remove(&self, key: &SessionKey) {
        self.sessions.lock().unwrap().remove(&key.0);
    }

    fn turn(&self, _key: &SessionKey) -> Turn {
        if self.busy { Turn::Busy } else { Turn::Ours(Box::new(())) }
    }
}

pub(in crate::oidc) fn key() -> SessionKey {
    SessionKey("sso".into())
}

/// A session whose tokens end in so many seconds, of an hour before now.
fn session(left: i64) -> ProviderSession {
    ProviderSession {
        access_token: Some("access-1".into()),
        access_expires_at: Some(seconds(left)),
        id_token: Some("id-1".into()),
        id_expires_at: Some(seconds(left)),
        refresh_token: Some("refresh-1".into()),
        obtained_at: seconds(-3600),
        subject: Some("alice".into()),
        name: None,
        refreshes_id_token: true,
    }
}

fn drawer(session: ProviderSession) -> Arc<Drawer> {
    let drawer = Drawer::default();
    drawer.sessions.lock().unwrap().insert(key().0, session);
    Arc::new(drawer)
}

pub(in crate::oidc) fn client(server: &Scripted, sessions: &Arc<Drawer>) -> Client {
    let issuer = server.url.as_str().trim_end_matches('/');
    let sessions: Arc<dyn ProviderSessionStore> = Arc::<Drawer>::clone(sessions);
    let settings = Provider {
        named_by: crate::config::NamedBy::Settings,
        kind: crate::config::ProviderKind::OpenId,
        issuer: serde_json::from_value(json!(issuer)).unwrap(),
        client_id: "kubernetes".into(),
        client_secret_file: None,
        scopes: Vec::new(),
        redirect_port: None,
        token: ProviderToken::Id,
        certificate_authority: None,
    };
    let client = Client::new(Parts {
        settings,
        transport: Transport::default(),
        sessions,
        session_key: key(),
        clock: now,
        patience: Patience::Until(Instant::now() + Duration::from_secs(10)),
        note: Arc::new(|_| ()),
    });
    let mut client = client.unwrap();
    client.http = client.http.impatient();
    client
}

fn metadata(url: &Url) -> Step {
    metadata_with(url, &json!({}))
}

pub(in crate::oidc) fn metadata_with(url: &Url, more: &Value) -> Step {
    let issuer = url.as_str().trim_end_matches('/');
    let mut document = json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys")});
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    reply(200, &document.to_string())
}

pub(in crate::oidc) struct Signer(rcgen::KeyPair);

impl Signer {
    pub(in crate::oidc) fn new() -> Self {
        Self(rcgen::KeyPair::generate().unwrap())
    }

    pub(in crate::oidc) fn keys(&self) -> Step {
        let point = self.0.public_key_raw();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y});
        reply(200, &json!({"keys": [key]}).to_string())
    }

    pub(in crate::oidc) fn token(&self, url: &Url, subject: &str) -> String {
        let claims = json!({"iss": url.as_str().trim_end_matches('/'), "sub": subject, "aud": "kubernetes",
            "iat": now().timestamp(), "exp": seconds(900).timestamp()});
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": "a"}).to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let random = SystemRandom::new();
        let key = self.0.serialized_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(&random, message.as_bytes()).unwrap()))
    }
}

fn tokens(mut more: Value) -> Step {
    more["access_token"] = json!("access-2");
    reply(200, &more.to_string())
}

async fn id(client: &Client) -> Result<ProviderSession, OidcError> {
    client.tokens(ProviderToken::Id, Freshness::Usual).await
}

fn told(error: &OidcError) -> String {
    format!("{} {error}; {}", error.exit_code(), error.why().unwrap_or_default())
        .replace(|character: char| character.is_ascii_digit() && character > '6', "#")
}

#[tokio::test]
async fn a_session_that_is_not_due_needs_no_network() {
    let server = Scripted::new([]);
    let sessions = drawer(session(3600));
    assert_eq!(id(&client(&server, &sessions)).await.unwrap().obtained_at, seconds(-3600));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_due_session_is_refreshed_and_the_new_refresh_token_kept_before_anything_else() {
    let signer = Signer::new();
    let server = Scripted::with(|url| {
        let answer =
            json!({"id_token": signer.token(url, "alice"), "refresh_token": "refresh-2", "expires_in": 60});
        [metadata(url), tokens(answer), signer.keys()]
    });
    let sessions = drawer(session(60));
    let client = client(&server, &sessions);
    let got = id(&client).await.unwrap();
    assert_eq!(
        server.lines()[1],
        "POST /token grant_type=refresh_token&refresh_token=refresh-1&client_id=kubernetes"
    );
    assert_eq!((got.id_expires_at, got.access_expires_at), (Some(seconds(900)), Some(seconds(60))));
    assert_eq!(got.obtained_at, now());
    assert_eq!(*sessions.refresh_tokens.lock().unwrap(), ["refresh-2", "refresh-2"]);
    // The next call finds it.
    id(&client).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn the_refresh_token_outlives_an_answer_that_is_not_believed() {
    let (signer, other) = (Signer::new(), Signer::new());
    let server = Scripted::with(|url| {
        let answer = json!({"id_token": other.token(url, "alice"), "refresh_token": "refresh-2"});
        [metadata(url), tokens(answer), signer.keys()]
    });
    let sessions = drawer(session(-60));
    let error = id(&client(&server, &sessions)).await.unwrap_err();
    assert!(matches!(error, OidcError::IdToken { .. }), "{error:?}");
    let kept = sessions.load(&key()).unwrap();
    assert_eq!(kept.refresh_token.unwrap().expose_secret(), "refresh-2");
    assert_eq!(kept.id_token.unwrap().expose_secret(), "id-1");
}

#[tokio::test]
async fn an_answer_without_a_refresh_token_leaves_the_old_one() {
    let signer = Signer::new();
    let server = Scripted::with(|url| {
        [metadata(url), tokens(json!({"id_token": signer.token(url, "alice")})), signer.keys()]
    });
    let sessions = drawer(session(60));
    let got = id(&client(&server, &sessions)).await.unwrap();
    assert_eq!(got.refresh_token.unwrap().expose_secret(), "refresh-1");
}

#[tokio::test]
async fn a_refresh_that_brings_another_person_is_refused() {
    let signer = Signer::new();
    let server = Scripted::with(|url| {
        [metadata(url), tokens(json!({"id_token": signer.token(url, "bob")})), signer.keys()]
    });
    let error = id(&client(&server, &drawer(session(-60)))).await.unwrap_err();
    assert_eq!(error.why().as_deref(), Some("it is of another person than the session before"));
}

#[tokio::test]
async fn a_new_key_is_asked_for_once_more() {
    let (signer, old) = (Signer::new(), Signer::new());
    let unnamed = json!({"keys": []}).to_string();
    let server = Scripted::with(|url| {
        let answer = json!({"id_token": signer.token(url, "alice")});
        [metadata(url), tokens(answer), reply(200, &unnamed), signer.keys()]
    });
    id(&client(&server, &drawer(session(60)))).await.unwrap();
    assert_eq!(server.lines()[2..], ["GET /keys", "GET /keys"]);
    let server = Scripted::with(|url| {
        let answer = json!({"id_token": old.token(url, "alice")});
        [metadata(url), tokens(answer), reply(200, &unnamed), reply(200, &unnamed)]
    });
    let error = id(&client(&server, &drawer(session(-60)))).await.unwrap_err();
    let OidcError::IdToken { lie, .. } = error else { panic!("{error:?}") };
    assert_eq!(lie, super::super::id_token::Lie::ForeignKey { found: Some("a".into()) });
}

#[tokio::test]
async fn a_spent_refresh_token_asks_for_a_log_in_and_is_not_tried_again() {
    let server = Scripted::with(|url| {
        [metadata(url), reply(400, r#"{"error": "invalid_grant", "error_description": "it was used"}"#)]
    });
    let sessions = drawer(session(-60));
    let client = client(&server, &sessions);
    let error = id(&client).await.unwrap_err();
    assert_eq!(error.why().as_deref(), Some("the provider refused to renew the session: it was used"));
    assert_eq!(error.exit_code(), crate::error::ExitCode::LoginRequired);
    let error = id(&client).await.unwrap_err();
    assert!(matches!(error, OidcError::LoginRequired { .. }));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_lives_is_kept_while_the_provider_is_away() {
    let server = Scripted::new(vec![reply(503, "{}"); 20]);
    let sessions = drawer(session(60));
    assert_eq!(id(&client(&server, &sessions)).await.unwrap().obtained_at, seconds(-3600));
    // Not where it is another token that is wanted.
    let wanted = Freshness::Since(seconds(-5));
    let error = client(&server, &sessions).tokens(ProviderToken::Id, wanted).await.unwrap_err();
    assert!(matches!(error, OidcError::Unavailable { .. }), "{error:?}");
    assert_eq!(sessions.load(&key()).unwrap().refresh_token.unwrap().expose_secret(), "refresh-1");
}

#[tokio::test]
async fn whoever_is_quicker_serves_the_others_too() {
    let signer = Signer::new();
    let server = Scripted::with(|url| {
        let answer = json!({"id_token": signer.token(url, "alice"), "refresh_token": "refresh-2"});
        [metadata(url), tokens(answer), signer.keys()]
    });
    let sessions = drawer(session(60));
    let client = client(&server, &sessions);
    let wanted = Freshness::Since(seconds(-5));
    let (one, two, three) = tokio::join!(
        client.tokens(ProviderToken::Id, wanted),
        client.tokens(ProviderToken::Id, wanted),
        client.tokens(ProviderToken::Access, wanted),
    );
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(server.seen().len(), 3, "one refresh for all");
}

#[tokio::test]
async fn without_the_turn_nothing_is_spent() {
    let server = Scripted::new([]);
    let busy = |left| {
        let sessions = drawer(session(left));
        let taken = std::mem::take(&mut *sessions.sessions.lock().unwrap());
        Arc::new(Drawer { busy: true, sessions: Mutex::new(taken), ..Drawer::default() })
    };
    let error = id(&client(&server, &busy(-60))).await.unwrap_err();
    assert!(matches!(error, OidcError::Busy { .. }), "{error:?}");
    assert!(id(&client(&server, &busy(60))).await.is_ok());
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_provider_that_renews_no_id_token_is_asked_once() {
    let server = Scripted::with(|url| [metadata(url), tokens(json!({"refresh_token": "refresh-2"}))]);
    let sessions = drawer(session(-60));
    let client = client(&server, &sessions);
    for _ in 0..2 {
        let error = id(&client).await.unwrap_err();
        assert!(matches!(error, OidcError::NoIdToken { .. }), "{error:?}");
    }
    assert_eq!(server.seen().len(), 2);
    // The access token serves whoever takes it.
    let access = client.tokens(ProviderToken::Access, Freshness::Usual).await.unwrap();
    assert_eq!(access.access_token.unwrap().expose_secret(), "access-2");
    assert_eq!(access.refresh_token.unwrap().expose_secret(), "refresh-2");
}

#[tokio::test]
async fn where_nothing_can_be_kept_the_spent_token_goes_and_this_process_goes_on() {
    let signer = Signer::new();
    let server = Scripted::with(|url| {
        let answer = json!({"id_token": signer.token(url, "alice"), "refresh_token": "refresh-2"});
        [metadata(url), tokens(answer), signer.keys()]
    });
    let taken = std::mem::take(&mut *drawer(session(60)).sessions.lock().unwrap());
    let sessions = Arc::new(Drawer { is_full: true, sessions: Mutex::new(taken), ..Drawer::default() });
    let client = client(&server, &sessions);
    id(&client).await.unwrap();
    id(&client).await.unwrap();
    assert!(sessions.load(&key()).is_none());
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn nobody_is_logged_in() {
    let server = Scripted::new([]);
    let error = id(&client(&server, &Arc::new(Drawer::default()))).await.unwrap_err();
    assert!(told(&error).starts_with("3 log-in to `http://"), "{}", told(&error));
    let without = ProviderSession { refresh_token: None, ..session(-60) };
    let error = id(&client(&server, &drawer(without))).await.unwrap_err();
    assert!(matches!(error, OidcError::LoginRequired { .. }));
    // What is left of it is good.
    let without = ProviderSession { refresh_token: None, ..session(60) };
    assert!(id(&client(&server, &drawer(without))).await.is_ok());
}
