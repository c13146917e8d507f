//! Files and folders that are not as they were left: damaged, somebody else's, in another's place, on a
//! full or read-only disk, or nowhere. Each call has a right token all the same, and asks for no more
//! than what was lost.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vaulttoken::cache::{Sessions, TokenStore};
use vaulttoken::config::Store;
use vaulttoken::env::Env;
use vaulttoken::keystore::Keystore;

use crate::engine::{self, subject};
use crate::front::World;
use crate::home::{Run, exec_info};
use crate::rig::Cluster;

const IN_TIME: Duration = Duration::from_secs(15);

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Gone,
    Empty,
    Cut,
    Garbage,
    Large,
    Folder,
    Link,
    HardLink,
    Pipe,
    Readable,
    Foreign,
}

const DAMAGES: [Damage; 11] = [
    Damage::Gone,
    Damage::Empty,
    Damage::Cut,
    Damage::Garbage,
    Damage::Large,
    Damage::Folder,
    Damage::Link,
    Damage::HardLink,
    Damage::Pipe,
    Damage::Readable,
    Damage::Foreign,
];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Damage {
    /// Does it. `beside` is a file that must stay as it is.
    fn befall(self, path: &Path, beside: &Path) {
        let content = fs::read(path).unwrap();
        fs::write(beside, &content).unwrap();
        let put = |content: &[u8]| fs::write(path, content).unwrap();
        let gone = || fs::remove_file(path).unwrap();
        match self {
            Self::Gone => gone(),
            Self::Empty => put(b""),
            Self::Cut => put(&content[..content.len() / 2]),
            Self::Garbage => put(&content.iter().rev().copied().collect::<Vec<_>>()),
            Self::Large => put(&vec![b'x'; 80 * 1024 * 1024]),
            Self::Folder => {
                gone();
                fs::create_dir(path).unwrap();
            }
            Self::Link => {
                gone();
                symlink(beside, path).unwrap();
            }
            Self::HardLink => {
                fs::remove_file(beside).unwrap();
                fs::hard_link(path, beside).unwrap();
            }
            Self::Pipe => {
                gone();
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            }
            Self::Readable => fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap(),
            // Only root can give a file away; elsewhere it is one that everybody can write.
            Self::Foreign if is_root() => chown(path, Some(4242), Some(4242)).unwrap(),
            Self::Foreign => fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap(),
        }
        assert!(self == Self::HardLink || fs::read(beside).unwrap() == content);
    }
}

fn cache(world: &World<'_>) -> PathBuf {
    world.home.path(".cache/vaulttoken")
}

fn state(world: &World<'_>) -> PathBuf {
    world.home.path(".local/state/vaulttoken")
}

/// The one file with this ending.
fn only(folder: &Path, ending: &str) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.extension().is_some_and(|other| other == ending));
    found.next().unwrap_or_else(|| panic!("no .{ending} in {}", folder.display()))
}

/// How often a log-in and a mint were asked for.
fn asked(world: &World<'_>) -> [usize; 2] {
    [world.asked(&world.log_in_path()), world.asked(&world.mint_path())]
}

/// Asks once: a right token in time, without a word, for so many log-ins and mints.
fn asks(world: &World<'_>, what: &str) -> [usize; 2] {
    let (before, began) = (asked(world), Instant::now());
    let run: Run = world.home.get_token(&["--timeout=15s"], Some(&exec_info("v1", None)));
    assert!(began.elapsed() < IN_TIME, "{what}: {:?}", began.elapsed());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{what}: {run:?}");
    assert_eq!(subject(Cluster::shared(), &run.token()), Some(world.engine.reader()), "{what}");
    let after = asked(world);
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn a_file_that_is_damaged_costs_what_it_held_and_no_more() {
    // One engine each: it makes only some tokens a second.
    std::thread::scope(|scope| {
        for (folder, ending, lost) in [
            ("cache", "token", [0, 1]),
            ("cache", "lock", [0, 0]),
            ("cache", "given", [0, 0]),
            ("sessions", "session", [1, 1]),
            ("sessions", "lock", [1, 1]),
            ("state", "jsonl", [0, 0]),
        ] {
            scope.spawn(move || {
                let engine = engine::shared();
                let world = World::new(&engine, 3600);
                for damage in DAMAGES {
                    befalls(&world, (folder, ending), damage, lost);
                }
            });
        }
    });
}

fn befalls(world: &World<'_>, (folder, ending): (&str, &str), damage: Damage, lost: [usize; 2]) {
    let what = format!("{damage:?} of .{ending} in {folder}");
    for path in [cache(world), state(world)] {
        let _ = fs::remove_dir_all(path);
    }
    asks(world, &what);
    let path = match folder {
        "cache" => only(&cache(world), ending),
        "sessions" => only(&state(world).join("sessions"), ending),
        _ => only(&state(world), ending),
    };
    let beside = world.home.path("beside");
    let _ = fs::remove_file(&beside);
    damage.befall(&path, &beside);
    let beside_before = fs::read(&beside).unwrap();
    if folder == "sessions" {
        // Else the token is there, and nobody looks.
        fs::remove_file(only(&cache(world), "token")).unwrap();
    }
    let cost = asks(world, &what);
    assert!(cost[0] <= lost[0] && cost[1] <= lost[1], "{what}: {cost:?}");
    assert_eq!(fs::read(&beside).unwrap(), beside_before, "{what}: somebody else's file was written");
    // Whatever is not a folder is replaced by what is right.
    let again = asks(world, &what);
    let stays = damage == Damage::Folder && ending == "token";
    assert_eq!(again, [0, usize::from(stays)], "{what}: the call after it");
}

#[test]
fn no_changed_byte_and_no_cut_of_a_real_file_opens() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    world.get_token().quiet();
    let env = Env::of(world.home.variables());
    let place = Keystore::open(Store::Auto, &env, Duration::ZERO);
    let place = Arc::new(place.unwrap_or_else(|error| panic!("{error}")));
    let tokens = TokenStore::new(&place);
    let sessions = Sessions::new(&place, Duration::ZERO, Box::new(|| ()));
    let count: [(PathBuf, &dyn Fn() -> usize); 2] = [
        (only(&cache(&world), "token"), &|| tokens.list().len()),
        (only(&state(&world).join("sessions"), "session"), &|| sessions.list().len()),
    ];
    for (path, opened) in count {
        let whole = fs::read(&path).unwrap();
        // In place, so that modes and links stay as they are.
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        let mut put = |at: usize, byte: u8| {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        for (at, byte) in whole.iter().enumerate() {
            for change in [0x01, 0x80, 0xff] {
                put(at, byte ^ change);
                assert_eq!(opened(), 0, "{}: byte {at} with {change:#x}", path.display());
            }
            put(at, *byte);
        }
        assert_eq!(opened(), 1);
        for length in (0..whole.len()).rev() {
            file.set_len(length as u64).unwrap();
            assert_eq!(opened(), 0, "{}: cut to {length}", path.display());
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(opened(), 1);
    }
}

/// A folder in memory of one test, for what cannot be kept at home.
fn memory() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("vaulttoken-test-").tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

#[test]
fn a_folder_that_is_not_ours_alone_is_not_used_and_nobody_waits() {
    let (engine, memory) = (engine::shared(), memory());
    let world = World::new(&engine, 3600);
    world.home.set("XDG_RUNTIME_DIR", &memory.path().display().to_string());
    for what in ["open to all", "foreign", "link", "file"] {
        for folder in [cache(&world), state(&world)] {
            for path in [cache(&world), state(&world)] {
                let _ = fs::remove_file(&path);
                let _ = fs::remove_dir_all(&path);
            }
            asks(&world, what);
            let elsewhere = world.home.path("elsewhere");
            match what {
                "open to all" => fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap(),
                "foreign" if is_root() => chown(&folder, Some(4242), Some(4242)).unwrap(),
                "foreign" => fs::set_permissions(&folder, fs::Permissions::from_mode(0o772)).unwrap(),
                "link" => {
                    fs::rename(&folder, &elsewhere).unwrap();
                    symlink(&elsewhere, &folder).unwrap();
                }
                _ => {
                    fs::remove_dir_all(&folder).unwrap();
                    fs::write(&folder, "").unwrap();
                }
            }
            for _ in 0..3 {
                let cost = asks(&world, what);
                assert!(cost[0] <= 1 && cost[1] <= 1, "{what}: {cost:?}");
            }
            let _ = fs::remove_dir_all(&elsewhere);
        }
    }
}

/// Runs a script in a mount namespace of its own: what it mounts nobody else sees, and ends with it.
fn in_a_namespace(world: &World<'_>, script: &str) -> Vec<String> {
    let unshare = if is_root() { "unshare --mount" } else { "unshare --user --map-root-user --mount" };
    let run = world.home.shell(None, &format!("set -e; exec {unshare} /bin/sh -euc '{script}'")).quiet();
    let token = |line: &str| {
        let credential: serde_json::Value = serde_json::from_str(line).unwrap();
        credential["status"]["token"].as_str().unwrap().to_owned()
    };
    run.stdout.lines().map(token).collect()
}

#[test]
fn a_full_disk_costs_a_fetch_each_time_and_never_a_token() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    // What is there already, and then a page, some pages, or no inode more.
    for size in ["size=4k", "size=8k", "size=16k", "size=1m,nr_inodes=4"] {
        for path in [cache(&world), state(&world)] {
            let _ = fs::remove_dir_all(path);
        }
        let mount = format!("mount -t tmpfs -o mode=700,{size} none");
        let script = format!(
            "mkdir -p \"$HOME/.cache\" \"$HOME/.local\"; {mount} \"$HOME/.cache\"; {mount} \"$HOME/.local\"; \
             for i in 1 2 3; do \"$PLUGIN\" get-token; done"
        );
        let before = asked(&world);
        let tokens = in_a_namespace(&world, &script);
        assert_eq!(tokens.len(), 3, "{size}");
        for token in tokens {
            assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()), "{size}");
        }
        let after = asked(&world);
        assert!(after[0] - before[0] <= 3 && after[1] - before[1] <= 3, "{size}: {before:?} {after:?}");
    }
}

#[test]
fn a_home_that_is_read_only_or_missing_leaves_memory() {
    let (engine, memory) = (engine::shared(), memory());
    let world = World::new(&engine, 3600);
    world.home.set("XDG_RUNTIME_DIR", &memory.path().display().to_string());
    let read_only = "mount --bind \"$HOME\" \"$HOME\"; mount -o remount,bind,ro \"$HOME\"; ";
    let none = "export VAULTTOKEN_CONFIG=\"$HOME/.config/vaulttoken/config.yaml\"; unset HOME; ";
    for before in [read_only, none] {
        for left in fs::read_dir(memory.path()).unwrap() {
            fs::remove_dir_all(left.unwrap().path()).unwrap();
        }
        let counts = asked(&world);
        let script = format!("{before}for i in 1 2; do \"$PLUGIN\" get-token; done");
        let tokens = in_a_namespace(&world, &script);
        assert_eq!(subject(Cluster::shared(), &tokens[0]), Some(engine.reader()));
        assert_eq!(tokens, [tokens[0].as_str(); 2], "it was kept in memory");
        assert_eq!(asked(&world), [counts[0] + 1, counts[1] + 1]);
    }
}
