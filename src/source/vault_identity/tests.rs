use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::*;
use crate::source::script::{Script, at, jwt, now, told};
use crate::token::Token;

const TOKEN: &str = "GET identity/oidc/token/kubernetes";

fn issued(algorithm: &str, ttl: &Value) -> Value {
    let claims = json!({"iss": "https://vault.example:8200/v1/identity/oidc", "aud": "kubernetes",
        "sub": "entity-1", "iat": at(0).timestamp(), "exp": at(900).timestamp()});
    json!({"data": {"client_id": "kubernetes", "token": jwt(algorithm, &claims), "ttl": ttl}})
}

async fn refused(script: Script) -> String {
    let error = mint(&script, "kubernetes", now).await.unwrap_err();
    script.played();
    told(&error)
}

#[tokio::test]
async fn an_identity_token_ends_with_itself_or_its_ttl_and_with_nothing_else() {
    let script = Script::new().session_until(at(60)).on(TOKEN, 200, issued("ES256", &json!(900)));
    let minted = mint(&script, "kubernetes", now).await.unwrap();
    assert_eq!(minted.lease, None);
    assert_eq!(minted.subject.as_deref(), Some("entity-1"));
    let token = Token::new(minted, now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(900), Limit::Expiry));

    let script = Script::new().on(TOKEN, 200, issued("RS256", &json!(300)));
    let token = Token::new(mint(&script, "kubernetes", now).await.unwrap(), now()).unwrap();
    assert_eq!((token.usable_until, token.limited_by), (at(300), Limit::ExpiresIn));

    let script = Script::new().on(TOKEN, 200, issued("PS512", &json!(null)));
    let token = Token::new(mint(&script, "kubernetes", now).await.unwrap(), now()).unwrap();
    assert_eq!(token.usable_until, at(900));
}

#[tokio::test]
async fn refusals() {
    let rejected = |words: &str| refused(Script::new().refuse(TOKEN, 400, words));
    assert_data_eq!(
        rejected("no entity associated with the request's token").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` issues no identity token to this session: it has no entity
  why: no entity associated with the request's token
  try: log in with an auth method instead of a root or orphan token: `kubectl vaulttoken login prod`

"#]]
    );
    assert_data_eq!(
        rejected("role \"kubernetes\" not found").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no identity role `kubernetes`
  why: role "kubernetes" not found
  try: set `role` in the profile to one that `vault list identity/oidc/role` or `bao list identity/oidc/role` shows

"#]]
    );
    assert_data_eq!(
        refused(Script::new().refuse(TOKEN, 404, "")).await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` has no identity role `kubernetes`
  try: set `role` in the profile to one that `vault list identity/oidc/role` or `bao list identity/oidc/role` shows

"#]]
    );
    assert_data_eq!(
        rejected(
            "the key \"k\" does not list the client ID of the role \"kubernetes\" as an allowed client ID"
        )
        .await,
        str![[r#"
exit 4
error: profile `prod`: the key of identity role `kubernetes` in `https://vault.example:8200` does not allow its client id
  why: the key "k" does not list the client ID of the role "kubernetes" as an allowed client ID
  try: add the `client_id` of `identity/oidc/role/kubernetes` to `allowed_client_ids` of its key

"#]]
    );
    assert_data_eq!(
        rejected("something else").await,
        str![[r#"
exit 4
error: profile `prod`: `https://vault.example:8200` refused an identity token for role `kubernetes`
  why: something else

"#]]
    );
    let error = mint(&Script::new().deny(TOKEN), "kubernetes", now).await.unwrap_err();
    assert!(matches!(&error, Error::Vault(VaultError::Denied { .. })), "{error:?}");
}

#[tokio::test]
async fn signatures_that_no_api_server_verifies() {
    assert_data_eq!(
        refused(Script::new().on(TOKEN, 200, issued("EdDSA", &json!(900)))).await,
        str![[r#"
exit 6
error: profile `prod`: identity role `kubernetes` in `https://vault.example:8200` signs with `EdDSA`, which no API server accepts
  why: API servers verify RS, ES and PS signatures
  try: give `identity/oidc/role/kubernetes` a key with `algorithm=ES256`

"#]]
    );
    for algorithm in ["none", "HS256", ""] {
        let script = Script::new().on(TOKEN, 200, issued(algorithm, &json!(900)));
        let error = mint(&script, "kubernetes", now).await.unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Unusable, "{algorithm}");
    }
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    let unusable = |data: Value| refused(Script::new().on(TOKEN, 200, json!({ "data": data })));
    assert_data_eq!(
        unusable(json!({"ttl": 900})).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: `token` is missing

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": " "})).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: `token` is empty

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": {"a": "s3cret"}})).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: `token` is an object, not text

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": "s3cret"})).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: `token` is no JWT

"#]]
    );
    let token = jwt("ES256", &json!({"exp": 1}));
    assert_data_eq!(
        unusable(json!({"token": token, "ttl": "soon"})).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: `ttl` is text, not a number

"#]]
    );
    assert_data_eq!(
        unusable(json!({"token": token, "ttl": -1})).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: `ttl` is negative

"#]]
    );
    assert_data_eq!(
        refused(Script::new().on(TOKEN, 204, json!({}))).await,
        str![[r#"
exit 6
error: profile `prod`: the answer of `https://vault.example:8200` to `identity/oidc/token/kubernetes` cannot be used
  why: it has no `data`

"#]]
    );
}
