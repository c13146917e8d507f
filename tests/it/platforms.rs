//! Jobs of the platforms whose identity is a variable, a file, or asked for: each logs in to a real
//! Vault. What stands in for a platform follows its documentation, which the test names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::engine::{self, gets_a_token, log_ins};
use crate::home::Home;
use crate::methods::home_with_jwt;
use crate::rig::{Authority, Cluster, Double, Issuer, Reply};

/// A program of this home in `folder`, which prints what the file `jwt` holds and notes its words.
fn program(home: &Home, folder: &str, name: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh\necho \"$0 $*\" >> '{notes}'\ncat '{jwt}'\n",
        notes = home.path("notes").display(),
        jwt = home.path("jwt").display(),
    );
    let file = home.write(&format!("{folder}/{name}"), &script);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn notes(home: &Home) -> String {
    fs::read_to_string(home.path("notes")).unwrap_or_default()
}

fn with_path(home: &Home, folder: &str) {
    let plugin = std::path::Path::new(crate::home::PLUGIN).parent().unwrap();
    home.set("PATH", &format!("{}:{}:/usr/bin:/bin", home.path(folder).display(), plugin.display()));
}

/// Bitbucket: "Integrate Pipelines with resource servers using OIDC". HCP Terraform: "Workload identity
/// tokens". CircleCI: "Using OpenID Connect tokens in jobs".
#[test]
fn a_token_in_the_variable_of_a_platform_logs_in() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    for (identity, variable, mends) in [
        (json!({"bitbucket": {}}), "BITBUCKET_STEP_OIDC_TOKEN", "oidc: true"),
        (json!({"circleci": {}}), "CIRCLE_OIDC_TOKEN_V2", "context: NAME"),
        (
            json!({"terraformCloud": {"tag": "VAULT"}}),
            "TFC_WORKLOAD_IDENTITY_TOKEN_VAULT",
            "TFC_WORKLOAD_IDENTITY_AUDIENCE_VAULT",
        ),
    ] {
        let (home, mount) = home_with_jwt(&engine, &issuer, &identity);
        let run = home.get_token(&[], None);
        let words = run.failed(6);
        assert!(words.contains(variable) && words.contains(mends), "{run:?}");
        home.set_secret(variable, &issuer.token("job", "vault", &Value::Null));
        gets_a_token(&home, &engine);
        assert_eq!(log_ins(&mount), 1);
    }
}

/// spiffe-helper writes the bare token, `spire-agent api fetch jwt -output json` a list of two answers.
#[test]
fn an_svid_in_a_file_logs_in() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    let svid = || issuer.token("spiffe://corp.example/job", "vault", &Value::Null);
    let fetched =
        json!([{"svids": [{"spiffe_id": "spiffe://corp.example/job", "svid": svid()}]}, {"bundles": {}}]);
    for text in [svid(), fetched.to_string()] {
        let (home, mount) =
            home_with_jwt(&engine, &issuer, &json!({"spiffe": {"path": "svid", "audience": "vault"}}));
        let run = home.get_token(&[], None);
        assert!(run.failed(6).contains("spiffe-helper"), "{run:?}");
        home.write_secret(".config/vaulttoken/svid", &text);
        gets_a_token(&home, &engine);
        assert_eq!(log_ins(&mount), 1);
    }
}

/// Buildkite: "buildkite-agent oidc request-token". CircleCI: "OIDC tokens with custom claims".
#[test]
fn the_agent_of_a_platform_is_asked_and_a_kubeconfig_puts_no_other_in_its_place() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    for (kind, name, words) in [
        ("buildkite", "buildkite-agent", "oidc request-token --audience vault"),
        ("circleci", "circleci", "run oidc get --claims {\"aud\":\"vault\"}"),
    ] {
        let (home, mount) = home_with_jwt(&engine, &issuer, &json!({kind: {"audience": "vault"}}));
        home.set("BUILDKITE_JOB_ID", "0190-job");
        home.set("CIRCLE_OIDC_TOKEN_V2", "the-default-token");
        let run = home.get_token(&[], None);
        assert!(run.failed(6).contains(&format!("there is no program `{name}`")), "{run:?}");
        home.write_secret("jwt", &issuer.token("job", "vault", &Value::Null));
        let (agent, evil) = (program(&home, "agents", name), program(&home, "evil", name));
        with_path(&home, "agents");
        let path = format!("{}:/usr/bin:/bin", evil.parent().unwrap().display());
        let exec = json!({"args": ["get-token"], "env": [{"name": "PATH", "value": path}]});
        let kubeconfig = home.kubeconfig(Cluster::shared(), &exec, None);
        home.kubectl(&kubeconfig, &["get", "namespaces"]).succeeded();
        assert_eq!(notes(&home), format!("{} {words}\n", agent.display()), "asked once, and only this one");
        home.kubectl(&kubeconfig, &["get", "namespaces"]).succeeded();
        assert_eq!(log_ins(&mount), 1);
        // A session that ended asks the agent anew.
        home.run(&["logout"]).succeeded();
        home.kubectl(&kubeconfig, &["get", "namespaces"]).succeeded();
        assert_eq!((notes(&home).lines().count(), log_ins(&mount)), (2, 2));
    }
}

/// Azure DevOps REST reference, "Oidctoken - Create": a POST to the job's address with the job's token
/// as bearer; the JWT is the answer's `oidcToken`.
#[test]
fn a_job_of_azure_pipelines_logs_in() {
    let (engine, issuer, service) = (engine::shared(), Issuer::new(), Authority::new("pipelines"));
    let jwt = issuer.token("p://corp/shop/deploy", "vault", &Value::Null);
    let value = jwt.clone();
    let double = Double::https(&service, &[], move |seen| {
        let is_asked = seen.method == "POST"
            && seen.path == "/oidctoken?api-version=7.1&serviceConnectionId=c0ffee"
            && seen.header("authorization") == Some("Bearer token-of-the-job");
        if is_asked {
            Reply::json(200, &json!({"oidcToken": value}))
        } else {
            Reply::text(401, "text/plain", "")
        }
    });
    let identity = json!({"azurePipelines": {"serviceConnection": "c0ffee"}});
    let (home, mount) = home_with_jwt(&engine, &issuer, &identity);
    home.plant(&jwt);
    home.set("SYSTEM_OIDCREQUESTURI", &format!("{}/oidctoken", double.address));
    home.set("SSL_CERT_FILE", &service.file.display().to_string());
    let run = home.get_token(&[], None);
    let words = run.failed(6);
    assert!(words.contains("SYSTEM_ACCESSTOKEN") && words.contains("$(System.AccessToken)"), "{run:?}");
    // A kubeconfig cannot have the job's token sent elsewhere.
    home.set_secret("SYSTEM_ACCESSTOKEN", "token-of-the-job");
    let evil = Double::https(&service, &[], |_| Reply::text(200, "text/plain", ""));
    let address = format!("{}/oidctoken", evil.address);
    let exec = json!({"args": ["get-token"], "env": [{"name": "SYSTEM_OIDCREQUESTURI", "value": address}]});
    let kubeconfig = home.kubeconfig(Cluster::shared(), &exec, None);
    home.kubectl(&kubeconfig, &["get", "namespaces"]).succeeded();
    assert_eq!((evil.seen().len(), double.seen().len(), log_ins(&mount)), (0, 1, 1));
}

#[test]
fn a_command_in_a_persons_settings_is_refused() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    let (home, _) = home_with_jwt(&engine, &issuer, &json!({"command": {"command": ["/bin/echo", "x"]}}));
    let run = home.get_token(&[], None);
    let words = run.failed(2);
    assert!(words.contains("`command` counts only in the administrator's settings"), "{run:?}");
    assert!(words.contains("`/etc/vaulttoken/config.yaml`"), "{run:?}");
}
