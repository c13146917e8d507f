//! A job with a home of its own, and before its real vault a server that has faults.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::Engine;
use crate::home::{Home, Run};
use crate::rig::{Authority, Double, Reply, Seen, Vault, poll, unique};

pub const LIMIT: Duration = Duration::from_secs(120);

/// What the server before the vault does with the requests to one path, and how often.
struct Plan {
    path: String,
    reply: Reply,
    times: usize,
    /// Until this is over nothing is answered.
    held: bool,
}

/// A home with a job that logs in by approle, through a server that has faults.
pub struct World<'a> {
    pub engine: &'a Engine,
    pub home: Home,
    /// None once nobody listens there any more.
    pub front: Option<Double>,
    /// Who listens there instead, and must not hear anything.
    impostor: Option<Double>,
    plan: Arc<Mutex<Plan>>,
    pub address: String,
    pub mount: String,
    /// Which only this job's sessions have.
    policy: String,
}

/// What goes wrong.
pub enum Fault {
    /// The answer to so many requests.
    Answers(Reply, usize),
    /// Nobody listens.
    Refused,
    /// Somebody else does, with a certificate of another authority.
    Impostor,
    /// The session is revoked behind its owner's back.
    Dead,
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        let heard = self.impostor.as_ref().map(Double::seen).unwrap_or_default();
        assert!(std::thread::panicking() || heard.is_empty(), "{heard:?}");
    }
}

impl<'a> World<'a> {
    /// For sessions of so many seconds, which may mint and not see what kind of role it is by.
    pub fn new(engine: &'a Engine, lifetime: u32) -> Self {
        let (vault, root) = (Vault::shared(), Vault::shared().root());
        let (mount, policy, home) = (unique("approle"), unique("faults"), Home::new());
        let rules = format!("path \"{}/creds/*\" {{ capabilities = [\"update\"] }}", engine.mount);
        root.write_policy(&policy, &rules);
        root.enable_auth("approle", &mount);
        let (role_id, secret_id) = root.approle(&mount, "job", &[&policy]);
        let role = json!({"token_policies": [policy], "token_ttl": format!("{lifetime}s")});
        root.write(&format!("auth/{mount}/role/job"), &role);
        // So few that none of them runs into the end of the time: what is told is then the same each time.
        home.set("VAULT_MAX_RETRIES", "2");
        let file = home.write_secret(".config/vaulttoken/secret-id", &secret_id);
        let plan =
            Arc::new(Mutex::new(Plan { path: String::new(), reply: Reply::Passed, times: 0, held: false }));
        let followed = Arc::clone(&plan);
        let front = Double::before(&vault.authority, &vault.address, move |request| {
            poll("the end of a hold", LIMIT, || {
                let plan = followed.lock().unwrap();
                (!plan.held || plan.path != request.path).then_some(())
            });
            let mut plan = followed.lock().unwrap();
            if request.path != plan.path || plan.times == 0 {
                return Reply::Passed;
            }
            plan.times -= 1;
            plan.reply.clone()
        });
        home.settings(&json!({
            "vaults": {"corp": {
                "address": front.address, "certificateAuthority": vault.ca_file(),
                "auth": {"approle": {"mount": mount, "roleId": role_id, "secretIdFile": file}},
            }},
            "profiles": {"prod": {"source": engine.source("reader")}},
        }));
        let address = front.address.clone();
        Self { engine, home, front: Some(front), impostor: None, plan, address, mount, policy }
    }

    pub fn log_in_path(&self) -> String {
        format!("/v1/auth/{}/login", self.mount)
    }

    pub fn mint_path(&self) -> String {
        format!("/v1/{}/creds/reader", self.engine.mount)
    }

    /// From now on this is what comes of requests to `path`.
    pub fn suffer(&mut self, fault: Fault, path: &str) {
        match fault {
            Fault::Answers(reply, times) => {
                *self.plan.lock().unwrap() = Plan { path: path.to_owned(), reply, times, held: false };
            }
            Fault::Refused => drop(self.front.take()),
            Fault::Impostor => {
                drop(self.front.take());
                let stranger = Authority::new(&unique("stranger"));
                let script = |request: &Seen| panic!("it was asked for {}", request.path);
                self.impostor = Some(Double::in_place_of(&self.address, &stranger, script));
            }
            Fault::Dead => self.revoke_sessions(),
        }
    }

    /// Holds the requests to `path`, until [`World::release`].
    pub fn hold(&self, path: &str, reply: Reply) {
        *self.plan.lock().unwrap() = Plan { path: path.to_owned(), reply, times: usize::MAX, held: true };
    }

    pub fn release(&self) {
        self.plan.lock().unwrap().held = false;
    }

    pub fn recover(&self) {
        self.plan.lock().unwrap().times = 0;
    }

    /// The only item of `status`.
    pub fn status(&self) -> Value {
        self.home.run(&["status", "--output=json"]).quiet().json()["items"][0].take()
    }

    pub fn get_token(&self) -> Run {
        self.home.get_token(&["--timeout=3s"], None)
    }

    /// How often the server before the vault was asked for `path`.
    pub fn asked(&self, path: &str) -> usize {
        let seen = self.front.as_ref().map(Double::seen).unwrap_or_default();
        seen.iter().filter(|request| request.path == path).count()
    }

    /// How often the vault itself did what is asked for at `path` for this job.
    pub fn done(&self, path: &str) -> usize {
        let path = path.trim_start_matches("/v1/");
        let is_ours = |entry: &&Value| {
            let policies = [&entry["auth"]["policies"], &entry["response"]["auth"]["policies"]];
            let names = policies.into_iter().flat_map(|names| names.as_array().into_iter().flatten());
            entry["type"] == "response"
                && entry["request"]["path"] == path
                && entry["error"].is_null()
                && names.into_iter().any(|name| *name == json!(self.policy))
        };
        Vault::shared().audit_log().iter().filter(is_ours).count()
    }

    /// The accessors of this job's living sessions.
    pub fn sessions(&self) -> Vec<String> {
        let root = Vault::shared().root();
        let mut accessors = root.list("auth/token/accessors");
        accessors.retain(|accessor| {
            let answer = root.call("PUT", "auth/token/lookup-accessor", &json!({"accessor": accessor}));
            let policies = answer.json["data"]["policies"].as_array().cloned().unwrap_or_default();
            policies.contains(&json!(self.policy))
        });
        accessors
    }

    pub fn revoke_sessions(&self) {
        let root = Vault::shared().root();
        for accessor in self.sessions() {
            root.write("auth/token/revoke-accessor", &json!({"accessor": accessor}));
        }
    }
}
