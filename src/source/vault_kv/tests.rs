use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::*;
use crate::source::field::Field;
use crate::source::script::{Script, at, jwt, now, told};
use crate::token::{Limit, Token};

const TWO: &str = "GET secret/data/sa/prod-eu/payments";
const ONE: &str = "GET secret/sa/prod-eu/payments";
const MOUNT: &str = "GET sys/internal/ui/mounts/secret/sa/prod-eu/payments";
const METADATA: &str = "GET secret/metadata/sa/prod-eu/payments";

fn settings() -> VaultKv {
    VaultKv {
        vault: None,
        mount: "secret".into(),
        path: "sa/{cluster}/{team}".into(),
        field: "token".into(),
        cluster: Some("prod-eu".into()),
        team: Some("payments".into()),
    }
}

fn written(data: Value) -> Value {
    let mut answer = json!({"data": {"metadata": {"created_time": "2029-12-31T23:50:00.123456789Z",
        "custom_metadata": null, "deletion_time": "", "destroyed": false, "version": 3}}});
    answer["data"]["data"] = data;
    answer
}

fn token(lifetime: i64) -> String {
    jwt("RS256", &json!({"sub": "system:serviceaccount:a:b", "exp": at(lifetime).timestamp()}))
}

fn mounted(path: &str, engine: &str, options: &Value) -> Value {
    json!({"data": {"path": path, "type": engine, "options": options}})
}

fn nothing() -> Value {
    json!({"errors": []})
}

fn gone(deletion_time: &str, destroyed: bool) -> Value {
    json!({"data": {"data": null, "metadata": {"created_time": "2029-12-31T22:00:00Z",
        "deletion_time": deletion_time, "destroyed": destroyed, "version": 3}}})
}

async fn read_by(script: &Script) -> Result<Document, Error> {
    let document = read(script, &settings(), &Asking::default(), now).await;
    script.played();
    document
}

async fn refused(script: Script) -> String {
    told(&read_by(&script).await.unwrap_err())
}

/// What a document of version 2 with these fields is refused for.
async fn unusable(data: Value) -> String {
    refused(Script::new().on(TWO, 200, written(data))).await
}

async fn token_of(data: Value) -> Token {
    let document = read_by(&Script::new().on(TWO, 200, written(data))).await.unwrap();
    Token::new(document.minted, now()).unwrap()
}

#[tokio::test]
async fn one_call_reads_a_document_of_version_2() {
    let script = Script::new().on(TWO, 200, written(json!({"token": token(1_800)})));
    let document = read(&script, &settings(), &Asking::default(), now).await.unwrap();
    assert_eq!(script.played(), [TWO]);
    assert_eq!(document.cluster, DocumentCluster::default());
    assert_eq!(document.place.path(), "secret/sa/prod-eu/payments");
    let token = Token::new(document.minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(1_800), Limit::Expiry));
    assert_eq!(token.subject.as_deref(), Some("system:serviceaccount:a:b"));
}

#[tokio::test]
async fn a_whole_document_is_taken_as_the_controller_writes_it() {
    let document = written(json!({
        "token": "opaque", "expirationTimestamp": "2030-01-01T00:20:00Z", "issuedAt": "2029-12-31T23:20:00Z",
        "cluster": "prod-eu", "team": "payments", "server": "https://prod.example:6443",
        "certificateAuthorityData": "", "namespace": "team-a", "serviceAccount": "deployer",
        "audiences": ["https://kubernetes"], "jti": "7f", "edgeUid": "u", "generation": 4
    }));
    let asking = Asking { server: Some("https://PROD.example:6443/".into()), certificate_authority: None };
    let document = read(&Script::new().on(TWO, 200, document), &settings(), &asking, now).await.unwrap();
    assert_eq!(document.cluster.server.as_deref(), Some("https://prod.example:6443"));
    assert_eq!(document.minted.subject.as_deref(), Some("system:serviceaccount:team-a:deployer"));
    let token = Token::new(document.minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(1_200), Limit::Document));
    assert_eq!(token.secret.expose_secret(), "opaque");
}

#[tokio::test]
async fn a_document_of_version_1_is_found_by_its_mount() {
    for options in [json!(null), json!({}), json!({"version": "1"})] {
        let script = Script::new()
            .on(TWO, 404, nothing())
            .on(MOUNT, 200, mounted("secret/", "kv", &options))
            .on(ONE, 200, json!({"lease_duration": 30, "data": {"token": token(1_800)}}));
        let document = read_by(&script).await.unwrap();
        assert_eq!(Token::new(document.minted, now()).unwrap().usable_until, at(1_800));
        assert_eq!(script.played(), [TWO, MOUNT, ONE]);
    }
}

#[tokio::test]
async fn a_document_of_version_1_is_found_where_its_mount_may_not_be_looked_up() {
    let script = Script::new().deny(TWO).deny(MOUNT).on(ONE, 200, json!({"data": {"token": token(1_800)}}));
    assert!(read_by(&script).await.is_ok());
}

#[tokio::test]
async fn a_secret_of_version_1_below_data_is_no_document_of_version_2() {
    let script = Script::new()
        .on(TWO, 200, json!({"data": {"token": "of another secret"}}))
        .on(MOUNT, 200, mounted("secret/", "kv", &json!(null)))
        .on(ONE, 200, json!({"data": {"token": token(1_800)}}));
    assert!(read_by(&script).await.is_ok());
}

#[tokio::test]
async fn where_all_is_denied_the_path_of_version_2_is_named() {
    for script in [
        Script::new().deny(TWO).deny(MOUNT).deny(ONE),
        Script::new().deny(TWO).on(MOUNT, 200, mounted("secret/", "kv", &json!({"version": "2"}))),
        Script::new().deny(TWO).deny(MOUNT).on(ONE, 404, nothing()),
    ] {
        let error = read_by(&script).await.unwrap_err();
        assert!(
            matches!(&error, Error::Vault(VaultError::Denied { path, .. }) if path == "secret/data/sa/prod-eu/payments"),
            "{error:?}"
        );
    }
    let script = Script::new().deny(TWO).on(MOUNT, 200, mounted("secret/", "kv", &json!(null))).deny(ONE);
    let error = read_by(&script).await.unwrap_err();
    assert!(
        matches!(&error, Error::Vault(VaultError::Denied { path, .. }) if path == "secret/sa/prod-eu/payments"),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_outage_passes_as_it_is() {
    let sealed = || VaultError::Sealed { vault: "v".into() };
    for script in [
        Script::new().fail(TWO, sealed),
        Script::new().on(TWO, 404, nothing()).fail(MOUNT, sealed),
        Script::new().on(TWO, 404, nothing()).deny(MOUNT).fail(ONE, sealed),
    ] {
        let error = read_by(&script).await.unwrap_err();
        assert!(matches!(error, Error::Vault(VaultError::Sealed { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn the_ways_in_which_there_is_no_secret() {
    let two = json!({"version": "2"});
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, nothing()).on(MOUNT, 200, mounted("secret/", "kv", &two))).await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no secret at `secret/sa/prod-eu/payments`
  try: correct `path`, `cluster` and `team` in the profile's `vaultKv`, or see whether the controller has written it yet

"#]]
    );
    let invalid = json!({"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine."]});
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, nothing()).deny(MOUNT).on(ONE, 404, invalid)).await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no secret at `secret/sa/prod-eu/payments`
  try: correct `path`, `cluster` and `team` in the profile's `vaultKv`, or see whether the controller has written it yet

"#]]
    );
    let none = json!(null);
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, nothing()).on(MOUNT, 200, mounted("secret/", "kv", &none)).on(
            ONE,
            404,
            nothing()
        ))
        .await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no secret at `secret/sa/prod-eu/payments`
  try: correct `path`, `cluster` and `team` in the profile's `vaultKv`, or see whether the controller has written it yet

"#]]
    );
}

#[tokio::test]
async fn the_ways_in_which_a_version_is_gone() {
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, gone("", true))).await,
        str![[r#"
exit 4
error: profile `prod`: the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` was destroyed
  try: see why whoever rotates `secret/sa/prod-eu/payments` has not written a new version

"#]]
    );
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, gone("2029-12-31T23:00:00Z", false)).deny(METADATA)).await,
        str![[r#"
exit 4
error: profile `prod`: the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` was deleted
  why: its `deletion_time` is 2029-12-31T23:00:00Z
  try: bring it back with `vault kv undelete -versions=3 secret/sa/prod-eu/payments` or `bao kv undelete -versions=3 secret/sa/prod-eu/payments`, or write it anew

"#]]
    );
    let kept_for = |lifetime: &str| json!({"data": {"delete_version_after": lifetime}});
    let outlived = "2030-01-01T00:00:01.5Z";
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, gone(outlived, false)).on(METADATA, 200, kept_for("2h0m0s")))
            .await,
        str![[r#"
exit 4
error: profile `prod`: the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` has outlived its `delete_version_after`
  why: its time was over at 2030-01-01T00:00:01Z
  try: see why whoever rotates `secret/sa/prod-eu/payments` has not written a new version

"#]]
    );
    for lifetime in ["0s", "1h0m0s", "nonsense"] {
        let script = Script::new().on(TWO, 404, gone(outlived, false)).on(METADATA, 200, kept_for(lifetime));
        let text = refused(script).await;
        assert!(text.contains("was deleted"), "{lifetime}: {text}");
    }
}

#[tokio::test]
async fn mounts_that_hold_no_document() {
    let (two, none) = (json!({"version": "2"}), json!(null));
    assert_data_eq!(
        refused(Script::new().refuse(
            TWO,
            404,
            "no handler for route \"secret/data/sa\". route entry not found."
        ))
        .await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has nothing mounted at `secret`
  try: set `mount` in the profile to a path that `vault secrets list` or `bao secrets list` shows

"#]]
    );
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, nothing()).on(MOUNT, 200, mounted("secret/", "transit", &none)))
            .await,
        str![[r#"
exit 4
error: profile `prod`: `secret/sa/prod-eu/payments` in `https://vault.example:8200` is not in a kv engine but in one of type `transit`
  try: set `mount` in the profile's `vaultKv` to a mount of type `kv`

"#]]
    );
    assert_data_eq!(
        refused(Script::new().on(TWO, 404, nothing()).on(MOUNT, 200, mounted("secret/sa/", "kv", &two)))
            .await,
        str![[r#"
exit 4
error: profile `prod`: `secret/sa/prod-eu/payments` in `https://vault.example:8200` belongs to the mount `secret/sa`
  try: set `mount: secret/sa` in the profile's `vaultKv`, and leave it out of `path`

"#]]
    );
    assert_data_eq!(
        refused(Script::new().refuse(TWO, 400, "something else")).await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` refused to read `secret/sa/prod-eu/payments`
  why: something else

"#]]
    );

    let settings = VaultKv { path: "data/x".into(), ..settings() };
    let script = Script::new().on("GET secret/data/data/x", 404, nothing()).on(
        "GET sys/internal/ui/mounts/secret/data/x",
        200,
        mounted("secret/", "kv", &two),
    );
    let error = read(&script, &settings, &Asking::default(), now).await.unwrap_err();
    assert_data_eq!(
        told(&error),
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no secret at `secret/data/x`
  try: leave `data/` out of `path` in the profile's `vaultKv`

"#]]
    );
}

#[tokio::test]
async fn what_a_document_lacks() {
    assert_data_eq!(
        unusable(json!({"password": "s3cret", "user": "u"})).await,
        str![[r#"
exit 6
error: profile `prod`: the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` has no field `token`
  why: it has `password`, `user`
  try: set `field` in the profile's `vaultKv` to the one that holds the token

"#]]
    );
    assert_data_eq!(
        unusable(json!({})).await,
        str![[r#"
exit 6
error: profile `prod`: the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` has no field `token`
  why: it has no fields
  try: set `field` in the profile's `vaultKv` to the one that holds the token

"#]]
    );
    let many: serde_json::Map<_, _> = (10..40).map(|number| (format!("f{number}"), json!(1))).collect();
    let text = unusable(Value::Object(many)).await;
    assert!(text.contains("`f28`, `f29` and 10 more\n"), "{text}");
    assert_data_eq!(
        unusable(json!({"token": {"a": "s3cret"}})).await,
        str![[r#"
exit 6
error: profile `prod`: the field `token` of the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` cannot be used
  why: it is an object, not text
  try: see who writes `secret/sa/prod-eu/payments`

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "\n"})).await,
        str![[r#"
exit 6
error: profile `prod`: the field `token` of the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` cannot be used
  why: it is empty
  try: see who writes `secret/sa/prod-eu/payments`

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "t", "expirationTimestamp": "tomorrow"})).await,
        str![[r#"
exit 6
error: profile `prod`: the field `expirationTimestamp` of the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` cannot be used
  why: it is no RFC 3339 time such as `2030-01-31T12:00:00Z`
  try: see who writes `secret/sa/prod-eu/payments`

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "t", "server": 3})).await,
        str![[r#"
exit 6
error: profile `prod`: the field `server` of the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` cannot be used
  why: it is a number, not text
  try: see who writes `secret/sa/prod-eu/payments`

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "t", "ttl": "soon"})).await,
        str![[r#"
exit 6
error: profile `prod`: the field `ttl` of the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` cannot be used
  why: it is neither seconds nor a duration such as `1h30m`
  try: see who writes `secret/sa/prod-eu/payments`

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "t", "ttl": -1})).await,
        str![[r#"
exit 6
error: profile `prod`: the field `ttl` of the secret `secret/sa/prod-eu/payments` in `https://vault.example:8200` cannot be used
  why: it is neither seconds nor a duration such as `1h30m`
  try: see who writes `secret/sa/prod-eu/payments`

"#]]
    );
}

#[tokio::test]
async fn a_document_for_somebody_else_is_refused() {
    assert_data_eq!(
        unusable(json!({"token": "t", "cluster": "prod-us"})).await,
        str![[r#"
exit 6
error: profile `prod`: the token document `secret/sa/prod-eu/payments` in `https://vault.example:8200` is for cluster `prod-us`, asked for was `prod-eu`
  try: correct `path` in the profile's `vaultKv`, or see who writes the document

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "t", "cluster": "prod-eu", "team": "sales"})).await,
        str![[r#"
exit 6
error: profile `prod`: the token document `secret/sa/prod-eu/payments` in `https://vault.example:8200` is for team `sales`, asked for was `payments`
  try: correct `path` in the profile's `vaultKv`, or see who writes the document

"#]]
    );
    let asking = Asking { server: Some("https://other.example:6443".into()), certificate_authority: None };
    let document = written(json!({"token": "t", "server": "https://prod.example:6443"}));
    let script = Script::new().on(TWO, 200, document);
    let error = read(&script, &settings(), &asking, now).await.unwrap_err();
    assert_data_eq!(
        told(&error),
        str![[r#"
exit 6
error: profile `prod`: the token document `secret/sa/prod-eu/payments` in `https://vault.example:8200` is for the API server `https://prod.example:6443`, asked for was `https://other.example:6443`
  try: use a profile whose document is for this cluster

"#]]
    );
    let other = NotRead { vault: "v".into(), path: "p".into(), reason: Reason::OtherAuthority };
    assert_eq!(
        other.to_string(),
        "the token document `p` in `v` is for a cluster with another certificate authority"
    );
}

#[tokio::test]
async fn where_nobody_asked_for_a_cluster_or_team_there_is_nothing_to_compare() {
    let settings = VaultKv { path: "x".into(), cluster: None, team: None, ..settings() };
    let document = written(json!({"token": "t", "cluster": "prod-us", "team": "sales"}));
    let script = Script::new().on("GET secret/data/x", 200, document);
    assert!(read(&script, &settings, &Asking::default(), now).await.is_ok());
}

#[tokio::test]
async fn a_template_without_its_value_is_a_mistake_in_the_settings() {
    let settings = VaultKv { team: None, ..settings() };
    let error = read(&Script::new(), &settings, &Asking::default(), now).await.unwrap_err();
    assert_data_eq!(
        told(&error),
        str![[r#"
exit 2
error: profile `prod`: `path: sa/{cluster}/{team}` needs a `team`, which nobody named
  try: set `team` in the profile's `vaultKv`, or in the cluster extension of the kubeconfig

"#]]
    );
}

#[tokio::test]
async fn the_ends_that_a_document_tells() {
    // The version was written ten minutes ago, at 23:50.
    let ends = |token: &Token| (token.usable_until, token.limited_by);
    let opaque = token_of(json!({"token": "t"})).await;
    assert_eq!(ends(&opaque), (at(300), Limit::Assumed));
    let by_number = token_of(json!({"token": "t", "ttl": 1_800})).await;
    assert_eq!(
        (by_number.usable_until.timestamp(), by_number.limited_by),
        (at(1_200).timestamp(), Limit::Document)
    );
    let by_text = token_of(json!({"token": "t", "ttl": "30m0s"})).await;
    assert_eq!(by_text.usable_until.timestamp(), at(1_200).timestamp());
    let rewritten = token_of(json!({"token": "t", "ttl": "1800", "issuedAt": "2029-12-31T23:40:00Z"})).await;
    assert_eq!(ends(&rewritten), (at(600), Limit::Document));
    let both =
        token_of(json!({"token": token(900), "expirationTimestamp": "2030-01-01T00:10:00+00:00"})).await;
    assert_eq!(ends(&both), (at(600), Limit::Document));
}

#[tokio::test]
async fn the_ttl_of_version_1_is_only_a_hint() {
    let of = async |data: Value| {
        let script = Script::new()
            .on(TWO, 404, nothing())
            .on(MOUNT, 200, mounted("secret/", "kv", &json!(null)))
            .on(ONE, 200, json!({"lease_duration": 3_600, "data": data}));
        let token = Token::new(read_by(&script).await.unwrap().minted, now()).unwrap();
        (token.usable_until, token.limited_by)
    };
    assert_eq!(of(json!({"token": "t", "ttl": "1h"})).await, (at(300), Limit::Assumed));
    assert_eq!(of(json!({"token": "t", "ttl": "2m"})).await, (at(120), Limit::Document));
    assert_eq!(of(json!({"token": token(1_800), "ttl": "1h"})).await, (at(1_800), Limit::Expiry));
    assert_eq!(
        of(json!({"token": "t", "ttl": "1h", "issuedAt": "2029-12-31T23:30:00Z"})).await,
        (at(1_800), Limit::Document)
    );
}

#[test]
fn durations_are_read_as_go_writes_them() {
    let seconds = |text| document::duration(text).map(|lifetime| lifetime.num_seconds());
    assert_eq!(seconds("0s"), Some(0));
    assert_eq!(seconds(" 90 "), Some(90));
    assert_eq!(seconds("3h25m19s"), Some(12_319));
    assert_eq!(seconds("1d"), Some(86_400));
    for text in ["", "h", "1", "1h30", "1.5h", "-1s", "1h é", "99999999999h", "4294967295d4294967295d"] {
        let read = seconds(text);
        assert!(read.is_none() || text == "1" || text.ends_with("5d"), "{text}: {read:?}");
    }
}

proptest! {
    #[test]
    fn a_token_is_never_usable_after_an_end_that_its_document_tells(
        expires in proptest::option::of(1..100_000_i64),
        document in proptest::option::of(1..100_000_i64),
        ttl in proptest::option::of(0..100_000_i64),
        created in proptest::option::of(-50_000..0_i64),
        issued in proptest::option::of(-50_000..0_i64),
    ) {
        let mut fields = Fields::new();
        let mut put = |name: &str, value: Option<Field>| value.map(|value| fields.insert(name.to_owned(), value));
        let text = |text: String| Field::Text(text.into());
        put("token", Some(text(expires.map_or_else(|| "opaque".to_owned(), token))));
        put("expirationTimestamp", document.map(|end| text(at(end).to_rfc3339())));
        put("issuedAt", issued.map(|start| text(at(start).to_rfc3339())));
        put("ttl", ttl.map(Field::Number));
        let moments = Moments { created_at: created.map(at), read_at: now() };
        let (minted, _) =
            document::read(fields, "token", Values::default(), &Asking::default(), moments).ok().unwrap();
        let start = [created, issued].into_iter().flatten().min().unwrap_or(0);
        let ends: Vec<_> = expires.into_iter().chain(document).chain(ttl.map(|ttl| start + ttl)).collect();
        match Token::new(minted, now()) {
            Ok(token) => {
                prop_assert!(ends.iter().all(|end| token.usable_until <= at(*end)));
                prop_assert!(!ends.is_empty() || token.usable_until == at(300));
            }
            // Of one second a client would be told none, in whole seconds: it is dead as well.
            Err(_) => prop_assert!(ends.iter().any(|end| *end <= 1)),
        }
    }
}
