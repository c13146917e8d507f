//! The doubles of the clouds refuse what the real ones refuse: they cannot be fooled by an exchange
//! that would fail where it counts. And the vendors' own clients believe them.

use serde_json::json;

use crate::rig::{Authority, Databricks, Entra, Google, Issuer, Policy, Sdk, python_program, unique};

const ISS: &str = "https://cluster.example";
const SUBJECT: &str = "system:serviceaccount:team-a:reporter";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const AUDIENCE: &str = "https://dbc.example";
const AUDIENCE_OF_ENTRA: &str = "api://AzureADTokenExchange";
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
    let (status, answer) = ask(&token(SUBJECT, AUDIENCE_OF_ENTRA, ISS), &client_id);
    assert_eq!(status, 200);
    let claims = entra.verified(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["aud"], "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d");
    let expired = issuer.token(SUBJECT, AUDIENCE_OF_ENTRA, &json!({"iss": ISS, "exp": 1_000_000_000}));
    for (assertion, client_id, code) in [
        (Issuer::new().token(SUBJECT, AUDIENCE_OF_ENTRA, &json!({"iss": ISS})), client_id.as_str(), 700_211),
        (token(SUBJECT, AUDIENCE_OF_ENTRA, "https://cluster.example/"), &client_id, 700_211),
        (token(SUBJECT, "https://dbc.example", ISS), &client_id, 700_212),
        (token("system:serviceaccount:Team-A:reporter", AUDIENCE_OF_ENTRA, ISS), &client_id, 700_213),
        (expired, &client_id, 700_024),
        (token(SUBJECT, AUDIENCE_OF_ENTRA, ISS), "somebody-else", 700_016),
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

/// Runs a program with a vendor's clients in it, which trusts `authority`; what it prints.
#[track_caller]
fn vendor(sdk: Sdk, authority: &Authority, program: &str, environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = python_program(sdk, program);
    command.current_dir(folder.path()).env("HOME", folder.path());
    command.env("REQUESTS_CA_BUNDLE", &authority.file).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");
    said.trim().to_owned()
}

const WHO_AM_I: &str =
    "from databricks.sdk import WorkspaceClient\nprint(WorkspaceClient().current_user.me().user_name)";

#[test]
fn databricks_own_clients_believe_the_double() {
    let authority = Authority::new("databricks");
    let (workspace, issuer) = (Databricks::workspace(&authority), Issuer::new());
    for client_id in [Some("7f0c".to_owned()), None] {
        let policy = Policy {
            issuer: ISS.into(),
            audiences: vec![AUDIENCE.into()],
            subject: client_id.as_ref().map(|_| SUBJECT.to_owned()),
            client_id,
        };
        workspace.allow(&issuer, policy);
    }
    workspace.secret("robot", "dose0123456789abcdef");
    let subject = issuer.token(SUBJECT, AUDIENCE, &json!({"iss": ISS}));
    let host = ("DATABRICKS_HOST", workspace.address.as_str());
    for sdk in [Sdk::DatabricksOld, Sdk::Clouds] {
        let oidc = [host, ("DATABRICKS_AUTH_TYPE", "env-oidc"), ("DATABRICKS_OIDC_TOKEN", &subject)];
        let principal = [&oidc[..], &[("DATABRICKS_CLIENT_ID", "7f0c")]].concat();
        assert_eq!(vendor(sdk, &authority, WHO_AM_I, &principal), "7f0c", "{sdk:?}");
        // Without a client id the whole account's policies count.
        assert_eq!(vendor(sdk, &authority, WHO_AM_I, &oidc), SUBJECT, "{sdk:?}");
        let secret = [
            host,
            ("DATABRICKS_AUTH_TYPE", "oauth-m2m"),
            ("DATABRICKS_CLIENT_ID", "robot"),
            ("DATABRICKS_CLIENT_SECRET", "dose0123456789abcdef"),
        ];
        assert_eq!(vendor(sdk, &authority, WHO_AM_I, &secret), "robot", "{sdk:?}");
    }
}

/// The log-in of a person, with a browser that agrees at once; and a refresh token is good once.
const LOG_IN: &str = r#"
import os, sys, urllib.parse, requests
from databricks.sdk.oauth import OAuthClient, get_workspace_endpoints
host = os.environ["HOST"]
client = OAuthClient(oidc_endpoints=get_workspace_endpoints(host), redirect_url="http://localhost:8020",
                     client_id="databricks-cli", scopes=["all-apis", "offline_access"])
consent = client.initiate_consent()
answer = requests.get(consent.authorization_url, allow_redirects=False)
query = urllib.parse.urlparse(answer.headers["Location"]).query
session = consent.exchange_callback_parameters(dict(urllib.parse.parse_qsl(query)))
first = session.token()
second = session.refresh()
me = requests.get(host + "/api/2.0/preview/scim/v2/Me", headers={"Authorization": "Bearer " + second.access_token})
spent = requests.post(host + "/oidc/v1/token", data={
    "grant_type": "refresh_token", "client_id": "databricks-cli", "refresh_token": first.refresh_token})
dead = requests.post(host + "/oidc/v1/token", data={
    "grant_type": "refresh_token", "client_id": "databricks-cli", "refresh_token": second.refresh_token})
print(me.json()["userName"], first.refresh_token != second.refresh_token, spent.status_code, dead.status_code)
"#;

#[test]
fn databricks_own_log_in_believes_the_double() {
    let authority = Authority::new("databricks");
    let workspace = Databricks::workspace(&authority);
    for sdk in [Sdk::DatabricksOld, Sdk::Clouds] {
        let said = vendor(sdk, &authority, LOG_IN, &[("HOST", &workspace.address)]);
        assert_eq!(said, "ada@example.com True 400 400", "{sdk:?}");
    }
}

#[test]
fn azure_identity_believes_the_double() {
    let authority = Authority::new("entra");
    let (entra, issuer) = (Entra::new(&authority), Issuer::new());
    entra.federate("7f0c", &issuer, ISS, SUBJECT);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure-identity-token");
    std::fs::write(&file, issuer.token(SUBJECT, AUDIENCE_OF_ENTRA, &json!({"iss": ISS}))).unwrap();
    let program = "from azure.identity import WorkloadIdentityCredential\n\
                   credential = WorkloadIdentityCredential(disable_instance_discovery=True)\n\
                   print(credential.get_token('2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default').token)";
    let environment = [
        ("AZURE_CLIENT_ID", "7f0c"),
        ("AZURE_TENANT_ID", &entra.tenant_id),
        ("AZURE_AUTHORITY_HOST", &entra.address),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let token = vendor(Sdk::Clouds, &authority, program, &environment);
    assert_eq!(entra.verified(&token).unwrap()["aud"], "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d");
}

#[test]
fn google_auth_believes_the_double() {
    let authority = Authority::new("google");
    let (google, issuer) = (Google::new(&authority), Issuer::new());
    google.trust(&issuer, ISS);
    google.impersonate("reporter@project.example");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, issuer.token(SUBJECT, &google.provider, &json!({"iss": ISS}))).unwrap();
    let program = r#"
import os
from google.auth import identity_pool
from google.auth.transport.requests import Request
where = os.environ["WHERE"]
for account in [None, where + "/v1/projects/-/serviceAccounts/reporter@project.example:generateAccessToken"]:
    credentials = identity_pool.Credentials(
        audience=os.environ["PROVIDER"], subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=where + "/v1/token", credential_source={"file": os.environ["FILE"]},
        service_account_impersonation_url=account,
        scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    print(credentials.token[:7])
"#;
    let environment = [
        ("WHERE", google.address.as_str()),
        ("PROVIDER", &google.provider),
        ("FILE", file.to_str().unwrap()),
    ];
    assert_eq!(vendor(Sdk::Clouds, &authority, program, &environment), "ya29.d.\nya29.c.");
}
