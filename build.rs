//! Links the unwinder into the program instead of loading it at each start.
//!
//! Rust's standard library takes it from `libgcc_s.so.1`. Finding, mapping and relocating that second
//! library is a fifth of what starting a small program costs; GCC brings the same code as an archive.
//! Where the compiler has no such archive, or the system no such library, nothing changes.
//!
//! What is released loads no library at all (`krew-manifest/build`); this serves `cargo build` and
//! `cargo install`. The archive of GCC 12 and later asks for glibc 2.35 where the rest asks for 2.34.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through its environment")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ENV") != "gnu" {
        return;
    }
    let linker = Some(variable("RUSTC_LINKER")).filter(|linker| !linker.is_empty());
    let asked = Command::new(linker.as_deref().unwrap_or("cc")).arg("-print-file-name=libgcc_eh.a").output();
    // What it does not have it names as it was asked, without a folder.
    let has_archive =
        asked.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_absolute());
    if has_archive {
        // As a library, so that the linker takes it where it is met first; it is one whatever its name.
        println!("cargo::rustc-link-lib=dylib:+verbatim=libgcc_eh.a");
    }
}
