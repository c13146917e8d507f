//! Doubles of the clouds that no machine of ours can run: Databricks, Microsoft Entra, Google. They
//! answer as their vendors document it, verify what they are sent as the real ones would, and count
//! their requests; tests point the vendors' own clients at them too, so that somebody else believes them.

mod databricks;
mod entra;
mod google;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub use databricks::{Databricks, Policy};
pub use entra::Entra;
pub use google::Google;

use super::PublicKey;
use super::double::{Reply, Seen};

/// RFC 8693, section 2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693, section 3.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// RFC 8693, section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

type Amendment = Box<dyn Fn(&mut Value) + Send>;

/// What a test makes a double do instead of the right thing.
#[derive(Clone, Default)]
struct Mischief(Arc<Mutex<Planned>>);

#[derive(Default)]
struct Planned {
    amendment: Option<Amendment>,
    instead: Option<Reply>,
}

impl Mischief {
    /// Changes the JSON of every token that is given from now on.
    fn amend(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.0.lock().unwrap().amendment = Some(Box::new(change));
    }

    /// Answers every request for a token so from now on; with none it behaves again.
    fn answer(&self, reply: Option<Reply>) {
        self.0.lock().unwrap().instead = reply;
    }

    /// The answer to a request for a token.
    fn done_to(&self, outcome: Result<Value, Reply>) -> Reply {
        let planned = self.0.lock().unwrap();
        if let Some(reply) = &planned.instead {
            return reply.clone();
        }
        match outcome {
            Err(reply) => reply,
            Ok(mut answer) => {
                if let Some(change) = &planned.amendment {
                    change(&mut answer);
                }
                Reply::json(200, &answer).with_header("Cache-Control", "no-store")
            }
        }
    }
}

/// An issuer whose subject tokens count, by its `iss`.
#[derive(Clone)]
struct Trusted {
    issuer: String,
    key: PublicKey,
}

/// The claims of a subject token that one of these issuers signed and that has not ended.
fn verified(token: &str, issuers: &[Trusted]) -> Option<Value> {
    let claims = issuers.iter().find_map(|trusted| {
        trusted.key.verified(token).filter(|claims| claims["iss"] == trusted.issuer.as_str())
    })?;
    (claims["exp"].as_i64()? > now()).then_some(claims)
}

/// Whether `aud`, one or many, names this audience.
fn is_for(claims: &Value, audience: &str) -> bool {
    match &claims["aud"] {
        Value::Array(audiences) => audiences.iter().any(|found| found == audience),
        found => found == audience,
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// An error of RFC 6749, section 5.2.
fn refusal(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": description}))
}

/// The fields of a request that must be a form; more than one of a name is refused (RFC 6749, 3.2).
fn form(request: &Seen) -> Result<Form, Reply> {
    let media_type = request.header("Content-Type").unwrap_or_default();
    if !media_type.starts_with("application/x-www-form-urlencoded") {
        return Err(refusal(400, "invalid_request", "the body must be a form"));
    }
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let twice = |name: &str| pairs.iter().filter(|(other, _)| other == name).count() > 1;
    match pairs.iter().find(|(name, _)| twice(name) && name != "audience" && name != "resource") {
        Some((name, _)) => Err(refusal(400, "invalid_request", &format!("duplicate parameter: {name}"))),
        None => Ok(Form(pairs)),
    }
}

struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn want(&self, name: &str) -> Result<&str, Reply> {
        let filled = self.get(name).filter(|value| !value.is_empty());
        filled.ok_or_else(|| refusal(400, "invalid_request", &format!("missing parameter: {name}")))
    }

    fn must_be(&self, name: &str, expected: &str) -> Result<(), Reply> {
        if self.want(name)? == expected {
            return Ok(());
        }
        Err(refusal(400, "invalid_request", &format!("{name} must be {expected}")))
    }
}
