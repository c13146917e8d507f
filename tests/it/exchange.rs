//! `tokenExchange` with doubles of the clouds, which verify what they are sent: what each preset gets,
//! what is never sent, and how each refusal is told.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::home::{Home, exec_info};
use crate::rig::{
    Authority, Cluster, Databricks, Double, Entra, Google, Issuer, Keycloak, Policy, PublicKey, Reply, Vault,
    claims, poll, unique,
};

const ISS: &str = "https://cluster.example";
const SUBJECT: &str = "system:serviceaccount:team-a:reporter";
const CLIENT: &str = "7f0c9a52-0000-4000-8000-000000000001";
const AUDIENCE: &str = "https://dbc.example";

/// A workspace whose service principal `CLIENT` trusts `issuer`, and a home with its profile `lake`.
struct Lake {
    authority: Authority,
    workspace: Databricks,
    issuer: Issuer,
    home: Home,
}

impl Lake {
    fn new(account: bool, more: &Value) -> Self {
        let authority = Authority::new("databricks");
        let workspace =
            if account { Databricks::account(&authority) } else { Databricks::workspace(&authority) };
        let (issuer, home) = (Issuer::new(), Home::new());
        let lake = Self { authority, workspace, issuer, home };
        lake.settings(more);
        lake
    }

    /// With federation of the service principal.
    fn federated() -> Self {
        let lake = Self::new(false, &json!({"identity": "pod", "clientId": CLIENT}));
        lake.allow(Some(CLIENT), Some(SUBJECT));
        lake.present(&lake.subject(&json!({"jti": "of-the-pod"})));
        lake
    }

    fn settings(&self, more: &Value) {
        let mut exchange = json!({
            "preset": "databricks", "host": self.workspace.address,
            "certificateAuthority": self.authority.file,
        });
        exchange.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.home.settings(&json!({
            "identities": {"pod": {"file": {"path": self.home.path("token")}}},
            "profiles": {"lake": {"source": {"tokenExchange": exchange}}},
        }));
    }

    fn allow(&self, client_id: Option<&str>, subject: Option<&str>) {
        let policy = Policy {
            issuer: ISS.into(),
            audiences: vec![AUDIENCE.into()],
            client_id: client_id.map(str::to_owned),
            subject: subject.map(str::to_owned),
        };
        self.workspace.allow(&self.issuer, policy);
    }

    /// A token of the workload, with other claims where the test wants them.
    fn subject(&self, more: &Value) -> String {
        let mut whole = json!({"iss": ISS});
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.issuer.token(SUBJECT, AUDIENCE, &whole)
    }

    /// Lays a token where the kubelet would, with the line break that some agents write.
    fn present(&self, token: &str) {
        self.home.write_secret("token", &format!("{token}\n"));
    }

    /// Whom the workspace sees behind a token.
    #[track_caller]
    fn user_of(&self, token: &str) -> Value {
        let url = format!("{}/api/2.0/preview/scim/v2/Me", self.workspace.address);
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        self.authority.ask_with("GET", &url, &headers, &json!(null)).unwrap().json["userName"].take()
    }

    /// Forgets what is kept.
    fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.home.path(".cache"));
        let _ = std::fs::remove_dir_all(self.home.path("run/vaulttoken"));
    }
}

#[track_caller]
fn end_of(run: &crate::home::Run) -> DateTime<Utc> {
    run.json()["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_service_account_becomes_a_service_principal_and_is_exchanged_once() {
    let lake = Lake::federated();
    let run = lake.home.get_token(&[], None).quiet();
    // Two questions where its endpoint is, and one for the token.
    assert_eq!(lake.workspace.seen().len(), 3);
    assert_eq!(lake.user_of(&run.token()), CLIENT);
    let journal = lake.home.journal();
    let mint = journal.iter().find(|line| line["event"] == "mint").unwrap();
    assert_eq!(mint["provider"], format!("{}/oidc/v1/token", lake.workspace.address));
    assert_eq!((&mint["exchangedIssuer"], &mint["exchangedSubject"]), (&json!(ISS), &json!(SUBJECT)));
    assert_eq!(mint["exchangedTokenId"], "of-the-pod");
    assert_eq!((&mint["subject"], &mint["tokenId"]), (&json!(CLIENT), &claims(&run.token())["jti"]));
    assert!(mint["program"].is_string() && mint["tokenSha256"].is_string(), "{mint}");
    // The token of Databricks ends with the subject's, a quarter of an hour from now.
    let left = end_of(&run) - Utc::now();
    assert!(left > TimeDelta::minutes(13) && left < TimeDelta::minutes(15), "{left}");
    let again = lake.home.get_token(&[], None).quiet();
    assert_eq!(again.token(), run.token());
    assert_eq!(lake.workspace.grants(), ["urn:ietf:params:oauth:grant-type:token-exchange"]);
    let exchange = lake.workspace.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(exchange.field("scope").as_deref(), Some("all-apis"));
    assert_eq!(exchange.field("client_id").as_deref(), Some(CLIENT));
    assert!(exchange.header("Authorization").is_none());
}

#[test]
fn eight_callers_with_nothing_kept_cause_one_exchange() {
    let lake = Lake::federated();
    let run = lake.home.script(
        "for number in 1 2 3 4 5 6 7 8; do kubectl-vaulttoken get-token --profile=lake & done; wait",
        "",
    );
    assert_eq!((run.code, run.stdout.lines().count()), (0, 8), "{run:?}");
    assert_eq!(lake.workspace.grants().len(), 1);
}

#[test]
fn an_account_is_reached_with_its_id_and_believes_everybody_that_its_policy_does() {
    let lake = Lake::new(true, &json!({}));
    let account_id = lake.workspace.account_id.clone();
    lake.settings(&json!({"identity": "pod", "accountId": account_id}));
    lake.allow(None, None);
    lake.present(&lake.subject(&json!({})));
    let run = lake.home.get_token(&[], None).quiet();
    assert_eq!(lake.user_of(&run.token()), SUBJECT);
    let exchange = lake.workspace.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(exchange.path, format!("/oidc/accounts/{account_id}/v1/token"));
    assert_eq!(exchange.field("client_id"), None);
    // Without it nobody knows which account is meant.
    lake.settings(&json!({"identity": "pod"}));
    let run = lake.home.get_token(&[], None);
    assert!(run.failed(2).contains("set `accountId` in the source"), "{run:?}");
}

#[test]
fn a_service_principal_with_a_secret_needs_no_identity() {
    let lake = Lake::new(false, &json!({"clientId": CLIENT, "clientSecretFile": "secret"}));
    lake.workspace.secret(CLIENT, "dose-of-a:secret/for you");
    lake.home.write_secret(".config/vaulttoken/secret", "dose-of-a:secret/for you\n");
    let run = lake.home.get_token(&[], None).quiet();
    assert_eq!(lake.user_of(&run.token()), CLIENT);
    assert_eq!(lake.workspace.grants(), ["client_credentials"]);
    let asked = lake.workspace.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert!(!String::from_utf8(asked.body).unwrap().contains("dose"));
    lake.home.write_secret(".config/vaulttoken/secret", "dose-of-another-secret");
    let run = lake.home.get_token(&["--force-refresh"], None);
    assert!(run.failed(4).contains("check `clientId`, and that its secret is right"), "{run:?}");
    std::fs::remove_file(lake.home.path(".config/vaulttoken/secret")).unwrap();
    let run = lake.home.get_token(&["--force-refresh"], None);
    assert!(run.failed(2).contains("the client's secret in `"), "{run:?}");
}

#[test]
fn what_would_be_refused_anyway_is_not_sent() {
    let lake = Lake::federated();
    let soon = Utc::now().timestamp() + 20;
    let unsigned = |algorithm: &str| {
        let token = lake.subject(&json!({}));
        let (_, rest) = token.split_once('.').unwrap();
        let header = json!({"alg": algorithm}).to_string();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    };
    for (token, words) in [
        (lake.subject(&json!({"exp": soon})), "in less than 30 seconds"),
        (lake.subject(&json!({"exp": 1_700_000_000})), "has expired"),
        (lake.subject(&json!({"nbf": soon + 600})), "is not valid yet"),
        (unsigned("HS256"), "only `RS256` or `ES256` is accepted there"),
        (unsigned("none"), "only `RS256` or `ES256` is accepted there"),
        ("not.a.token".to_owned(), "holds no token that can be used"),
        (format!("{} 11:11:49 v3.go:79] EOF", lake.subject(&json!({}))), "holds no token that can be used"),
        (" ".to_owned(), "it is empty"),
    ] {
        if token.trim().len() > 5 {
            lake.present(&token);
        } else {
            lake.home.write("token", &token);
        }
        lake.forget();
        let run = lake.home.get_token(&[], None);
        assert!(run.failed(6).contains(words), "{words}: {run:?}");
    }
    assert_eq!(lake.workspace.grants(), [""; 0]);
}

#[test]
fn a_refusal_is_told_in_the_server_s_own_words() {
    let lake = Lake::federated();
    for token in [
        lake.subject(&json!({"iss": "https://cluster.example/"})),
        lake.subject(&json!({"aud": "api://AzureADTokenExchange"})),
        lake.subject(&json!({"sub": "system:serviceaccount:team-b:reporter"})),
    ] {
        lake.present(&token);
        lake.forget();
        let run = lake.home.get_token(&[], None);
        let told = run.failed(4);
        assert!(told.contains("refused the request: `invalid_grant`\n  why: "), "{told}");
        assert!(told.contains("compare issuer, audiences and subject of the federation policy"), "{told}");
    }
    // What it repeats of the token is not repeated after it.
    let token = lake.subject(&json!({}));
    lake.present(&token);
    lake.forget();
    let words =
        json!({"error": "invalid_grant", "error_description": format!("cannot verify {token}\u{1b}[2J")});
    lake.workspace.answer(Some(Reply::json(400, &words)));
    let run = lake.home.get_token(&[], None);
    assert!(run.failed(4).contains("cannot verify …"), "{run:?}");
}

#[test]
fn an_answer_of_another_kind_is_used_as_far_as_it_can_be() {
    let lake = Lake::federated();
    let (mut run, opaque) = (None, "dapi-an-opaque-token-of-databricks");
    lake.home.plant(opaque);
    let mut next = |change: fn(&mut Value), code: i32, words: &str| {
        lake.workspace.amend(change);
        lake.forget();
        let one = lake.home.get_token(&[], None);
        assert_eq!(one.code, code, "{one:?}");
        assert!(one.stderr.contains(words), "{one:?}");
        run = Some(one);
    };
    // No `expires_in`: the token's own end counts.
    next(|answer| drop(answer.as_object_mut().unwrap().remove("expires_in")), 0, "");
    let expiry = |run: &Option<crate::home::Run>| end_of(run.as_ref().unwrap()) - Utc::now();
    next(
        |answer| {
            answer["access_token"] = json!("dapi-an-opaque-token-of-databricks");
            answer.as_object_mut().unwrap().remove("expires_in");
        },
        0,
        "",
    );
    let _ = &mut next;
    next(|answer| answer["token_type"] = json!("N_A"), 6, "its `token_type` is `N_A`");
    next(|answer| answer["token_type"] = json!("DPoP"), 6, "its `token_type` is `dpop`");
    next(
        |answer| {
            let token = answer["access_token"].take();
            *answer = json!({"id_token": token});
        },
        6,
        "set `result` in the source to the field that holds the token",
    );
    next(|answer| *answer = json!({"token": {"value": "s3cret-elsewhere"}}), 6, "there is `token`");
    next(|answer| answer["expires_in"] = json!(0), 6, "it ended at");
    next(
        |answer| {
            answer["access_token"] = json!("dapi-an-opaque-token-of-databricks");
            answer.as_object_mut().unwrap().remove("expires_in");
        },
        0,
        "",
    );
    let left = expiry(&run);
    assert!(left > TimeDelta::seconds(200) && left <= TimeDelta::minutes(5), "{left}");
}

#[test]
fn a_server_in_trouble_is_no_refusal_and_a_redirect_is_one() {
    let lake = Lake::federated();
    let elsewhere = Double::https(&lake.authority, &[], |_| Reply::not_found());
    for (reply, code, words) in [
        (Reply::text(503, "text/html", "<html>"), 5, "cannot serve at the moment (status 503)"),
        (Reply::text(200, "text/html", "<html>"), 6, "it is not JSON"),
        (Reply::text(404, "text/html", "<html>"), 6, "is no error of OAuth"),
        (Reply::text(307, "text/plain", "").with_header("Location", &elsewhere.address), 7, "redirects to `"),
    ] {
        lake.workspace.answer(Some(reply));
        lake.forget();
        let run = lake.home.get_token(&[], None);
        assert!(run.failed(code).contains(words), "{run:?}");
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn whoever_lays_another_token_is_another_caller() {
    let lake = Lake::federated();
    let first = lake.home.get_token(&[], None).quiet().token();
    // The kubelet writes a new token of the same account: the kept one still serves.
    lake.present(&lake.subject(&json!({"jti": "another"})));
    assert_eq!(lake.home.get_token(&[], None).quiet().token(), first);
    lake.present(&lake.subject(&json!({"sub": "system:serviceaccount:team-b:reporter"})));
    assert_eq!(lake.home.get_token(&[], None).code, 4, "no token of somebody else");
}

#[test]
fn a_kubeconfig_cannot_send_the_token_elsewhere() {
    let lake = Lake::federated();
    let evil = Databricks::workspace(&lake.authority);
    let settings = json!({
        "apiVersion": "vaulttoken.dev/v1alpha1", "kind": "Config",
        "identities": {"pod": {"file": {"path": lake.home.path("token")}}},
        "profiles": {"lake": {"source": {"tokenExchange": {
            "preset": "databricks", "host": evil.address, "identity": "pod",
            "certificateAuthority": lake.authority.file,
        }}}},
    });
    let file = lake.home.write("evil.yaml", &settings.to_string()).display().to_string();
    let run = lake.home.get_token(&["--config", &file], Some(&exec_info("v1", None)));
    assert!(run.failed(7).contains("your settings do not name it"), "{run:?}");
    assert!(evil.seen().is_empty());
}

#[test]
fn a_host_cannot_name_another_for_its_tokens() {
    let authority = Authority::new("databricks");
    let evil = Double::https(&authority, &[], |_| Reply::not_found());
    let target = format!("{}/oidc", evil.address);
    let host = Double::https(&authority, &[], move |seen| match seen.path.as_str() {
        "/.well-known/databricks-config" => Reply::json(200, &json!({"oidc_endpoint": target})),
        _ => Reply::not_found(),
    });
    let (home, issuer) = (Home::new(), Issuer::new());
    home.write_secret("token", &issuer.token(SUBJECT, AUDIENCE, &json!({"iss": ISS})));
    home.settings(&json!({
        "identities": {"pod": {"file": {"path": home.path("token")}}},
        "profiles": {"lake": {"source": {"tokenExchange": {
            "preset": "databricks", "host": host.address, "identity": "pod",
            "certificateAuthority": authority.file,
        }}}},
    }));
    let run = home.get_token(&[], None);
    assert!(run.failed(7).contains("names it as its `oidc_endpoint`"), "{run:?}");
    assert!(evil.seen().is_empty());
}

#[test]
fn the_identity_token_of_a_vault_is_exchanged() {
    let (vault, lake) = (Vault::shared(), Lake::federated());
    let (root, name) = (vault.root(), unique("workload"));
    root.write(
        &format!("identity/oidc/key/{name}"),
        &json!({"algorithm": "ES256", "allowed_client_ids": "*"}),
    );
    let role = json!({"key": name, "client_id": AUDIENCE, "ttl": "10m"});
    root.write(&format!("identity/oidc/role/{name}"), &role);
    let policy = format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}");
    root.write_policy(&name, &policy);
    let mount = unique("approle");
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&name]);
    lake.home.write_secret(".config/vaulttoken/secret-id", &secret_id);
    lake.home.settings(&json!({
        "vaults": {"corp": {
            "address": vault.address, "certificateAuthority": vault.ca_file(),
            "auth": {"approle": {"mount": mount, "roleId": role_id, "secretIdFile": "secret-id"}},
        }},
        "identities": {"me": {"vaultIdentity": {"vault": "corp", "role": name}}},
        "profiles": {"lake": {"source": {"tokenExchange": {
            "preset": "databricks", "host": lake.workspace.address, "identity": "me", "clientId": CLIENT,
            "certificateAuthority": lake.authority.file,
        }}}},
    }));
    // Before its policy knows this issuer.
    let run = lake.home.get_token(&[], None);
    assert!(run.failed(4).contains("invalid_grant"), "{run:?}");
    let exchange = lake.workspace.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    let token = exchange.field("subject_token").unwrap();
    let keys = vault.authority.ask(
        "GET",
        &format!("{}/v1/identity/oidc/.well-known/keys", vault.address),
        &json!(null),
    );
    let issuer = claims(&token)["iss"].as_str().unwrap().to_owned();
    let policy =
        Policy { issuer, audiences: vec![AUDIENCE.into()], client_id: Some(CLIENT.into()), subject: None };
    lake.workspace.allow_key(PublicKey::of_key_set(&keys.unwrap().json, &token), policy);
    lake.forget();
    let run = lake.home.get_token(&[], None).quiet();
    assert_eq!(lake.user_of(&run.token()), CLIENT);
}

/// A home in a pod of AKS, and the Entra that knows it.
fn pod_of_aks(scope: &str) -> (Entra, Issuer, Home) {
    let authority = Authority::new("entra");
    let (entra, issuer, home) = (Entra::new(&authority), Issuer::new(), Home::new());
    entra.federate(CLIENT, &issuer, ISS, SUBJECT);
    let token = issuer.token(SUBJECT, "api://AzureADTokenExchange", &json!({"iss": ISS}));
    home.write_secret("azure-identity-token", &token);
    home.set("AZURE_CLIENT_ID", CLIENT)
        .set("AZURE_TENANT_ID", &entra.tenant_id)
        .set("AZURE_AUTHORITY_HOST", &entra.address)
        .set("AZURE_FEDERATED_TOKEN_FILE", &home.path("azure-identity-token").display().to_string());
    home.settings(&json!({"profiles": {"azure": {"source": {"tokenExchange": {
        "preset": "entra", "scopes": [scope], "certificateAuthority": authority.file,
    }}}}}));
    (entra, issuer, home)
}

#[test]
fn a_pod_of_aks_needs_no_more_than_its_environment() {
    for (scope, resource) in [
        ("aks", "6dae42f8-4368-4678-94ff-3960e28e3630"),
        ("databricks", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"),
        ("keyvault", "https://vault.azure.net"),
        ("api://mine/.default", "api://mine"),
    ] {
        let (entra, _, home) = pod_of_aks(scope);
        let run = home.get_token(&[], None).quiet();
        let seen = entra.verified(&run.token()).expect("Entra's own token");
        assert_eq!((&seen["aud"], &seen["appid"]), (&json!(resource), &json!(CLIENT)));
        home.get_token(&[], None).quiet();
        assert_eq!(entra.asked(), 1);
    }
}

#[test]
fn a_directory_that_lags_behind_is_asked_again_and_no_other_refusal_is() {
    let (entra, issuer, home) = pod_of_aks("aks");
    entra.lags(1);
    home.get_token(&[], None).quiet();
    assert_eq!(entra.asked(), 2);
    for (more, code, words) in [
        (json!({"aud": AUDIENCE}), 700_212, "exchange a token for the audience `api://AzureADTokenExchange`"),
        (json!({"sub": SUBJECT.to_uppercase()}), 700_213, "compare issuer and subject"),
        (json!({"iss": "https://cluster.example/"}), 700_211, "its last slash included"),
    ] {
        let mut claims = json!({"iss": ISS});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = issuer.token(SUBJECT, "api://AzureADTokenExchange", &claims);
        home.write_secret("azure-identity-token", &token);
        // There is no time to ask again.
        let run = home.get_token(&["--timeout=1s", "--force-refresh"], None);
        let told = run.failed(4);
        assert!(told.contains(&format!("AADSTS{code}: ")) && told.contains(words), "{told}");
    }
    entra.refuse(700_016, "Application with identifier 'x' was not found in the directory 'y'.");
    let before = entra.asked();
    let run = home.get_token(&["--force-refresh"], None);
    assert!(run.failed(4).contains("check `clientId`, and that `tenantId` is the tenant"), "{run:?}");
    assert_eq!(entra.asked(), before + 1);
    home.unset("AZURE_TENANT_ID");
    let run = home.get_token(&[], None);
    assert!(run.failed(2).contains("or `AZURE_TENANT_ID` in its environment"), "{run:?}");
}

#[test]
fn a_kubeconfig_cannot_name_another_authority() {
    let (entra, _, home) = pod_of_aks("aks");
    let evil = Double::https(&Authority::new("evil"), &[], |_| Reply::not_found());
    // What `exec.env` adds is not in the environment of the shell that runs us.
    let script = format!(
        "KUBERNETES_EXEC_INFO='{}' AZURE_AUTHORITY_HOST={} \"$PLUGIN\" get-token; exit $?",
        exec_info("v1", None),
        evil.address
    );
    home.shell(None, &script).quiet();
    assert_eq!((evil.seen().len(), entra.asked()), (0, 1));
}

#[test]
fn an_entra_application_may_have_a_secret() {
    let (entra, _, home) = pod_of_aks("databricks");
    // The double knows federated credentials only: that it is asked rightly is what counts here.
    home.write_secret(".config/vaulttoken/secret", "a-secret-of-the-application");
    let mut settings: Value =
        serde_json::from_str(&std::fs::read_to_string(home.path(".config/vaulttoken/config.yaml")).unwrap())
            .unwrap();
    settings["profiles"]["azure"]["source"]["tokenExchange"]["clientId"] = json!(CLIENT);
    settings["profiles"]["azure"]["source"]["tokenExchange"]["clientSecretFile"] = json!("secret");
    home.settings(&settings);
    entra.refuse(7_000_215, "Invalid client secret provided.");
    let run = home.get_token(&[], None);
    assert!(run.failed(4).contains("it must hold the secret's value, not its id"), "{run:?}");
    let asked = entra.seen().pop().unwrap();
    assert_eq!(asked.field("client_secret").as_deref(), Some("a-secret-of-the-application"));
    assert_eq!(asked.field("client_assertion"), None);
}

#[test]
fn google_gives_a_federated_token_or_one_of_a_service_account() {
    let authority = Authority::new("google");
    let (google, issuer, home) = (Google::new(&authority), Issuer::new(), Home::new());
    google.trust(&issuer, ISS);
    google.impersonate("reporter@project.example");
    home.write_secret("token", &issuer.token(SUBJECT, &google.provider, &json!({"iss": ISS})));
    let settings = |audience: &str, account: Option<&str>| {
        let mut exchange = json!({
            "preset": "google", "host": google.address, "identity": "pod", "audiences": [audience],
            "certificateAuthority": authority.file,
        });
        if let Some(account) = account {
            exchange["serviceAccount"] = json!(account);
        }
        home.settings(&json!({
            "identities": {"pod": {"file": {"path": home.path("token")}}},
            "profiles": {"gcp": {"source": {"tokenExchange": exchange}}},
        }));
    };
    settings(&google.provider, None);
    let federated = home.get_token(&[], None).quiet();
    assert!(federated.token().starts_with("ya29.d."), "the federated token itself");
    assert!(end_of(&federated) - Utc::now() < TimeDelta::minutes(15));
    settings(&google.provider, Some("reporter@project.example"));
    let run = home.get_token(&[], None).quiet();
    assert!(run.token().starts_with("ya29.c."), "the service account's");
    assert!(end_of(&run) - Utc::now() > TimeDelta::minutes(50), "it lives longer than its subject");
    settings(&google.provider, Some("owner@project.example"));
    let run = home.get_token(&[], None);
    assert!(run.failed(4).contains("grant the identity `roles/iam.workloadIdentityUser`"), "{run:?}");
    settings("//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/gone/providers/p", None);
    let run = home.get_token(&[], None);
    assert!(run.failed(4).contains("check `audiences`: the full name of a provider"), "{run:?}");
}

/// A token that lives for so many seconds is renewed by whoever meets it due, and not again and again.
#[test]
fn a_short_life_is_no_reason_to_ask_in_a_loop() {
    let lake = Lake::federated();
    lake.workspace.lifetime(40);
    for _ in 0..5 {
        lake.home.get_token(&[], None).quiet();
    }
    assert_eq!(lake.workspace.grants().len(), 1);
    let first = lake.home.get_token(&[], None).quiet();
    let due = end_of(&first) - TimeDelta::seconds(20);
    poll("a token that is due", Duration::from_secs(60), || (Utc::now() > due).then_some(()));
    lake.home.get_token(&[], None).quiet();
    poll("a renewal", Duration::from_secs(60), || (lake.workspace.grants().len() == 2).then_some(()));
    let token = lake.home.get_token(&[], None).quiet().token();
    assert_eq!(lake.user_of(&token), CLIENT);
    assert_eq!(lake.workspace.grants().len(), 2);
}

/// A home whose job has a token for the client `jobs` of the shared Keycloak.
fn keycloak_job(audience: Option<&str>, more: &Value) -> (&'static Keycloak, Home) {
    let (keycloak, home) = (Keycloak::shared(), Home::new());
    let credentials =
        [("grant_type", "client_credentials"), ("client_id", "ci"), ("client_secret", Keycloak::SECRET)];
    let subject = keycloak.post("token_endpoint", &credentials);
    home.write_secret("token", subject.json["access_token"].as_str().unwrap());
    home.write_secret(".config/vaulttoken/secret", Keycloak::SECRET);
    let mut exchange = json!({
        "preset": "keycloak", "issuer": keycloak.issuer(), "identity": "job", "clientId": "jobs",
        "clientSecretFile": "secret", "certificateAuthority": keycloak.ca_file(),
    });
    if let Some(audience) = audience {
        exchange["audiences"] = json!([audience]);
    }
    exchange.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    home.settings(&json!({
        "identities": {"job": {"file": {"path": home.path("token")}}},
        "profiles": {"prod": {"source": {"tokenExchange": exchange}}},
    }));
    (keycloak, home)
}

#[test]
fn keycloak_exchanges_the_token_of_a_job_for_one_that_a_cluster_believes() {
    let (keycloak, home) = keycloak_job(Some("kubernetes"), &json!({}));
    let cluster = Cluster::shared();
    keycloak.trusted_by(cluster);
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token", "--profile=prod"]}), None);
    let who = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];
    let run = home.kubectl(&kubeconfig, &who).quiet();
    assert_eq!(run.stdout, "keycloak:service-account-ci");
    // All that the preset says, said by hand.
    let by_hand = json!({
        "preset": "generic", "clientAuthentication": "post",
        "subjectTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "parameters": {"x-note": "by hand"},
    });
    let (_, home) = keycloak_job(Some("kubernetes"), &by_hand);
    assert_eq!(claims(&home.get_token(&[], None).quiet().token())["aud"], "kubernetes");
}

#[test]
fn keycloak_s_refusals_are_told_with_what_mends_them() {
    for (audience, more, words) in [
        (Some("nobody"), json!({}), "each is the client id of a client in that realm"),
        (None, json!({"clientId": "ci"}), "switch on `Standard token exchange` for this client"),
        (
            None,
            json!({"subjectTokenType": "urn:ietf:params:oauth:token-type:jwt"}),
            "exchange an access token, and leave `subjectTokenType` out",
        ),
        (None, json!({"clientSecretFile": "other-secret"}), "check `clientId` and the secret in"),
    ] {
        let (_, home) = keycloak_job(audience, &more);
        home.write_secret(".config/vaulttoken/other-secret", "nobody-has-this-secret");
        let run = home.get_token(&[], None);
        let told = run.failed(4);
        assert!(told.contains("refused the request") && told.contains(words), "{words}: {told}");
    }
}
