//! Everything that is refused, with its exact words: each folder of `tests/cases` is one test, with
//! the answers of a scripted Vault, the command, and all that may come of it.
//!
//! `case.yaml` says what is so (see `Case`), `stdout` and `stderr` hold the whole text that is
//! expected (none: nothing), with words in capitals for what differs from run to run. `SNAPSHOTS=overwrite` writes
//! them anew. Every word that holds `s3cret` is searched for afterwards wherever nothing secret belongs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::home::{Home, PLUGIN, Run};
use crate::rig::{Authority, Double, Issuer, Reply, Seen, poll};

/// One test per folder, and one that finds folders without a test.
macro_rules! cases {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_folder_is_a_test() {
            let named: BTreeSet<String> = [$(stringify!($name).replace('_', "-")),*].into();
            let folders = fs::read_dir(folder()).unwrap();
            let found: BTreeSet<String> =
                folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(named, found);
        }
    };
}

cases! {
    account_missing
    answer_binary
    answer_cut_off
    answer_empty
    answer_for_another_namespace
    answer_huge
    answer_of_another_protocol
    answer_of_another_shape
    answer_page
    answer_truncated
    answer_without_data
    client_may_not_login
    client_may_not_logout
    client_may_not_refresh
    client_may_not_status
    client_may_not_token
    client_may_not_trust
    cluster_authority_broken
    cluster_is_another
    cluster_not_said
    cluster_server_with_escape_sequences
    cluster_without_verification
    config_path_with_escape_sequences
    content_type_with_escape_sequences
    document_cluster_with_escape_sequences
    document_deleted
    document_destroyed
    document_missing
    document_of_another_cluster
    document_of_another_server
    document_of_another_team
    document_with_another_type
    document_with_dead_token
    document_with_wrong_time
    document_without_a_team
    document_without_the_field
    engine_cannot_reach_its_cluster
    environment_makes_no_sense
    exec_info_not_json
    exec_info_of_another_kind
    exec_info_of_unknown_version
    exec_version_unknown
    extension_naming_a_vault
    extension_with_escape_sequences
    flag_with_escape_sequences
    flag_with_forged_line
    identity_token_that_is_none
    interrupted
    lease_shorter_than_token
    lifetime_shortened
    lifetime_too_short
    login_answer_without_session
    login_by_a_person_required
    login_file_missing
    login_refused
    login_required
    memory_unguarded
    mount_missing
    namespace_needed
    namespace_not_allowed
    namespace_with_escape_sequences
    no_keyring
    pin_authority_missing
    policy_missing
    profile_not_named
    profile_unknown
    profile_with_escape_sequences
    redirect_into_clear
    redirect_into_nothing
    redirect_with_escape_sequences
    refused_in_unknown_words
    role_missing
    role_with_escape_sequences
    server_field_names_with_escape_sequences
    server_message_with_escape_sequences
    session_dead
    session_shorter_than_token
    session_with_line_break
    settings_absent
    settings_missing
    settings_not_yaml
    settings_of_another_kind
    settings_with_escape_sequences
    settings_with_secret
    settings_with_unknown_field
    settings_with_unknown_vault
    subcommand_with_forged_line
    subject_dead
    subject_empty
    subject_for_another_audience
    subject_malformed
    subject_missing
    subject_of_no_job
    subject_variable_dead
    subject_variable_missing
    terminated
    token_dead
    token_empty
    token_opaque
    token_with_escape_sequence
    token_with_line_break_at_its_end
    token_with_line_break_inside
    token_without_end
    trust_without_context
    usage_bad_duration
    usage_bad_lifetime
    usage_flag_without_effect
    usage_unknown_command
    usage_unknown_flag
    variable_with_escape_sequences
    vault_address_with_escape_sequences
    vault_behind_broken_balancer
    vault_breaks_off
    vault_busy
    vault_hangs
    vault_in_clear
    vault_name_unknown
    vault_namespace_unknown
    vault_not_reachable
    vault_of_a_flag
    vault_sealed
    vault_with_expired_certificate
    vault_with_foreign_authority
    vault_without_leader
}

#[test]
fn every_exit_code_has_a_case() {
    let code = |entry: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.unwrap().path().join("case.yaml")).unwrap();
        let case: Value = serde_saphyr::from_str(&text).unwrap();
        case["exit"].as_i64().unwrap()
    };
    let found: BTreeSet<i64> = fs::read_dir(folder()).unwrap().map(code).collect();
    // A fault of ours is `secrets::standard_output_that_takes_nothing_…`.
    assert_eq!(found, BTreeSet::from([0, 2, 3, 4, 5, 6, 7, 8, 130, 143]));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// What `case.yaml` says. In every text `<vault>` is the address of the scripted Vault, `<other>`
/// that of a second one, `<ca>` and `<other ca>` the files of their authorities, `<ca data>` the
/// first one in base64, `<home>` the home, `<time N>` a moment N seconds from now, and `<token N>`
/// a JWT that ends then (`<token>`: one that never ends). Beside these fields `certificate` says
/// whose the Vault shows: `expired`, or `foreign`; else one of `<ca>`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// What it is about, for the reader.
    why: String,
    /// The whole settings; else those of [`settings`] with `auth` and `source` put in.
    settings: Option<Value>,
    /// The settings file as it stands, where it is not even YAML.
    settings_text: Option<String>,
    auth: Option<Value>,
    source: Option<Value>,
    /// Further fields of the profile `prod`.
    #[serde(default)]
    profile: Map<String, Value>,
    /// Variables; null removes one.
    #[serde(default)]
    environment: Map<String, Value>,
    /// Further files of the home.
    #[serde(default)]
    files: Map<String, Value>,
    /// `KUBERNETES_EXEC_INFO`: a text, or an object.
    exec_info: Option<Value>,
    /// By method and path (`POST /v1/…`), what the Vault answers; `*` is any other request. A list
    /// is answered in turn, its last item for ever.
    #[serde(default)]
    answers: Map<String, Value>,
    /// The same for the second Vault.
    #[serde(default)]
    other_answers: Map<String, Value>,
    /// Commands that come before and must succeed.
    #[serde(default)]
    before: Vec<Vec<String>>,
    /// What is typed.
    run: Vec<String>,
    /// `INT` or `TERM`, sent as soon as the Vault was asked.
    signal: Option<String>,
    /// Where the system gives no keyring.
    #[serde(default)]
    without_keyring: bool,
    exit: i32,
    /// What the Vault was asked, by all commands together, where that matters.
    asked: Option<Vec<String>>,
}

fn check(name: &str) {
    let folder = folder().join(name.replace('_', "-"));
    let text = fs::read_to_string(folder.join("case.yaml")).unwrap();
    let (ours, theirs) = (Authority::new("corp"), Authority::new("elsewhere"));
    let words = Words::new(&ours, &theirs);
    let mut case: Value = serde_saphyr::from_str(&text).unwrap();
    // The answers hold addresses too, so the servers come first and learn their answers later.
    let answers = Arc::new(std::sync::OnceLock::new());
    let certificate =
        match case.as_object_mut().unwrap().remove("certificate").as_ref().and_then(Value::as_str) {
            Some("expired") => ours.expired_server(&[]),
            Some("foreign") => theirs.server(&[]),
            None => ours.server(&[]),
            Some(other) => panic!("no such certificate: {other}"),
        };
    let script = |at: usize| {
        let (answers, served) = (Arc::clone(&answers), std::sync::Mutex::new(Map::new()));
        move |request: &Seen| {
            let both: &[Map<String, Value>; 2] = answers.get().unwrap();
            answer(&both[at], request, &mut served.lock().unwrap())
        }
    };
    let vault = Double::https_with(&certificate, script(0));
    let other = Double::https(&theirs, &[], script(1));
    let home = Home::new();
    words.fill(&mut case, &home, &vault, &other);
    let case: Case = serde_json::from_value(case).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!case.why.is_empty());
    answers.set([with_session(case.answers.clone()), case.other_answers.clone()]).unwrap();

    set_up(&case, &home, &vault, &ours);
    plant(&case, &text, &home, &words);
    for arguments in &case.before {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        home.run(&arguments).succeeded();
    }
    let run = run(&case, &home, &vault);
    let shown = |text: &str| words.hide(text, &home, &vault, &other);
    for (text, file) in [(&run.stderr, "stderr"), (&run.stdout, "stdout")] {
        let expected = folder.join(file);
        if expected.exists() || !text.is_empty() {
            let expected = snapbox::Data::read_from(&expected, Some(snapbox::data::DataFormat::Text));
            let action = snapbox::assert::DEFAULT_ACTION_ENV;
            snapbox::Assert::new().action_env(action).eq(shown(text), expected);
        }
    }
    assert_eq!(run.code, case.exit, "{}", run.stderr);
    assert!(!run.stderr.chars().any(|character| character.is_control() && character != '\n'), "{run:?}");
    if case.exit != 0 {
        assert_eq!(run.stdout, "", "nothing on standard output but a credential");
    }
    if let Some(asked) = &case.asked {
        let seen: Vec<_> =
            vault.seen().iter().map(|request| format!("{} {}", request.method, request.path)).collect();
        assert_eq!(seen, *asked);
    }
    // A server of nobody's settings is never told anything.
    if !text.contains("<other>") {
        assert!(other.seen().is_empty());
    }
}

/// The settings that most cases share: one Vault, one profile.
fn settings(case: &Case, vault: &Double, ours: &Authority) -> Value {
    let mut corp = json!({"address": vault.address, "certificateAuthority": ours.file});
    if let Some(auth) = &case.auth {
        corp["auth"] = auth.clone();
    }
    let source = json!({"vaultKubernetes": {"vault": "corp", "mount": "kubernetes", "role": "reader"}});
    let mut prod = json!({"source": case.source.as_ref().unwrap_or(&source)});
    prod.as_object_mut().unwrap().extend(case.profile.clone());
    json!({"vaults": {"corp": corp}, "profiles": {"prod": prod}})
}

fn set_up(case: &Case, home: &Home, vault: &Double, ours: &Authority) {
    match (&case.settings_text, &case.settings) {
        (Some(text), _) if text.contains("s3cret") => {
            home.write_secret(".config/vaulttoken/config.yaml", text);
        }
        (Some(text), _) => {
            home.write(".config/vaulttoken/config.yaml", text);
        }
        (None, Some(whole)) => {
            home.settings(whole);
        }
        (None, None) => {
            home.settings(&settings(case, vault, ours));
        }
    }
    home.set("VAULT_TOKEN", "hvs.s3cret-session");
    home.plant("hvs.s3cret-session");
    // What passes within seconds is another test's; here nobody waits for it.
    home.set("VAULT_MAX_RETRIES", "0");
    for (name, value) in &case.environment {
        match value {
            Value::Null => home.unset(name),
            other => home.set(name, other.as_str().unwrap()),
        };
    }
    for (name, content) in &case.files {
        let content = content.as_str().unwrap();
        let is_given = content.contains("s3cret") || content.contains("eyJ");
        if is_given {
            home.write_secret(name, content)
        } else {
            home.write(name, content)
        };
    }
    if let Some(info) = &case.exec_info {
        let text = info.as_str().map_or_else(|| info.to_string(), str::to_owned);
        home.set("KUBERNETES_EXEC_INFO", &text);
    }
}

fn plant(case: &Case, text: &str, home: &Home, words: &Words) {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    for word in text.split(|character| !is_part(character)).filter(|word| word.contains("s3cret")) {
        home.plant(word);
    }
    // A JWT that is the answer to the very command is printed on purpose; `Home` sees to that one.
    for token in words.tokens.borrow().iter().filter(|_| case.exit != 0) {
        home.plant(token);
    }
}

fn run(case: &Case, home: &Home, vault: &Double) -> Run {
    let arguments: Vec<&str> = case.run.iter().map(String::as_str).collect();
    if let Some(signal) = &case.signal {
        return run_until_signal(home, &arguments, vault, signal);
    }
    if case.without_keyring {
        let whole = [&["-e", DENY_KEYRINGS, PLUGIN], arguments.as_slice()].concat();
        return home.run_program("/usr/bin/perl", &whole);
    }
    home.run(&arguments)
}

/// Sends a signal to the plugin itself, as a terminal or an init system does.
fn run_until_signal(home: &Home, arguments: &[&str], vault: &Double, signal: &str) -> Run {
    let mut command = Command::new(PLUGIN);
    home.prepare(&mut command);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    poll("a request", Duration::from_secs(30), || (!vault.seen().is_empty()).then_some(()));
    let signal = if signal == "INT" { Signal::INT } else { Signal::TERM };
    kill_process(Pid::from_child(&child), signal).unwrap();
    home.finished(&child.wait_with_output().unwrap())
}

/// Runs what follows where the kernel refuses its keyring, as the seccomp profiles of container
/// runtimes do: a filter that answers EPERM to `add_key`, `request_key` and `keyctl`.
pub const DENY_KEYRINGS: &str = r"
    my ($prctl, @denied) = `uname -m` =~ /aarch64/ ? (167, 217, 218, 219) : (157, 248, 249, 250);
    my $filter = pack('SCCL', 0x20, 0, 0, 0);
    for my $at (0..2) { $filter .= pack('SCCL', 0x15, 3 - $at, 0, $denied[$at]) }
    $filter .= pack('SCCL', 0x06, 0, 0, 0x7fff0000) . pack('SCCL', 0x06, 0, 0, 0x00050001);
    my $program = pack('S x6 P', 6, $filter);
    syscall($prctl, 38, 1, 0, 0, 0) == 0 or die 'no_new_privs';
    syscall($prctl, 22, 2, $program) == 0 or die 'seccomp';
    exec @ARGV or die 'exec';
";

/// The answers, with a session that is good unless the case says something else.
fn with_session(mut answers: Map<String, Value>) -> Map<String, Value> {
    let lookup = json!({"json": {"data": {
        "accessor": "a", "display_name": "token", "entity_id": "", "expire_time": moment(36_000),
        "policies": ["default"], "renewable": true, "ttl": 36_000, "type": "service",
    }}});
    if !answers.contains_key("*") {
        answers.entry("GET /v1/auth/token/lookup-self").or_insert(lookup);
    }
    answers
}

fn answer(answers: &Map<String, Value>, request: &Seen, served: &mut Map<String, Value>) -> Reply {
    let line = format!("{} {}", request.method, request.path);
    let found = answers.get_key_value(&line).or_else(|| answers.get_key_value("*"));
    let Some((key, found)) = found else { return Reply::json(404, &json!({"errors": []})) };
    let count = served.entry(key.clone()).or_insert(json!(0));
    let at = usize::try_from(count.as_u64().unwrap()).unwrap();
    *count = json!(at + 1);
    reply(match found.as_array() {
        Some(list) => &list[at.min(list.len() - 1)],
        None => found,
    })
}

/// `status` (200), with `json`, `text` and its `type`, or `bytes` of zeros; `headers`; or `raw`,
/// `hung: true`, `lost: true`.
fn reply(answer: &Value) -> Reply {
    if answer["hung"] == true {
        return Reply::Hung;
    }
    if answer["lost"] == true {
        return Reply::Lost;
    }
    if let Some(raw) = answer["raw"].as_str() {
        return Reply::Raw(raw.replace('\n', "\r\n").into_bytes());
    }
    let status = answer["status"].as_u64().map_or(200, |status| u16::try_from(status).unwrap());
    let kind = answer["type"].as_str().unwrap_or("text/html");
    let mut reply = match (&answer["json"], answer["text"].as_str(), answer["bytes"].as_u64()) {
        (Value::Null, Some(text), _) => Reply::text(status, kind, text),
        (Value::Null, None, Some(count)) => {
            let body = vec![0; usize::try_from(count).unwrap()];
            Reply::Answer { status, headers: vec![("Content-Type".into(), kind.into())], body }
        }
        (Value::Null, None, None) => Reply::text(status, "application/json", ""),
        (body, ..) => Reply::json(status, body),
    };
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        reply = reply.with_header(name, value.as_str().unwrap());
    }
    reply
}

/// What stands in angle brackets in a case, and in capitals in what it expects.
struct Words {
    issuer: Issuer,
    authority_files: [String; 2],
    authority_data: String,
    tokens: std::cell::RefCell<BTreeSet<String>>,
}

impl Words {
    fn new(ours: &Authority, theirs: &Authority) -> Self {
        use base64::Engine as _;
        let data = base64::engine::general_purpose::STANDARD.encode(&ours.pem);
        Self {
            issuer: Issuer::new(),
            authority_files: [&ours.file, &theirs.file].map(|file| file.display().to_string()),
            authority_data: data,
            tokens: std::cell::RefCell::default(),
        }
    }

    fn token(&self, seconds: Option<i64>) -> String {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({"iss": "https://s3cret.example", "sub": "system:serviceaccount:team:reader"});
        if let Some(seconds) = seconds {
            claims["exp"] = json!(now + seconds);
            claims["iat"] = json!(now.min(now + seconds - 60));
        }
        let token = self.issuer.sign(&claims);
        self.tokens.borrow_mut().insert(token.clone());
        token
    }

    /// Fills in every text of the case.
    fn fill(&self, value: &mut Value, home: &Home, vault: &Double, other: &Double) {
        match value {
            Value::String(text) => *text = self.filled(text, home, vault, other),
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item, home, vault, other)),
            Value::Object(fields) => {
                fields.values_mut().for_each(|field| self.fill(field, home, vault, other));
            }
            _ => {}
        }
    }

    fn filled(&self, text: &str, home: &Home, vault: &Double, other: &Double) -> String {
        let mut text = text
            .replace("<vault>", &vault.address)
            .replace("<other>", &other.address)
            .replace("<ca>", &self.authority_files[0])
            .replace("<other ca>", &self.authority_files[1])
            .replace("<ca data>", &self.authority_data)
            .replace("<home>", home.path("").display().to_string().trim_end_matches('/'))
            .replace("<token>", &self.token(None));
        for (word, make) in [("<token ", true), ("<time ", false)] {
            while let Some(begin) = text.find(word) {
                let end = begin + text[begin..].find('>').unwrap();
                let seconds: i64 = text[begin + word.len()..end].parse().unwrap();
                let made = if make { self.token(Some(seconds)) } else { moment(seconds) };
                text.replace_range(begin..=end, &made);
            }
        }
        text
    }

    /// Puts the words back.
    fn hide(&self, text: &str, home: &Home, vault: &Double, other: &Double) -> String {
        let mut text = text.to_owned();
        for token in &*self.tokens.borrow() {
            text = text.replace(token, "TOKEN");
        }
        for (double, name) in [(vault, "VAULT"), (other, "OTHER")] {
            let host = double.address.trim_start_matches("https://");
            text = text.replace(&double.address, name).replace(host, &format!("{name}-HOST"));
        }
        for (file, name) in self.authority_files.iter().zip(["CA-FILE", "OTHER-CA-FILE"]) {
            text = text.replace(file, name);
        }
        let home = home.path("").display().to_string();
        hide_times(&text.replace(home.trim_end_matches('/'), "HOME"))
    }
}

fn moment(seconds: i64) -> String {
    let moment = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Replaces every moment, in whichever way it is written.
fn hide_times(text: &str) -> String {
    let mut hidden = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20") {
        hidden.push_str(&rest[..at]);
        let length = moment_length(&rest[at..]);
        hidden.push_str(if length == 0 { &rest[at..at + 2] } else { "TIME" });
        rest = &rest[at + length.max(2)..];
    }
    hidden + rest
}

/// How many bytes of `2026-11-22T10:00:00.123Z` or `2026-11-22 10:00:00 UTC` stand here.
fn moment_length(text: &str) -> usize {
    let shape = "dddd-dd-dd?dd:dd:dd";
    let fits = |(wanted, found): (char, char)| match wanted {
        'd' => found.is_ascii_digit(),
        '?' => found == 'T' || found == ' ',
        other => other == found,
    };
    if text.chars().count() < shape.len() || !shape.chars().zip(text.chars()).all(fits) {
        return 0;
    }
    let rest = &text[shape.len()..];
    let fraction = rest.len() - rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()).len();
    let zone = [" UTC", "Z"].iter().find(|zone| rest[fraction..].starts_with(**zone));
    shape.len() + fraction + zone.map_or(0, |zone| zone.len())
}
