//! Many processes at once: one of them does the work, and the others have what came of it.

use std::fs::File;
use std::process::Stdio;

use serde_json::json;

use crate::engine::{self, subject};
use crate::front::{Fault, LIMIT, World};
use crate::home::Run;
use crate::rig::{Cluster, Reply, poll};

const MANY: usize = 100;

/// So many processes at once that each want a token; `held` is called once all but one wait.
fn storm(world: &World, timeout: &str, held: Option<&dyn Fn()>) -> Vec<Run> {
    let log = |number| world.home.path(&format!("log-{number}"));
    let children: Vec<_> = (0..MANY)
        .map(|number| {
            let mut command = world.home.command(&["get-token", "-v", timeout]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log(number)).unwrap());
            command.spawn().unwrap()
        })
        .collect();
    let read = |number| std::fs::read_to_string(log(number)).unwrap();
    if let Some(release) = held {
        let waits = |number: &usize| read(*number).contains("waiting for another process");
        poll("all who wait for one", LIMIT, || ((0..MANY).filter(waits).count() == MANY - 1).then_some(()));
        release();
    }
    let finish = |(number, child): (usize, std::process::Child)| {
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Run { code: output.status.code().unwrap(), stdout, stderr: read(number) }
    };
    children.into_iter().enumerate().map(finish).collect()
}

#[test]
fn a_hundred_at_once_cause_one_log_in_and_one_mint() {
    let engine = engine::shared();
    let world = World::new(&engine, 3600);
    world.hold(&world.mint_path(), Reply::Passed);
    let runs = storm(&world, "--timeout=100s", Some(&|| world.release()));
    let token = runs[0].token();
    world.home.plant(&token);
    for run in &runs {
        assert_eq!((run.code, run.token()), (0, token.clone()), "{}", run.stderr);
    }
    assert_eq!(subject(Cluster::shared(), &token), Some(engine.reader()));
    assert_eq!(world.done(&world.log_in_path()), 1);
    assert_eq!(world.done(&world.mint_path()), 1);
}

#[test]
fn a_hundred_at_once_share_the_failure_of_the_one_that_asked() {
    let engine = engine::shared();
    for path in [World::log_in_path, World::mint_path] {
        let world = World::new(&engine, 3600);
        let path = path(&world);
        world.hold(&path, Reply::json(503, &json!({"errors": ["Vault is sealed"]})));
        let runs = storm(&world, "--timeout=100s", Some(&|| world.release()));
        let line = format!("error: profile `prod`: `{}` is sealed", world.address);
        for run in &runs {
            assert_eq!((run.code, run.stdout.as_str()), (5, ""), "{run:?}");
            assert_eq!(run.stderr.lines().filter(|other| **other == line).count(), 1, "{run:?}");
        }
        assert_eq!((world.asked(&path), world.done(&path)), (1, 0));
    }
}

/// Nobody outwaits the one that asks by so little that it asks itself.
#[test]
fn a_hundred_at_once_at_a_vault_that_hangs_do_not_all_ask() {
    let engine = engine::shared();
    let mut world = World::new(&engine, 3600);
    let path = world.log_in_path();
    world.suffer(Fault::Answers(Reply::Hung, usize::MAX), &path);
    let runs = storm(&world, "--timeout=3s", None);
    for run in &runs {
        assert_eq!((run.code, run.stdout.as_str()), (5, ""), "{run:?}");
    }
    // Who comes after the first failure may try again.
    let asked = world.asked(&path);
    assert!(asked <= 5, "asked {asked} times");
}
