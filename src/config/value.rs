//! The rules for single values, shared by files, flags, variables and the cluster extension. A value
//! that passed is safe to put into a request path, a header and a message.

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

use super::duration::parse_duration;
use super::providers::Issuer;
use super::types::VaultAddress;

/// A value that breaks the rules for its kind. It does not repeat a value that may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    value: Option<String>,
    noun: &'static str,
    rule: &'static str,
}

impl ValueError {
    pub(super) fn of(value: &str, noun: &'static str, rule: &'static str) -> Self {
        Self { value: Some(value.chars().take(80).collect()), noun, rule }
    }

    /// For values that may hold a secret.
    pub(super) fn withheld(noun: &'static str, rule: &'static str) -> Self {
        Self { value: None, noun, rule }
    }
}

impl std::fmt::Display for ValueError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            Some(value) if value.is_empty() => {
                write!(formatter, "an empty text cannot be {}: {}", self.noun, self.rule)
            }
            Some(value) => write!(formatter, "`{value}` cannot be {}: {}", self.noun, self.rule),
            None => write!(formatter, "this cannot be {}: {}", self.noun, self.rule),
        }
    }
}

impl std::error::Error for ValueError {}

/// Makes a checked text: a string that is one only where `$check` says so.
macro_rules! checked_text {
    ($(#[doc = $doc:literal] $name:ident: $check:expr, $noun:literal, $rule:literal;)+) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub(super) struct $name(pub(super) String);

        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(ValueError::of(&text, $noun, $rule)) }
            }
        }
    )+};
}

checked_text! {
    /// Mount path of an engine or of a log-in method, without `auth/` for the latter.
    Mount: is_path, "a mount", "a path such as `kubernetes/prod` is expected, without slashes at its ends and without empty, `.` or `..` parts";
    /// Path of a KV document.
    DocumentPath: is_document_path, "a path", "parts between single slashes are expected, none of them `.` or `..`; braces only as `{cluster}` and `{team}`";
    /// Field of a KV document.
    FieldName: is_plain, "a field", "a name without control characters is expected";
    /// A role, or whatever else is one part of a path.
    Role: is_part, "a role", "a name without slashes and control characters is expected";
    /// Cluster of a KV document.
    ClusterName: is_part, "a cluster's name", "a name without slashes and control characters is expected";
    /// Team of a KV document.
    TeamName: is_part, "a team's name", "a name without slashes and control characters is expected";
    /// Namespace of a Vault.
    VaultNamespace: is_path, "a Vault namespace", "a path such as `platform/eu` is expected, without slashes at its ends and without empty, `.` or `..` parts";
    /// Kubernetes namespace: an RFC 1123 label.
    Namespace: is_label, "a Kubernetes namespace", "up to 63 small letters, digits and inner `-` are expected";
    /// Service account: an RFC 1123 subdomain.
    AccountName: |text| text.len() <= 253 && text.split('.').all(is_label), "a service account", "small letters, digits, inner `-` and `.` are expected";
    /// Audience of a token.
    Audience: is_plain, "an audience", "text without control characters is expected";
    /// A scope: `scope-token` of RFC 6749.
    Scope: |text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\'), "a scope", "text without blanks, quotes and backslashes is expected";
    /// Name of an environment variable.
    VariableName: is_variable, "a variable's name", "letters, digits and `_` are expected, and no digit first";
    /// Path of a file.
    FilePath: |text| !text.is_empty() && !text.chars().any(char::is_control), "a file", "a path is expected";
    /// The name that a server's certificate must have.
    ServerName: |text| is_plain(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:*".contains(&b)), "a server name", "a host name is expected";
    /// What becomes one part of an address: an account, a tenant, a service account.
    PathPart: |text| is_part(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b)), "an account or a tenant", "letters, digits, `.`, `-`, `_` and `@` are expected";
    /// Any other text that is not empty.
    Text: is_plain, "a value", "text without control characters is expected, and not empty";
    /// The only version there is.
    ApiVersion: |text| text == super::API_VERSION, "the `apiVersion`", "this program knows `vaulttoken.dev/v1alpha1`";
    /// The kind of a settings file.
    ConfigKind: |text| text == "Config", "the `kind` of a settings file", "`Config` is expected";
}

/// Security: CR, LF and NUL in a value that goes into a header or a line protocol would let one
/// value speak for two (CVE-2020-5260 and its kin).
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && text.trim() == text && !text.chars().any(char::is_control)
}

/// Security: `..` in a request path would reach another mount than the one that was named.
fn is_path(text: &str) -> bool {
    is_plain(text) && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_part(text: &str) -> bool {
    is_path(text) && !text.contains('/')
}

fn is_document_path(text: &str) -> bool {
    is_path(text) && !text.replace("{cluster}", "").replace("{team}", "").contains(['{', '}'])
}

fn is_label(text: &str) -> bool {
    text.len() <= 63
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl VaultAddress {
    /// Reads `https://…`, `http://…` or `unix:///…`: no user, query or fragment; a slash at the end
    /// goes, a path prefix stays.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        const RULE: &str = "`https://host[:port][/prefix]` or `unix:///path` is expected";
        if let Some(path) = text.strip_prefix("unix://") {
            let plain = path.starts_with('/') && path.len() > 1 && !path.chars().any(char::is_control);
            return plain
                .then(|| Self::UnixSocket(PathBuf::from(path)))
                .ok_or_else(|| ValueError::of(text, "a Vault address", "`unix:///path` is expected"));
        }
        web_address(text, "a Vault address", RULE, false).map(Self::Url)
    }
}

impl Issuer {
    pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
        const RULE: &str = "`https://host[:port][/path]` is expected";
        let url = web_address(text, "an issuer", RULE, false)?;
        Ok(Self { text: text.to_owned(), url })
    }
}

/// An address of a service other than a Vault; a query may be part of it (RFC 6749, section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct WebAddress(pub(super) Url);

impl TryFrom<String> for WebAddress {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        const RULE: &str = "`https://host[:port][/path]` is expected";
        web_address(&text, "an address", RULE, true).map(Self)
    }
}

/// A Kubernetes API server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ServerAddress(pub(super) Url);

impl TryFrom<String> for ServerAddress {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        const RULE: &str = "`https://host[:port][/path]` is expected";
        web_address(&text, "an API server", RULE, false).map(Self)
    }
}

impl TryFrom<String> for VaultAddress {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for Issuer {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text)
    }
}

/// A web address without user information and fragment. An endpoint is kept as it was written; of
/// anything else the slash at the end goes, and a query is refused.
fn web_address(
    text: &str,
    noun: &'static str,
    rule: &'static str,
    endpoint: bool,
) -> Result<Url, ValueError> {
    // The URL standard drops tabs and line breaks, and takes `https:host` and backslashes.
    let lower = text.to_ascii_lowercase();
    let well_formed = (lower.starts_with("https://") || lower.starts_with("http://"))
        && !text.contains(['\\', ' '])
        && !text.chars().any(char::is_control);
    let parsed = well_formed.then(|| Url::parse(text).ok()).flatten();
    // Security: what stands before an `@` may be a password; it is not repeated, even where the rest
    // cannot be read.
    let user = parsed.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some());
    if user || text.contains('@') {
        return Err(ValueError::withheld(noun, "an address must not hold a user or a password"));
    }
    let mut url = parsed
        .filter(|url| url.has_host() && url.fragment().is_none() && (endpoint || url.query().is_none()))
        .ok_or_else(|| ValueError::of(text, noun, rule))?;
    if !endpoint {
        let trimmed = url.path().trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
    }
    Ok(url)
}

/// A lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Lifetime(pub(super) Duration);

impl TryFrom<String> for Lifetime {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        parse_duration(&text).map(Self)
    }
}

/// A port to listen at; zero would mean any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Port(pub(super) u16);

impl TryFrom<String> for Port {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        let port = text.parse().ok().filter(|port| *port != 0).map(Self);
        port.ok_or_else(|| ValueError::of(&text, "a port", "a number from 1 to 65535 is expected"))
    }
}

/// A PEM or the path of one, not yet told apart.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PemText(pub(super) String);

impl TryFrom<String> for PemText {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        let inline = text.contains("-----BEGIN ");
        if inline || (!text.is_empty() && !text.chars().any(char::is_control)) {
            Ok(Self(text))
        } else {
            Err(ValueError::withheld("a certificate or key", "a file or a PEM is expected"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_may_have_parts_but_cannot_climb() {
        for good in ["kubernetes", "kubernetes/prod", "a b", "k8s.1"] {
            assert!(Mount::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\r\nb", "a\0", " a", "a\u{85}"] {
            assert!(Mount::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(Role::try_from("a/b".to_owned()).is_err());
        assert!(DocumentPath::try_from("t/{cluster}/{team}".to_owned()).is_ok());
        assert!(DocumentPath::try_from("t/{clustr}".to_owned()).is_err());
        assert!(Namespace::try_from("Team-A".to_owned()).is_err());
        assert!(VariableName::try_from("1X".to_owned()).is_err());
    }

    #[test]
    fn addresses_lose_their_slash_and_keep_their_prefix() {
        for (text, shown) in [
            ("https://vault.example:8200/", "https://vault.example:8200"),
            ("https://VAULT.example/prefix/", "https://vault.example/prefix"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("https://[::1]:8200", "https://[::1]:8200"),
            ("unix:///run/vault.sock", "unix:///run/vault.sock"),
        ] {
            assert_eq!(VaultAddress::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "vault:8200",
            "ftp://vault",
            "https:vault",
            "https:\\\\vault",
            "https://",
            "https://v?x=1",
            "https://v#f",
            "https://v\n.example",
            "unix://relative",
            "unix:///",
            "https://v/ x",
        ] {
            assert!(VaultAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        for text in
            ["https://me:hunter2@vault", "https://me@vault", "me:hunter2@vault", "https://me:hunter2@"]
        {
            assert_eq!(
                VaultAddress::parse(text).unwrap_err().to_string(),
                "this cannot be a Vault address: an address must not hold a user or a password",
                "{text}"
            );
        }
    }

    #[test]
    fn an_issuer_stays_what_was_written() {
        let issuer = Issuer::parse("https://SSO.example").unwrap();
        assert_eq!((issuer.as_str(), issuer.url().as_str()), ("https://SSO.example", "https://sso.example/"));
    }

    proptest! {
        #[test]
        fn no_address_panics_and_none_keeps_a_user(text in "(https?://)?[a-z:@/?#\\\\.\\PC]{0,40}") {
            if let Ok(VaultAddress::Url(url)) = VaultAddress::parse(&text) {
                prop_assert!(url.username().is_empty() && url.password().is_none() && url.query().is_none());
            }
        }

        #[test]
        fn an_accepted_mount_has_no_control_character_and_no_climbing_part(text in any::<String>()) {
            if let Ok(Mount(mount)) = Mount::try_from(text) {
                prop_assert!(!mount.chars().any(char::is_control));
                prop_assert!(mount.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }
    }
}
