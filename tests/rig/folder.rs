//! The run folder of this process, where servers keep logs and data. It outlives the process, so that
//! the logs of a failure can be read; the next run removes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A new folder `name` in the run folder of this process.
pub fn folder(name: &str) -> PathBuf {
    let folder = run().join(super::unique(name));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rig");
        remove_those_of_dead_processes(&all);
        let run = all.join(std::process::id().to_string());
        fs::create_dir_all(&run).unwrap();
        run
    })
}

fn remove_those_of_dead_processes(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let alive = Path::new("/proc").join(entry.file_name()).exists();
        let own = entry.file_name() == *std::process::id().to_string();
        // `own` is left from a process that had our number before us.
        if own || !alive {
            // Another new process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
