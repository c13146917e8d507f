use std::cell::Cell;
use std::path::Path;

use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use super::*;
use crate::error::{ExitCode, Explain as _};
use crate::http::{HeaderMap, Response};
use crate::source::script::{at, jwt, now, told};

fn name() -> Name {
    Name::parse("build").unwrap()
}

fn env(pairs: &[(&str, &str)]) -> Env {
    Env::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn workload(identity: &Identity, env: &Env) -> Workload {
    let parts = Parts {
        env,
        http: &|| panic!("no client is needed"),
        vault: &|_| Err(Error::Fault("no such vault".into())),
        provider: &|_| Err(Error::Fault("no such provider".into())),
        clock: now,
        deadline: Instant::now(),
    };
    Workload::new(Some(&name()), identity, &parts)
}

async fn refused(workload: &Workload) -> String {
    told(&workload.jwt().await.unwrap_err().into())
}

/// The words with the folder of the test taken out.
async fn refused_in(folder: &Path, workload: &Workload) -> String {
    refused(workload).await.replace(&folder.display().to_string(), "/tokens")
}

fn good() -> String {
    jwt(
        "RS256",
        &json!({"iss": "https://issuer", "sub": "me", "aud": ["vault", "other"], "exp": at(60).timestamp()}),
    )
}

fn from_variable(value: &str) -> Workload {
    workload(&Identity::Env { variable: "ID_TOKEN".into() }, &env(&[("ID_TOKEN", value)]))
}

#[tokio::test]
async fn a_file_is_read_anew_at_every_use_and_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let workload = workload(&Identity::File { path: path.clone() }, &Env::default());
    for subject in ["one", "two"] {
        let token = jwt("ES256", &json!({ "sub": subject }));
        std::fs::write(&path, format!("  {token}\r\n")).unwrap();
        assert_eq!(workload.jwt().await.unwrap().expose_secret(), token);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_may_be_a_link_as_the_kubelet_makes_it_but_no_pipe_or_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("..data_1")).unwrap();
    std::fs::write(at("..data_1").join("token"), good()).unwrap();
    std::os::unix::fs::symlink("..data_1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/token", at("token")).unwrap();
    let file = |path| workload(&Identity::File { path }, &Env::default());
    assert_eq!(file(at("token")).jwt().await.unwrap().expose_secret(), good());
    assert_data_eq!(
        refused_in(folder.path(), &file(at("..data"))).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: file `/tokens/..data` holds no token that can be used
  why: it is no regular file
  try: see what writes the file `/tokens/..data`: it must be one JWT and nothing else

"#]]
    );
    let pipe = at("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    assert!(refused(&file(pipe)).await.contains("why: it is no regular file\n"));
}

#[tokio::test]
async fn files_that_hold_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let workload = workload(&Identity::File { path: path.clone() }, &Env::default());
    assert_data_eq!(
        refused_in(folder.path(), &workload).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: cannot read its token file `/tokens/token`
  why: No such file or directory (os error 2)
  try: let what issues the token write it to `/tokens/token`, or correct `path` in `identities`

"#]]
    );
    let long = vec![b'x'; 65_537];
    for (content, why) in [
        (b"".as_slice(), "it is empty"),
        (b" \n", "it is empty"),
        (b"\xff\xfe", "it is no text"),
        (&long, "it is longer than 64 KiB"),
        (b"hvs.opaque", "it is not three parts in base64url with dots between them"),
        (b"a.b.c\na.b.c", "it is not three parts in base64url with dots between them"),
        (b"a..c", "it is not three parts in base64url with dots between them"),
        (b"YQ==.YQ==.YQ==", "it is not three parts in base64url with dots between them"),
        (b"YQ.YQ.YQ", "its second part is no set of JWT claims"),
    ] {
        std::fs::write(&path, content).unwrap();
        let text = refused(&workload).await;
        assert!(text.starts_with("exit 6\n") && text.contains(&format!("  why: {why}\n")), "{text}");
    }
    assert_data_eq!(
        refused_in(folder.path(), &workload).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: file `/tokens/token` holds no token that can be used
  why: its second part is no set of JWT claims
  try: see what writes the file `/tokens/token`: it must be one JWT and nothing else

"#]]
    );
}

#[tokio::test]
async fn a_token_that_no_server_could_accept_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, jwt("RS256", &json!({"exp": at(0).timestamp(), "sub": "s3cret"}))).unwrap();
    let file = workload(&Identity::File { path: path.clone() }, &Env::default());
    assert_data_eq!(
        refused_in(folder.path(), &file).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: the token in file `/tokens/token` has expired
  why: it ended at 2030-01-01T00:00:00Z
  try: see what renews that file: the kubelet or the agent that writes it

"#]]
    );
    let dead = jwt("RS256", &json!({"exp": at(-5).timestamp()}));
    assert_data_eq!(
        refused(&from_variable(&dead)).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: the token in variable `ID_TOKEN` has expired
  why: it ended at 2029-12-31T23:59:55Z
  try: start the job again: a variable keeps the token of its start

"#]]
    );
    let early = jwt("RS256", &json!({"nbf": at(61).timestamp()}));
    assert_data_eq!(
        refused(&from_variable(&early)).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: the token in variable `ID_TOKEN` is not valid yet
  why: it starts at 2030-01-01T00:01:01Z; or the clock of this machine is behind
  try: compare the clock of this machine with the issuer's: `date -u`

"#]]
    );
    let early = jwt("RS256", &json!({"nbf": at(60).timestamp()}));
    assert!(from_variable(&early).jwt().await.is_ok(), "clocks differ");
}

#[tokio::test]
async fn a_projected_token_must_be_for_its_audience() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let pod = |audience: Option<&str>| {
        let identity = Identity::Kubernetes { audience: audience.map(str::to_owned), path: path.clone() };
        workload(&identity, &Env::default())
    };
    assert_data_eq!(
        refused_in(folder.path(), &pod(None)).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: cannot read its token file `/tokens/token`
  why: No such file or directory (os error 2)
  try: project a token into the pod: `volumes: [{name: tokens, projected: {sources: [{serviceAccountToken: {path: vault, audience: AUDIENCE}}]}}]`

"#]]
    );
    std::fs::write(&path, good()).unwrap();
    assert!(pod(None).jwt().await.is_ok());
    assert!(pod(Some("vault")).jwt().await.is_ok());
    assert_data_eq!(
        refused_in(folder.path(), &pod(Some("https://vault"))).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: the token in file `/tokens/token` is not for the audience `https://vault`
  why: its `aud` does not name it
  try: project a token with `audience: https://vault`, or correct `audience` in `identities`

"#]]
    );
}

#[tokio::test]
async fn a_variable_that_is_missing_is_an_error_only_when_it_is_needed() {
    let at_hand = from_variable(&good());
    assert_eq!(at_hand.jwt().await.unwrap().expose_secret(), good());
    let missing = workload(&Identity::Env { variable: "ID_TOKEN".into() }, &env(&[("ID_TOKEN", "")]));
    assert_data_eq!(
        refused(&missing).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: the variable `ID_TOKEN` is not set
  try: let the job set the variable `ID_TOKEN` to its token, or correct `variable` in `identities`

"#]]
    );
    let gitlab = Identity::Gitlab { variable: "VAULT_ID_TOKEN".into() };
    assert_data_eq!(
        refused(&workload(&gitlab, &Env::default())).await,
        str![[r#"
exit 6
error: profile `prod`: identity `build`: the variable `VAULT_ID_TOKEN` is not set
  try: give the job the variable `VAULT_ID_TOKEN` under `id_tokens:` in `.gitlab-ci.yml`, with its `aud`

"#]]
    );
    let workload = workload(&gitlab, &env(&[("VAULT_ID_TOKEN", &good())]));
    assert_eq!(workload.jwt().await.unwrap().expose_secret(), good());
}

#[tokio::test]
async fn the_pod_itself_needs_no_name() {
    let parts = Parts {
        env: &Env::default(),
        http: &|| panic!("no client is needed"),
        vault: &|_| panic!("no Vault is needed"),
        provider: &|_| Err(Error::Fault("no such provider".into())),
        clock: now,
        deadline: Instant::now(),
    };
    let identity = Identity::Kubernetes { audience: None, path: "/nonexistent/token".into() };
    let error = Workload::new(None, &identity, &parts).jwt().await.unwrap_err();
    assert_eq!(error.to_string(), "the pod's own identity: cannot read its token file `/nonexistent/token`");
}

#[tokio::test]
async fn kinds_and_vaults_that_cannot_be_had() {
    let person = Identity::Oidc { provider: Name::parse("sso").unwrap() };
    assert_data_eq!(
        refused(&workload(&person, &Env::default())).await,
        str![[r#"
exit 1
error: profile `prod`: identity `build`: a fault of ours: no such provider

"#]]
    );
    let issued = Identity::VaultIdentity { vault: Name::parse("hub").unwrap(), role: "r".into() };
    assert_data_eq!(
        refused(&workload(&issued, &Env::default())).await,
        str![[r#"
exit 1
error: profile `prod`: identity `build`: a fault of ours: no such vault

"#]]
    );
}

mod github_actions {
    use super::*;

    use crate::config::{TlsSettings, Transport};
    use crate::http::scripted::{Scripted, reply};

    const URL: &str = "https://token.actions.example/abc?api-version=2.0";

    fn service(url: &str, audience: Option<&str>) -> Result<service::TokenService, IdentityError> {
        github::service("identity `build`", &env(&[(github::URL, url), (github::TOKEN, "job")]), audience)
    }

    fn answer(status: u16, body: &Value) -> Result<SecretString, IdentityError> {
        let response = Response {
            status,
            headers: HeaderMap::new(),
            body: body.to_string().into_bytes().into(),
            date: None,
        };
        service(URL, None).unwrap().read("identity `build`", &response)
    }

    #[test]
    fn the_audience_is_added_to_the_query_and_cannot_change_the_rest() {
        let url = |url, audience| service(url, audience).unwrap().url.to_string();
        assert_eq!(url(URL, None), URL);
        assert_eq!(
            url(URL, Some("https://v&x=1#é ü")),
            "https://token.actions.example/abc?api-version=2.0&audience=https%3A%2F%2Fv%26x%3D1%23%C3%A9+%C3%BC"
        );
        assert_eq!(url("http://127.0.0.1:80/", Some("v")), "http://127.0.0.1/?audience=v");
    }

    #[test]
    fn the_request_token_goes_nowhere_in_clear() {
        for url in ["http://localhost:1/", "http://127.9.9.9/", "http://[::1]/", "https://any.example"] {
            assert!(service(url, None).is_ok(), "{url}");
        }
        for url in ["http://localhost.evil.example/", "http://10.0.0.1/", "ftp://localhost/"] {
            assert_eq!(service(url, None).err().unwrap().exit_code(), ExitCode::Withheld, "{url}");
        }
        let error = service("http://evil.example:81/x", None).err().unwrap();
        assert_data_eq!(
            told(&error.into()),
            str![[r#"
exit 7
error: profile `prod`: identity `build`: refused to send the job's request token to `evil.example:81` without TLS
  why: `ACTIONS_ID_TOKEN_REQUEST_URL` is not an https address
  try: run this in a job of GitHub Actions, which sets an https address

"#]]
        );
        assert_data_eq!(
            told(&service("no address", None).err().unwrap().into()),
            str![[r#"
exit 6
error: profile `prod`: identity `build`: the variable `ACTIONS_ID_TOKEN_REQUEST_URL` holds no address
  try: run this in a job of GitHub Actions, which sets it

"#]]
        );
    }

    #[test]
    fn a_job_without_permission_has_no_variables() {
        let of = |pairs: &[(&str, &str)]| github::service("identity `build`", &env(pairs), None).err();
        assert_data_eq!(
            told(&of(&[]).unwrap().into()),
            str![[r#"
exit 6
error: profile `prod`: identity `build`: the variable `ACTIONS_ID_TOKEN_REQUEST_URL` is not set
  try: give the job `permissions: {id-token: write}` in its workflow

"#]]
        );
        assert_eq!(
            of(&[(github::URL, URL)]).unwrap().to_string(),
            "identity `build`: the variable `ACTIONS_ID_TOKEN_REQUEST_TOKEN` is not set"
        );
    }

    #[test]
    fn answers() {
        assert_eq!(answer(200, &json!({"value": "a.b.c", "count": 1})).unwrap().expose_secret(), "a.b.c");
        let told = |status, body: &Value| told(&answer(status, body).unwrap_err().into());
        assert_data_eq!(
            told(200, &json!({"value": ["s3cret"]})),
            str![[r#"
exit 6
error: profile `prod`: identity `build`: the answer of `token.actions.example` holds no token that can be used
  why: it has no `value` that is text
  try: see whether `token.actions.example` is the token service of this job

"#]]
        );
        assert_data_eq!(
            told(200, &json!("s3cret")),
            str![[r#"
exit 6
error: profile `prod`: identity `build`: the answer of `token.actions.example` holds no token that can be used
  why: it has no `value` that is text
  try: see whether `token.actions.example` is the token service of this job

"#]]
        );
        assert_data_eq!(
            told(403, &json!({"message": "not\nallowed"})),
            str![[r#"
exit 4
error: profile `prod`: identity `build`: `token.actions.example` issued no token but answered with status 403
  why: not allowed
  try: give the job `permissions: {id-token: write}` in its workflow

"#]]
        );
        assert_data_eq!(
            told(503, &json!("busy")),
            str![[r#"
exit 5
error: profile `prod`: identity `build`: `token.actions.example` issued no token but answered with status 503
  try: try again later

"#]]
        );
    }

    #[tokio::test]
    async fn a_client_is_made_only_where_a_service_is_asked() {
        let made = Cell::new(0);
        let http = || {
            made.set(made.get() + 1);
            Err(HttpError::Settings { what: "the proxy".into(), why: "no address".into() })
        };
        let env = env(&[(github::URL, URL), (github::TOKEN, "job")]);
        let parts = Parts {
            env: &env,
            http: &http,
            vault: &|_| panic!("no Vault is needed"),
            provider: &|_| Err(Error::Fault("no such provider".into())),
            clock: now,
            deadline: Instant::now(),
        };
        let workload = Workload::new(Some(&name()), &Identity::GithubActions { audience: None }, &parts);
        assert_eq!(made.get(), 1);
        let error = workload.jwt().await.unwrap_err();
        assert_eq!(error.to_string(), "identity `build`: the proxy cannot be used");
    }

    #[tokio::test]
    async fn the_service_is_asked_with_the_request_token() {
        let issued = format!(r#"{{"value": "{}"}}"#, good());
        let server = Scripted::new([reply(200, &issued), reply(403, r#"{"message": "no"}"#)]);
        let url = server.url.join("token?api-version=2.0").unwrap().to_string();
        let env = env(&[(github::URL, &url), (github::TOKEN, "job")]);
        let parts = Parts {
            env: &env,
            http: &|| Client::new(&TlsSettings::default(), &Transport::default(), None),
            vault: &|_| panic!("no Vault is needed"),
            provider: &|_| Err(Error::Fault("no such provider".into())),
            clock: now,
            deadline: Instant::now() + std::time::Duration::from_secs(10),
        };
        let identity = Identity::GithubActions { audience: Some("https://vault".into()) };
        let workload = Workload::new(Some(&name()), &identity, &parts);
        assert_eq!(workload.jwt().await.unwrap().expose_secret(), good());
        let seen = server.seen();
        assert_eq!(seen[0].line(), "GET /token?api-version=2.0&audience=https%3A%2F%2Fvault");
        assert_eq!(seen[0].header("authorization"), Some("Bearer job"));
        assert_eq!(seen[0].header("accept"), Some("application/json; api-version=2.0"));
        let error = workload.jwt().await.unwrap_err();
        assert!(matches!(error, IdentityError::Refused { status: 403, .. }), "{error:?}");
    }
}

mod fingerprints {
    use super::*;

    fn of(identity: &Identity, pairs: &[(&str, &str)]) -> String {
        fingerprint(Some(&name()), identity, &env(pairs)).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_renewed_token_file_is_the_same_workload_and_another_subject_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = Identity::File { path: path.clone() };
        let of_claims = |claims: &Value| {
            std::fs::write(&path, jwt("RS256", claims)).unwrap();
            of(&file, &[])
        };
        let first = of_claims(&json!({"iss": "i", "sub": "a", "exp": 1}));
        assert_eq!(first.len(), 64);
        assert_eq!(first, of_claims(&json!({"iss": "i", "sub": "a", "exp": 2})));
        assert_ne!(first, of_claims(&json!({"iss": "i", "sub": "b"})));
        assert_ne!(first, of_claims(&json!({"iss": "j", "sub": "a"})));
        assert_ne!(of_claims(&json!({"iss": "ab"})), of_claims(&json!({"iss": "a", "sub": "b"})));
        assert_ne!(of_claims(&json!({"aud": "x"})), of_claims(&json!({"aud": "y"})));
        std::fs::write(&path, jwt("RS256", &json!({"iss": "i", "sub": "a"}))).unwrap();
        assert_ne!(first, of(&Identity::Kubernetes { audience: None, path: path.clone() }, &[]));
        std::fs::remove_file(&path).unwrap();
        let error = fingerprint(Some(&name()), &file, &Env::default()).unwrap_err();
        assert!(matches!(error, IdentityError::Unreadable { .. }), "{error:?}");
    }

    #[test]
    fn variables_and_jobs_are_told_apart_by_their_whole_value() {
        let variable = Identity::Env { variable: "T".into() };
        assert_ne!(of(&variable, &[("T", "a")]), of(&variable, &[("T", "b")]));
        assert_ne!(
            of(&variable, &[("T", "a")]),
            of(&Identity::Gitlab { variable: "T".into() }, &[("T", "a")])
        );
        let github = Identity::GithubActions { audience: None };
        let job = |token| of(&github, &[(github::URL, "https://u"), (github::TOKEN, token)]);
        assert_ne!(job("a"), job("b"));
        assert_eq!(job("a"), job("a"));
        for identity in [variable, github] {
            assert!(fingerprint(None, &identity, &Env::default()).is_err());
        }
        let vault = |vault: &str, role: &str| {
            of(&Identity::VaultIdentity { vault: Name::parse(vault).unwrap(), role: role.into() }, &[])
        };
        assert_ne!(vault("a", "bc"), vault("ab", "c"));
    }
}

mod platforms {
    use super::*;

    use crate::config::{TlsSettings, Transport};
    use crate::http::scripted::{Scripted, reply};

    #[tokio::test]
    async fn variables_of_platforms() {
        let terraform = |tag: Option<&str>| Identity::TerraformCloud { tag: tag.map(str::to_owned) };
        for (identity, variable) in [
            (Identity::Bitbucket, "BITBUCKET_STEP_OIDC_TOKEN"),
            (Identity::Circleci { audience: None }, "CIRCLE_OIDC_TOKEN"),
            (Identity::Circleci { audience: None }, "CIRCLE_OIDC_TOKEN_V2"),
            (terraform(None), "TFC_WORKLOAD_IDENTITY_TOKEN"),
            (terraform(Some("VAULT")), "TFC_WORKLOAD_IDENTITY_TOKEN_VAULT"),
        ] {
            let workload = workload(&identity, &env(&[(variable, &good())]));
            assert_eq!(workload.jwt().await.unwrap().expose_secret(), good(), "{variable}");
        }
        let both = env(&[("CIRCLE_OIDC_TOKEN", "old"), ("CIRCLE_OIDC_TOKEN_V2", &good())]);
        assert!(workload(&Identity::Circleci { audience: None }, &both).jwt().await.is_ok());
        let text = refused(&workload(&terraform(Some("VAULT")), &Env::default())).await;
        assert!(text.contains("`TFC_WORKLOAD_IDENTITY_AUDIENCE_VAULT` of the workspace"), "{text}");
        let other = env(&[("TFC_WORKLOAD_IDENTITY_TOKEN", &good())]);
        let text = refused(&workload(&terraform(Some("VAULT")), &other)).await;
        assert!(text.contains("`TFC_WORKLOAD_IDENTITY_TOKEN_VAULT` is not set"), "{text}");
    }

    #[tokio::test]
    async fn azure_pipelines_are_asked_by_post_for_the_connection() {
        let issued = format!(r#"{{"oidcToken": "{}"}}"#, good());
        let server =
            Scripted::new([reply(200, &issued), reply(200, "{}"), reply(401, r#"{"message": "no"}"#)]);
        let url = server.url.join("org/oidctoken").unwrap().to_string();
        let env = env(&[(azure::URL, &url), (azure::TOKEN, "job")]);
        let parts = Parts {
            env: &env,
            http: &|| Client::new(&TlsSettings::default(), &Transport::default(), None),
            vault: &|_| panic!("no Vault is needed"),
            provider: &|_| panic!("no provider is needed"),
            clock: now,
            deadline: Instant::now() + std::time::Duration::from_secs(10),
        };
        let identity = Identity::AzurePipelines { service_connection: Some("a b".into()) };
        let workload = Workload::new(Some(&name()), &identity, &parts);
        assert_eq!(workload.jwt().await.unwrap().expose_secret(), good());
        let seen = server.seen();
        assert_eq!(seen[0].line(), "POST /org/oidctoken?api-version=7.1&serviceConnectionId=a+b {}");
        assert_eq!(seen[0].header("authorization"), Some("Bearer job"));
        assert!(refused(&workload).await.contains("why: it has no `oidcToken` that is text\n"));
        let text = refused(&workload).await;
        assert!(text.contains("`env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`"), "{text}");
    }

    #[tokio::test]
    async fn an_svid_is_the_bare_token_or_what_the_agent_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("svid");
        let identity = Identity::Spiffe { path: path.clone(), audience: Some("vault".into()) };
        let workload = workload(&identity, &Env::default());
        let of_agent = json!([
            {"svids": [{"spiffe_id": "spiffe://corp/job", "svid": good()}, {"svid": "b.b.b"}]},
            {"bundles": {"spiffe://corp": "e30"}},
        ]);
        for text in [format!("{}\n", good()), of_agent.to_string(), of_agent[0].to_string()] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(workload.jwt().await.unwrap().expose_secret(), good(), "{text}");
            let seen = fingerprint(Some(&name()), &identity, &Env::default()).unwrap();
            std::fs::write(&path, good()).unwrap();
            assert_eq!(fingerprint(Some(&name()), &identity, &Env::default()).unwrap(), seen);
        }
        for text in ["[]", "{}", "[{\"svids\": []}]", "{\"svids\": [{\"svid\": 1}]}", "[\"s3cret\""] {
            std::fs::write(&path, text).unwrap();
            let words = refused_in(folder.path(), &workload).await;
            assert!(words.contains("why: it is JSON without `svids[0].svid`\n"), "{text}: {words}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(refused(&workload).await.contains("try: let spiffe-helper write it: "));
    }

    #[cfg(unix)]
    fn agent(folder: &Path, name: &str, script: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        file
    }

    fn run(identity: &Identity, env: &Env) -> Workload {
        let parts = Parts {
            env,
            http: &|| panic!("no client is needed"),
            vault: &|_| panic!("no Vault is needed"),
            provider: &|_| panic!("no provider is needed"),
            clock: now,
            deadline: Instant::now() + std::time::Duration::from_secs(20),
        };
        Workload::new(Some(&name()), identity, &parts)
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn agents_are_asked_anew_each_time_with_the_audience_and_the_jobs_environment() {
        let folder = tempfile::tempdir().unwrap();
        let note = "echo \"$@ $BUILDKITE_AGENT_ACCESS_TOKEN\" >> \"$NOTES\"";
        agent(folder.path(), "circleci", &format!("{note}; echo '{}'", good()));
        agent(folder.path(), "buildkite-agent", &format!("{note}; echo '{}'", good()));
        let notes = folder.path().join("notes").display().to_string();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let env = env(&[("PATH", &path), ("NOTES", &notes), ("BUILDKITE_AGENT_ACCESS_TOKEN", "job")]);
        let circleci = Identity::Circleci { audience: Some("vault".into()) };
        let buildkite = run(&Identity::Buildkite { audience: Some("vault".into()) }, &env);
        for workload in [&run(&circleci, &env), &buildkite, &buildkite] {
            assert_eq!(workload.jwt().await.unwrap().expose_secret(), good());
        }
        assert!(run(&Identity::Buildkite { audience: None }, &env).jwt().await.is_ok());
        assert_eq!(
            std::fs::read_to_string(notes).unwrap(),
            "run oidc get --claims {\"aud\":\"vault\"} job\n\
             oidc request-token --audience vault job\n\
             oidc request-token --audience vault job\n\
             oidc request-token job\n"
        );
        let other = run(&Identity::Buildkite { audience: Some("other-audience".into()) }, &env);
        assert!(refused(&other).await.contains("is not for the audience `other-audience`\n"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_agent_that_is_missing_or_fails_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::Buildkite { audience: None };
        assert_data_eq!(
            refused(&run(&identity, &env(&[("PATH", ".::bin")]))).await,
            str![[r#"
exit 6
error: profile `prod`: identity `build`: there is no program `buildkite-agent` on `PATH`
  try: run this in a job of Buildkite; in a container let the docker plugin bring its agent along: `mount-buildkite-agent: true`

"#]]
        );
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        agent(folder.path(), "buildkite-agent", "echo 'fatal: no such job' >&2; exit 1");
        assert_data_eq!(
            refused(&run(&identity, &env(&[("PATH", &path)]))).await,
            str![[r#"
exit 6
error: profile `prod`: identity `build`: `buildkite-agent` gave no token
  why: exit status: 1 fatal: no such job
  try: run this in a job of Buildkite; in a container let the docker plugin bring its agent along: `mount-buildkite-agent: true`

"#]]
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_administrators_command_has_a_clean_environment_and_belongs_to_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let script = format!("{{ echo \"$@\"; env; }} > '{}'; echo '{}'", seen.display(), good());
        let program = agent(folder.path(), "svid", &script);
        let arguments = vec!["--audience".to_owned(), "$(id) vault".to_owned()];
        let identity = Identity::Command { program: program.clone(), arguments };
        let env = env(&[("HOME", "/home/me"), ("PATH", "/evil"), ("LD_PRELOAD_X", "1"), ("SECRET", "s")]);
        assert_eq!(run(&identity, &env).jwt().await.unwrap().expose_secret(), good());
        let text = std::fs::read_to_string(seen).unwrap();
        let (arguments, variables) = text.split_once('\n').unwrap();
        assert_eq!(arguments, "--audience $(id) vault");
        // The shell adds its own.
        let mut names: Vec<&str> = variables.lines().filter_map(|line| line.split('=').next()).collect();
        names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["HOME", "PATH"]);
        assert!(!variables.contains("/evil"));
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let text = refused(&run(&identity, &env)).await;
        assert!(text.starts_with("exit 7\n") && text.contains("why: others can write to it\n"), "{text}");
    }

    #[test]
    fn jobs_and_commands_are_told_apart() {
        let of = |identity: &Identity, pairs: &[(&str, &str)]| {
            fingerprint(Some(&name()), identity, &env(pairs)).unwrap()
        };
        let buildkite = |audience: &str| Identity::Buildkite { audience: Some(audience.into()) };
        let (one, two) = ([("BUILDKITE_JOB_ID", "1")], [("BUILDKITE_JOB_ID", "2")]);
        assert_ne!(of(&buildkite("a"), &one), of(&buildkite("a"), &two));
        assert_ne!(of(&buildkite("a"), &one), of(&buildkite("b"), &one));
        assert!(fingerprint(None, &buildkite("a"), &Env::default()).is_err());
        let circle = |audience: Option<&str>| Identity::Circleci { audience: audience.map(str::to_owned) };
        let job = [("CIRCLE_OIDC_TOKEN_V2", "t")];
        assert_ne!(of(&circle(None), &job), of(&circle(Some("a")), &job));
        let azure =
            |connection: &str| Identity::AzurePipelines { service_connection: Some(connection.into()) };
        let job = [(azure::URL, "https://u"), (azure::TOKEN, "t")];
        assert_ne!(of(&azure("a"), &job), of(&azure("b"), &job));
        assert!(fingerprint(None, &azure("a"), &env(&job[..1])).is_err());
        let command = |words: &[&str]| Identity::Command {
            program: "/svid".into(),
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        assert_ne!(of(&command(&["a", "b"]), &[]), of(&command(&["ab"]), &[]));
        assert_ne!(
            of(&Identity::Bitbucket, &[("BITBUCKET_STEP_OIDC_TOKEN", "a")]),
            of(&Identity::Bitbucket, &[("BITBUCKET_STEP_OIDC_TOKEN", "b")])
        );
    }
}
