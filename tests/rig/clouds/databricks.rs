//! A Databricks workspace or account: discovery, `/oidc/v1/token` and its grants, the browser's
//! authorization, and one API that wants a token. After "Authenticate access to Databricks with OAuth
//! token federation" and the requests of databricks-sdk-go `config/experimental/auth` and
//! `credentials/u2m`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Form, JWT, Mischief, TOKEN_EXCHANGE, Trusted, form, is_for, now, refusal, verified};
use crate::rig::double::{Double, Reply, Seen};
use crate::rig::{Authority, Issuer, PublicKey, unique};

/// A federation policy: of a service principal where it names one, else of the whole account.
#[derive(Clone)]
pub struct Policy {
    pub issuer: String,
    pub audiences: Vec<String>,
    /// The application id of a service principal.
    pub client_id: Option<String>,
    /// Only with a service principal.
    pub subject: Option<String>,
}

/// The service. It ends when dropped.
pub struct Databricks {
    /// Its host, as people configure it.
    pub address: String,
    pub account_id: String,
    double: Double,
    state: Arc<State>,
}

struct State {
    is_account: bool,
    account_id: String,
    signer: Issuer,
    mischief: Mischief,
    trusted: Mutex<Vec<Trusted>>,
    policies: Mutex<Vec<Policy>>,
    secrets: Mutex<BTreeMap<String, String>>,
    codes: Mutex<BTreeMap<String, Code>>,
    /// A refresh token and whether it was spent.
    refresh_tokens: Mutex<BTreeMap<String, bool>>,
    /// How long tokens live at most, in seconds.
    lifetime: Mutex<i64>,
    /// Where its metadata send people, if not to itself.
    authorizes_at: Mutex<Option<String>>,
    /// The issuer that its answers to browsers name (RFC 9207).
    answers_as: Mutex<Option<String>>,
}

struct Code {
    redirect_uri: String,
    challenge: String,
}

/// The client that Databricks registers for command-line programs.
const CLI: &str = "databricks-cli";

impl Databricks {
    pub fn workspace(authority: &Authority) -> Self {
        Self::start(authority, false)
    }

    /// An account's host, whose endpoints lie beneath `/oidc/accounts/ID`.
    pub fn account(authority: &Authority) -> Self {
        Self::start(authority, true)
    }

    fn start(authority: &Authority, is_account: bool) -> Self {
        let account_id = format!("0d26daa6-5e44-4c97-a497-{}", unique("account"));
        let state = Arc::new(State {
            is_account,
            account_id: account_id.clone(),
            signer: Issuer::new(),
            mischief: Mischief::default(),
            trusted: Mutex::default(),
            policies: Mutex::default(),
            secrets: Mutex::default(),
            codes: Mutex::default(),
            refresh_tokens: Mutex::default(),
            lifetime: Mutex::new(3_600),
            authorizes_at: Mutex::default(),
            answers_as: Mutex::default(),
        });
        let answering = Arc::clone(&state);
        let double = Double::https(authority, &[], move |request| answering.answer(request));
        Self { address: double.address.clone(), account_id, double, state }
    }

    /// Adds a policy that believes `issuer`.
    pub fn allow(&self, issuer: &Issuer, policy: Policy) {
        self.allow_key(issuer.public_key(), policy);
    }

    /// As [`Databricks::allow`], for an issuer that the rig does not hold the key of.
    pub fn allow_key(&self, key: PublicKey, policy: Policy) {
        let trusted = Trusted { issuer: policy.issuer.clone(), key };
        self.state.trusted.lock().unwrap().push(trusted);
        self.state.policies.lock().unwrap().push(policy);
    }

    /// Gives a service principal a secret.
    pub fn secret(&self, client_id: &str, secret: &str) {
        self.state.secrets.lock().unwrap().insert(client_id.to_owned(), secret.to_owned());
    }

    /// Tokens live no longer than this from now on.
    pub fn lifetime(&self, seconds: i64) {
        *self.state.lifetime.lock().unwrap() = seconds;
    }

    /// Its metadata send people to this place from now on.
    pub fn authorizes_at(&self, address: &str) {
        *self.state.authorizes_at.lock().unwrap() = Some(address.to_owned());
    }

    /// Its answers to browsers name this issuer from now on.
    pub fn answers_as(&self, issuer: &str) {
        *self.state.answers_as.lock().unwrap() = Some(issuer.to_owned());
    }

    /// Changes the JSON of every token that is given from now on.
    pub fn amend(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.state.mischief.amend(change);
    }

    /// Answers every request for a token so from now on; with none it behaves again.
    pub fn answer(&self, reply: Option<Reply>) {
        self.state.mischief.answer(reply);
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.double.seen()
    }

    /// What the token endpoint was asked, by grant.
    pub fn grants(&self) -> Vec<String> {
        let asked = self.seen().into_iter().filter(|request| request.path.ends_with("/v1/token"));
        asked.filter_map(|request| request.field("grant_type")).collect()
    }
}

impl State {
    fn answer(&self, request: &Seen) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let origin = format!("https://{}", request.header("Host").unwrap_or_default());
        let oidc =
            if self.is_account { format!("/oidc/accounts/{}", self.account_id) } else { "/oidc".to_owned() };
        let beneath = path.strip_prefix(&oidc);
        match (request.method.as_str(), path, beneath) {
            ("GET", "/.well-known/databricks-config", _) => self.configuration(&origin),
            ("GET", _, Some("/.well-known/oauth-authorization-server")) => {
                let elsewhere = self.authorizes_at.lock().unwrap().clone();
                metadata(&format!("{origin}{oidc}"), elsewhere)
            }
            ("GET", _, Some("/v1/authorize")) => self.authorize(query),
            ("POST", _, Some("/v1/token")) => self.mischief.done_to(
                form(request).and_then(|form| self.token(&format!("{origin}{oidc}"), request, &form)),
            ),
            ("GET", "/api/2.0/preview/scim/v2/Me", _) => self.me(request),
            _ => Reply::not_found(),
        }
    }

    fn configuration(&self, origin: &str) -> Reply {
        Reply::json(
            200,
            &if self.is_account {
                json!({
                    "oidc_endpoint": format!("{origin}/oidc/accounts/{{account_id}}"),
                    "host_type": "ACCOUNT_HOST",
                    "cloud": "aws",
                })
            } else {
                json!({
                    "oidc_endpoint": format!("{origin}/oidc"),
                    "account_id": self.account_id,
                    "workspace_id": "4711",
                    "host_type": "WORKSPACE_HOST",
                    "cloud": "aws",
                    "token_federation_default_oidc_audiences": [self.account_id],
                })
            },
        )
    }

    fn token(&self, oidc: &str, request: &Seen, form: &Form) -> Result<Value, Reply> {
        match form.want("grant_type")? {
            TOKEN_EXCHANGE => self.exchange(oidc, form),
            "client_credentials" => self.machine(oidc, request, form),
            "authorization_code" => self.code(oidc, form),
            "refresh_token" => self.refresh(oidc, form),
            _ => Err(refusal(400, "unsupported_grant_type", "this grant is not supported")),
        }
    }

    /// `client_id` present: the policies of that service principal. Absent: those of the account.
    fn exchange(&self, oidc: &str, form: &Form) -> Result<Value, Reply> {
        form.must_be("subject_token_type", JWT)?;
        let subject_token = form.want("subject_token")?;
        let scope = form.want("scope")?;
        let invalid = |why: &str| refusal(400, "invalid_grant", why);
        let claims = verified(subject_token, &self.trusted.lock().unwrap())
            .ok_or_else(|| invalid("the subject token could not be verified"))?;
        let client_id = form.get("client_id");
        let policies = self.policies.lock().unwrap();
        let fits = |policy: &&Policy| {
            policy.client_id.as_deref() == client_id
                && claims["iss"] == policy.issuer.as_str()
                && policy.subject.as_ref().is_none_or(|subject| claims["sub"] == subject.as_str())
                && if policy.audiences.is_empty() {
                    is_for(&claims, &self.account_id)
                } else {
                    policy.audiences.iter().any(|audience| is_for(&claims, audience))
                }
        };
        policies.iter().find(fits).ok_or_else(|| invalid("no federation policy fits the subject token"))?;
        let subject = client_id.map_or_else(|| claims["sub"].clone(), Value::from);
        let left = claims["exp"].as_i64().unwrap_or_default() - now();
        Ok(self.issue(oidc, &subject, scope, left))
    }

    fn machine(&self, oidc: &str, request: &Seen, form: &Form) -> Result<Value, Reply> {
        let scope = form.want("scope")?;
        let given = request.header("Authorization").and_then(|header| header.strip_prefix("Basic "));
        let given = given.and_then(|given| String::from_utf8(STANDARD.decode(given).ok()?).ok());
        let secrets = self.secrets.lock().unwrap();
        let known = given.as_deref().and_then(|given| given.split_once(':'));
        // RFC 6749, section 2.3.1: each part is form-encoded.
        let decoded = |text: &str| {
            let text = format!("={text}");
            url::form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned())
        };
        let known = known.and_then(|(id, secret)| Some((decoded(id)?, decoded(secret)?)));
        match known.filter(|(id, secret)| secrets.get(id) == Some(secret)) {
            Some((id, _)) => Ok(self.issue(oidc, &json!(id), scope, i64::MAX)),
            None => Err(refusal(401, "invalid_client", "Client authentication failed")),
        }
    }

    /// The person is logged in and agrees at once.
    fn authorize(&self, query: &str) -> Reply {
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let redirect = url::Url::parse(get("redirect_uri")).ok();
        let is_registered = |url: &url::Url| {
            url.host_str() == Some("localhost")
                && url.port().is_some_and(|port| (8_020..=8_040).contains(&port))
                && matches!(url.path(), "" | "/")
        };
        let Some(mut redirect) = redirect.filter(is_registered).filter(|_| get("client_id") == CLI) else {
            return refusal(400, "invalid_request", "the client or its redirect_uri is not registered");
        };
        let asks_rightly = get("response_type") == "code"
            && get("code_challenge_method") == "S256"
            && get("code_challenge").len() == 43
            && get("scope").split(' ').any(|scope| scope == "all-apis");
        if !asks_rightly || get("state").is_empty() {
            return refusal(400, "invalid_request", "a code with PKCE is expected");
        }
        let code = unique("code-of-a-databricks-log-in");
        let kept = Code {
            redirect_uri: get("redirect_uri").to_owned(),
            challenge: get("code_challenge").to_owned(),
        };
        self.codes.lock().unwrap().insert(code.clone(), kept);
        redirect.query_pairs_mut().append_pair("code", &code).append_pair("state", get("state"));
        if let Some(issuer) = &*self.answers_as.lock().unwrap() {
            redirect.query_pairs_mut().append_pair("iss", issuer);
        }
        Reply::text(302, "text/plain", "").with_header("Location", redirect.as_str())
    }

    fn code(&self, oidc: &str, form: &Form) -> Result<Value, Reply> {
        form.must_be("client_id", CLI)?;
        let kept = self.codes.lock().unwrap().remove(form.want("code")?);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form.want("code_verifier")?.as_bytes()));
        let redirect = form.want("redirect_uri")?;
        match kept.filter(|kept| kept.challenge == challenge && kept.redirect_uri == redirect) {
            Some(_) => Ok(self.issue_to_person(oidc)),
            None => Err(refusal(400, "invalid_grant", "The code is invalid")),
        }
    }

    /// Single use: one that comes back ends the whole family.
    fn refresh(&self, oidc: &str, form: &Form) -> Result<Value, Reply> {
        form.must_be("client_id", CLI)?;
        let token = form.want("refresh_token")?;
        let mut known = self.refresh_tokens.lock().unwrap();
        match known.get_mut(token) {
            Some(spent) if !*spent => *spent = true,
            Some(_) => {
                known.clear();
                return Err(refusal(400, "invalid_grant", "Refresh token is invalid"));
            }
            None => return Err(refusal(400, "invalid_grant", "Refresh token is invalid")),
        }
        drop(known);
        Ok(self.issue_to_person(oidc))
    }

    fn issue_to_person(&self, oidc: &str) -> Value {
        let refresh_token = unique("refresh-token-of-a-person-at-databricks");
        self.refresh_tokens.lock().unwrap().insert(refresh_token.clone(), false);
        let mut answer = self.issue(oidc, &json!("ada@example.com"), "all-apis offline_access", i64::MAX);
        answer["refresh_token"] = json!(refresh_token);
        answer
    }

    /// A token lives an hour, or as long as what it was derived from.
    fn issue(&self, oidc: &str, subject: &Value, scope: &str, longest: i64) -> Value {
        let lifetime = longest.min(*self.lifetime.lock().unwrap());
        let claims = json!({
            "iss": oidc, "aud": self.account_id, "sub": subject, "scope": scope,
            "iat": now(), "exp": now() + lifetime, "jti": unique("jti"),
        });
        json!({
            "access_token": self.signer.sign(&claims),
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": scope,
        })
    }

    fn me(&self, request: &Seen) -> Reply {
        let bearer = request.header("Authorization").and_then(|header| header.strip_prefix("Bearer "));
        let claims = bearer.and_then(|token| self.signer.public_key().verified(token));
        match claims.filter(|claims| claims["exp"].as_i64().is_some_and(|end| end > now())) {
            Some(claims) => Reply::json(
                200,
                &json!({
                    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                    "id": "1", "userName": claims["sub"], "active": true,
                }),
            ),
            None => Reply::json(401, &json!({"error_code": 401, "message": "Invalid access token."})),
        }
    }
}

/// RFC 8414.
fn metadata(oidc: &str, elsewhere: Option<String>) -> Reply {
    Reply::json(
        200,
        &json!({
            "issuer": oidc,
            "authorization_endpoint": elsewhere.unwrap_or_else(|| format!("{oidc}/v1/authorize")),
            "token_endpoint": format!("{oidc}/v1/token"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        }),
    )
}
