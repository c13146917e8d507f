//! The program in the place of the Databricks CLI.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::home::{Home, PLUGIN};

/// A link `databricks` to the program.
fn link(home: &Home) -> String {
    let link = home.path("bin/databricks");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(PLUGIN, &link).unwrap();
    link.display().to_string()
}

fn home() -> Home {
    let home = Home::new();
    let exchange = |host: &str| {
        json!({"source": {"tokenExchange": {
            "preset": "databricks", "host": host, "identity": "pod", "clientId": "7f",
        }}})
    };
    home.settings(&json!({
        "identities": {"pod": {"file": {"path": home.path("subject")}}},
        "profiles": {"lake": exchange("https://dbc-1.example"), "sea": exchange("https://dbc-2.example")},
    }));
    home
}

#[test]
fn it_tells_its_version_as_each_sdk_reads_it() {
    let home = home();
    let databricks = link(&home);
    // config/cli_token_source.go: the text after this, as a semantic version.
    for arguments in [&["version"][..], &["--version"], &["-v"]] {
        let run = home.run_program(&databricks, arguments).quiet();
        assert_eq!(run.stdout, "Databricks CLI v0.298.0\n");
    }
    let version = home.run_program(&databricks, &["version", "--output", "json"]).quiet().json();
    assert_eq!((&version["Version"], &version["Minor"]), (&json!("0.298.0"), &json!(298)));
    // Python follows the link, and reads the numbers alone.
    let version = home.run(&["version", "--output", "json"]).quiet().json();
    assert_eq!(
        (&version["Major"], &version["Minor"], &version["Patch"]),
        (&json!(0), &json!(298), &json!(0))
    );
    assert_eq!(
        (&version["kind"], &version["version"]),
        (&json!("Version"), &json!(env!("CARGO_PKG_VERSION")))
    );
    // Smaller ones are taken for the legacy CLI.
    assert!(fs::metadata(PLUGIN).unwrap().len() > 1024 * 1024);
}

#[test]
fn what_no_profile_is_for_is_named_with_the_profiles_that_there_are() {
    let home = home();
    let databricks = link(&home);
    for (arguments, words) in [
        (&["auth", "token", "--host", "https://dbc-3.example"][..], "is for https://dbc-3.example\n"),
        (&["auth", "token", "dbc-3.example"], "is for https://dbc-3.example\n"),
        (&["auth", "token", "--profile", "lak"], "no profile `lak` of the settings is for Databricks\n"),
        (&["auth", "token", "lak"], "no profile `lak` of the settings is for Databricks\n"),
        (&["auth", "token"], "several profiles of the settings are for Databricks\n"),
        (&["auth", "token", "--host", "ftp://x"], "`ftp://x` is no host of Databricks\n"),
    ] {
        for run in [home.run_program(&databricks, arguments), home.run(arguments)] {
            let said = run.failed(2);
            assert!(said.contains(words) && !said.contains("secret"), "{arguments:?}: {said}");
        }
    }
    // SDKs for JavaScript say what kind of host it is; what they may say tomorrow they then leave out again.
    let unified = ["auth", "token", "--host", "dbc-3.example", "--experimental-is-unified-host"];
    let unknown = ["auth", "token", "--host", "dbc-3.example", "--of-tomorrow"];
    for run in [home.run_program(&databricks, &unified), home.run(&unified)] {
        assert!(run.failed(2).contains("is for https://dbc-3.example\n"), "{run:?}");
    }
    for run in [home.run_program(&databricks, &unknown), home.run(&unknown)] {
        assert!(run.code == 2 && run.stderr.starts_with("error: unknown flag: --of-tomorrow\n"), "{run:?}");
    }
    let run = home.run_program(&databricks, &["clusters", "list"]);
    assert_eq!(run.code, 2, "{run:?}");
    home.set("KUBERNETES_EXEC_INFO", "{}");
    for run in [
        home.run_program(&databricks, &["auth", "token", "--profile", "lake"]),
        home.run(&["auth", "token", "--profile", "lake"]),
    ] {
        assert!(run.failed(7).contains("a kubeconfig may run `get-token` and nothing else, not `auth`"));
    }
}

#[test]
fn a_profile_of_databrickscfg_means_the_profile_of_its_host() {
    let home = home();
    home.write(
        ".databrickscfg",
        "[DEFAULT]\nhost = https://dbc-1.example\n\n[work]\nhost = https://dbc-9.example/\n[lake]\nhost = x\n",
    );
    let said = home.run(&["auth", "token", "--profile", "work"]);
    assert!(said.failed(2).contains("is for https://dbc-9.example\n"), "{said:?}");
    home.set("DATABRICKS_CONFIG_PROFILE", "work");
    assert!(home.run(&["auth", "token"]).failed(2).contains("is for https://dbc-9.example\n"));
    home.unset("DATABRICKS_CONFIG_PROFILE").set("DATABRICKS_HOST", "dbc-8.example");
    assert!(home.run(&["auth", "token"]).failed(2).contains("is for https://dbc-8.example\n"));
    // One of the settings goes before one of the same name there.
    let run = home.run(&["auth", "token", "--profile", "lake", "--host", "dbc-2.example"]);
    assert!(
        run.failed(2).contains("profile `lake` is for https://dbc-1.example, not for https://dbc-2.example")
    );
}
