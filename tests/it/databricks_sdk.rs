//! Databricks' own SDKs, unmodified, with this program as the source of their tokens: through `serve`, in
//! the place of the Databricks CLI, and run by `exec`; the old one that people still meet, and today's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::federation::set_the_questions_environment;
use crate::home::{Home, PLUGIN, Run};
use crate::rig::{Authority, Databricks, Issuer, Policy, Sdk, python, tool};
use crate::serve::Serving;

const ISS: &str = "https://kubernetes.default.svc.cluster.local";
const SUBJECT: &str = "system:serviceaccount:team-a:reporter";
const SDKS: [Sdk; 2] = [Sdk::DatabricksOld, Sdk::Clouds];

/// A pod with a workspace that trusts its service account.
struct Lake {
    home: Home,
    workspace: Databricks,
}

impl Lake {
    fn new() -> Self {
        let (home, authority, issuer) = (Home::new(), Authority::new("lake"), Issuer::new());
        let workspace = Databricks::workspace(&authority);
        let policy = Policy {
            issuer: ISS.into(),
            audiences: Vec::new(),
            client_id: Some("7f".into()),
            subject: Some(SUBJECT.into()),
        };
        workspace.allow(&issuer, policy);
        let subject = issuer.token(SUBJECT, &workspace.account_id, &json!({"iss": ISS}));
        home.write_secret("subject", &subject);
        home.settings(&json!({
            "identities": {"pod": {"file": {"path": home.path("subject")}}},
            "profiles": {"lake": {"source": {"tokenExchange": {
                "preset": "databricks", "host": workspace.address, "identity": "pod", "clientId": "7f",
                "certificateAuthority": authority.file,
            }}}},
        }));
        // Where `requests` looks, and where Go does.
        for variable in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
            home.set(variable, authority.file.to_str().unwrap());
        }
        home.set("DATABRICKS_HOST", &workspace.address);
        Self { home, workspace }
    }

    fn python(&self, sdk: Sdk, program: &str) -> Run {
        self.home.run_program(python(sdk).to_str().unwrap(), &["-I", "-B", "-c", program])
    }

    /// Whom the workspace takes this for, by each SDK.
    fn is_known_by_each_sdk(&self) {
        for sdk in SDKS {
            assert_eq!(self.python(sdk, WHO).succeeded().stdout, "7f\n", "{sdk:?}");
        }
        assert_eq!(self.home.run_program(&go(), &["who"]).succeeded().stdout, "7f\n", "Go");
    }

    /// Each SDK sees that a token of a quarter of an hour lives about that long.
    fn lives_as_long_for_each_sdk(&self, zone: &str) {
        let is_right = |run: Run, sdk: &str| {
            let left: f64 = run.succeeded().stdout.trim().parse().unwrap();
            assert!((700.0..900.0).contains(&left), "{sdk} in `{zone}`: {left}");
        };
        for sdk in SDKS {
            is_right(self.python(sdk, LEFT), &format!("{sdk:?}"));
        }
        is_right(self.home.run_program(&go(), &["left"]), "Go");
    }

    /// A folder with a link `databricks` to the program.
    fn link(&self) -> String {
        let folder = self.home.path("bin");
        fs::create_dir_all(&folder).unwrap();
        let _ = symlink(PLUGIN, folder.join("databricks"));
        folder.display().to_string()
    }

    fn requests(&self) -> usize {
        self.workspace.grants().len()
    }
}

const WHO: &str = "
from databricks.sdk import WorkspaceClient
print(WorkspaceClient().current_user.me().user_name)
";

/// The program of `tests/rig/go/databricks`, which does the same through the SDK for Go.
fn go() -> String {
    tool("databricks-go").display().to_string()
}

/// How long the SDK believes that its token lives.
const LEFT: &str = "
import datetime
from databricks.sdk.core import Config
token = Config().oauth_token()
print((token.expiry - datetime.datetime.now(token.expiry.tzinfo)).total_seconds())
";

#[test]
fn the_metadata_service_is_believed_by_each_sdk_and_fetches_once_for_all() {
    let lake = Lake::new();
    let serving = Serving::start(&lake.home, &["-v"]);
    lake.home.set("DATABRICKS_METADATA_SERVICE_URL", &serving.url());
    lake.is_known_by_each_sdk();
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = || scope.spawn(|| serving.ask(&format!("{}/", lake.workspace.address)));
        let asking: Vec<_> = (0..50).map(|_| ask()).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let token = answers[0].1["access_token"].as_str().unwrap().to_owned();
    for (status, body) in &answers {
        assert_eq!(
            (*status, body["access_token"].as_str(), &body["token_type"]),
            (200, Some(token.as_str()), &json!("Bearer"))
        );
        assert!(body["expires_on"].is_u64(), "{body}");
    }
    assert_eq!(lake.requests(), 1);
    lake.home.plant(&token);
    let (code, said) = serving.end(&lake.home);
    assert_eq!(code, 143);
    assert!(
        said.contains("lake: a token for https://127.0.0.1:") && said.contains("was handed out"),
        "{said}"
    );
}

#[test]
fn each_sdk_believes_the_end_of_a_token_in_every_time_zone() {
    let lake = Lake::new();
    let folder = lake.link();
    lake.home.set("DATABRICKS_AUTH_TYPE", "databricks-cli");
    let cli = format!("{folder}/databricks");
    lake.home.set("DATABRICKS_CLI_PATH", &cli);
    for zone in ["UTC", "America/New_York", "Asia/Kathmandu", ""] {
        lake.home.set("TZ", zone);
        lake.lives_as_long_for_each_sdk(zone);
    }
    lake.is_known_by_each_sdk();
    // One that is found on PATH is called by the name that the link leads to.
    let path = format!("{folder}:/usr/bin:/bin");
    lake.home.unset("DATABRICKS_CLI_PATH").set("TZ", "Asia/Kathmandu").set("PATH", &path);
    lake.lives_as_long_for_each_sdk("Asia/Kathmandu, on PATH");
}

#[test]
fn eight_forced_refreshes_at_once_are_eight_answers_and_one_request() {
    let lake = Lake::new();
    let databricks = format!("{}/databricks", lake.link());
    let old = forced(&lake.home, &databricks)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(lake.requests(), 1);
    // Old enough that a new one is meant: its entry says when it came.
    let journal = lake.home.journal();
    assert!(journal.iter().any(|line| line["event"] == "mint"), "{journal:?}");
    fs::remove_dir_all(lake.home.path(".cache/vaulttoken")).unwrap();
    let forcing: Vec<_> = (0..8).map(|_| force(&lake.home, &databricks).spawn().unwrap()).collect();
    let end = |child: Child| answer(&child.wait_with_output().unwrap());
    let tokens: Vec<Value> = forcing.into_iter().map(end).collect();
    assert!(tokens.iter().all(|token| token["access_token"] == tokens[0]["access_token"]));
    assert_ne!(tokens[0]["access_token"], old.as_str());
    assert_eq!((tokens.len(), lake.requests()), (8, 2));
}

fn force(home: &Home, databricks: &str) -> Command {
    let mut command = Command::new(databricks);
    home.prepare(&mut command);
    command.args(["auth", "token", "--force-refresh"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `databricks auth token --force-refresh` prints.
fn forced(home: &Home, databricks: &str) -> Value {
    answer(&force(home, databricks).output().unwrap())
}

/// Works until it has used six tokens: the first is dead by then.
const LONG: &str = "
import time
from databricks.sdk import WorkspaceClient
client, seen, begin = WorkspaceClient(), set(), time.monotonic()
while len(seen) < 6 and time.monotonic() - begin < 60:
    assert client.current_user.me().user_name == '7f'
    seen.add(client.config.authenticate()['Authorization'])
print(len(seen))
";

#[test]
fn the_program_of_the_published_question_works_unchanged_for_longer_than_a_token_lives() {
    let lake = Lake::new();
    let token_file = lake.home.path("subject").display().to_string();
    let host = lake.workspace.address.clone();
    set_the_questions_environment(&lake.home, &host, &token_file);
    // A new one comes once a quarter of its life is over: six of them outlive the first.
    lake.workspace.lifetime(8);
    for sdk in SDKS {
        let alone = lake.python(sdk, LONG);
        assert_eq!(alone.code, 1, "{alone:?}");
        assert!(alone.stderr.contains("cannot configure default credentials"), "{alone:?}");
        let python = python(sdk).display().to_string();
        let run = lake.home.run(&["exec", "--", &python, "-I", "-B", "-c", LONG]);
        assert_eq!((run.code, run.stdout.as_str()), (0, "6\n"), "{sdk:?}: {run:?}");
    }
    assert_eq!(lake.home.run(&["exec", "--", &go(), "who"]).succeeded().stdout, "7f\n");
}

#[test]
fn an_sdk_that_knows_no_metadata_service_runs_us_as_the_databricks_cli() {
    let lake = Lake::new();
    let by_way = [
        "import os",
        "assert 'DATABRICKS_METADATA_SERVICE_URL' not in os.environ",
        "assert 'DATABRICKS_TOKEN' not in os.environ",
        "os.chdir('/')",
    ];
    let program = format!("{}\n{WHO}", by_way.join("\n"));
    lake.home.set("DATABRICKS_TOKEN", "x").set("DATABRICKS_METADATA_SERVICE_URL", "http://127.0.0.1:1/x");
    let exec = ["exec", "--databricks-cli", "--"];
    for sdk in SDKS {
        let python = python(sdk).display().to_string();
        let run = lake.home.run(&[&exec[..], &[&python, "-I", "-B", "-c", &program]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (0, "7f\n"), "{sdk:?}: {run:?}");
    }
    assert_eq!(lake.home.run(&[&exec[..], &[&go(), "who"]].concat()).succeeded().stdout, "7f\n");
    let both = lake.home.run(&["exec", "--databricks-cli", "--allow-env-token", "--", "true"]);
    assert_eq!(both.code, 2, "{both:?}");
    let config = lake.home.run(&["exec", "--config", "x.yaml", "--databricks-cli", "--", "true"]);
    assert_eq!(config.code, 2, "{config:?}");
}

#[test]
fn a_program_has_its_signals_its_exit_code_and_no_token_in_its_environment() {
    let lake = Lake::new();
    let home = &lake.home;
    for (name, value) in
        [("DATABRICKS_CLIENT_ID", "7f"), ("DATABRICKS_TOKEN", "x"), ("DATABRICKS_CONFIG_PROFILE", "x")]
    {
        home.set(name, value);
    }
    let token = home.run_for_secret(&["token", "lake"]).succeeded().stdout;
    home.plant(token.trim());
    let exec = |script: &str| home.run(&["exec", "-p", "lake", "--", "/bin/sh", "-c", script]);
    let run = exec("env; ulimit -c").quiet();
    let has = |name: &str| run.stdout.lines().any(|line| line.starts_with(&format!("{name}=")));
    assert!(has("DATABRICKS_METADATA_SERVICE_URL") && has("DATABRICKS_HOST") && has("PATH"), "{run:?}");
    assert!(run.stdout.contains("DATABRICKS_AUTH_TYPE=metadata-service\n"), "{run:?}");
    assert!(
        !has("DATABRICKS_CLIENT_ID") && !has("DATABRICKS_TOKEN") && !has("DATABRICKS_CONFIG_PROFILE"),
        "{run:?}"
    );
    let usual = home.run_program("/bin/sh", &["-c", "ulimit -c"]);
    assert!(run.stdout.ends_with(&usual.stdout), "the limit of core files is as it was: {run:?}");
    assert_eq!(exec("exit 7").code, 7);
    assert_eq!(exec("kill -TERM $$").code, 143);
    assert_eq!(exec("kill -KILL $$").code, 137);
    // A signal for us is one for the program, which decides what it means.
    let signalled = exec("trap 'echo caught; exit 3' TERM HUP USR1; kill -USR1 $PPID; while :; do :; done");
    assert_eq!((signalled.code, signalled.stdout.as_str()), (3, "caught\n"), "{signalled:?}");
    assert_eq!(
        home.run_with_input(&["exec", "-p", "lake", "--", "cat"], "typed\n").quiet().stdout,
        "typed\n"
    );
    assert!(
        home.run(&["exec", "-p", "lake", "--", "/nowhere/program"])
            .failed(2)
            .contains("`/nowhere/program` cannot be run")
    );
}

#[test]
fn the_keyboards_ctrl_c_reaches_a_program_once() {
    let lake = Lake::new();
    let script = "trap 'echo caught; count=x$count' INT; echo ready; \
                  until [ \"$count\" ]; do :; done; read line; echo \"$count $line\"; exit 5";
    let words = ["exec", "-p", "lake", "--", "/bin/sh", "-c", script];
    // A session of its own, whose terminal this is.
    let mut command = Command::new("/usr/bin/setsid");
    lake.home.prepare(&mut command);
    command.args(["--ctty", "--wait", PLUGIN]).args(words);
    let mut terminal = crate::terminal::Terminal::start(command);
    terminal.wait_for("ready");
    terminal.type_text("\u{3}");
    terminal.wait_for("caught");
    terminal.type_text("line\n");
    let ended = terminal.end();
    assert!(ended.code == Some(5) && ended.shown.contains("\nx line"), "{ended:?}");
    lake.home.showed(&ended.shown);
}

#[test]
fn a_token_is_put_where_tools_look_and_the_other_profiles_stay() {
    let lake = Lake::new();
    let home = &lake.home;
    let before = "# mine\n[DEFAULT]\nhost = https://other.example\n\n[work]\nhost=https://work.example\ntoken = kept\n";
    let file = home.write_secret(".databrickscfg", before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let run = home.run(&["token", "lake", "--output", "databrickscfg"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run:?}");
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.starts_with(&format!("{before}\n[lake]\n")), "{after}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    home.unset("DATABRICKS_HOST").set("DATABRICKS_CONFIG_PROFILE", "lake");
    lake.is_known_by_each_sdk();
    home.run(&["token", "lake", "--output", "databrickscfg"]).succeeded();
    assert_eq!(fs::read_to_string(&file).unwrap(), after, "a second time changes nothing");
    home.unset("DATABRICKS_CONFIG_PROFILE");
    let run = home.run_for_secret(&["token", "lake", "-o", "jdbc", "--http-path", "/sql/1.0/warehouses/a"]);
    let host = lake.workspace.address.strip_prefix("https://").unwrap();
    let start = format!(
        "jdbc:databricks://{host};httpPath=/sql/1.0/warehouses/a;AuthMech=11;Auth_Flow=0;Auth_AccessToken=ey"
    );
    assert!(run.succeeded().stdout.starts_with(&start));
    assert!(
        home.run(&["token", "lake", "-o", "jdbc", "--http-path", "/a;b"])
            .failed(2)
            .contains("is no HTTP path")
    );
    assert!(home.run(&["token", "lake", "--http-path", "/a"]).failed(2).contains("`--http-path` is for"));
}

#[test]
fn an_outage_is_none_while_a_token_is_good() {
    let lake = Lake::new();
    let databricks = format!("{}/databricks", lake.link());
    let first = forced(&lake.home, &databricks);
    lake.workspace.answer(Some(crate::rig::Reply::text(503, "text/plain", "down")));
    let serving = Serving::start(&lake.home, &[]);
    let (status, body) = serving.ask(&lake.workspace.address);
    assert_eq!((status, &body["access_token"]), (200, &first["access_token"]));
    assert_eq!(serving.end(&lake.home).0, 143);
    assert_eq!(lake.requests(), 1);
}

#[test]
fn a_program_whose_code_pins_the_way_works_once_that_is_allowed() {
    let lake = Lake::new();
    let pinned = WHO.replace("WorkspaceClient()", "WorkspaceClient(auth_type='env-oidc')");
    for sdk in SDKS {
        let python = python(sdk).display().to_string();
        let program = ["-p", "lake", "--", &python, "-I", "-B", "-c", &pinned];
        let alone = lake.home.run(&[&["exec"], &program[..]].concat());
        assert!(
            alone.code == 1 && alone.stderr.contains("cannot configure default credentials"),
            "{alone:?}"
        );
        let allowed = lake.home.run(&[&["exec", "--allow-env-token"], &program[..]].concat());
        assert_eq!((allowed.code, allowed.stdout.as_str()), (0, "7f\n"), "{sdk:?}: {allowed:?}");
        assert!(allowed.stderr.contains("to `auth_type=\"metadata-service\"`"), "{allowed:?}");
    }
}
