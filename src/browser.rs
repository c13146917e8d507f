//! Opening an address in the person's browser: which program, in which environment, and which
//! addresses at all. It decides nothing about when; a person at a terminal is the caller's business.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use crate::env::Env;
use crate::http::is_loopback;
use crate::program;

/// How long a program may take to say that it cannot; a browser that is started by it goes on.
const GLANCE: Duration = Duration::from_millis(400);

/// Why no browser was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// Nobody wanted one.
    #[error("nobody wanted one")]
    Unwanted,
    /// A remote shell: the browser is elsewhere, and so is its loopback.
    #[error("this is a remote shell without a display")]
    Remote,
    /// There is no display.
    #[error("there is no display")]
    NoDisplay,
    /// There is no program that opens one.
    #[error("there is no program here that opens one; `BROWSER` can name it")]
    NoProgram,
    /// A program that may not be run, or failed.
    #[error("`{program}` did not: {why}")]
    Failed {
        /// Which.
        program: String,
        /// Why.
        why: String,
    },
}

/// The address as it may be shown and opened.
///
/// Security: an address to log in at is what a server says (CVE-2025-6514). Only web pages, so that
/// no other program is started by it; nobody's name before the host, which hides where it leads; and
/// nothing that would have to be escaped.
///
/// # Errors
/// Why it is not opened.
pub fn checked(address: &str) -> Result<Url, &'static str> {
    if address.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err("it holds blanks or control characters");
    }
    let url = Url::parse(address).map_err(|_| "it is not an address")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return Err("it does not begin with `https://`"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it hides where it leads behind a user name");
    }
    Ok(url)
}

/// What the machine is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Desktop {
    Unix,
    /// Linux beneath Windows, whose browser is the one that the person has.
    Wsl,
    Mac,
    Windows,
}

impl Desktop {
    fn of(variables: &BTreeMap<String, String>, kernel: &str) -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::Mac
        } else if variables.contains_key("WSL_DISTRO_NAME")
            || kernel.to_ascii_lowercase().contains("microsoft")
        {
            Self::Wsl
        } else {
            Self::Unix
        }
    }
}

/// Asks the person's browser to open this address.
///
/// # Errors
/// Why it was not asked.
pub fn open(env: &Env, address: &Url) -> Result<(), NotOpened> {
    // Security: what a kubeconfig added, `BROWSER` or `PATH` among it, does not count.
    let mut variables = env.for_child();
    if !env.can_tell_what_was_added() {
        variables.retain(|name, _| !names_a_program(name));
    }
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let commands = commands(&variables, Desktop::of(&variables, &kernel), address)?;
    let mut outcome = Err(NotOpened::NoProgram);
    for words in commands {
        outcome = run(&words, &variables);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Variables that say which program is run, and where.
fn names_a_program(name: &str) -> bool {
    ["BROWSER", "PATH", "SYSTEMROOT"].iter().any(|variable| name.eq_ignore_ascii_case(variable))
}

/// The commands that may open it, each as its words, the most wanted first.
fn commands(
    variables: &BTreeMap<String, String>,
    desktop: Desktop,
    address: &Url,
) -> Result<Vec<Vec<String>>, NotOpened> {
    let filled = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    // What a person says themselves goes first, also in a remote shell: an editor's terminal sets it.
    if let Some(wanted) = filled("BROWSER") {
        let separator = if desktop == Desktop::Windows { ';' } else { ':' };
        return Ok(wanted.split(separator).filter_map(|entry| words(entry, address)).collect());
    }
    let has_display = filled("DISPLAY").is_some() || filled("WAYLAND_DISPLAY").is_some();
    if !has_display && (filled("SSH_CONNECTION").is_some() || filled("SSH_TTY").is_some()) {
        return Err(NotOpened::Remote);
    }
    let command = |program: &[&str]| -> Vec<String> {
        program.iter().copied().chain([address.as_str()]).map(str::to_owned).collect()
    };
    Ok(match desktop {
        Desktop::Mac => vec![command(&["/usr/bin/open"])],
        Desktop::Windows => {
            let system = filled("SYSTEMROOT").or(filled("SystemRoot")).unwrap_or(r"C:\Windows");
            let program = format!(r"{system}\System32\rundll32.exe");
            vec![command(&[&program, "url.dll,FileProtocolHandler"])]
        }
        Desktop::Wsl => vec![command(&["wslview"]), command(&["xdg-open"])],
        // It would look for one that draws into the terminal, which is ours.
        Desktop::Unix if !has_display => return Err(NotOpened::NoDisplay),
        Desktop::Unix => vec![command(&["xdg-open"])],
    })
}

/// The words of one entry of `BROWSER`: `%s` stands for the address, which otherwise comes last.
///
/// Security: words of a command, never a line for a shell.
fn words(entry: &str, address: &Url) -> Option<Vec<String>> {
    let mut words: Vec<String> = entry.split_whitespace().map(str::to_owned).collect();
    let (_, arguments) = words.split_first_mut()?;
    let mut is_placed = false;
    for word in arguments {
        is_placed |= word.contains("%s");
        *word = word.replace("%s", address.as_str());
    }
    if !is_placed {
        words.push(address.as_str().to_owned());
    }
    Some(words)
}

fn run(words: &[String], variables: &BTreeMap<String, String>) -> Result<(), NotOpened> {
    let Some((name, arguments)) = words.split_first() else { return Err(NotOpened::NoProgram) };
    let failed = |why: String| NotOpened::Failed { program: name.clone(), why };
    let named = PathBuf::from(name);
    let program = if named.components().count() == 1 {
        let search = variables.get("PATH").map(String::as_str);
        program::find(name, search).ok_or_else(|| failed("it is not found in `PATH`".into()))?
    } else {
        named
    };
    // Security: we run it with the person's rights, so nobody else may have put it there.
    program::trusted(&program).map_err(failed)?;
    if program
        .extension()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("bat") || kind.eq_ignore_ascii_case("cmd"))
    {
        // Security: its arguments are a shell's (CVE-2024-24576).
        return Err(failed("it is a script of the Windows shell".into()));
    }
    let mut command = Command::new(&program);
    command.args(arguments).env_clear().envs(variables.iter().filter(|(name, _)| may_have(name)));
    // Standard output is kubectl's; and what a browser complains about helps nobody here.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    {
        // Ctrl-C at our terminal does not end the person's browser.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.current_dir("/");
    }
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let begun = Instant::now();
    // What stays is a browser, or waits for one.
    while begun.elapsed() < GLANCE {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(failed(status.to_string())),
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    Ok(())
}

/// Security: a browser needs no secret of ours, and starts programs of its own.
fn may_have(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let ours = ["VAULT_", "BAO_", "VAULTTOKEN_", "KUBERNETES_", "KUBECONFIG"];
    let secret = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "PRIVATE_KEY"];
    !ours.iter().any(|prefix| name.starts_with(prefix)) && !secret.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_web_pages_are_opened_and_nothing_that_a_shell_could_read() {
        for good in
            ["https://sso.example/authorize?a=b&c=%20", "http://127.0.0.1:8200/ui", "http://localhost:1/"]
        {
            assert_eq!(checked(good).map(|url| url.as_str().to_owned()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "http://sso.example/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "-https://sso.example",
            "--new-window",
            "https://sso.example/a b",
            "https://sso.example/\u{1b}[2J",
            "https://sso.example/\r\nx",
            "https://corp.example@evil.example/",
            "https://",
            "calc.exe",
            r"\\evil.example\share",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        // What is left in other writing is written in the one that cannot be mistaken.
        let sly = checked("https://sso.example/$(id)`id`\"'|&;\u{202e}x").unwrap();
        assert!(
            sly.as_str().is_ascii() && !sly.as_str().contains('"') && !sly.as_str().contains('`'),
            "{sly}"
        );
    }

    #[test]
    fn a_person_says_which_browser_and_a_remote_shell_has_none() {
        let address = Url::parse("https://sso.example/?a=b").unwrap();
        let url = address.as_str();
        let of = |pairs: &[(&str, &str)], desktop| commands(&map(pairs), desktop, &address);
        assert_eq!(
            of(&[("BROWSER", "firefox --new-tab %s:w3m"), ("SSH_TTY", "/dev/pts/1")], Desktop::Unix),
            Ok(vec![
                vec!["firefox".to_owned(), "--new-tab".into(), url.into()],
                vec!["w3m".into(), url.into()],
            ])
        );
        assert_eq!(of(&[("SSH_CONNECTION", "1 2 3 4")], Desktop::Unix), Err(NotOpened::Remote));
        assert_eq!(of(&[], Desktop::Unix), Err(NotOpened::NoDisplay));
        let forwarded = of(&[("SSH_CONNECTION", "1 2 3 4"), ("DISPLAY", ":10")], Desktop::Unix).unwrap();
        assert_eq!(forwarded, [["xdg-open", url]]);
        assert_eq!(of(&[("BROWSER", "")], Desktop::Wsl).unwrap(), [["wslview", url], ["xdg-open", url]]);
        assert_eq!(of(&[], Desktop::Mac).unwrap(), [["/usr/bin/open", url]]);
        let windows = of(&[("SYSTEMROOT", r"C:\Windows")], Desktop::Windows).unwrap();
        assert_eq!(windows, [[r"C:\Windows\System32\rundll32.exe", "url.dll,FileProtocolHandler", url]]);
        assert_eq!(of(&[("BROWSER", " : ")], Desktop::Unix), Ok(Vec::new()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn windows_beneath_linux_is_told_by_the_kernel_or_a_variable() {
        let linux = "Linux version 6.1.0 (debian-kernel@lists.debian.org)";
        let microsoft = "Linux version 5.15.90.1-microsoft-standard-WSL2";
        assert_eq!(Desktop::of(&map(&[]), linux), Desktop::Unix);
        assert_eq!(Desktop::of(&map(&[]), microsoft), Desktop::Wsl);
        assert_eq!(Desktop::of(&map(&[("WSL_DISTRO_NAME", "Debian")]), linux), Desktop::Wsl);
    }

    #[test]
    fn a_browser_has_no_secret_of_ours() {
        for secret in
            ["VAULT_TOKEN", "BAO_ADDR", "KUBERNETES_EXEC_INFO", "GITHUB_TOKEN", "aws_secret_access_key"]
        {
            assert!(!may_have(secret), "{secret}");
        }
        for needed in ["HOME", "PATH", "DISPLAY", "XDG_RUNTIME_DIR", "LANG", "DBUS_SESSION_BUS_ADDRESS"] {
            assert!(may_have(needed), "{needed}");
        }
    }

    #[cfg(unix)]
    mod on_unix {
        use std::fs;
        use std::os::unix::fs::PermissionsExt as _;
        use std::path::Path;

        use tempfile::TempDir;

        use super::*;

        /// A folder beneath a home, as what lies below `/tmp` is everybody's.
        fn browser(script: &str) -> (TempDir, PathBuf) {
            let folder = TempDir::new_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
            let path = folder.path().join("browser");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            (folder, path)
        }

        fn opened(browser: &Path, more: &[(&str, &str)]) -> Result<(), NotOpened> {
            let mut variables = map(more);
            variables.insert("BROWSER".into(), browser.display().to_string());
            variables.entry("PATH".into()).or_insert_with(|| "/usr/bin:/bin".into());
            let address = Url::parse("https://sso.example/?a=$(touch%20/x)&b=1").unwrap();
            open(&Env::of(variables), &address)
        }

        #[test]
        fn it_gets_the_address_as_one_word_and_nothing_secret() {
            let (folder, path) =
                browser("printf '%s|' \"$#\" \"$1\" >> \"$0.seen\"; env >> \"$0.seen\"; pwd >> \"$0.seen\"");
            assert_eq!(opened(&path, &[("VAULT_TOKEN", "s.planted"), ("LANG", "C")]), Ok(()));
            let seen = fs::read_to_string(folder.path().join("browser.seen")).unwrap();
            assert!(seen.starts_with("1|https://sso.example/?a=$(touch%20/x)&b=1|"), "{seen}");
            assert!(seen.contains("LANG=C") && !seen.contains("planted"), "{seen}");
            assert!(seen.ends_with("\n/\n"), "{seen}");
        }

        #[test]
        fn one_that_fails_or_that_others_can_write_to_is_named() {
            let (_folder, path) = browser("exit 3");
            let name = path.display().to_string();
            let why = |outcome| match outcome {
                Err(NotOpened::Failed { program, why }) if program == name => why,
                other => panic!("{other:?}"),
            };
            assert_eq!(why(opened(&path, &[])), "exit status: 3");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o722)).unwrap();
            assert_eq!(why(opened(&path, &[])), "others can write to it");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
            assert!(why(opened(&path, &[])).starts_with("everybody can write to"));
        }

        #[test]
        fn a_name_is_looked_for_only_in_folders_that_are_named_whole() {
            let (folder, path) = browser("exit 0");
            let search = format!("relative::.:{}", folder.path().display());
            assert_eq!(opened(Path::new("browser"), &[("PATH", &search)]), Ok(()));
            let relative = Path::new("./browser");
            assert!(matches!(opened(relative, &[("PATH", &search)]), Err(NotOpened::Failed { .. })));
            assert!(matches!(opened(Path::new("browser"), &[("PATH", ".:")]), Err(NotOpened::Failed { .. })));
            drop(path);
        }
    }
}
