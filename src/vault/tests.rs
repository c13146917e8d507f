//! The client against a scripted server: each test says what Vault answers, and checks what it
//! was asked and what the caller got.

mod calls;
mod log_ins;
mod oidc;
mod sessions;
mod trouble;

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta};
use secrecy::ExposeSecret as _;
use url::Url;

use super::*;
use crate::config::{AuthMethod, NamedBy, TlsSettings, VaultAddress};
use crate::error::Explain as _;
use crate::http::scripted::{Scripted, Step, reply, reply_with};
use crate::person::{NoAnswer, Person};

/// The moment of all tests.
fn now() -> Timestamp {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + TimeDelta::seconds(seconds)
}

/// A store that remembers what was done to it.
#[derive(Default)]
struct Store {
    session: Mutex<Option<Session>>,
    log: Mutex<Vec<String>>,
    /// What another process keeps while we wait for the lock.
    meanwhile: Mutex<Option<Session>>,
}

impl Store {
    fn with(session: Session) -> Arc<Self> {
        Arc::new(Self { session: Mutex::new(Some(session)), ..Self::default() })
    }

    fn token(&self) -> Option<String> {
        held(&self.session).as_ref().map(|session| session.token.expose_secret().to_owned())
    }

    fn log(&self) -> Vec<String> {
        held(&self.log).clone()
    }
}

impl SessionStore for Store {
    fn load(&self, _: &SessionKey) -> Option<Session> {
        held(&self.session).clone()
    }
    fn save(&self, _: &SessionKey, session: &Session) {
        held(&self.log).push(format!("save {}", session.token.expose_secret()));
        *held(&self.session) = Some(session.clone());
    }
    fn remove(&self, _: &SessionKey) {
        held(&self.log).push("remove".into());
        *held(&self.session) = None;
    }
    fn lock(&self, _: &SessionKey) -> Option<Box<dyn Send>> {
        held(&self.log).push("lock".into());
        if let Some(session) = held(&self.meanwhile).take() {
            *held(&self.session) = Some(session);
        }
        Some(Box::new(()))
    }
}

/// A person who answers by a script.
#[derive(Default)]
struct Typist {
    answers: Mutex<VecDeque<Result<&'static str, NoAnswer>>>,
    said: Mutex<Vec<String>>,
}

impl Typist {
    fn who_types(answers: impl IntoIterator<Item = &'static str>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().map(Ok).collect()), said: Mutex::default() }
    }

    fn who_fails(answer: NoAnswer) -> Self {
        Self { answers: Mutex::new([Err(answer)].into()), said: Mutex::default() }
    }

    fn said(&self) -> Vec<String> {
        held(&self.said).clone()
    }

    fn next(&self, prompt: &str) -> Result<&'static str, NoAnswer> {
        held(&self.said).push(prompt.to_owned());
        held(&self.answers).pop_front().unwrap_or(Err(NoAnswer::Nobody))
    }
}

impl Person for Typist {
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer> {
        self.next(prompt).map(str::to_owned)
    }
    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer> {
        self.next(prompt).map(SecretString::from)
    }
    fn tell(&self, line: &str) {
        held(&self.said).push(line.to_owned());
    }
}

struct Workload(&'static str);

impl JwtSource for Workload {
    fn jwt(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, IdentityError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(SecretString::from(self.0))))
    }
}

fn approle() -> AuthMethod {
    AuthMethod::Approle {
        mount: "approle".into(),
        role_id: "r-1".into(),
        secret_id_file: None,
        secret_id_wrapped: false,
    }
}

fn userpass() -> AuthMethod {
    AuthMethod::Userpass { mount: "userpass".into(), username: Some("alice".into()) }
}

fn settings(address: &Url, auth: AuthMethod) -> VaultSettings {
    VaultSettings {
        name: None,
        named_by: NamedBy::Settings,
        address: VaultAddress::Url(address.clone()),
        addresses: Vec::new(),
        namespace: None,
        tls: TlsSettings::default(),
        auth,
    }
}

fn parts(address: &Url, auth: AuthMethod, store: &Arc<Store>) -> Parts {
    Parts {
        settings: settings(address, auth),
        transport: Transport::default(),
        sessions: Arc::<Store>::clone(store),
        session_key: SessionKey("key".into()),
        workload: Some(Arc::new(Workload("eyJ.jwt.sig"))),
        found_token: None,
        clock: now,
        patience: Patience::Each(Duration::from_secs(10)),
        note: Arc::new(|_| {}),
    }
}

fn vault_of(parts: Parts) -> Vault {
    let mut vault = Vault::new(parts).unwrap();
    vault.exchange = vault.exchange.impatient();
    vault
}

fn vault(server: &Scripted, auth: AuthMethod, store: &Arc<Store>) -> Vault {
    vault_of(parts(&server.url, auth, store))
}

/// A session of an hour that began this long ago.
fn session(token: &str, ago: i64) -> Session {
    Session {
        token: SecretString::from(token),
        accessor: Some("acc".into()),
        method: "approle".into(),
        obtained_at: after(-ago),
        expires_at: Some(after(3_600 - ago)),
        renewable: true,
        subject: None,
        ours: true,
    }
}

/// What a log-in or a renewal answers.
fn granted(token: &str, seconds: u64) -> Step {
    reply(
        200,
        &format!(
            r#"{{"auth":{{"client_token":"{token}","accessor":"a.1","lease_duration":{seconds},"renewable":true,"metadata":{{"role_name":"ci"}},"token_type":"service"}}}}"#
        ),
    )
}

fn errors(status: u16, message: &str) -> Step {
    reply(status, &serde_json::json!({ "errors": [message] }).to_string())
}

const POLICY: &str = "1 error occurred:\n\t* permission denied\n\n";
const DEAD: &str = "permission denied";

/// What, why and hint of an error with its exit code, and the server's address replaced.
fn told(error: &VaultError, server: &Scripted) -> Vec<String> {
    [Some(error.to_string()), error.why(), error.hint(), Some(error.exit_code().to_string())]
        .into_iter()
        .flatten()
        .map(|line| line.replace(server.url.as_str().trim_end_matches('/'), "VAULT"))
        .collect()
}

/// `TOKEN METHOD target body` of each request.
fn asked(server: &Scripted) -> Vec<String> {
    let seen = server.seen();
    seen.iter()
        .map(|seen| format!("{} {}", seen.header("x-vault-token").unwrap_or("-"), seen.line()))
        .collect()
}
