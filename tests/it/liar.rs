//! An OpenID provider that tells the truth but for one thing, and the browser of whoever logs in there.
//! It speaks OpenID Connect Core 1.0 with PKCE, RFC 8628, RFC 7009 and RFC 9207, rotates its refresh
//! tokens, and ends a session whose old one is used again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use url::Url;

use crate::home::{Home, Run};
use crate::rig::{Authority, Client, Double, Issuer, Reply, Seen, unique};

/// What is not true.
pub type Lie = &'static str;

/// What a provider remembers.
#[derive(Default)]
struct Memory {
    issuer: String,
    lie: Lie,
    nonce: String,
    challenge: String,
    /// The one that is good.
    refresh_token: Option<String>,
    refreshes: usize,
    device_asks: usize,
}

/// The provider.
pub struct Liar {
    pub double: Double,
    pub authority: Authority,
    /// Whose signatures are its own.
    pub keys: Arc<Issuer>,
    memory: Arc<Mutex<Memory>>,
}

impl Liar {
    pub fn who_says(lie: Lie) -> Self {
        let authority = Authority::new("provider");
        let memory = Arc::new(Mutex::new(Memory { lie, ..Memory::default() }));
        let (keys, others) = (Arc::new(Issuer::new()), Issuer::new());
        let own = Arc::clone(&keys);
        let theirs = Arc::clone(&memory);
        let double = Double::https(&authority, &[], move |seen| {
            let mut memory = theirs.lock().unwrap();
            let is_slow = memory.lie == "slow refreshes" && seen.path == "/token";
            let reply = answer(&mut memory, &own, &others, seen);
            // So that all who want one are there before it comes.
            if is_slow { Reply::Late(Duration::from_secs(4), Box::new(reply)) } else { reply }
        });
        memory.lock().unwrap().issuer.clone_from(&double.address);
        Self { double, authority, keys, memory }
    }

    /// From here on something else is not true.
    pub fn says(&self, lie: Lie) {
        self.memory.lock().unwrap().lie = lie;
    }

    pub fn refreshes(&self) -> usize {
        self.memory.lock().unwrap().refreshes
    }

    /// A home whose profile `prod` hands its tokens to a cluster.
    pub fn home(&self, more: &Value) -> Home {
        let home = Home::new();
        let mut provider = json!({"issuer": self.double.address, "clientId": "kubernetes",
            "certificateAuthority": self.authority.file});
        for (name, value) in more.as_object().unwrap() {
            provider[name] = value.clone();
        }
        home.settings(&json!({
            "providers": {"sso": provider},
            "profiles": {"prod": {"source": {"oidc": {"provider": "sso"}}}},
        }));
        home.plant("s3cret-code");
        home.plant("s3cret-refresh");
        home.plant("s3cret-access");
        home.plant("s3cret-device");
        home
    }

    /// Logs in with a browser that is elsewhere: this test is it. `answer` may change what it brings.
    pub fn log_in(&self, home: &Home, change: impl Fn(&mut Url)) -> Run {
        let mut command = home.command(&["login", "--no-browser", "--login-timeout=20s"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        let start = format!("{}/auth?", self.double.address);
        let address = loop {
            let mut line = String::new();
            if errors.read_line(&mut line).unwrap() == 0 {
                break None;
            }
            told.push_str(&line);
            if let Some(at) = line.find(&start) {
                break Some(line[at..].trim().to_owned());
            }
        };
        if let Some(address) = address {
            let page =
                Client::new(&self.authority.pem, None).call("GET", &address, &[], &Value::Null).unwrap();
            let location = page.headers.iter().find(|(name, _)| name == "location").expect("a redirect");
            let mut back = Url::parse(&location.1).unwrap();
            change(&mut back);
            visit(&back);
        }
        errors.read_to_string(&mut told).unwrap();
        let output = child.wait_with_output().unwrap();
        home.finished(&Output { stderr: told.into_bytes(), ..output })
    }
}

/// Opens an address of this machine, as a browser does.
fn visit(address: &Url) {
    let host = format!("{}:{}", address.host_str().unwrap(), address.port().unwrap());
    let Ok(mut stream) = TcpStream::connect(host.trim_start_matches('[').replace("]:", ":")) else { return };
    let target = format!("{}?{}", address.path(), address.query().unwrap_or_default());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let _ = stream.read_to_string(&mut String::new());
}

fn answer(memory: &mut Memory, keys: &Issuer, others: &Issuer, seen: &Seen) -> Reply {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    match (seen.method.as_str(), path) {
        ("GET", "/.well-known/openid-configuration") => metadata(memory),
        ("GET", "/auth") => authorization(memory, query),
        ("GET", "/keys") => match memory.lie {
            "keys are no set" => Reply::json(200, &json!({"kids": []})),
            _ => Reply::json(200, &keys.key_set()),
        },
        ("POST", "/device") => Reply::json(
            200,
            &json!({"device_code": "s3cret-device", "user_code": "WDJB-MJHT", "interval": 1, "expires_in": 60,
                "verification_uri": format!("{}/activate", memory.issuer)}),
        ),
        ("POST", "/token") => tokens(memory, keys, others, seen),
        ("POST", "/revoke") => {
            memory.refresh_token = None;
            Reply::text(200, "text/plain", "")
        }
        ("POST", "/end") => {
            Reply::text(302, "text/plain", "").with_header("Location", &format!("{}/bye", memory.issuer))
        }
        _ => Reply::not_found(),
    }
}

fn metadata(memory: &Memory) -> Reply {
    let issuer = &memory.issuer;
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "device_authorization_endpoint": format!("{issuer}/device"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "end_session_endpoint": format!("{issuer}/end"),
        "jwks_uri": format!("{issuer}/keys"),
        "scopes_supported": ["openid", "offline_access"],
        "authorization_response_iss_parameter_supported": true,
    });
    match memory.lie {
        "issuer of the metadata" => document["issuer"] = json!(format!("{issuer}/")),
        "no authorization endpoint" => document["authorization_endpoint"] = Value::Null,
        "authorization in clear" => document["authorization_endpoint"] = json!("http://sso.example/auth"),
        "tokens in clear" => document["token_endpoint"] = json!("http://sso.example/token"),
        "discovery redirects" | "discovery loops" => {
            let target =
                if memory.lie == "discovery loops" { issuer.as_str() } else { "https://evil.example" };
            let target = format!("{target}/.well-known/openid-configuration");
            return Reply::text(302, "text/plain", "").with_header("Location", &target);
        }
        "discovery is huge" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\": \"".to_vec();
            return Reply::Endless(head, vec![b'x'; 64 * 1024]);
        }
        "discovery is a page" => return Reply::text(200, "text/html", "<html>welcome</html>"),
        "there is no discovery" => return Reply::not_found(),
        "no end of sessions" => document["end_session_endpoint"] = Value::Null,
        "no revocation" => document["revocation_endpoint"] = Value::Null,
        _ => {}
    }
    Reply::json(200, &document)
}

fn authorization(memory: &mut Memory, query: &str) -> Reply {
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!((query["response_type"].as_str(), query["code_challenge_method"].as_str()), ("code", "S256"));
    let offline = query["scope"].split(' ').any(|scope| scope == "offline_access");
    assert_eq!(query.get("prompt").map(String::as_str), offline.then_some("consent"));
    memory.nonce.clone_from(&query["nonce"]);
    memory.challenge.clone_from(&query["code_challenge"]);
    let mut back = Url::parse(&query["redirect_uri"]).unwrap();
    back.query_pairs_mut()
        .append_pair("code", "s3cret-code")
        .append_pair("state", &query["state"])
        .append_pair("iss", &memory.issuer);
    Reply::text(302, "text/plain", "").with_header("Location", back.as_str())
}

fn tokens(memory: &mut Memory, keys: &Issuer, others: &Issuer, seen: &Seen) -> Reply {
    let refused =
        |code: &str, words: &str| Reply::json(400, &json!({"error": code, "error_description": words}));
    if seen.field("client_id").as_deref() != Some("kubernetes") {
        return refused("invalid_client", "who are you?");
    }
    let grant = seen.field("grant_type").unwrap();
    match grant.as_str() {
        "authorization_code" => {
            let verifier = seen.field("code_verifier").unwrap_or_default();
            let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            if challenge != memory.challenge || seen.field("code").as_deref() != Some("s3cret-code") {
                return refused("invalid_grant", "no such code");
            }
        }
        "refresh_token" => {
            let spent = seen.field("refresh_token") != memory.refresh_token;
            if spent || memory.lie == "the session is over" {
                memory.refresh_token = None;
                return refused("invalid_grant", "grant request is invalid");
            }
            memory.refreshes += 1;
            memory.nonce.clear();
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            memory.nonce.clear();
            memory.device_asks += 1;
            match (memory.lie, memory.device_asks) {
                ("the code is refused", _) => return refused("access_denied", "no"),
                ("the code is too old", _) => return refused("expired_token", "no"),
                (_, 1) => return refused("authorization_pending", "wait"),
                _ => {}
            }
        }
        other => return refused("unsupported_grant_type", other),
    }
    match memory.lie {
        "the token endpoint redirects" => {
            return Reply::text(307, "text/plain", "").with_header("Location", "https://evil.example/token");
        }
        "an answer without tokens" => return Reply::json(200, &json!({"token": "s3cret-access"})),
        _ => {}
    }
    let refresh_token = unique("s3cret-refresh");
    memory.refresh_token = Some(refresh_token.clone());
    let mut answer = json!({"access_token": "s3cret-access", "token_type": "bearer", "expires_in": 300,
        "id_token": id_token(memory, keys, others), "refresh_token": refresh_token});
    match memory.lie {
        "no ID token" => answer["id_token"] = Value::Null,
        "no ID token at a refresh" if grant == "refresh_token" => answer["id_token"] = Value::Null,
        "no refresh token" => answer["refresh_token"] = Value::Null,
        _ => {}
    }
    Reply::json(200, &answer)
}

fn id_token(memory: &Memory, keys: &Issuer, others: &Issuer) -> String {
    let now = chrono::Utc::now().timestamp();
    let life = if memory.lie == "a short life" { 30 } else { 300 };
    let mut claims = json!({"iss": memory.issuer, "sub": "alice", "aud": "kubernetes", "iat": now,
        "exp": now + life, "preferred_username": "Alice"});
    if !memory.nonce.is_empty() {
        claims["nonce"] = json!(memory.nonce);
    }
    let unsigned = |algorithm: &str, sign: &dyn Fn(&str) -> Vec<u8>| {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&json!({"alg": algorithm})), encode(&claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(&message)))
    };
    match memory.lie {
        "none" => return unsigned("none", &|_| b"nothing".to_vec()),
        "HS256 with the public key" => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, keys.public_key_pem().as_bytes());
            return unsigned("HS256", &|message| {
                ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            });
        }
        "a foreign key" => return others.sign(&claims),
        "issuer" => claims["iss"] = json!("https://evil.example"),
        "audience" => claims["aud"] = json!("another"),
        "two audiences" => claims["aud"] = json!(["kubernetes", "another"]),
        "party" => claims["azp"] = json!("another"),
        "nonce" => claims["nonce"] = json!("another"),
        "expired" => claims["exp"] = json!(now - 120),
        "the future" => claims["iat"] = json!(now + 600),
        "another person" => claims["sub"] = json!("mallory"),
        "changed after it was signed" => {
            let signed = keys.sign(&claims);
            claims["preferred_username"] = json!("Mallory");
            let parts: Vec<&str> = signed.split('.').collect();
            return format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]);
        }
        _ => {}
    }
    keys.sign(&claims)
}
