//! The programs in C that the figures stand beside, compiled here, and the one that starts and times.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::person::Person;
use crate::rig::folder;

/// Starts programs in a person's environment. It is their parent, as a client is, so that what stands
/// in this environment counts as the person's own.
pub struct Launch {
    program: PathBuf,
    environment: Vec<(String, String)>,
    /// Ends at once.
    pub nothing: PathBuf,
    /// Prints its argument.
    pub constant: PathBuf,
}

impl Launch {
    pub fn new(person: &Person) -> Self {
        let folder = folder("floor");
        let compiled = |name: &str| {
            let source =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor").join(name).with_extension("c");
            let program = folder.join(name);
            let mut compiler = Command::new("cc");
            compiler.args(["-O2", "-static", "-o"]).arg(&program).arg(&source);
            let status = compiler.status().expect("a C compiler named `cc`");
            assert!(status.success(), "{} was not compiled", source.display());
            program
        };
        Self {
            program: compiled("launch"),
            environment: person.environment.clone(),
            nothing: compiled("nothing"),
            constant: compiled("constant"),
        }
    }

    /// Nanoseconds of each command in each round; `pause` microseconds lie between rounds. Each command
    /// has a parent of its own, as in kubectl: a program that asks again for what it has is suspected
    /// to have been refused.
    pub fn turns(&self, rounds: usize, pause: u32, commands: &[Vec<String>]) -> Vec<Vec<f64>> {
        table_of(&self.run("turns", rounds, pause, commands), rounds)
    }

    /// The same with all commands on one processor, for those that wait for nobody: none of them has to
    /// move, and they are disturbed alike.
    pub fn pinned(&self, rounds: usize, commands: &[Vec<String>]) -> Vec<Vec<f64>> {
        table_of(&self.run("pinned", rounds, 0, commands), rounds)
    }

    /// The same beneath one parent that lives on, as a client that asks for each of its requests.
    pub fn lasting(&self, rounds: usize, pause: u32, commands: &[Vec<String>]) -> Vec<Vec<f64>> {
        table_of(&self.run("lasting", rounds, pause, commands), rounds)
    }

    /// Nanoseconds until the last of so many at once has ended.
    pub fn crowd(&self, many: usize, command: &[String]) -> f64 {
        self.run("crowd", many, 0, &[command.to_vec()]).trim().parse().unwrap()
    }

    /// The most memory in KiB that any of so many starts had.
    pub fn peak(&self, many: usize, command: &[String]) -> f64 {
        self.run("peak", many, 0, &[command.to_vec()]).trim().parse().unwrap()
    }

    fn run(&self, mode: &str, many: usize, pause: u32, commands: &[Vec<String>]) -> String {
        let mut launch = Command::new(&self.program);
        launch.args([mode, &many.to_string(), &pause.to_string()]);
        for command in commands {
            launch.arg("--").args(command);
        }
        launch.env_clear().envs(self.environment.iter().cloned());
        let output = launch.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "{commands:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn table_of(output: &str, rounds: usize) -> Vec<Vec<f64>> {
    let lines: Vec<Vec<f64>> =
        output.lines().map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect();
    assert_eq!(lines.len(), rounds);
    lines
}

/// A path as a word of a command.
pub fn word(path: &Path) -> String {
    path.display().to_string()
}
