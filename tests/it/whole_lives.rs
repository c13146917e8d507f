//! Whole lives of identities that live short, long or oddly, with the real program: what is had for
//! them is never handed out dead, and never asked for in a loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::ages;
use crate::home::{Home, Run};
use crate::rig::{Authority, Databricks, Double, Issuer, Policy, Reply, claims, poll, unique};

const ISS: &str = "https://issuer.example";
const SUBJECT: &str = "system:serviceaccount:team-a:reporter";
const CLIENT: &str = "7f0c9a52-0000-4000-8000-000000000002";
const AUDIENCE: &str = "https://dbc.example";
const YEAR: i64 = 365 * 24 * 3_600;

/// How a job comes to its identity. Times are in seconds.
#[derive(Clone, Copy)]
enum Identity {
    /// GitHub gives another one to whoever asks, and each lives so long.
    OnRequest(i64),
    /// The kubelet lays another one when four fifths of such a life are over.
    Projected(i64),
    /// The kubelet does as much, as if it lived so long; in truth it lives for a year, and
    /// `warnafter` says when it should have been replaced.
    Extended(i64),
}

/// A job, and a workspace that trusts whoever says who it is. A token of the workspace ends with what it
/// was had for, after an hour at the latest.
struct Job {
    identity: Identity,
    issuer: Arc<Issuer>,
    workspace: Databricks,
    /// GitHub.
    service: Double,
    home: Home,
    /// How much time was let go by at once.
    passed: i64,
    began: Instant,
    /// When each token was seen first, by the clock of this job.
    tokens: BTreeMap<String, f64>,
    /// When a token was asked for, and how long it lived then.
    exchanges: Vec<(f64, f64)>,
}

impl Job {
    fn new(identity: Identity) -> Self {
        let authority = Authority::new("job");
        let (issuer, home) = (Arc::new(Issuer::new()), Home::new());
        let workspace = Databricks::workspace(&authority);
        let policy = Policy {
            issuer: ISS.into(),
            audiences: vec![AUDIENCE.into()],
            client_id: Some(CLIENT.into()),
            subject: Some(SUBJECT.into()),
        };
        workspace.allow(&issuer, policy);
        let signer = Arc::clone(&issuer);
        let service = Double::https(&authority, &[], move |_| {
            let Identity::OnRequest(lifetime) = identity else { return Reply::not_found() };
            let end = Utc::now().timestamp() + lifetime;
            let claims = json!({"iss": ISS, "exp": end, "jti": unique("jti")});
            Reply::json(200, &json!({"value": signer.token(SUBJECT, AUDIENCE, &claims)}))
        });
        home.set("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?v=1", service.address));
        home.set_secret("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token-of-this-job");
        home.set("SSL_CERT_FILE", &authority.file.display().to_string());
        let settings = match identity {
            Identity::OnRequest(_) => json!({"githubActions": {"audience": AUDIENCE}}),
            Identity::Projected(_) | Identity::Extended(_) => json!({"file": {"path": home.path("token")}}),
        };
        home.settings(&json!({
            "identities": {"job": settings},
            "profiles": {"lake": {"source": {"tokenExchange": {
                "preset": "databricks", "host": workspace.address, "identity": "job", "clientId": CLIENT,
                "certificateAuthority": authority.file,
            }}}},
        }));
        let mut job = Self {
            identity,
            issuer,
            workspace,
            service,
            home,
            passed: 0,
            began: Instant::now(),
            tokens: BTreeMap::new(),
            exchanges: Vec::new(),
        };
        job.pass(0);
        job
    }

    /// What its clock shows.
    fn now(&self) -> f64 {
        f64::from(i32::try_from(self.passed).unwrap()) + self.began.elapsed().as_secs_f64()
    }

    /// Lets time go by, and the kubelet do its work.
    fn pass(&mut self, seconds: i64) {
        ages::pass(&self.home, TimeDelta::seconds(seconds));
        self.passed += seconds;
        let (Identity::Projected(lifetime) | Identity::Extended(lifetime)) = self.identity else { return };
        let now = Utc::now().timestamp();
        let left = lifetime - self.passed % (lifetime * 4 / 5);
        let mut more = json!({"iss": ISS, "exp": now + left, "jti": unique("jti")});
        if matches!(self.identity, Identity::Extended(_)) {
            more["exp"] = json!(now + left + YEAR - lifetime);
            more["kubernetes.io"] = json!({"warnafter": now + left, "namespace": "team-a"});
        }
        self.home.write_secret("token", &self.issuer.token(SUBJECT, AUDIENCE, &more));
    }

    /// Looks at a token that was handed out, and waits for the renewal that this caused, if any.
    fn given(&mut self, token: &str) {
        let now = self.now();
        let first = *self.tokens.entry(token.to_owned()).or_insert(now);
        let claims = claims(token);
        let warns = &claims["kubernetes.io"]["warnafter"];
        let end = if warns.is_null() { &claims["exp"] } else { warns };
        let end = DateTime::from_timestamp(end.as_i64().unwrap(), 0).unwrap();
        let left = (end - Utc::now()).as_seconds_f64() - (now - first);
        assert!(left > 0.0, "handed out {left} seconds before its end, at {now}");
        let limit = Duration::from_secs(60);
        poll("a renewal", limit, || (!ages::is_due(&self.home)).then_some(()));
        let asked = self.workspace.grants().len();
        assert!(asked <= self.exchanges.len() + 1, "asked {asked} times until {now}");
        if asked > self.exchanges.len() {
            let kept = self.home.run(&["status", "-o", "json"]).quiet().json();
            let life = moment(&kept["items"][0]["token"]["usableUntil"]) - Utc::now();
            self.exchanges.push((now, life.as_seconds_f64()));
        }
    }

    /// Asks at each step, with `ask`, until `span` seconds have gone by.
    fn live(&mut self, step: i64, span: i64, ask: fn(&Home) -> String) {
        while self.passed < span {
            let token = ask(&self.home);
            self.given(&token);
            self.pass(step);
        }
    }

    /// A token is not replaced before two fifths of its life are over, and is replaced.
    fn is_no_loop(&self, lifetime: i64, span: i64) {
        for pair in self.exchanges.windows(2) {
            let ((before, life), (after, _)) = (pair[0], pair[1]);
            // What was had in the meantime of a step is seen at its end.
            assert!(after - before >= life * 0.4 - 2.0, "{:?}", self.exchanges);
        }
        let lives = usize::try_from(span / lifetime).unwrap();
        assert!(self.exchanges.len() >= lives, "{:?}", self.exchanges);
        if matches!(self.identity, Identity::OnRequest(_)) {
            assert_eq!(self.service.seen().len(), self.exchanges.len(), "asked for what was then used");
        }
    }
}

fn moment(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no moment: {value}"))
}

/// As a client asks, which gets what is due at once while another one is had beside it.
fn as_a_client(home: &Home) -> String {
    let run: Run = home.get_token(&[], None).quiet();
    let end = moment(&run.json()["status"]["expirationTimestamp"]);
    assert!(end > Utc::now(), "of no use to the client: {run:?}");
    run.token()
}

/// As a script asks, which waits.
fn as_a_script(home: &Home) -> String {
    let run = home.run_for_secret(&["token", "lake"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let token = run.stdout.trim().to_owned();
    home.plant(&token);
    token
}

/// Four lives, one after the other, with a question at each of ten steps of one.
fn lives(identity: Identity, lifetime: i64) {
    for ask in [as_a_client, as_a_script] {
        four(&mut Job::new(identity), lifetime, ask);
    }
}

fn four(job: &mut Job, lifetime: i64, ask: fn(&Home) -> String) {
    let span = 4 * lifetime;
    job.live(lifetime / 10, span, ask);
    job.is_no_loop(lifetime, span);
}

#[test]
fn an_identity_of_five_minutes_that_can_be_asked_for_again() {
    lives(Identity::OnRequest(300), 300);
}

#[test]
fn an_identity_of_ten_minutes_that_the_kubelet_lays() {
    lives(Identity::Projected(600), 600);
}

#[test]
fn an_identity_of_an_hour() {
    lives(Identity::Projected(3_600), 3_600);
}

#[test]
fn an_identity_of_a_year_that_warns_after_an_hour() {
    lives(Identity::Extended(3_607), 3_607);
}

#[test]
fn a_token_of_a_year_that_warns_after_an_hour() {
    for ask in [as_a_client, as_a_script] {
        let mut job = Job::new(Identity::Projected(3_600));
        let issuer = Arc::clone(&job.issuer);
        job.workspace.amend(move |answer| {
            let now = Utc::now().timestamp();
            let more = json!({"exp": now + YEAR, "kubernetes.io": {"warnafter": now + 3_607}});
            *answer =
                json!({"access_token": issuer.token(SUBJECT, "kubernetes", &more), "token_type": "Bearer"});
        });
        four(&mut job, 3_607, ask);
    }
}
