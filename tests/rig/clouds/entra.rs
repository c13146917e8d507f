//! Microsoft Entra's token endpoint for workload identity federation. After "OAuth 2.0 client
//! credentials flow: access token request with a federated credential" and "Microsoft Entra
//! authentication and authorization error codes" of Microsoft's documentation.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Form, Mischief, Trusted, form, is_for, now};
use crate::rig::double::{Double, Reply, Seen};
use crate::rig::{Authority, Issuer, unique};

/// What a federated token must be for, in the public cloud.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// The service. It ends when dropped.
pub struct Entra {
    /// As `AZURE_AUTHORITY_HOST` names it.
    pub address: String,
    pub tenant_id: String,
    double: Double,
    state: Arc<State>,
}

struct State {
    tenant_id: String,
    signer: Issuer,
    mischief: Mischief,
    credentials: Mutex<Vec<Credential>>,
    /// So many requests still see the directory as it was before.
    lag: Mutex<u32>,
}

/// A federated identity credential of an application.
struct Credential {
    client_id: String,
    trusted: Trusted,
    subject: String,
}

impl Entra {
    pub fn new(authority: &Authority) -> Self {
        let tenant_id = format!("72f988bf-86f1-41af-91ab-{}", unique("tenant"));
        let state = Arc::new(State {
            tenant_id: tenant_id.clone(),
            signer: Issuer::new(),
            mischief: Mischief::default(),
            credentials: Mutex::default(),
            lag: Mutex::default(),
        });
        let answering = Arc::clone(&state);
        let double = Double::https(authority, &[], move |request| answering.answer(request));
        Self { address: format!("{}/", double.address), tenant_id, double, state }
    }

    /// Lets `subject` of `issuer`, whose tokens say `iss`, log in as an application.
    pub fn federate(&self, client_id: &str, issuer: &Issuer, iss: &str, subject: &str) {
        let trusted = Trusted { issuer: iss.to_owned(), key: issuer.public_key() };
        let credential = Credential { client_id: client_id.to_owned(), trusted, subject: subject.to_owned() };
        self.state.credentials.lock().unwrap().push(credential);
    }

    /// The next requests still see the directory as it was before the federated credential.
    pub fn lags(&self, requests: u32) {
        *self.state.lag.lock().unwrap() = requests;
    }

    /// The claims of a token that this double gave.
    pub fn verified(&self, token: &str) -> Option<Value> {
        self.state.signer.public_key().verified(token)
    }

    /// An error of the documented shape, for every request from now on.
    pub fn refuse(&self, code: u32, words: &str) {
        self.state.mischief.answer(Some(refusal(400, "invalid_request", code, words)));
    }

    /// Changes the JSON of every token that is given from now on.
    pub fn amend(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.state.mischief.amend(change);
    }

    /// Answers every request for a token so from now on; with none it behaves again.
    pub fn answer(&self, reply: Option<Reply>) {
        self.state.mischief.answer(reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.double.seen()
    }

    /// How often a token was asked for.
    pub fn asked(&self) -> usize {
        self.seen().iter().filter(|request| request.path.ends_with("/oauth2/v2.0/token")).count()
    }
}

impl State {
    fn answer(&self, request: &Seen) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let origin = format!("https://{}", request.header("Host").unwrap_or_default());
        if path == "/common/discovery/instance" {
            return Reply::json(
                200,
                &json!({
                    "tenant_discovery_endpoint":
                        format!("{origin}/{}/v2.0/.well-known/openid-configuration", self.tenant_id),
                    "api-version": "1.1",
                    "metadata": [],
                }),
            );
        }
        let Some((tenant, rest)) = path.trim_start_matches('/').split_once('/') else {
            return Reply::not_found();
        };
        match (request.method.as_str(), rest) {
            ("GET", "v2.0/.well-known/openid-configuration") => Reply::json(
                200,
                &json!({
                    "issuer": format!("{origin}/{tenant}/v2.0"),
                    "authorization_endpoint": format!("{origin}/{tenant}/oauth2/v2.0/authorize"),
                    "token_endpoint": format!("{origin}/{tenant}/oauth2/v2.0/token"),
                }),
            ),
            ("POST", "oauth2/v2.0/token") => {
                self.mischief.done_to(form(request).and_then(|form| self.token(&origin, tenant, &form)))
            }
            _ => Reply::not_found(),
        }
    }

    fn token(&self, origin: &str, tenant: &str, form: &Form) -> Result<Value, Reply> {
        if tenant != self.tenant_id {
            let words =
                format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
            return Err(refusal(400, "invalid_request", 90_002, &words));
        }
        form.must_be("grant_type", "client_credentials")?;
        form.must_be("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")?;
        let (client_id, assertion) = (form.want("client_id")?, form.want("client_assertion")?);
        let Some(resource) = form.want("scope")?.strip_suffix("/.default") else {
            let words = "The provided value for the input parameter 'scope' is not valid.";
            return Err(refusal(400, "invalid_scope", 1_002_012, words));
        };
        let credentials = self.credentials.lock().unwrap();
        let of_client: Vec<_> = credentials.iter().filter(|one| one.client_id == client_id).collect();
        if of_client.is_empty() {
            let words = format!("Application with identifier '{client_id}' was not found in the directory.");
            return Err(refusal(400, "unauthorized_client", 700_016, &words));
        }
        let unmatched = |code, what: &str| {
            let words =
                format!("No matching federated identity record found for presented assertion {what}.");
            refusal(401, "invalid_client", code, &words)
        };
        {
            let mut lag = self.lag.lock().unwrap();
            if *lag > 0 {
                *lag -= 1;
                return Err(unmatched(700_213, "subject"));
            }
        }
        let found = of_client.iter().find_map(|one| Some((one, one.trusted.key.verified(assertion)?)));
        let Some((credential, claims)) = found else {
            return Err(unmatched(700_211, "issuer"));
        };
        if claims["iss"] != credential.trusted.issuer.as_str() {
            return Err(unmatched(700_211, &format!("issuer '{}'", claims["iss"])));
        }
        if claims["exp"].as_i64().is_none_or(|end| end <= now()) {
            let words = "Client assertion is not within its valid time range.";
            return Err(refusal(401, "invalid_client", 700_024, words));
        }
        if !is_for(&claims, AUDIENCE) {
            return Err(unmatched(700_212, &format!("audience '{}'", claims["aud"])));
        }
        if !of_client.iter().any(|one| claims["sub"] == one.subject.as_str()) {
            return Err(unmatched(700_213, &format!("subject '{}'", claims["sub"])));
        }
        let lifetime = 3_599;
        let token = self.signer.sign(&json!({
            "iss": format!("{origin}/{tenant}/v2.0"), "aud": resource, "appid": client_id, "tid": tenant,
            "sub": client_id, "iat": now(), "nbf": now(), "exp": now() + lifetime, "uti": unique("uti"),
        }));
        Ok(json!({
            "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token,
        }))
    }
}

fn refusal(status: u16, error: &str, code: u32, words: &str) -> Reply {
    let moment = chrono::Utc::now().format("%Y-%m-%d %H:%M:%SZ");
    let description = format!(
        "AADSTS{code}: {words} Trace ID: 3939d04c-d7ba-42bf-9cb7-1e5854cdce00 Correlation ID: \
         a8125194-2dc8-4078-90ba-7b6592a7f231 Timestamp: {moment}"
    );
    Reply::json(
        status,
        &json!({
            "error": error,
            "error_description": description,
            "error_codes": [code],
            "timestamp": moment.to_string(),
            "trace_id": "3939d04c-d7ba-42bf-9cb7-1e5854cdce00",
            "correlation_id": "a8125194-2dc8-4078-90ba-7b6592a7f231",
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        }),
    )
}
