//! Why a program in this environment gets no token of Databricks, before anything is sent: what is set
//! and never read, what is missing, and what in the subject token no federation policy can match. It
//! believes nothing that the token says, and shows its public claims alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::Host;
use super::policy::{Decision, Keys};
use super::sdk::{Machine, Sdk, Verdict, env_token_variable};
use crate::env::Env;
use crate::error::printable;
use crate::token::{Claims, Timestamp};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whether it keeps the program from its token.
    pub weight: Weight,
    /// A word that scripts can rely on.
    pub code: &'static str,
    /// What is so.
    pub what: String,
    /// What to change.
    pub mend: Option<String>,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Weight {
    /// It is good to know.
    Note,
    /// Nobody gets a token so: the environment is wrong.
    Environment,
    /// Nobody gets a token so: the subject token is missing, malformed, dead or for somebody else.
    Subject,
}

/// What a federation policy is expected to say; what is not given is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// `iss`, byte for byte.
    pub issuer: Option<String>,
    /// Of these `aud` must name one.
    pub audiences: Vec<String>,
    /// `sub`.
    pub subject: Option<String>,
}

/// A subject token, and where it was found.
pub struct Subject<'a> {
    /// In words: a file, or a variable.
    pub place: String,
    /// All of it, with white space round it.
    pub text: &'a str,
}

/// What is so in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was found, heaviest first.
    pub findings: Vec<Finding>,
    /// What each SDK would do.
    pub sdks: Vec<Verdict>,
}

/// Variables of Microsoft's own identity library and of AKS.
const AZURE: [&str; 4] =
    ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE"];

/// The audience of tokens for Entra.
const FOR_ENTRA: &str = "api://AzureADTokenExchange";

/// The only algorithms that Databricks takes of a subject token ("Configure a federation policy").
const ALGORITHMS: [&str; 2] = ["RS256", "ES256"];

/// What can be told of this environment, and of the subject token where there is one.
#[must_use]
pub fn check(
    env: &Env,
    subject: Option<&Subject<'_>>,
    expected: &Expected,
    machine: &Machine<'_>,
    now: Timestamp,
) -> Report {
    let sdks: Vec<Verdict> = Sdk::ALL.into_iter().map(|sdk| sdk.verdict(env, machine)).collect();
    let mut found = Found(Vec::new());
    found.of_environment(env, machine, &sdks);
    match subject {
        Some(subject) => found.of_subject(subject, expected, now),
        None if sdks.iter().any(|verdict| verdict.auth_type.is_none_or(wants_subject)) => found.add(
            Weight::Subject,
            "subject-missing",
            "there is no subject token: neither a variable nor a file of this environment holds one",
            Some("mount a projected service account token, and name it with `--token-file`"),
        ),
        None => {}
    }
    found.0.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    Report { findings: found.0, sdks }
}

fn wants_subject(way: &str) -> bool {
    matches!(way, "env-oidc" | "file-oidc")
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, weight: Weight, code: &'static str, what: &str, mend: Option<&str>) {
        self.0.push(Finding { weight, code, what: what.to_owned(), mend: mend.map(str::to_owned) });
    }

    fn of_environment(&mut self, env: &Env, machine: &Machine<'_>, sdks: &[Verdict]) {
        let somebody_fails = sdks.iter().any(|verdict| verdict.auth_type.is_none());
        let azure: Vec<&str> = AZURE.into_iter().filter(|name| env.filled(name).is_some()).collect();
        if !azure.is_empty() {
            let weight = if somebody_fails { Weight::Environment } else { Weight::Note };
            let what = format!("no SDK of Databricks reads {}", listed(&azure));
            let mend = "they are for azure-identity; Databricks' own are DATABRICKS_HOST, DATABRICKS_CLIENT_ID and \
                        DATABRICKS_AUTH_TYPE";
            self.add(weight, "azure-variables", &what, Some(mend));
        }
        match env.filled("DATABRICKS_HOST") {
            None => self.add(
                Weight::Environment,
                "host-missing",
                "DATABRICKS_HOST is not set",
                Some("set it to the address of the workspace, as `https://dbc-1.cloud.databricks.com`"),
            ),
            Some(host) if Host::parse(host).is_none() => {
                let what = format!("DATABRICKS_HOST is `{}`, which is no host", printable(host));
                self.add(Weight::Environment, "host-malformed", &what, None);
            }
            Some(_) => {}
        }
        let asked = env.filled("DATABRICKS_AUTH_TYPE");
        if asked == Some("env-oidc") || env.filled("DATABRICKS_OIDC_TOKEN_ENV").is_some() {
            self.of_env_oidc(env);
        }
        self.of_files(env, machine, asked);
        let federates = asked.is_some_and(wants_subject)
            || sdks.iter().any(|verdict| verdict.auth_type.is_some_and(wants_subject));
        if federates && env.filled("DATABRICKS_CLIENT_ID").is_none() {
            self.add(
                Weight::Environment,
                "client-id-missing",
                "DATABRICKS_CLIENT_ID is not set: the exchange asks for account-wide federation, which takes no \
                 service account of Kubernetes",
                Some("set it to the application id of the service principal that has the federation policy"),
            );
        }
        for refusal in sdks.iter().filter_map(|verdict| verdict.failure.as_ref()) {
            let is_first = self.0.iter().all(|finding| finding.code != "two-ways");
            if is_first && refusal.starts_with("more than one") {
                let what = format!("an SDK will say: {refusal}");
                let mend = "set DATABRICKS_AUTH_TYPE to the one that is meant";
                self.add(Weight::Environment, "two-ways", &what, Some(mend));
            }
        }
        let mut ways: Vec<&str> = sdks.iter().filter_map(|verdict| verdict.auth_type).collect();
        ways.sort_unstable();
        ways.dedup();
        if ways.len() > 1 {
            let what = format!("the SDKs log in differently, perhaps as somebody else: {}", listed(&ways));
            let mend = "set DATABRICKS_AUTH_TYPE to the one that is meant";
            self.add(Weight::Note, "sdks-differ", &what, Some(mend));
        }
    }

    fn of_env_oidc(&mut self, env: &Env) {
        let name = env_token_variable(env);
        match env.filled(name) {
            None => {
                let what = format!(
                    "`env-oidc` takes the token itself from {}, which is not set; Python says so at level DEBUG \
                     alone, and then \"cannot configure default credentials\"",
                    printable(name)
                );
                self.add(
                    Weight::Environment,
                    "env-token-missing",
                    &what,
                    Some("kubectl-vaulttoken exec -- PROGRAM gives the program its tokens for as long as it runs"),
                );
            }
            Some(value) if value.starts_with(['/', '.', '~']) => {
                let what = format!("{} holds a path, and `env-oidc` wants the token itself", printable(name));
                let mend = "use `file-oidc`, with the path in DATABRICKS_OIDC_TOKEN_FILEPATH and _FILE";
                self.add(Weight::Environment, "env-token-is-path", &what, Some(mend));
            }
            Some(_) => self.add(
                Weight::Note,
                "env-token-ages",
                "a variable of a running program never changes: the program can log in until its token ends",
                Some("kubectl-vaulttoken exec -- PROGRAM"),
            ),
        }
    }

    fn of_files(&mut self, env: &Env, machine: &Machine<'_>, asked: Option<&str>) {
        let (file, path) =
            (env.filled("DATABRICKS_OIDC_TOKEN_FILE"), env.filled("DATABRICKS_OIDC_TOKEN_FILEPATH"));
        let blind = match (file, path) {
            (None, None) => {
                if asked == Some("file-oidc") {
                    let what = "`file-oidc` is asked for, and neither DATABRICKS_OIDC_TOKEN_FILEPATH nor \
                                DATABRICKS_OIDC_TOKEN_FILE is set";
                    self.add(
                        Weight::Environment,
                        "token-file-unset",
                        what,
                        Some("set both to the token's file"),
                    );
                }
                return;
            }
            (Some(file), Some(path)) if file != path => {
                let what = "DATABRICKS_OIDC_TOKEN_FILEPATH and DATABRICKS_OIDC_TOKEN_FILE name two files";
                self.add(
                    Weight::Environment,
                    "token-files-differ",
                    what,
                    Some("set both to the token's file"),
                );
                None
            }
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some("Python before 0.103.0 reads DATABRICKS_OIDC_TOKEN_FILE alone"),
            (Some(_), None) => Some("the SDK for Go reads DATABRICKS_OIDC_TOKEN_FILEPATH alone"),
        };
        if let Some(what) = blind {
            self.add(Weight::Note, "token-file-variable", what, Some("set both variables"));
        }
        for path in [file, path].into_iter().flatten().filter(|path| !(machine.has_file)(path)) {
            let what = format!("`{}` cannot be read, or is empty", printable(path));
            self.add(Weight::Subject, "token-file-unreadable", &what, None);
        }
    }

    fn of_subject(&mut self, subject: &Subject<'_>, expected: &Expected, now: Timestamp) {
        let place = printable(&subject.place);
        let text = subject.text.trim();
        let Some(claims) = Claims::read(text) else {
            let what =
                format!("{place} holds no JWT: three parts of base64url with dots between are expected");
            return self.add(Weight::Subject, "subject-malformed", &what, None);
        };
        if text.len() != subject.text.len() {
            let what = format!("{place} has white space round the token, which the SDK for Go sends along");
            self.add(Weight::Note, "subject-white-space", &what, Some("write it without a line break"));
        }
        if let Some(algorithm) = algorithm(text).filter(|name| !ALGORITHMS.contains(&name.as_str())) {
            let what = format!(
                "{place} is signed with `{}`, and Databricks takes RS256 and ES256 alone",
                printable(&algorithm)
            );
            self.add(Weight::Subject, "subject-algorithm", &what, None);
        }
        match claims.expires_at {
            Some(end) if end <= now => {
                let what = format!("{place} ended at {}", end.format("%Y-%m-%d %H:%M:%SZ"));
                self.add(
                    Weight::Subject,
                    "subject-dead",
                    &what,
                    Some("read it anew: kubelet replaces it in time"),
                );
            }
            Some(end) => {
                let what = format!(
                    "{place} lives until {}; no token of Databricks that comes of it lives longer",
                    end.format("%Y-%m-%d %H:%M:%SZ")
                );
                self.add(Weight::Note, "subject-lifetime", &what, None);
            }
            None => {}
        }
        self.of_claims(&place, &claims, expected);
    }

    fn of_claims(&mut self, place: &str, claims: &Claims, expected: &Expected) {
        let issuer = claims.issuer.as_deref().unwrap_or_default();
        match &expected.issuer {
            Some(wanted) if wanted == issuer => {}
            Some(wanted) => {
                let only_slash = wanted.trim_end_matches('/') == issuer.trim_end_matches('/');
                let why = if only_slash {
                    ": only the slash at the end differs, and it counts"
                } else if wanted.eq_ignore_ascii_case(issuer) {
                    ": only upper and lower case differ, and they count"
                } else {
                    ""
                };
                let what = format!(
                    "{place} is of issuer `{}`, the policy of `{}`{why}",
                    printable(issuer),
                    printable(wanted)
                );
                let mend = "kubectl-vaulttoken federation policy prints the policy for the cluster as it is";
                self.add(Weight::Subject, "issuer", &what, Some(mend));
            }
            None => {
                let decision = Decision::about(issuer);
                let keys = match decision.keys {
                    Keys::Inline => "and hold the keys in `jwks_json`, for",
                    Keys::OfIssuer => "and can leave the keys to the issuer:",
                };
                let what = format!(
                    "the policy must have issuer `{}`, byte for byte, {keys} {}",
                    printable(issuer),
                    printable(&decision.why)
                );
                self.add(Weight::Note, "issuer-needed", &what, None);
            }
        }
        let audiences: Vec<&str> = claims.audiences.iter().map(String::as_str).collect();
        if !expected.audiences.is_empty()
            && !expected.audiences.iter().any(|one| claims.audiences.contains(one))
        {
            let wanted: Vec<&str> = expected.audiences.iter().map(String::as_str).collect();
            let what =
                format!("{place} is for audience {}, the policy for {}", listed(&audiences), listed(&wanted));
            let mend =
                "project the token with `audience:` set to the policy's, or put the token's into the policy";
            self.add(Weight::Subject, "audience", &what, Some(mend));
        } else if audiences.contains(&FOR_ENTRA) {
            let weight = if expected.audiences.is_empty() { Weight::Subject } else { Weight::Note };
            let what = format!(
                "{place} is for audience `{FOR_ENTRA}`: for Entra, and no policy of Databricks that names another \
                 audience takes it"
            );
            let mend = "project a second token with Databricks' audience, or let the policy name this one";
            self.add(weight, "audience-of-entra", &what, Some(mend));
        } else if expected.audiences.is_empty() {
            let what = format!(
                "the policy must name audience {}; a policy that names none wants the account's id",
                listed(&audiences)
            );
            self.add(Weight::Note, "audience-needed", &what, None);
        }
        let subject = claims.subject.as_deref().unwrap_or_default();
        match &expected.subject {
            Some(wanted) if wanted == subject => {}
            Some(wanted) => {
                let why = if wanted.eq_ignore_ascii_case(subject) {
                    ": only upper and lower case differ"
                } else {
                    ""
                };
                let what = format!(
                    "{place} is of `{}`, the policy of `{}`{why}",
                    printable(subject),
                    printable(wanted)
                );
                self.add(Weight::Subject, "subject", &what, None);
            }
            None => {
                let what = format!("the policy must have subject `{}`", printable(subject));
                self.add(Weight::Note, "subject-needed", &what, None);
            }
        }
    }
}

fn listed(words: &[&str]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    words.iter().map(|word| format!("`{}`", printable(word))).collect::<Vec<_>>().join(", ")
}

/// `alg` of the header (RFC 7515, 4.1.1).
fn algorithm(token: &str) -> Option<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header.get("alg")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn token(algorithm: &str, claims: &serde_json::Value) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&serde_json::json!({"alg": algorithm})), part(claims))
    }

    fn good() -> serde_json::Value {
        serde_json::json!({
            "iss": "https://issuer.example/", "aud": ["account"], "exp": 1_800_003_600,
            "sub": "system:serviceaccount:team-a:reporter",
        })
    }

    fn expected() -> Expected {
        Expected {
            issuer: Some("https://issuer.example/".into()),
            audiences: vec!["account".into()],
            subject: Some("system:serviceaccount:team-a:reporter".into()),
        }
    }

    fn report(pairs: &[(&str, &str)], token: Option<&str>, expected: &Expected) -> Report {
        let env = Env::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let machine = Machine { has_file: &|path| path == "/token", has_program: &|_| false };
        let subject = token.map(|text| Subject { place: "`/token`".into(), text });
        check(&env, subject.as_ref(), expected, &machine, now())
    }

    fn codes(report: &Report, least: Weight) -> Vec<&'static str> {
        report.findings.iter().filter(|finding| finding.weight >= least).map(|finding| finding.code).collect()
    }

    const ENV_OIDC: [(&str, &str); 4] = [
        ("DATABRICKS_HOST", "https://dbc-1.example"),
        ("DATABRICKS_CLIENT_ID", "7f"),
        ("DATABRICKS_AUTH_TYPE", "env-oidc"),
        ("DATABRICKS_OIDC_TOKEN", "t"),
    ];

    #[test]
    fn the_environment_of_the_published_question_has_each_of_its_causes_named() {
        let question = [
            ("AZURE_CLIENT_ID", "a"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
            ("DATABRICKS_HOST", "https://adb-1.azuredatabricks.net"),
            ("DATABRICKS_AUTH_TYPE", "env-oidc"),
        ];
        let mut claims = good();
        claims["aud"] = serde_json::json!(FOR_ENTRA);
        claims["iss"] = serde_json::json!("https://kubernetes.default.svc");
        let report = report(&question, Some(&token("RS256", &claims)), &Expected::default());
        assert_eq!(
            codes(&report, Weight::Environment),
            ["audience-of-entra", "azure-variables", "env-token-missing", "client-id-missing"]
        );
        assert!(report.sdks.iter().all(|verdict| verdict.auth_type.is_none()));
        let issuer = report.findings.iter().find(|finding| finding.code == "issuer-needed").unwrap();
        assert!(issuer.what.contains("hold the keys in `jwks_json`"), "{}", issuer.what);
    }

    #[test]
    fn what_is_right_has_notes_alone() {
        let report = report(&ENV_OIDC, Some(&token("RS256", &good())), &expected());
        assert_eq!(codes(&report, Weight::Environment), [""; 0]);
        assert!(report.sdks.iter().all(|verdict| verdict.auth_type == Some("env-oidc")));
    }

    #[test]
    fn each_claim_that_no_policy_can_match_is_named() {
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = good();
            claims[name] = value;
            token("RS256", &claims)
        };
        for (token, code, words) in [
            (with("iss", "https://issuer.example".into()), "issuer", "only the slash at the end differs"),
            (with("iss", "https://Issuer.example/".into()), "issuer", "only upper and lower case differ"),
            (with("iss", "https://other".into()), "issuer", "is of issuer `https://other`"),
            (with("aud", "other".into()), "audience", "is for audience `other`, the policy for `account`"),
            (
                with("sub", "system:serviceaccount:Team-A:reporter".into()),
                "subject",
                "only upper and lower case",
            ),
            (with("exp", 1_799_999_999.into()), "subject-dead", "ended at 2027-01-15 07:59:59Z"),
            (token("HS256", &good()), "subject-algorithm", "RS256 and ES256 alone"),
            ("not.a".to_owned(), "subject-malformed", "holds no JWT"),
        ] {
            let report = report(&ENV_OIDC, Some(&token), &expected());
            assert_eq!(codes(&report, Weight::Environment), [code], "{report:?}");
            assert!(report.findings[0].what.contains(words), "{}", report.findings[0].what);
        }
        let line_break = format!("{}\n", token("RS256", &good()));
        assert!(
            codes(&report(&ENV_OIDC, Some(&line_break), &expected()), Weight::Note)
                .contains(&"subject-white-space")
        );
        let none = report(&ENV_OIDC, None, &expected());
        assert_eq!(codes(&none, Weight::Environment), ["subject-missing"]);
    }

    #[test]
    fn what_is_set_for_one_sdk_alone_or_for_two_ways_is_named() {
        let file = [
            ("DATABRICKS_HOST", "https://dbc-1.example"),
            ("DATABRICKS_CLIENT_ID", "7f"),
            ("DATABRICKS_OIDC_TOKEN_FILEPATH", "/token"),
        ];
        let good = token("RS256", &good());
        let of = |more: &[(&str, &str)]| report(&[file.as_slice(), more].concat(), Some(&good), &expected());
        assert_eq!(codes(&of(&[]), Weight::Environment), ["two-ways"]);
        assert!(codes(&of(&[]), Weight::Note).contains(&"token-file-variable"));
        let asked = ("DATABRICKS_AUTH_TYPE", "file-oidc");
        assert_eq!(codes(&of(&[asked]), Weight::Environment), [""; 0]);
        let two = of(&[asked, ("DATABRICKS_OIDC_TOKEN_FILE", "/gone")]);
        assert_eq!(codes(&two, Weight::Environment), ["token-file-unreadable", "token-files-differ"]);
        let path = [
            ("DATABRICKS_HOST", "dbc"),
            ("DATABRICKS_CLIENT_ID", "7f"),
            ("DATABRICKS_AUTH_TYPE", "env-oidc"),
        ];
        let path = [path.as_slice(), &[("DATABRICKS_OIDC_TOKEN", "/var/run/token")]].concat();
        assert!(
            codes(&report(&path, Some(&good), &expected()), Weight::Environment)
                .contains(&"env-token-is-path")
        );
    }

    #[test]
    fn what_an_exchange_needs_and_what_a_policy_must_say_is_named() {
        let good = token("RS256", &good());
        let all = |pairs: &[(&str, &str)], expected: &Expected| {
            codes(&report(pairs, Some(&good), expected), Weight::Note)
        };
        let bare = all(&[("DATABRICKS_AUTH_TYPE", "file-oidc")], &expected());
        assert!(
            ["host-missing", "client-id-missing", "token-file-unset"].iter().all(|code| bare.contains(code))
        );
        let malformed = [("DATABRICKS_HOST", "ftp://dbc-1.example")];
        assert!(all(&malformed, &expected()).contains(&"host-malformed"));
        let notes = all(&ENV_OIDC, &Expected::default());
        for code in
            ["env-token-ages", "subject-lifetime", "issuer-needed", "audience-needed", "subject-needed"]
        {
            assert!(notes.contains(&code), "{code}: {notes:?}");
        }
    }

    #[test]
    fn a_machine_on_which_the_sdks_are_two_people_is_told() {
        let pairs = [
            ("DATABRICKS_HOST", "https://dbc-1.example"),
            ("DATABRICKS_CLIENT_ID", "7f"),
            ("DATABRICKS_OIDC_TOKEN", "t"),
        ];
        let env = Env::of(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        // Go asks the Databricks CLI before the variable, Python after it.
        let machine = Machine { has_file: &|_| false, has_program: &|_| true };
        let report = check(&env, None, &expected(), &machine, now());
        let found = report.findings.iter().find(|finding| finding.code == "sdks-differ");
        assert!(
            found.is_some_and(|finding| finding.what.contains("`databricks-cli`, `env-oidc`")),
            "{report:?}"
        );
    }
}
