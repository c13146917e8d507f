//! A kubeconfig that lies is given nothing: no token goes to another cluster and no session to
//! another Vault, whatever a server address, an extension, `exec.env` or `exec.args` say. Where the
//! lie goes through the real kubectl, the evil server on the other side tells what it was sent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::engine::{self, home_with_token};
use crate::home::{Home, Run, exec_info};
use crate::rig::{Authority, Cluster, Double, Reply, Vault, unique};

const SECRET: &str = "hvs.s3cret-of-the-person";

/// Somebody else's server: an API server, a Vault and a proxy in one, which takes whatever comes.
struct Evil {
    authority: Authority,
    server: Double,
}

impl Evil {
    fn new() -> Self {
        let authority = Authority::new("evil");
        let server = Double::https(&authority, &[], |_| Reply::json(200, &json!({"data": {}})));
        Self { authority, server }
    }

    /// Asserts that no request carried a credential.
    #[track_caller]
    fn learnt_nothing(&self) {
        for request in self.server.seen() {
            for header in ["authorization", "proxy-authorization", "x-vault-token", "cookie"] {
                assert_eq!(request.header(header), None, "{request:?}");
            }
            let body = String::from_utf8_lossy(&request.body).into_owned();
            assert!(!body.contains("eyJ") && !body.contains("s3cret"), "{body}");
        }
    }
}

/// An engine on the shared Vault and an account on the shared cluster.
struct Scene {
    home: Home,
    cluster: &'static Cluster,
    mount: String,
    token: String,
}

impl Scene {
    fn new() -> Self {
        let (vault, cluster) = (Vault::shared(), Cluster::shared());
        let (mount, namespace) = (unique("kubernetes"), cluster.namespace("team"));
        cluster.service_account(&namespace, "reader");
        cluster.grant((&namespace, "reader"), "view");
        vault.root().kubernetes_engine(&mount, cluster);
        vault.root().kubernetes_engine_role(&mount, "reader", &namespace, "reader");
        let policy = unique("mint");
        let rules = format!("path \"{mount}/creds/*\" {{ capabilities = [\"update\"] }}");
        vault.root().write_policy(&policy, &rules);
        let token = vault.root().child_token(&json!({"policies": [policy], "ttl": "1h"}));
        let home = Home::new();
        home.plant(&token);
        home.set("VAULT_TOKEN", &token);
        Self { home, cluster, mount, token }
    }

    /// With the profile `prod`, to which `more` is added.
    fn with_profile(more: &Value) -> Self {
        let scene = Self::new();
        let source = json!({"vaultKubernetes": {"vault": "corp", "mount": scene.mount, "role": "reader"}});
        let mut prod = json!({"source": source});
        prod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let vault = Vault::shared();
        scene.home.settings(&json!({
            "vaults": {"corp": {"address": vault.address, "certificateAuthority": vault.ca_file()}},
            "profiles": {"prod": prod},
        }));
        scene
    }

    fn pinned() -> Self {
        let cluster = Cluster::shared();
        let pin = json!({"server": cluster.server, "certificateAuthority": cluster.ca_file()});
        Self::with_profile(&json!({"cluster": pin}))
    }

    fn honest(&self) -> Value {
        json!({"server": self.cluster.server, "certificate-authority": self.cluster.ca_file()})
    }

    /// Runs kubectl with a kubeconfig of this cluster and this exec entry.
    fn kubectl(&self, cluster: &Value, exec: &Value) -> Run {
        let kubeconfig = kubeconfig(&self.home, cluster, exec);
        self.home.kubectl(&kubeconfig, &["get", "namespaces", "--output=name"])
    }

    /// The profile's first cluster is remembered.
    fn served_once(self) -> Self {
        self.kubectl(&self.honest(), &json!({})).quiet();
        self
    }
}

fn kubeconfig(home: &Home, cluster: &Value, exec: &Value) -> PathBuf {
    let mut whole = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "kubectl-vaulttoken",
        "args": ["get-token", "--profile=prod"],
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": true,
    });
    whole.as_object_mut().unwrap().extend(exec.as_object().unwrap().clone());
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "other", "cluster": cluster}],
        "users": [{"name": "user", "user": {"exec": whole}}],
        "contexts": [{"name": "lead me there", "context": {"cluster": "other", "user": "user"}}],
        "current-context": "lead me there",
    });
    home.write(&unique("kubeconfig"), &text.to_string())
}

/// Asserts that kubectl was refused by the plugin, with this code and these words.
#[track_caller]
fn refused(run: &Run, code: i32, words: &str) {
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains(&format!("failed with exit code {code}")), "{run:?}");
    assert!(run.stderr.contains(words), "{run:?}");
}

fn extension(of: &Value) -> Value {
    let mut whole = json!({"apiVersion": "vaulttoken.dev/v1alpha1", "kind": "ClusterProfile"});
    whole.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
    json!([{"name": "client.authentication.k8s.io/exec", "extension": whole}])
}

/// Descriptions of clusters that are none of the profile's, each with a word of the refusal.
fn lies(scene: &Scene, evil: &Evil) -> Vec<(Value, &'static str)> {
    let (server, file) = (&evil.server.address, &evil.authority.file);
    vec![
        (json!({"server": server, "certificate-authority": file}), "it belongs to"),
        (
            json!({"server": server, "certificate-authority-data": STANDARD.encode(&evil.authority.pem)}),
            "it belongs to",
        ),
        (
            json!({"server": scene.cluster.server, "certificate-authority": file}),
            "another certificate authority",
        ),
        (json!({"server": server}), "it belongs to"),
        (json!({"server": server, "insecure-skip-tls-verify": true}), "TLS verification is switched off"),
        (
            json!({"server": scene.cluster.server, "insecure-skip-tls-verify": true}),
            "TLS verification is switched off",
        ),
        (
            json!({"server": server, "certificate-authority": file, "tls-server-name": "kubernetes"}),
            "it belongs to",
        ),
        (
            json!({"server": server, "certificate-authority": file,
                "extensions": extension(&json!({"profile": "prod"}))}),
            "it belongs to",
        ),
        (
            json!({"server": server, "certificate-authority": file,
                "extensions": extension(&json!({"role": "reader"}))}),
            "it belongs to",
        ),
    ]
}

#[test]
fn a_remembered_profile_serves_no_other_cluster() {
    let (scene, evil) = (Scene::with_profile(&json!({})).served_once(), Evil::new());
    for (cluster, words) in lies(&scene, &evil) {
        let run = scene.kubectl(&cluster, &json!({}));
        refused(&run, 7, words);
        evil.learnt_nothing();
    }
    // In clear kubectl may not even run a plugin; in no case is there a token on the wire.
    let clear = Double::http(|_| Reply::json(200, &json!({})));
    scene.kubectl(&json!({"server": clear.address}), &json!({}));
    assert!(clear.seen().iter().all(|request| request.header("authorization").is_none()));
    // And the honest one is served as before.
    scene.kubectl(&scene.honest(), &json!({})).quiet();
}

#[test]
fn a_pinned_profile_serves_no_other_cluster_not_even_first() {
    let (scene, evil) = (Scene::pinned(), Evil::new());
    for (cluster, words) in lies(&scene, &evil) {
        refused(&scene.kubectl(&cluster, &json!({})), 7, words);
        evil.learnt_nothing();
    }
    scene.kubectl(&scene.honest(), &json!({})).quiet();
}

#[test]
fn a_client_that_hides_its_cluster_gets_nothing_of_a_pinned_profile() {
    let (scene, evil) = (Scene::pinned().served_once(), Evil::new());
    let to_evil = json!({"server": evil.server.address, "certificate-authority": evil.authority.file});
    let claim = format!("--cluster-server={}", scene.cluster.server);
    for arguments in [json!(["get-token", "--profile=prod"]), json!(["get-token", "--profile=prod", claim])] {
        let run = scene.kubectl(&to_evil, &json!({"provideClusterInfo": false, "args": arguments}));
        refused(&run, 7, "the client did not say which cluster it is for");
        evil.learnt_nothing();
    }
}

#[test]
fn a_token_that_a_person_fetched_for_one_of_two_pins_is_not_for_a_client_that_hides_its_cluster() {
    let (one, two) = (Cluster::shared(), Cluster::other());
    let pin =
        |cluster: &Cluster| json!({"server": cluster.server, "certificateAuthority": cluster.ca_file()});
    let (scene, evil) = (Scene::with_profile(&json!({"cluster": [pin(one), pin(two)]})), Evil::new());
    scene.home.run(&["refresh", "prod"]).succeeded();
    let to_evil = json!({"server": evil.server.address, "certificate-authority": evil.authority.file});
    let run = scene.kubectl(&to_evil, &json!({"provideClusterInfo": false}));
    evil.learnt_nothing();
    refused(&run, 7, "the client did not say which cluster it is for");
}

#[test]
fn a_claim_of_a_flag_is_held_against_what_is_remembered() {
    let (scene, evil) = (Scene::with_profile(&json!({})).served_once(), Evil::new());
    let exec = |server: &str| {
        let claim = format!("--cluster-server={server}");
        json!({"provideClusterInfo": false, "args": ["get-token", "--profile=prod", claim]})
    };
    for _ in 0..2 {
        let run = scene.kubectl(&scene.honest(), &exec(&evil.server.address));
        refused(&run, 7, "it belongs to");
        // An honest claim in between leaves a token behind, which must not be given to the next lie.
        scene.kubectl(&scene.honest(), &exec(&scene.cluster.server)).quiet();
    }
}

#[test]
fn the_same_authority_at_another_address_is_the_same_cluster() {
    let scene = Scene::with_profile(&json!({})).served_once();
    let front = Double::before(&scene.cluster.authority, &scene.cluster.server, |_| Reply::Passed);
    let cluster = json!({"server": front.address, "certificate-authority": scene.cluster.ca_file()});
    scene.kubectl(&cluster, &json!({})).quiet();
    assert!(front.seen().iter().all(|request| request.header("authorization").is_some()));
    // An evil server beneath the right authority cannot show its certificate: kubectl does not talk.
    let evil = Evil::new();
    let cluster = json!({"server": evil.server.address, "certificate-authority": scene.cluster.ca_file()});
    assert_ne!(scene.kubectl(&cluster, &json!({})).code, 0);
    assert!(evil.server.seen().is_empty());
}

#[test]
fn a_second_cluster_is_refused_until_a_person_accepts_its_fingerprint() {
    let scene = Scene::with_profile(&json!({})).served_once();
    let other = Cluster::other();
    let cluster = json!({"server": other.server, "certificate-authority": other.ca_file()});
    let config = kubeconfig(&scene.home, &cluster, &json!({}));
    let ask = || scene.home.kubectl(&config, &["get", "namespaces"]);
    let run = ask();
    refused(&run, 7, "try: kubectl-vaulttoken trust prod --context 'lead me there'");
    let hint = run.stderr.lines().find_map(|line| line.strip_prefix("  try: ")).unwrap().to_owned();

    scene.home.set("KUBECONFIG", &config.display().to_string());
    // The command of the hint, as a person pastes it.
    let trust = |more: &[&str]| {
        let line = [&[hint.as_str()], more].concat().join(" ");
        scene.home.run_program("/bin/sh", &["-c", &line])
    };
    let told = trust(&[]).failed(7).to_owned();
    assert!(told.contains("there is nobody to ask"), "{told}");
    let fingerprint = told.split("SHA-256 ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let wrong = fingerprint.replace(|digit: char| digit.is_ascii_digit(), "0");
    assert!(trust(&["--ca-fingerprint", &wrong]).failed(7).contains("another fingerprint"));
    refused(&ask(), 7, "it belongs to");
    trust(&["--ca-fingerprint", &fingerprint]).succeeded();
    // The token of one cluster is worth nothing at another; that it is asked is what was accepted.
    let run = ask();
    assert!(run.stderr.contains("Unauthorized") || run.stderr.contains("logged in"), "{run:?}");
    scene.kubectl(&scene.honest(), &json!({})).quiet();
}

#[test]
fn where_the_memory_cannot_be_read_nothing_is_handed_out() {
    let scene = Scene::with_profile(&json!({})).served_once();
    let memory = scene.home.path(".local/state/vaulttoken/trust.json");
    fs::write(&memory, "{").unwrap();
    fs::set_permissions(&memory, PermissionsExt::from_mode(0o600)).unwrap();
    let other = Cluster::other();
    let cluster = json!({"server": other.server, "certificate-authority": other.ca_file()});
    refused(
        &scene.kubectl(&cluster, &json!({})),
        7,
        "which remembers the clusters of each profile, cannot be read",
    );
    assert_eq!(fs::read_to_string(&memory).unwrap(), "{", "and it is left for a person to look at");
}

#[test]
fn the_command_that_is_told_mends_a_memory_that_cannot_be_read_and_loses_nothing() {
    let scene = Scene::with_profile(&json!({})).served_once();
    let memory = scene.home.path(".local/state/vaulttoken/trust.json");
    let remembered = fs::read_to_string(&memory).unwrap();
    // The hint of the plugin's own report, as a person would paste it.
    let mended = |expected: &str| {
        // A kept token is bound to the cluster that it was judged for.
        fs::remove_dir_all(scene.home.path(".cache/vaulttoken")).unwrap();
        let run = scene.kubectl(&scene.honest(), &json!({}));
        refused(&run, 7, "which remembers the clusters of each profile, cannot be read");
        let hint = run.stderr.lines().find_map(|line| line.trim().strip_prefix("try: ")).unwrap();
        assert!(hint.starts_with(expected), "{run:?}");
        scene.home.shell(None, hint).quiet();
        scene.kubectl(&scene.honest(), &json!({})).quiet();
    };
    // Brought back from a backup with the mode of another file.
    fs::set_permissions(&memory, PermissionsExt::from_mode(0o644)).unwrap();
    mended("chmod 600 ");
    assert_eq!(fs::read_to_string(&memory).unwrap(), remembered);
    let folder = memory.parent().unwrap();
    fs::set_permissions(folder, PermissionsExt::from_mode(0o770)).unwrap();
    mended("chmod go-w ");
    assert_eq!(fs::read_to_string(&memory).unwrap(), remembered);
    // Cut off in its middle.
    let half = &remembered[..remembered.len() / 2];
    fs::write(&memory, half).unwrap();
    mended("mv ");
    assert_eq!(fs::read_to_string(memory.with_extension("json.damaged")).unwrap(), half);
    assert_eq!(fs::read_to_string(&memory).unwrap(), remembered, "its first cluster is remembered anew");
    // A link to a file of somebody's: its target stays as it is.
    let target = scene.home.write("elsewhere.json", &remembered);
    fs::set_permissions(&target, PermissionsExt::from_mode(0o644)).unwrap();
    fs::remove_file(&memory).unwrap();
    std::os::unix::fs::symlink(&target, &memory).unwrap();
    mended("mv ");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_to_string(&memory).unwrap(), remembered);
}

#[test]
fn variables_that_only_the_kubeconfig_sets_send_nothing_anywhere() {
    let (scene, evil) = (Scene::new(), Evil::new());
    let vault = Vault::shared();
    scene.home.set("VAULT_ADDR", &vault.address);
    scene.home.set("VAULT_CACERT", &vault.ca_file().display().to_string());
    let evils = evil_files(&scene, &evil);
    let at = |name: &str| evils.join(name).display().to_string();
    let address = evil.server.address.clone();
    let authority = evil.authority.file.display().to_string();
    let in_clear = address.replace("https:", "http:");
    let arguments = json!([
        "get-token",
        "--source=vault-kubernetes",
        "--role=reader",
        format!("--mount={}", scene.mount),
        "--force-refresh"
    ]);
    // All at once, as a kubeconfig that means it would, and each alone.
    let lies: Vec<(&str, String)> = vec![
        ("VAULT_ADDR", address.clone()),
        ("BAO_ADDR", address.clone()),
        ("VAULT_AGENT_ADDR", address.clone()),
        ("VAULT_CACERT", authority.clone()),
        ("BAO_CACERT", authority.clone()),
        ("SSL_CERT_FILE", authority),
        ("VAULT_SKIP_VERIFY", "true".into()),
        ("BAO_SKIP_VERIFY", "true".into()),
        ("VAULT_PROXY_ADDR", in_clear.clone()),
        ("HTTPS_PROXY", in_clear.clone()),
        ("https_proxy", in_clear.clone()),
        ("HTTP_PROXY", in_clear),
        ("VAULTTOKEN_CONFIG", at(".config/vaulttoken/config.yaml")),
        ("XDG_CONFIG_HOME", at(".config")),
        ("HOME", evils.display().to_string()),
        ("VAULTTOKEN_STATE_DIR", at("state")),
        ("XDG_STATE_HOME", at(".local/state")),
        ("VAULT_CONFIG_PATH", at(".vault")),
    ];
    let run = |chosen: &[(&str, String)]| {
        let list: Vec<Value> =
            chosen.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let run = scene.kubectl(&scene.honest(), &json!({"args": arguments, "env": list}));
        assert_eq!(run.code, 0, "{chosen:?}: {run:?}");
        assert_eq!(evil.server.seen().len(), 0, "{chosen:?}");
    };
    for lie in &lies {
        run(std::slice::from_ref(lie));
    }
    run(&lies);
    assert!(!evils.join("helper-ran").exists(), "a kubeconfig names no program to run");
}

/// A folder of somebody else's, with settings, a memory and a token helper that all lead to `evil`.
fn evil_files(scene: &Scene, evil: &Evil) -> PathBuf {
    let folder = scene.home.path("evil");
    let settings = json!({
        "apiVersion": "vaulttoken.dev/v1alpha1", "kind": "Config",
        "vaults": {"corp": {"address": evil.server.address, "certificateAuthority": evil.authority.file}},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "mount": "m", "role": "reader"}}}},
    });
    scene.home.write("evil/.config/vaulttoken/config.yaml", &settings.to_string());
    let ran = folder.join("helper-ran");
    let helper = scene.home.write("evil/helper", &format!("#!/bin/sh\ntouch {}\n", ran.display()));
    fs::set_permissions(&helper, PermissionsExt::from_mode(0o700)).unwrap();
    scene.home.write("evil/.vault", &format!("token_helper = \"{}\"\n", helper.display()));
    folder
}

#[test]
fn a_bus_that_the_kubeconfig_names_starts_no_program() {
    let scene = Scene::with_profile(&json!({}));
    let ran = scene.home.path("ran");
    // A kind of D-Bus address that starts a program and speaks to it.
    let address = format!("unixexec:path=/bin/touch,argv1={}", ran.display());
    let runtime = scene.home.path("").display().to_string();
    // The first call is the one that looks for a keyring.
    for environment in [
        json!([{"name": "DBUS_SESSION_BUS_ADDRESS", "value": address}]),
        json!([{"name": "DBUS_SESSION_BUS_ADDRESS", "value": address}, {"name": "XDG_RUNTIME_DIR", "value": runtime}]),
        json!([{"name": "DBUS_SESSION_BUS_ADDRESS", "value": address},
            {"name": "VAULTTOKEN_KEYRING_SERVICE", "value": unique("another")}]),
    ] {
        scene.kubectl(&scene.honest(), &json!({"env": environment})).succeeded();
        assert!(!ran.exists(), "{environment}");
    }
}

#[test]
fn a_memory_that_the_kubeconfig_names_accepts_no_cluster() {
    let (scene, evil) = (Scene::with_profile(&json!({})).served_once(), Evil::new());
    let to_evil = json!({"server": evil.server.address, "certificate-authority": evil.authority.file});
    // What the person's memory looks like, with the evil cluster in it.
    let memory = fs::read_to_string(scene.home.path(".local/state/vaulttoken/trust.json")).unwrap();
    let evils = memory.replace(&scene.cluster.server, &evil.server.address);
    for folder in ["evil/state", "evil/xdg/vaulttoken", "evil/.local/state/vaulttoken"] {
        let file = scene.home.write(&format!("{folder}/trust.json"), &evils);
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        fs::set_permissions(file.parent().unwrap(), PermissionsExt::from_mode(0o700)).unwrap();
    }
    for (name, value) in
        [("VAULTTOKEN_STATE_DIR", "evil/state"), ("XDG_STATE_HOME", "evil/xdg"), ("HOME", "evil")]
    {
        let value = scene.home.path(value).display().to_string();
        let run = scene.kubectl(&to_evil, &json!({"env": [{"name": name, "value": value}]}));
        refused(&run, 7, "it belongs to");
        evil.learnt_nothing();
    }
}

#[test]
fn arguments_of_a_kubeconfig_name_no_vault_and_no_settings() {
    let (scene, evil) = (Scene::with_profile(&json!({})), Evil::new());
    let config = evil_files(&scene, &evil).join(".config/vaulttoken/config.yaml");
    let config = format!("--config={}", config.display());
    let address = format!("--vault-address={}", evil.server.address);
    let by_address = json!(["get-token", "--source=vault-kubernetes", "--role=reader", "--mount=m", address]);
    for arguments in [by_address, json!(["get-token", "--profile=prod", config])] {
        let run = scene.kubectl(&scene.honest(), &json!({"args": arguments}));
        refused(&run, 7, "refused to send a Vault session to");
        assert!(evil.server.seen().is_empty());
    }
}

#[test]
fn a_kubeconfig_runs_no_command_in_a_persons_name() {
    let (scene, evil) = (Scene::with_profile(&json!({})).served_once(), Evil::new());
    let to_evil = json!({"server": evil.server.address, "certificate-authority": evil.authority.file});
    for arguments in [
        json!(["login", "--vault-address", evil.server.address]),
        json!(["trust", "prod", "--context", "lead me there", "--ca-fingerprint", "00"]),
        json!(["token", "prod"]),
        json!(["token", "prod", "--output", "json"]),
        json!(["refresh", "prod"]),
        json!(["logout", "--all"]),
        json!(["status"]),
    ] {
        for environment in [json!([]), json!([{"name": "KUBERNETES_EXEC_INFO", "value": ""}])] {
            let run = scene.kubectl(&to_evil, &json!({"args": arguments, "env": environment}));
            refused(&run, 7, "a kubeconfig may run `get-token` and nothing else");
            evil.learnt_nothing();
        }
    }
    // Nothing was revoked or forgotten: the session still works.
    scene.kubectl(&scene.honest(), &json!({})).quiet();
    assert_eq!(
        Vault::shared().session(&scene.token).call("GET", "auth/token/lookup-self", &Value::Null).status,
        200
    );
}

/// A Vault that mints whatever is asked, or sends on to `Location`.
fn node(authority: &Authority, sends_on_to: Option<String>) -> Double {
    Double::https(authority, &[], move |request| match (&sends_on_to, request.path.as_str()) {
        (Some(target), path) => {
            Reply::text(307, "text/html", "").with_header("Location", &format!("{target}{path}"))
        }
        (None, "/v1/auth/token/lookup-self") => {
            Reply::json(200, &json!({"data": {"ttl": 3600, "renewable": false, "type": "service"}}))
        }
        (None, _) => Reply::json(
            200,
            &json!({"lease_id": "l", "lease_duration": 3600, "data": {
                "service_account_name": "a", "service_account_namespace": "n",
                "service_account_token": "s3cret-minted-token",
            }}),
        ),
    })
}

/// Asks a standby that sends on to `target`, with these further fields of its settings.
fn through_a_standby(authority: &Authority, target: &str, more: &Value, variables: &[(&str, String)]) -> Run {
    let standby = node(authority, Some(target.to_owned()));
    let home = Home::new();
    home.plant(SECRET);
    home.set("VAULT_TOKEN", SECRET).set("VAULT_MAX_RETRIES", "0");
    for (name, value) in variables {
        home.set(name, value);
    }
    let mut corp = json!({"address": standby.address});
    corp.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    home.settings(&json!({
        "vaults": {"corp": corp},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "mount": "m", "role": "r"}}}},
    }));
    let run = home.get_token(&["--profile=prod"], None);
    assert!(!standby.seen().is_empty());
    run
}

#[test]
fn a_standby_sends_the_session_on_to_nodes_of_its_own_vault_only() {
    let (authority, foreign) = (Authority::new("corp"), Authority::new("elsewhere"));
    let own = json!({"certificateAuthority": authority.file});
    // Trusted like a public authority: it says nothing about whose a node is.
    let public = [("SSL_CERT_FILE", authority.file.display().to_string())];
    let active = node(&authority, None);
    let named = active.address.replace("127.0.0.1", "localhost");

    let took = |run: &Run| {
        assert_eq!(run.code, 0, "{run:?}");
        let seen = active.seen();
        assert_eq!(seen.last().unwrap().header("x-vault-token"), Some(SECRET));
    };
    took(&through_a_standby(&authority, &active.address, &json!({}), &public));
    took(&through_a_standby(&authority, &named, &own, &[]));
    took(&through_a_standby(&authority, &named, &json!({"addresses": [named]}), &public));

    let count = active.seen().len();
    let run = through_a_standby(&authority, &named, &json!({}), &public);
    assert!(run.failed(7).contains("that host is not among the `addresses` of this vault"), "{run:?}");
    assert_eq!(active.seen().len(), count);

    let mallory = node(&foreign, None);
    let elsewhere = mallory.address.replace("127.0.0.1", "localhost");
    let run = through_a_standby(&authority, &elsewhere, &own, &[]);
    assert!(run.failed(7).contains("it shows no certificate of the authority"), "{run:?}");
    let clear = Double::http(|_| Reply::not_found());
    for more in [own.clone(), json!({"certificateAuthority": authority.file, "addresses": [clear.address]})] {
        let run = through_a_standby(&authority, &clear.address, &more, &[]);
        assert!(run.failed(7).contains("it would have gone over the wire in clear"), "{run:?}");
    }
    assert!(mallory.seen().is_empty() && clear.seen().is_empty());
}

#[test]
fn the_hint_for_what_flags_describe_works_as_it_stands() {
    let (engine, cluster) = (engine::shared(), Cluster::shared());
    let home = home_with_token(&engine, "reader");
    let other = Authority::new("other");
    let data = STANDARD.encode(&other.pem);
    let context = "x; touch pasted #";
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "c", "cluster": {
            "server": "https://other.example:6443", "certificate-authority-data": data,
        }}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
    });
    home.write(".kube/config", &kubeconfig.to_string());
    let mount = format!("--mount={}", engine.mount);
    let flags = ["--source=vault-kubernetes", "--vault=corp", "--role=reader", &mount];
    let info = |server: &str, data: &str| {
        exec_info("v1", Some(json!({"server": server, "certificate-authority-data": data})))
    };
    home.get_token(&flags, Some(&info(&cluster.server, &STANDARD.encode(&cluster.authority.pem)))).quiet();
    let there = info("https://other.example:6443", &data);
    let refused = home.get_token(&flags, Some(&there));
    let (_, hint) = refused.failed(7).split_once("  try: ").unwrap();
    let hint = hint.trim_end();
    assert!(hint.ends_with(" --context 'x; touch pasted #'"), "{hint}");

    let run = home.script(hint, "");
    let (_, fingerprint) = run.failed(7).split_once("SHA-256 ").unwrap();
    let fingerprint = fingerprint.split_whitespace().next().unwrap();
    home.script(&format!("{hint} --ca-fingerprint {fingerprint}"), "").succeeded();
    home.get_token(&flags, Some(&there)).quiet();
}

#[test]
fn what_a_client_claims_without_kubectl_is_judged_alike() {
    let (scene, evil) = (Scene::pinned(), Evil::new());
    let authority = |pem: &str| STANDARD.encode(pem);
    let info = |server: &str, pem: &str| {
        exec_info("v1", Some(json!({"server": server, "certificate-authority-data": authority(pem)})))
    };
    let honest = info(&scene.cluster.server, &scene.cluster.authority.pem);
    scene.home.get_token(&["--profile=prod"], Some(&honest)).quiet();
    // Its own authority among the evil one's: whoever holds either could answer.
    let both = format!("{}{}", scene.cluster.authority.pem, evil.authority.pem);
    for (server, pem) in [
        (&scene.cluster.server, evil.authority.pem.as_str()),
        (&evil.server.address, evil.authority.pem.as_str()),
        (&scene.cluster.server, both.as_str()),
    ] {
        let run = scene.home.get_token(&["--profile=prod"], Some(&info(server, pem)));
        run.failed(7);
    }
}

#[test]
fn leaving_the_profiles_name_out_escapes_no_pin() {
    let (scene, evil) = (Scene::pinned(), Evil::new());
    let to_evil = json!({"server": evil.server.address, "certificate-authority": evil.authority.file});
    let mount = format!("--mount={}", scene.mount);
    let nameless = json!(["get-token", "--source=vault-kubernetes", "--vault=corp", mount, "--role=reader"]);
    let run = scene.kubectl(&to_evil, &json!({"args": nameless}));
    evil.learnt_nothing();
    refused(&run, 7, "it belongs to");
    let run = scene.kubectl(&to_evil, &json!({"args": nameless, "provideClusterInfo": false}));
    evil.learnt_nothing();
    refused(&run, 7, "the client did not say which cluster it is for");
    let variables = json!([
        {"name": "VAULTTOKEN_SOURCE", "value": "vault-kubernetes"},
        {"name": "VAULTTOKEN_VAULT", "value": "corp"},
        {"name": "VAULTTOKEN_MOUNT", "value": scene.mount},
        {"name": "VAULTTOKEN_ROLE", "value": "reader"},
    ]);
    let run = scene.kubectl(&to_evil, &json!({"args": ["get-token"], "env": variables}));
    evil.learnt_nothing();
    refused(&run, 7, "it belongs to");
    scene.kubectl(&scene.honest(), &json!({"args": nameless})).quiet();
}

#[test]
fn a_profile_that_is_taken_to_another_engine_takes_its_pin_along_and_meets_that_engines() {
    let (one, two) = (Scene::pinned(), Cluster::other());
    let vault = Vault::shared();
    // `dev` is pinned to the other cluster; its owner asks for the engine of `prod`.
    let source =
        |mount: &str| json!({"vaultKubernetes": {"vault": "corp", "mount": mount, "role": "reader"}});
    let pin = |of: &Cluster| json!({"server": of.server, "certificateAuthority": of.ca_file()});
    one.home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": vault.ca_file()}},
        "profiles": {
            "prod": {"cluster": pin(one.cluster), "source": source(&one.mount)},
            "dev": {"cluster": pin(two), "source": source("kubernetes-dev")},
        },
    }));
    let at_dev = json!({"server": two.server, "certificate-authority": two.ca_file(),
        "extensions": extension(&json!({"profile": "dev", "mount": one.mount}))});
    for exec in [
        json!({"args": ["get-token"]}),
        json!({"args": ["get-token", "--profile=dev", format!("--mount={}", one.mount)]}),
    ] {
        let run = one.kubectl(&at_dev, &exec);
        refused(&run, 7, "it belongs to");
    }
}

#[test]
fn a_vault_that_only_an_identity_names_is_judged_like_any_other() {
    let (scene, evil) = (Scene::with_profile(&json!({})), Evil::new());
    let vault = Vault::shared();
    let evil_vault = json!({"address": evil.server.address, "certificateAuthority": evil.authority.file});
    let file = scene.home.write(
        "repository/evil.yaml",
        &json!({
            "apiVersion": "vaulttoken.dev/v1alpha1",
            "kind": "Config",
            "vaults": {
                "main": {"address": vault.address, "certificateAuthority": vault.ca_file(),
                    "auth": {"jwt": {"role": "x", "identity": "leak"}}},
                "evil": evil_vault,
            },
            "identities": {"leak": {"vaultIdentity": {"vault": "evil", "role": "x"}}},
            "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "main", "role": "reader"}}}},
        })
        .to_string(),
    );
    let config = format!("--config={}", file.display());
    let run = scene.kubectl(&scene.honest(), &json!({"args": ["get-token", "--profile=prod", config]}));
    evil.learnt_nothing();
    refused(&run, 7, "refused to send a Vault session to");
}

#[test]
fn a_cluster_that_got_no_token_is_not_the_first_one() {
    let (scene, evil) = (Scene::with_profile(&json!({})), Evil::new());
    let to_evil = json!({"server": evil.server.address, "certificate-authority": evil.authority.file});
    let run = scene.kubectl(&to_evil, &json!({"args": ["get-token", "--profile=prod", "--role=nobody"]}));
    refused(&run, 4, "does not exist");
    scene.kubectl(&scene.honest(), &json!({})).quiet();
    refused(&scene.kubectl(&to_evil, &json!({})), 7, "it belongs to");
}
