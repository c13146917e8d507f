//! Finds the programs that the rig starts. Where they lie is decided by the script `tests/rig/tools`
//! alone, which also installs them and honours the variables that put others in their place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The path of the program `name`. Panics, naming the command that installs it, where it is missing.
pub fn tool(name: &str) -> PathBuf {
    static PLACES: OnceLock<HashMap<String, String>> = OnceLock::new();
    let places = PLACES.get_or_init(places);
    match places.get(name).map(String::as_str) {
        None => panic!("tests/rig/tools knows no tool `{name}`"),
        Some("") => panic!("`{name}` is missing: run `make tools`"),
        Some(path) => PathBuf::from(path),
    }
}

fn places() -> HashMap<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/tools");
    let output = Command::new(&script)
        .arg("--print")
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("could not run {}: {error}", script.display()));
    assert!(output.status.success(), "{} --print: {}", script.display(), output.status);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, path)| (name.to_owned(), path.to_owned()))
        .collect()
}
