//! Completion as a person has it: a real bash with the script that the program prints, and the real
//! kubectl with the program that it looks for. Nobody is asked, and no server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::home::{Home, exec_info};

/// A home with profiles of a vault that nobody serves, and a kubeconfig with a context that means harm.
fn home() -> Home {
    let home = Home::new();
    let source = |role: &str| json!({"source": {"vaultKubernetes": {"vault": "corp", "mount": "kubernetes", "role": role}}});
    home.settings(&json!({
        "vaults": {"corp": {"address": "https://127.0.0.1:1", "auth": {"oidc": {"role": "dev"}}}},
        "profiles": {"prod": source("a"), "prod-eu": source("b"), "stage": source("c")},
    }));
    let context = |name: &str| json!({"name": name, "context": {"cluster": "c", "user": "u"}});
    let contexts =
        ["arn:aws:eks:eu-west-1:1:cluster/prod", "$(touch harm)", "a;touch harm", "-o"].map(context);
    home.write(".kube/config", &json!({"contexts": contexts}).to_string());
    home
}

/// What bash puts in the place of the last word of a line.
fn in_bash(home: &Home, line: &str) -> Vec<String> {
    // What readline does for a command with a function for it.
    let script = r#"
        source <(kubectl-vaulttoken completion bash)
        set -u
        COMP_LINE="$1" COMP_POINT=${#1}
        # Bash takes words apart at these, besides blanks.
        spaced="${1//=/ = }" spaced="${spaced//:/ : }"
        read -ra COMP_WORDS <<< "$spaced"
        [[ "$1" == *[[:space:]] ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        [[ "$(complete -p kubectl-vaulttoken)" == "complete -F _kubectl_vaulttoken kubectl-vaulttoken" ]] || exit 9
        _kubectl_vaulttoken
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let run = home.run_program("/bin/bash", &["-c", script, "bash", line]).quiet();
    run.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_profiles_and_contexts() {
    let home = home();
    for (line, wanted) in [
        ("kubectl-vaulttoken sta", &["status"][..]),
        ("kubectl-vaulttoken log", &["login", "logout"]),
        ("kubectl-vaulttoken status pr", &["prod", "prod-eu"]),
        ("kubectl-vaulttoken status prod ", &["prod", "prod-eu", "stage"]),
        ("kubectl-vaulttoken token -p s", &["stage"]),
        ("kubectl-vaulttoken token --profile=prod-", &["prod-eu"]),
        ("kubectl-vaulttoken token --profile=", &["prod", "prod-eu", "stage"]),
        ("kubectl-vaulttoken token --show --out", &["--output"]),
        ("kubectl-vaulttoken status -o y", &["yaml"]),
        ("kubectl-vaulttoken login --vault ", &["corp"]),
        ("kubectl-vaulttoken login --context ", &["arn:aws:eks:eu-west-1:1:cluster/prod"]),
        ("kubectl-vaulttoken login --context arn:aws:eks:eu-w", &["eu-west-1:1:cluster/prod"]),
        ("kubectl-vaulttoken login --context arn:aws:", &["eks:eu-west-1:1:cluster/prod"]),
        ("kubectl-vaulttoken login --config .config/vault", &[".config/vaulttoken"]),
        ("kubectl-vaulttoken nonsense ", &[]),
    ] {
        assert_eq!(in_bash(&home, line), wanted, "{line}");
    }
    assert!(!home.path("harm").exists());
}

#[test]
fn kubectl_completes_its_plugin_by_the_program_that_it_looks_for() {
    let home = home();
    let script = home.run(&["completion", "kubectl"]).quiet().stdout;
    let file = home.write("bin/kubectl_complete-vaulttoken", &script);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", home.path("bin").display(), home.variables()["PATH"]);
    home.set("PATH", &path);
    let kubeconfig = home.path(".kube/config");
    let completed = |words: &[&str]| {
        let whole = [&["__complete", "vaulttoken"], words].concat();
        let run = home.kubectl(&kubeconfig, &whole).succeeded();
        run.stdout
    };
    assert_eq!(completed(&["status", "pr"]), "prod\nprod-eu\n:4\n");
    assert!(completed(&["sta"]).starts_with("status\tShow what is kept"), "{}", completed(&["sta"]));
    assert_eq!(completed(&["token", "--profile=st"]), "--profile=stage\n:4\n");
    assert_eq!(completed(&["login", "--config", ""]), ":0\n");
}

#[test]
fn completion_asks_nobody_and_says_nothing_about_what_is_wrong() {
    let home = home();
    let begun = Instant::now();
    // At a terminal, with a profile that needs a person and a vault that nobody serves.
    let ended = home.at_terminal(&["__complete", "login", "st"]).end();
    assert_eq!(ended.shown.replace('\r', ""), "stage\n:4\n", "{ended:?}");
    let said = |words: &[&str]| home.run(&[&["__complete"], words].concat()).quiet().stdout;
    home.write(".config/vaulttoken/config.yaml", "kind: [");
    assert_eq!(said(&["status", ""]), ":4\n");
    assert_eq!(said(&["login", "--context="]), "--context=arn:aws:eks:eu-west-1:1:cluster/prod\n:4\n");
    home.write(".kube/config", "contexts: 7");
    assert_eq!(said(&["login", "--context="]), ":4\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Not for clients: it would tell them names.
    home.set("KUBERNETES_EXEC_INFO", &exec_info("v1", None).to_string());
    for words in [&["__complete", "status", ""][..], &["completion", "bash"]] {
        let run = home.run(words);
        assert!(run.failed(7).contains("kubeconfig"), "{run:?}");
    }
    assert!(!home.path(".cache").exists() && !home.path(".local").exists(), "it keeps nothing");
}

#[test]
fn each_shell_has_its_script() {
    let home = Home::new();
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "compdef"), ("fish", "complete -c"), ("kubectl", "exec ")]
    {
        let run = home.run(&["completion", shell]).quiet();
        assert!(run.stdout.contains(word) && run.stdout.contains("kubectl-vaulttoken __complete"), "{run:?}");
    }
    assert_eq!(home.run(&["completion", "csh"]).code, 2);
}
