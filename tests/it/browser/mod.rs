//! People who log in with a real browser at real providers, and the real kubectl that then knows them.
//! The plugin runs at a terminal of its own; `BROWSER` is a script that hands the address over to the
//! browser that the test drives.

mod chain;
mod openid;
mod providers;
mod sessions;
mod vault_oidc;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::home::Home;
use crate::rig::{poll, tool};
use crate::terminal::Terminal;

const LIMIT: Duration = Duration::from_secs(180);

/// What the page of the callback says.
pub const ARRIVED: &str = "Your answer has arrived";

/// Gives the home a browser that only writes down what it is to open.
pub fn hand_over(home: &Home) {
    let script = "#!/bin/sh\nprintf '%s\\n' \"$1\" >> \"$0.opened\"\n";
    let path = home.write("browser", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    home.set("BROWSER", &path.display().to_string());
}

/// The addresses that the browser was to open so far.
fn handed(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.path("browser.opened")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for the address that the browser is to open.
pub fn address_for_browser(home: &Home, terminal: &Terminal) -> String {
    poll("an address for the browser", LIMIT, || {
        let address = handed(home).pop();
        assert!(address.is_some() || terminal.is_running(), "{}", terminal.shown());
        address
    })
}

/// The first address on the screen that begins like this, once its line is whole.
pub fn shown_address(terminal: &Terminal, begin: &str) -> String {
    poll("an address on the screen", LIMIT, || {
        let shown = terminal.shown();
        let at = shown.find(begin);
        assert!(terminal.is_running() && !shown.contains("error: "), "{shown}");
        let (line, _) = shown[at?..].split_once(char::is_whitespace)?;
        Some(line.to_owned())
    })
}

/// Waits for the end of a log-in that succeeds, and gives what the terminal showed.
#[track_caller]
fn logged_in(home: &Home, terminal: Terminal) -> String {
    let ended = terminal.end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{}", ended.shown);
    ended.shown
}

/// What the real kubectl is asked for by [`whoami`] and [`whoami_at_terminal`].
const WHOAMI: [&str; 3] = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];

/// The real kubectl at a terminal of its own, asking the API server whom it sees.
pub fn whoami_at_terminal(home: &Home, kubeconfig: &Path) -> Terminal {
    let mut command = home.program(&tool("kubectl"));
    command.env("KUBECONFIG", kubeconfig).args(WHOAMI);
    Terminal::start(command)
}

/// Whom the API server sees behind this kubeconfig, by the real kubectl.
#[track_caller]
fn whoami(home: &Home, kubeconfig: &Path) -> String {
    home.kubectl(kubeconfig, &WHOAMI).quiet().stdout
}
