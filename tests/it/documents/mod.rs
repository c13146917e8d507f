//! The documents say what is true: every example in them is used by a test, every link leads
//! somewhere, and every command, flag, variable, field and exit code that they name exists.
//!
//! A fenced block says behind its fence what it is:
//!
//! | block | what a test does with it |
//! | --- | --- |
//! | `yaml` | loads it as settings or as a kubeconfig; on the pages of [`run`] works with it |
//! | `sh cluster`, `sh operator`, `sh person` | runs it on real servers, see [`run`] |
//! | `console` | looks up its commands; those of the README are run |
//! | `yaml authentication`, `github`, `gitlab`, `manifest`, `kuberc` | hands it to whoever reads such a file, or checks what matters |

mod clouds;
mod markdown;
mod people;
mod run;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vaulttoken::config::{Kubeconfig, KubeconfigFiles, NamedBy, Settings, SettingsFiles};

use crate::home::PLUGIN;
use markdown::{Block, Page, pages, root, target};

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Settings,
    Kubeconfig,
    Console,
    Cluster,
    Operator,
    Person,
    Authentication,
    Github,
    Gitlab,
    Manifest,
    Kuberc,
}

impl Kind {
    pub fn of(page: &Page, block: &Block) -> Self {
        let top_level = |key: &str| block.text.lines().any(|line| line.starts_with(key));
        match block.info.as_str() {
            "yaml" if top_level("kind: Config") && top_level("apiVersion: vaulttoken.dev/") => Self::Settings,
            "yaml" if top_level("users:") => Self::Kubeconfig,
            "console" => Self::Console,
            "sh cluster" => Self::Cluster,
            "sh operator" => Self::Operator,
            "sh person" => Self::Person,
            "yaml authentication" => Self::Authentication,
            "yaml github" => Self::Github,
            "yaml gitlab" => Self::Gitlab,
            "yaml manifest" => Self::Manifest,
            "yaml kuberc" => Self::Kuberc,
            other => panic!(
                "{}:{}: no test understands a block `{other}`; tests/it/documents/mod.rs says which there are",
                page.path, block.line
            ),
        }
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn load_settings(file: &Path) -> Result<Settings, String> {
    let files = SettingsFiles {
        person: Some(file.to_owned()),
        person_named_by: NamedBy::Settings,
        usual: None,
        administrator: PathBuf::from("/nowhere"),
        home: Some(PathBuf::from("/home/me")),
    };
    Settings::load(&files).map_err(|error| error.to_string())
}

#[test]
fn every_block_is_understood_and_every_settings_block_and_kubeconfig_is_read_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let mut read = 0;
    for page in pages() {
        for block in &page.blocks {
            let place = format!("{}:{}", page.path, block.line);
            let file = folder.path().join("file.yaml");
            match Kind::of(&page, block) {
                Kind::Settings => {
                    fs::write(&file, &block.text).unwrap();
                    load_settings(&file).unwrap_or_else(|error| panic!("{place}: {error}"));
                    read += 1;
                }
                Kind::Kubeconfig => {
                    fs::write(&file, &block.text).unwrap();
                    Kubeconfig::load(&KubeconfigFiles::Named(file))
                        .unwrap_or_else(|error| panic!("{place}: {error}"));
                    for user in yaml(&block.text)["users"].as_array().unwrap() {
                        check_exec(&place, &user["user"]["exec"]);
                    }
                    read += 1;
                }
                Kind::Cluster | Kind::Operator | Kind::Person | Kind::Authentication => {
                    assert!(run::RUN.contains(&page.path.as_str()), "{place}: no test runs this page");
                }
                Kind::Console => {
                    assert_eq!(page.path, "README.md", "{place}: only those of the README are run");
                }
                Kind::Github => check_github(&block.text),
                Kind::Gitlab => check_gitlab(&block.text),
                Kind::Manifest | Kind::Kuberc => {
                    assert!(run::HANDED_ON.contains(&page.path.as_str()), "{place}");
                }
            }
        }
    }
    assert!(read > 15, "the documents have examples");
}

/// What kubectl refuses only when it runs the plugin.
fn check_exec(place: &str, exec: &Value) {
    assert_eq!(exec["args"][0], "get-token", "{place}");
    let mode = exec["interactiveMode"].as_str().unwrap_or_else(|| panic!("{place}: no interactiveMode"));
    assert!(["Never", "IfAvailable", "Always"].contains(&mode), "{place}");
}

fn check_github(text: &str) {
    let workflow = yaml(text);
    assert_eq!(workflow["permissions"]["id-token"], "write", "without it a job has no token service");
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["run"].as_str().is_some_and(|run| run.starts_with("kubectl "))));
}

fn check_gitlab(text: &str) {
    let pipeline = yaml(text);
    assert!(pipeline["deploy"]["id_tokens"]["VAULT_ID_TOKEN"]["aud"].is_string());
    assert!(pipeline["deploy"]["script"][0].as_str().unwrap().starts_with("kubectl "));
}

#[test]
fn every_example_file_is_read_and_listed() {
    let index = Page::read("examples/README.md").text;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name} is in no index");
        if name.starts_with("kubeconfig") {
            Kubeconfig::load(&KubeconfigFiles::Named(file)).unwrap_or_else(|error| panic!("{name}: {error}"));
        } else if file.extension().is_some_and(|extension| extension == "yaml") {
            load_settings(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        for link in page.links() {
            let Some((file, anchor)) = target(&page, &link) else { continue };
            assert!(file.exists(), "{}: `{link}` leads nowhere", page.path);
            if let Some(anchor) = anchor {
                let file = file.canonicalize().unwrap();
                let path = file.strip_prefix(root().canonicalize().unwrap()).unwrap();
                let anchors = Page::read(path.to_str().unwrap()).anchors();
                assert!(
                    anchors.contains(&anchor),
                    "{}: `{link}` has no such heading: {anchors:?}",
                    page.path
                );
            }
        }
    }
    let linked: BTreeSet<PathBuf> = pages()
        .iter()
        .flat_map(|page| page.links().into_iter().filter_map(|link| target(page, &link)).collect::<Vec<_>>())
        .map(|(file, _)| file.canonicalize().unwrap())
        .collect();
    for page in pages().iter().filter(|page| page.path.starts_with("docs/")) {
        assert!(
            linked.contains(&root().join(&page.path).canonicalize().unwrap()),
            "nobody links to {}",
            page.path
        );
    }
}

/// The commands of the program with their flags, as its own help says.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let help = |arguments: &[&str]| {
        let output = Command::new(PLUGIN).args(arguments).env_clear().output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = help(&["--help"]);
    let (_, list) = whole.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 5, "{whole}");
    let flags = |text: &str| flags_of(text.split_once("Options:").unwrap().1);
    let mut commands: BTreeMap<_, _> = names
        .iter()
        .filter(|name| **name != "help")
        .map(|name| ((*name).to_owned(), flags(&help(&[name, "--help"]))))
        .collect();
    // Its flags are those of the commands beneath it.
    for below in ["policy", "check"] {
        let flags = flags(&help(&["federation", below, "--help"]));
        commands.entry("federation".to_owned()).or_default().extend(flags);
    }
    commands.insert("help".to_owned(), flags(&whole));
    commands
}

/// The long flags that begin a word.
fn flags_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '`' | '|' | '[' | ']' | '='));
    let is_flag = |word: &&str| {
        word.strip_prefix("--").is_some_and(|name| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        })
    };
    words.map(|word| word.trim_end_matches(['.', ';', ':'])).filter(is_flag).map(str::to_owned).collect()
}

#[test]
fn every_command_and_flag_of_the_help_is_in_the_page_of_commands_and_no_other() {
    let page = Page::read("docs/commands.md");
    let known = commands();
    let written = flags_of(&page.text);
    for (name, flags) in &known {
        assert!(page.text.contains(&format!("`{name}`")), "docs/commands.md lacks `{name}`");
        assert!(flags.is_subset(&written), "docs/commands.md lacks {:?}", flags.difference(&written));
    }
    let all: BTreeSet<String> = known.into_values().flatten().collect();
    assert!(written.is_subset(&all), "there is no {:?}", written.difference(&all).collect::<Vec<_>>());
}

#[test]
fn every_command_that_a_document_tells_to_run_exists_with_its_flags() {
    let known = commands();
    let mut seen = 0;
    for page in pages() {
        let blocks = page.blocks.iter().flat_map(|block| block.text.lines()).map(str::to_owned);
        for line in blocks.chain(page.code_spans()) {
            let line = line.replace('\n', " ");
            for program in ["kubectl vaulttoken ", "kubectl-vaulttoken "] {
                let Some((_, rest)) = line.split_once(program) else { continue };
                let rest = rest.split(" | ").next().unwrap();
                let name = rest.split_whitespace().next().unwrap_or_default();
                if !name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                    || rest.starts_with("failed with")
                {
                    continue;
                }
                let flags = known.get(name).unwrap_or_else(|| panic!("{}: no command `{name}`", page.path));
                let wrong: Vec<_> = flags_of(rest).difference(flags).cloned().collect();
                assert!(wrong.is_empty(), "{}: `{name}` takes no {wrong:?}", page.path);
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_exit_code_is_in_its_page_and_no_other() {
    let source = fs::read_to_string(root().join("src/error.rs")).unwrap();
    let (_, list) = source.split_once("pub enum ExitCode {").unwrap();
    let (list, _) = list.split_once("\n}").unwrap();
    let codes: BTreeSet<&str> =
        list.lines().filter_map(|line| line.split_once(" = ")?.1.strip_suffix(',')).collect();
    assert!(codes.len() > 8, "{codes:?}");
    let page = Page::read("docs/exit-codes.md");
    let rows = page.text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let written: BTreeSet<&str> = rows.filter(|cell| cell.chars().all(|c| c.is_ascii_digit())).collect();
    assert_eq!(codes, written);
}

#[test]
fn every_variable_and_every_field_of_the_settings_is_in_its_page() {
    let page = Page::read("docs/settings.md").text;
    let mut variables = BTreeSet::new();
    for file in sources("src") {
        let text = fs::read_to_string(&file).unwrap();
        let quoted = text.split('"').filter(|part| part.starts_with("VAULTTOKEN_"));
        variables.extend(quoted.filter(|name| *name != "VAULTTOKEN_").map(str::to_owned));
    }
    // Of the build, not of a call.
    variables.remove("VAULTTOKEN_COMMIT");
    assert!(variables.len() > 10, "{variables:?}");
    for variable in &variables {
        assert!(page.contains(&format!("`{variable}`")), "docs/settings.md lacks `{variable}`");
    }
    for other in pages().iter().flat_map(Page::code_spans) {
        let name: String = other.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        if name.starts_with("VAULTTOKEN_") && name.len() > "VAULTTOKEN_".len() && !name.contains("_TEST_") {
            assert!(variables.contains(&name), "there is no variable `{name}`");
        }
    }
    let mut fields = BTreeSet::new();
    for entries in
        yaml(&fs::read_to_string(root().join("examples/config.yaml")).unwrap()).as_object().unwrap()
    {
        collect_fields(entries.1, true, &mut fields);
    }
    assert!(fields.contains("certificateAuthority") && fields.contains("secretIdWrapped"), "{fields:?}");
    let identities = Page::read("docs/identities.md").text;
    for field in fields {
        let named = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == field);
        assert!(named(&page) || named(&identities), "docs/settings.md lacks `{field}`");
    }
}

/// The names of fields, without the names that people give to entries, and without the sources that
/// this version only reads.
fn collect_fields(value: &Value, entries_below: bool, found: &mut BTreeSet<String>) {
    for (name, below) in value.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "tokenExchange" | "tokenRequest") {
            continue;
        }
        if !entries_below {
            found.insert(name.clone());
        }
        match below {
            Value::Array(list) => list.iter().for_each(|item| collect_fields(item, false, found)),
            below => collect_fields(below, false, found),
        }
    }
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_test_that_the_table_of_threats_names_exists() {
    let page = Page::read("SECURITY.md");
    let files: Vec<(PathBuf, String)> = [sources("src"), sources("tests")]
        .concat()
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let mut named = 0;
    for row in page.text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" |").collect();
        let [number, .., cell] = cells[..] else { continue };
        if number.trim().parse::<u8>().is_err() {
            continue;
        }
        for name in cell.split('`').skip(1).step_by(2) {
            let (module, function) =
                name.rsplit_once("::").unwrap_or_else(|| panic!("`{name}` has no module"));
            let module = module.rsplit("::").next().unwrap();
            let exists = files.iter().any(|(path, text)| {
                path.components()
                    .any(|part| Path::new(part.as_os_str()).file_stem().is_some_and(|stem| stem == module))
                    && text.contains(&format!("fn {function}("))
            });
            assert!(exists, "SECURITY.md names the test `{name}`, which does not exist");
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}
