//! A Vault that answers from a script, for the tests of the sources.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ask::{Ask, Reply};
use crate::error::{Calling, Error};
use crate::token::Timestamp;
use crate::vault::session::Session;
use crate::vault::{Call, Operation, VaultError};

pub(crate) const VAULT: &str = "https://vault.example:8200";

/// 2030-01-01T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    at(0)
}

/// So many seconds after [`now`].
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_893_456_000 + seconds, 0).unwrap()
}

/// A JWT with these claims, signed by nobody.
pub(crate) fn jwt(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmVk", part(&json!({ "alg": algorithm })), part(claims))
}

/// The exit code and the lines that a person sees.
pub(crate) fn told(error: &Error) -> String {
    let calling =
        Calling { program: "kubectl vaulttoken".into(), profile: Some("prod".into()), ..Calling::default() };
    format!("exit {}\n{}", error.exit_code(), error.report(&calling))
}

pub(crate) struct Script {
    answers: Mutex<BTreeMap<String, VecDeque<Scripted>>>,
    calls: Mutex<Vec<String>>,
    pub(crate) session: Session,
    /// The session that calls are made with after a log-in anew, and the call that finds the old
    /// one dead.
    pub(crate) replaced: Option<(&'static str, Session)>,
}

enum Scripted {
    Body(u16, Value),
    Denied,
    Failed(fn() -> VaultError),
}

impl Script {
    /// A Vault that knows a session without end.
    pub(crate) fn new() -> Self {
        Self {
            answers: Mutex::default(),
            calls: Mutex::default(),
            session: Session {
                token: SecretString::from("s.script"),
                accessor: None,
                method: "token".into(),
                obtained_at: now(),
                expires_at: None,
                renewable: true,
                subject: None,
                ours: true,
            },
            replaced: None,
        }
    }

    /// A session that ends.
    pub(crate) fn session_until(mut self, end: Timestamp) -> Self {
        self.session.expires_at = Some(end);
        self
    }

    fn add(self, call: &str, scripted: Scripted) -> Self {
        self.answers.lock().unwrap().entry(call.to_owned()).or_default().push_back(scripted);
        self
    }

    /// The next such call (`GET path`, `POST path`) is answered so.
    pub(crate) fn on(self, call: &str, status: u16, body: Value) -> Self {
        self.add(call, Scripted::Body(status, body))
    }

    /// The next such call is refused with these `errors`.
    pub(crate) fn refuse(self, call: &str, status: u16, error: &str) -> Self {
        self.on(call, status, json!({ "errors": [error] }))
    }

    /// The next such call is not allowed by any policy.
    pub(crate) fn deny(self, call: &str) -> Self {
        self.add(call, Scripted::Denied)
    }

    /// The next such call fails.
    pub(crate) fn fail(self, call: &str, error: fn() -> VaultError) -> Self {
        self.add(call, Scripted::Failed(error))
    }

    /// The calls that were made, with their bodies; all of the script must have been played.
    pub(crate) fn played(&self) -> Vec<String> {
        let left: Vec<_> = self.answers.lock().unwrap().keys().cloned().collect();
        assert!(left.is_empty(), "never called: {left:?}");
        self.calls.lock().unwrap().clone()
    }

    fn next(&self, call: &Call<'_>) -> Scripted {
        let method = match call.operation {
            Operation::Read => "GET",
            Operation::Write => "POST",
            Operation::List | Operation::Delete => panic!("no source lists or deletes"),
        };
        let name = format!("{method} {}", call.path);
        let body = call.body.as_ref().map(|body| format!(" {body}")).unwrap_or_default();
        self.calls.lock().unwrap().push(format!("{name}{body}"));
        let mut answers = self.answers.lock().unwrap();
        let queue = answers.get_mut(&name).unwrap_or_else(|| panic!("not in the script: {name}"));
        let scripted = queue.pop_front().unwrap();
        if queue.is_empty() {
            answers.remove(&name);
        }
        scripted
    }
}

impl Ask for Script {
    fn origin(&self) -> &str {
        VAULT
    }

    async fn ask<T: DeserializeOwned + Send>(&self, call: Call<'_>) -> Result<Reply<T>, VaultError> {
        let (vault, path) = (VAULT.to_owned(), call.path.to_owned());
        let session = match &self.replaced {
            Some((by, session)) if *by == path => session.clone(),
            _ => self.session.clone(),
        };
        let (status, body) = match self.next(&call) {
            Scripted::Body(status, body) => (status, body),
            Scripted::Denied => {
                let messages = vec!["permission denied".to_owned()];
                return Err(VaultError::Denied { vault, path, operation: call.operation, messages });
            }
            Scripted::Failed(error) => return Err(error()),
        };
        let texts = |name: &str| match body.get(name) {
            Some(Value::Array(texts)) => texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
            _ => Vec::new(),
        };
        let messages = texts("errors");
        if !matches!(status, 200 | 204 | 404) {
            return Err(VaultError::Rejected { vault, path, status, messages });
        }
        let data = body.get("data").cloned().map(serde_json::from_value::<T>);
        let data = match data {
            Some(Err(_)) if status == 200 => {
                return Err(VaultError::Unusable { vault, path, why: "its shape".into() });
            }
            Some(data) => data.ok(),
            None => None,
        };
        Ok(Reply {
            status,
            data,
            lease_id: body.get("lease_id").and_then(Value::as_str).map(str::to_owned),
            lease_duration: body.get("lease_duration").and_then(Value::as_u64).unwrap_or_default(),
            warnings: texts("warnings"),
            request_id: body.get("request_id").and_then(Value::as_str).map(str::to_owned),
            messages,
            session,
        })
    }
}
