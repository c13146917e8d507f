//! The variables of Vault and OpenBao: the vault that they name, and how any vault is reached. For
//! each `X`, `BAO_X` wins over `VAULT_X` as soon as it is set, even to nothing; an empty value is none.
//!
//! Security: callers hand in [`Env::own`], so that a kubeconfig's `exec.env` does not count.

use std::time::Duration;

use secrecy::SecretString;

use super::problem::SettingsError;
use super::types::{AuthMethod, NamedBy, Pem, TlsSettings, VaultAddress, VaultSettings};
use super::value::VaultNamespace;
use crate::env::Env;

/// The vault that the environment names; `None` where neither `ADDR` nor `AGENT_ADDR` is set.
///
/// The clients of Vault and OpenBao would go to `https://127.0.0.1:8200` then. We do not: whoever
/// listens there on a shared machine would be given a token that nobody sent there.
pub fn vault_of_environment(env: &Env) -> Result<Option<VaultSettings>, SettingsError> {
    let Some(found) = variable(env, "AGENT_ADDR").or_else(|| variable(env, "ADDR")) else { return Ok(None) };
    let address = VaultAddress::parse(found.value).map_err(|problem| found.refused(&problem))?;
    let transport = Transport::of_environment(env)?;
    let mut vault = VaultSettings {
        name: None,
        named_by: NamedBy::Environment,
        address,
        addresses: Vec::new(),
        namespace: namespace(env)?,
        tls: TlsSettings {
            server_name: variable(env, "TLS_SERVER_NAME").map(|found| found.value.to_owned()),
            skip_verify: skip_verify(env)?,
            ..TlsSettings::default()
        },
        auth: AuthMethod::Token,
    };
    transport.fill(&mut vault);
    Ok(Some(vault))
}

/// How a vault is reached, as far as its settings leave it open.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    /// Whom to believe at a Vault: `CACERT`, `CACERT_BYTES` and `CAPATH`; in the system's place.
    pub vault_certificate_authorities: Vec<Pem>,
    /// Whom to believe anywhere: `SSL_CERT_FILE` and `SSL_CERT_DIR`; empty: the system's.
    pub certificate_authorities: Vec<Pem>,
    /// `CLIENT_CERT` and `CLIENT_KEY`.
    pub client_certificate: Option<(Pem, Pem)>,
    /// `PROXY_ADDR`, else `HTTP_PROXY` behind `VAULT_` or `BAO_`; it may hold a password. Without
    /// one the standard ones below count.
    pub vault_proxy: Option<SecretString>,
    /// `HTTPS_PROXY`, in upper case or lower.
    pub https_proxy: Option<SecretString>,
    /// `HTTP_PROXY`, likewise.
    pub http_proxy: Option<SecretString>,
    /// `NO_PROXY`, likewise.
    pub no_proxy: Option<String>,
    /// `CLIENT_TIMEOUT`; zero, which means for ever elsewhere, is none.
    pub timeout: Option<Duration>,
    /// `MAX_RETRIES`.
    pub max_retries: Option<u32>,
}

impl Transport {
    /// Reads the variables.
    pub fn of_environment(env: &Env) -> Result<Self, SettingsError> {
        Ok(Self {
            vault_certificate_authorities: vault_certificate_authorities(env),
            certificate_authorities: certificate_authorities(env),
            client_certificate: client_certificate(env)?,
            vault_proxy: proxy(env)?,
            https_proxy: standard(env, "HTTPS_PROXY").map(SecretString::from),
            http_proxy: standard(env, "HTTP_PROXY").map(SecretString::from),
            no_proxy: standard(env, "NO_PROXY").map(str::to_owned),
            timeout: timeout(env)?,
            max_retries: variable(env, "MAX_RETRIES")
                .map(|found| found.value.parse().map_err(|_| found.junk("a whole number is expected")))
                .transpose()?,
        })
    }

    /// Adds what the vault's settings leave out. Address, namespace, server name and verification
    /// are not ours to add: they belong to whoever named the vault.
    pub fn fill(&self, vault: &mut VaultSettings) {
        if vault.tls.certificate_authorities.is_empty() {
            vault.tls.certificate_authorities.clone_from(&self.vault_certificate_authorities);
        }
        if vault.tls.client_certificate.is_none() {
            vault.tls.client_certificate.clone_from(&self.client_certificate);
        }
    }
}

/// A variable that is set, by the name that it was found under.
struct Found<'a> {
    name: String,
    value: &'a str,
}

impl Found<'_> {
    fn refused(&self, problem: &super::ValueError) -> SettingsError {
        SettingsError::Variable { variable: self.name.clone(), problem: problem.to_string() }
    }

    fn junk(&self, expected: &str) -> SettingsError {
        SettingsError::Variable { variable: self.name.clone(), problem: expected.to_owned() }
    }

    fn is_openbao(&self) -> bool {
        self.name.starts_with("BAO_")
    }
}

fn variable<'a>(env: &'a Env, ending: &str) -> Option<Found<'a>> {
    let openbao = format!("BAO_{ending}");
    let name = if env.get(&openbao).is_some() { openbao } else { format!("VAULT_{ending}") };
    env.filled(&name).map(|value| Found { name, value })
}

/// Both command lines add a slash themselves, so people write one as well as none.
fn namespace(env: &Env) -> Result<Option<String>, SettingsError> {
    let Some(found) = variable(env, "NAMESPACE") else { return Ok(None) };
    let text = found.value.trim_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let namespace = VaultNamespace::try_from(text.to_owned()).map_err(|problem| found.refused(&problem))?;
    Ok(Some(namespace.0))
}

/// The words of Go's `strconv.ParseBool`.
fn skip_verify(env: &Env) -> Result<bool, SettingsError> {
    let Some(found) = variable(env, "SKIP_VERIFY") else { return Ok(false) };
    match found.value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(found.junk("`true` or `false` is expected")),
    }
}

/// Vault's client takes the first of file, text and folder; OpenBao's takes all that are given.
fn vault_certificate_authorities(env: &Env) -> Vec<Pem> {
    let found = [
        variable(env, "CACERT").map(|found| (found.is_openbao(), Pem::File(found.value.into()))),
        variable(env, "CACERT_BYTES").map(|found| (found.is_openbao(), Pem::Inline(found.value.to_owned()))),
        variable(env, "CAPATH").map(|found| (found.is_openbao(), Pem::Folder(found.value.into()))),
    ];
    let found: Vec<(bool, Pem)> = found.into_iter().flatten().collect();
    let all = found.iter().any(|(is_openbao, _)| *is_openbao);
    let most = if all { usize::MAX } else { 1 };
    found.into_iter().map(|(_, pem)| pem).take(most).collect()
}

fn certificate_authorities(env: &Env) -> Vec<Pem> {
    let file = env.filled("SSL_CERT_FILE").map(|path| Pem::File(path.into()));
    let folder = env.filled("SSL_CERT_DIR").map(|path| Pem::Folder(path.into()));
    file.into_iter().chain(folder).collect()
}

fn client_certificate(env: &Env) -> Result<Option<(Pem, Pem)>, SettingsError> {
    let half = |ending: &str| {
        let file = variable(env, ending).map(|found| (Pem::File(found.value.into()), found));
        file.or_else(|| {
            variable(env, &format!("{ending}_BYTES"))
                .map(|found| (Pem::Inline(found.value.to_owned()), found))
        })
    };
    match (half("CLIENT_CERT"), half("CLIENT_KEY")) {
        (Some((certificate, _)), Some((key, _))) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some((_, found)), None) => Err(found.junk("it needs `VAULT_CLIENT_KEY` or `BAO_CLIENT_KEY`")),
        (None, Some((_, found))) => Err(found.junk("it needs `VAULT_CLIENT_CERT` or `BAO_CLIENT_CERT`")),
    }
}

/// A variable that other programs read in both cases; Go's clients take the upper one first.
fn standard<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.filled(name).or_else(|| env.filled(&name.to_ascii_lowercase()))
}

fn proxy(env: &Env) -> Result<Option<SecretString>, SettingsError> {
    let Some(found) = variable(env, "PROXY_ADDR").or_else(|| variable(env, "HTTP_PROXY")) else {
        return Ok(None);
    };
    let good = url::Url::parse(found.value)
        .is_ok_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h"));
    // Security: the value may hold a password and is not repeated.
    if good {
        Ok(Some(SecretString::from(found.value.to_owned())))
    } else {
        Err(found.junk("`http://host:port` is expected"))
    }
}

fn timeout(env: &Env) -> Result<Option<Duration>, SettingsError> {
    let Some(found) = variable(env, "CLIENT_TIMEOUT") else { return Ok(None) };
    let timeout =
        go_duration(found.value).ok_or_else(|| found.junk("`30s` or a number of seconds is expected"))?;
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

/// Seconds, or what Go's `time.ParseDuration` reads of whole numbers: `1m30s`, `500ms`.
fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return within_a_day(Duration::from_secs(u64::from(seconds))).filter(|_| !text.starts_with('+'));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(unit_at)?;
        let next_at = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(next_at)?;
        let number: u32 = number.parse().ok()?;
        let unit = match unit {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        sum = sum.checked_add(unit.checked_mul(number)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum).and_then(within_a_day)
}

/// Nobody waits longer for one answer; beyond, sums of times would have to be watched for overflow.
fn within_a_day(duration: Duration) -> Option<Duration> {
    (duration <= Duration::from_secs(24 * 3600)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain as _;
    use secrecy::ExposeSecret as _;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn address(pairs: &[(&str, &str)]) -> Option<String> {
        vault_of_environment(&env(pairs)).unwrap().map(|vault| vault.address.to_string())
    }

    fn problem(pairs: &[(&str, &str)]) -> String {
        vault_of_environment(&env(pairs)).unwrap_err().to_string()
    }

    #[test]
    fn openbaos_variable_wins_once_it_is_set_even_to_nothing() {
        assert_eq!(address(&[]), None);
        assert_eq!(address(&[("VAULT_ADDR", "")]), None);
        assert_eq!(address(&[("VAULT_ADDR", "https://v/")]).as_deref(), Some("https://v"));
        assert_eq!(
            address(&[("VAULT_ADDR", "https://v"), ("BAO_ADDR", "https://b")]).as_deref(),
            Some("https://b")
        );
        assert_eq!(address(&[("VAULT_ADDR", "https://v"), ("BAO_ADDR", "")]), None);
        assert_eq!(
            address(&[("BAO_ADDR", "https://b"), ("VAULT_AGENT_ADDR", "http://127.0.0.1:8100")]).as_deref(),
            Some("http://127.0.0.1:8100"),
            "an agent's address goes before"
        );
    }

    #[test]
    fn the_environments_vault_has_the_environments_authority_and_switches() {
        let vault = vault_of_environment(&env(&[
            ("VAULT_ADDR", "https://v:8200/p"),
            ("VAULT_NAMESPACE", "a/b/"),
            ("VAULT_TLS_SERVER_NAME", "vault.internal"),
            ("VAULT_SKIP_VERIFY", "t"),
            ("VAULT_CACERT", "/ca.pem"),
        ]))
        .unwrap()
        .unwrap();
        assert_eq!(vault.named_by, NamedBy::Environment);
        assert_eq!(vault.namespace.as_deref(), Some("a/b"));
        assert_eq!(vault.tls.server_name.as_deref(), Some("vault.internal"));
        assert!(vault.tls.skip_verify);
        assert_eq!(vault.tls.certificate_authorities, [Pem::File("/ca.pem".into())]);
        assert_eq!(vault.auth, AuthMethod::Token);
    }

    #[test]
    fn authorities_are_the_first_for_vault_and_all_for_openbao() {
        let of = |pairs: &[(&str, &str)]| vault_certificate_authorities(&env(pairs));
        let [file, text, folder] =
            [Pem::File("/f".into()), Pem::Inline("pem".into()), Pem::Folder("/d".into())];
        assert_eq!(
            of(&[("VAULT_CAPATH", "/d"), ("VAULT_CACERT_BYTES", "pem"), ("VAULT_CACERT", "/f")]),
            std::slice::from_ref(&file)
        );
        assert_eq!(of(&[("VAULT_CAPATH", "/d"), ("VAULT_CACERT_BYTES", "pem")]), std::slice::from_ref(&text));
        assert_eq!(
            of(&[("BAO_CAPATH", "/d"), ("VAULT_CACERT_BYTES", "pem"), ("VAULT_CACERT", "/f")]),
            [file.clone(), text, folder]
        );
        let both = env(&[("SSL_CERT_FILE", "/s"), ("VAULT_CACERT", "/f")]);
        assert_eq!(vault_certificate_authorities(&both), [file]);
        assert_eq!(certificate_authorities(&both), [Pem::File("/s".into())]);
    }

    #[test]
    fn junk_is_named_with_the_variable_that_holds_it() {
        let with = |name, value| problem(&[("VAULT_ADDR", "https://v"), (name, value)]);
        assert_eq!(
            with("VAULT_SKIP_VERIFY", "yes"),
            "`VAULT_SKIP_VERIFY` cannot be used: `true` or `false` is expected"
        );
        assert_eq!(
            with("BAO_CLIENT_TIMEOUT", "soon"),
            "`BAO_CLIENT_TIMEOUT` cannot be used: `30s` or a number of seconds is expected"
        );
        assert_eq!(
            with("VAULT_MAX_RETRIES", "-1"),
            "`VAULT_MAX_RETRIES` cannot be used: a whole number is expected"
        );
        assert_eq!(
            with("VAULT_CLIENT_CERT", "/c"),
            "`VAULT_CLIENT_CERT` cannot be used: it needs `VAULT_CLIENT_KEY` or `BAO_CLIENT_KEY`"
        );
        assert_eq!(
            with("BAO_CLIENT_KEY", "/k"),
            "`BAO_CLIENT_KEY` cannot be used: it needs `VAULT_CLIENT_CERT` or `BAO_CLIENT_CERT`"
        );
        assert_eq!(
            with("VAULT_PROXY_ADDR", "me:hunter2@proxy"),
            "`VAULT_PROXY_ADDR` cannot be used: `http://host:port` is expected"
        );
        assert_eq!(
            problem(&[("VAULT_ADDR", "https://me:hunter2@v")]),
            "`VAULT_ADDR` cannot be used: this cannot be a Vault address: an address must not hold a user or a password"
        );
        assert_eq!(
            problem(&[("VAULT_ADDR", "https://v"), ("VAULT_NAMESPACE", "a/../b")]),
            "`VAULT_NAMESPACE` cannot be used: `a/../b` cannot be a Vault namespace: a path such as `platform/eu` is expected, without slashes at its ends and without empty, `.` or `..` parts"
        );
        let error = vault_of_environment(&env(&[("VAULT_ADDR", "x")])).unwrap_err();
        assert_eq!(error.exit_code(), crate::error::ExitCode::Usage);
    }

    #[test]
    fn the_transport_is_read_for_every_vault() {
        let transport = Transport::of_environment(&env(&[
            ("VAULT_PROXY_ADDR", "http://me:secret@proxy:3128"),
            ("VAULT_HTTP_PROXY", "http://other:3128"),
            ("VAULT_CLIENT_CERT", "/c"),
            ("BAO_CLIENT_KEY", "/k"),
            ("VAULT_MAX_RETRIES", "3"),
        ]))
        .unwrap();
        assert_eq!(transport.vault_proxy.as_ref().unwrap().expose_secret(), "http://me:secret@proxy:3128");
        assert!(!format!("{transport:?}").contains("secret@"));
        assert_eq!(transport.client_certificate, Some((Pem::File("/c".into()), Pem::File("/k".into()))));
        assert_eq!(transport.max_retries, Some(3));
    }

    #[test]
    fn a_timeout_is_seconds_or_gos_duration() {
        for (text, milliseconds) in
            [("30s", 30_000), ("30", 30_000), ("1m30s", 90_000), ("500ms", 500), ("0", 0)]
        {
            assert_eq!(go_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for junk in ["", "s", "30x", "30 s", "1m30", "-3", "1.5s", "99999999999999999999", "25h", "é"] {
            assert_eq!(go_duration(junk), None, "{junk}");
        }
        let none = Transport::of_environment(&env(&[("VAULT_CLIENT_TIMEOUT", "0")])).unwrap();
        assert_eq!(none.timeout, None, "never wait for ever");
    }
}
