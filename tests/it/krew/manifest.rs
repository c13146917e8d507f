//! krew's manifest and the rules that it has to keep: those that krew's validation enforces, those that
//! the index's reviewers ask for, and ours. It reads text and touches nothing else.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What krew knows as a plugin. Unknown fields are refused: a misspelt one would be lost silently.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    pub version: String,
    #[serde(default)]
    pub homepage: String,
    #[serde(default)]
    pub short_description: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub caveats: String,
    #[serde(default)]
    pub platforms: Vec<Platform>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    pub selector: Option<Selector>,
    #[serde(default)]
    pub uri: String,
    #[serde(default)]
    pub sha256: String,
    #[serde(default)]
    pub bin: String,
    pub files: Option<Vec<FileMove>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// Which files of the archive land where in the install folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMove {
    #[serde(default)]
    pub from: String,
    #[serde(default)]
    pub to: String,
}

/// The pairs that krew's own validation knows; any other fails there.
const KNOWN: [(&str, &str); 11] = [
    ("darwin", "386"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
    ("linux", "386"),
    ("linux", "amd64"),
    ("linux", "arm"),
    ("linux", "arm64"),
    ("linux", "ppc64le"),
    ("windows", "386"),
    ("windows", "amd64"),
    ("windows", "arm64"),
];

impl Manifest {
    pub fn parse(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("not a manifest: {error}"))
    }

    /// The platform of this os and arch.
    pub fn platform(&self, os: &str, arch: &str) -> &Platform {
        let found = self.spec.platforms.iter().find(|platform| platform.is_for(os, arch));
        found.unwrap_or_else(|| panic!("no platform for {os}/{arch}"))
    }

    /// Every rule that this manifest breaks when its file is called `file_name`.
    pub fn breaches(&self, file_name: &str) -> Vec<String> {
        let mut breaches = Breaches::default();
        breaches.unless(
            self.api_version == "krew.googlecontainertools.github.com/v1alpha2",
            "apiVersion is not krew's",
        );
        breaches.unless(self.kind == "Plugin", "kind is not Plugin");
        self.check_name(file_name, &mut breaches);
        self.check_texts(&mut breaches);
        breaches.unless(is_version(&self.spec.version), "version is not a v and a semantic version");
        breaches.unless(!self.spec.platforms.is_empty(), "there is no platform");
        for platform in &self.spec.platforms {
            platform.check(&self.spec, &mut breaches);
        }
        self.check_selection(&mut breaches);
        breaches.0
    }

    fn check_name(&self, file_name: &str, breaches: &mut Breaches) {
        let name = &self.metadata.name;
        breaches.unless(file_name == format!("{name}.yaml"), "the file is not called NAME.yaml");
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        breaches.unless(!name.is_empty() && name.chars().all(safe), "the name does not match ^[\\w-]+$");
        let upper = name.to_ascii_uppercase();
        let numbered = |device: &str| {
            upper.strip_prefix(device).is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'9']))
        };
        let device = ["CON", "PRN", "AUX", "NUL"].contains(&&*upper) || numbered("COM") || numbered("LPT");
        breaches.unless(!device, "the name is a device on Windows");
        // From the naming guide, which reviewers go by.
        let guide = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        breaches
            .unless(name.chars().all(|c| guide(c) || !safe(c)), "the name is not lower case with hyphens");
        breaches.unless(!name.to_ascii_lowercase().contains("kube"), "the name says kube");
    }

    fn check_texts(&self, breaches: &mut Breaches) {
        let spec = &self.spec;
        let short = &spec.short_description;
        breaches.unless(!short.is_empty(), "there is no shortDescription");
        breaches.unless(!short.contains(['\r', '\n']), "shortDescription has several lines");
        breaches.unless(short.chars().count() <= 50, "shortDescription is longer than 50");
        let lower = short.to_lowercase();
        let redundant = ["kubectl", "plugin", "kubernetes"].iter().any(|word| lower.contains(word));
        breaches.unless(!redundant, "shortDescription says what every plugin is");
        breaches.unless(!spec.description.is_empty(), "there is no description");
        let narrow = |text: &str| text.lines().all(|line| line.chars().count() <= 80);
        breaches.unless(narrow(&spec.description), "description is wider than 80");
        breaches.unless(narrow(&spec.caveats), "caveats are wider than 80");
        let usage = format!("kubectl {}", self.metadata.name);
        let explains_usage = spec.description.contains(&usage) || spec.description.contains(" --");
        breaches.unless(!explains_usage, "description explains usage");
        breaches.unless(is_https(&spec.homepage), "homepage is not https");
    }

    /// krew takes the first platform that matches, and its validation wants exactly one.
    fn check_selection(&self, breaches: &mut Breaches) {
        for (os, arch) in KNOWN {
            let matching = self.spec.platforms.iter().filter(|platform| platform.is_for(os, arch)).count();
            breaches.unless(matching <= 1, &format!("{matching} platforms match {os}/{arch}"));
        }
    }
}

impl Platform {
    pub fn is_for(&self, os: &str, arch: &str) -> bool {
        let Some(labels) = self.labels() else { return false };
        labels.iter().all(|(key, value)| match key.as_str() {
            "os" => value == os,
            "arch" => value == arch,
            _ => false,
        })
    }

    /// What the selector asks for, where it asks for anything.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        let labels = self.selector.as_ref().map(|selector| &selector.match_labels);
        labels.filter(|labels| !labels.is_empty())
    }

    /// The last part of the address.
    pub fn archive_name(&self) -> &str {
        self.uri.rsplit('/').next().unwrap()
    }

    fn check(&self, spec: &Spec, breaches: &mut Breaches) {
        self.check_selector(breaches);
        breaches.unless(is_https(&self.uri), "uri is not https");
        let packed = self.uri.strip_suffix(".tar.gz").or_else(|| self.uri.strip_suffix(".zip")).is_some();
        breaches.unless(packed, "uri names neither a .tar.gz nor a .zip");
        let release = format!("{}/releases/download/{}/", spec.homepage, spec.version);
        breaches
            .unless(self.uri.starts_with(&release), "uri is not in this version's release of the project");
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        breaches.unless(
            self.sha256.len() == 64 && self.sha256.chars().all(hex),
            "sha256 is not 64 lower-case hexadecimal digits",
        );
        breaches.unless(is_clean(&self.bin) && self.bin != ".", "bin is not a clean path in the archive");
        let for_windows = KNOWN.iter().any(|(os, arch)| *os == "windows" && self.is_for(os, arch));
        breaches.unless(
            self.bin.strip_suffix(".exe").is_some() == for_windows,
            "bin ends with .exe elsewhere than on Windows, or not there",
        );
        if let Some(files) = &self.files {
            breaches.unless(!files.is_empty(), "files is empty");
            for file in files {
                breaches.unless(!file.from.is_empty() && !file.to.is_empty(), "files lacks from or to");
                breaches.unless(is_inside(&file.from), "files.from leads out of the archive");
                breaches.unless(file.to.is_empty() || is_clean(&file.to), "files.to is not clean");
            }
        }
    }

    fn check_selector(&self, breaches: &mut Breaches) {
        let supported = KNOWN.iter().any(|(os, arch)| self.is_for(os, arch));
        match self.labels() {
            None => breaches.unless(false, "a platform has no selector"),
            Some(labels) if labels.keys().any(|key| key != "os" && key != "arch") => {
                breaches.unless(false, "a selector has a key other than os and arch");
            }
            Some(_) => breaches.unless(supported, "a selector matches no platform that krew supports"),
        }
    }
}

/// The rules that were found broken, each in one sentence.
#[derive(Default)]
struct Breaches(Vec<String>);

impl Breaches {
    fn unless(&mut self, kept: bool, breach: &str) {
        if !kept {
            self.0.push(breach.to_owned());
        }
    }
}

fn is_https(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| url.scheme() == "https" && url.host_str().is_some())
}

/// Relative, and with nothing in it that krew's path check would rewrite: `./x` fails there, `.` is fine.
fn is_clean(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path == "." || (!path.contains('\\') && path.split('/').all(plain))
}

fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && !path.contains('\\') && path.split('/').all(|part| part != "..")
}

/// `v`, then a semantic version; a pre-release and build facts may follow.
fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else { return false };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let identifier = |part: &str| word(part) && (!part.chars().all(|c| c.is_ascii_digit()) || number(part));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(identifier))
        && build.is_none_or(|build| build.split('.').all(word))
}
