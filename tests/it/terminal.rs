//! A terminal for one command: what it shows, what is typed at it, and in which mode it is left.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::rig::poll;

const LIMIT: Duration = Duration::from_secs(120);

/// A command at a terminal of its own.
pub struct Terminal {
    keyboard: File,
    line: OwnedFd,
    before: LocalModes,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// How a command at a terminal ended.
#[derive(Debug)]
pub struct Ended {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub shown: String,
    /// Whether the terminal is in the mode that it was in before.
    pub restored: bool,
}

impl Terminal {
    pub fn start(mut command: Command) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let before = tcgetattr(&line).unwrap().local_modes;
        let end = || line.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // It holds the terminal open; we want to see when nobody but us does.
        drop(command);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (keyboard, written) = (File::from(keyboard), Arc::clone(&shown));
        let mut screen = keyboard.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails once nobody has the terminal open.
            while let Ok(count) = screen.read(&mut buffer) {
                written.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { keyboard, line, before, child, shown, reader }
    }

    /// Whether the command has not ended yet.
    pub fn is_running(&self) -> bool {
        let id = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(id), options).unwrap().is_none()
    }

    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until the screen has this text.
    pub fn wait_for(&self, text: &str) {
        poll(&format!("`{text}` on the screen"), LIMIT, || self.shown().contains(text).then_some(()));
    }

    /// Waits until what is typed does not appear.
    pub fn wait_for_silence(&self) {
        poll("a terminal without echo", LIMIT, || {
            let modes = tcgetattr(&self.line).unwrap().local_modes;
            (!modes.contains(LocalModes::ECHO)).then_some(())
        });
    }

    pub fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Sends a signal to the plugin, which is the shell's child.
    pub fn signal(&self, signal: Signal) {
        let shell = self.child.id();
        let children = format!("/proc/{shell}/task/{shell}/children");
        let plugin = poll("the shell's child", LIMIT, || {
            std::fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        });
        kill_process(Pid::from_raw(plugin).unwrap(), signal).unwrap();
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let status = poll("the end of the command", LIMIT, || self.child.try_wait().unwrap());
        let restored = tcgetattr(&self.line).unwrap().local_modes == self.before;
        drop(self.line);
        self.reader.join().unwrap();
        let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        Ended { code: status.code(), shown, restored }
    }
}
