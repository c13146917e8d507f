//! Reads an archive as krew does, and installs it as krew does: unpack, move, check, link. It writes only
//! below the root that it is given.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::manifest::{Manifest, Platform};

/// One member of a tar archive.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub mode: u32,
    pub owner: (u64, u64),
    pub owner_names: (String, String),
    pub changed: u64,
    /// `0` a file, `1` a hard link, `2` a symbolic link, `5` a folder.
    pub kind: u8,
    pub content: Vec<u8>,
}

/// The digest of `content` as a manifest writes it.
pub fn sha256(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The members of the archive, or the rule that it breaks. krew looks at the content, not at the name; of
/// what it can read (gzip, zip) this project makes only the first.
pub fn members(archive: &[u8]) -> Result<Vec<Member>, String> {
    if !archive.starts_with(&[0x1f, 0x8b]) {
        return Err("the archive is not gzip".into());
    }
    let tar = gunzip(archive);
    let mut members = Vec::new();
    let mut rest = &tar[..];
    while rest.iter().take(512).any(|byte| *byte != 0) {
        let (header, after) = rest.split_at(512);
        let size = usize::try_from(octal(&header[124..136])).unwrap();
        let member = Member {
            name: format!("{}{}", prefix(header), text(&header[..100])),
            mode: u32::try_from(octal(&header[100..108])).unwrap(),
            owner: (octal(&header[108..116]), octal(&header[116..124])),
            owner_names: (text(&header[265..297]), text(&header[297..329])),
            changed: octal(&header[136..148]),
            kind: header[156],
            content: after[..size].to_vec(),
        };
        if !matches!(member.kind, b'0' | b'5') {
            return Err(format!("`{}` is neither a file nor a folder", member.name));
        }
        // krew looks for the two dots anywhere in the name, so that `notes..txt` fails too.
        if member.name.contains("..") || member.name.starts_with('/') {
            return Err(format!("`{}` has two dots or begins at the root", member.name));
        }
        members.push(member);
        rest = &after[size.div_ceil(512) * 512..];
    }
    Ok(members)
}

/// Installs the archive below `root` and gives the link that kubectl finds, or the rule that is broken.
pub fn install(
    manifest: &Manifest,
    platform: &Platform,
    archive: &[u8],
    root: &Path,
) -> Result<PathBuf, String> {
    if sha256(archive) != platform.sha256 {
        return Err("the archive has another sha256 than the manifest".into());
    }
    let unpacked = root.join("unpacked");
    unpack(&members(archive)?, &unpacked);
    let store = root.join("store").join(&manifest.metadata.name).join(&manifest.spec.version);
    fs::create_dir_all(store.parent().unwrap()).unwrap();
    match &platform.files {
        None => fs::rename(&unpacked, &store).unwrap(),
        Some(moves) => {
            for file in moves {
                let from = unpacked.join(&file.from);
                if !from.is_file() {
                    return Err(format!("the archive has no `{}`", file.from));
                }
                let name = if file.to == "." { from.file_name().unwrap() } else { file.to.as_ref() };
                let to = store.join(name);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::rename(from, to).unwrap();
            }
        }
    }

    let program = store.join(&platform.bin);
    if !program.is_file() {
        return Err(format!("the installed plugin has no `{}`", platform.bin));
    }
    if mode(&program) != 0o755 {
        return Err(format!("`{}` has mode {:o}", platform.bin, mode(&program)));
    }
    let license = |name: &str| {
        let name = name.to_ascii_lowercase();
        let stem = name.strip_suffix(".txt").or_else(|| name.strip_suffix(".md")).unwrap_or(&name);
        matches!(stem, "license" | "licenses") || matches!(&*name, "copying" | "copying.txt")
    };
    let mut installed = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name());
    if !installed.any(|name| license(&name.to_string_lossy())) {
        return Err("no licence lands in the install folder".into());
    }

    let bin = root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let link = bin.join(link_name(&manifest.metadata.name, platform.is_for("windows", "amd64")));
    symlink(&program, &link).unwrap();
    Ok(link)
}

/// How the link is called that kubectl looks for: it turns a hyphen within a word into `_`.
pub fn link_name(plugin: &str, windows: bool) -> String {
    format!("kubectl-{}{}", plugin.replace('-', "_"), if windows { ".exe" } else { "" })
}

fn unpack(members: &[Member], folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for member in members {
        let path = folder.join(&member.name);
        if member.kind == b'5' {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut options = fs::File::options();
        let mut file = options.write(true).create_new(true).mode(member.mode).open(path).unwrap();
        file.write_all(&member.content).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn gunzip(archive: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(archive).unwrap());
        gzip.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "gzip: {}", output.status);
    output.stdout
}

/// The folder that long names have in a field of their own.
fn prefix(header: &[u8]) -> String {
    match text(&header[345..500]) {
        folder if folder.is_empty() => folder,
        folder => format!("{folder}/"),
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).unwrap()
}

fn octal(field: &[u8]) -> u64 {
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() { 0 } else { u64::from_str_radix(digits, 8).unwrap() }
}
