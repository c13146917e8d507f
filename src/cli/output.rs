//! The only writer to standard output and standard error.

use std::io::{IsTerminal as _, Write as _};

use chrono::SecondsFormat;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::config::API_VERSION;
use crate::error::{Error, ExitCode, printable};
use crate::exec::{self, ApiVersion, ExecError};
use crate::token::Token;

/// Prints help to standard output, and a mistake in the flags to standard error.
pub(super) fn usage(error: &clap::Error) -> Result<ExitCode, Error> {
    if error.use_stderr() {
        // clap repeats what was typed; a kubeconfig may have typed it.
        for line in error.to_string().lines() {
            told(&format!("{}\n", indented(line)));
        }
        Ok(ExitCode::Usage)
    } else {
        text(&error.to_string())?;
        Ok(ExitCode::Done)
    }
}

fn indented(line: &str) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    format!("{}{}", " ".repeat(indent), printable(line))
}

/// Prints the lines of an error, made safe already.
pub(super) fn error_text(text: &str) {
    told(text);
}

/// One line for a person, on standard error.
pub(super) fn note(line: &str) {
    told(&format!("{}\n", printable(line)));
}

/// Text for standard error, in one piece. Where nobody takes it there is nobody to tell so, and it
/// must not end us: the exit code, and a token on standard output, still have a reader.
fn told(text: &str) {
    let mut output = std::io::stderr().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Text for standard output, in one piece.
pub(super) fn text(text: &str) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(|error| ExecError::Output(error.to_string()).into())
}

/// How a command shows its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// The head of every document that programs read. Fields are only ever added.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    content: &'a T,
}

/// A result in the form that was asked for.
pub(super) fn document<T: Serialize>(
    form: Form,
    kind: &'static str,
    content: &T,
    table: impl FnOnce() -> String,
) -> Result<(), Error> {
    let document = Document { api_version: API_VERSION, kind, content };
    let whole = match form {
        Form::Table => table(),
        Form::Json => {
            let json = serde_json::to_string_pretty(&document);
            format!("{}\n", json.map_err(|error| Error::Fault(error.to_string()))?)
        }
        Form::Yaml => serde_saphyr::to_string(&document).map_err(|error| Error::Fault(error.to_string()))?,
    };
    text(&whole)
}

/// The credential, as the client wants it back.
pub(super) fn credential(version: ApiVersion, token: &Token) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    exec::write(&mut output, version, &token.secret, token.reported_end())
        .map_err(|error| ExecError::Output(error.to_string()).into())
}

/// A token with its end, for programs that renew it themselves.
pub(super) fn token_document(token: &Token) -> Result<(), Error> {
    let end = token.reported_end().to_rfc3339_opts(SecondsFormat::Secs, true);
    let before = format!(
        "{{\"apiVersion\":\"{API_VERSION}\",\"kind\":\"Token\",\"expirationTimestamp\":\"{end}\",\"token\":"
    );
    secret(&before, &quoted(&token.secret)?, "}\n")
}

/// A secret as a word of a JSON document.
pub(super) fn quoted(secret: &SecretString) -> Result<SecretString, Error> {
    let quoted = serde_json::to_string(secret.expose_secret()).map(SecretString::from);
    quoted.map_err(|error| Error::Fault(error.to_string()))
}

/// Refuses to show a secret on a terminal, which keeps what it shows, unless that was asked for.
pub(super) fn not_on_a_terminal(show: bool) -> Result<(), Error> {
    if std::io::stdout().is_terminal() && !show { Err(ExecError::Terminal.into()) } else { Ok(()) }
}

/// A secret for standard output, between two pieces of text.
pub(super) fn secret(before: &str, secret: &SecretString, after: &str) -> Result<(), Error> {
    text(&whole(before, secret, after))
}

/// The same for a file that a person names.
pub(super) fn whole(before: &str, secret: &SecretString, after: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{before}{}{after}", secret.expose_secret()))
}
