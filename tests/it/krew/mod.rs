//! Packaging: what `krew-manifest/dist` makes keeps every rule of krew, is the same bytes each time, and
//! once installed is what kubectl runs. krew itself is not needed; its rules are in [`manifest`] and
//! [`archive`], and for each of them something broken is shown to be caught.

mod archive;
mod manifest;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use archive::{install, link_name, members, sha256};
use manifest::Manifest;

use crate::rig::tool;

/// The program of this build.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-vaulttoken");

/// What a release has, as krew names them.
const PLATFORMS: [&str; 5] = ["linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64"];

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `krew-manifest/dist` into `out`.
fn dist(out: &Path, arguments: &[String]) -> Output {
    Command::new(tree().join("krew-manifest/dist"))
        .arg("--out")
        .arg(out)
        .args(arguments)
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap()
}

/// Runs it and gives the text of the manifest that it wrote.
fn pack(out: &Path, arguments: &[String]) -> String {
    let output = dist(out, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(out.join("vaulttoken.yaml")).unwrap()
}

/// A stand-in for the programs of other machines, with a mode that must not get into the archive.
fn stand_in(folder: &Path) -> PathBuf {
    let path = folder.join("some program");
    fs::write(&path, "#!/bin/sh\necho stand-in\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Packs a stand-in for every platform of a release.
fn pack_release(folder: &Path, out: &Path) -> String {
    let program = stand_in(folder);
    let arguments = PLATFORMS.map(|platform| format!("{platform}={}", program.display()));
    pack(out, &arguments)
}

#[test]
fn the_manifest_in_the_tree_keeps_every_rule_and_is_for_this_version() {
    let text = fs::read_to_string(tree().join("krew-manifest/vaulttoken.yaml")).unwrap();
    let manifest = Manifest::parse(&text);
    assert_eq!(manifest.breaches("vaulttoken.yaml"), [""; 0]);
    assert_eq!(manifest.spec.version, concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(link_name(&manifest.metadata.name, false), "kubectl-vaulttoken");
    assert_eq!(link_name(&manifest.metadata.name, true), "kubectl-vaulttoken.exe");
    assert_eq!(link_name("vault-token", false), "kubectl-vault_token");
}

#[test]
fn a_release_keeps_every_rule_on_every_platform() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let manifest = Manifest::parse(&pack_release(folder.path(), &out));
    assert_eq!(manifest.breaches("vaulttoken.yaml"), [""; 0]);
    assert_eq!(manifest.spec.platforms.len(), PLATFORMS.len());
    for name in PLATFORMS {
        let (os, arch) = name.split_once('_').unwrap();
        let platform = manifest.platform(os, arch);
        let file = format!("kubectl-vaulttoken_{}_{name}.tar.gz", manifest.spec.version);
        assert_eq!(platform.archive_name(), file);
        let archive = fs::read(out.join(&file)).unwrap();
        let checksum = fs::read_to_string(out.join(format!("{file}.sha256"))).unwrap();
        assert_eq!(checksum, format!("{}  {file}\n", platform.sha256));
        let root = folder.path().join(name);
        let link = install(&manifest, platform, &archive, &root).unwrap();
        assert_eq!(link, root.join("bin").join(link_name("vaulttoken", os == "windows")));
    }
    let left = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0);
}

/// A tag can be moved to other code, a digest cannot.
#[test]
fn workflows_name_actions_by_digest_and_pack_every_platform() {
    let workflow = |name: &str| fs::read_to_string(tree().join(".github/workflows").join(name)).unwrap();
    let (checking, releasing) = (workflow("ci.yml"), workflow("release.yml"));
    let used = checking.lines().chain(releasing.lines()).filter_map(|line| line.split_once("uses: "));
    let used: Vec<_> = used.map(|(_, action)| action).collect();
    assert!(!used.is_empty());
    for action in used {
        let (digest, version) = action.split_once('@').unwrap().1.split_once(" # v").unwrap_or_default();
        let hex = digest.len() == 40 && digest.chars().all(|c| c.is_ascii_hexdigit());
        assert!(hex && version.starts_with(|c: char| c.is_ascii_digit()), "{action}");
    }
    assert!(releasing.contains(&format!("for platform in {}; do", PLATFORMS.join(" "))));
    for platform in PLATFORMS {
        assert!(releasing.contains(&format!("{{ platform: {platform}, ")), "{platform} is not built");
    }
}

#[test]
fn the_same_program_packs_to_the_same_bytes_with_nothing_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("another folder"));
    assert_eq!(pack_release(folder.path(), &one), pack_release(folder.path(), &other));
    for entry in fs::read_dir(&one).unwrap() {
        let name = entry.unwrap().file_name();
        assert_eq!(fs::read(one.join(&name)).unwrap(), fs::read(other.join(&name)).unwrap(), "{name:?}");
    }
    let archive =
        fs::read(one.join(concat!("kubectl-vaulttoken_v", env!("CARGO_PKG_VERSION"), "_linux_amd64.tar.gz")));
    let archive = archive.unwrap();
    // gzip's header: no name (flags), no time.
    assert_eq!(archive[3..8], [0; 5]);
    let members = members(&archive).unwrap();
    let names: Vec<_> = members.iter().map(|member| (&*member.name, member.mode)).collect();
    assert_eq!(names, [("LICENSE", 0o644), ("THIRD-PARTY.txt", 0o644), ("kubectl-vaulttoken", 0o755)]);
    for member in &members {
        assert_eq!(member.owner, (0, 0));
        assert_eq!(member.owner_names, (String::new(), String::new()));
        assert_eq!(member.changed, members[0].changed);
    }
}

#[test]
fn the_time_in_an_archive_is_the_one_that_the_packager_gives() {
    let folder = tempfile::tempdir().unwrap();
    let program = stand_in(folder.path());
    let output = Command::new(tree().join("krew-manifest/dist"))
        .args(["--out", "out"])
        .arg(format!("linux_arm64={}", program.file_name().unwrap().display()))
        .current_dir(folder.path())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = concat!("out/kubectl-vaulttoken_v", env!("CARGO_PKG_VERSION"), "_linux_arm64.tar.gz");
    let members = members(&fs::read(folder.path().join(name)).unwrap()).unwrap();
    assert_eq!(members[0].changed, 1_700_000_000);
}

#[test]
fn packing_says_what_is_wrong_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let complaint = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let output = dist(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(complaint(&["linux_amd64"]), "dist: `linux_amd64`: not PLATFORM=PROGRAM\n");
    assert_eq!(complaint(&["linux_amd64=/no/such"]), "dist: /no/such: no such program\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Unpacks as krew does, links as krew does, and lets the real kubectl find it.
#[test]
fn installed_as_krew_does_kubectl_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let manifest = Manifest::parse(&pack(&out, &[format!("linux_amd64={PROGRAM}")]));
    let platform = manifest.platform("linux", "amd64");
    let archive = fs::read(out.join(platform.archive_name())).unwrap();
    let root = folder.path().join("krew");
    let link = install(&manifest, platform, &archive, &root).unwrap();

    let kubectl = |arguments: &[&str]| {
        let output = Command::new(tool("kubectl"))
            .args(arguments)
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", link.parent().unwrap())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {arguments:?}: {} {complaint}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    // It fails where kubectl has something to say against the plugin: its mode, its name, a second one.
    let found = kubectl(&["plugin", "list", "--name-only"]);
    assert_eq!(found.lines().last(), Some("kubectl-vaulttoken"));
    let version = kubectl(&["vaulttoken", "version"]);
    assert!(version.contains("kubectl-vaulttoken"), "{version:?}");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

/// A manifest that keeps every rule, to be broken in one place at a time.
const GOOD: &str = "\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: vaulttoken
spec:
  version: v1.2.3
  homepage: https://example.com/plugin
  shortDescription: Tokens from a vault
  description: |
    Some words.
  caveats: |
    Some more.
  platforms:
    - selector:
        matchLabels:
          os: linux
          arch: amd64
      uri: https://example.com/plugin/releases/download/v1.2.3/plugin.tar.gz
      sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      bin: kubectl-vaulttoken
";

/// The digest in it.
const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What is found when `from` reads `to`, in a file called `vaulttoken.yaml`.
fn broken(from: &str, to: &str) -> Vec<String> {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    Manifest::parse(&GOOD.replace(from, to)).breaches("vaulttoken.yaml")
}

#[test]
fn the_whole_manifest_is_the_one_that_the_broken_ones_are_made_from() {
    assert_eq!(Manifest::parse(GOOD).breaches("vaulttoken.yaml"), [""; 0]);
    assert_eq!(Manifest::parse(GOOD).breaches("vaulttoken.yml"), ["the file is not called NAME.yaml"]);
    let misspelt = GOOD.replace("caveats", "caveat");
    assert!(serde_saphyr::from_str::<Manifest>(&misspelt).is_err());
}

#[test]
fn broken_names_versions_and_texts_are_caught() {
    assert_eq!(broken("v1alpha2", "v1alpha1"), ["apiVersion is not krew's"]);
    assert_eq!(broken("kind: Plugin", "kind: Receipt"), ["kind is not Plugin"]);
    for (version, kept) in [
        ("v1.2.3", true),
        ("v1.2.3-rc.1", true),
        ("v1.2.3+git.0a", true),
        ("1.2.3", false),
        ("v1.2", false),
        ("v1.02.3", false),
        ("v1.2.3-", false),
        ("v1.2.3-rc.01", false),
        ("v1.2.x", false),
    ] {
        let breaches = Manifest::parse(&GOOD.replace("v1.2.3", version)).breaches("vaulttoken.yaml");
        let expected: &[&str] = if kept { &[] } else { &["version is not a v and a semantic version"] };
        assert_eq!(breaches, expected, "{version}");
    }
    for (name, breach) in [
        ("vault token", "the name does not match ^[\\w-]+$"),
        ("LPT1", "the name is a device on Windows, the name is not lower case with hyphens"),
        ("nul", "the name is a device on Windows"),
        ("Vaulttoken", "the name is not lower case with hyphens"),
        ("vault_token", "the name is not lower case with hyphens"),
        ("kube-token", "the name says kube"),
    ] {
        let text = GOOD.replace("name: vaulttoken", &format!("name: {name}"));
        assert_eq!(Manifest::parse(&text).breaches(&format!("{name}.yaml")).join(", "), breach);
    }
    let wide = "x".repeat(81);
    let short = "shortDescription: Tokens from a vault";
    assert_eq!(broken(short, "shortDescription: ''"), ["there is no shortDescription"]);
    assert_eq!(broken(short, "shortDescription: \"a\\nb\""), ["shortDescription has several lines"]);
    let long = format!("shortDescription: {}", "x".repeat(51));
    assert_eq!(broken(short, &long), ["shortDescription is longer than 50"]);
    assert_eq!(
        broken(short, "shortDescription: A kubectl tool"),
        ["shortDescription says what every plugin is"]
    );
    assert_eq!(broken("description: |\n    Some words.", "description: ''"), ["there is no description"]);
    assert_eq!(broken("Some words.", &wide), ["description is wider than 80"]);
    assert_eq!(broken("Some more.", &wide), ["caveats are wider than 80"]);
    assert_eq!(broken("Some words.", "Run kubectl vaulttoken login."), ["description explains usage"]);
    assert_eq!(
        Manifest::parse(&GOOD.replace("https:", "http:")).breaches("vaulttoken.yaml"),
        ["homepage is not https", "uri is not https"]
    );
}

#[test]
fn broken_platforms_are_caught() {
    let (head, platform) = GOOD.split_once("    - selector").unwrap();
    let none = head.replace("platforms:\n", "platforms: []\n");
    assert_eq!(Manifest::parse(&none).breaches("vaulttoken.yaml"), ["there is no platform"]);
    let twice = format!("{GOOD}    - selector{}", platform.replace("          arch: amd64\n", ""));
    assert_eq!(Manifest::parse(&twice).breaches("vaulttoken.yaml"), ["2 platforms match linux/amd64"]);
    let labels = "        matchLabels:\n          os: linux\n          arch: amd64\n";
    assert_eq!(broken(labels, "        matchLabels: {}\n"), ["a platform has no selector"]);
    assert_eq!(broken("os: linux", "libc: musl"), ["a selector has a key other than os and arch"]);
    for unknown in ["s390x", "riscv64"] {
        assert_eq!(
            broken("arch: amd64", &format!("arch: {unknown}")),
            ["a selector matches no platform that krew supports"]
        );
    }

    assert_eq!(broken("plugin.tar.gz", "plugin.tar.xz"), ["uri names neither a .tar.gz nor a .zip"]);
    assert_eq!(
        broken("download/v1.2.3", "download/v1.2.2"),
        ["uri is not in this version's release of the project"]
    );
    for wrong in ["''", "abcdef", &DIGEST.to_uppercase(), &DIGEST.replace('a', "g")] {
        assert_eq!(broken(DIGEST, wrong), ["sha256 is not 64 lower-case hexadecimal digits"]);
    }

    let bin = "bin: kubectl-vaulttoken";
    for wrong in ["''", "./kubectl-vaulttoken", "/usr/bin/x", "../x", "a//b", "."] {
        assert_eq!(broken(bin, &format!("bin: {wrong}")), ["bin is not a clean path in the archive"]);
    }
    let exe = ["bin ends with .exe elsewhere than on Windows, or not there"];
    assert_eq!(broken(bin, "bin: kubectl-vaulttoken.exe"), exe);
    assert_eq!(broken("os: linux", "os: windows"), exe);

    let files = |files: &str| broken(bin, &format!("{bin}\n      files: {files}"));
    assert_eq!(files("[{from: a, to: .}, {from: ./b, to: c/d}]"), [""; 0]);
    assert_eq!(files("[]"), ["files is empty"]);
    assert_eq!(files("[{from: a}]"), ["files lacks from or to"]);
    assert_eq!(files("[{from: a, to: ./b}]"), ["files.to is not clean"]);
    assert_eq!(files("[{from: a, to: ../b}]"), ["files.to is not clean"]);
    assert_eq!(files("[{from: ../a, to: b}]"), ["files.from leads out of the archive"]);
}

/// Packs what `prepare` (a shell script) makes, and installs it; `files` is put into the manifest.
fn install_made_by(prepare: &str, pack: &str, files: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e; mkdir in; cd in; touch LICENSE; printf x >kubectl-vaulttoken
         chmod 755 kubectl-vaulttoken; {prepare}; {pack}"
    );
    let shell = Command::new("/bin/sh").args(["-c", &script]).current_dir(folder.path()).status();
    assert!(shell.unwrap().success(), "{script}");
    let archive = fs::read(folder.path().join("archive")).unwrap();
    let mut text = GOOD.replace(DIGEST, &sha256(&archive));
    text.push_str(files);
    let manifest = Manifest::parse(&text);
    assert_eq!(manifest.breaches("vaulttoken.yaml"), [""; 0]);
    let platform = manifest.platform("linux", "amd64");
    install(&manifest, platform, &archive, &folder.path().join("root")).map(|_| ())
}

#[test]
fn broken_archives_are_caught() {
    const TAR: &str = "tar --create --gzip --file ../archive --format=ustar *";
    let breach = |prepare: &str| install_made_by(prepare, TAR, "").err();
    assert_eq!(breach("true"), None);
    assert_eq!(breach("mv LICENSE COPYING.txt; mkdir docs; touch docs/notes"), None);
    let found = |text: &str| Some(text.to_owned());
    assert_eq!(breach("ln -s LICENSE link"), found("`link` is neither a file nor a folder"));
    assert_eq!(breach("ln LICENSE link"), found("`link` is neither a file nor a folder"));
    assert_eq!(breach("touch notes..txt"), found("`notes..txt` has two dots or begins at the root"));
    assert_eq!(breach("chmod 644 kubectl-vaulttoken"), found("`kubectl-vaulttoken` has mode 644"));
    assert_eq!(breach("rm LICENSE"), found("no licence lands in the install folder"));
    assert_eq!(breach("mkdir docs; mv LICENSE docs"), found("no licence lands in the install folder"));
    assert_eq!(
        breach("mv kubectl-vaulttoken vaulttoken"),
        found("the installed plugin has no `kubectl-vaulttoken`")
    );
    assert_eq!(
        install_made_by("true", "tar --create --file ../archive *", "").err(),
        found("the archive is not gzip")
    );

    let files = "      files: [{from: ./LICENSE, to: .}, {from: bin/tool, to: kubectl-vaulttoken}]\n";
    let prepared = "mkdir bin; mv kubectl-vaulttoken bin/tool";
    assert_eq!(install_made_by(prepared, TAR, files), Ok(()));
    assert_eq!(install_made_by("true", TAR, files).err(), found("the archive has no `bin/tool`"));
    let without = "      files: [{from: kubectl-vaulttoken, to: .}]\n";
    assert_eq!(install_made_by("true", TAR, without).err(), found("no licence lands in the install folder"));

    let manifest = Manifest::parse(GOOD);
    let nowhere = Path::new("/nowhere");
    let answer = install(&manifest, manifest.platform("linux", "amd64"), b"other bytes", nowhere);
    assert_eq!(answer.err(), found("the archive has another sha256 than the manifest"));
}
