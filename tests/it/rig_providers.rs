//! The OpenID providers of the rig, proven by its browser and its API server: a person logs in on the
//! provider's own page, and the ID token that comes of it is accepted by the cluster. Nothing here
//! tests the product.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::time::Duration;

use crate::rig::{
    Answer, Browser, Cluster, Double, Keycloak, OpenIdProvider, Reply, VaultProvider, claims, poll, unique,
};

const LIMIT: Duration = Duration::from_secs(60);
const VERIFIER: &str = "a-verifier-that-has-the-forty-three-characters-of-rfc-7636";

/// The address that a client of `issuer` would open, and that comes back to `callback`.
fn authorization(endpoint: &str, client: &str, callback: &Double, scope: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let mut address = url::Url::parse(endpoint).unwrap();
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client)
        .append_pair("redirect_uri", &format!("{}/callback", callback.address))
        .append_pair("scope", scope)
        .append_pair("state", "a state")
        .append_pair("nonce", "a nonce")
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    address.into()
}

fn callback() -> Double {
    Double::http(|_| Reply::text(200, "text/html", "<p>logged in</p>"))
}

/// The code that a browser brought to the callback.
fn code(callback: &Double) -> String {
    poll("a callback", LIMIT, || {
        let seen = callback.seen();
        let path = &seen.iter().find(|seen| seen.path.starts_with("/callback"))?.path;
        let query = path.split_once('?').expect("has a query").1;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let code = pairs.find(|(name, _)| name == "code");
        Some(code.unwrap_or_else(|| panic!("no code: {query}")).1.into_owned())
    })
}

/// The form that makes tokens of a code.
fn redeem<'a>(client: &'a str, code: &'a str, redirect: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", redirect),
        ("code_verifier", VERIFIER),
    ]
}

fn text<'a>(answer: &'a Answer, field: &str) -> &'a str {
    answer.json[field].as_str().unwrap_or_else(|| panic!("no {field}: {} {}", answer.status, answer.text))
}

/// The person is known to the cluster by that name, and to nobody else.
fn is_known_as(id_token: &str, user: &str) {
    let cluster = Cluster::shared();
    let answer = cluster.request("GET", "/api/v1/namespaces/kube-system/secrets", Some(id_token));
    assert_eq!(answer.status, 403, "{} {}", answer.text, claims(id_token));
    assert!(answer.text.contains(user), "{}", answer.text);
    assert_eq!(Cluster::other().request("GET", "/api", Some(id_token)).status, 401);
}

#[test]
fn a_browser_logs_in_at_the_small_provider() {
    let provider = OpenIdProvider::shared();
    provider.trusted_by(Cluster::shared());
    let (browser, callback) = (Browser::start(), callback());
    let endpoint = format!("{}auth", provider.issuer);
    let scope = "openid profile email groups offline_access";
    browser.open(&authorization(&endpoint, "kubernetes", &callback, scope));
    browser.fill("#username", "alice");
    browser.fill("#password", "a wrong one");
    browser.click("button");
    browser.wait_for_text("password wrong");
    OpenIdProvider::sign_in(&browser, "alice");
    browser.wait_for_text("logged in");

    let (code, redirect) = (code(&callback), format!("{}/callback", callback.address));
    let tokens = provider.post("token_endpoint", &redeem("kubernetes", &code, &redirect));
    is_known_as(text(&tokens, "id_token"), "openid:alice");
    assert_eq!(claims(text(&tokens, "id_token"))["groups"], json!(["developers"]));

    // A refresh token is good for one use.
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "kubernetes"),
        ("refresh_token", text(&tokens, "refresh_token")),
    ];
    let refreshed = provider.post("token_endpoint", &refresh);
    assert_ne!(text(&refreshed, "refresh_token"), text(&tokens, "refresh_token"));
    assert_eq!(provider.post("token_endpoint", &refresh).json["error"], "invalid_grant");
    let asked = provider.token_requests("kubernetes");
    assert!(asked.contains(&json!({"grant": "refresh_token", "client": "kubernetes", "status": 400})));
}

#[test]
fn a_device_code_is_confirmed_in_the_browser_at_the_small_provider() {
    let provider = OpenIdProvider::shared();
    let browser = Browser::start();
    let device = provider.post(
        "device_authorization_endpoint",
        &[("client_id", "kubernetes"), ("scope", "openid profile groups offline_access")],
    );
    browser.open(text(&device, "verification_uri_complete"));
    OpenIdProvider::confirm_device(&browser, "alice");

    let tokens = provider.post(
        "token_endpoint",
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "kubernetes"),
            ("device_code", text(&device, "device_code")),
        ],
    );
    assert_eq!(claims(text(&tokens, "id_token"))["preferred_username"], "alice");
    let refreshed = provider.post(
        "token_endpoint",
        &[
            ("grant_type", "refresh_token"),
            ("client_id", "kubernetes"),
            ("refresh_token", text(&tokens, "refresh_token")),
        ],
    );
    assert_eq!(claims(text(&refreshed, "id_token"))["preferred_username"], "alice");
}

#[test]
fn a_browser_logs_in_at_keycloak() {
    let keycloak = Keycloak::shared();
    keycloak.trusted_by(Cluster::shared());
    let person = unique("person");
    keycloak.person(&person, &["developers"]);
    let (browser, callback) = (Browser::start(), callback());
    let endpoint = format!("{}/protocol/openid-connect/auth", keycloak.issuer());
    browser.open(&authorization(&endpoint, "kubernetes", &callback, "openid offline_access"));
    Keycloak::sign_in(&browser, &person);
    browser.wait_for_text("logged in");

    let (code, redirect) = (code(&callback), format!("{}/callback", callback.address));
    let tokens = keycloak.post("token_endpoint", &redeem("kubernetes", &code, &redirect));
    is_known_as(text(&tokens, "id_token"), &format!("keycloak:{person}"));
    assert_eq!(claims(text(&tokens, "id_token"))["groups"], json!(["developers"]));
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "kubernetes"),
        ("refresh_token", text(&tokens, "refresh_token")),
    ];
    let refreshed = keycloak.post("token_endpoint", &refresh);
    assert_ne!(text(&refreshed, "refresh_token"), text(&tokens, "refresh_token"));
    assert_eq!(keycloak.post("token_endpoint", &refresh).json["error"], "invalid_grant");
    let events = keycloak.events(&person);
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    // The refusal is logged too, but Keycloak does not say for whom.
    assert_eq!(kinds, ["LOGIN", "CODE_TO_TOKEN", "REFRESH_TOKEN"]);
}

#[test]
fn a_device_code_is_confirmed_in_the_browser_at_keycloak() {
    let keycloak = Keycloak::shared();
    let browser = Browser::start();
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let device = keycloak.post(
        "device_authorization_endpoint",
        &[
            ("client_id", "kubernetes"),
            ("scope", "openid"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ],
    );
    browser.open(text(&device, "verification_uri_complete"));
    Keycloak::confirm_device(&browser, "alice");
    let tokens = keycloak.post(
        "token_endpoint",
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "kubernetes"),
            ("device_code", text(&device, "device_code")),
            ("code_verifier", VERIFIER),
        ],
    );
    assert_eq!(claims(text(&tokens, "id_token"))["preferred_username"], "alice");
}

#[test]
fn keycloak_exchanges_a_jobs_token() {
    let keycloak = Keycloak::shared();
    let subject = keycloak.post(
        "token_endpoint",
        &[("grant_type", "client_credentials"), ("client_id", "ci"), ("client_secret", Keycloak::SECRET)],
    );
    let exchanged = keycloak.post(
        "token_endpoint",
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "jobs"),
            ("client_secret", Keycloak::SECRET),
            ("subject_token", text(&subject, "access_token")),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", "kubernetes"),
        ],
    );
    let claims = claims(text(&exchanged, "access_token"));
    assert_eq!(claims["aud"], "kubernetes");
    assert_eq!(claims["preferred_username"], "service-account-ci");
}

#[test]
fn a_browser_logs_in_at_a_vault_that_is_a_provider() {
    let provider = VaultProvider::shared();
    provider.trusted_by(Cluster::shared());
    let (browser, callback) = (Browser::start(), callback());
    let endpoint = format!("{}/ui/vault/identity/oidc/provider/people/authorize", provider.vault.address);
    browser.open(&authorization(&endpoint, &provider.client, &callback, "openid profile groups"));
    VaultProvider::sign_in(&browser, "alice");
    browser.wait_for_text("logged in");

    let (code, redirect) = (code(&callback), format!("{}/callback", callback.address));
    let form = redeem(&provider.client, &code, &redirect);
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let url = format!("{}/token", provider.issuer);
    let tokens = provider.vault.authority.send("POST", &url, &headers, form.into_bytes()).unwrap();
    is_known_as(text(&tokens, "id_token"), "vault-person:alice");
    assert_eq!(claims(text(&tokens, "id_token"))["groups"], json!(["developers"]));
}
