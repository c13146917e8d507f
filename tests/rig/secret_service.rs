//! A session bus of its own with a real Secret Service on it: `gnome-keyring-daemon`, unlocked with a
//! password that nobody is asked for. The person's own bus and keyring are never touched.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::tools::tool;

const LIMIT: Duration = Duration::from_secs(30);

/// The bus and the service; both end when this is dropped.
pub struct SecretService {
    /// For `DBUS_SESSION_BUS_ADDRESS`.
    pub bus_address: String,
    /// For `HOME` and `XDG_RUNTIME_DIR`; short, as paths of sockets must be.
    home: TempDir,
    service: Process,
    _bus: Process,
}

impl SecretService {
    pub fn start() -> Self {
        let folder = super::folder("secret-service");
        let home = TempDir::with_prefix("keyring-").unwrap();
        let bus_address = format!("unix:path={}", home.path().join("bus").display());
        let bus = start_bus(&folder, home.path(), &bus_address);
        let service = start_service(&folder, home.path(), &bus_address);
        Self { bus_address, home, service, _bus: bus }
    }

    /// The variables with which a program finds this service, and no other.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", self.bus_address.clone()),
            ("XDG_RUNTIME_DIR", self.home.path().display().to_string()),
        ]
    }

    /// The process id of the service.
    pub fn process_id(&self) -> u32 {
        self.service.id()
    }

    /// Stores an item with `secret-tool`, under one attribute.
    pub fn store(&self, attribute: &str, value: &str, secret: &str) {
        let mut child = self
            .secret_tool(&["store", "--label=rig", attribute, value])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().expect("is piped");
        stdin.write_all(secret.as_bytes()).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success(), "secret-tool store");
    }

    /// The secret of an item, found by one attribute.
    pub fn look_up(&self, attribute: &str, value: &str) -> Option<String> {
        let output = self.secret_tool(&["lookup", attribute, value]).output().unwrap();
        let secret = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(secret)
    }

    /// Removes what has these attributes: name, value, name, value and so on.
    pub fn clear(&self, attributes: &[&str]) {
        let status = self.secret_tool(&[&["clear"], attributes].concat()).status().unwrap();
        assert!(status.success(), "secret-tool clear: {status}");
    }

    /// Locks the keyring. Nobody is there to be asked for its password.
    pub fn lock(&self) {
        let status = Command::new(tool("dbus-send"))
            .args([
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
            ])
            .arg("org.freedesktop.Secret.Service.Lock")
            .arg("array:objpath:/org/freedesktop/secrets/aliases/default")
            .env_clear()
            .envs(self.environment())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "dbus-send: {status}");
    }

    fn secret_tool(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool("secret-tool"));
        command.args(arguments).env_clear().envs(self.environment());
        command
    }
}

fn start_bus(folder: &Path, home: &Path, address: &str) -> Process {
    let configuration = home.join("bus.conf");
    let text = format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#
    );
    // Without folders of services to start on demand, so that the bus starts nothing by itself.
    std::fs::write(&configuration, text).unwrap();
    let flags = [
        format!("--config-file={}", configuration.display()),
        "--nofork".to_owned(),
        "--nopidfile".to_owned(),
    ];
    let mut bus = Process::start("dbus-daemon", folder, &tool("dbus-daemon"), &flags, &[]);
    let socket: PathBuf = home.join("bus");
    bus.wait_until("listening", LIMIT, || std::os::unix::net::UnixStream::connect(&socket).ok())
        .unwrap_or_else(|failure| panic!("{failure}"));
    bus
}

fn start_service(folder: &Path, home: &Path, bus_address: &str) -> Process {
    // The password comes on standard input, which the rig's processes do not have.
    let script = home.join("start");
    let program = tool("gnome-keyring-daemon");
    let password = home.join("password");
    std::fs::write(&password, "test").unwrap();
    // Not from a pipe: the daemon is to be the rig's own child, which it can stop.
    let text = format!(
        "exec {} --foreground --unlock --components=secrets <{}\n",
        program.display(),
        password.display()
    );
    std::fs::write(&script, text).unwrap();
    let home_text = home.display().to_string();
    let environment = [
        ("DBUS_SESSION_BUS_ADDRESS", bus_address),
        ("XDG_RUNTIME_DIR", home_text.as_str()),
        ("XDG_DATA_HOME", home_text.as_str()),
        ("HOME", home_text.as_str()),
    ];
    let arguments = [script.display().to_string()];
    let shell = Path::new("/bin/sh");
    let mut service = Process::start("gnome-keyring", folder, shell, &arguments, &environment);
    service
        .wait_until("on its bus", LIMIT, || {
            // Its default collection comes some moments after it is on the bus.
            let mut child = Command::new(tool("secret-tool"))
                .args(["store", "--label=rig", "rig", "ready"])
                .env_clear()
                .envs(environment)
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Whoever found no service does not read.
            let _ = child.stdin.take().expect("is piped").write_all(b"ready");
            child.wait().unwrap().success().then_some(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    service
}
