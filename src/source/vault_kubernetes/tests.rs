use proptest::prelude::*;
use serde_json::Value;
use snapbox::{assert_data_eq, str};

use super::*;
use crate::error::Explain as _;
use crate::source::script::{Script, at, jwt, now, told};
use crate::token::Token;

const CREDS: &str = "POST kubernetes/prod/creds/deployer";
const ROLE: &str = "GET kubernetes/prod/roles/deployer";
const HOUR: i64 = 3_600;

fn settings() -> VaultKubernetes {
    VaultKubernetes {
        vault: None,
        mount: "kubernetes/prod".into(),
        role: "deployer".into(),
        namespace: Some("team-a".into()),
        ttl: None,
        audiences: Vec::new(),
        cluster_role_binding: false,
    }
}

fn credential(lifetime: i64, lease: i64) -> Value {
    let claims = json!({
        "iat": at(0).timestamp(), "exp": at(lifetime).timestamp(), "jti": "7f",
        "sub": "system:serviceaccount:team-a:deployer"
    });
    json!({
        "lease_id": "kubernetes/prod/creds/deployer/abc",
        "lease_duration": lease,
        "data": {
            "service_account_name": "deployer",
            "service_account_namespace": "team-a",
            "service_account_token": jwt("RS256", &claims)
        }
    })
}

fn existing() -> Value {
    json!({"data": {"service_account_name": "deployer", "kubernetes_role_name": "", "generated_role_rules": ""}})
}

fn generated() -> Value {
    json!({"data": {"service_account_name": "", "kubernetes_role_name": "view", "generated_role_rules": ""}})
}

async fn minted(script: &Script) -> Minted {
    mint(script, &settings(), now).await.unwrap()
}

/// The words for a refusal of the engine.
async fn refused(status: u16, error: &str) -> String {
    let script = Script::new().refuse(CREDS, status, error);
    let error = mint(&script, &settings(), now).await.unwrap_err();
    script.played();
    told(&error)
}

async fn unusable(change: impl FnOnce(&mut Value)) -> String {
    let mut answer = credential(HOUR, HOUR);
    change(answer.get_mut("data").unwrap());
    told(&mint(&Script::new().on(CREDS, 200, answer), &settings(), now).await.unwrap_err())
}

#[tokio::test]
async fn the_engine_is_asked_for_what_the_settings_say() {
    let script = Script::new().on("POST k8s/creds/my%20role", 200, credential(HOUR, HOUR));
    let settings = VaultKubernetes {
        mount: "k8s".into(),
        role: "my role".into(),
        ttl: Some(Duration::from_secs(5_400)),
        audiences: vec!["a".into(), "b".into()],
        cluster_role_binding: true,
        ..settings()
    };
    mint(&script, &settings, now).await.unwrap();
    assert_eq!(
        script.played(),
        ["POST k8s/creds/my%20role {\"audiences\":[\"a\",\"b\"],\"cluster_role_binding\":true,\
          \"kubernetes_namespace\":\"team-a\",\"ttl\":\"5400s\"}"]
    );
}

#[tokio::test]
async fn what_the_settings_leave_out_the_role_decides() {
    let script = Script::new().on(CREDS, 200, credential(HOUR, HOUR));
    mint(&script, &VaultKubernetes { namespace: None, ..settings() }, now).await.unwrap();
    assert_eq!(script.played(), ["POST kubernetes/prod/creds/deployer {}"]);
}

#[tokio::test]
async fn where_the_ends_are_one_the_role_is_not_read() {
    let script = Script::new().session_until(at(HOUR - 30)).on(CREDS, 200, credential(HOUR, HOUR));
    let minted = minted(&script).await;
    assert_eq!(script.played().len(), 1);
    assert_eq!(minted.lease.as_ref().unwrap().ends_token, None);
    assert_eq!(minted.lease.as_ref().unwrap().id, "kubernetes/prod/creds/deployer/abc");
    assert_eq!(minted.subject.as_deref(), Some("system:serviceaccount:team-a:deployer"));
    // The shorter life is assumed all the same.
    let token = Token::new(minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(HOUR - 30), Limit::Session));
}

#[tokio::test]
async fn the_token_of_an_existing_account_lives_until_its_own_end() {
    let script =
        Script::new().session_until(at(60)).on(CREDS, 200, credential(HOUR, 900)).on(ROLE, 200, existing());
    let minted = minted(&script).await;
    assert_eq!(script.played().len(), 2, "a session that does not matter is not renewed");
    assert_eq!(minted.lease.as_ref().unwrap().ends_token, Some(false));
    let token = Token::new(minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(HOUR), Limit::Expiry));
}

#[tokio::test]
async fn a_generated_account_ends_with_its_lease() {
    let script = Script::new().on(CREDS, 200, credential(HOUR, 900)).on(ROLE, 200, generated());
    let minted = minted(&script).await;
    script.played();
    assert_eq!(minted.lease.as_ref().unwrap().ends_token, Some(true));
    let token = Token::new(minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(900), Limit::Lease));
    assert_eq!(token.expires_at, Some(at(HOUR)));
}

#[tokio::test]
async fn generated_rules_are_a_generated_account_too() {
    let rules = json!({"data": {"service_account_name": "", "generated_role_rules": "rules: []"}});
    let script = Script::new().on(CREDS, 200, credential(HOUR, 900)).on(ROLE, 200, rules);
    assert_eq!(minted(&script).await.lease.unwrap().ends_token, Some(true));
}

/// A generated account whose session ends in five minutes, and can be renewed to 2000 seconds.
fn renewed() -> Script {
    Script::new()
        .session_until(at(300))
        .on(CREDS, 200, credential(HOUR, HOUR))
        .on(ROLE, 200, generated())
        .on("POST auth/token/renew-self", 200, json!({"data": null, "auth": {"lease_duration": 2_000}}))
        .on("GET auth/token/lookup-self", 200, json!({"data": {"expire_time": "2030-01-01T00:33:20Z"}}))
}

#[tokio::test]
async fn a_session_that_would_end_a_generated_account_early_is_renewed() {
    let script = renewed();
    let token = Token::new(minted(&script).await, now()).unwrap();
    assert_eq!(
        script.played()[2..],
        ["POST auth/token/renew-self {\"increment\":\"3600s\"}", "GET auth/token/lookup-self"]
    );
    assert_eq!((token.usable_until, token.limited_by), (at(2_000), Limit::Session));
}

#[tokio::test]
async fn the_end_of_another_session_says_nothing_about_this_token() {
    let mut script = renewed();
    let other = Session { obtained_at: at(1), ..script.session.clone() };
    script.replaced = Some(("auth/token/lookup-self", other));
    let token = Token::new(minted(&script).await, now()).unwrap();
    script.played();
    assert_eq!(token.usable_until, at(300));
}

#[tokio::test]
async fn a_session_that_will_not_be_renewed_ends_the_token() {
    let script = Script::new()
        .session_until(at(300))
        .on(CREDS, 200, credential(HOUR, HOUR))
        .on(ROLE, 200, generated())
        .deny("POST auth/token/renew-self");
    let token = Token::new(minted(&script).await, now()).unwrap();
    script.played();
    assert_eq!((token.usable_until, token.limited_by), (at(300), Limit::Session));
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_is_what_is_told_of() {
    let script =
        Script::new().session_until(at(0)).on(CREDS, 200, credential(HOUR, HOUR)).on(ROLE, 200, generated());
    let script = script.deny("POST auth/token/renew-self");
    let error = mint(&script, &settings(), now).await.unwrap_err();
    script.played();
    assert_eq!(error.exit_code(), crate::error::ExitCode::LoginRequired);
    assert!(error.to_failure().why.is_some_and(|why| why.contains("the session ended")));
}

#[tokio::test]
async fn a_session_that_is_not_ours_is_not_renewed() {
    let mut script = Script::new().session_until(at(300)).on(CREDS, 200, credential(HOUR, HOUR)).on(
        ROLE,
        200,
        generated(),
    );
    script.session.ours = false;
    let token = Token::new(minted(&script).await, now()).unwrap();
    assert_eq!(script.played().len(), 2);
    assert_eq!(token.usable_until, at(300));
}

#[tokio::test]
async fn where_the_role_may_not_be_read_the_shorter_life_is_assumed() {
    let script = Script::new().session_until(at(1_200)).on(CREDS, 200, credential(HOUR, HOUR)).deny(ROLE);
    let minted = minted(&script).await;
    script.played();
    assert_eq!(minted.lease.as_ref().unwrap().ends_token, None);
    assert_eq!(Token::new(minted, now()).unwrap().usable_until, at(1_200));
}

#[tokio::test]
async fn an_answer_without_a_lease_is_ended_by_none() {
    let mut answer = credential(HOUR, 0);
    answer.as_object_mut().unwrap().remove("lease_id");
    let minted = minted(&Script::new().on(CREDS, 200, answer)).await;
    assert_eq!(minted.lease, None);
    assert_eq!(Token::new(minted, now()).unwrap().usable_until, at(HOUR));
}

#[tokio::test]
async fn a_shorter_life_than_asked_for_is_told_beside_the_servers_warnings() {
    let mut answer = credential(HOUR, HOUR);
    let capped = "ttl of 2h0m0s is greater than the role's token_max_ttl of 1h0m0s; capping accordingly";
    answer.as_object_mut().unwrap().insert("warnings".into(), json!([capped]));
    let settings = VaultKubernetes { ttl: Some(Duration::from_secs(7_200)), ..settings() };
    let minted = mint(&Script::new().on(CREDS, 200, answer), &settings, now).await.unwrap();
    assert_eq!(minted.warnings, [capped, "asked for 2h, got 1h"]);

    let settings = VaultKubernetes { ttl: Some(Duration::from_secs(3_600)), ..settings };
    let minted =
        mint(&Script::new().on(CREDS, 200, credential(HOUR - 1, HOUR)), &settings, now).await.unwrap();
    assert_eq!(minted.warnings, [""; 0], "a second is no difference");
}

#[test]
fn lifetimes_are_written_as_in_the_settings() {
    let written = |seconds| in_words(TimeDelta::seconds(seconds));
    assert_eq!(written(0), "0s");
    assert_eq!(written(59), "59s");
    assert_eq!(written(600), "10m");
    assert_eq!(written(5_400), "1h30m");
    assert_eq!(written(3_601), "1h1s");
}

#[tokio::test]
async fn a_denied_call_and_an_outage_pass_as_they_are() {
    let script = Script::new().deny(CREDS);
    let error = mint(&script, &settings(), now).await.unwrap_err();
    assert!(
        matches!(&error, Error::Vault(VaultError::Denied { path, .. }) if path == "kubernetes/prod/creds/deployer"),
        "{error:?}"
    );
    let script = Script::new().fail(CREDS, || VaultError::Sealed { vault: "v".into() });
    let error = mint(&script, &settings(), now).await.unwrap_err();
    assert!(matches!(error, Error::Vault(VaultError::Sealed { .. })), "{error:?}");
    let climbing = VaultKubernetes { role: "../../sys/seal".into(), ..settings() };
    let error = mint(&Script::new(), &climbing, now).await.unwrap_err();
    assert!(matches!(error, Error::Vault(VaultError::Path { .. })), "{error:?}");
}

#[tokio::test]
async fn refusals_of_the_engine() {
    assert_data_eq!(
        refused(400, "role 'deployer' does not exist").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no role `deployer` in `kubernetes/prod`
  why: role 'deployer' does not exist
  try: set `role` in the profile to one that `vault list kubernetes/prod/roles` or `bao list kubernetes/prod/roles` shows

"#]]
    );
    assert_data_eq!(
        refused(400, "kubernetes_namespace 'team-a' is not present in role's allowed_kubernetes_namespaces or does not match").await,
        str![[r#"
exit 4
error: profile `prod`: role `deployer` in `kubernetes/prod` of `https://vault.example:8200` does not allow namespace `team-a`
  why: kubernetes_namespace 'team-a' is not present in role's allowed_kubernetes_namespaces or does not match
  try: set `namespace` in the profile to one that `vault read kubernetes/prod/roles/deployer` or `bao read kubernetes/prod/roles/deployer` allows

"#]]
    );
    assert_data_eq!(
        refused(500, "error verifying namespace: 'kubernetes_namespace' is required unless the OpenBao role has a single namespace specified").await,
        str![[r#"
exit 4
error: profile `prod`: role `deployer` in `kubernetes/prod` of `https://vault.example:8200` needs a namespace to be named
  why: error verifying namespace: 'kubernetes_namespace' is required unless the OpenBao role has a single namespace specified
  try: set `namespace` in the profile's `vaultKubernetes`, or pass `--namespace`

"#]]
    );
    assert_data_eq!(
        refused(400, "a ClusterRoleBinding cannot ref a Role").await,
        str![[r#"
exit 4
error: profile `prod`: role `deployer` in `kubernetes/prod` of `https://vault.example:8200` cannot be bound in the whole cluster
  why: a ClusterRoleBinding cannot ref a Role
  try: leave `clusterRoleBinding` out of the profile, or use a role whose `kubernetes_role_type` is `ClusterRole`

"#]]
    );
    assert_data_eq!(
        refused(500, "1 error occurred:\n\t* could not load backend configuration\n\n").await,
        str![[r#"
exit 4
error: profile `prod`: `kubernetes/prod` of `https://vault.example:8200` is not configured for any cluster
  why: 1 error occurred: * could not load backend configuration
  try: write `kubernetes_host`, `kubernetes_ca_cert` and `service_account_jwt` to `kubernetes/prod/config`

"#]]
    );
    assert_data_eq!(
        refused(404, "no handler for route \"kubernetes/prod/creds/deployer\". route entry not found.").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has nothing mounted at `kubernetes/prod`
  try: set `mount` in the profile to a path that `vault secrets list` or `bao secrets list` shows

"#]]
    );
    assert_data_eq!(
        refused(400, "failed to decode JSON input: \u{1b}[2Jinvalid character").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` refused a token for role `deployer` in `kubernetes/prod`
  why: failed to decode JSON input: �[2Jinvalid character

"#]]
    );
    assert_data_eq!(
        refused(404, "").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` refused a token for role `deployer` in `kubernetes/prod`

"#]]
    );
}

#[tokio::test]
async fn refusals_of_the_cluster_behind_it() {
    let head = "failed to create a service account token for team-a/deployer: ";
    let refused = async |words: &str| refused(500, &format!("{head}{words}")).await;
    assert_data_eq!(
        refused("TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes").await,
        str![[r#"
exit 4
error: profile `prod`: the API server behind `kubernetes/prod` of `https://vault.example:8200` refused so short a token for role `deployer`
  why: failed to create a service account token for team-a/deployer: TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes
  try: set `ttl: 10m` or more in the profile's `vaultKubernetes`

"#]]
    );
    assert_data_eq!(
        refused("serviceaccounts \"deployer\" not found").await,
        str![[r#"
exit 4
error: profile `prod`: the API server behind `kubernetes/prod` of `https://vault.example:8200` has no service account as role `deployer` names it
  why: failed to create a service account token for team-a/deployer: serviceaccounts "deployer" not found
  try: create the service account that `kubernetes/prod/roles/deployer` names: `kubectl create serviceaccount NAME --namespace team-a`

"#]]
    );
    assert_data_eq!(
        refused("namespaces \"team-a\" not found").await,
        str![[r#"
exit 4
error: profile `prod`: the API server behind `kubernetes/prod` of `https://vault.example:8200` does not have namespace `team-a`
  why: failed to create a service account token for team-a/deployer: namespaces "team-a" not found
  try: kubectl create namespace team-a

"#]]
    );
    assert_data_eq!(
        refused("serviceaccounts \"deployer\" is forbidden: User \"system:serviceaccount:vault:vault\" cannot create resource \"serviceaccounts/token\"").await,
        str![[r#"
exit 4
error: profile `prod`: the API server behind `kubernetes/prod` of `https://vault.example:8200` does not allow the engine's own account what role `deployer` needs
  why: failed to create a service account token for team-a/deployer: serviceaccounts "deployer" is forbidden: User "system:serviceaccount:vault:vault" cannot create resource "serviceaccounts/token"
  try: bind a ClusterRole with that right to the service account whose token `kubernetes/prod/config` holds

"#]]
    );
    assert_data_eq!(
        refused("Unauthorized").await,
        str![[r#"
exit 4
error: profile `prod`: the API server behind `kubernetes/prod` of `https://vault.example:8200` does not accept the engine's own token
  why: failed to create a service account token for team-a/deployer: Unauthorized
  try: write a fresh `service_account_jwt` to `kubernetes/prod/config`

"#]]
    );
    assert_data_eq!(
        refused("Post \"https://10.0.0.1:6443/api/v1/namespaces/team-a/serviceaccounts/deployer/token\": dial tcp 10.0.0.1:6443: connect: connection refused").await,
        str![[r#"
exit 5
error: profile `prod`: `https://vault.example:8200` cannot reach the API server behind `kubernetes/prod`
  why: failed to create a service account token for team-a/deployer: Post "https://10.0.0.1:6443/api/v1/namespaces/team-a/serviceaccounts/deployer/token": dial tcp 10.0.0.1:6443: connect: connection refused
  try: try again later; `kubernetes/prod/config` in Vault names the API server and its CA

"#]]
    );
}

#[test]
fn without_a_namespace_the_hints_leave_it_open() {
    let refused = |reason| Refused {
        vault: "v".into(),
        mount: "k".into(),
        role: "r".into(),
        namespace: None,
        reason,
        words: None,
    };
    let missing = refused(Reason::NamespaceMissing);
    assert_eq!(missing.to_string(), "the API server behind `k` of `v` does not have the role's namespace");
    assert_eq!(missing.hint().unwrap(), "create the namespace that `k/roles/r` allows");
    assert_eq!(
        refused(Reason::AccountMissing).hint().unwrap(),
        "create the service account that `k/roles/r` names: `kubectl create serviceaccount NAME`"
    );
}

#[test]
fn every_way_of_not_reaching_the_api_server_is_told_from_its_words() {
    for words in [
        "dial tcp: lookup api.example: no such host",
        "dial tcp 10.0.0.1:6443: i/o timeout",
        "dial tcp 10.0.0.1:6443: connect: no route to host",
        "net/http: TLS handshake timeout",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "Post \"https://10.0.0.1:6443/api\": EOF",
        "client rate limiter Wait returned an error: context deadline exceeded",
    ] {
        assert_eq!(Reason::of(&[words.to_owned()]), Reason::Unreachable, "{words}");
    }
    let of = |words: &str| Reason::of(&[words.to_owned()]);
    assert_eq!(
        of("open /var/run/secrets/kubernetes.io/serviceaccount/ca.crt: no such file"),
        Reason::Unconfigured
    );
    assert_eq!(of("something else"), Reason::Other);
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    assert_data_eq!(
        unusable(|data| data["service_account_namespace"] = json!("other")).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: it holds a token for namespace `other`, asked for was one for `team-a`

"#]]
    );
    assert_data_eq!(
        unusable(|data| data["service_account_token"] = json!("  ")).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: `service_account_token` is empty

"#]]
    );
    assert_data_eq!(
        unusable(|data| data["service_account_token"] = json!(["s3cret"])).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: `service_account_token` is a list, not text

"#]]
    );
    assert_data_eq!(
        unusable(|data| data["service_account_token"] = json!(null)).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: `service_account_token` is missing

"#]]
    );
    assert_data_eq!(
        unusable(|data| data["service_account_name"] = json!("")).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: `service_account_name` is empty

"#]]
    );
    assert_data_eq!(
        unusable(|data| data["service_account_name"] = json!(3)).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: `service_account_name` is a number, not text

"#]]
    );
    let script = Script::new().on(CREDS, 204, json!({}));
    assert_data_eq!(
        told(&mint(&script, &settings(), now).await.unwrap_err()),
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `kubernetes/prod/creds/deployer` cannot be used
  why: it has no `data`

"#]]
    );
}

proptest! {
    #[test]
    fn a_token_is_never_usable_after_anything_that_ends_it(
        token in proptest::option::of(1..100_000_i64),
        lease in proptest::option::of(1..100_000_i64),
        session in proptest::option::of(1..100_000_i64),
        kind in prop_oneof![Just(None), Just(Some(Kind::Existing)), Just(Some(Kind::Generated))],
    ) {
        let ends = Ends { token: token.map(at), lease: lease.map(at), session: session.map(at) };
        let minted = Minted {
            secret: secrecy::SecretString::from("opaque"),
            bounds: ends.bounds(kind),
            subject: None,
            lease: None,
            warnings: Vec::new(),
            request_id: None,
        };
        let usable_until = Token::new(minted, now()).unwrap().usable_until;
        let mut limits: Vec<_> = token.into_iter().collect();
        if kind != Some(Kind::Existing) {
            limits.extend(lease);
            limits.extend(session);
        }
        // Exactly the earliest, and five minutes where there is none.
        prop_assert_eq!(usable_until, at(limits.into_iter().min().unwrap_or(300)));
    }

    #[test]
    fn the_kind_matters_only_where_something_ends_a_minute_early(
        token in 1..100_000_i64, lease in 1..100_000_i64, session in 1..100_000_i64,
    ) {
        let ends = Ends { token: Some(at(token)), lease: Some(at(lease)), session: Some(at(session)) };
        prop_assert_eq!(ends.matter(), token - lease.min(session) > 60);
    }
}

#[test]
fn the_engines_own_names_are_known() {
    let generated = "system:serviceaccount:team:v-userpass-viewer-1795341881-sbauqzspnqsubndttmyf9fjy";
    assert!(is_named_by_the_engine(generated));
    for other in [
        "system:serviceaccount:team:deployer",
        "v-2",
        "",
        "v-a-b-1795341881-short",
        "x-a-1795341881-sbauqzspnqsubndttmyf9fjy",
    ] {
        assert!(!is_named_by_the_engine(other), "{other}");
    }
}
