//! The notices that go into the archive with the program: whose code is linked into it, and the terms
//! of those who do not offer the licence that the archive has anyway. `make notices` writes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const FILE: &str = "THIRD-PARTY.txt";

const HEAD: &str = "\
kubectl-vaulttoken is licensed under the Apache License 2.0, see LICENSE. The program contains the works
below and the Rust standard library (MIT OR Apache-2.0). Where a work is offered under the Apache License
2.0, that is the licence under which it is used here; the terms of all others follow after the list.

The program for Linux also contains parts of musl, a C library (MIT, its terms follow too), of GCC's run-time
libraries (GPL-3.0-or-later WITH GCC-exception-3.1) and of LLVM's libunwind (Apache-2.0 WITH LLVM-exception).
";

/// What is linked besides packages: Rust's part for this target brings it.
const C_LIBRARY: &str = "musl";

/// A package that is linked into the program on some platform.
struct Package {
    name: String,
    version: String,
    licence: String,
    folder: PathBuf,
}

fn linked() -> Vec<Package> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let by_id = |list: &Value| -> BTreeMap<String, Value> {
        let entries = list.as_array().unwrap().iter();
        entries.map(|entry| (entry["id"].as_str().unwrap().to_owned(), entry.clone())).collect()
    };
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let own = metadata["resolve"]["root"].as_str().unwrap().to_owned();
    let (mut seen, mut left) = (BTreeSet::new(), vec![own.clone()]);
    while let Some(id) = left.pop() {
        for dependency in nodes[&id]["deps"].as_array().unwrap() {
            // Null is what is linked; the others are for building and testing.
            let is_linked =
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
            let id = dependency["pkg"].as_str().unwrap().to_owned();
            if is_linked && seen.insert(id.clone()) {
                left.push(id);
            }
        }
    }
    let mut linked: Vec<Package> = seen
        .iter()
        .map(|id| {
            let text = |field: &str| packages[id][field].as_str().unwrap_or_default().to_owned();
            let folder = Path::new(&text("manifest_path")).parent().unwrap().to_owned();
            Package { name: text("name"), version: text("version"), licence: text("license"), folder }
        })
        .collect();
    linked.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    linked
}

/// Whether the Apache License 2.0 alone is enough to use it.
fn offers_apache(licence: &str) -> bool {
    let choices = licence.replace('/', " OR ");
    !licence.contains(" AND ") && choices.split(" OR ").any(|choice| choice.trim().starts_with("Apache-2.0"))
}

/// The texts in a folder whose names begin so, by their file names.
fn texts(folder: &Path, beginnings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && beginnings.iter().any(|beginning| name.to_uppercase().starts_with(beginning)) {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).replace("\r\n", "\n");
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            found.push((name, lines.join("\n").trim().to_owned()));
        }
    }
    found.sort();
    found
}

fn notices() -> String {
    let (mut list, mut terms) = (String::new(), BTreeMap::<String, Vec<String>>::new());
    for package in linked() {
        let title = format!("{} {}", package.name, package.version);
        writeln!(list, "{title}: {}", package.licence).unwrap();
        let apache = offers_apache(&package.licence);
        let wanted: &[&str] = if apache { &["NOTICE"] } else { &["LICEN", "COPYING", "COPYRIGHT", "NOTICE"] };
        let found = texts(&package.folder, wanted);
        assert!(apache || !found.is_empty(), "{title} has no text of its licence");
        for (_, text) in found {
            terms.entry(text).or_default().push(title.clone());
        }
        if package.name == "libdbus-sys" {
            // What this package builds in on Linux.
            let found = texts(&package.folder.join("vendor/dbus"), &["COPYING"]);
            assert_eq!(found.len(), 1, "libdbus has one text");
            writeln!(list, "libdbus, within {title}: AFL-2.1 OR GPL-2.0-or-later, used under AFL-2.1")
                .unwrap();
            terms.entry(found[0].1.clone()).or_default().push("libdbus".to_owned());
        }
    }
    let mut text = format!("{HEAD}\n{list}");
    let found = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("krew-manifest"), &["MUSL"]);
    assert_eq!(found.len(), 1, "{C_LIBRARY} has one text");
    terms.entry(found[0].1.clone()).or_default().push(C_LIBRARY.to_owned());
    let mut terms: Vec<(Vec<String>, String)> = terms.into_iter().map(|(text, who)| (who, text)).collect();
    terms.sort();
    for (who, terms) in terms {
        let line = "-".repeat(80);
        write!(text, "\n{line}\n{}\n{line}\n\n{terms}\n", who.join("\n")).unwrap();
    }
    text
}

#[test]
fn the_notices_name_all_that_is_linked_and_hold_its_terms() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let notices = notices();
    if std::env::var_os("VAULTTOKEN_TEST_WRITE_NOTICES").is_some() {
        fs::write(&path, &notices).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == notices, "{FILE} is not what Cargo.lock asks for: run `make notices`");
    for known in ["ring ", "rustls ", "tokio ", "libdbus, within", "Academic Free License", "Rich Felker"] {
        assert!(notices.contains(known), "no `{known}`");
    }
}
