//! Log-ins by a browser: which question is asked, where the person is sent, and who may answer.

use zeroize::Zeroizing;

use super::*;
use crate::browser::NotOpened;
use crate::person::LogInHow;

/// A person with a browser elsewhere, who pastes what it ended at.
struct Remote {
    how: LogInHow,
    /// What they paste; `STATE` stands for that of the address they were shown.
    pastes: Mutex<VecDeque<&'static str>>,
    shown: Mutex<Vec<String>>,
    patience: Duration,
}

impl Remote {
    fn who(how: LogInHow, pastes: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            how,
            pastes: Mutex::new(pastes.into_iter().collect()),
            shown: Mutex::default(),
            patience: Duration::from_secs(20),
        }
    }

    fn shown(&self) -> String {
        held(&self.shown).join("\n")
    }
}

impl Person for Remote {
    fn ask(&self, _: &str) -> Result<String, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    fn ask_secret(&self, _: &str) -> Result<SecretString, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    fn tell(&self, line: &str) {
        held(&self.shown).push(line.to_owned());
    }
    fn typed(&self) -> Result<Option<Zeroizing<String>>, NoAnswer> {
        let line = held(&self.pastes).pop_front().ok_or(NoAnswer::Nobody)?;
        Ok(Some(Zeroizing::new(line.to_owned())))
    }
    fn open(&self, address: &Url) -> Result<(), NotOpened> {
        held(&self.shown).push(format!("opened {address}"));
        Ok(())
    }
    fn wants(&self) -> LogInHow {
        self.how
    }
    fn patience(&self) -> Duration {
        self.patience
    }
}

fn oidc() -> AuthMethod {
    AuthMethod::Oidc { mount: "sso".into(), role: Some("dev".into()) }
}

fn begun(data: &serde_json::Value) -> Step {
    reply(200, &serde_json::json!({ "data": data }).to_string())
}

fn address(more: &str) -> serde_json::Value {
    serde_json::json!({ "auth_url": format!("https://sso.example/authorize?state=st_1{more}") })
}

fn display_name(name: &str) -> Step {
    reply(200, &serde_json::json!({"data": {"display_name": name}}).to_string())
}

/// What was asked, with the nonce and the port replaced.
fn asked_plainly(server: &Scripted) -> Vec<String> {
    let nonce = asked(server)
        .iter()
        .find_map(|line| line.split("client_nonce\":\"").nth(1)?.split('"').next().map(str::to_owned));
    let nonce = nonce.unwrap();
    assert_eq!(nonce.len(), 43, "32 random bytes");
    let port = |line: &str| {
        let after = line.split("http://localhost:").nth(1)?;
        Some(format!("localhost:{}", after.split('/').next()?))
    };
    let plain = |line: &String| {
        let line = line.replace(&nonce, "NONCE").replace(server.url.as_str(), "VAULT/");
        port(&line).map_or(line.clone(), |port| line.replace(&port, "localhost:PORT"))
    };
    asked(server).iter().map(plain).collect()
}

#[tokio::test]
async fn the_code_goes_to_vault_with_the_nonce_and_the_person_is_known_by_name() {
    let server =
        Scripted::new([begun(&address("&scope=openid")), granted("s.new", 60), display_name("sso-alice")]);
    let person = Remote::who(LogInHow::NoBrowser, ["http://localhost:1/oidc/callback?code=c%2F1&state=st_1"]);
    let session = vault(&server, oidc(), &Arc::default()).login(&person).await.unwrap();
    assert_eq!(session.subject.as_deref(), Some("alice"));
    assert_eq!(
        asked_plainly(&server),
        [
            r#"- POST /v1/auth/sso/oidc/auth_url {"role":"dev","redirect_uri":"http://localhost:PORT/oidc/callback","client_nonce":"NONCE"}"#,
            "- GET /v1/auth/sso/oidc/callback?state=st_1&code=c%2F1&client_nonce=NONCE",
            "s.new GET /v1/auth/token/lookup-self",
        ]
    );
    let shown = person.shown();
    assert!(shown.contains("https://sso.example/authorize?state=st_1&scope=openid"), "{shown}");
    assert!(!shown.contains("opened") && shown.contains("paste here"), "{shown}");
}

#[tokio::test]
async fn a_role_whose_browser_ends_at_the_server_is_asked_until_it_knows() {
    let pending = || errors(400, "authorization_pending");
    let direct = serde_json::json!({
        "auth_url": "https://sso.example/authorize?state=st_2", "state": "st_2", "poll_interval": "1",
    });
    let server = Scripted::new([
        begun(&serde_json::json!({"auth_url": ""})),
        begun(&direct),
        pending(),
        granted("s.new", 60),
        display_name(""),
    ]);
    let person = Remote::who(LogInHow::Browser, []);
    let session = vault(&server, oidc(), &Arc::default()).login(&person).await.unwrap();
    assert_eq!(session.subject.as_deref(), Some("ci"));
    let poll = r#"- POST /v1/auth/sso/oidc/poll {"state":"st_2","client_nonce":"NONCE"}"#;
    assert_eq!(
        asked_plainly(&server)[1..4],
        [
            r#"- POST /v1/auth/sso/oidc/auth_url {"role":"dev","redirect_uri":"VAULT/v1/auth/sso/oidc/callback","client_nonce":"NONCE"}"#,
            poll,
            poll,
        ]
    );
    assert!(person.shown().ends_with("opened https://sso.example/authorize?state=st_2"));
}

#[tokio::test]
async fn a_code_for_another_device_is_shown_and_nothing_opened_here() {
    let device = serde_json::json!({
        "auth_url": "https://sso.example/activate", "state": "st_3", "poll_interval": 1, "user_code": "WDJB-MJHT",
    });
    let steps = [begun(&device), errors(400, "slow_down"), granted("s.new", 60), display_name("")];
    let server = Scripted::new(steps);
    let person = Remote::who(LogInHow::DeviceCode, []);
    let began = Instant::now();
    vault(&server, oidc(), &Arc::default()).login(&person).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(3), "a second, and after `slow_down` two");
    assert_eq!(
        asked_plainly(&server)[0],
        r#"- POST /v1/auth/sso/oidc/auth_url {"role":"dev","client_nonce":"NONCE"}"#
    );
    let shown = person.shown();
    assert!(shown.contains("https://sso.example/activate\nand type this code there: WDJB-MJHT"), "{shown}");
    assert!(!shown.contains("opened"), "{shown}");
}

#[tokio::test]
async fn what_ends_a_log_in_by_browser_is_said() {
    let failed = async |how: LogInHow, pastes: Vec<&'static str>, steps: Vec<Step>| {
        let server = Scripted::new(steps);
        let store = Arc::<Store>::default();
        let person = Remote { patience: Duration::from_millis(300), ..Remote::who(how, pastes) };
        let error = vault(&server, oidc(), &store).login(&person).await.unwrap_err();
        assert_eq!(store.token(), None);
        (told(&error, &server).join("\n"), person.shown())
    };
    let nowhere = || begun(&serde_json::json!({"auth_url": ""}));
    let (words, _) = failed(LogInHow::Browser, vec![], vec![nowhere(), nowhere()]).await;
    assert!(words.contains("has no address to log in at with role `dev` at `auth/sso`"), "{words}");
    for (evil, why) in [
        ("http://sso.example/?state=s", "it does not begin with `https://`"),
        ("file:///etc/passwd", "it does not begin with `https://`"),
        ("https://sso.example/\u{1b}[2J?state=s", "it holds blanks or control characters"),
        ("https://corp.example@evil.example/?state=s", "it hides where it leads behind a user name"),
        ("https://sso.example/", "its `auth_url` has no `state`"),
        ("https://sso.example/?state=s&response_mode=form_post", "the mount asks for `form_post`"),
    ] {
        let (words, shown) =
            failed(LogInHow::Browser, vec![], vec![begun(&serde_json::json!({ "auth_url": evil }))]).await;
        assert!(words.contains(why) && words.ends_with('6'), "{words}");
        assert_eq!(shown, "", "nothing of it is shown or opened");
    }
    let (words, _) =
        failed(LogInHow::Browser, vec![], vec![errors(400, "role \"dev\" could not be found")]).await;
    assert!(
        words.contains("refused the log-in with `oidc` at `auth/sso`\nrole \"dev\" could not"),
        "{words}"
    );
    let (words, _) = failed(LogInHow::DeviceCode, vec![], vec![errors(400, "missing redirect_uri")]).await;
    assert!(words.contains("gives no code for another device with role `dev`"), "{words}");
    let (words, _) = failed(LogInHow::DeviceCode, vec![], vec![begun(&address(""))]).await;
    assert!(words.contains("gives no code for another device"), "{words}");
    let refused = vec!["x?error=access_denied&error_description=no&state=st_1"];
    let (words, _) = failed(LogInHow::NoBrowser, refused, vec![begun(&address(""))]).await;
    assert!(words.contains("the provider refused the log-in\naccess_denied: no"), "{words}");
    let (words, _) = failed(LogInHow::NoBrowser, vec![], vec![begun(&address(""))]).await;
    assert!(words.contains("no answer came in time") && words.ends_with('5'), "{words}");
    let bound = errors(
        400,
        "error validating claims: claim \"groups\" does not match any associated bound claim values",
    );
    let (words, _) = failed(LogInHow::NoBrowser, vec!["code"], vec![begun(&address("")), bound]).await;
    assert!(words.contains("claim \"groups\" does not match") && words.ends_with('4'), "{words}");
}

#[tokio::test]
async fn without_a_person_no_browser_is_thought_of() {
    let server = Scripted::new([]);
    let error = vault(&server, oidc(), &Arc::default()).session().await.unwrap_err();
    assert!(matches!(error, VaultError::LoginRequired { .. }));
}
