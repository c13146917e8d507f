//! `federation policy` with a real API server and kubectl, and `federation check` in the environments of
//! real questions.

use serde_json::{Value, json};

use crate::home::Home;
use crate::rig::{Cluster, Issuer, tool, unique};

fn home() -> Home {
    let home = Home::new();
    home.set("KUBECTL_PATH", tool("kubectl").to_str().unwrap());
    home
}

#[test]
fn the_policy_names_the_cluster_as_it_is_with_the_keys_that_sign_its_tokens() {
    let (home, cluster) = (home(), Cluster::shared());
    let namespace = cluster.namespace("federated");
    cluster.service_account(&namespace, "reporter");
    let token = cluster.token_for((&namespace, "reporter"), 600, &["0d26daa6"]);
    let claims = crate::rig::claims(&token);
    let of_cluster = ["--kubeconfig", cluster.kubeconfig.to_str().unwrap(), "--context", "rig"];
    let policy = |more: &[&str]| {
        let words = ["federation", "policy", "-n", &namespace, "--service-account", "reporter"];
        home.run(&[&words, &of_cluster[..], more].concat())
    };
    let run = policy(&["--account-id", "0d26daa6", "--output", "json"]).succeeded();
    assert_eq!(
        run.stderr,
        "the keys are in the policy, for `kubernetes.default.svc.cluster.local` is a name inside the cluster or its \
         network: when the cluster's keys change, the policy must\n"
    );
    let body = run.json()["oidc_policy"].clone();
    assert_eq!(body["issuer"], claims["iss"]);
    assert_eq!(body["subject"], claims["sub"]);
    assert_eq!(body["audiences"], claims["aud"]);
    let keys: Value = serde_json::from_str(body["jwks_json"].as_str().unwrap()).unwrap();
    let header = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        token.split('.').next().unwrap(),
    );
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]), "{keys}");

    // What is printed for a shell says the same once a shell has read it.
    let command = policy(&["--audience", "it's", "--service-principal-id", "4711"]).succeeded().stdout;
    let read =
        home.script(&format!("databricks() {{ printf '%s\\n' \"$@\"; }}\n{command}"), "").quiet().stdout;
    let words: Vec<&str> = read.lines().collect();
    let start = ["account", "service-principal-federation-policy", "create", "4711", "--json"];
    assert_eq!(words[..5], start);
    let read: Value = serde_json::from_str(words[5]).unwrap();
    assert_eq!(
        (&read["oidc_policy"]["audiences"], &read["oidc_policy"]["issuer"]),
        (&json!(["it's"]), &claims["iss"])
    );

    let run = policy(&["--audience", "a", "--keys", "issuer", "--output", "terraform"]).succeeded();
    assert!(
        run.stdout.starts_with("resource \"databricks_service_principal_federation_policy\" "),
        "{run:?}"
    );
    assert!(!run.stdout.contains("jwks_json"), "{run:?}");
}

#[test]
fn a_cluster_that_does_not_tell_is_told_apart_from_one_that_is_not_there() {
    let (home, cluster) = (home(), Cluster::shared());
    let words = ["federation", "policy", "--service-account", "a", "-n", "n", "--audience", "x"];
    let nobody = home.path("nobody");
    cluster.write_kubeconfig(&nobody, &json!({"token": "nobody"}), None);
    let run = home.run(&[&words, &["--kubeconfig", nobody.to_str().unwrap()][..]].concat());
    let said = run.failed(4);
    assert!(
        said.starts_with("error: the cluster does not tell `/.well-known/openid-configuration`\n"),
        "{said}"
    );
    assert!(said.contains("system:service-account-issuer-discovery"), "{said}");
    let gone = home.write(
        "gone",
        &json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        })
        .to_string(),
    );
    home.run(&[&words, &["--kubeconfig", gone.to_str().unwrap()][..]].concat()).failed(5);
    home.set("KUBECTL_PATH", "/nowhere/kubectl");
    assert!(home.run(&words).failed(2).contains("`/nowhere/kubectl` cannot be run"));
    assert!(home.run(&words[..6]).failed(2).contains("a policy needs an audience"));
    assert!(
        home.run(&["federation", "policy", "--service-account", "a", "--audience", "x"])
            .failed(2)
            .contains("namespace")
    );
}

/// A subject token of a cluster's service account.
fn subject(home: &Home, audience: &str) -> String {
    let more = json!({"iss": "https://kubernetes.default.svc.cluster.local"});
    let token = Issuer::new().token("system:serviceaccount:team-a:reporter", audience, &more);
    home.write_secret(&unique("token"), &token).display().to_string()
}

/// The codes of what is wrong, not of notes.
fn wrong(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|one| one["weight"] != "note").map(|one| one["code"].as_str().unwrap()).collect()
}

/// The published question: a pod with what AKS sets, a program with `env-oidc`.
pub fn set_the_questions_environment(home: &Home, host: &str, token_file: &str) {
    home.set("AZURE_CLIENT_ID", "a").set("AZURE_TENANT_ID", "t");
    home.set("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/");
    home.set("AZURE_FEDERATED_TOKEN_FILE", token_file);
    home.set("DATABRICKS_HOST", host).set("DATABRICKS_AUTH_TYPE", "env-oidc");
}

#[test]
fn the_published_questions_environment_has_every_cause_named() {
    let home = home();
    let file = subject(&home, "api://AzureADTokenExchange");
    set_the_questions_environment(&home, "https://adb-1.azuredatabricks.net", &file);
    let run = home.run(&["federation", "check", "--output", "json"]);
    assert_eq!((run.code, run.stderr.as_str()), (6, ""), "{run:?}");
    let report = run.json();
    assert_eq!(
        (&report["kind"], &report["apiVersion"]),
        (&json!("FederationReport"), &json!("vaulttoken.dev/v1alpha1"))
    );
    assert_eq!(
        wrong(&report),
        ["audience-of-entra", "azure-variables", "env-token-missing", "client-id-missing"]
    );
    for sdk in report["sdks"].as_array().unwrap() {
        assert_eq!(sdk["failure"], "cannot configure default credentials");
    }
    let told = home.run(&["federation", "check"]);
    for words in [
        "error: no SDK of Databricks reads `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_AUTHORITY_HOST`, \
         `AZURE_FEDERATED_TOKEN_FILE` (azure-variables)\n",
        "error: `env-oidc` takes the token itself from DATABRICKS_OIDC_TOKEN, which is not set",
        "hold the keys in `jwks_json`, for `kubernetes.default.svc.cluster.local` is a name inside the cluster",
        "  try: kubectl-vaulttoken exec -- PROGRAM",
        "SDK for Go (and Terraform): fails: cannot configure default credentials\n",
    ] {
        assert!(told.stdout.contains(words), "{}", told.stdout);
    }
}

#[test]
fn a_token_is_compared_with_the_policy_and_nothing_of_it_but_its_claims_is_shown() {
    let home = home();
    let file = subject(&home, "account");
    home.set("DATABRICKS_HOST", "dbc-1.example").set("DATABRICKS_CLIENT_ID", "7f");
    home.set("DATABRICKS_AUTH_TYPE", "file-oidc").set("DATABRICKS_OIDC_TOKEN_FILE", &file);
    home.set("DATABRICKS_OIDC_TOKEN_FILEPATH", &file);
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let right =
        ["--issuer", issuer, "--audience", "account", "--subject", "system:serviceaccount:team-a:reporter"];
    let check = |more: &[&str]| home.run(&[&["federation", "check", "--output", "json"], more].concat());
    let run = check(&right).quiet();
    assert_eq!(wrong(&run.json()), [""; 0]);
    assert!(
        run.json()["sdks"].as_array().unwrap().iter().all(|sdk| sdk["authType"] == "file-oidc"),
        "{run:?}"
    );
    let slash = format!("{issuer}/");
    for (expected, code) in [
        (["--issuer", &slash], "issuer"),
        (["--audience", "other"], "audience"),
        (["--subject", "system:serviceaccount:team-b:reporter"], "subject"),
    ] {
        let run = check(&expected);
        assert_eq!((run.code, wrong(&run.json())), (6, vec![code]), "{run:?}");
    }
    home.unset("DATABRICKS_HOST");
    let run = check(&right);
    assert_eq!((run.code, wrong(&run.json())), (2, vec!["host-missing"]), "{run:?}");
    assert!(check(&["--token-file", "/nowhere"]).failed(6).contains("`/nowhere` cannot be read as a token"));
    home.set("DATABRICKS_OIDC_TOKEN_FILE", "/gone").set("DATABRICKS_OIDC_TOKEN_FILEPATH", "/gone");
    let run = check(&right);
    assert_eq!((run.code, wrong(&run.json())[0]), (6, "token-file-unreadable"), "{run:?}");
}
