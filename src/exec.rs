//! The exec credential contract: `KUBERNETES_EXEC_INFO` in, one `ExecCredential` out.
//!
//! It follows KEP-541 and `client.authentication.k8s.io/v1` and `v1beta1`, which are the same but
//! for their name. Lenient in what it reads, because a dozen client libraries write it, and exact
//! in what it writes. It knows no cache and no source.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::{ExitCode, Explain, printable};
use crate::token::Timestamp;

/// The version of the contract. A client takes only the one that its kubeconfig names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// `client.authentication.k8s.io/v1`.
    #[default]
    V1,
    /// `client.authentication.k8s.io/v1beta1`.
    V1Beta1,
}

impl ApiVersion {
    /// As the wire writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "client.authentication.k8s.io/v1",
            Self::V1Beta1 => "client.authentication.k8s.io/v1beta1",
        }
    }

    /// Reads `v1`, `v1beta1`, or the long form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("client.authentication.k8s.io/").unwrap_or(text) {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }
}

/// What the client says about this call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExecInfo {
    /// The version it wants back; none where it did not say.
    pub api_version: Option<ApiVersion>,
    /// It says that a person may be asked. Terminals must be looked at as well.
    pub interactive: bool,
    /// Which cluster the token is for, where it says so.
    pub cluster: Option<ClusterInfo>,
}

/// The cluster as the client describes it, after kubectl's flags were applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterInfo {
    /// The API server's address, verbatim.
    pub server: String,
    /// `tls-server-name`.
    pub tls_server_name: Option<String>,
    /// `insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `certificate-authority-data`, decoded: PEM.
    pub certificate_authority_data: Option<Vec<u8>>,
    /// `certificate-authority`: a path, which only client-python leaves as it is.
    pub certificate_authority: Option<String>,
    /// The cluster extension, as it stands.
    pub config: Option<serde_json::Value>,
}

/// Why a client's words were not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// `KUBERNETES_EXEC_INFO` is no JSON object.
    #[error("`KUBERNETES_EXEC_INFO` cannot be read")]
    Malformed(String),
    /// An apiVersion that this program does not speak.
    #[error("the client asks for `{0}`, which this program does not speak")]
    UnknownVersion(String),
    /// A kind that is not `ExecCredential`.
    #[error("the client sent a `{0}` where an `ExecCredential` belongs")]
    UnknownKind(String),
    /// `--exec-api-version` says what is no version.
    #[error("`{0}` is no version of the exec credential contract")]
    NoSuchVersion(String),
    /// The command is none that a kubeconfig may run.
    #[error("a kubeconfig may run `get-token` and nothing else, not `{0}`")]
    NotForClients(&'static str),
    /// The command is one that this program runs itself.
    #[error("`{0}` is run by this program alone")]
    NotForPersons(&'static str),
    /// The bare token was asked for on a terminal.
    #[error("a terminal keeps what it shows, so the token is not printed on one")]
    Terminal,
    /// The answer could not be written.
    #[error("standard output did not take what was written")]
    Output(String),
}

impl Explain for ExecError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Malformed(_) | Self::UnknownVersion(_) | Self::UnknownKind(_) | Self::NoSuchVersion(_) => {
                ExitCode::Usage
            }
            Self::NotForClients(_) => ExitCode::Withheld,
            Self::NotForPersons(_) | Self::Terminal => ExitCode::Usage,
            Self::Output(_) => ExitCode::Fault,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Malformed(reason) | Self::Output(reason) => Some(reason.clone()),
            Self::NotForClients(_) => {
                Some("a kubeconfig is foreign input, and this command acts in a person's name".into())
            }
            Self::UnknownVersion(_)
            | Self::UnknownKind(_)
            | Self::NoSuchVersion(_)
            | Self::NotForPersons(_)
            | Self::Terminal => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownVersion(_) | Self::NoSuchVersion(_) => Some(
                "set `apiVersion: client.authentication.k8s.io/v1` in the kubeconfig's `exec` entry".into(),
            ),
            Self::NotForClients(_) => {
                Some("set `args: [get-token, --profile=PROFILE]` in the kubeconfig's `exec` entry".into())
            }
            Self::Malformed(_) | Self::UnknownKind(_) => {
                Some("run the program without `KUBERNETES_EXEC_INFO` in the environment".into())
            }
            Self::NotForPersons(_) => Some("{program} refresh{profile}{config}".into()),
            Self::Terminal => Some("{program} token{profile}{config} --show".into()),
            Self::Output(_) => None,
        }
    }
}

/// Reads `KUBERNETES_EXEC_INFO`; absent or empty is what a client without it gives.
///
/// # Errors
/// Where it is there and cannot be understood. Unknown fields never are an error.
pub fn read(text: Option<&str>) -> Result<ExecInfo, ExecError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(ExecInfo::default());
    };
    let wire: WireInfo =
        serde_json::from_str(text).map_err(|error| ExecError::Malformed(printable(&error.to_string())))?;
    // The C# client writes the plural.
    if let Some(kind) = wire.kind.filter(|kind| kind != "ExecCredential" && kind != "ExecCredentials") {
        return Err(ExecError::UnknownKind(printable(&kind)));
    }
    let api_version = match wire.api_version {
        None => None,
        Some(text) => {
            match text.strip_prefix("client.authentication.k8s.io/").and(ApiVersion::parse(&text)) {
                Some(version) => Some(version),
                None => return Err(ExecError::UnknownVersion(printable(&text))),
            }
        }
    };
    let spec = wire.spec.unwrap_or_default();
    Ok(ExecInfo {
        api_version,
        interactive: spec.interactive.unwrap_or(false),
        cluster: spec.cluster.map(WireCluster::into_info).transpose()?,
    })
}

/// Writes one `ExecCredential` as one line, in one piece.
///
/// # Errors
/// Where standard output does not take it.
pub fn write(
    output: &mut impl Write,
    version: ApiVersion,
    token: &SecretString,
    expires_at: Timestamp,
) -> io::Result<()> {
    // A token is visible ASCII (`token::Token::new` saw to it), but it may hold `"` or `\`.
    let token = Zeroizing::new(serde_json::to_string(token.expose_secret()).map_err(io::Error::other)?);
    let line = Zeroizing::new(format!(
        "{{\"kind\":\"ExecCredential\",\"apiVersion\":\"{}\",\"spec\":{{}},\"status\":{{\"expirationTimestamp\":\"{}\",\"token\":{}}}}}\n",
        version.as_str(),
        expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        *token,
    ));
    output.write_all(line.as_bytes())?;
    output.flush()
}

#[derive(Deserialize)]
struct WireInfo {
    kind: Option<String>,
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    spec: Option<WireSpec>,
}

#[derive(Deserialize, Default)]
struct WireSpec {
    interactive: Option<bool>,
    cluster: Option<WireCluster>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WireCluster {
    server: Option<String>,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<String>,
    config: Option<serde_json::Value>,
}

impl WireCluster {
    fn into_info(self) -> Result<ClusterInfo, ExecError> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        // Security: client-go takes the path then, and client-python the empty data, which means the
        // system's roots.
        if self.certificate_authority_data.as_deref() == Some("")
            && self.certificate_authority.as_deref().is_some_and(|path| !path.is_empty())
        {
            return Err(ExecError::Malformed(
                "`certificate-authority-data` is empty, and beside it stands a `certificate-authority`"
                    .into(),
            ));
        }
        let data = filled(self.certificate_authority_data)
            .map(|text| STANDARD.decode(text.trim()))
            .transpose()
            .map_err(|_| ExecError::Malformed("`certificate-authority-data` is not base64".into()))?;
        Ok(ClusterInfo {
            server: self.server.unwrap_or_default(),
            tls_server_name: filled(self.tls_server_name),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify.unwrap_or(false),
            certificate_authority_data: data,
            certificate_authority: filled(self.certificate_authority),
            config: self.config.filter(|config| !config.is_null()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn written(version: ApiVersion, token: &str) -> String {
        let mut output = Vec::new();
        let end = DateTime::from_timestamp(1_893_456_000, 999_999_999).unwrap();
        write(&mut output, version, &SecretString::from(token), end).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn both_versions_are_written_exactly_and_on_one_line() {
        assert_eq!(
            written(ApiVersion::V1, "abc.def"),
            "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"spec\":{},\
             \"status\":{\"expirationTimestamp\":\"2030-01-01T00:00:00Z\",\"token\":\"abc.def\"}}\n"
        );
        assert_eq!(
            written(ApiVersion::V1Beta1, "a\"b\\c"),
            "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"spec\":{},\
             \"status\":{\"expirationTimestamp\":\"2030-01-01T00:00:00Z\",\"token\":\"a\\\"b\\\\c\"}}\n"
        );
    }

    #[test]
    fn kubectls_own_bytes_are_read() {
        let text = "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
                    \"spec\":{\"interactive\":false}}\n";
        assert_eq!(
            read(Some(text)).unwrap(),
            ExecInfo { api_version: Some(ApiVersion::V1), interactive: false, cluster: None }
        );
    }

    #[test]
    fn cluster_information_is_read_with_and_without_an_extension() {
        let text = r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential",
            "spec":{"interactive":true,"cluster":{"server":"https://a:6443/","tls-server-name":"b",
            "insecure-skip-tls-verify":true,"certificate-authority-data":"UEVN","proxy-url":"http://p","config":null}}}"#;
        let info = read(Some(text)).unwrap();
        let cluster = info.cluster.unwrap();
        assert_eq!(info.api_version, Some(ApiVersion::V1Beta1));
        assert!(info.interactive);
        assert_eq!(cluster.server, "https://a:6443/");
        assert_eq!(cluster.tls_server_name.as_deref(), Some("b"));
        assert!(cluster.insecure_skip_tls_verify);
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some(b"PEM".as_slice()));
        assert_eq!(cluster.config, None);
    }

    #[test]
    fn what_other_clients_send_is_understood() {
        let plural =
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredentials","spec":{},"x":1}"#;
        assert_eq!(read(Some(plural)).unwrap().api_version, Some(ApiVersion::V1));
        let python = r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential",
            "spec":{"interactive":false,"cluster":{"server":"https://a","certificate-authority":"/ca.pem",
            "extensions":[{"name":"x"}]}}}"#;
        let cluster = read(Some(python)).unwrap().cluster.unwrap();
        assert_eq!(cluster.certificate_authority.as_deref(), Some("/ca.pem"));
        for nothing in [None, Some(""), Some(" \n"), Some("{}")] {
            assert_eq!(read(nothing).unwrap(), ExecInfo::default());
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        let error = |text| read(Some(text)).unwrap_err();
        assert!(matches!(error("[]"), ExecError::Malformed(_)));
        assert!(matches!(error("nonsense"), ExecError::Malformed(_)));
        assert_eq!(
            error(r#"{"apiVersion":"client.authentication.k8s.io/v1alpha1"}"#).to_string(),
            "the client asks for `client.authentication.k8s.io/v1alpha1`, which this program does not speak"
        );
        assert_eq!(error(r#"{"apiVersion":"v1"}"#), ExecError::UnknownVersion("v1".into()));
        assert_eq!(
            error(r#"{"kind":"Pod"}"#).to_string(),
            "the client sent a `Pod` where an `ExecCredential` belongs"
        );
        assert_eq!(
            error(r#"{"spec":{"cluster":{"certificate-authority-data":"%%"}}}"#).why().as_deref(),
            Some("`certificate-authority-data` is not base64")
        );
        let both = |data, path| {
            let cluster =
                serde_json::json!({"certificate-authority-data": data, "certificate-authority": path});
            read(Some(&serde_json::json!({"spec": {"cluster": cluster}}).to_string()))
        };
        assert_eq!(
            both("", "/ca.pem").unwrap_err().why().as_deref(),
            Some("`certificate-authority-data` is empty, and beside it stands a `certificate-authority`")
        );
        assert!(both("", "").is_ok() && both("UEVN", "/ca.pem").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_it_panic(text in ".{0,300}") {
            let _ = read(Some(&text));
        }
    }
}
