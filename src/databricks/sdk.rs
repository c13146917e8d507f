//! How Databricks' SDKs would log in with an environment: the order of their ways, and what each wants.
//! It tells what a program would do, before it does; it sends nothing and changes nothing.
//!
//! After databricks-sdk-go 0.175 `config/auth_default.go` and databricks-sdk-py 0.67.0 and 0.156.0
//! `credentials_provider.py` and `config.py`.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::env::Env;

/// An SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sdk {
    /// For Go; Terraform and the CLI use it.
    Go,
    /// For Python, from 0.103.0 on.
    Python,
    /// For Python, before 0.103.0: it reads another variable for the file of a token.
    PythonBefore0103,
}

/// What an SDK makes of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Which SDK.
    pub sdk: Sdk,
    /// The way in which it would log in; none: it would fail.
    pub auth_type: Option<&'static str>,
    /// What it would say, where it would fail.
    pub failure: Option<String>,
}

/// What of the machine an SDK looks at besides the environment.
pub struct Machine<'a> {
    /// Whether a file can be read and is not empty.
    pub has_file: &'a dyn Fn(&str) -> bool,
    /// Whether there is a program of this name on PATH.
    pub has_program: &'a dyn Fn(&str) -> bool,
}

impl Sdk {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Go, Self::Python, Self::PythonBefore0103];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "Go (and Terraform)",
            Self::Python => "Python from 0.103.0",
            Self::PythonBefore0103 => "Python before 0.103.0",
        }
    }

    /// Its ways to log in that an environment can ask for, in its order.
    fn order(self) -> &'static [&'static str] {
        match self {
            Self::Go => &[
                "pat",
                "basic",
                "oauth-m2m",
                "databricks-cli",
                "metadata-service",
                "github-oidc",
                "azure-devops-oidc",
                "env-oidc",
                "file-oidc",
                "github-oidc-azure",
                "azure-msi",
                "azure-client-secret",
                "google-credentials",
            ],
            Self::Python | Self::PythonBefore0103 => &[
                "pat",
                "basic",
                "metadata-service",
                "oauth-m2m",
                "env-oidc",
                "file-oidc",
                "github-oidc",
                "azure-client-secret",
                "github-oidc-azure",
                "azure-devops-oidc",
                "databricks-cli",
                "google-credentials",
            ],
        }
    }

    /// The variable that names the file of a token, as it reads this environment.
    #[must_use]
    pub fn token_file(self, env: &Env) -> Option<&str> {
        let (file, path) =
            (env.filled("DATABRICKS_OIDC_TOKEN_FILE"), env.filled("DATABRICKS_OIDC_TOKEN_FILEPATH"));
        match self {
            Self::Go => path,
            Self::Python => path.or(file),
            Self::PythonBefore0103 => file,
        }
    }

    /// What it would do.
    #[must_use]
    pub fn verdict(self, env: &Env, machine: &Machine<'_>) -> Verdict {
        let fails = |words: String| Verdict { sdk: self, auth_type: None, failure: Some(words) };
        let asked = env.filled("DATABRICKS_AUTH_TYPE");
        let kinds = self.kinds(env);
        if asked.is_none() && kinds.len() > 1 {
            let names = kinds.into_iter().collect::<Vec<_>>().join(" and ");
            return fails(format!("more than one authorization method configured: {names}"));
        }
        let mut ways = self.order().iter().filter(|way| asked.is_none_or(|asked| asked == **way));
        match ways.find(|way| self.can(way, env, machine)) {
            Some(way) => Verdict { sdk: self, auth_type: Some(way), failure: None },
            None => fails("cannot configure default credentials".to_owned()),
        }
    }

    /// The kinds of log-in that the variables speak of: with more than one, and none asked for, it
    /// refuses (`_validate` in Python, `Validate` in Go).
    fn kinds(self, env: &Env) -> BTreeSet<&'static str> {
        let is_set = |name: &&str| env.filled(name).is_some();
        let mut kinds: BTreeSet<&'static str> = [
            ("pat", &["DATABRICKS_TOKEN"][..]),
            ("basic", &["DATABRICKS_USERNAME", "DATABRICKS_PASSWORD"]),
            ("oauth", &["DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"]),
            ("metadata-service", &["DATABRICKS_METADATA_SERVICE_URL"]),
            ("env-oidc", &["DATABRICKS_OIDC_TOKEN_ENV"]),
            ("google", &["DATABRICKS_GOOGLE_SERVICE_ACCOUNT", "GOOGLE_CREDENTIALS"]),
            (
                "azure",
                &[
                    "DATABRICKS_AZURE_RESOURCE_ID",
                    "ARM_CLIENT_ID",
                    "ARM_CLIENT_SECRET",
                    "ARM_TENANT_ID",
                    "ARM_USE_MSI",
                ],
            ),
        ]
        .into_iter()
        .filter(|(_, names)| names.iter().any(is_set))
        .map(|(kind, _)| kind)
        .collect();
        if self.token_file(env).is_some() {
            kinds.insert("file-oidc");
        }
        kinds
    }

    fn can(self, way: &str, env: &Env, machine: &Machine<'_>) -> bool {
        let all = |names: &[&str]| names.iter().all(|name| env.filled(name).is_some());
        let host = all(&["DATABRICKS_HOST"]);
        let github = all(&["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]);
        match way {
            "pat" => host && all(&["DATABRICKS_TOKEN"]),
            "basic" => host && all(&["DATABRICKS_USERNAME", "DATABRICKS_PASSWORD"]),
            "oauth-m2m" => host && all(&["DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"]),
            "metadata-service" => host && all(&["DATABRICKS_METADATA_SERVICE_URL"]),
            "databricks-cli" => {
                host && (machine.has_program)(env.filled("DATABRICKS_CLI_PATH").unwrap_or("databricks"))
            }
            "env-oidc" => host && env_token(env).is_some(),
            "file-oidc" => host && self.token_file(env).is_some_and(|path| (machine.has_file)(path)),
            "github-oidc" => host && github && (self == Self::Go || all(&["DATABRICKS_CLIENT_ID"])),
            "azure-devops-oidc" => {
                self != Self::PythonBefore0103
                    && host
                    && all(&[
                        "DATABRICKS_CLIENT_ID",
                        "SYSTEM_ACCESSTOKEN",
                        "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
                    ])
            }
            "github-oidc-azure" => host && github && all(&["ARM_CLIENT_ID"]),
            "azure-msi" => host && all(&["ARM_USE_MSI"]),
            "azure-client-secret" => all(&["ARM_CLIENT_ID", "ARM_CLIENT_SECRET", "ARM_TENANT_ID"]),
            "google-credentials" => host && all(&["GOOGLE_CREDENTIALS"]),
            _ => false,
        }
    }
}

/// The variable that holds the token of `env-oidc`.
#[must_use]
pub fn env_token_variable(env: &Env) -> &str {
    env.filled("DATABRICKS_OIDC_TOKEN_ENV").unwrap_or("DATABRICKS_OIDC_TOKEN")
}

/// The token of `env-oidc`.
#[must_use]
pub fn env_token(env: &Env) -> Option<&str> {
    env.filled(env_token_variable(env))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(pairs: &[(&str, &str)]) -> Vec<String> {
        let env = Env::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let machine =
            Machine { has_file: &|path| path == "/token", has_program: &|name| name == "/bin/databricks" };
        let of = |sdk: Sdk| {
            let verdict = sdk.verdict(&env, &machine);
            verdict.auth_type.map(str::to_owned).or(verdict.failure).unwrap()
        };
        Sdk::ALL.map(of).to_vec()
    }

    const HOST: (&str, &str) = ("DATABRICKS_HOST", "https://h");
    const NONE: &str = "cannot configure default credentials";

    #[test]
    fn each_sdk_takes_its_own_first_way() {
        assert_eq!(verdicts(&[HOST]), [NONE; 3]);
        assert_eq!(verdicts(&[HOST, ("DATABRICKS_OIDC_TOKEN", "t")]), ["env-oidc"; 3]);
        assert_eq!(verdicts(&[("DATABRICKS_OIDC_TOKEN", "t")]), [NONE; 3], "without a host");
        let both = [HOST, ("DATABRICKS_OIDC_TOKEN", "t"), ("DATABRICKS_CLI_PATH", "/bin/databricks")];
        assert_eq!(verdicts(&both), ["databricks-cli", "env-oidc", "env-oidc"], "two identities");
        let path = [HOST, ("DATABRICKS_OIDC_TOKEN_FILEPATH", "/token")];
        assert_eq!(verdicts(&path), ["file-oidc", "file-oidc", NONE]);
        let file = [HOST, ("DATABRICKS_OIDC_TOKEN_FILE", "/token")];
        assert_eq!(verdicts(&file), [NONE, "file-oidc", "file-oidc"]);
        let gone = [HOST, ("DATABRICKS_OIDC_TOKEN_FILEPATH", "/gone")];
        assert_eq!(verdicts(&gone), [NONE; 3]);
        let asked = [HOST, ("DATABRICKS_AUTH_TYPE", "env-oidc"), ("DATABRICKS_TOKEN", "pat")];
        assert_eq!(verdicts(&asked), [NONE; 3]);
    }

    #[test]
    fn two_kinds_of_log_in_are_refused_unless_one_is_asked_for() {
        let refused = "more than one authorization method configured: metadata-service and oauth";
        let two =
            [HOST, ("DATABRICKS_METADATA_SERVICE_URL", "http://127.0.0.1:1"), ("DATABRICKS_CLIENT_ID", "7f")];
        assert_eq!(verdicts(&two), [refused; 3]);
        let asked = [two.as_slice(), &[("DATABRICKS_AUTH_TYPE", "metadata-service")]].concat();
        assert_eq!(verdicts(&asked), ["metadata-service"; 3]);
        let file = [HOST, ("DATABRICKS_OIDC_TOKEN_FILE", "/token"), ("DATABRICKS_CLIENT_ID", "7f")];
        let refused = "more than one authorization method configured: file-oidc and oauth";
        assert_eq!(verdicts(&file), [NONE, refused, refused]);
        let env = [HOST, ("DATABRICKS_OIDC_TOKEN", "t"), ("DATABRICKS_CLIENT_ID", "7f")];
        assert_eq!(verdicts(&env), ["env-oidc"; 3], "that variable is none of the settings");
    }
}
