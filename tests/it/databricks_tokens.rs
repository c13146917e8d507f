//! What Databricks' tools are handed near a token's end, and while nobody can be reached: through
//! `serve`, and in the place of the Databricks CLI.

use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ages;
use crate::home::{Home, Run};
use crate::rig::{Authority, Databricks, Issuer, Policy, Reply, poll};
use crate::serve::Serving;

const ISS: &str = "https://issuer.example";
const SUBJECT: &str = "system:serviceaccount:team-a:reporter";

/// A workspace, a job that it trusts, and a `serve` for it.
struct Lake {
    workspace: Databricks,
    home: Home,
    serving: Serving,
}

impl Lake {
    /// One whose tokens live for so many seconds.
    fn of(lifetime: i64) -> Self {
        let (home, authority, issuer) = (Home::new(), Authority::new("lake"), Issuer::new());
        let workspace = Databricks::workspace(&authority);
        workspace.lifetime(lifetime);
        let policy = Policy {
            issuer: ISS.into(),
            audiences: Vec::new(),
            client_id: Some("7f".into()),
            subject: Some(SUBJECT.into()),
        };
        workspace.allow(&issuer, policy);
        let claims = json!({"iss": ISS, "exp": Utc::now().timestamp() + 24 * 3_600});
        home.write_secret("subject", &issuer.token(SUBJECT, &workspace.account_id, &claims));
        home.settings(&json!({
            "identities": {"job": {"file": {"path": home.path("subject")}}},
            "profiles": {"lake": {"source": {"tokenExchange": {
                "preset": "databricks", "host": workspace.address, "identity": "job", "clientId": "7f",
                "certificateAuthority": authority.file,
            }}}},
        }));
        let serving = Serving::start(&home, &[]);
        Self { workspace, home, serving }
    }

    fn cli(&self, more: &[&str]) -> Run {
        let run = self.home.run_for_secret(&[&["auth", "token", "--profile", "lake"], more].concat());
        if run.code == 0 {
            self.home.plant(token(&run.json()));
        }
        run
    }

    fn served(&self) -> (u16, Value) {
        let (status, answer) = self.serving.ask(&self.workspace.address);
        if status == 200 {
            self.home.plant(token(&answer));
        }
        (status, answer)
    }

    /// A token as this way gives it, and its end.
    fn ask(&self, through: Way) -> (String, DateTime<Utc>) {
        match through {
            Way::Cli => {
                let answer = self.cli(&[]).succeeded().json();
                let end = answer["expiry"].as_str().unwrap().parse().unwrap();
                (token(&answer).to_owned(), end)
            }
            Way::Serve => {
                let (status, answer) = self.served();
                assert_eq!(status, 200, "{answer}");
                let end = DateTime::from_timestamp(answer["expires_on"].as_i64().unwrap(), 0).unwrap();
                (token(&answer).to_owned(), end)
            }
        }
    }

    /// Lets time go by once nobody renews any more.
    fn pass(&self, seconds: i64) {
        poll("a renewal", std::time::Duration::from_secs(60), || (!ages::is_due(&self.home)).then_some(()));
        ages::pass(&self.home, TimeDelta::seconds(seconds));
    }

    fn asked(&self) -> usize {
        self.workspace.grants().len()
    }

    fn is_down(&self, is_down: bool) {
        let reply = Reply::text(503, "text/html", "<html>");
        self.workspace.answer(is_down.then_some(reply));
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Cli,
    Serve,
}

fn token(answer: &Value) -> &str {
    answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"))
}

#[test]
fn no_tool_is_handed_a_token_that_it_takes_for_dead_where_its_life_allows() {
    for way in [Way::Cli, Way::Serve] {
        // An SDK takes one for dead 40 seconds before its end, and has some seconds to use it.
        for (lifetime, least) in [(3_600, 45), (90, 45), (60, 42), (30, 20)] {
            let lake = Lake::of(lifetime);
            for age in [0, lifetime / 2, lifetime - 50, lifetime - 40, lifetime - 10, lifetime + 10] {
                let (first, _) = lake.ask(way);
                lake.pass(age.max(0));
                let (second, end) = lake.ask(way);
                let left = end - Utc::now();
                assert!(
                    left >= TimeDelta::seconds(least - 2),
                    "{way:?}, a life of {lifetime} s, at {age} s: {left} left"
                );
                // Whose life is long enough keeps nobody waiting.
                if age <= lifetime / 2 && lifetime == 3_600 {
                    assert_eq!(first, second);
                }
                lake.pass(2 * lifetime);
            }
            assert!(lake.asked() <= 12, "{way:?}, {lifetime}: {}", lake.asked());
        }
    }
}

#[test]
fn an_outage_leaves_what_is_good_and_is_told_once_nothing_is() {
    let lake = Lake::of(3_600);
    let first = lake.ask(Way::Cli).0;
    lake.pass(60);
    lake.is_down(true);
    // A new one is meant, and the old one is better than none.
    let run = lake.cli(&["--force-refresh"]).succeeded();
    assert_eq!((token(&run.json()), lake.asked()), (first.as_str(), 2));
    assert_eq!(lake.ask(Way::Serve).0, first);
    assert_eq!(lake.ask(Way::Cli).0, first);
    // Too little of it is left for a tool, and nothing else can be had.
    ages::pass(&lake.home, TimeDelta::seconds(3_600 - 60 - 50));
    assert_eq!(lake.ask(Way::Serve).0, first);
    assert_eq!(lake.ask(Way::Cli).0, first);
    assert_eq!(token(&lake.cli(&["--force-refresh"]).succeeded().json()), first);
    // Its end.
    ages::pass(&lake.home, TimeDelta::seconds(60));
    for more in [&[][..], &["--force-refresh"]] {
        let run = lake.cli(more);
        let told = run.failed(5);
        assert!(told.contains("cannot serve at the moment (status 503)\n"), "{told}");
        assert!(told.contains("try: try again in a minute"), "{told}");
    }
    let (status, answer) = lake.served();
    assert_eq!(status, 503);
    assert!(
        answer["error"].as_str().unwrap().contains("cannot serve at the moment (status 503)"),
        "{answer}"
    );
    // It is over.
    lake.is_down(false);
    let second = lake.ask(Way::Serve).0;
    assert_ne!(second, first);
    assert_eq!(lake.ask(Way::Cli).0, second);
    lake.serving.signal(Signal::TERM);
}

#[test]
fn a_refusal_is_no_outage() {
    let lake = Lake::of(3_600);
    lake.ask(Way::Cli);
    lake.pass(60);
    let refusal = json!({"error": "invalid_grant", "error_description": "the policy is gone"});
    lake.workspace.answer(Some(Reply::json(400, &refusal)));
    let run = lake.cli(&["--force-refresh"]);
    assert!(run.failed(4).contains("the policy is gone"), "{run:?}");
    // Whoever is content with the old one has it until its end.
    lake.ask(Way::Cli);
    lake.ask(Way::Serve);
}
