//! A real Keycloak with one realm: people, groups, and the clients that people and jobs use. To start it
//! costs ten seconds of a core, so only tests of what no smaller provider does should ask for it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::browser::Browser;
use super::certificates::Authority;
use super::cluster::Cluster;
use super::http::{Answer, Client};
use super::openid::post_form;
use super::ports::with_free_ports;
use super::process::Process;
use super::tools::tool;

/// A JVM that shares two cores with everything else.
const LIMIT: Duration = Duration::from_secs(600);

/// Enough for a realm of tests, quick to start, and no more memory than it is given.
const JVM: &str = "-Xms64m -Xmx384m -XX:MaxMetaspaceSize=256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
                   -Dfile.encoding=UTF-8 -Djava.security.egd=file:/dev/urandom";

/// The server. Everyone in its realm has the password [`Keycloak::PASSWORD`].
pub struct Keycloak {
    /// `https://127.0.0.1:PORT`.
    pub address: String,
    pub authority: Authority,
    client: Client,
    _process: Process,
}

impl Keycloak {
    /// Also in `tests/rig/tools`, which makes the database that a server starts with.
    pub const ADMIN: (&'static str, &'static str) = ("rig-admin", "the password of the rig");
    pub const REALM: &'static str = "engineering";
    pub const PASSWORD: &'static str = "in wonderland";
    /// The secret of each of its confidential clients.
    pub const SECRET: &'static str = "keycloak-client-secret";

    /// The one that the tests of this process share. Its people are `alice`, of the group `developers`,
    /// and `bob`, of none; [`Keycloak::person`] makes more. Its clients are
    ///
    /// * `kubernetes`: public, for people; code with PKCE, device code, refresh tokens that rotate;
    /// * `brief`: the same with tokens of twenty seconds;
    /// * `jobs`: confidential, may exchange tokens that were made for it, for those of `kubernetes`;
    /// * `ci`: confidential, gets tokens for `jobs` in its own name.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Keycloak> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = super::folder("keycloak");
        let authority = Authority::new("keycloak");
        let certificate = authority.server(&[]);
        let client = Client::new(&authority.pem, None);
        let (address, process) = with_free_ports(|[port]| {
            let address = format!("https://127.0.0.1:{port}");
            let arguments = [
                "start".to_owned(),
                "--optimized".to_owned(),
                "--cache=local".to_owned(),
                format!("--hostname={address}"),
                "--http-host=127.0.0.1".to_owned(),
                format!("--https-port={port}"),
                format!("--https-certificate-file={}", certificate.file.display()),
                format!("--https-certificate-key-file={}", certificate.key_file.display()),
            ];
            let environment = [
                ("JAVA_OPTS", JVM),
                ("KC_BOOTSTRAP_ADMIN_USERNAME", Self::ADMIN.0),
                ("KC_BOOTSTRAP_ADMIN_PASSWORD", Self::ADMIN.1),
            ];
            let mut process =
                Process::start("keycloak", &folder, &tool("keycloak"), &arguments, &environment);
            let url = format!("{address}/realms/master/.well-known/openid-configuration");
            process.wait_until("answering", LIMIT, || {
                let answer = client.call("GET", &url, &[], &Value::Null).ok()?;
                answer.is_success().then_some(())
            })?;
            Ok((address, process))
        });
        let keycloak = Self { address, authority, client, _process: process };
        let made = keycloak.admin("POST", "/admin/realms", &realm());
        assert!(made.is_success(), "the realm: {} {}", made.status, made.text);
        keycloak
    }

    pub fn ca_file(&self) -> &Path {
        &self.authority.file
    }

    /// Makes a cluster trust the ID tokens of `kubernetes` and `brief`; users are `keycloak:NAME`.
    pub fn trusted_by(&self, cluster: &Cluster) {
        cluster.trust_people(&self.issuer(), &self.authority, &["kubernetes", "brief"], "keycloak:");
    }

    /// The issuer of the realm's tokens.
    pub fn issuer(&self) -> String {
        format!("{}/realms/{}", self.address, Self::REALM)
    }

    /// Fills in the login page that the browser shows.
    pub fn sign_in(browser: &Browser, name: &str) {
        browser.fill("#username", name);
        browser.fill("#password", Self::PASSWORD);
        browser.click("#kc-login");
    }

    /// Says yes to what the page asks of a person who has signed in.
    pub fn consent(browser: &Browser) {
        browser.wait_for_text("Do you grant these access privileges?");
        browser.click("#kc-login");
    }

    /// Logs in at the page of a device code, and says yes.
    pub fn confirm_device(browser: &Browser, name: &str) {
        Self::sign_in(browser, name);
        Self::consent(browser);
        browser.wait_for_text("Device Login Successful");
    }

    /// One form sent to the endpoint that discovery calls `endpoint`, such as `token_endpoint`.
    pub fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Answer {
        post_form(&self.client, &self.issuer(), endpoint, form)
    }

    /// One call that may do everything; `path` begins with `/admin`.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        // Its tokens live for a minute only.
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", Self::ADMIN.0),
            ("password", Self::ADMIN.1),
        ];
        let master = format!("{}/realms/master", self.address);
        let answer = post_form(&self.client, &master, "token_endpoint", &form);
        let token = answer.json["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text));
        let headers = [("Authorization", &*format!("Bearer {token}"))];
        self.client.call(method, &format!("{}{path}", self.address), &headers, body).unwrap()
    }

    /// A new person of these groups, so that what others do is not in the way.
    pub fn person(&self, name: &str, groups: &[&str]) {
        let path = format!("/admin/realms/{}/users", Self::REALM);
        let made = self.admin("POST", &path, &person(name, groups));
        assert!(made.is_success(), "{name}: {} {}", made.status, made.text);
    }

    /// A client for a Vault that logs people in through this realm; browsers may end at these addresses.
    pub fn vault_client(&self, name: &str, redirect_uris: &[String]) {
        let client = confidential_client(
            name,
            &json!({
                "standardFlowEnabled": true,
                "redirectUris": redirect_uris,
                "attributes": {"oauth2.device.authorization.grant.enabled": "true"},
            }),
        );
        let made = self.admin("POST", &format!("/admin/realms/{}/clients", Self::REALM), &client);
        assert!(made.is_success(), "{name}: {} {}", made.status, made.text);
    }

    /// A further realm with nothing but what Keycloak gives to each, and `alice`, of the group `developers`.
    pub fn new_realm(&self, name: &str) {
        let realm = format!("/admin/realms/{name}");
        for (path, body) in [
            ("/admin/realms", json!({"realm": name, "enabled": true})),
            (&*format!("{realm}/groups"), json!({"name": "developers"})),
            (&format!("{realm}/users"), person("alice", &["developers"])),
        ] {
            let made = self.admin("POST", path, &body);
            assert!(made.is_success(), "{path}: {} {}", made.status, made.text);
        }
    }

    /// Keycloak's own program for its administrators, a shell script.
    pub fn administration() -> PathBuf {
        let started = tool("keycloak").canonicalize().unwrap();
        let folder = started.parent().unwrap();
        let places = [folder.join("kcadm.sh"), folder.join("../keycloak/bin/kcadm.sh")];
        places.into_iter().find(|place| place.exists()).expect("is part of Keycloak's archive")
    }

    /// What the realm logged of `name`, oldest first: `type` is `LOGIN`, `CODE_TO_TOKEN`,
    /// `REFRESH_TOKEN`, `LOGOUT`, `REVOKE_GRANT` and so on. Some refusals are logged for nobody.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let users = self.admin(
            "GET",
            &format!("/admin/realms/{}/users?exact=true&username={name}", Self::REALM),
            &Value::Null,
        );
        let id = users.json[0]["id"].as_str().expect("is a person of the realm");
        let path = format!("/admin/realms/{}/events?max=1000&user={id}", Self::REALM);
        let mut events: Vec<Value> =
            serde_json::from_value(self.admin("GET", &path, &Value::Null).json).unwrap();
        events.reverse();
        events
    }
}

fn person(name: &str, groups: &[&str]) -> Value {
    json!({
        "username": name,
        "enabled": true,
        // Without these the login page asks for them first.
        "email": format!("{name}@example.com"),
        "emailVerified": true,
        "firstName": name,
        "lastName": "Liddell",
        "groups": groups,
        // Those of an import have none of the usual roles; without this one no log-in outlives its session.
        "realmRoles": ["offline_access"],
        "credentials": [{"type": "password", "value": Keycloak::PASSWORD, "temporary": false}],
    })
}

fn public_client(name: &str, more: &Value) -> Value {
    let mut attributes = json!({
        "pkce.code.challenge.method": "S256",
        "oauth2.device.authorization.grant.enabled": "true",
    });
    let all = attributes.as_object_mut().expect("is one");
    all.extend(more.as_object().expect("is one").clone());
    json!({
        "clientId": name,
        "publicClient": true,
        "standardFlowEnabled": true,
        "directAccessGrantsEnabled": false,
        // Keycloak takes any port where a loopback address is named without one.
        "redirectUris": ["http://127.0.0.1/callback", "http://localhost/callback"],
        "attributes": attributes,
        "defaultClientScopes": ["basic", "profile", "email", "groups"],
        "optionalClientScopes": ["offline_access"],
    })
}

fn confidential_client(name: &str, more: &Value) -> Value {
    let mut client = json!({
        "clientId": name,
        "publicClient": false,
        "secret": Keycloak::SECRET,
        "standardFlowEnabled": false,
        "serviceAccountsEnabled": true,
        "defaultClientScopes": ["basic", "profile", "email", "groups"],
    });
    let all = client.as_object_mut().expect("is one");
    all.extend(more.as_object().expect("is one").clone());
    client
}

/// Puts a client into the audience of the tokens that another one gets.
fn audience(name: &str) -> Value {
    json!({
        "name": format!("audience-{name}"),
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {
            "included.client.audience": name, "access.token.claim": "true", "id.token.claim": "false",
        },
    })
}

fn realm() -> Value {
    let mapper = |name: &str, kind: &str, config: Value| {
        let mut all = json!({
            "id.token.claim": "true", "access.token.claim": "true", "userinfo.token.claim": "true",
        });
        all.as_object_mut().expect("is one").extend(config.as_object().expect("is one").clone());
        json!({"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": all})
    };
    let attribute = |claim: &str, attribute: &str| {
        let config = json!({"user.attribute": attribute, "claim.name": claim, "jsonType.label": "String"});
        mapper(claim, "oidc-usermodel-attribute-mapper", config)
    };
    let scope = |name: &str, mappers: Vec<Value>| {
        json!({
            "name": name,
            "protocol": "openid-connect",
            "attributes": {"include.in.token.scope": "true"},
            "protocolMappers": mappers,
        })
    };
    json!({
        "realm": Keycloak::REALM,
        "enabled": true,
        "sslRequired": "external",
        "eventsEnabled": true,
        "eventsExpiration": 86_400,
        // It leaves out refreshes unless they are named.
        "enabledEventTypes": [
            "LOGIN", "LOGIN_ERROR", "CODE_TO_TOKEN", "CODE_TO_TOKEN_ERROR", "REFRESH_TOKEN",
            "REFRESH_TOKEN_ERROR", "LOGOUT", "LOGOUT_ERROR", "REVOKE_GRANT", "REVOKE_GRANT_ERROR",
            "OAUTH2_DEVICE_CODE_TO_TOKEN", "OAUTH2_DEVICE_CODE_TO_TOKEN_ERROR", "TOKEN_EXCHANGE",
            "TOKEN_EXCHANGE_ERROR",
        ],
        // Each refresh token is good for one use.
        "revokeRefreshToken": true,
        "refreshTokenMaxReuse": 0,
        "accessTokenLifespan": 900,
        "oauth2DevicePollingInterval": 1,
        "groups": [{"name": "developers"}],
        "users": [person("alice", &["developers"]), person("bob", &[])],
        "clientScopes": [
            scope("basic", vec![mapper("sub", "oidc-sub-mapper", json!({}))]),
            scope("profile", vec![attribute("preferred_username", "username")]),
            scope("email", vec![
                attribute("email", "email"),
                mapper("email_verified", "oidc-usermodel-property-mapper", json!({
                    "user.attribute": "emailVerified",
                    "claim.name": "email_verified",
                    "jsonType.label": "boolean",
                })),
            ]),
            scope("groups", vec![
                mapper("groups", "oidc-group-membership-mapper", json!({"claim.name": "groups", "full.path": "false"})),
            ]),
            scope("offline_access", vec![]),
        ],
        "clients": [
            public_client("kubernetes", &json!({})),
            public_client("brief", &json!({"access.token.lifespan": "20"})),
            confidential_client("jobs", &json!({
                "attributes": {"standard.token.exchange.enabled": "true"},
                "protocolMappers": [audience("kubernetes")],
            })),
            confidential_client("ci", &json!({"protocolMappers": [audience("jobs")]})),
        ],
    })
}
