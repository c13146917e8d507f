use std::sync::Mutex;

use serde_json::json;
use snapbox::{assert_data_eq, file};

use super::*;
use crate::config::{NamedBy, Settings, SourceSettings, TlsSettings, Transport};
use crate::http::scripted::{Scripted, Step, reply, reply_with};
use crate::identity::IdentityError;
use crate::source::script::{jwt, now};

/// A subject that is there, whatever it is.
struct Subject(String);

impl JwtSource for Subject {
    fn jwt(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, IdentityError>> + Send + '_>> {
        Box::pin(async { Ok(SecretString::from(self.0.as_str())) })
    }
}

/// What was waited for.
static WAITED: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

fn at_once(duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    WAITED.lock().unwrap().push(duration);
    Box::pin(std::future::ready(()))
}

fn settings(fields: &str) -> config::TokenExchange {
    let text = format!(
        "apiVersion: vaulttoken.dev/v1alpha1\nkind: Config\nidentities: {{pod: {{file: {{path: /t}}}}}}\n\
         profiles: {{p: {{source: {{tokenExchange: {{{fields}}}}}}}}}\n"
    );
    let settings = Settings::of_texts("", &text, NamedBy::Settings).unwrap();
    match settings.profiles.into_values().next().unwrap().source {
        SourceSettings::TokenExchange(exchange) => *exchange,
        other => panic!("{other:?}"),
    }
}

fn of(settings: config::TokenExchange, subject: &str) -> Exchange {
    Exchange::new(Parts {
        settings,
        http: Client::new(&TlsSettings::default(), &Transport::default(), None).unwrap().impatient(),
        subject: Some(Arc::new(Subject(subject.to_owned()))),
        deadline: Instant::now() + Duration::from_secs(60),
        clock: now,
        pause: at_once,
    })
}

/// A token that ends in so many seconds.
fn subject(seconds: i64) -> String {
    jwt("RS256", &json!({"sub": "s", "exp": now().timestamp() + seconds}))
}

async fn told(fields: &str, steps: impl IntoIterator<Item = Step>) -> (String, Vec<String>) {
    told_of(fields, &subject(600), steps).await
}

async fn told_of(
    fields: &str,
    subject: &str,
    steps: impl IntoIterator<Item = Step>,
) -> (String, Vec<String>) {
    let server = Scripted::new(steps);
    let url = server.url.as_str().trim_end_matches('/');
    let exchange = of(settings(&fields.replace("SERVER", url)), subject);
    let outcome = match exchange.mint().await {
        Ok(fetched) => format!(
            "{} until {} by {:?}",
            fetched.token.secret.expose_secret(),
            (fetched.token.usable_until - now()).num_seconds(),
            fetched.token.limited_by
        ),
        Err(error) => {
            let failure = error.to_failure();
            let lines = [Some(failure.what), failure.why, failure.hint];
            let lines = lines.into_iter().flatten().collect::<Vec<_>>().join(" | ");
            format!("{} {lines}", failure.exit_code)
        }
    };
    let lines = server.lines().iter().map(|line| line.replace(subject, "SUBJECT")).collect();
    (outcome.replace(url, "SERVER"), lines)
}

const GENERIC: &str = "tokenEndpoint: 'SERVER/token', identity: pod";

#[tokio::test]
async fn the_ends_of_an_answer_are_all_heard() {
    let jwt_of = |seconds: i64| subject(seconds);
    let mut all = Vec::new();
    for body in [
        r#"{"access_token":"opaque","token_type":"Bearer","expires_in":900}"#.to_owned(),
        r#"{"access_token":"opaque","token_type":"bearer","expires_in":"900"}"#.to_owned(),
        r#"{"access_token":"opaque"}"#.to_owned(),
        format!(r#"{{"access_token":"{}","expires_in":900}}"#, jwt_of(400)),
        format!(r#"{{"access_token":"{}","expires_in":300}}"#, jwt_of(400)),
        format!(r#"{{"access_token":"{}"}}"#, jwt_of(400)),
        r#"{"access_token":"opaque","expires_in":0}"#.to_owned(),
        format!(r#"{{"access_token":"{}"}}"#, jwt_of(-5)),
        r#"{"access_token":"opaque","token_type":"N_A"}"#.to_owned(),
        r#"{"access_token":"opaque","token_type":"DPoP"}"#.to_owned(),
        r#"{"id_token":"opaque","issued_token_type":"x"}"#.to_owned(),
        r#"{"token":"opaque"}"#.to_owned(),
        r#"{"access_token":"two words"}"#.to_owned(),
        r#"{"access_token":["list"]}"#.to_owned(),
        r#"{"access_token":"opaque","expires_in":-1}"#.to_owned(),
        "<html>".to_owned(),
    ] {
        let shown = body.replace(&jwt_of(400), "JWT").replace(&jwt_of(-5), "DEAD");
        let (outcome, _) = told(GENERIC, [reply(200, &body)]).await;
        let outcome = outcome.replace(&jwt_of(400), "JWT");
        all.push(format!("{shown}\n    {outcome}"));
    }
    assert_data_eq!(all.join("\n") + "\n", file!["tests/answers.txt"].raw());
}

#[tokio::test]
async fn what_is_no_access_token_may_say_so() {
    let id_token = "requestedTokenType: 'urn:ietf:params:oauth:token-type:id_token'";
    let body = r#"{"access_token":"opaque","token_type":"N_A","expires_in":60}"#;
    let (outcome, _) = told(&format!("{GENERIC}, {id_token}"), [reply(200, body)]).await;
    assert_eq!(outcome, "opaque until 60 by ExpiresIn");
    let body = format!(r#"{{"access_token":"other","id_token":"{}","expires_in":60}}"#, subject(400));
    let (outcome, _) = told(&format!("{GENERIC}, result: idToken"), [reply(200, &body)]).await;
    assert!(outcome.ends_with("until 400 by Expiry"), "{outcome}");
}

#[tokio::test]
async fn each_preset_sends_what_its_issuer_documents() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let client = format!("clientId: c, clientSecretFile: '{}'", secret.display());
    let done = || reply(200, r#"{"access_token":"opaque","expires_in":900}"#);
    let server = |body: &str| reply(200, body);
    let mut all = Vec::new();
    for (fields, steps) in [
        (
            format!("{GENERIC}, audiences: [a, b], scopes: [x, y], parameters: {{resource: 'https://r'}}"),
            vec![done()],
        ),
        (format!("preset: keycloak, {GENERIC}, {client}, clientAuthentication: post"), vec![done()]),
        (format!("preset: dex, {GENERIC}, {client}, parameters: {{connector_id: k}}"), vec![done()]),
        (format!("preset: okta, {GENERIC}, {client}, scopes: [api]"), vec![done()]),
        (
            "preset: google, host: SERVER, identity: pod, audiences: ['//iam'], serviceAccount: a@b.example"
                .to_owned(),
            vec![done(), server(r#"{"accessToken":"of-the-account","expireTime":"2030-01-01T00:10:00Z"}"#)],
        ),
        (
            "preset: entra, authorityHost: SERVER, tenantId: t, clientId: c, identity: pod, scopes: [aks]"
                .to_owned(),
            vec![done()],
        ),
        (
            format!("preset: entra, authorityHost: SERVER, tenantId: t, {client}, scopes: [databricks]"),
            vec![done()],
        ),
        (
            "preset: databricks, tokenEndpoint: 'SERVER/t', host: SERVER, identity: pod".to_owned(),
            vec![done()],
        ),
        (format!("preset: databricks, tokenEndpoint: 'SERVER/t', host: SERVER, {client}"), vec![done()]),
    ] {
        let (outcome, lines) = told(&fields, steps).await;
        all.push(format!("{outcome}\n    {}", lines.join("\n    ")));
    }
    assert_data_eq!(all.join("\n") + "\n", file!["tests/shapes.txt"].raw());
}

#[tokio::test]
async fn databricks_is_found_by_its_own_configuration() {
    let done = || reply(200, r#"{"access_token":"opaque","expires_in":900}"#);
    let none = || reply(404, "no");
    let own = |body: &str| Step::Own(200, body.to_owned());
    let config = own;
    let mut all = Vec::new();
    for (more, first, second) in [
        ("", none(), Some("SERVER/oidc/v1/token")),
        (
            ", accountId: acc",
            config(r#"{"oidc_endpoint":"SERVER/oidc/accounts/{account_id}"}"#),
            Some("SERVER/oidc/accounts/acc/v1/token"),
        ),
        (
            "",
            config(r#"{"oidc_endpoint":"SERVER/oidc/accounts/{account_id}","account_id":"own-1"}"#),
            Some("SERVER/oidc/accounts/own-1/v1/token"),
        ),
        ("", config(r#"{"oidc_endpoint":"SERVER/oidc/accounts/{account_id}","account_id":"../x"}"#), None),
        ("", config(r#"{"oidc_endpoint":"SERVER/oidc/accounts/{account_id}"}"#), None),
        ("", config(r#"{"oidc_endpoint":"https://evil.example/oidc"}"#), None),
        ("", config("not JSON"), Some("https://evil.example/v1/token")),
        ("", reply(503, "{}"), None),
        ("", reply_with(302, &[("Location", "https://evil.example")], ""), Some("nothing")),
    ] {
        let fields = format!("preset: databricks, host: SERVER, identity: pod, clientId: '7f'{more}");
        let second = second.map(|endpoint| own(&format!(r#"{{"token_endpoint":"{endpoint}"}}"#)));
        let mut steps = vec![first];
        steps.extend(second);
        steps.push(done());
        let (outcome, lines) = told(&fields, steps).await;
        all.push(format!("{outcome}\n    {}", lines.join("\n    ")));
    }
    assert_data_eq!(all.join("\n") + "\n", file!["tests/discovery.txt"].raw());
}

#[tokio::test]
async fn a_subject_that_would_be_refused_is_not_sent() {
    let end = now().timestamp();
    let databricks = "preset: databricks, tokenEndpoint: 'SERVER/t', host: SERVER, identity: pod";
    let mut all = Vec::new();
    for (fields, token) in [
        (GENERIC, jwt("none", &json!({"exp": end + 600}))),
        (GENERIC, jwt("HS256", &json!({"exp": end + 29}))),
        (GENERIC, "e.e30.e".to_owned()),
        (databricks, jwt("HS256", &json!({"exp": end + 600}))),
        (databricks, jwt("EdDSA", &json!({"exp": end + 600}))),
    ] {
        let (outcome, lines) = told_of(fields, &token, []).await;
        assert_eq!(lines, [""; 0]);
        all.push(outcome);
    }
    assert_data_eq!(all.join("\n") + "\n", file!["tests/subjects.txt"].raw());
    for token in [jwt("RS256", &json!({"exp": end + 30})), jwt("ES256", &json!({"sub": "no end"}))] {
        let (outcome, _) = told_of(databricks, &token, [reply(200, r#"{"access_token":"opaque"}"#)]).await;
        assert_eq!(outcome, "opaque until 300 by Assumed");
    }
}

#[tokio::test]
async fn only_a_directory_that_lags_behind_is_asked_again() {
    const ENTRA: &str =
        "preset: entra, authorityHost: SERVER, tenantId: t, clientId: c, identity: pod, scopes: [aks]";
    let refusal = |code: u32| {
        reply(
            400,
            &format!(r#"{{"error":"invalid_request","error_description":"AADSTS{code}: no. Trace ID: 1"}}"#),
        )
    };
    let done = || reply(200, r#"{"access_token":"opaque","expires_in":900}"#);
    let (outcome, lines) = told(ENTRA, [refusal(700_213), refusal(70_021), refusal(700_211), done()]).await;
    assert_eq!((outcome.as_str(), lines.len()), ("opaque until 900 by ExpiresIn", 4));
    assert_eq!(*WAITED.lock().unwrap(), [1, 2, 4].map(Duration::from_secs));
    let (outcome, lines) = told(ENTRA, vec![refusal(700_213); 9]).await;
    assert_eq!(lines.len(), 4, "{outcome}");
    for code in [700_024, 700_016, 700_212, 700_222, 90_002] {
        let (outcome, lines) = told(ENTRA, [refusal(code), done()]).await;
        assert_eq!(lines.len(), 1, "{outcome}");
        assert!(outcome.starts_with("4 ") && outcome.contains(&format!("AADSTS{code}")), "{outcome}");
    }
}

#[tokio::test]
async fn google_refuses_an_account_in_its_own_words() {
    const GOOGLE: &str =
        "preset: google, host: SERVER, identity: pod, audiences: ['//iam'], serviceAccount: a@b.example";
    let federated = || reply(200, r#"{"access_token":"federated","expires_in":900}"#);
    let mut all = Vec::new();
    for answer in [
        reply(
            403,
            r#"{"error":{"code":403,"message":"Permission 'x' denied","status":"PERMISSION_DENIED"}}"#,
        ),
        reply(500, "oops"),
        reply(200, r#"{"accessToken":"s3cret"}"#),
        reply(200, r#"{"accessToken":"s3cret","expireTime":"soon"}"#),
        reply(200, r#"{"accessToken":"s3cret","expireTime":"2020-01-01T00:00:00Z"}"#),
    ] {
        let (outcome, _) = told(GOOGLE, [federated(), answer]).await;
        assert!(!outcome.contains("s3cret"), "{outcome}");
        all.push(outcome);
    }
    assert_data_eq!(all.join("\n") + "\n", file!["tests/impersonation.txt"].raw());
}
