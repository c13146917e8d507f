//! The doubles of the clouds refuse what the real ones refuse: they cannot be fooled by an exchange
//! that would fail where it counts.

use serde_json::json;

use crate::rig::{Authority, Databricks, Entra, Google, Issuer, Policy, unique};

const ISS: &str = "https://cluster.example";
const SUBJECT: &str = "system:serviceaccount:team-a:reporter";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn post(authority: &Authority, url: &str, fields: &[(&str, &str)]) -> (u16, serde_json::Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = authority.send("POST", url, &headers, body.into_bytes()).unwrap();
    (answer.status, answer.json)
}

#[test]
fn databricks_exchanges_only_what_a_policy_allows() {
    let authority = Authority::new("databricks");
    let (workspace, issuer, stranger) = (Databricks::workspace(&authority), Issuer::new(), Issuer::new());
    let policy = Policy {
        issuer: ISS.into(),
        audiences: vec!["https://dbc.example".into()],
        client_id: Some("7f0c".into()),
        subject: Some(SUBJECT.into()),
    };
    workspace.allow(&issuer, policy);
    let exchange = |token: &str, client_id: &str, kind: &str| {
        let mut fields = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", kind),
            ("scope", "all-apis"),
        ];
        if !client_id.is_empty() {
            fields.push(("client_id", client_id));
        }
        post(&authority, &format!("{}/oidc/v1/token", workspace.address), &fields)
    };
    let token = |issuer: &Issuer, subject: &str, audience: &str| {
        issuer.token(subject, audience, &json!({"iss": ISS}))
    };
    let good = token(&issuer, SUBJECT, "https://dbc.example");
    let (status, answer) = exchange(&good, "7f0c", JWT);
    assert_eq!((status, answer["token_type"].as_str()), (200, Some("Bearer")));
    assert!(answer["expires_in"].as_i64().unwrap() <= 900, "no longer than the subject: {answer}");
    let me = |token: &str| {
        let url = format!("{}/api/2.0/preview/scim/v2/Me", workspace.address);
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        authority.ask_with("GET", &url, &headers, &json!(null)).unwrap()
    };
    assert_eq!(me(answer["access_token"].as_str().unwrap()).json["userName"], "7f0c");
    assert_eq!(me(&good).status, 401);
    let ended = issuer.token(SUBJECT, "https://dbc.example", &json!({"iss": ISS, "exp": 1_000_000_000}));
    for (token, client_id, kind) in [
        (&token(&stranger, SUBJECT, "https://dbc.example"), "7f0c", JWT),
        (&token(&issuer, "system:serviceaccount:team-b:reporter", "https://dbc.example"), "7f0c", JWT),
        (&token(&issuer, SUBJECT, "https://other.example"), "7f0c", JWT),
        (
            &issuer.token(SUBJECT, "https://dbc.example", &json!({"iss": "https://cluster.example/"})),
            "7f0c",
            JWT,
        ),
        (&ended, "7f0c", JWT),
        (&format!("{good}\n"), "7f0c", JWT),
        (&good, "", JWT),
        (&good, "8e1d", JWT),
        (&good, "7f0c", "urn:ietf:params:oauth:token-type:id_token"),
    ] {
        assert_eq!(exchange(token, client_id, kind).0, 400);
    }
}

#[test]
fn databricks_takes_a_secret_by_basic_authentication_only() {
    let authority = Authority::new("databricks");
    let account = Databricks::account(&authority);
    account.secret("robot", "dose-of-a-secret");
    let url = format!("{}/oidc/accounts/{}/v1/token", account.address, account.account_id);
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "all-apis"),
        ("client_id", "robot"),
        ("client_secret", "dose-of-a-secret"),
    ];
    assert_eq!(post(&authority, &url, &fields).0, 401);
    assert_eq!(account.grants(), ["client_credentials"]);
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        // robot:dose-of-a-secret
        ("Authorization", "Basic cm9ib3Q6ZG9zZS1vZi1hLXNlY3JldA=="),
    ];
    let body = b"grant_type=client_credentials&scope=all-apis".to_vec();
    assert_eq!(authority.send("POST", &url, &headers, body).unwrap().status, 200);
}

#[test]
fn entra_says_which_part_of_the_assertion_does_not_match() {
    let authority = Authority::new("entra");
    let (entra, issuer, client_id) = (Entra::new(&authority), Issuer::new(), unique("application"));
    entra.federate(&client_id, &issuer, ISS, SUBJECT);
    let ask = |assertion: &str, client_id: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
            ("scope", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"),
        ];
        post(&authority, &format!("{}{}/oauth2/v2.0/token", entra.address, entra.tenant_id), &fields)
    };
    let token =
        |subject: &str, audience: &str, iss: &str| issuer.token(subject, audience, &json!({"iss": iss}));
    let (status, answer) = ask(&token(SUBJECT, AUDIENCE, ISS), &client_id);
    assert_eq!(status, 200);
    let claims = entra.verified(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["aud"], "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d");
    let expired = issuer.token(SUBJECT, AUDIENCE, &json!({"iss": ISS, "exp": 1_000_000_000}));
    for (assertion, client_id, code) in [
        (Issuer::new().token(SUBJECT, AUDIENCE, &json!({"iss": ISS})), client_id.as_str(), 700_211),
        (token(SUBJECT, AUDIENCE, "https://cluster.example/"), &client_id, 700_211),
        (token(SUBJECT, "https://dbc.example", ISS), &client_id, 700_212),
        (token("system:serviceaccount:Team-A:reporter", AUDIENCE, ISS), &client_id, 700_213),
        (expired, &client_id, 700_024),
        (token(SUBJECT, AUDIENCE, ISS), "somebody-else", 700_016),
    ] {
        let (_, answer) = ask(&assertion, client_id);
        assert_eq!(answer["error_codes"], json!([code]), "{answer}");
        assert!(answer["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
    }
}

#[test]
fn google_wants_the_full_name_of_its_provider() {
    let authority = Authority::new("google");
    let (google, issuer) = (Google::new(&authority), Issuer::new());
    google.trust(&issuer, ISS);
    google.impersonate("reporter@project.example");
    let ask = |token: &str, audience: &str| {
        let fields = [
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", JWT),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", audience),
            ("scope", "https://www.googleapis.com/auth/cloud-platform"),
        ];
        post(&authority, &format!("{}/v1/token", google.address), &fields)
    };
    let good = issuer.token(SUBJECT, &google.provider, &json!({"iss": ISS}));
    let (status, answer) = ask(&good, &google.provider);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ask(&good, "//iam.googleapis.com/other").1["error"], "invalid_target");
    assert_eq!(ask(&issuer.token(SUBJECT, "other", &json!({"iss": ISS})), &google.provider).0, 400);
    assert_eq!(
        ask(&Issuer::new().token(SUBJECT, &google.provider, &json!({"iss": ISS})), &google.provider).0,
        400
    );
    let impersonate = |account: &str, token: &str| {
        let url = format!("{}/v1/projects/-/serviceAccounts/{account}:generateAccessToken", google.address);
        let bearer = format!("Bearer {token}");
        let body = json!({"scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "600s"});
        authority.ask_with("POST", &url, &[("Authorization", bearer.as_str())], &body).unwrap()
    };
    let federated = answer["access_token"].as_str().unwrap();
    assert!(impersonate("reporter@project.example", federated).json["accessToken"].is_string());
    assert_eq!(impersonate("reporter@project.example", &good).status, 401);
    assert_eq!(impersonate("owner@project.example", federated).status, 403);
}
