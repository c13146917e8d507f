//! A real browser without a window, driven through `chromedriver`: it opens what a person would open,
//! fills in the provider's own pages and reads what they say. It keeps nothing of the person who runs
//! the tests, asks the network for nothing else, and takes any certificate, as a person would who has
//! installed the rig's authorities.
//!
//! The calls are those of <https://www.w3.org/TR/webdriver2/>.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Client;
use super::ports::with_free_ports;
use super::process::{Failure, Process, poll};
use super::tools::tool;
use super::tunnel::Tunnel;

const LIMIT: Duration = Duration::from_secs(180);

/// A browser with one tab, nobody logged in. Dropping it ends it.
pub struct Browser {
    session: String,
    client: Client,
    // The order matters: the driver ends before what it drives, and both before the profile goes.
    _driver: Process,
    _chromium: Process,
    _tunnel: Option<Tunnel>,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// One on a machine of its own: what listens here on a loopback address for it does not answer, and
    /// only its address bar knows where it was sent.
    pub fn elsewhere() -> Self {
        Self::launch(Some(Tunnel::start()))
    }

    fn launch(tunnel: Option<Tunnel>) -> Self {
        let folder = super::folder("browser");
        let profile = TempDir::with_prefix("browser-").unwrap();
        let client = Client::new("", None);
        // The browser is not the driver's child, so that it ends with us even where the driver is killed.
        let (port, chromium) = with_free_ports(|[port]| {
            let chromium = start_chromium(&folder, profile.path(), tunnel.as_ref(), &client, port)?;
            Ok((port, chromium))
        });
        let (address, driver) = with_free_ports(|[port]| {
            let address = format!("http://127.0.0.1:{port}");
            let flags = [format!("--port={port}")];
            let mut driver = Process::start("chromedriver", &folder, &tool("chromedriver"), &flags, &[]);
            let url = format!("{address}/status");
            driver.wait_until("ready", LIMIT, || client.call("GET", &url, &[], &Value::Null).ok())?;
            Ok((address, driver))
        });
        let options = json!({"debuggerAddress": format!("127.0.0.1:{port}")});
        let capabilities = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let answer = client.call("POST", &format!("{address}/session"), &[], &capabilities).unwrap();
        let session = answer.json["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{}", answer.text));
        let session = format!("{address}/session/{session}");
        Self { session, client, _driver: driver, _chromium: chromium, _tunnel: tunnel, _profile: profile }
    }

    /// Opens an address in the tab, and waits until the page is there.
    pub fn open(&self, address: &str) {
        self.call("POST", "url", &json!({"url": address}));
    }

    /// The address of the page, after all redirects so far.
    pub fn address(&self) -> String {
        self.call("GET", "url", &Value::Null).as_str().unwrap().to_owned()
    }

    /// What a person reads on the page.
    pub fn text(&self) -> String {
        let text = self.run("return document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What a script gives that runs in the page.
    pub fn run(&self, script: &str) -> Value {
        self.call("POST", "execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until the page has something at this CSS selector.
    pub fn wait_for(&self, selector: &str) {
        self.element(selector);
    }

    /// Waits until the page says this.
    pub fn wait_for_text(&self, text: &str) {
        self.until(&format!("`{text}` on the page"), || self.text().contains(text).then_some(()));
    }

    /// Waits until the page's address begins with this, and gives it whole.
    pub fn wait_for_address(&self, begin: &str) -> String {
        self.until(&format!("an address at {begin}"), || {
            Some(self.address()).filter(|address| address.starts_with(begin))
        })
    }

    /// Types into the field at this CSS selector, in place of what is in it.
    pub fn fill(&self, selector: &str, text: &str) {
        self.on(selector, "clear", &json!({}));
        self.on(selector, "value", &json!({"text": text}));
    }

    pub fn click(&self, selector: &str) {
        self.on(selector, "click", &json!({}));
    }

    /// Acts on an element once it is there and can be used.
    fn on(&self, selector: &str, act: &str, body: &Value) {
        self.until(&format!("{selector}, to {act}"), || {
            let element = self.find(selector)?;
            self.try_call("POST", &format!("element/{element}/{act}"), body).ok()
        });
    }

    fn element(&self, selector: &str) -> String {
        self.until(selector, || self.find(selector))
    }

    fn find(&self, selector: &str) -> Option<String> {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.try_call("POST", "element", &query).ok()?;
        // The one field of a reference to an element; its name is fixed by the standard.
        found.as_object()?.values().next()?.as_str().map(str::to_owned)
    }

    /// Polls; where it is in vain, says what the page is.
    fn until<T>(&self, what: &str, probe: impl FnMut() -> Option<T>) -> T {
        let mut probe = probe;
        let begin = std::time::Instant::now();
        poll("a browser", LIMIT * 2, || match probe() {
            Some(found) => Some(found),
            None if begin.elapsed() < LIMIT => None,
            None => panic!("{what}: not within {LIMIT:?}; at {}:\n{}", self.address(), self.text()),
        })
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut answer = self.client.call(method, &format!("{}/{path}", self.session), &[], body).unwrap();
        if answer.is_success() { Ok(answer.json["value"].take()) } else { Err(answer.text) }
    }
}

fn start_chromium(
    folder: &Path,
    profile: &Path,
    tunnel: Option<&Tunnel>,
    client: &Client,
    port: u16,
) -> Result<Process, Failure> {
    let mut flags: Vec<String> = [
        "--headless",
        // It runs as whoever runs the tests, perhaps in a container that lets no one make namespaces.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-sync",
        "--disable-features=Translate,MediaRouter,OptimizationHints",
        "--password-store=basic",
        "--use-mock-keychain",
        "--ignore-certificate-errors",
    ]
    .map(str::to_owned)
    .to_vec();
    match tunnel {
        None => flags.push("--no-proxy-server".to_owned()),
        // Loopback addresses are left out unless they are asked for.
        Some(tunnel) => flags.extend([
            format!("--proxy-server=http://{}", tunnel.address),
            "--proxy-bypass-list=<-loopback>".to_owned(),
        ]),
    }
    flags.push(format!("--user-data-dir={}", profile.display()));
    flags.push(format!("--remote-debugging-port={port}"));
    flags.push("about:blank".to_owned());
    let mut chromium = Process::start("chromium", folder, &tool("chromium"), &flags, &[]);
    let url = format!("http://127.0.0.1:{port}/json/version");
    chromium.wait_until("ready", LIMIT, || client.call("GET", &url, &[], &Value::Null).ok())?;
    Ok(chromium)
}
