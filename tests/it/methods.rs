//! The ways to log in that need no person: a token that lies about, an approle, a workload, a
//! certificate. They log in by themselves on a miss.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::engine::{self, Engine, corp, gets_a_token, home_with, log_ins};
use crate::home::Home;
use crate::rig::{Authority, Certificate, Cluster, Double, Issuer, Reply, Vault, unique};

#[test]
fn a_token_is_found_where_the_commands_of_both_products_find_it() {
    let (engine, root) = (engine::shared(), Vault::shared().root());
    let home = home_with(&engine, "reader", None);
    let (good, dead) = (engine.vault_token(&root), "s.nobody-knows-this-one");
    home.plant(&good);
    let refused = home.get_token(&[], None);
    assert!(refused.failed(3).contains("`vault login` or `bao login`"), "{refused:?}");

    // The file, where nothing else is there.
    let file = home.write_secret(".vault-token", &format!("{good}\n"));
    gets_a_token(&home, &engine);
    // A helper goes before the file.
    std::fs::write(&file, dead).unwrap();
    let helper = home
        .write("helper", &format!("#!/bin/sh\n[ \"$1\" = get ] && cat {}\n", home.path("held").display()));
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o700)).unwrap();
    home.write_secret("held", &good);
    home.write(".vault", &format!("token_helper = \"{}\"\n", helper.display()));
    gets_a_token(&home, &engine);
    // A variable goes before the helper, and OpenBao's, even an empty one, before Vault's.
    home.set("VAULT_TOKEN", dead);
    let run = home.get_token(&[], None);
    assert!(run.failed(3).contains("the token in `VAULT_TOKEN` has expired or was revoked"), "{run:?}");
    home.set("BAO_TOKEN", &good);
    gets_a_token(&home, &engine);
    home.set("BAO_TOKEN", "").set("VAULT_TOKEN", dead);
    gets_a_token(&home, &engine);
}

#[test]
fn a_token_that_a_person_pastes_is_kept_and_never_revoked() {
    let (engine, root) = (engine::shared(), Vault::shared().root());
    let home = home_with(&engine, "reader", None);
    let token = engine.vault_token(&root);
    home.plant(&token);
    home.run_with_input(&["login"], &format!("{token}\n")).succeeded();
    gets_a_token(&home, &engine);
    let run = home.run(&["logout"]).succeeded();
    assert!(run.stdout.contains("prod: "), "{run:?}");
    assert!(Vault::shared().session(&token).read("auth/token/lookup-self")["ttl"].is_number());
    assert_eq!(home.get_token(&[], None).code, 3);
}

#[test]
fn an_approle_logs_in_by_itself() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&engine.policy]);
    let auth = json!({"approle": {"mount": mount, "roleId": role_id, "secretIdFile": "secret-id"}});
    let home = home_with(&engine, "reader", Some(&auth));
    // Relative to the settings file.
    home.write_secret(".config/vaulttoken/secret-id", &format!("{secret_id}\n"));
    gets_a_token(&home, &engine);
    gets_a_token(&home, &engine);
    home.run(&["refresh"]).succeeded();
    assert_eq!(log_ins(&mount), 1, "one session serves all calls");
    let status = home.run(&["status", "--output=json"]).json();
    assert_eq!(status["items"][0]["session"]["method"], "approle");
}

#[test]
fn a_wrapped_secret_id_is_unwrapped_once_and_a_spent_one_is_an_alarm() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, _) = root.approle(&mount, "job", &[&engine.policy]);
    let path = format!("auth/{mount}/role/job/secret-id");
    // Wrapping is asked for by a header, which only the raw call can send.
    let wrap = |path: &str| {
        let options = [
            ("X-Vault-Wrap-TTL", "120"),
            ("X-Vault-Request", "true"),
            ("X-Vault-Token", root.token.as_deref().unwrap()),
        ];
        let url = format!("{}/v1/{path}", Vault::shared().address);
        let answer = Vault::shared().authority.ask_with("PUT", &url, &options, &json!({})).unwrap();
        answer.json["wrap_info"]["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    };
    let auth = json!({"approle": {
        "mount": mount, "roleId": role_id, "secretIdFile": "wrapped", "secretIdWrapped": true,
    }});
    let home = home_with(&engine, "reader", Some(&auth));
    home.write_secret(".config/vaulttoken/wrapped", &wrap(&path));
    gets_a_token(&home, &engine);

    // Another home finds the same token: somebody was quicker.
    let late = home_with(&engine, "reader", Some(&auth));
    let token = std::fs::read_to_string(home.path(".config/vaulttoken/wrapped")).unwrap();
    late.write_secret(".config/vaulttoken/wrapped", &token);
    let run = late.get_token(&[], None);
    assert!(run.failed(4).contains("someone has unwrapped it"), "{run:?}");
    assert!(run.stderr.contains("revoke that secret id"), "{run:?}");

    // What was wrapped elsewhere is not unwrapped at all.
    let foreign = wrap("sys/wrapping/wrap");
    late.write_secret(".config/vaulttoken/wrapped", &foreign);
    let run = late.get_token(&[], None);
    assert!(run.failed(4).contains("is no secret id of"), "{run:?}");
    let lookup = root.call("PUT", "sys/wrapping/lookup", &json!({"token": foreign}));
    assert!(lookup.is_success(), "it is still whole: {}", lookup.text);
}

#[test]
fn a_service_account_of_the_cluster_logs_in_by_itself() {
    let (engine, vault, cluster) = (engine::shared(), Vault::shared(), Cluster::shared());
    let (root, mount) = (vault.root(), unique("pods"));
    let namespace = cluster.namespace("pods");
    cluster.service_account(&namespace, "pod");
    root.enable_auth("kubernetes", &mount);
    root.kubernetes_auth(&mount, cluster);
    root.kubernetes_auth_role(&mount, "app", (&namespace, "pod"), &[&engine.policy]);
    let home = Home::new();
    let file = home.write_secret("mounted/token", &cluster.token_for((&namespace, "pod"), 600, &[]));
    let auth = json!({"kubernetes": {"mount": mount, "role": "app", "identity": "pod"}});
    home.settings(&json!({
        "vaults": corp(vault, Some(&auth)),
        "identities": {"pod": {"kubernetes": {"path": file}}},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &engine);
    // The kubelet replaces the file; whose token it is stays the same, and so does the session.
    home.write_secret("mounted/token", &cluster.token_for((&namespace, "pod"), 700, &[]));
    home.run(&["refresh"]).succeeded();
    assert_eq!(log_ins(&mount), 1);
}

/// A jwt method that trusts `issuer` for the audience `vault`, and a home that logs in with `identity`.
pub fn home_with_jwt(engine: &Engine, issuer: &Issuer, identity: &Value) -> (Home, String) {
    let (root, mount) = (Vault::shared().root(), unique("jwt"));
    root.enable_auth("jwt", &mount);
    root.jwt_trust(&mount, issuer);
    root.jwt_role(&mount, "job", "vault", &[&engine.policy]);
    let home = Home::new();
    let auth = json!({"jwt": {"mount": mount, "role": "job", "identity": "me"}});
    home.settings(&json!({
        "vaults": corp(Vault::shared(), Some(&auth)),
        "identities": {"me": identity},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    (home, mount)
}

#[test]
fn a_jwt_in_a_file_logs_in() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    let (home, mount) = home_with_jwt(&engine, &issuer, &json!({"file": {"path": "/nowhere"}}));
    let missing = home.get_token(&[], None);
    assert!(missing.failed(missing.code).contains("`/nowhere`"), "{missing:?}");
    assert_eq!((missing.code, log_ins(&mount)), (6, 0), "{missing:?}");
    let (home, _) = home_with_jwt(&engine, &issuer, &json!({"file": {"path": "jwt"}}));
    home.write_secret(
        ".config/vaulttoken/jwt",
        &format!("{}\n", issuer.token("job-1", "vault", &Value::Null)),
    );
    gets_a_token(&home, &engine);
    // For another audience, and of another issuer: the server's own words.
    for token in [
        issuer.token("job-1", "elsewhere", &Value::Null),
        Issuer::new().token("job-1", "vault", &Value::Null),
    ] {
        let (home, _) = home_with_jwt(&engine, &issuer, &json!({"file": {"path": "jwt"}}));
        home.write_secret(".config/vaulttoken/jwt", &token);
        let run = home.get_token(&[], None);
        assert!(run.failed(4).contains("refused the log-in"), "{run:?}");
    }
}

#[test]
fn a_jwt_in_a_variable_logs_in() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    for (identity, variable) in [
        (json!({"env": {"variable": "MY_JWT"}}), "MY_JWT"),
        (json!({"gitlab": {}}), "VAULT_ID_TOKEN"),
        (json!({"gitlab": {"variable": "OTHER_ID_TOKEN"}}), "OTHER_ID_TOKEN"),
    ] {
        let (home, mount) = home_with_jwt(&engine, &issuer, &identity);
        let run = home.get_token(&[], None);
        assert!(run.failed(6).contains(variable), "{run:?}");
        let job = issuer.token("project_path:team/app", "vault", &Value::Null);
        home.plant(&job);
        home.set(variable, &job);
        gets_a_token(&home, &engine);
        assert_eq!(log_ins(&mount), 1);
    }
}

/// The answers follow GitHub's "OpenID Connect reference", section on requesting the JWT: a GET of the
/// runner's address with `audience` added, and its token as bearer; the JWT is the answer's `value`.
#[test]
fn a_job_of_github_actions_logs_in() {
    let (engine, issuer, service) = (engine::shared(), Issuer::new(), Authority::new("actions"));
    let jwt = issuer.token("repo:team/app:ref:refs/heads/main", "vault", &Value::Null);
    let value = jwt.clone();
    let double = Double::https(&service, &[], move |seen| {
        if seen
            .header("authorization")
            .is_some_and(|bearer| bearer.eq_ignore_ascii_case("bearer runner-token"))
            && seen.path == "/token?api-version=2.0&audience=vault"
        {
            Reply::json(200, &json!({"value": value}))
        } else {
            Reply::text(401, "text/plain", "unauthorized")
        }
    });
    let identity = json!({"githubActions": {"audience": "vault"}});
    let (home, mount) = home_with_jwt(&engine, &issuer, &identity);
    home.plant(&jwt);
    home.plant("runner-token");
    let outside = home.get_token(&[], None);
    assert!(outside.failed(6).contains("ACTIONS_ID_TOKEN_REQUEST_"), "{outside:?}");
    home.set("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?api-version=2.0", double.address));
    home.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-token");
    home.set("SSL_CERT_FILE", &service.file.display().to_string());
    gets_a_token(&home, &engine);
    assert_eq!((double.seen().len(), log_ins(&mount)), (1, 1));
}

#[test]
fn an_identity_of_one_vault_logs_in_to_another() {
    let (vault, other) = (Vault::shared(), Vault::other());
    // At the first: a job with an identity for the audience `vault`.
    let (root, name) = (vault.root(), unique("issuing"));
    root.enable_auth("approle", &name);
    root.identity_role(&name, "vault", &name);
    root.write_policy(&name, &format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}"));
    let (role_id, secret_id) = root.approle(&name, "job", &[&name]);
    // The other believes the first.
    let (engine, mount) = (Engine::new(&other.root(), Cluster::shared()), unique("jwt"));
    other.root().enable_auth("jwt", &mount);
    let trust = json!({
        "oidc_discovery_url": format!("{}/v1/identity/oidc", vault.address),
        "oidc_discovery_ca_pem": vault.authority.pem,
    });
    other.root().write(&format!("auth/{mount}/config"), &trust);
    other.root().jwt_role(&mount, "job", "vault", &[&engine.policy]);
    let home = Home::new();
    let file = home.write_secret("secret-id", &secret_id);
    home.settings(&json!({
        "vaults": {
            "issuing": {
                "address": vault.address, "certificateAuthority": vault.ca_file(),
                "auth": {"approle": {"mount": name, "roleId": role_id, "secretIdFile": file}},
            },
            "corp": {
                "address": other.address, "certificateAuthority": other.ca_file(),
                "auth": {"jwt": {"mount": mount, "role": "job", "identity": "me"}},
            },
        },
        "identities": {"me": {"vaultIdentity": {"vault": "issuing", "role": name}}},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &engine);
    home.run(&["refresh"]).succeeded();
    assert_eq!(log_ins(&name), 1, "both sessions are kept");
}

#[test]
fn a_client_certificate_logs_in() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("cert"));
    let staff = Authority::new("staff");
    root.enable_auth("cert", &mount);
    root.cert_role(&mount, "robots", &staff.pem, &[&engine.policy]);
    let machine = staff.client("robot-1", &[]);
    let with = |shown: &Certificate| {
        let (certificate, key) = (&shown.file, &shown.key_file);
        json!({"cert": {"mount": mount, "role": "robots", "certificate": certificate, "key": key}})
    };
    let home = home_with(&engine, "reader", Some(&with(&machine)));
    gets_a_token(&home, &engine);
    // By the variables of both products.
    let auth = json!({"cert": {"mount": mount}});
    let home = home_with(&engine, "reader", Some(&auth));
    let run = home.get_token(&[], None);
    assert!(run.failed(2).contains("there is no client certificate"), "{run:?}");
    home.set("VAULT_CLIENT_CERT", &machine.file.display().to_string());
    home.set("VAULT_CLIENT_KEY", &machine.key_file.display().to_string());
    gets_a_token(&home, &engine);
    let stranger = Authority::new("strangers").client("robot-1", &[]);
    let home = home_with(&engine, "reader", Some(&with(&stranger)));
    let run = home.get_token(&[], None);
    assert!(run.failed(4).contains("refused the log-in"), "{run:?}");
}
