//! `exec` as far as it goes without a token.

use serde_json::json;

use crate::home::Home;

#[test]
fn a_program_is_not_begun_where_there_is_no_token_for_it() {
    let home = Home::new();
    let exchange = |host: &str| {
        json!({"source": {"tokenExchange": {
            "preset": "databricks", "host": host, "identity": "pod", "clientId": "7f",
        }}})
    };
    home.settings(&json!({
        "identities": {"pod": {"file": {"path": home.path("subject")}}},
        "profiles": {"lake": exchange("https://127.0.0.1:1"), "sea": exchange("https://dbc-2.example")},
    }));
    let begun = "touch begun";
    for profile in [&[][..], &["--profile", "lak"], &["--profile", "lake"]] {
        let run = home.run(&[&["exec"], profile, &["--", "/bin/sh", "-c", begun]].concat());
        assert_ne!(run.code, 0, "{run:?}");
        assert!(run.stderr.starts_with("error: ") && !home.path("begun").exists(), "{run:?}");
    }
    assert_eq!(home.run(&["exec"]).code, 2);
    home.set("KUBERNETES_EXEC_INFO", "{}");
    let run = home.run(&["exec", "--profile", "lake", "--", "/bin/sh", "-c", begun]);
    assert!(run.failed(7).contains("a kubeconfig may run `get-token` and nothing else, not `exec`"));
}
