//! Google's security token service and the impersonation of service accounts. After "Security Token
//! Service API: token" and "IAM Service Account Credentials API: generateAccessToken" of Google's
//! documentation.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{
    ACCESS_TOKEN, Form, JWT, Mischief, TOKEN_EXCHANGE, Trusted, form, is_for, now, refusal, verified,
};
use crate::rig::double::{Double, Reply, Seen};
use crate::rig::{Authority, Issuer, unique};

/// Both services at one address. It ends when dropped.
pub struct Google {
    pub address: String,
    /// The full name of the provider in its workload identity pool, as `audience` asks for it.
    pub provider: String,
    double: Double,
    state: Arc<State>,
}

struct State {
    provider: String,
    mischief: Mischief,
    trusted: Mutex<Vec<Trusted>>,
    /// Federated tokens, which impersonate these accounts.
    given: Mutex<Vec<String>>,
    accounts: Mutex<Vec<String>>,
}

impl Google {
    pub fn new(authority: &Authority) -> Self {
        let provider = format!(
            "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/{}/providers/rig",
            unique("pool")
        );
        let state = Arc::new(State {
            provider: provider.clone(),
            mischief: Mischief::default(),
            trusted: Mutex::default(),
            given: Mutex::default(),
            accounts: Mutex::default(),
        });
        let answering = Arc::clone(&state);
        let double = Double::https(authority, &[], move |request| answering.answer(request));
        Self { address: double.address.clone(), provider, double, state }
    }

    /// Lets tokens of `issuer`, which say `iss`, into the pool.
    pub fn trust(&self, issuer: &Issuer, iss: &str) {
        let trusted = Trusted { issuer: iss.to_owned(), key: issuer.public_key() };
        self.state.trusted.lock().unwrap().push(trusted);
    }

    /// Lets the pool's members impersonate a service account.
    pub fn impersonate(&self, email: &str) {
        self.state.accounts.lock().unwrap().push(email.to_owned());
    }

    /// Changes the JSON of every token that the security token service gives from now on.
    pub fn amend(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.state.mischief.amend(change);
    }

    /// Answers every request for a federated token so from now on; with none it behaves again.
    pub fn answer(&self, reply: Option<Reply>) {
        self.state.mischief.answer(reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.double.seen()
    }
}

impl State {
    fn answer(&self, request: &Seen) -> Reply {
        if request.method != "POST" {
            return Reply::not_found();
        }
        if request.path == "/v1/token" {
            return self.mischief.done_to(form(request).and_then(|form| self.exchange(&form)));
        }
        let account = request
            .path
            .strip_prefix("/v1/projects/-/serviceAccounts/")
            .and_then(|rest| rest.strip_suffix(":generateAccessToken"));
        account.map_or_else(Reply::not_found, |account| self.impersonated(request, account))
    }

    fn exchange(&self, form: &Form) -> Result<Value, Reply> {
        form.must_be("grant_type", TOKEN_EXCHANGE)?;
        form.must_be("subject_token_type", JWT)?;
        form.must_be("requested_token_type", ACCESS_TOKEN)?;
        form.want("scope")?;
        let invalid = |why: &str| refusal(400, "invalid_grant", why);
        if form.want("audience")? != self.provider {
            return Err(refusal(
                400,
                "invalid_target",
                "The target service indicated by the \"audience\" \
                 parameters is invalid. This might either be because the pool or provider is disabled or deleted or \
                 because it doesn't exist.",
            ));
        }
        let claims = verified(form.want("subject_token")?, &self.trusted.lock().unwrap())
            .ok_or_else(|| invalid("The issuer in ID Token does not match the expected ones."))?;
        // A provider without a list of audiences takes its own full name, with or without `https:`.
        if !is_for(&claims, &self.provider) && !is_for(&claims, &format!("https:{}", self.provider)) {
            return Err(invalid("The audience in ID Token does not match the expected audience."));
        }
        let token = unique("ya29.d.federated-token-of-google");
        self.given.lock().unwrap().push(token.clone());
        let left = claims["exp"].as_i64().unwrap_or_default() - now();
        Ok(json!({
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": left.min(3_600),
        }))
    }

    fn impersonated(&self, request: &Seen, account: &str) -> Reply {
        let refused = |status: u16, state: &str, words: &str| {
            Reply::json(status, &json!({"error": {"code": status, "message": words, "status": state}}))
        };
        let bearer = request.header("Authorization").and_then(|header| header.strip_prefix("Bearer "));
        if !bearer.is_some_and(|bearer| self.given.lock().unwrap().iter().any(|given| given == bearer)) {
            return refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
        }
        let body = request.json();
        if body["scope"].as_array().is_none_or(Vec::is_empty) {
            return refused(400, "INVALID_ARGUMENT", "Scope required.");
        }
        let account = percent_decoded(account);
        if !self.accounts.lock().unwrap().contains(&account) {
            return refused(
                403,
                "PERMISSION_DENIED",
                "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
            );
        }
        let lifetime = body["lifetime"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
        let end = chrono::Utc::now() + chrono::TimeDelta::seconds(lifetime.unwrap_or(3_600));
        Reply::json(
            200,
            &json!({
                "accessToken": unique("ya29.c.token-of-a-service-account"),
                "expireTime": end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            }),
        )
    }
}

fn percent_decoded(text: &str) -> String {
    text.replace("%40", "@")
}
