//! Where the sealing key rests, with the real keyrings: GNOME's under a session bus of its own, the
//! kernel's, neither; one that locks, hangs, or answers what nobody understands; and a new key in the
//! place of the old one. Nobody is ever asked, and nothing that was kept is lost.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cases::DENY_KEYRINGS;
use crate::engine;
use crate::front::World;
use crate::home::{Home, PLUGIN, Run};
use crate::kernel_keys;
use crate::rig::{SecretService, folder, poll, tool, unique};

const LIMIT: Duration = Duration::from_secs(30);
/// A keyring of the system may take two seconds, which are spent once for reading and once for making
/// a key. The rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(12);

fn previous(name: &str) -> String {
    format!("{name}.previous")
}

fn use_keyring(home: &Home, keyring: &SecretService) {
    for (name, value) in keyring.environment() {
        home.set(name, &value);
    }
}

fn secret_tool(keyring: &SecretService, arguments: &[&str]) -> Command {
    let mut command = Command::new(tool("secret-tool"));
    command.args(arguments).env_clear().envs(keyring.environment());
    command
}

/// The key in the system's keyring.
fn in_keyring(keyring: &SecretService, name: &str) -> Option<String> {
    let attributes = ["lookup", "service", name, "username", "sealing-key"];
    let output = secret_tool(keyring, &attributes).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Takes away what the kernel keeps.
fn forget_copies(home: &Home) {
    let name = home.keyring_service();
    kernel_keys::remove(&previous(&name));
    kernel_keys::remove(&name);
}

fn store_of(home: &Home) -> Value {
    home.run(&["status", "-o", "json"]).quiet().json()["items"][0]["store"].take()
}

fn tier(world: &World<'_>) -> Value {
    world.status()["store"].clone()
}

/// What is asked of the vault: log-ins and mints.
fn asked(world: &World<'_>) -> [usize; 2] {
    [world.asked(&world.log_in_path()), world.asked(&world.mint_path())]
}

/// What is said on a bus.
struct Monitor {
    child: Child,
    file: std::path::PathBuf,
}

impl Monitor {
    fn on(keyring: &SecretService) -> Self {
        let file = folder("monitor").join(unique("bus"));
        let mut command = Command::new(tool("dbus-monitor"));
        command.args(["--address", &keyring.bus_address]).env_clear();
        let output = std::fs::File::create(&file).unwrap();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).spawn().unwrap();
        let monitor = Self { child, file };
        poll("the monitor of the bus", LIMIT, || {
            in_keyring(keyring, "nothing");
            monitor.heard("member=SearchItems").then_some(())
        });
        monitor
    }

    fn heard(&self, words: &str) -> bool {
        std::fs::read_to_string(&self.file).unwrap_or_default().contains(words)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn gnome_keyring_has_the_key_and_the_kernel_a_copy_of_it() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    let world = World::new(&engine, 3600);
    let home = &world.home;
    use_keyring(home, &keyring);
    world.get_token().quiet();
    assert_eq!(tier(&world), "keyring");
    let name = home.keyring_service();
    let key = in_keyring(&keyring, &name).expect("it is in the keyring");
    assert_eq!((key.len(), key.ends_with('=')), (44, true), "32 bytes in Base64");
    home.plant(&key);
    assert_eq!(kernel_keys::read(&name).map(|copy| copy.len()), Some(34));
    // After the machine was started anew the key is still the same.
    forget_copies(home);
    world.get_token().quiet();
    assert_eq!((asked(&world), tier(&world)), ([1, 1], "keyring".into()));
    assert!(kernel_keys::read(&name).is_some(), "it is copied again");
    // A hit needs nobody on the bus.
    kill_process(Pid::from_raw(keyring.process_id().cast_signed()).unwrap(), Signal::STOP).unwrap();
    let begun = Instant::now();
    world.get_token().quiet();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(asked(&world), [1, 1]);
}

#[test]
fn a_keyring_that_locks_asks_nobody_and_what_was_kept_goes_on() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    let world = World::new(&engine, 3600);
    let home = &world.home;
    use_keyring(home, &keyring);
    world.get_token().quiet();
    let monitor = Monitor::on(&keyring);
    keyring.lock();
    world.get_token().quiet();
    assert_eq!((asked(&world), tier(&world)), ([1, 1], "keyring".into()), "the copy goes on");
    let run = home.run(&["doctor", "--offline", "-o", "json"]).quiet();
    assert!(run.stdout.contains("does not answer: the kernel's copy of the key is used"), "{run:?}");
    assert!(run.stdout.contains("it is locked"), "{run:?}");

    // Without the copy there is another key, at once.
    forget_copies(home);
    let begun = Instant::now();
    let run = home.run(&["status", "-v"]).succeeded();
    assert!(run.stderr.contains("system keyring: it is locked"), "{run:?}");
    world.get_token().quiet();
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    assert_eq!((asked(&world), tier(&world)), ([2, 2], "kernelKeyring".into()));
    world.get_token().quiet();
    assert_eq!(asked(&world), [2, 2]);
    // What would show a window for the password.
    poll("the last that was heard", LIMIT, || {
        in_keyring(&keyring, "the end");
        monitor.heard("the end").then_some(())
    });
    for member in
        ["Unlock", "Prompt", "CreateCollection", "CreateItem", "GetSecret", "UnlockWithMasterPassword"]
    {
        assert!(!monitor.heard(&format!("member={member}\n")), "{member}");
    }
}

#[test]
fn a_keyring_that_hangs_costs_its_two_seconds_and_no_more() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    let world = World::new(&engine, 3600);
    let home = &world.home;
    use_keyring(home, &keyring);
    let process = Pid::from_raw(keyring.process_id().cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let begun = Instant::now();
    let run = home.run(&["status", "-v"]).succeeded();
    assert!(run.stderr.contains("system keyring: no answer within 2000 ms"), "{run:?}");
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    world.get_token().quiet();
    assert_eq!((asked(&world), tier(&world)), ([1, 1], "kernelKeyring".into()));
    // The key that was made stays the key, also when the keyring is back.
    kill_process(process, Signal::CONT).unwrap();
    world.get_token().quiet();
    assert_eq!((asked(&world), tier(&world)), ([1, 1], "kernelKeyring".into()));
}

#[test]
fn what_is_no_key_in_a_keyring_is_not_used_and_not_replaced() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    let world = World::new(&engine, 3600);
    let home = &world.home;
    use_keyring(home, &keyring);
    let name = home.keyring_service();
    let attributes = ["store", "--label=rig", "service", &name, "username", "sealing-key"];
    let mut child = secret_tool(&keyring, &attributes).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"somebody's own").unwrap();
    assert!(child.wait().unwrap().success());
    let run = home.run(&["status", "-v"]).succeeded();
    let why = format!("system keyring: `{name}` in it is not a sealing key");
    assert!(run.stderr.contains(&why), "{run:?}");
    world.get_token().quiet();
    world.get_token().quiet();
    assert_eq!((asked(&world), tier(&world)), ([1, 1], "kernelKeyring".into()));
    assert_eq!(in_keyring(&keyring, &name).as_deref(), Some("somebody's own"));
    // The same in the kernel's.
    forget_copies(home);
    kernel_keys::write(&name, b"not a key");
    let run = home.run(&["status", "-v"]).succeeded();
    assert!(run.stderr.contains(&format!("kernel keyring: `{name}` in it is something else")), "{run:?}");
    assert_eq!(kernel_keys::read(&name).as_deref(), Some(&b"not a key"[..]));
}

/// What may listen in the place of a bus.
type Bus = fn(std::os::unix::net::UnixStream);

#[test]
fn a_bus_that_answers_garbage_or_nothing_is_done_without() {
    let buses: [(&str, Bus); 5] = [
        ("closes", drop),
        ("says nothing", |mut stream| drop(stream.read_to_end(&mut Vec::new()))),
        ("speaks another language", |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\xff\xff\xff\xff");
            let _ = stream.read_to_end(&mut Vec::new());
        }),
        ("never ends", |mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {}),
        ("lets everybody in and then babbles", |mut stream| {
            let mut byte = [0; 512];
            let _ = stream.read(&mut byte);
            let _ = stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n");
            let _ = stream.read(&mut byte);
            let _ = stream.write_all(b"AGREE_UNIX_FD\r\n");
            let _ = stream.read(&mut byte);
            let _ = stream.write_all(&[0xff; 4096]);
            let _ = stream.read_to_end(&mut Vec::new());
        }),
    ];
    let engine = engine::shared();
    for (what, bus) in buses {
        let world = World::new(&engine, 3600);
        let home = &world.home;
        let path = home.path("bus");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || bus(stream));
            }
        });
        home.set("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", path.display()));
        let begun = Instant::now();
        let run = home.run(&["status", "-v"]).succeeded();
        assert!(run.stderr.contains("system keyring: "), "{what}: {run:?}");
        assert!(begun.elapsed() < IN_TIME, "{what}: {:?}", begun.elapsed());
        world.get_token().quiet();
        world.get_token().quiet();
        assert_eq!((asked(&world), tier(&world)), ([1, 1], "kernelKeyring".into()), "{what}");
    }
}

/// Runs the plugin where the kernel refuses its keyring.
fn without_kernel(home: &Home, arguments: &[&str]) -> Run {
    // Beneath a shell, as a person's calls are: whoever asks again himself has a reason.
    let shell = ["-c", "\"$0\" \"$@\"; exit $?", "/usr/bin/perl", "-e", DENY_KEYRINGS, PLUGIN];
    home.run_program("/bin/sh", &[&shell, arguments].concat())
}

#[test]
fn without_any_keyring_it_is_plain_files_in_memory_or_exit_8() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    let home = &world.home;
    let memory = TempDir::with_prefix_in("vaulttoken-it-", "/dev/shm").unwrap();
    home.set("XDG_RUNTIME_DIR", memory.path().to_str().unwrap());
    for _ in 0..2 {
        without_kernel(home, &["get-token", "--timeout=2s"]).quiet();
    }
    assert_eq!(asked(&world), [1, 1]);
    let run = without_kernel(home, &["status", "-v", "-o", "json"]).succeeded();
    assert_eq!(run.json()["items"][0]["store"], "plain");
    for why in ["system keyring: there is no session bus", "kernel keyring: not permitted"] {
        assert!(run.stderr.contains(why), "{run:?}");
    }
    assert!(!home.path(".cache/vaulttoken").exists(), "nothing reaches a disk");
    let run = without_kernel(home, &["reseal"]);
    assert!(run.failed(8).contains("there is no sealing key to replace"), "{run:?}");
    let settings = home.path(".config/vaulttoken/config.yaml");
    let mut sealed: Value = serde_json::from_str(&std::fs::read_to_string(&settings).unwrap()).unwrap();
    sealed["store"] = "sealed".into();
    std::fs::write(&settings, sealed.to_string()).unwrap();
    let run = without_kernel(home, &["get-token", "--timeout=2s"]);
    assert!(run.failed(8).contains("needs a keyring"), "{run:?}");
}

#[test]
fn where_the_kernel_refuses_gnome_keyring_is_asked_each_time() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    let world = World::new(&engine, 3600);
    let home = &world.home;
    use_keyring(home, &keyring);
    without_kernel(home, &["get-token", "--timeout=2s"]).quiet();
    let (name, entry) = (home.keyring_service(), entries(home));
    let key = in_keyring(&keyring, &name).expect("it is in the keyring");
    without_kernel(home, &["reseal"]).quiet();
    assert_eq!(in_keyring(&keyring, &previous(&name)), Some(key.clone()));
    assert_ne!(in_keyring(&keyring, &name), Some(key));
    // As it was: the key before opens it.
    put_back(&entry);
    without_kernel(home, &["get-token", "--timeout=2s"]).quiet();
    assert_eq!(asked(&world), [1, 1]);
    let run = without_kernel(home, &["status", "-o", "json"]).quiet();
    assert_eq!(run.json()["items"][0]["store"], "keyring");
}

type Files = Vec<(std::path::PathBuf, Vec<u8>)>;

/// The token and the session as they lie there.
fn entries(home: &Home) -> Files {
    let folders = [".cache/vaulttoken", ".local/state/vaulttoken/sessions"];
    let files = folders.iter().flat_map(|path| std::fs::read_dir(home.path(path)).unwrap());
    let is_entry = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|ending| ending == "token" || ending == "session")
    };
    let mut entries: Files = files
        .map(|file| file.unwrap().path())
        .filter(is_entry)
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    entries.sort();
    entries
}

fn put_back(entries: &Files) {
    for (path, content) in entries {
        std::fs::write(path, content).unwrap();
    }
}

#[test]
fn a_new_key_loses_nothing_and_the_one_before_still_opens() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    for system in [true, false] {
        let world = World::new(&engine, 3600);
        let home = &world.home;
        if system {
            use_keyring(home, &keyring);
        }
        world.get_token().quiet();
        let name = home.keyring_service();
        let (first, sealed_first) = (kernel_keys::read(&name).unwrap(), entries(home));
        assert_eq!(sealed_first.len(), 2, "a token and a session");
        let run = home.run(&["reseal", "-o", "json"]).quiet();
        let outcome = run.json();
        assert_eq!(
            (&outcome["kind"], &outcome["tokens"], &outcome["sessions"], &outcome["left"]),
            (&"Resealed".into(), &1.into(), &1.into(), &0.into()),
            "{run:?}"
        );
        let second = kernel_keys::read(&name).unwrap();
        assert_ne!(first, second);
        assert_eq!(kernel_keys::read(&previous(&name)), Some(first.clone()));
        let sealed_second = entries(home);
        assert!(
            sealed_first.iter().zip(&sealed_second).all(|(one, other)| one.0 == other.0 && one.1 != other.1)
        );
        // Everything is sealed with the new one.
        kernel_keys::remove(&previous(&name));
        world.get_token().quiet();
        assert_eq!(asked(&world), [1, 1], "system: {system}");
        // What somebody sealed with the one before opens, and that whoever renews it seals with the new.
        kernel_keys::write(&previous(&name), &first);
        put_back(&sealed_first);
        world.get_token().quiet();
        assert_eq!(asked(&world), [1, 1], "system: {system}");
        // Also after one more new key: it was sealed anew before.
        home.run(&["reseal"]).quiet();
        assert_eq!(kernel_keys::read(&previous(&name)), Some(second));
        world.get_token().quiet();
        assert_eq!(asked(&world), [1, 1], "system: {system}");
        if system {
            // And when the machine was started anew, with what is from before the new key.
            let older = entries(home);
            home.run(&["reseal"]).quiet();
            put_back(&older);
            forget_copies(home);
            world.get_token().quiet();
            assert_eq!((asked(&world), store_of(home)), ([1, 1], "keyring".into()));
            // A keyring that is locked has no new one; the old one goes on.
            keyring.lock();
            let before = kernel_keys::read(&name);
            let run = home.run(&["reseal"]);
            let told = run.failed(8);
            assert!(told.contains("was not replaced") && told.contains("it is locked"), "{told}");
            assert_eq!(kernel_keys::read(&name), before);
            world.get_token().quiet();
            assert_eq!(asked(&world), [1, 1]);
        }
    }
}

#[test]
fn the_kernel_gets_no_copy_while_somebody_may_be_replacing_the_key() {
    let (engine, keyring) = (engine::shared(), SecretService::start());
    let world = World::new(&engine, 3600);
    let home = &world.home;
    use_keyring(home, &keyring);
    world.get_token().quiet();
    let (name, lock) = (home.keyring_service(), home.path(".cache/vaulttoken/keystore.lock"));
    let key = kernel_keys::read(&name);
    forget_copies(home);
    // `flock` of util-linux takes the same lock, until its input ends.
    let mut holder = Command::new("flock")
        .args(["--no-fork", "--exclusive"])
        .arg(&lock)
        .args(["sh", "-c", "echo held; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    world.get_token().quiet();
    // A copy of the key before would hide the new one from everybody.
    assert_eq!((asked(&world), kernel_keys::read(&name)), ([1, 1], None));
    let run = home.run(&["reseal"]);
    let told = run.failed(5);
    assert!(told.contains("another process makes a key at this moment"), "{told}");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    world.get_token().quiet();
    assert_eq!((asked(&world), kernel_keys::read(&name)), ([1, 1], key));
}

#[test]
fn new_keys_beneath_callers_cost_none_of_them_a_fetch() {
    const ROUNDS: usize = 12;
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    let home = &world.home;
    world.get_token().quiet();
    for round in 0..ROUNDS {
        let callers =
            ["get-token", "get-token", "reseal", "get-token", "get-token", "status"].map(|command| {
                let mut command = home.command(&[command]);
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            });
        for caller in callers {
            let output = caller.wait_with_output().unwrap();
            home.finished(&output).quiet();
        }
        assert_eq!(asked(&world), [1, 1], "round {round}");
    }
    let run = home.run_for_secret(&["token"]).succeeded();
    assert_eq!((run.stderr.as_str(), asked(&world)), ("", [1, 1]));
}
