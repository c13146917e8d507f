use snapbox::{assert_data_eq, str};

use super::*;
use crate::config::Transport;
use crate::env::Env;
use crate::http::scripted::{Scripted, reply, reply_with};
use crate::source::script::{at, jwt, now, told};

fn settings() -> TokenRequestSource {
    TokenRequestSource {
        context: "hub".into(),
        namespace: "team-a".into(),
        service_account: "deployer".into(),
        audiences: Vec::new(),
        ttl: None,
        uid: None,
        bound_object: false,
    }
}

/// A home whose kubeconfig leads to `server` as a user with these fields.
fn home(server: &str, user: &str) -> (tempfile::TempDir, Env) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".kube")).unwrap();
    let text = format!(
        "contexts: [{{name: hub, context: {{cluster: c, user: me}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: me, user: {user}}}]\n"
    );
    std::fs::write(folder.path().join(".kube/config"), text).unwrap();
    let home = ("HOME".to_owned(), folder.path().display().to_string());
    let path = ("PATH".to_owned(), format!("{}:/usr/bin:/bin", folder.path().display()));
    (folder, Env::of([home, path]))
}

fn open(env: &Env) -> Result<Hub, Error> {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    Hub::open("hub", &HubParts { env, transport: &Transport::default(), profile: "prod", deadline })
}

fn hub(server: &Scripted) -> Hub {
    open(&home(server.url.as_str(), "{token: hub-token}").1).unwrap()
}

fn granted(claims: &Value, end: Timestamp) -> String {
    let token = jwt("RS256", claims);
    json!({"status": {"token": token, "expirationTimestamp": end.to_rfc3339()}}).to_string()
}

const ACCOUNT: &str = r#"{"metadata": {"name": "deployer", "uid": "u-1"}}"#;
const SECRET: &str = r#"{"metadata": {"name": "vaulttoken-x", "uid": "s-1"}}"#;

#[tokio::test]
async fn the_account_is_pinned_and_the_earliest_end_counts() {
    let claims = json!({
        "sub": "system:serviceaccount:team-a:deployer", "exp": at(31_536_000).timestamp(),
        "kubernetes.io": {"warnafter": at(3_500).timestamp()},
    });
    let warned = reply_with(
        201,
        &[
            ("Warning", "299 - \"requested expiration of 7200 seconds shortened to 3600 seconds\""),
            ("Audit-Id", "a-1"),
        ],
        &granted(&claims, at(3_600)),
    );
    let server = Scripted::new([reply(200, ACCOUNT), warned]);
    let wishes = TokenRequestSource {
        ttl: Some(Duration::from_secs(7_200)),
        audiences: vec!["vault".into()],
        ..settings()
    };
    let minted = mint(&hub(&server), &wishes, now).await.unwrap();
    assert_eq!(
        minted.warnings,
        ["requested expiration of 7200 seconds shortened to 3600 seconds", "asked for 7200 s, got 3500 s",]
    );
    assert_eq!((minted.request_id.as_deref(), minted.lease.is_none()), (Some("a-1"), true));
    let token = crate::token::Token::new(minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(3_500), Limit::WarnAfter));
    let seen = server.seen();
    assert_eq!(seen[0].line(), "GET /api/v1/namespaces/team-a/serviceaccounts/deployer");
    assert_eq!(seen[0].header("authorization"), Some("Bearer hub-token"));
    assert_eq!(seen[1].target, "/api/v1/namespaces/team-a/serviceaccounts/deployer/token");
    let body: Value = serde_json::from_str(&seen[1].body).unwrap();
    assert_eq!(body["metadata"], json!({"name": "deployer", "uid": "u-1"}));
    assert_eq!(body["spec"], json!({"audiences": ["vault"], "expirationSeconds": 7_200}));
}

#[tokio::test]
async fn never_exactly_the_lifetime_that_means_a_year() {
    let claims = json!({"exp": at(3_606).timestamp()});
    let server = Scripted::new([reply(201, &granted(&claims, at(3_606)))]);
    let wishes =
        TokenRequestSource { ttl: Some(Duration::from_secs(3_607)), uid: Some("u-9".into()), ..settings() };
    let minted = mint(&hub(&server), &wishes, now).await.unwrap();
    assert!(minted.warnings.is_empty(), "{:?}", minted.warnings);
    let body: Value = serde_json::from_str(&server.seen()[0].body).unwrap();
    assert_eq!(body["spec"]["expirationSeconds"], 3_606);
    assert_eq!(body["metadata"]["uid"], "u-9", "the settings' own, without a look at the account");
    for (asked, sent) in [(3_606, 3_606), (3_608, 3_608), (600, 600)] {
        assert_eq!(seconds(Duration::from_secs(asked)), sent);
    }
}

#[tokio::test]
async fn a_secret_of_its_own_is_made_before_and_removed_where_there_is_no_token() {
    let claims = json!({"exp": at(3_600).timestamp()});
    let ended = at(-700).to_rfc3339();
    let list = json!({"items": [
        {"metadata": {"name": "old", "uid": "o", "annotations": {ENDS: ended}}},
        {"metadata": {"name": "live", "uid": "l", "annotations": {ENDS: at(0).to_rfc3339()}}},
        {"metadata": {"name": "other", "uid": "x"}},
    ]});
    let wishes = TokenRequestSource { bound_object: true, ..settings() };
    let server = Scripted::new([
        reply(200, ACCOUNT),
        reply(200, &list.to_string()),
        reply(200, "{}"),
        reply(201, SECRET),
        reply(201, &granted(&claims, at(3_600))),
    ]);
    let minted = mint(&hub(&server), &wishes, now).await.unwrap();
    let lease = minted.lease.unwrap();
    assert_eq!(lease.id, "api/v1/namespaces/team-a/secrets/vaulttoken-x s-1");
    assert_eq!(lease.ends_token, Some(true));
    let seen = server.seen();
    assert_eq!(
        seen[2].line(),
        r#"DELETE /api/v1/namespaces/team-a/secrets/old {"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"o"}}"#
    );
    let secret: Value = serde_json::from_str(&seen[3].body).unwrap();
    assert!(secret.get("data").is_none() && secret.get("stringData").is_none());
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "u-1");
    let body: Value = serde_json::from_str(&seen[4].body).unwrap();
    let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": "vaulttoken-x", "uid": "s-1"});
    assert_eq!(body["spec"]["boundObjectRef"], reference);

    let server = Scripted::new([
        reply(200, ACCOUNT),
        reply(403, "{}"),
        reply(201, SECRET),
        reply(500, r#"{"message": "etcd is gone"}"#),
        reply(200, "{}"),
    ]);
    let error = mint(&hub(&server), &wishes, now).await.unwrap_err();
    assert_eq!(error.exit_code(), crate::error::ExitCode::Unreachable);
    assert!(server.seen()[4].line().starts_with("DELETE /api/v1/namespaces/team-a/secrets/vaulttoken-x "));
}

#[tokio::test]
async fn a_lease_is_revoked_or_it_is_said_why_not() {
    let lease = Lease { id: "api/v1/namespaces/n/secrets/s u".into(), ends_token: Some(true) };
    for (status, expected) in [
        (200, Revocation::Done),
        (404, Revocation::Gone),
        (409, Revocation::Gone),
        (403, Revocation::NotAllowed),
    ] {
        let server = Scripted::new([reply(status, "{}")]);
        assert_eq!(revoke(&hub(&server), &lease).await.unwrap(), expected);
    }
    let server = Scripted::new([reply(500, "\u{1b}oops")]);
    let error = revoke(&hub(&server), &lease).await.unwrap_err();
    assert!(told(&error).contains("status 500"), "{}", told(&error));
}

#[tokio::test]
async fn what_the_server_says_against_it() {
    let words = async |status: u16, message: &str, bound: bool| {
        let refused = reply(status, &json!({"message": message}).to_string());
        let steps = if bound {
            vec![reply(200, ACCOUNT), reply(403, "{}"), refused]
        } else {
            vec![reply(200, ACCOUNT), refused]
        };
        let server = Scripted::new(steps);
        let wishes = TokenRequestSource { bound_object: bound, ..settings() };
        let error = mint(&hub(&server), &wishes, now).await.unwrap_err();
        told(&error).replace(server.url.as_str().trim_end_matches('/'), "https://hub.example")
    };
    assert_data_eq!(
        words(403, "serviceaccounts \"deployer\" is forbidden: User \"system:serviceaccount:ci:robot\" cannot create resource \"serviceaccounts/token\"", false).await,
        str![[r#"
exit 4
error: profile `prod`: `https://hub.example` forbids context `hub` to ask for a token of `deployer` in namespace `team-a`
  why: serviceaccounts "deployer" is forbidden: User "system:serviceaccount:ci:robot" cannot create resource "serviceaccounts/token"
  try: let an administrator run: kubectl --context hub --namespace team-a create role token-of-deployer --verb=create --resource=serviceaccounts/token --resource-name=deployer && kubectl --context hub --namespace team-a create rolebinding token-of-deployer --role=token-of-deployer --serviceaccount=ci:robot

"#]]
    );
    assert_data_eq!(
        words(403, "secrets is forbidden: User \"me@corp\" cannot create resource \"secrets\"", true).await,
        str![[r#"
exit 4
error: profile `prod`: `https://hub.example` forbids context `hub` to make a Secret in namespace `team-a`
  why: secrets is forbidden: User "me@corp" cannot create resource "secrets"
  try: let an administrator run: kubectl --context hub --namespace team-a create role bound-tokens --verb=create,delete --resource=secrets && kubectl --context hub --namespace team-a create rolebinding bound-tokens --role=bound-tokens --user=me@corp; or leave `boundObject` out of the profile

"#]]
    );
    assert_data_eq!(
        words(409, "the UID in the token request (u-1) does not match", false).await,
        str![[r#"
exit 4
error: profile `prod`: service account `deployer` in namespace `team-a` is not the one that was expected
  why: the UID in the token request (u-1) does not match
  try: if that was meant: kubectl --context hub --namespace team-a get serviceaccount deployer --output=jsonpath={.metadata.uid}, and write it as `uid`

"#]]
    );
    assert_data_eq!(
        words(404, "serviceaccounts \"deployer\" not found", false).await,
        str![[r#"
exit 4
error: profile `prod`: `https://hub.example` has no service account `deployer` in namespace `team-a`
  why: serviceaccounts "deployer" not found
  try: kubectl --context hub --namespace team-a create serviceaccount deployer

"#]]
    );
    assert_data_eq!(
        words(401, "Unauthorized", false).await,
        str![[r#"
exit 4
error: profile `prod`: `https://hub.example` does not take the credential of context `hub`
  why: Unauthorized
  try: kubectl --context hub auth whoami

"#]]
    );
    assert_data_eq!(
        words(422, "spec.audiences: bad", false).await,
        str![[r#"
exit 4
error: profile `prod`: `https://hub.example` gave no token of service account `deployer` in namespace `team-a`
  why: spec.audiences: bad

"#]]
    );
    let too_short = TokenRequestSource { ttl: Some(Duration::from_secs(599)), ..settings() };
    let error = mint(&hub(&Scripted::new([])), &too_short, now).await.unwrap_err();
    assert_data_eq!(
        told(&error),
        str![[r#"
exit 2
error: profile `prod`: no cluster gives a token for less than ten minutes
  try: ask for `ttl: 10m` or more

"#]]
    );
    let server = Scripted::new([reply(200, ACCOUNT), reply(201, r#"{"status": {"token": ["s3cret"]}}"#)]);
    let error = mint(&hub(&server), &settings(), now).await.unwrap_err();
    assert!(told(&error).contains("why: it has no `status.token` that is text\n"));
}

#[test]
fn contexts_that_cannot_be_used() {
    let words = |server: &str, user: &str| told(&open(&home(server, user).1).err().unwrap());
    assert_data_eq!(
        words("http://hub.example", "{token: t}"),
        str![[r#"
exit 7
error: profile `prod`: refused to send the credential of context `hub` to `http://hub.example`
  why: it is not an https address
  try: give the context's cluster an https address

"#]]
    );
    assert_data_eq!(
        words("https://hub.example", "{username: me, password: s3cret}"),
        str![[r#"
exit 2
error: profile `prod`: kubeconfig context `hub` cannot be used to ask for tokens
  why: its user has a user name and a password
  try: give the context a user with a certificate, a token or a plugin

"#]]
    );
    assert_data_eq!(
        words("https://hub.example', insecure-skip-tls-verify: true, x: '", "{token: t}"),
        str![[r#"
exit 7
error: profile `prod`: refused to send the credential of context `hub` to `https://hub.example`
  why: it switches TLS verification off
  try: give the context's cluster its CA: kubectl config set-cluster NAME --certificate-authority=FILE

"#]]
    );
    let own = "{exec: {command: kubectl-vaulttoken, args: [get-token, --profile=prod]}}";
    assert_data_eq!(
        words("https://hub.example", own),
        str![[r#"
exit 2
error: profile `prod`: kubeconfig context `hub` cannot be used to ask for tokens
  why: its own credential comes from profile `prod`, which asks
  try: name another `context` in the profile

"#]]
    );
    let missing = "{exec: {command: no-such-plugin}}";
    assert_data_eq!(
        words("https://hub.example", missing),
        str![[r#"
exit 2
error: profile `prod`: the plugin `no-such-plugin` of context `hub` gave no credential
  why: it is not on `PATH`
  try: kubectl --context hub auth whoami

"#]]
    );
    assert!(words("https://hub.example", "{tokenFile: nowhere}").contains("nowhere`"));
}

#[cfg(unix)]
#[test]
fn a_plugin_is_run_as_client_go_runs_it_and_never_in_a_circle() {
    let plugin = |script: &str| {
        let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin, args: [a b], \
                    env: [{name: X, value: y}], provideClusterInfo: true}}";
        let (folder, env) = home("https://hub.example", exec);
        let file = folder.path().join("plugin");
        std::fs::write(&file, format!("#!/bin/sh\ncd '{}'\n{script}\n", folder.path().display())).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        (folder, env)
    };
    let good = r#"echo "$1 $X $VAULTTOKEN_REQUESTED_BY" > words; echo "$KUBERNETES_EXEC_INFO" > info
echo '{"status": {"token": "of-the-plugin"}}'"#;
    let (folder, env) = plugin(good);
    assert!(open(&env).is_ok());
    assert_eq!(std::fs::read_to_string(folder.path().join("words")).unwrap(), "a b y prod\n");
    let info: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("info")).unwrap()).unwrap();
    assert_eq!(info["spec"], json!({"interactive": false, "cluster": {"server": "https://hub.example"}}));
    // Two profiles that would wait for each other.
    let mut variables = env.variables().clone();
    variables.insert("VAULTTOKEN_REQUESTED_BY".into(), "prod,other".into());
    assert!(told(&open(&Env::of(variables)).err().unwrap()).contains("which asks"));
    for (script, code, why) in [
        ("echo no >&2; exit 1", "exit 4\n", "why: exit status: 1 no\n"),
        (
            "echo '{\"status\": {}}'",
            "exit 6\n",
            "why: it printed no ExecCredential with a token or a certificate\n",
        ),
    ] {
        let words = told(&open(&plugin(script).1).err().unwrap());
        assert!(words.starts_with(code) && words.contains(why), "{words}");
    }
}
