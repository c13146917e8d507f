//! A small OpenID provider, zitadel's certified one with the pages of its own example: it is up at once,
//! rotates refresh tokens, and logs what its token endpoint was asked for. See `go/openid-provider`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::browser::Browser;
use super::certificates::Authority;
use super::cluster::Cluster;
use super::http::{Answer, Client};
use super::ports::with_free_ports;
use super::process::Process;
use super::tools::tool;

const LIMIT: Duration = Duration::from_secs(180);

/// The provider. Everyone in it has the password [`OpenIdProvider::PASSWORD`].
pub struct OpenIdProvider {
    /// `https://127.0.0.1:PORT/`: with a slash at its end, which some issuers have.
    pub issuer: String,
    pub authority: Authority,
    client: Client,
    log: PathBuf,
    _process: Process,
}

impl OpenIdProvider {
    pub const PASSWORD: &'static str = "in wonderland";
    /// The secret of its confidential client, `jobs`.
    pub const SECRET: &'static str = "the secret of jobs";

    /// The one that the tests of this process share. Its people are `alice`, of the group `developers`,
    /// and `bob`, of none. Its clients are `kubernetes`, which is public and may do everything that a
    /// person needs; `brief`, the same with ID tokens of forty seconds; and `jobs`, which has a secret
    /// and may exchange tokens.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<OpenIdProvider> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("openid-provider"))
    }

    /// One of the caller's own.
    pub fn start(name: &str) -> Self {
        let folder = super::folder(name);
        let authority = Authority::new(name);
        let certificate = authority.server(&[]);
        let client = Client::new(&authority.pem, None);
        let log = folder.join("token-requests.json");
        let path = folder.join("settings.json");
        let (issuer, process) = with_free_ports(|[port]| {
            let issuer = format!("https://127.0.0.1:{port}/");
            let mut settings = people_and_clients();
            settings["Issuer"] = json!(issuer);
            settings["Address"] = json!(format!("127.0.0.1:{port}"));
            settings["Certificate"] = json!(certificate.file);
            settings["Key"] = json!(certificate.key_file);
            settings["Log"] = json!(log);
            fs::write(&path, settings.to_string()).unwrap();
            let arguments = [path.display().to_string()];
            let mut process = Process::start(name, &folder, &tool("openid-provider"), &arguments, &[]);
            let url = format!("{issuer}.well-known/openid-configuration");
            process.wait_until("answering", LIMIT, || client.call("GET", &url, &[], &Value::Null).ok())?;
            Ok((issuer, process))
        });
        Self { issuer, authority, client, log, _process: process }
    }

    pub fn ca_file(&self) -> &Path {
        &self.authority.file
    }

    /// Makes a cluster trust the ID tokens of `kubernetes` and `brief`; users are `openid:NAME`.
    pub fn trusted_by(&self, cluster: &Cluster) {
        cluster.trust_people(&self.issuer, &self.authority, &["kubernetes", "brief"], "openid:");
    }

    /// Fills in the login page that the browser shows.
    pub fn sign_in(browser: &Browser, name: &str) {
        browser.fill("#username", name);
        browser.fill("#password", Self::PASSWORD);
        browser.click("button");
    }

    /// Logs in at the page of a device code, and says yes.
    pub fn confirm_device(browser: &Browser, name: &str) {
        Self::sign_in(browser, name);
        browser.click("button.green");
        browser.wait_for_text("You can now return to the device");
    }

    /// One form sent to the endpoint that discovery calls `endpoint`, such as `token_endpoint`.
    pub fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Answer {
        post_form(&self.client, self.issuer.trim_end_matches('/'), endpoint, form)
    }

    /// What the token endpoint was asked for by `client`, oldest first: `grant`, `client` and `status`.
    pub fn token_requests(&self, client: &str) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["client"] == client).collect()
    }
}

/// One form sent to an endpoint that an issuer's discovery document names.
pub(super) fn post_form(client: &Client, issuer: &str, endpoint: &str, form: &[(&str, &str)]) -> Answer {
    let url = format!("{issuer}/.well-known/openid-configuration");
    let found = client.call("GET", &url, &[], &Value::Null).unwrap();
    let url = found.json[endpoint].as_str().unwrap_or_else(|| panic!("no {endpoint} in {}", found.text));
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    client.send("POST", url, &headers, body.into_bytes()).unwrap()
}

fn people_and_clients() -> Value {
    let person = |name: &str| {
        json!({
            "ID": name, "Username": name, "Password": OpenIdProvider::PASSWORD,
            "FirstName": name, "LastName": "Liddell",
            "Email": format!("{name}@example.com"), "EmailVerified": true,
        })
    };
    let redirects = ["http://127.0.0.1/callback", "http://localhost/callback"];
    let for_people =
        json!(["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]);
    json!({
        "Users": {"alice": person("alice"), "bob": person("bob")},
        "Groups": {"alice": ["developers"], "bob": []},
        "Clients": {
            "kubernetes": {"RedirectURIs": redirects, "Grants": for_people},
            "brief": {"RedirectURIs": redirects, "Grants": for_people, "IDTokenLifetime": 40},
            "jobs": {
                "Secret": OpenIdProvider::SECRET,
                "RedirectURIs": redirects,
                "RedirectURIGlobs": ["http://127.0.0.1:*/callback", "http://localhost:*/callback"],
                "Grants": [
                    "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange",
                ],
            },
        },
    })
}
