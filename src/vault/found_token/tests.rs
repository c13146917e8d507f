use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::error::Explain as _;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        // Not the temporary folder itself, which everybody can write to.
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn env(&self, more: &[(&str, &str)]) -> Env {
        let home = ("HOME".to_owned(), self.folder.path().display().to_string());
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Env::of(std::iter::once(home).chain(more))
    }

    #[cfg(unix)]
    fn helper(&self, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write("helper", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        self.write(".vault", &format!("token_helper = \"{} --flag\"", path.display()));
        path
    }
}

fn found(env: &Env) -> Option<(String, FoundIn)> {
    let found = find(env, "https://vault:8200", soon()).unwrap()?;
    Some((found.token.expose_secret().to_owned(), found.from))
}

/// The error without the folder of the test.
fn failure(home: &Home, env: &Env, deadline: Instant) -> String {
    let error = find(env, "https://vault:8200", deadline).unwrap_err();
    let text = format!("{error}: {}", error.why().unwrap());
    text.replace(&home.folder.path().display().to_string(), "HOME")
}

#[test]
fn the_environment_comes_first_and_openbaos_variable_wins_even_if_empty() {
    let home = Home::new();
    let file = home.write(".vault-token", "s.file\n");
    let environment = |variable| Some(("s.env".to_owned(), FoundIn::Environment(variable)));
    assert_eq!(found(&home.env(&[("VAULT_TOKEN", " s.env\n")])), environment("VAULT_TOKEN"));
    let both = home.env(&[("VAULT_TOKEN", "s.other"), ("BAO_TOKEN", "s.env")]);
    assert_eq!(found(&both), environment("BAO_TOKEN"));
    let emptied = home.env(&[("VAULT_TOKEN", "s.other"), ("BAO_TOKEN", "")]);
    assert_eq!(found(&emptied), Some(("s.file".to_owned(), FoundIn::File(file))));
}

#[test]
fn the_file_can_be_elsewhere_or_nowhere() {
    let home = Home::new();
    assert_eq!(found(&home.env(&[])), None);
    let path = home.write("elsewhere", "  s.elsewhere \n");
    let text = path.display().to_string();
    let expected = Some(("s.elsewhere".to_owned(), FoundIn::File(path)));
    assert_eq!(found(&home.env(&[("VAULT_TOKEN_PATH", &text)])), expected);
    assert_eq!(found(&home.env(&[("BAO_TOKEN_PATH", &text), ("VAULT_TOKEN_PATH", "/no")])), expected);
    home.write(".vault-token", " \n");
    assert_eq!(found(&home.env(&[])), None, "an empty file holds no token");
    assert_eq!(found(&Env::of([])), None, "without a home there is none");
}

#[test]
fn a_file_that_is_too_large_is_named() {
    let home = Home::new();
    home.write(".vault-token", &"x".repeat(70_000));
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "`HOME/.vault-token` cannot be used: it is larger than 64 KiB"
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_that_nobody_fills_is_not_waited_for() {
    let home = Home::new();
    assert!(std::process::Command::new("mkfifo").arg(home.path(".vault-token")).status().unwrap().success());
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "`HOME/.vault-token` cannot be used: it is not a file"
    );
}

#[cfg(unix)]
#[test]
fn a_helper_beats_the_file_and_is_told_the_address() {
    let home = Home::new();
    home.write(".vault-token", "s.file");
    let path = home.helper("echo \"s.$1.$2.$VAULT_ADDR.$BAO_ADDR.${VAULT_TOKEN-unset}\"; echo");
    let expected = "s.--flag.get.https://vault:8200.https://vault:8200.unset";
    assert_eq!(found(&home.env(&[])), Some((expected.to_owned(), FoundIn::Helper(path))));
    // Where a helper has none there is none: the person may have logged out.
    home.helper("exit 0");
    assert_eq!(found(&home.env(&[])), None);
}

#[cfg(unix)]
#[test]
fn openbaos_configuration_comes_first() {
    let home = Home::new();
    home.helper("echo s.helper");
    home.write(".vault-token", "s.file");
    home.write(".bao", "# no helper");
    assert_eq!(found(&home.env(&[])).unwrap().0, "s.file");
    let named = home.path(".vault").display().to_string();
    assert_eq!(found(&home.env(&[("BAO_CONFIG_PATH", &named)])).unwrap().0, "s.helper");
}

#[cfg(unix)]
#[test]
fn a_helper_that_fails_hangs_or_floods_is_told() {
    let home = Home::new();
    home.helper("echo secret-on-stdout; printf 'no \\033[31mdaemon' >&2; exit 3");
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `HOME/helper` cannot be used: exit status: 3 no \u{fffd}[31mdaemon"
    );
    home.helper("head -c 100000 /dev/zero | tr '\\0' x");
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `HOME/helper` cannot be used: it printed more than 64 KiB"
    );
    home.helper("printf '\\377'");
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `HOME/helper` cannot be used: it printed no text"
    );
    // The shell's child holds the pipe as well, and must not outlive the deadline.
    home.helper("sleep 60; echo late");
    let begun = Instant::now();
    assert_eq!(
        failure(&home, &home.env(&[]), begun + Duration::from_millis(100)),
        "the token helper `HOME/helper` did not answer in time: it was ended when the time was over"
    );
    let error = find(&home.env(&[]), "https://vault:8200", Instant::now()).unwrap_err();
    assert_eq!(error.exit_code(), crate::error::ExitCode::Unreachable);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[cfg(unix)]
#[test]
fn a_helper_that_others_could_have_put_there_is_not_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let ran = home.path("ran");
    let path = home.helper(&format!("touch {}", ran.display()));
    mode(&path, 0o722);
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `HOME/helper` cannot be used: others can write to it"
    );
    mode(&path, 0o700);
    mode(home.folder.path(), 0o1777);
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `HOME/helper` cannot be used: everybody can write to `HOME`"
    );
    mode(home.folder.path(), 0o700);
    home.write(".vault", "token_helper = \"helper\"");
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `helper` cannot be used: its path is not absolute"
    );
    home.write(".vault", "token_helper = \"/no/such/helper\"");
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "the token helper `/no/such/helper` cannot be used: No such file or directory (os error 2)"
    );
    home.write(".vault", "token_helper = helper");
    assert_eq!(
        failure(&home, &home.env(&[]), soon()),
        "`HOME/.vault` cannot be used: its `token_helper` is not a text in quotes"
    );
    assert!(!ran.exists());
}

#[test]
fn a_fingerprint_tells_tokens_apart_and_shows_none() {
    let home = Home::new();
    assert_eq!(fingerprint(&home.env(&[])), None);
    let one = fingerprint(&home.env(&[("VAULT_TOKEN", "s.one")])).unwrap();
    assert_eq!(one.len(), 64);
    assert_ne!(one, fingerprint(&home.env(&[("VAULT_TOKEN", "s.two")])).unwrap());
    home.write(".vault-token", "s.one\n");
    assert_eq!(one, fingerprint(&home.env(&[])).unwrap(), "it is the same token, wherever it lies");
}

#[cfg(unix)]
#[test]
fn a_fingerprint_runs_no_helper() {
    let home = Home::new();
    let ran = home.path("ran");
    home.helper(&format!("touch {}", ran.display()));
    assert!(fingerprint(&home.env(&[])).is_some());
    assert!(!ran.exists());
}

#[test]
fn nothing_shows_the_token() {
    let home = Home::new();
    let env = home.env(&[("VAULT_TOKEN", "s.planted")]);
    let found = find(&env, "https://vault:8200", soon()).unwrap().unwrap();
    assert!(!format!("{found:?} {}", found.from).contains("planted"));
}
