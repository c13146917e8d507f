//! Why a cluster, or the way to it, gave no token for a service account. What mends a missing right is
//! the `kubectl create role` that an administrator of that cluster can paste.

use super::Step;
use crate::error::{ExitCode, Explain, shell_word};
use crate::http::HttpError;

/// A token that was not had, and of whom.
#[derive(Debug, Clone, PartialEq)]
pub struct NotGranted {
    /// The context that was asked through.
    pub context: String,
    /// Its API server.
    pub server: String,
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub account: String,
    /// Why.
    pub reason: Reason,
    /// The server's own words, on one line.
    pub words: Option<String>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The context has something that cannot be used.
    Unusable(String),
    /// The context's plugin is this program, for the profile that asks.
    Recursion(String),
    /// The context switches TLS verification off.
    TlsOff,
    /// The server's address is no https address.
    Cleartext,
    /// The context's plugin gave no credential.
    Plugin {
        /// As the kubeconfig names it.
        name: String,
        /// What went wrong.
        cause: String,
        /// What that means for the caller.
        exit_code: ExitCode,
    },
    /// The server cannot be reached.
    Http(HttpError),
    /// It does not know who asks.
    Unauthorized,
    /// Who asks may not have tokens of this account.
    MayNotRequest,
    /// Who asks may not make Secrets in this namespace.
    MayNotBind,
    /// There is no such namespace.
    NamespaceMissing,
    /// There is no such account.
    AccountMissing,
    /// The account has another UID: it was deleted and made again.
    AccountReplaced,
    /// Less than ten minutes were asked for.
    TooShort,
    /// The server understood, and did not want to.
    Invalid,
    /// Another status, with what came along.
    Status(u16, String),
    /// An answer that is not of the documented shape.
    Answer(String),
}

impl Reason {
    pub(super) fn of(status: u16, message: &str, step: Step) -> Self {
        let says = |words: &str| message.contains(words);
        match (status, step) {
            (401, _) => Self::Unauthorized,
            (403 | 404, _) if says("namespaces \"") && says("not found") => Self::NamespaceMissing,
            (403, Step::Secret) => Self::MayNotBind,
            (403, _) => Self::MayNotRequest,
            (404, Step::Secret) => Self::NamespaceMissing,
            (404, _) => Self::AccountMissing,
            (409, Step::Token) => Self::AccountReplaced,
            (422, _) if says("less than 10 minutes") => Self::TooShort,
            (400 | 422, _) => Self::Invalid,
            (status, _) => Self::Status(status, String::new()),
        }
    }
}

impl std::error::Error for NotGranted {}

impl std::fmt::Display for NotGranted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { context, server, namespace, account, reason, .. } = self;
        let account = format!("`{account}` in namespace `{namespace}`");
        match reason {
            Reason::Unusable(_) | Reason::Recursion(_) => {
                write!(formatter, "kubeconfig context `{context}` cannot be used to ask for tokens")
            }
            Reason::TlsOff | Reason::Cleartext => {
                write!(formatter, "refused to send the credential of context `{context}` to `{server}`")
            }
            Reason::Plugin { name, .. } => {
                write!(formatter, "the plugin `{name}` of context `{context}` gave no credential")
            }
            Reason::Http(cause) => write!(formatter, "context `{context}`: {cause}"),
            Reason::Unauthorized => {
                write!(formatter, "`{server}` does not take the credential of context `{context}`")
            }
            Reason::MayNotRequest => {
                write!(formatter, "`{server}` forbids context `{context}` to ask for a token of {account}")
            }
            Reason::MayNotBind => write!(
                formatter,
                "`{server}` forbids context `{context}` to make a Secret in namespace `{namespace}`"
            ),
            Reason::NamespaceMissing => write!(formatter, "`{server}` has no namespace `{namespace}`"),
            Reason::AccountMissing => write!(formatter, "`{server}` has no service account {account}"),
            Reason::AccountReplaced => {
                write!(formatter, "service account {account} is not the one that was expected")
            }
            Reason::TooShort => write!(formatter, "no cluster gives a token for less than ten minutes"),
            Reason::Invalid | Reason::Status(..) => {
                write!(formatter, "`{server}` gave no token of service account {account}")
            }
            Reason::Answer(_) => {
                write!(formatter, "the answer of `{server}` about service account {account} cannot be used")
            }
        }
    }
}

impl Explain for NotGranted {
    fn exit_code(&self) -> ExitCode {
        match &self.reason {
            Reason::Unusable(_) | Reason::Recursion(_) | Reason::TooShort => ExitCode::Usage,
            Reason::TlsOff | Reason::Cleartext => ExitCode::Withheld,
            Reason::Plugin { exit_code, .. } => *exit_code,
            Reason::Http(cause) => cause.exit_code(),
            Reason::Status(429 | 500.., _) => ExitCode::Unreachable,
            Reason::Unauthorized
            | Reason::MayNotRequest
            | Reason::MayNotBind
            | Reason::NamespaceMissing
            | Reason::AccountMissing
            | Reason::AccountReplaced
            | Reason::Invalid
            | Reason::Status(..) => ExitCode::Refused,
            Reason::Answer(_) => ExitCode::Unusable,
        }
    }

    fn why(&self) -> Option<String> {
        match &self.reason {
            Reason::Unusable(why) | Reason::Answer(why) => Some(why.clone()),
            Reason::Recursion(profile) => {
                Some(format!("its own credential comes from profile `{profile}`, which asks"))
            }
            Reason::TlsOff => Some("it switches TLS verification off".to_owned()),
            Reason::Cleartext => Some("it is not an https address".to_owned()),
            Reason::Plugin { cause, .. } => Some(cause.clone()),
            Reason::Http(cause) => cause.why(),
            Reason::AccountReplaced => Some(
                self.words.clone().unwrap_or_else(|| "it was deleted and made again meanwhile".to_owned()),
            ),
            Reason::Status(status, words) => {
                let words = self.words.as_deref().unwrap_or(words);
                Some(format!("status {status} {words}").trim().to_owned())
            }
            _ => self.words.clone(),
        }
    }

    fn hint(&self) -> Option<String> {
        let context = shell_word(&self.context);
        let kubectl = format!("kubectl --context {context} --namespace {}", shell_word(&self.namespace));
        match &self.reason {
            Reason::Unusable(_) => {
                Some("give the context a user with a certificate, a token or a plugin".to_owned())
            }
            Reason::Recursion(_) => Some("name another `context` in the profile".to_owned()),
            Reason::TlsOff => Some(
                "give the context's cluster its CA: kubectl config set-cluster NAME --certificate-authority=FILE"
                    .to_owned(),
            ),
            Reason::Cleartext => Some("give the context's cluster an https address".to_owned()),
            Reason::Plugin { .. } | Reason::Unauthorized => {
                Some(format!("kubectl --context {context} auth whoami"))
            }
            Reason::Http(cause) => cause.hint(),
            Reason::MayNotRequest => Some(format!(
                "let an administrator run: {kubectl} create role token-of-{account} --verb=create \
                 --resource=serviceaccounts/token --resource-name={account} && {kubectl} create \
                 rolebinding token-of-{account} --role=token-of-{account} {}",
                self.whom(),
                account = shell_word(&self.account),
            )),
            Reason::MayNotBind => Some(format!(
                "let an administrator run: {kubectl} create role bound-tokens --verb=create,delete \
                 --resource=secrets && {kubectl} create rolebinding bound-tokens --role=bound-tokens {}; or leave \
                 `boundObject` out of the profile",
                self.whom(),
            )),
            Reason::NamespaceMissing => Some("correct `namespace` in the profile".to_owned()),
            Reason::AccountMissing => {
                Some(format!("{kubectl} create serviceaccount {}", shell_word(&self.account)))
            }
            Reason::AccountReplaced => Some(format!(
                "if that was meant: {kubectl} get serviceaccount {} --output=jsonpath={{.metadata.uid}}, and write it as `uid`",
                shell_word(&self.account)
            )),
            Reason::TooShort => Some("ask for `ttl: 10m` or more".to_owned()),
            Reason::Status(429 | 500.., _) => Some("try again later".to_owned()),
            Reason::Invalid | Reason::Status(..) | Reason::Answer(_) => None,
        }
    }
}

impl NotGranted {
    /// Whom the server saw, as `kubectl create rolebinding` takes it.
    fn whom(&self) -> String {
        let seen = self.words.as_deref().and_then(|words| words.split_once("User \"")?.1.split_once('"'));
        match seen.map(|(name, _)| name) {
            Some(name) => match name.strip_prefix("system:serviceaccount:") {
                Some(account) => format!("--serviceaccount={}", shell_word(account)),
                None => format!("--user={}", shell_word(name)),
            },
            None => "--user=NAME".to_owned(),
        }
    }
}
