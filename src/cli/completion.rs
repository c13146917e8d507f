//! `completion`: what shells need to complete command lines, and the hidden command that their scripts
//! run. It reads the settings and the kubeconfig for names; it asks nobody, opens no connection and
//! says nothing where something is wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, CommandFactory as _, ValueEnum};

use super::{CommandLine, DONE, output};
use crate::config::{EntryKind, Kubeconfig, KubeconfigFiles};
use crate::desk;
use crate::env::Env;
use crate::error::{Error, ExitCode};
use crate::exec::ExecError;

/// Named as kubectl's own is.
const COMMAND: &str = "__complete";

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// For whom
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// For ~/.bashrc: source <(kubectl-vaulttoken completion bash)
    Bash,
    /// For ~/.zshrc, after compinit: source <(kubectl-vaulttoken completion zsh)
    Zsh,
    /// For fish: kubectl-vaulttoken completion fish | source
    Fish,
    /// The program `kubectl_complete-vaulttoken`, which kubectl's own completion runs from PATH
    Kubectl,
}

pub(super) fn run(flags: &Flags) -> Result<ExitCode, Error> {
    output::text(match flags.shell {
        Shell::Bash => include_str!("completion/bash.sh"),
        Shell::Zsh => include_str!("completion/zsh.sh"),
        Shell::Fish => include_str!("completion/fish.fish"),
        Shell::Kubectl => include_str!("completion/kubectl.sh"),
    })?;
    Ok(DONE)
}

/// The words of a line that is to be completed, where that is what we are called for. They are not
/// flags of ours, so clap does not see them.
pub(super) fn asked(arguments: &[OsString]) -> Option<Vec<String>> {
    let (_, [command, words @ ..]) = arguments.split_first()? else { return None };
    (command == COMMAND).then(|| words.iter().map(|word| word.to_string_lossy().into_owned()).collect())
}

/// Prints what could stand in the place of the last word, in the form of cobra, which kubectl reads:
/// a line for each, then what a shell may add to them.
pub(super) fn complete(words: &[String], env: &Env) -> Result<ExitCode, Error> {
    if env.get("KUBERNETES_EXEC_INFO").is_some() {
        return Err(ExecError::NotForClients(COMMAND).into());
    }
    let mut definitions = CommandLine::command();
    definitions.build();
    let (found, rest) = of_words(&definitions, words, &|what, files| names(what, files, env));
    let mut text: String = found.into_iter().map(|line| line + "\n").collect();
    text.push_str(match rest {
        Rest::Nothing => ":4\n",
        Rest::Files => ":0\n",
    });
    output::text(&text)?;
    Ok(DONE)
}

/// What may follow besides what was found; cobra's `ShellCompDirective`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Files,
}

/// What names are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Profiles,
    Vaults,
    Contexts,
}

/// Files that the line names by flags, by the flags' ids.
type Files = BTreeMap<String, String>;

fn of_words(
    definitions: &clap::Command,
    words: &[String],
    names: &dyn Fn(Names, &Files) -> Vec<String>,
) -> (Vec<String>, Rest) {
    let Some((word, before)) = words.split_last() else { return (Vec::new(), Rest::Nothing) };
    let line = Line::read(definitions, before);
    let values = |arg: &Arg, start: &str| of_argument(arg, start, &|what| names(what, &line.files));
    if let Some(flag) = line.flag {
        return values(flag, word);
    }
    if !line.only_values && word.starts_with('-') {
        if let Some((flag, start)) = word.split_once('=') {
            let Some(arg) = long(line.command, flag) else { return (Vec::new(), Rest::Nothing) };
            let (found, rest) = values(arg, start);
            return (found.into_iter().map(|value| format!("{flag}={value}")).collect(), rest);
        }
        return (flags(line.command, word), Rest::Nothing);
    }
    let commands: Vec<String> = line
        .command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name().starts_with(word))
        .map(|command| told(command.get_name(), command.get_about()))
        .collect();
    if line.positionals == 0 && !commands.is_empty() {
        return (commands, Rest::Nothing);
    }
    let positionals: Vec<&Arg> = line.command.get_positionals().collect();
    let repeats = |arg: &&&Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    match positionals.get(line.positionals).or_else(|| positionals.last().filter(repeats)) {
        Some(arg) => values(arg, word),
        None => (Vec::new(), Rest::Nothing),
    }
}

/// What stands before the word.
struct Line<'a> {
    /// The command that it belongs to.
    command: &'a clap::Command,
    /// The flag whose value it is.
    flag: Option<&'a Arg>,
    /// Values of the command that stand there already.
    positionals: usize,
    /// Whether a `--` stands there.
    only_values: bool,
    files: Files,
}

impl<'a> Line<'a> {
    fn read(definitions: &'a clap::Command, before: &[String]) -> Self {
        let mut line = Self {
            command: definitions,
            flag: None,
            positionals: 0,
            only_values: false,
            files: Files::new(),
        };
        for word in before {
            if let Some(flag) = line.flag.take() {
                line.files.insert(flag.get_id().to_string(), word.clone());
            } else if line.only_values || !word.starts_with('-') || word == "-" {
                line.value(word);
            } else if word == "--" {
                line.only_values = true;
            } else if word.starts_with("--") {
                match word.split_once('=') {
                    Some((flag, value)) => {
                        if let Some(arg) = long(line.command, flag) {
                            line.files.insert(arg.get_id().to_string(), value.to_owned());
                        }
                    }
                    None => line.flag = long(line.command, word).filter(|arg| takes_value(arg)),
                }
            } else {
                line.flag = short(line.command, word);
            }
        }
        line
    }

    fn value(&mut self, word: &str) {
        match self.command.find_subcommand(word) {
            Some(command) if self.positionals == 0 && !self.only_values => self.command = command,
            _ => {
                self.positionals += 1;
                // What another program is to be run with is not ours.
                self.only_values |= self.command.get_positionals().any(clap::Arg::is_trailing_var_arg_set);
            }
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn long<'a>(command: &'a clap::Command, word: &str) -> Option<&'a Arg> {
    let name = word.strip_prefix("--")?;
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

/// The flag of a word such as `-vp` whose value is the next word.
fn short<'a>(command: &'a clap::Command, word: &str) -> Option<&'a Arg> {
    let mut letters = word.chars().skip(1).peekable();
    while let Some(letter) = letters.next() {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        if takes_value(arg) {
            return letters.peek().is_none().then_some(arg);
        }
    }
    None
}

fn flags(command: &clap::Command, start: &str) -> Vec<String> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), arg)))
        .filter(|(flag, _)| flag.starts_with(start))
        .map(|(flag, arg)| told(&flag, arg.get_help()))
        .collect()
}

fn of_argument(arg: &Arg, start: &str, names: &dyn Fn(Names) -> Vec<String>) -> (Vec<String>, Rest) {
    let possible = arg.get_possible_values();
    if !possible.is_empty() && takes_value(arg) {
        let fitting = possible.iter().filter(|value| value.get_name().starts_with(start));
        return (fitting.map(|value| told(value.get_name(), value.get_help())).collect(), Rest::Nothing);
    }
    let is_called = |name| arg.get_value_names().is_some_and(|names| names.iter().any(|one| one == name));
    let wanted = match arg.get_id().as_str() {
        "profile" | "profiles" | "PROFILE" => Names::Profiles,
        "vault" => Names::Vaults,
        "context" => Names::Contexts,
        _ if is_called("FILE") || is_called("PROGRAM") => return (Vec::new(), Rest::Files),
        _ => return (Vec::new(), Rest::Nothing),
    };
    let found = names(wanted).into_iter().filter(|name| name.starts_with(start) && is_plain(name));
    (found.collect(), Rest::Nothing)
}

/// Security: a shell puts it on a command line as it is, and a kubeconfig may have named it.
fn is_plain(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:/@+,".contains(letter);
    !name.starts_with('-') && name.chars().all(is_plain)
}

fn told(word: &str, help: Option<&clap::builder::StyledStr>) -> String {
    match help {
        Some(help) => format!("{word}\t{help}"),
        None => word.to_owned(),
    }
}

/// The names of the settings and the kubeconfig that this line means; none where they cannot be read.
fn names(what: Names, files: &Files, env: &Env) -> Vec<String> {
    let own = env.own();
    if what == Names::Contexts {
        let named = files.get("kubeconfig").map(Path::new);
        let kubeconfig = Kubeconfig::load(&KubeconfigFiles::of(&own, named)).unwrap_or_default();
        return kubeconfig.contexts().map(str::to_owned).collect();
    }
    let config = files.get("config").map(PathBuf::from);
    let Ok(settings) = desk::settings(&own, config.as_ref()) else { return Vec::new() };
    let kind = if what == Names::Vaults { EntryKind::Vault } else { EntryKind::Profile };
    settings.names(kind).into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> (Vec<String>, Rest) {
        let mut definitions = CommandLine::command();
        definitions.build();
        let names = |what, files: &Files| {
            let mut names: Vec<String> = match what {
                Names::Profiles => vec!["prod".into(), "prod-eu".into(), "stage".into()],
                Names::Vaults => vec!["corp".into()],
                Names::Contexts => {
                    vec!["arn:aws:eks:eu/prod".into(), "$(reboot)".into(), "a b".into(), "-p".into()]
                }
            };
            names.extend(files.values().cloned());
            names
        };
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (found, rest) = of_words(&definitions, &words, &names);
        (found.into_iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect(), rest)
    }

    fn words(line: &str) -> Vec<String> {
        let (found, rest) = found(line);
        assert_eq!(rest, Rest::Nothing, "{line}");
        found
    }

    #[test]
    fn commands_flags_and_names_are_found_where_they_may_stand() {
        for (line, wanted) in [
            ("sta", &["status"][..]),
            ("log", &["login", "logout"]),
            ("auth", &[]),
            ("ren", &[]),
            ("federation ", &["policy", "check", "help"]),
            ("federation policy --service-a", &["--service-account"]),
            ("status pr", &["prod", "prod-eu"]),
            ("status prod st", &["stage"]),
            ("token prod ", &[]),
            ("trust s", &["stage"]),
            ("status --o", &["--output"]),
            ("status --output ", &["table", "json", "yaml"]),
            ("status -o j", &["json"]),
            ("status -vo j", &["json"]),
            ("status -o json st", &["stage"]),
            ("token --output=j", &["--output=json", "--output=jdbc"]),
            ("--profile st", &["stage"]),
            ("status --profile=prod-", &["--profile=prod-eu"]),
            ("-p prod log", &["login", "logout"]),
            ("-pprod log", &["login", "logout"]),
            ("login --vault ", &["corp"]),
            ("login --context ", &["arn:aws:eks:eu/prod"]),
            ("login --role ", &[]),
            ("login -- --", &[]),
            ("completion ", &["bash", "zsh", "fish", "kubectl"]),
            ("status --kubeconfig=x --config y ", &["prod", "prod-eu", "stage"]),
            ("nonsense ", &[]),
            ("status --nonsense st", &["stage"]),
            ("--nonsense=", &[]),
        ] {
            let mut found = words(line);
            // What the files would add shows that their names were seen.
            found.retain(|word| !["x", "y"].contains(&word.as_str()));
            assert_eq!(found, wanted, "{line}");
        }
        assert!(words("token --config y --profile=prod --kubeconfig x --context ").contains(&"x".into()));
        assert!(words("").contains(&"get-token".into()) && words("help lo").contains(&"login".into()));
        for line in ["--config ", "login --kubeconfig=/e", "exec py", "exec -- python --", "exec python -"] {
            assert_eq!(found(line), (Vec::new(), Rest::Files), "{line}");
        }
        assert_eq!(of_words(&CommandLine::command(), &[], &|_, _| Vec::new()), (Vec::new(), Rest::Nothing));
    }
}
