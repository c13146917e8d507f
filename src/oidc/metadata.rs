//! What a provider says about itself (OpenID Connect Discovery 1.0; RFC 8414), read strictly: it must
//! be of the issuer that was asked for, and every endpoint that we use must be reached over TLS.

use std::time::Instant;

use serde::Deserialize;
use url::Url;

use super::OidcError;
use crate::config::Issuer;
use crate::error::printable;
use crate::http::{Client, Method, Request, is_loopback};

/// The metadata of one issuer. Every address in it may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Byte for byte the issuer that was asked for.
    pub issuer: Issuer,
    /// Where a browser logs in.
    pub authorization_endpoint: Option<Url>,
    /// Where tokens are asked for.
    pub token_endpoint: Url,
    /// RFC 8628.
    pub device_authorization_endpoint: Option<Url>,
    /// RFC 7009.
    pub revocation_endpoint: Option<Url>,
    /// OpenID Connect RP-Initiated Logout 1.0.
    pub end_session_endpoint: Option<Url>,
    /// The keys that it signs with.
    pub jwks_uri: Option<Url>,
    /// How a client may say who it is; `client_secret_basic` where nothing is said.
    pub token_endpoint_auth_methods: Vec<String>,
    /// The scopes that it speaks of; none where it says nothing.
    pub scopes: Option<Vec<String>>,
    /// RFC 9207: every answer to an authorization request names the issuer.
    pub names_issuer_in_answers: bool,
}

/// The document as it is on the wire; what is not here is not used.
#[derive(Deserialize)]
struct Document {
    issuer: Option<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    jwks_uri: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Asks the issuer: first where OpenID Connect Discovery 1.0 (section 4) puts its metadata, then
    /// where RFC 8414 (section 3.1) does.
    ///
    /// # Errors
    /// No answer, none that is metadata, that of another issuer, or one with an endpoint that may not
    /// be asked.
    pub async fn discover(http: &Client, issuer: &Issuer, deadline: Instant) -> Result<Self, OidcError> {
        // Security: who can change these answers chooses where secrets go.
        if !is_private(issuer.url()) {
            return Err(OidcError::Cleartext { endpoint: issuer.as_str().to_owned() });
        }
        let [first, second] = places(issuer);
        let mut asked = first;
        let mut response = http.send(Request::new(Method::GET, asked.clone(), deadline)).await?;
        if matches!(response.status, 400..=499) && response.status != 429 {
            asked = second;
            response = http.send(Request::new(Method::GET, asked.clone(), deadline)).await?;
        }
        let endpoint = shown(&asked);
        match response.status {
            200 => Self::read(issuer, &asked, &response.body),
            300..=399 => {
                let target = target(&asked, response.header("location"));
                Err(OidcError::Redirect { endpoint, target })
            }
            status @ (429 | 500..) => Err(OidcError::Unavailable { endpoint, status }),
            status => {
                let provider = issuer.as_str().to_owned();
                Err(OidcError::NoMetadata { provider, tried: endpoint, status })
            }
        }
    }

    /// Reads the document that `place` answered with.
    pub(super) fn read(issuer: &Issuer, place: &Url, body: &[u8]) -> Result<Self, OidcError> {
        let provider = || issuer.as_str().to_owned();
        let unusable =
            |why: String| OidcError::Metadata { provider: provider(), endpoint: shown(place), why };
        let document: Document = serde_json::from_slice(body).map_err(|error| {
            unusable(match error.classify() {
                serde_json::error::Category::Data => printable(&error.to_string()),
                _ => "it is not JSON".to_owned(),
            })
        })?;
        let found = document.issuer.ok_or_else(|| unusable("it has no `issuer`".to_owned()))?;
        // Security: OpenID Connect Discovery 1.0, section 4.3: else one provider could speak for another.
        if found != issuer.as_str() {
            return Err(OidcError::OtherIssuer { provider: provider(), found: printable(&found) });
        }
        let endpoint = |field: &'static str, text: Option<String>| endpoint(issuer, field, text);
        let token_endpoint = endpoint("token_endpoint", document.token_endpoint)?
            .ok_or_else(|| unusable("it has no `token_endpoint`".to_owned()))?;
        Ok(Self {
            issuer: issuer.clone(),
            authorization_endpoint: endpoint("authorization_endpoint", document.authorization_endpoint)?,
            token_endpoint,
            device_authorization_endpoint: endpoint(
                "device_authorization_endpoint",
                document.device_authorization_endpoint,
            )?,
            revocation_endpoint: endpoint("revocation_endpoint", document.revocation_endpoint)?,
            end_session_endpoint: endpoint("end_session_endpoint", document.end_session_endpoint)?,
            jwks_uri: endpoint("jwks_uri", document.jwks_uri)?,
            token_endpoint_auth_methods: document
                .token_endpoint_auth_methods_supported
                .unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
            scopes: document.scopes_supported,
            names_issuer_in_answers: document.authorization_response_iss_parameter_supported,
        })
    }

    /// Whether it says that it knows this scope.
    #[must_use]
    pub fn offers_scope(&self, scope: &str) -> bool {
        self.scopes.iter().flatten().any(|offered| offered == scope)
    }

    /// An endpoint that the provider need not have; `without` says what cannot be done then.
    pub fn need<'a>(
        &self,
        field: &'static str,
        endpoint: Option<&'a Url>,
        without: &'static str,
    ) -> Result<&'a Url, OidcError> {
        let provider = self.issuer.as_str().to_owned();
        endpoint.ok_or(OidcError::NotOffered { provider, field, without })
    }
}

/// Where the metadata of an issuer may be.
fn places(issuer: &Issuer) -> [Url; 2] {
    let path = issuer.url().path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = issuer.url().clone();
        url.set_path(&path);
        url
    };
    [
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

/// Security: a code, a client's secret or a refresh token goes to these; none may be read on the way,
/// and no server elsewhere may have us speak to one on this machine.
fn endpoint(issuer: &Issuer, field: &'static str, text: Option<String>) -> Result<Option<Url>, OidcError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let refused = |why| OidcError::Endpoint {
        provider: issuer.as_str().to_owned(),
        field,
        endpoint: printable(&text),
        why,
    };
    let url = Url::parse(&text).map_err(|_| refused("it is no address"))?;
    let why = if !url.username().is_empty() || url.password().is_some() {
        "it holds a user or a password"
    } else if url.fragment().is_some() {
        "it has a fragment, which RFC 6749 forbids"
    } else if url.scheme() == "https" && url.host_str().is_some() {
        return Ok(Some(url));
    } else if url.scheme() != "http" || !is_loopback(&url) {
        "its address does not begin with `https://`"
    } else if is_loopback(issuer.url()) {
        return Ok(Some(url));
    } else {
        "it is on this machine, the provider is not"
    };
    Err(refused(why))
}

/// TLS, or it does not leave this machine.
pub(super) fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Refuses an address that others could read along with.
///
/// # Errors
/// [`OidcError::Cleartext`].
pub(crate) fn need_private(url: &Url) -> Result<(), OidcError> {
    if is_private(url) { Ok(()) } else { Err(OidcError::Cleartext { endpoint: shown(url) }) }
}

/// An address for messages. Security: without its query, which may hold what was sent.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    printable(url.as_str())
}

/// Where an answer would send us, for messages.
pub(super) fn target(from: &Url, location: Option<&str>) -> String {
    let target = location.and_then(|location| from.join(location).ok());
    target.map_or_else(|| "nowhere".to_owned(), |target| shown(&target))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]

    use std::time::Duration;

    use super::*;
    use crate::config::{TlsSettings, Transport};
    use crate::error::Explain as _;
    use crate::http::HttpError;
    use crate::http::scripted::{Scripted, Step, reply, reply_with};

    fn issuer(text: &str) -> Issuer {
        serde_json::from_value(serde_json::json!(text)).unwrap()
    }

    fn client() -> Client {
        Client::new(&TlsSettings::default(), &Transport::default(), None).unwrap().impatient()
    }

    async fn discover(server: &Scripted, path: &str) -> Result<Metadata, OidcError> {
        let issuer = issuer(&format!("{}{path}", server.url.as_str().trim_end_matches('/')));
        Metadata::discover(&client(), &issuer, Instant::now() + Duration::from_secs(10)).await
    }

    /// A document of `https://sso.example`, without a server.
    fn read(path: &str, document: impl Fn(&str) -> String) -> Result<Metadata, OidcError> {
        let issuer_text = format!("https://sso.example{path}");
        let issuer = issuer(&issuer_text);
        Metadata::read(&issuer, &places(&issuer)[0], document(&issuer_text).as_bytes())
    }

    fn told(error: &OidcError) -> String {
        [Some(error.to_string()), error.why(), error.hint(), Some(error.exit_code().to_string())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn metadata_is_looked_for_where_each_standard_puts_it() {
        let shown = |text: &str| places(&issuer(text)).map(|url| url.to_string());
        assert_eq!(
            shown("https://sso.example"),
            [
                "https://sso.example/.well-known/openid-configuration",
                "https://sso.example/.well-known/oauth-authorization-server"
            ]
        );
        assert_eq!(
            shown("https://sso.example/realms/eng/"),
            [
                "https://sso.example/realms/eng/.well-known/openid-configuration",
                "https://sso.example/.well-known/oauth-authorization-server/realms/eng"
            ]
        );
    }

    #[tokio::test]
    async fn the_second_place_is_asked_where_the_first_has_nothing() {
        let server = Scripted::new([reply(404, "no"), reply(404, "{}")]);
        let error = discover(&server, "/realms/eng").await.unwrap_err();
        assert_eq!(
            server.lines(),
            [
                "GET /realms/eng/.well-known/openid-configuration",
                "GET /.well-known/oauth-authorization-server/realms/eng"
            ]
        );
        assert!(matches!(error, OidcError::NoMetadata { status: 404, .. }), "{error:?}");
    }

    #[test]
    fn a_whole_document_is_read() {
        let metadata = read("/realms/eng", |issuer| {
            format!(
                r#"{{"issuer": "{issuer}", "token_endpoint": "{issuer}/token", "jwks_uri": "{issuer}/keys",
                "authorization_endpoint": "https://login.example/auth?tenant=1", "device_authorization_endpoint": "",
                "scopes_supported": ["openid", "offline_access"],
                "authorization_response_iss_parameter_supported": true, "unknown": {{"a": [1]}}}}"#
            )
        })
        .unwrap();
        assert_eq!(metadata.token_endpoint.as_str(), "https://sso.example/realms/eng/token");
        let authorization = metadata.authorization_endpoint.as_ref().map(Url::as_str);
        assert_eq!(authorization, Some("https://login.example/auth?tenant=1"));
        assert_eq!(metadata.device_authorization_endpoint, None);
        assert_eq!(metadata.token_endpoint_auth_methods, ["client_secret_basic"]);
        assert_eq!(metadata.scopes.as_deref(), Some(&["openid".to_owned(), "offline_access".to_owned()][..]));
        assert!(metadata.names_issuer_in_answers);
        let field = "device_authorization_endpoint";
        let none = metadata.need(field, metadata.device_authorization_endpoint.as_ref(), "log-in by a code");
        assert_eq!(
            told(&none.unwrap_err()),
            "`https://sso.example/realms/eng` names no `device_authorization_endpoint` in its metadata | \
             without it there is no log-in by a code | 2"
        );
    }

    #[test]
    fn what_is_no_metadata_is_refused_with_its_reason() {
        let mut told_all = Vec::new();
        for document in [
            "<html>",
            "[]",
            r#"{"token_endpoint": "https://sso.example/t"}"#,
            r#"{"issuer": "https://sso.example/", "token_endpoint": "https://sso.example/t"}"#,
            r#"{"issuer": "https://evil.example\u001b[2J", "token_endpoint": "https://sso.example/t"}"#,
            r#"{"issuer": "https://sso.example"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": 7}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "http://sso.example/t"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "http://127.0.0.1/t"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "https://u:p@sso.example/t"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "https://sso.example/t#x"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "/t"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "https://sso.example/t",
                "authorization_endpoint": "http://sso.example/a"}"#,
            r#"{"issuer": "https://sso.example", "token_endpoint": "https://sso.example/t",
                "authorization_endpoint": "javascript:alert(1)"}"#,
        ] {
            let error = read("", |_| document.to_owned()).unwrap_err();
            told_all.push(told(&error));
        }
        snapbox::assert_data_eq!(
            told_all.join("\n"),
            snapbox::str![[r#"
the metadata of `https://sso.example` at `https://sso.example/.well-known/openid-configuration` cannot be used | it is not JSON | check `issuer` in the settings: it is what `iss` says in this provider's tokens | 6
the metadata of `https://sso.example` at `https://sso.example/.well-known/openid-configuration` cannot be used | invalid length 0, expected struct Document with 10 elements at line 1 column 2 | check `issuer` in the settings: it is what `iss` says in this provider's tokens | 6
the metadata of `https://sso.example` at `https://sso.example/.well-known/openid-configuration` cannot be used | it has no `issuer` | check `issuer` in the settings: it is what `iss` says in this provider's tokens | 6
the metadata of `https://sso.example` is that of another issuer, `https://sso.example/` | an issuer must be the same, letter for letter, also in its last slash | if that is the provider that you mean, set `issuer` to `https://sso.example/` | 6
the metadata of `https://sso.example` is that of another issuer, `https://evil.example�[2J` | an issuer must be the same, letter for letter, also in its last slash | if that is the provider that you mean, set `issuer` to `https://evil.example�[2J` | 6
the metadata of `https://sso.example` at `https://sso.example/.well-known/openid-configuration` cannot be used | it has no `token_endpoint` | check `issuer` in the settings: it is what `iss` says in this provider's tokens | 6
the metadata of `https://sso.example` at `https://sso.example/.well-known/openid-configuration` cannot be used | invalid type: integer `7`, expected a string at line 1 column 53 | check `issuer` in the settings: it is what `iss` says in this provider's tokens | 6
the `token_endpoint` of `https://sso.example` is not used: `http://sso.example/t` | its address does not begin with `https://` | ask whoever runs this provider to publish an address with TLS | 7
the `token_endpoint` of `https://sso.example` is not used: `http://127.0.0.1/t` | it is on this machine, the provider is not | ask whoever runs this provider to publish an address with TLS | 7
the `token_endpoint` of `https://sso.example` is not used: `https://u:p@sso.example/t` | it holds a user or a password | ask whoever runs this provider to publish an address with TLS | 7
the `token_endpoint` of `https://sso.example` is not used: `https://sso.example/t#x` | it has a fragment, which RFC 6749 forbids | ask whoever runs this provider to publish an address with TLS | 7
the `token_endpoint` of `https://sso.example` is not used: `/t` | it is no address | ask whoever runs this provider to publish an address with TLS | 7
the `authorization_endpoint` of `https://sso.example` is not used: `http://sso.example/a` | its address does not begin with `https://` | ask whoever runs this provider to publish an address with TLS | 7
the `authorization_endpoint` of `https://sso.example` is not used: `javascript:alert(1)` | its address does not begin with `https://` | ask whoever runs this provider to publish an address with TLS | 7
"#]]
        );
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let location = [("Location", "https://evil.example/x?secret=1")];
        let server = Scripted::new([reply_with(302, &location, "")]);
        let error = discover(&server, "").await.unwrap_err();
        let OidcError::Redirect { target, .. } = error else { panic!("{error:?}") };
        assert_eq!(target, "https://evil.example/x");
        assert_eq!(server.lines().len(), 1);
    }

    #[tokio::test]
    async fn an_endless_document_ends() {
        let server = Scripted::new([Step::Endless(&[b'x'; 16 * 1024])]);
        let error = discover(&server, "").await.unwrap_err();
        assert!(matches!(error, OidcError::Http(HttpError::TooLarge { .. })), "{error:?}");
    }

    #[tokio::test]
    async fn a_provider_that_is_down_may_come_back() {
        let server = Scripted::new(vec![reply(503, "{}"); 9]);
        let error = discover(&server, "").await.unwrap_err();
        assert!(matches!(error, OidcError::Unavailable { status: 503, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_issuer_without_tls_elsewhere_is_not_asked() {
        let issuer = issuer("http://sso.example");
        let error = Metadata::discover(&client(), &issuer, Instant::now() + Duration::from_secs(1)).await;
        assert!(matches!(error, Err(OidcError::Cleartext { .. })), "{error:?}");
    }
}
