//! The external token helper of the `vault` and `bao` commands: `token_helper = "/path [args]"` in
//! their configuration, run as `$SHELL -c "<it> get"`, prints the token.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use zeroize::Zeroizing;

use super::LARGEST_FILE;
use crate::env::Env;
use crate::program::{self, NotRun};
use crate::vault::VaultError;

/// What mends one that does not work.
pub(in crate::vault) const HINT: &str = "run it by hand with the word `get`, or set `VAULT_TOKEN`";

/// A token helper that may be run.
#[derive(Debug)]
pub(super) struct Helper {
    /// As configured, with its arguments.
    command: String,
    /// Its first word.
    path: PathBuf,
}

impl Helper {
    /// The helper that a configuration names, if any.
    pub(super) fn of_configuration(text: &str, file: &Path) -> Result<Option<Self>, VaultError> {
        let malformed = |NoText| VaultError::Settings {
            what: format!("`{}`", file.display()),
            why: "its `token_helper` is not a text in quotes".into(),
            hint: None,
        };
        let Some(command) = token_helper(text).map_err(malformed)? else { return Ok(None) };
        let Some(first) = command.split_whitespace().next() else { return Ok(None) };
        let path = PathBuf::from(first);
        Ok(Some(Self { command, path }))
    }

    pub(super) fn command(&self) -> &str {
        &self.command
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it and returns what it printed.
    pub(super) fn get(
        &self,
        env: &Env,
        address: &str,
        deadline: Instant,
    ) -> Result<Zeroizing<String>, VaultError> {
        let failed = |why: String| VaultError::Settings {
            what: format!("the token helper `{}`", self.path.display()),
            why,
            hint: Some(HINT.into()),
        };
        // Security: we run it with the person's rights, so nobody else may have put it there.
        program::trusted(&self.path).map_err(failed)?;
        let printed = program::output(&mut self.start(env, address), LARGEST_FILE, deadline);
        let token = printed.map_err(|error| match error {
            NotRun::Late => VaultError::HelperLate { helper: self.path.display().to_string() },
            NotRun::Interrupted => VaultError::GivenUp { vault: address.to_owned() },
            NotRun::NotStarted(_) | NotRun::Failed(_) | NotRun::TooMuch { .. } | NotRun::NoText => {
                failed(error.to_string())
            }
        })?;
        Ok(Zeroizing::new(token.trim().to_owned()))
    }

    fn start(&self, env: &Env, address: &str) -> Command {
        let line = format!("{} get", self.command);
        let mut command = if cfg!(windows) {
            let mut command = Command::new("cmd");
            command.args(["/C", &line]);
            command
        } else {
            let mut command = Command::new(env.filled("SHELL").unwrap_or("/bin/sh"));
            command.args(["-c", &line]);
            command
        };
        command
            // Security: ours is what a kubeconfig made of it.
            .env_clear()
            .envs(env.for_child())
            .env("VAULT_ADDR", address)
            .env("BAO_ADDR", address)
            .env_remove("VAULT_TOKEN")
            .env_remove("BAO_TOKEN");
        command
    }
}

/// `token_helper` is something else than a text.
#[derive(Debug, PartialEq, Eq)]
struct NoText;

/// The value of `token_helper` in HCL or JSON. No other key of that file has a meaning.
fn token_helper(text: &str) -> Result<Option<String>, NoText> {
    if text.trim_start().starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| NoText)?;
        return match value.get("token_helper") {
            None => Ok(None),
            Some(value) => value.as_str().map(|value| Some(value.to_owned())).ok_or(NoText),
        };
    }
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.starts_with('#') || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(value) =
            rest.strip_prefix("token_helper").or_else(|| rest.strip_prefix("\"token_helper\""))
        {
            let value = value.trim_start().strip_prefix('=').and_then(|value| quoted(value.trim_start()));
            return value.map(Some).ok_or(NoText);
        } else {
            // Another key: on to the next line.
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }
}

/// The text in quotes at the beginning, with its escapes.
fn quoted(text: &str) -> Option<String> {
    let mut characters = text.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            '\n' => return None,
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_read_from_hcl_and_json() {
        for (text, expected) in [
            ("", Ok(None)),
            ("# token_helper = \"/no\"\n// x\n/* token_helper\n*/ other = 1\n", Ok(None)),
            ("token_helper = \"/usr/bin/helper --flag\"\n", Ok(Some("/usr/bin/helper --flag"))),
            ("x = 1\n  token_helper=\"/a\\\\b\\\"c\"", Ok(Some("/a\\b\"c"))),
            ("\"token_helper\" = \"/x\"", Ok(Some("/x"))),
            ("token_helper = /x", Err(NoText)),
            ("token_helper = \"/x\n\"", Err(NoText)),
            ("token_helper = \"/x", Err(NoText)),
            ("{\"token_helper\": \"/x\"}", Ok(Some("/x"))),
            ("{\"other\": 1}", Ok(None)),
            ("{\"token_helper\": 1}", Err(NoText)),
            ("{", Err(NoText)),
        ] {
            assert_eq!(token_helper(text), expected.map(|it| it.map(str::to_owned)), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_configuration_makes_the_reader_stumble(text in "\\PC{0,200}") {
            let _ = token_helper(&text);
        }
    }
}
