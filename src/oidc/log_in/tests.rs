use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::http::scripted::{Scripted, Step, reply};
use crate::oidc::client::tests::{Drawer, Signer, client, key, metadata_with};
use crate::oidc::session::ProviderSessionStore as _;
use crate::person::NoAnswer;

/// A person who wants a code, and notes what they are told.
#[derive(Default)]
struct Reader(Mutex<Vec<String>>);

impl Person for Reader {
    fn ask(&self, _prompt: &str) -> Result<String, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    fn ask_secret(&self, _prompt: &str) -> Result<SecretString, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    fn tell(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn wants(&self) -> LogInHow {
        LogInHow::DeviceCode
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

fn device(more: &Value) -> Step {
    let mut answer = json!({"device_code": "s3cret-device", "user_code": "ABCD-\u{1b}[2J",
        "verification_uri": "https://sso.example/device", "expires_in": 600});
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    reply(200, &answer.to_string())
}

fn refused(code: &str) -> Step {
    reply(400, &json!({"error": code}).to_string())
}

fn with_device_endpoint(url: &Url) -> Step {
    let endpoint = format!("{url}device");
    metadata_with(
        url,
        &json!({"device_authorization_endpoint": endpoint, "scopes_supported": ["offline_access"]}),
    )
}

async fn log_in(
    server: &Scripted,
    sessions: &Arc<Drawer>,
) -> (Result<ProviderSession, OidcError>, Vec<String>) {
    let mut client = client(server, sessions);
    client.second = Duration::from_millis(1);
    let person = Reader::default();
    let outcome = client.login(&person, &|| ()).await;
    (outcome, person.0.into_inner().unwrap())
}

#[tokio::test]
async fn a_code_is_shown_and_asked_about_until_the_person_is_done() {
    let signer = Signer::new();
    let server = Scripted::with(|url| {
        let tokens = json!({"access_token": "a", "id_token": signer.token(url, "alice"), "expires_in": 60});
        [
            with_device_endpoint(url),
            device(&json!({"verification_uri_complete": "https://sso.example/device?code=ABCD"})),
            refused("authorization_pending"),
            refused("slow_down"),
            reply(503, "down"),
            reply(200, &tokens.to_string()),
            signer.keys(),
        ]
    });
    let sessions = Arc::new(Drawer::default());
    let (session, told) = log_in(&server, &sessions).await;
    assert_eq!(session.unwrap().subject.as_deref(), Some("alice"));
    assert_eq!(
        told,
        [
            "log in on any device, at this address:",
            "https://sso.example/device?code=ABCD",
            "the code is ABCD-\u{fffd}[2J",
            "this log-in cannot be renewed; with `offline_access` among `scopes` it could be",
        ]
    );
    let lines = server.lines();
    // Keycloak wants PKCE here, too, of a client that has to use it.
    let challenge = lines[1].strip_prefix("POST /device scope=openid&code_challenge=").unwrap();
    let challenge = challenge.strip_suffix("&code_challenge_method=S256&client_id=kubernetes").unwrap();
    let verifier = lines[2]
        .strip_prefix(
            "POST /token grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code\
             &device_code=s3cret-device&code_verifier=",
        )
        .unwrap();
    let verifier = verifier.strip_suffix("&client_id=kubernetes").unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    assert_eq!(challenge, URL_SAFE_NO_PAD.encode(digest));
    assert!(sessions.load(&key()).unwrap().id_token.is_some());
}

#[tokio::test]
async fn a_code_that_comes_to_nothing_says_why() {
    let outcome = async |more: Value, answers: Vec<Step>| {
        let server = Scripted::with(|url| [vec![with_device_endpoint(url), device(&more)], answers].concat());
        log_in(&server, &Arc::new(Drawer::default())).await.0.unwrap_err()
    };
    assert!(matches!(outcome(json!({}), vec![refused("access_denied")]).await, OidcError::Denied { .. }));
    assert!(matches!(
        outcome(json!({}), vec![refused("expired_token")]).await,
        OidcError::CodeExpired { .. }
    ));
    let pending = vec![refused("authorization_pending"); 3];
    let short = outcome(json!({"expires_in": 1, "interval": 2}), pending).await;
    assert!(matches!(short, OidcError::CodeExpired { .. }), "{short:?}");
    let other = outcome(json!({}), vec![refused("invalid_grant")]).await;
    assert_eq!(other.code(), Some("invalid_grant"));
    let nowhere = outcome(json!({"verification_uri": "javascript:alert(1)"}), Vec::new()).await;
    assert!(matches!(nowhere, OidcError::Endpoint { field: "verification_uri", .. }), "{nowhere:?}");
    let empty = outcome(json!({"user_code": 7}), Vec::new()).await;
    assert!(matches!(empty, OidcError::Unusable { .. }), "{empty:?}");
}

#[test]
fn whoever_is_told_to_ask_less_often_does_for_good() {
    let refused = |code: &str| OidcError::Refused {
        endpoint: String::new(),
        status: 400,
        code: code.to_owned(),
        description: None,
        uri: None,
    };
    let down = OidcError::Unavailable { endpoint: String::new(), status: 503 };
    let slower = next_pause(USUAL_PAUSE, &refused("slow_down")).unwrap();
    assert_eq!(slower, 10);
    assert_eq!(next_pause(slower, &refused("authorization_pending")), Some(10));
    assert_eq!(next_pause(slower, &refused("slow_down")), Some(15));
    assert_eq!(next_pause(slower, &down), Some(20));
    assert_eq!(next_pause(50, &down), Some(60));
    assert_eq!(next_pause(5, &refused("invalid_client")), None);
}

#[tokio::test]
async fn a_provider_without_such_a_log_in_is_named() {
    let server = Scripted::with(|url| [metadata_with(url, &json!({}))]);
    let (outcome, _) = log_in(&server, &Arc::new(Drawer::default())).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, OidcError::NotOffered { field: "device_authorization_endpoint", .. }),
        "{error:?}"
    );
}

#[test]
fn what_is_asked_for_is_bound_to_this_log_in() {
    let server = Scripted::new([]);
    let mut client = client(&server, &Arc::new(Drawer::default()));
    client.parts.settings.scopes = vec!["groups".into(), "openid".into(), "offline_access".into()];
    assert_eq!(client.scope(), "openid groups offline_access");
    let issuer = client.parts.settings.issuer.clone();
    let metadata = Metadata {
        token_endpoint: issuer.url().clone(),
        issuer,
        authorization_endpoint: None,
        device_authorization_endpoint: None,
        revocation_endpoint: None,
        end_session_endpoint: None,
        jwks_uri: None,
        token_endpoint_auth_methods: Vec::new(),
        scopes: None,
        names_issuer_in_answers: true,
    };
    let person = Reader::default();
    let authentication = ClientAuthentication::None { client_id: None };
    let attempt = Attempt { client: &client, metadata: &metadata, authentication, person: &person };
    let endpoint = Url::parse("https://sso.example/auth?tenant=a%20b").unwrap();
    let (one, two) = (Secrets::new().unwrap(), Secrets::new().unwrap());
    let address = attempt.address(&endpoint, "http://127.0.0.1:7/callback", &one);
    let pairs: Vec<(String, String)> = address.query_pairs().into_owned().collect();
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "tenant",
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "prompt"
        ]
    );
    assert!(!address.as_str().contains(one.verifier.expose_secret()), "the verifier stays here");
    assert_ne!(one.state, two.state);
    assert_ne!(one.nonce, two.nonce);
    // RFC 7636, appendix B.
    let verifier = SecretString::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let known = Secrets { verifier, ..one };
    assert_eq!(known.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}
