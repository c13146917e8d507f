//! A home of its own for one test: settings, cache, state and kubeconfig in a folder, the real binary
//! run in it, and at the end a search for every secret in all that was printed, logged or written.
//!
//! The plugin is run beneath a shell that has the same environment, as a client would be: what only
//! a kubeconfig added is then visible to it, and nothing else is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kernel_keys;
use crate::rig::{Cluster, tool, unique};
use crate::terminal::Terminal;

/// The binary under test.
pub const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-vaulttoken");

const KEYRING_SERVICE: &str = "VAULTTOKEN_KEYRING_SERVICE";

/// One person's home.
pub struct Home {
    folder: TempDir,
    environment: RefCell<BTreeMap<String, String>>,
    secrets: RefCell<BTreeSet<String>>,
    /// What was printed where no secret belongs.
    printed: RefCell<Vec<String>>,
    /// Files that a test itself filled with a secret, as a person would.
    given: RefCell<BTreeSet<PathBuf>>,
}

/// What one run of the plugin gave.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Asserts success and silence on standard error.
    #[track_caller]
    pub fn quiet(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Asserts an exit code, nothing on standard output, and the report's lines.
    #[track_caller]
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        &self.stderr
    }

    /// Asserts success; `place` says whose words were run.
    #[track_caller]
    pub fn succeeded_at(self, place: &str) -> Self {
        assert_eq!(self.code, 0, "{place}: {self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The token of a credential.
    #[track_caller]
    pub fn token(&self) -> String {
        self.json()["status"]["token"].as_str().unwrap_or_else(|| panic!("no token: {self:?}")).to_owned()
    }
}

impl Home {
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("vaulttoken-home-").unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::set_permissions(folder.path().join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        let environment = BTreeMap::from([
            ("HOME".to_owned(), folder.path().display().to_string()),
            ("PATH".to_owned(), format!("{}:/usr/bin:/bin", Path::new(PLUGIN).parent().unwrap().display())),
            ("XDG_RUNTIME_DIR".to_owned(), path("run")),
            // Of its own, so that homes do not share a sealing key, nor find that of an earlier run.
            (KEYRING_SERVICE.to_owned(), folder.path().file_name().unwrap().to_str().unwrap().to_owned()),
        ]);
        Self {
            folder,
            environment: RefCell::new(environment),
            secrets: RefCell::default(),
            printed: RefCell::default(),
            given: RefCell::default(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Under which name this home's sealing key is kept.
    pub fn keyring_service(&self) -> String {
        self.environment.borrow()[KEYRING_SERVICE].clone()
    }

    /// Writes a file of this home, with its folders.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a file that holds a secret, as a person or a platform would.
    pub fn write_secret(&self, name: &str, secret: &str) -> PathBuf {
        self.plant(secret);
        let path = self.write(name, secret);
        self.given.borrow_mut().insert(path.clone());
        path
    }

    /// Writes the settings file.
    pub fn settings(&self, settings: &Value) -> &Self {
        let mut whole = json!({"apiVersion": "vaulttoken.dev/v1alpha1", "kind": "Config"});
        whole.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        // JSON is YAML.
        self.write(".config/vaulttoken/config.yaml", &whole.to_string());
        self
    }

    pub fn set(&self, name: &str, value: &str) -> &Self {
        self.environment.borrow_mut().insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable to a secret, as a person or a platform would.
    pub fn set_secret(&self, name: &str, secret: &str) -> &Self {
        self.plant(secret);
        self.set(name, secret)
    }

    /// The environment of its programs.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.environment.borrow().clone()
    }

    pub fn unset(&self, name: &str) -> &Self {
        self.environment.borrow_mut().remove(name);
        self
    }

    /// Names a secret that must be found nowhere.
    pub fn plant(&self, secret: &str) {
        assert!(secret.len() >= 6, "too short to be searched for");
        self.secrets.borrow_mut().insert(secret.trim().to_owned());
    }

    /// Runs the plugin without a terminal.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    /// The same with lines for it to read.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        self.run_command(self.command(arguments), input)
    }

    /// Runs another program of this person's, which perhaps runs the plugin.
    pub fn run_program(&self, program: &str, arguments: &[&str]) -> Run {
        let mut command = Command::new(program);
        self.prepare(&mut command);
        command.args(arguments);
        self.run_command(command, "")
    }

    /// Puts a command into this home, with nothing but its environment.
    pub fn prepare(&self, command: &mut Command) {
        command.env_clear().envs(&*self.environment.borrow()).current_dir(self.folder.path());
    }

    fn run_command(&self, mut command: Command, input: &str) -> Run {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whoever does not read it has closed the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        self.finished(&child.wait_with_output().unwrap())
    }

    /// The plugin beneath a shell with the same environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        // The `exit` keeps the shell from replacing itself by the plugin.
        command.args(["-c", "\"$0\" \"$@\"; exit $?", PLUGIN]).args(arguments);
        command.env_clear().envs(&*self.environment.borrow()).current_dir(self.folder.path());
        command
    }

    /// Runs the plugin as an exec client does; the token that it gives becomes a secret.
    pub fn get_token(&self, arguments: &[&str], exec_info: Option<&Value>) -> Run {
        if let Some(info) = exec_info {
            self.set("KUBERNETES_EXEC_INFO", &format!("{info}\n"));
        }
        let run = self.run(&[&["get-token"], arguments].concat());
        self.unset("KUBERNETES_EXEC_INFO");
        run
    }

    /// Runs the real kubectl with a kubeconfig of this home.
    pub fn kubectl(&self, kubeconfig: &Path, arguments: &[&str]) -> Run {
        self.kubectl_with_input(kubeconfig, arguments, "")
    }

    /// The same with something to read.
    pub fn kubectl_with_input(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Run {
        let mut command = Command::new(tool("kubectl"));
        command.env_clear().envs(&*self.environment.borrow()).env("KUBECONFIG", kubeconfig);
        command.current_dir(self.folder.path()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        self.finished(&child.wait_with_output().unwrap())
    }

    /// Runs a command whose standard output is a secret.
    pub fn run_for_secret(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let run = run_of(&output);
        self.printed.borrow_mut().push(run.stderr.clone());
        run
    }

    /// Runs the plugin at a terminal of its own.
    pub fn at_terminal(&self, arguments: &[&str]) -> Terminal {
        Terminal::start(self.command(arguments))
    }

    /// Takes what a terminal showed into the search for secrets.
    pub fn showed(&self, text: &str) {
        self.printed.borrow_mut().push(text.to_owned());
    }

    /// Runs a script as a person would type it, each command beneath the same shell.
    pub fn script(&self, script: &str, input: &str) -> Run {
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", script]).env_clear().envs(&*self.environment.borrow());
        command.current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Whoever does not read it has closed the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        self.finished(&child.wait_with_output().unwrap())
    }

    /// The same at a terminal.
    pub fn script_at_terminal(&self, script: &str) -> Terminal {
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", script]);
        self.prepare(&mut command);
        Terminal::start(command)
    }

    /// Runs a shell script in this home: `$KUBECTL` and `$PLUGIN` are the programs.
    pub fn shell(&self, kubeconfig: Option<&Path>, script: &str) -> Run {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear().envs(&*self.environment.borrow());
        command.env("KUBECTL", tool("kubectl")).env("PLUGIN", PLUGIN);
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.current_dir(self.folder.path()).stdin(Stdio::null()).output();
        self.finished(&output.unwrap())
    }

    /// Another program in this home.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&*self.environment.borrow()).current_dir(self.folder.path());
        command
    }

    /// The lines of the journal.
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path(".local/state/vaulttoken/journal.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Notes what a run printed, for the search at the end.
    pub fn finished(&self, output: &Output) -> Run {
        let run = run_of(output);
        let mut printed = self.printed.borrow_mut();
        printed.push(run.stderr.clone());
        for line in run.stdout.lines() {
            let credential = serde_json::from_str::<Value>(line).ok();
            match credential.as_ref().and_then(|credential| credential["status"]["token"].as_str()) {
                Some(token) if run.code == 0 => self.plant(token),
                _ => printed.push(line.to_owned()),
            }
        }
        run
    }

    /// A kubeconfig whose user is this plugin.
    pub fn kubeconfig(&self, cluster: &Cluster, exec: &Value, extension: Option<&Value>) -> PathBuf {
        let path = self.path(&unique("kubeconfig"));
        let mut whole = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "kubectl-vaulttoken",
            "interactiveMode": "IfAvailable",
            "provideClusterInfo": true,
        });
        whole.as_object_mut().unwrap().extend(exec.as_object().unwrap().clone());
        cluster.write_kubeconfig(&path, &json!({"exec": whole}), extension);
        path
    }

    /// What was printed to standard error, and to standard output where no token belongs.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for secret in &*self.secrets.borrow() {
            for text in &*self.printed.borrow() {
                if text.contains(secret.as_str()) {
                    leaks.push(format!("{secret} was printed: {text}"));
                }
            }
            for path in files_beneath(self.folder.path()) {
                let held = fs::read(&path).unwrap_or_default();
                let found = held.windows(secret.len()).any(|window| window == secret.as_bytes());
                if found && !self.given.borrow().contains(&path) {
                    leaks.push(format!("{secret} lies in {}", path.display()));
                }
            }
        }
        leaks
    }
}

fn run_of(output: &Output) -> Run {
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn files_beneath(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(files_beneath(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

impl Drop for Home {
    fn drop(&mut self) {
        // The kernel lets a user have so many keys and no more.
        let name = self.keyring_service();
        kernel_keys::remove(&format!("{name}.previous"));
        kernel_keys::remove(&name);
        // Plain stores and a test that fails anyway have nothing to prove here.
        if !std::thread::panicking() {
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "{leaks:#?}");
        }
    }
}

/// What kubectl says about a call: interactive or not, with the cluster where one is given.
pub fn exec_info(version: &str, cluster: Option<Value>) -> Value {
    let mut spec = json!({"interactive": false});
    if let Some(cluster) = cluster {
        spec["cluster"] = cluster;
    }
    json!({
        "kind": "ExecCredential",
        "apiVersion": format!("client.authentication.k8s.io/{version}"),
        "spec": spec,
    })
}
