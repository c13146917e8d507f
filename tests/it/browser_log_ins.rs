//! Log-ins by a browser at Vault's `auth/oidc`, whose provider is the same server: at a terminal, with
//! the browser here or elsewhere, and for many callers at once. The browser is a program that
//! `BROWSER` names; it does with requests what a person would do at the provider's page.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::browser::whoami_at_terminal;
use crate::engine::{self, Engine, gets_a_token, home_with};
use crate::home::{Home, PLUGIN, exec_info};
use crate::rig::{Browser, Cluster, OpenIdProvider, Vault, claims, poll, tool, unique};
use crate::terminal::Terminal;

const PASSWORD: &str = "down the rabbit hole";

/// A mount of `auth/oidc` where people of a userpass method of the same server log in.
struct World {
    engine: Engine,
    /// The mount; its roles are `dev`, `direct`, `elsewhere` and `others`.
    mount: String,
    /// A person's session, with which the provider knows them.
    alice: String,
}

impl World {
    fn new() -> Self {
        let (vault, engine) = (Vault::shared(), engine::shared());
        let root = vault.root();
        let (mount, userpass, client) = (unique("sso"), unique("userpass"), unique("client"));
        root.enable_auth("userpass", &userpass);
        // Everybody who logged in may ask the provider: it is a page that decides, not a policy.
        root.userpass_user(&userpass, "alice", PASSWORD, &["default"]);
        let direct = format!("{}/v1/auth/{mount}/oidc/callback", vault.address);
        let redirects = json!(["http://localhost:8250/oidc/callback", direct]);
        let body =
            json!({"redirect_uris": redirects, "assignments": ["allow_all"], "client_type": "confidential"});
        root.write(&format!("identity/oidc/client/{client}"), &body);
        let client = root.read(&format!("identity/oidc/client/{client}"));
        root.enable_auth("oidc", &mount);
        let config = json!({
            "oidc_discovery_url": format!("{}/v1/identity/oidc/provider/default", vault.address),
            "oidc_discovery_ca_pem": vault.authority.pem,
            "oidc_client_id": client["client_id"],
            "oidc_client_secret": client["client_secret"],
            "default_role": "dev",
        });
        root.write(&format!("auth/{mount}/config"), &config);
        let role = |name: &str, redirect: &str, more: Value| {
            let mut role = json!({
                "role_type": "oidc", "user_claim": "sub", "token_policies": [engine.policy],
                "allowed_redirect_uris": [redirect],
            });
            role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            root.write(&format!("auth/{mount}/role/{name}"), &role);
        };
        let local = "http://localhost:8250/oidc/callback";
        role("dev", local, json!({}));
        role("elsewhere", "http://localhost:8250/other", json!({}));
        role("others", local, json!({"bound_claims": {"sub": "nobody"}}));
        // Where the server is one that knows it.
        let answer = root.call(
            "PUT",
            &format!("auth/{mount}/role/direct"),
            &json!({
                "role_type": "oidc", "user_claim": "sub", "token_policies": [engine.policy],
                "allowed_redirect_uris": [direct], "callback_mode": "direct", "oidc_disable_confirmation": true,
            }),
        );
        assert!(answer.is_success(), "{}", answer.text);
        let body = json!({"password": PASSWORD});
        let alice = vault.anonymous().write(&format!("auth/{userpass}/login/alice"), &body);
        let alice = alice["auth"]["client_token"].as_str().unwrap().to_owned();
        Self { engine, mount, alice }
    }

    fn home(&self, role: &str) -> Home {
        let home =
            home_with(&self.engine, "reader", Some(&json!({"oidc": {"mount": self.mount, "role": role}})));
        home.plant(PASSWORD);
        home
    }

    /// A browser whose person says yes at the provider.
    fn browser(&self, home: &Home) -> PathBuf {
        browser_that_says_yes(home, Vault::shared(), &self.alice)
    }

    /// A browser whose person says no there.
    #[expect(clippy::unused_self, reason = "beside the browser that needs it")]
    fn browser_that_refuses(&self, home: &Home) -> PathBuf {
        browser_that(
            home,
            "state=$(printf %s \"${1#*\\?}\" | tr '&' '\\n' | sed -n 's/^state=//p')\n\
             redirect=$(printf %s \"${1#*\\?}\" | tr '&' '\\n' | sed -n 's/^redirect_uri=//p' | sed 's/%3A/:/g; s/%2F/\\//g')\n\
             curl -s \"$redirect?error=access_denied&error_description=not+today&state=$state\" >> \"$0.page\"\n",
        )
    }
}

/// A browser whose person, of this session, says yes at the provider of the same server.
pub fn browser_that_says_yes(home: &Home, vault: &Vault, session: &str) -> PathBuf {
    let does = format!(
        "query=${{1#*\\?}}\n\
         answer=$(curl -s --cacert {ca} -H 'X-Vault-Token: {session}' \
           \"{address}/v1/identity/oidc/provider/default/authorize?$query\")\n\
         field() {{ printf %s \"$answer\" | sed \"s/.*\\\"$1\\\":\\\"\\([^\\\"]*\\)\\\".*/\\1/\"; }}\n\
         redirect=$(printf %s \"$query\" | tr '&' '\\n' | sed -n 's/^redirect_uri=//p' | sed 's/%3A/:/g; s/%2F/\\//g')\n\
         curl -s --cacert {ca} \"$redirect?code=$(field code)&state=$(field state)\" >> \"$0.page\"\n",
        ca = vault.ca_file().display(),
        address = vault.address,
    );
    browser_that(home, &does)
}

/// A browser that notes each address that it is asked to open, in `browser.opened`.
pub fn browser_that(home: &Home, does: &str) -> PathBuf {
    let note =
        "printf '%s\\n' \"$1\" >> \"$0.opened\"\n[ -z \"$VAULT_TOKEN$KUBERNETES_EXEC_INFO\" ] || exit 9\n";
    let path = home.write("browser", &format!("#!/bin/sh\n{note}{does}"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    home.set("BROWSER", &path.display().to_string());
    path
}

pub fn opened(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.path("browser.opened")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The address that a terminal shows to be opened.
fn shown_address(terminal: &Terminal) -> String {
    poll("an address on the screen", std::time::Duration::from_secs(120), || {
        let shown = terminal.shown();
        let whole = shown.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(str::trim).find(|line| line.starts_with("https://")).map(str::to_owned)
    })
}

/// What the browser of a person elsewhere ends at.
fn callback_address(world: &World, address: &str) -> String {
    let query = address.split_once('?').unwrap().1;
    let alice = Vault::shared().session(&world.alice);
    let answer =
        alice.call("GET", &format!("identity/oidc/provider/default/authorize?{query}"), &Value::Null);
    let text =
        |name: &str| answer.json[name].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
    let redirect = query.split('&').find_map(|pair| pair.strip_prefix("redirect_uri=")).unwrap();
    let redirect = redirect.replace("%3A", ":").replace("%2F", "/");
    format!("{redirect}?code={}&state={}", text("code"), text("state"))
}

/// What kubectl says where a person may be asked.
fn interactive() -> Value {
    let mut info = exec_info("v1", None);
    info["spec"]["interactive"] = json!(true);
    info
}

/// `get-token` as kubectl runs it for a person: at a terminal, and told so.
pub fn for_a_person(home: &Home) -> Terminal {
    home.set("KUBERNETES_EXEC_INFO", &interactive().to_string());
    let terminal = home.at_terminal(&["get-token"]);
    home.unset("KUBERNETES_EXEC_INFO");
    terminal
}

#[test]
fn a_person_logs_in_with_the_browser_that_is_opened() {
    let world = World::new();
    let home = world.home("dev");
    home.set_secret("VAULT_TOKEN", "s.of-somebody-else");
    world.browser(&home);
    let ended = home.at_terminal(&["login"]).end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(ended.shown.contains("if none opens, open this address yourself:"), "{ended:?}");
    assert!(ended.shown.contains(&format!("logged in to {} as ", Vault::shared().address)), "{ended:?}");
    assert!(ended.shown.contains("prod: a token for "), "{ended:?}");
    assert_eq!(opened(&home).len(), 1);
    let page = fs::read_to_string(home.path("browser.page")).unwrap();
    assert!(page.contains("Your answer has arrived. The terminal says"), "{page}");
    home.unset("VAULT_TOKEN");
    gets_a_token(&home, &world.engine);
}

#[test]
fn where_the_browser_is_elsewhere_its_address_is_pasted() {
    let world = World::new();
    let home = world.home("dev");
    world.browser(&home);
    let mut terminal = home.at_terminal(&["login", "--no-browser"]);
    let address = callback_address(&world, &shown_address(&terminal));
    terminal.type_text("http://localhost:8250/oidc/callback?code=x&state=st_other\r");
    terminal.wait_for("that address belongs to another log-in");
    terminal.type_text(&format!("{address}\r"));
    let ended = terminal.end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert_eq!(opened(&home), Vec::<String>::new());
    gets_a_token(&home, &world.engine);
    // In a remote shell nothing is tried, and the way through it is told.
    home.run(&["logout"]).succeeded();
    home.unset("BROWSER").set("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    let mut terminal = home.at_terminal(&["login"]);
    let code = callback_address(&world, &shown_address(&terminal));
    terminal.wait_for("ssh -L ");
    let code = code.split("code=").nth(1).unwrap().split('&').next().unwrap();
    terminal.type_text(&format!("{code}\r"));
    let ended = terminal.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.shown.contains("no browser was opened: this is a remote shell without a display"),
        "{ended:?}"
    );
}

#[test]
fn a_browser_may_end_at_the_server_instead() {
    let world = World::new();
    let home = world.home("direct");
    world.browser(&home);
    let ended = home.at_terminal(&["login"]).end();
    home.showed(&ended.shown);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", fs::read_to_string(home.path("browser.page")).unwrap());
    gets_a_token(&home, &world.engine);
}

/// Where the server's roles have `oauth2_metadata`, the provider's token opens a cluster that trusts the
/// provider; else it is said that nothing is handed on.
#[test]
fn the_providers_own_token_is_handed_on_to_a_cluster() {
    let (world, vault, cluster) = (World::new(), Vault::shared(), Cluster::shared());
    let root = vault.root();
    let role = format!("auth/{}/role/dev", world.mount);
    let home = world.home("dev");
    home.settings(&json!({
        "vaults": {"corp": {
            "address": vault.address, "certificateAuthority": vault.ca_file(),
            "auth": {"oidc": {"mount": world.mount, "role": "dev"}},
        }},
        "profiles": {"people": {"source": {"oidc": {"vault": "corp"}}}},
    }));
    world.browser(&home);
    let ended = home.at_terminal(&["login"]).end();
    home.showed(&ended.shown);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.shown.contains("hands on no ID token of a provider"), "{ended:?}");
    root.write(&role, &json!({"oauth2_metadata": ["id_token", "access_token"]}));
    if root.read(&role)["oauth2_metadata"].is_null() {
        return;
    }
    let ended = home.at_terminal(&["login"]).end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    let token = home.get_token(&["--profile=people"], None).quiet().token();
    let claims = claims(&token);
    assert_eq!(claims["iss"], format!("{}/v1/identity/oidc/provider/default", vault.address));
    cluster.trust_issuer(&json!({
        "issuer": {
            "url": claims["iss"], "certificateAuthority": vault.authority.pem, "audiences": [claims["aud"]],
        },
        "claimMappings": {"username": {"expression": "'handed-on:' + claims.sub"}},
    }));
    let kubeconfig = home.kubeconfig(cluster, &json!({"args": ["get-token", "--profile=people"]}), None);
    let who = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];
    let run = home.kubectl(&kubeconfig, &who).quiet();
    assert_eq!(run.stdout, format!("handed-on:{}", claims["sub"].as_str().unwrap()));
    // It is the one of the log-in, and no other comes without one.
    assert_eq!(home.get_token(&["--force-refresh"], None).quiet().token(), token);
    assert_eq!(opened(&home).len(), 2);
    let out = home.run(&["logout"]);
    assert!(out.code == 0 && out.stdout.contains("until"), "{out:?}");
    home.get_token(&[], None).failed(3);
}

#[test]
fn a_code_is_confirmed_on_another_device() {
    let (root, engine, provider) = (Vault::shared().root(), engine::shared(), OpenIdProvider::shared());
    let mount = unique("device");
    root.enable_auth("oidc", &mount);
    let config = json!({
        "oidc_discovery_url": provider.issuer,
        "oidc_discovery_ca_pem": provider.authority.pem,
        "oidc_client_id": "kubernetes",
        // Vault wants one; the provider asks none of this client.
        "oidc_client_secret": "none",
        "default_role": "people",
    });
    root.write(&format!("auth/{mount}/config"), &config);
    let role = json!({
        "role_type": "oidc", "user_claim": "sub", "callback_mode": "device", "token_policies": [engine.policy],
        "allowed_redirect_uris": ["http://localhost:8250/oidc/callback"],
    });
    root.write(&format!("auth/{mount}/role/people"), &role);
    let home = home_with(&engine, "reader", Some(&json!({"oidc": {"mount": mount}})));
    browser_that(&home, "");
    let terminal = home.at_terminal(&["login", "--device-code"]);
    let address = shown_address(&terminal);
    let device = Browser::start();
    device.open(&address);
    OpenIdProvider::confirm_device(&device, "alice");
    let ended = terminal.end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(ended.shown.contains("log in on any device, at this address:"), "{ended:?}");
    assert!(ended.shown.contains(" as alice until "), "{ended:?}");
    assert_eq!(opened(&home), Vec::<String>::new());
    gets_a_token(&home, &engine);
}

#[test]
fn what_the_role_or_the_person_does_not_allow_is_told() {
    let world = World::new();
    let refused = |role: &str, browser: &dyn Fn(&Home) -> PathBuf, code, words: &[&str]| {
        let home = world.home(role);
        browser(&home);
        let ended = home.at_terminal(&["login", "--login-timeout=30s"]).end();
        home.showed(&ended.shown);
        assert_eq!((ended.code, ended.restored), (Some(code), true), "{ended:?}");
        for words in words {
            assert!(ended.shown.contains(words), "{words}: {ended:?}");
        }
        opened(&home).len()
    };
    let yes = |home: &Home| world.browser(home);
    let no = |home: &Home| world.browser_that_refuses(home);
    assert_eq!(refused("elsewhere", &yes, 4, &["with role `elsewhere`", "allowed_redirect_uris"]), 0);
    assert_eq!(refused("no-such-role", &yes, 4, &["role \"no-such-role\" could not be found"]), 0);
    assert_eq!(refused("others", &yes, 4, &["refused the log-in with `oidc`", "bound claim"]), 1);
    assert_eq!(refused("dev", &no, 4, &["the provider refused the log-in", "access_denied: not today"]), 1);
    let home = world.home("dev");
    world.browser(&home);
    let run = home.run(&["login", "--device-code"]);
    assert!(run.code == 4 && run.stderr.contains("gives no code for another device"), "{run:?}");
}

#[test]
fn control_c_and_the_end_of_the_time_leave_the_terminal_as_it_was() {
    let world = World::new();
    let home = world.home("dev");
    for arguments in [&["login"][..], &["login", "--no-browser"]] {
        browser_that(&home, "");
        let terminal = home.at_terminal(arguments);
        terminal.wait_for("/authorize?");
        terminal.signal(rustix::process::Signal::INT);
        let ended = terminal.end();
        assert_eq!((ended.code, ended.restored), (Some(130), true), "{ended:?}");
    }
    let ended = home.at_terminal(&["login", "--login-timeout=1s"]).end();
    assert_eq!((ended.code, ended.restored), (Some(5), true), "{ended:?}");
    assert!(ended.shown.contains("no answer came in time"), "{ended:?}");
}

#[test]
fn kubectl_gets_its_token_by_a_browser_only_for_a_person_at_a_terminal() {
    let world = World::new();
    let home = world.home("dev");
    world.browser(&home);
    // Not interactive, or no terminal.
    let run = home.get_token(&[], Some(&exec_info("v1", None)));
    assert!(run.failed(3).contains("try: kubectl-vaulttoken login prod\n"), "{run:?}");
    home.get_token(&[], Some(&interactive())).failed(3);
    home.set("KUBERNETES_EXEC_INFO", &exec_info("v1", None).to_string());
    let ended = home.at_terminal(&["get-token"]).end();
    home.unset("KUBERNETES_EXEC_INFO");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    // A program that completes a line for a shell, as kubectl does it.
    let program = "import subprocess, sys\nsys.exit(subprocess.call([sys.argv[1], 'get-token']))\n";
    home.write("__complete.py", program);
    let mut command = Command::new("python3");
    home.set("KUBERNETES_EXEC_INFO", &interactive().to_string());
    home.prepare(&mut command);
    home.unset("KUBERNETES_EXEC_INFO");
    let ended = Terminal::start({
        command.args(["__complete.py", PLUGIN]);
        command
    })
    .end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(opened(&home), Vec::<String>::new());
    let ended = for_a_person(&home).end();
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(ended.shown.contains("logged in to "), "{ended:?}");
    assert_eq!(opened(&home).len(), 1);
    gets_a_token(&home, &world.engine);
    // A browser that only a kubeconfig names is not the person's.
    home.run(&["logout"]).succeeded();
    let browser = home.path("browser").display().to_string();
    home.unset("BROWSER").set("KUBERNETES_EXEC_INFO", &interactive().to_string());
    let mut command = Command::new("/bin/sh");
    home.prepare(&mut command);
    command.args(["-c", "BROWSER=\"$1\" \"$0\" get-token; exit $?", PLUGIN, &browser]);
    home.unset("KUBERNETES_EXEC_INFO");
    let terminal = Terminal::start(command);
    terminal.wait_for("no browser was opened: there is no display");
    terminal.signal(rustix::process::Signal::INT);
    assert_eq!(terminal.end().code, Some(130));
    assert_eq!(opened(&home).len(), 1);
}

#[test]
fn fifty_kubectls_with_a_spent_session_open_one_browser() {
    let world = World::new();
    let home = world.home("dev");
    world.browser(&home);
    assert_eq!(home.at_terminal(&["login"]).end().code, Some(0));
    // Spent: the server knows it no more, and no token is left.
    Vault::shared().root().write(&format!("sys/leases/revoke-prefix/auth/{}", world.mount), &Value::Null);
    fs::remove_dir_all(home.path(".cache/vaulttoken")).unwrap();
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
    let terminals: Vec<Terminal> = (0..50).map(|_| whoami_at_terminal(&home, &kubeconfig)).collect();
    for terminal in terminals {
        let ended = terminal.end();
        home.showed(&ended.shown);
        assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
        assert!(ended.shown.ends_with(&world.engine.reader()), "{ended:?}");
    }
    assert_eq!(opened(&home).len(), 2, "one for the log-in before, one for all of them");
}

#[test]
fn a_log_in_that_failed_is_shared_and_not_begun_again_at_once() {
    let world = World::new();
    let home = world.home("dev");
    world.browser_that_refuses(&home);
    let terminals: Vec<Terminal> = (0..5).map(|_| for_a_person(&home)).collect();
    for terminal in terminals {
        let ended = terminal.end();
        assert!(matches!(ended.code, Some(3 | 4)), "{ended:?}");
        assert!(ended.shown.contains("access_denied: not today"), "{ended:?}");
    }
    // kubectl runs a plugin that failed up to five times.
    let ended = for_a_person(&home).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.shown.contains("log-in required, and the last one failed"), "{ended:?}");
    assert!(ended.shown.contains("try: kubectl-vaulttoken login prod"), "{ended:?}");
    assert_eq!(opened(&home).len(), 1);
    // Who asks for it by name is not kept from it, and mends it for all.
    world.browser(&home);
    assert_eq!(home.at_terminal(&["login"]).end().code, Some(0));
    gets_a_token(&home, &world.engine);
}

#[test]
fn the_real_kubectl_opens_one_browser_however_often_it_asks() {
    let world = World::new();
    let home = world.home("dev");
    let kubeconfig =
        home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token", "--profile=prod"]}), None);
    let kubectl = || {
        let mut command = home.program(&tool("kubectl"));
        command.env("KUBECONFIG", &kubeconfig);
        command.args(["get", "configmaps", "--namespace", &world.engine.namespace]);
        Terminal::start(command).end()
    };
    world.browser_that_refuses(&home);
    let ended = kubectl();
    assert_eq!((ended.code, ended.restored), (Some(1), true), "{ended:?}");
    assert!(ended.shown.contains("access_denied: not today"), "{ended:?}");
    assert!(ended.shown.matches("error: ").count() > 2, "kubectl asked again and again: {ended:?}");
    assert_eq!(opened(&home).len(), 1);
    world.browser(&home);
    assert_eq!(home.at_terminal(&["login"]).end().code, Some(0));
    home.run(&["logout"]).succeeded();
    let ended = kubectl();
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(ended.shown.contains("kube-root-ca.crt") || ended.shown.contains("No resources"), "{ended:?}");
    assert_eq!(opened(&home).len(), 3);
}

#[test]
fn whoever_dies_while_asking_is_replaced() {
    let world = World::new();
    let home = world.home("dev");
    browser_that(&home, "");
    let first = for_a_person(&home);
    first.wait_for("/authorize?");
    let second = for_a_person(&home);
    second.wait_for("another log-in of yours is under way");
    world.browser(&home);
    first.signal(rustix::process::Signal::KILL);
    let ended = second.end();
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert_eq!(opened(&home).len(), 2);
    drop(first.end());
}

#[test]
fn a_password_is_asked_for_where_kubectl_waits_for_it() {
    let (root, engine) = (Vault::shared().root(), engine::shared());
    let mount = unique("userpass");
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", PASSWORD, &[&engine.policy]);
    let home =
        home_with(&engine, "reader", Some(&json!({"userpass": {"mount": mount, "username": "alice"}})));
    home.plant(PASSWORD);
    let mut terminal = for_a_person(&home);
    terminal.wait_for("password of alice for ");
    terminal.wait_for_silence();
    terminal.type_text(&format!("{PASSWORD}\r"));
    let ended = terminal.end();
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(!ended.shown.contains(PASSWORD), "{ended:?}");
    gets_a_token(&home, &engine);
}
