//! What Vault refused, or why it could not be asked; each variant is one thing to do next.

use std::borrow::Cow;

use crate::error::{ExitCode, Explain, printable, shell_word};
use crate::http::HttpError;
use crate::identity::IdentityError;
use crate::oidc::callback::CallbackError;

use super::Operation;

/// Why there is no answer of a Vault that can be used.
///
/// In all variants `vault` is its address, `mount` is without `auth/`, and `messages` are the
/// server's own words, made printable.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named alike throughout, and explained at the head")]
pub enum VaultError {
    /// A person must log in.
    #[error("log-in to `{vault}` required")]
    LoginRequired { vault: String, method: &'static str, why: String },
    /// Vault refused the log-in.
    #[error("`{vault}` refused the log-in{} with `{method}` at `auth/{mount}`", of(who.as_deref()))]
    LoginRefused {
        vault: String,
        method: &'static str,
        mount: String,
        who: Option<String>,
        status: u16,
        messages: Vec<String>,
    },
    /// Vault refused the further factor that it wanted.
    #[error("`{vault}` refused the second factor{}", of(who.as_deref()))]
    FactorRefused { vault: String, who: Option<String>, messages: Vec<String> },
    /// The session is good, but its policies do not allow the call.
    #[error("`{vault}` denied to {} `{path}`", operation.verb())]
    Denied { vault: String, path: String, operation: Operation, messages: Vec<String> },
    /// Vault, or what stands behind the engine, said no for another reason: 400, 405, 500 …
    #[error("`{vault}` rejected the call to `{path}` with status {status}")]
    Rejected { vault: String, path: String, status: u16, messages: Vec<String> },
    /// The namespace does not exist.
    #[error("`{vault}` knows no namespace `{namespace}`")]
    NamespaceUnknown { vault: String, namespace: String },
    /// The wrapping token of a secret id is spent: an alarm, someone else may have unwrapped it.
    #[error(
        "the wrapped secret id in `{file}` is no longer valid: someone has unwrapped it, or it is too old"
    )]
    WrappingSpent { vault: String, mount: String, file: String, messages: Vec<String> },
    /// The wrapping token wraps no secret id of this mount: an alarm.
    #[error("what `{file}` unwraps to is no secret id of `auth/{mount}`")]
    WrappingForeign { vault: String, mount: String, file: String, creation_path: String },
    /// Sealed, or not initialised.
    #[error("`{vault}` is sealed")]
    Sealed { vault: String },
    /// A rate limit.
    #[error("`{vault}` is too busy for another request")]
    Busy { vault: String, messages: Vec<String> },
    /// 502, 503, 504, or a node without a leader.
    #[error("`{vault}` cannot serve at the moment (status {status})")]
    Unavailable { vault: String, status: u16, messages: Vec<String> },
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An answer that cannot be used.
    #[error("the answer of `{vault}` to `{path}` cannot be used")]
    Unusable { vault: String, path: String, why: String },
    /// A redirect to where our secrets may not go.
    #[error("`{vault}` redirects to `{target}`, where nothing secret is sent")]
    Redirect { vault: String, target: String, why: &'static str },
    /// It would have gone over the wire in clear.
    #[error("nothing secret is sent to `{vault}` without TLS")]
    Cleartext { vault: String },
    /// Something that cannot be part of a path.
    #[error("`{}` cannot be part of a path in Vault", printable(part))]
    Path { part: String },
    /// Something that the log-in needs is missing or malformed.
    #[error("{what} cannot be used")]
    Settings { what: String, why: String, hint: Option<String> },
    /// The token helper was ended, because the time was over.
    #[error("the token helper `{helper}` did not answer in time")]
    HelperLate { helper: String },
    /// The role does not let the browser come back here.
    #[error("`{vault}` has no address to log in at with {} at `auth/{mount}`", role_named(role.as_deref()))]
    RedirectNotAllowed { vault: String, mount: String, role: Option<String>, redirect_uri: String },
    /// A log-in by a code on another device is not what this role is for.
    #[error("`{vault}` gives no code for another device with {} at `auth/{mount}`", role_named(role.as_deref()))]
    NoDeviceCode { vault: String, mount: String, role: Option<String> },
    /// The browser, or the provider by it, brought no code.
    #[error("no log-in to `{vault}`: {cause}")]
    Callback { vault: String, cause: CallbackError },
    /// The workload's own JWT could not be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The person gave up.
    #[error("the log-in to `{vault}` was given up")]
    GivenUp { vault: String },
    /// The person did not answer in the time that they were given.
    #[error("the log-in to `{vault}` was given up: nobody answered in time")]
    Unanswered { vault: String },
}

fn of(who: Option<&str>) -> String {
    who.map(|who| format!(" of `{}`", printable(who))).unwrap_or_default()
}

fn role_named(role: Option<&str>) -> String {
    role.map_or_else(|| "the default role".into(), |role| format!("role `{}`", printable(role)))
}

fn joined(messages: &[String]) -> Option<String> {
    (!messages.is_empty()).then(|| messages.join("; "))
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write to",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }

    /// The capability of a policy that allows it.
    fn capability(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "update",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

impl Explain for VaultError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::LoginRequired { .. } => ExitCode::LoginRequired,
            Self::LoginRefused { .. }
            | Self::FactorRefused { .. }
            | Self::Denied { .. }
            | Self::Rejected { .. }
            | Self::NamespaceUnknown { .. }
            | Self::WrappingSpent { .. }
            | Self::WrappingForeign { .. }
            | Self::RedirectNotAllowed { .. }
            | Self::NoDeviceCode { .. } => ExitCode::Refused,
            Self::Callback { cause, .. } => cause.exit_code(),
            Self::Sealed { .. }
            | Self::Busy { .. }
            | Self::Unavailable { .. }
            | Self::Unanswered { .. }
            | Self::HelperLate { .. } => ExitCode::Unreachable,
            Self::Http(error) => error.exit_code(),
            Self::Identity(error) => error.exit_code(),
            Self::Unusable { .. } => ExitCode::Unusable,
            Self::Redirect { .. } | Self::Cleartext { .. } => ExitCode::Withheld,
            Self::Path { .. } | Self::Settings { .. } => ExitCode::Usage,
            Self::GivenUp { .. } => ExitCode::Interrupted,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::LoginRequired { why, .. } | Self::Unusable { why, .. } | Self::Settings { why, .. } => {
                Some(why.clone())
            }
            Self::LoginRefused { status, messages, .. } => {
                let mut why = joined(messages).unwrap_or_else(|| format!("status {status}"));
                if *status == 403 {
                    why.push_str(" (which is also said where nothing is mounted there)");
                }
                Some(why)
            }
            Self::FactorRefused { messages, .. }
            | Self::Denied { messages, .. }
            | Self::Rejected { messages, .. }
            | Self::Busy { messages, .. }
            | Self::Unavailable { messages, .. }
            | Self::WrappingSpent { messages, .. } => joined(messages),
            Self::WrappingForeign { creation_path, .. } => {
                Some(format!("it was wrapped at `{}`", printable(creation_path)))
            }
            Self::Http(error) => error.why(),
            Self::Identity(error) => error.why(),
            Self::Redirect { why, .. } => Some((*why).into()),
            Self::Cleartext { .. } => Some("whoever listens on the way could read it".into()),
            Self::HelperLate { .. } => Some("it was ended when the time was over".into()),
            Self::Path { .. } => Some("it is empty, or has an empty, `.` or `..` segment".into()),
            Self::RedirectNotAllowed { redirect_uri, .. } => Some(format!(
                "it does not say why; most often the role does not allow `{redirect_uri}`, and its log says what else"
            )),
            Self::NoDeviceCode { .. } => Some(
                "only a role of OpenBao with `callback_mode` `device` does, where the provider can".into(),
            ),
            Self::Callback { cause, .. } => cause.why(),
            Self::NamespaceUnknown { .. }
            | Self::Sealed { .. }
            | Self::GivenUp { .. }
            | Self::Unanswered { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::LoginRequired { method: "token", .. } => {
                "log in with `vault login` or `bao login`, or set `VAULT_TOKEN`".into()
            }
            Self::LoginRequired { .. }
            | Self::FactorRefused { .. }
            | Self::GivenUp { .. }
            | Self::LoginRefused { method: "userpass" | "ldap", status: 400, .. } => {
                "{program} login{profile}{vault}{config}".into()
            }
            Self::LoginRefused { status: 403, mount, .. } => {
                format!(
                    "check that `auth/{}` exists and that this identity may log in there",
                    shell_word(mount)
                )
            }
            Self::LoginRefused { status: 400, mount, .. } => {
                format!("check the role at `auth/{}` and what it binds to", shell_word(mount))
            }
            Self::LoginRefused { mount, .. } => {
                format!("ask an operator of this Vault to look at `auth/{}`", shell_word(mount))
            }
            Self::Denied { path, operation, .. } => {
                let path = printable(path);
                let rule = format!("path \"{path}\" {{ capabilities = [\"{}\"] }}", operation.capability());
                let is_plain = matches!(shell_word(&path), Cow::Borrowed(_));
                let rule = if is_plain { rule } else { shell_word(&rule).into_owned() };
                format!("ask for a policy with `{rule}`")
            }
            Self::Unanswered { .. } => "try again, or allow more time with `--login-timeout`".into(),
            Self::NamespaceUnknown { .. } => "check `namespace` of this vault in the settings".into(),
            Self::WrappingSpent { mount, .. } => {
                format!(
                    "if this machine did not unwrap it, revoke that secret id; ask for a new one of `auth/{}`",
                    shell_word(mount)
                )
            }
            Self::WrappingForeign { .. } => {
                "do not use it: ask who delivered it where it comes from, and for a new one".into()
            }
            Self::Sealed { .. } => "ask an operator to unseal it, then try again".into(),
            Self::Busy { .. } | Self::Unavailable { .. } => "try again in a minute".into(),
            Self::Http(error) => return error.hint(),
            Self::Identity(error) => return error.hint(),
            Self::Settings { hint, .. } => return hint.clone(),
            Self::Unusable { .. } => "check that the address is that of a Vault or OpenBao".into(),
            Self::Redirect { .. } => {
                "if that is a node of this vault, list it in `addresses`, or set `certificateAuthority`"
                    .into()
            }
            Self::Cleartext { .. } => "use an address that begins with `https://`".into(),
            Self::HelperLate { .. } => super::found_token::HELPER_HINT.into(),
            Self::RedirectNotAllowed { redirect_uri, .. } => {
                format!(
                    "ask an operator to add `{}` to the role's `allowed_redirect_uris`",
                    shell_word(redirect_uri)
                )
            }
            Self::NoDeviceCode { .. } => "{program} login --no-browser{profile}{vault}{config}".into(),
            Self::Callback { cause, .. } => return cause.hint(),
            Self::Rejected { .. } | Self::Path { .. } => return None,
        };
        Some(hint)
    }
}

#[cfg(test)]
mod tests;
