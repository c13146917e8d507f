//! One request to a token endpoint (RFC 6749 section 3.2): a form, the client's authentication, and an
//! answer that is checked for its form. What is asked for and what the tokens are worth is the
//! caller's to know.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use url::Url;
use zeroize::Zeroizing;

mod form;

pub use form::Form;
use form::append;

use super::OidcError;
use super::metadata::{is_private, shown, target};
use crate::error::printable;
use crate::http::{Client, Method, Request, Response};
use crate::source::field::Field;

const FORM: &str = "application/x-www-form-urlencoded";
/// `client_assertion_type` of a JWT (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How a client says who it is (RFC 6749 section 2.3).
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// A public client, by its name alone; where there is none the request is nobody's.
    None {
        /// `client_id`.
        client_id: Option<String>,
    },
    /// `client_secret_basic`: in the header `Authorization`.
    Basic {
        /// `client_id`.
        client_id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// `client_secret_post`: in the form.
    Post {
        /// `client_id`.
        client_id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// A JWT that somebody issued to the client (RFC 7521, RFC 7523).
    Assertion {
        /// `client_id`; may be left out where the JWT's `sub` is it.
        client_id: Option<String>,
        /// The JWT.
        assertion: SecretString,
    },
}

/// A token endpoint, or one that answers like it (RFC 8628 section 3.1, RFC 7009).
pub struct TokenEndpoint<'a> {
    /// The client of this provider.
    pub http: &'a Client,
    /// Where it is.
    pub url: Url,
    /// Who asks.
    pub authentication: &'a ClientAuthentication,
}

/// An answer with at least one token in it.
#[derive(Debug, Default)]
pub struct TokenAnswer {
    /// `access_token`; in a token exchange whatever was asked for (RFC 8693 section 2.2.1).
    pub access_token: Option<SecretString>,
    /// OpenID Connect Core 1.0 section 3.1.3.3.
    pub id_token: Option<SecretString>,
    /// What the next tokens are had with.
    pub refresh_token: Option<SecretString>,
    /// In lower case, as its case means nothing (RFC 6749 section 5.1): `bearer`, `n_a` …
    pub token_type: Option<String>,
    /// RFC 8693 section 2.2.1; required there, and left out by many.
    pub issued_token_type: Option<String>,
    /// In seconds, where it is told.
    pub expires_in: Option<u64>,
    /// What was granted, where it is not what was asked for.
    pub scope: Option<String>,
    /// The other fields that are there, by their printable names.
    pub others: Vec<String>,
    /// Whose answer it is, for messages.
    pub endpoint: String,
}

impl TokenAnswer {
    /// Whether the access token is to be sent as `Authorization: Bearer`: `N_A` says that it is none
    /// (RFC 8693 section 2.2.1); whoever says nothing means it.
    #[must_use]
    pub fn is_bearer(&self) -> bool {
        self.token_type.as_deref().is_none_or(|kind| kind == "bearer")
    }

    /// The access token, or why there is none.
    pub fn need_access_token(&self) -> Result<&SecretString, OidcError> {
        self.access_token
            .as_ref()
            .ok_or_else(|| self.lacks("access_token", self.id_token.is_some(), "id_token"))
    }

    /// The ID token, or why there is none.
    pub fn need_id_token(&self) -> Result<&SecretString, OidcError> {
        self.id_token
            .as_ref()
            .ok_or_else(|| self.lacks("id_token", self.access_token.is_some(), "access_token"))
    }

    fn lacks(&self, wanted: &str, has_other: bool, other: &str) -> OidcError {
        let mut there: Vec<&str> = if has_other { vec![other] } else { Vec::new() };
        there.extend(self.others.iter().map(String::as_str));
        let there = if there.is_empty() { "nothing else" } else { &format!("`{}`", there.join("`, `")) };
        let why = format!("it has no `{wanted}`; there is {there}");
        OidcError::Unusable { endpoint: self.endpoint.clone(), why }
    }
}

impl TokenEndpoint<'_> {
    /// Sends a form once, as a code or a refresh token may be spent by it: again only where it did not
    /// arrive, or was refused unread (429).
    pub async fn ask(&self, form: &Form, deadline: Instant) -> Result<TokenAnswer, OidcError> {
        let (form, response) = self.send(form, deadline).await?;
        match response.status {
            200 => self.read(&response.body),
            _ => Err(self.refusal(&form, &response)),
        }
    }

    /// Sends a form to an endpoint whose answer has another form; 200 only.
    pub async fn ask_for<T: for<'de> Deserialize<'de>>(
        &self,
        form: &Form,
        deadline: Instant,
    ) -> Result<T, OidcError> {
        let (form, response) = self.send(form, deadline).await?;
        if response.status != 200 {
            return Err(self.refusal(&form, &response));
        }
        // Security: not the parser's own words, which may quote a secret.
        serde_json::from_slice(&response.body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                self.unusable(format!("it has another form than expected (column {})", error.column()))
            }
            _ => self.unusable("it is not JSON"),
        })
    }

    /// Sends a form for whose answer nobody cares beyond that it is none of an error (RFC 7009
    /// section 2.2: an unknown token is none either).
    pub async fn tell(&self, form: &Form, deadline: Instant) -> Result<(), OidcError> {
        let (form, response) = self.send(form, deadline).await?;
        match response.status {
            200..=299 => Ok(()),
            _ => Err(self.refusal(&form, &response)),
        }
    }

    /// The form as it was sent, and the answer.
    async fn send(&self, form: &Form, deadline: Instant) -> Result<(Form, Response), OidcError> {
        // Security: what is sent gives tokens to whoever reads it on the way.
        if !is_private(&self.url) {
            return Err(OidcError::Cleartext { endpoint: shown(&self.url) });
        }
        let mut form = form.clone();
        let mut header = None;
        match self.authentication {
            ClientAuthentication::None { client_id } => {
                form = form.optional("client_id", client_id.as_deref());
            }
            ClientAuthentication::Basic { client_id, secret } => header = Some(basic(client_id, secret)),
            ClientAuthentication::Post { client_id, secret } => {
                form = form.field("client_id", client_id).secret("client_secret", secret);
            }
            ClientAuthentication::Assertion { client_id, assertion } => {
                form = form
                    .optional("client_id", client_id.as_deref())
                    .field("client_assertion_type", JWT_BEARER)
                    .secret("client_assertion", assertion);
            }
        }
        let mut request = Request::new(Method::POST, self.url.clone(), deadline)
            .header(ACCEPT, "application/json")?
            .body(FORM, form.encoded());
        if let Some(value) = &header {
            request = request.secret_header(AUTHORIZATION, "Basic ", value)?;
            form = form.secret("client_secret", value);
        }
        Ok((form, self.http.send(request).await?))
    }

    fn unusable(&self, why: impl Into<String>) -> OidcError {
        OidcError::Unusable { endpoint: shown(&self.url), why: why.into() }
    }

    pub(super) fn read(&self, body: &[u8]) -> Result<TokenAnswer, OidcError> {
        // Security: of a body that is not what was expected nothing is shown; it may hold a token.
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => self.unusable("it is no JSON object"),
            _ => self.unusable("it is not JSON"),
        })?;
        let mut answer = TokenAnswer { endpoint: shown(&self.url), ..TokenAnswer::default() };
        let mut error = None;
        for (name, field) in fields {
            let text = || field.text().map(str::to_owned);
            match name.as_str() {
                "access_token" => answer.access_token = self.token("access_token", field)?,
                "id_token" => answer.id_token = self.token("id_token", field)?,
                "refresh_token" => answer.refresh_token = self.token("refresh_token", field)?,
                "token_type" => answer.token_type = text().map(|kind| printable(&kind).to_lowercase()),
                "issued_token_type" => answer.issued_token_type = text(),
                "scope" => answer.scope = text(),
                "expires_in" => answer.expires_in = self.seconds(&field)?,
                "error" => error = text(),
                _ => answer.others.push(printable(&name)),
            }
        }
        // Some answer 200 to what they refuse.
        if let Some(code) = error
            && answer.access_token.is_none()
            && answer.id_token.is_none()
        {
            let Refusal { description, uri, .. } = Refusal::of(body);
            let endpoint = answer.endpoint;
            return Err(OidcError::Refused {
                endpoint,
                status: 200,
                code: printable(&code),
                description,
                uri,
            });
        }
        if answer.access_token.is_none() && answer.id_token.is_none() {
            return Err(answer.lacks("access_token", answer.refresh_token.is_some(), "refresh_token"));
        }
        Ok(answer)
    }

    /// A token; none where it is empty or `null`, as some write it.
    fn token(&self, name: &str, field: Field) -> Result<Option<SecretString>, OidcError> {
        match field {
            Field::Text(token) if token.expose_secret().trim().is_empty() => Ok(None),
            Field::Text(token) => Ok(Some(token)),
            Field::Nothing => Ok(None),
            other => Err(self.unusable(format!("`{name}` {}", other.is_not("text")))),
        }
    }

    /// A number, or one in text, as some write it (Entra's first endpoint does).
    fn seconds(&self, field: &Field) -> Result<Option<u64>, OidcError> {
        let wrong = |why: String| self.unusable(format!("`expires_in` {why}"));
        match field {
            Field::Nothing => Ok(None),
            Field::Number(seconds) => {
                u64::try_from(*seconds).map(Some).map_err(|_| wrong("is negative".to_owned()))
            }
            Field::Text(_) => {
                let seconds = field.text().and_then(|text| text.trim().parse().ok());
                seconds.map(Some).ok_or_else(|| wrong("is text, not a number".to_owned()))
            }
            Field::Other(_) => Err(wrong(field.is_not("a number"))),
        }
    }

    /// An answer that is none: an error of RFC 6749 section 5.2, a redirect, or something else.
    fn refusal(&self, sent: &Form, response: &Response) -> OidcError {
        let endpoint = shown(&self.url);
        let status = response.status;
        if matches!(status, 300..=399) {
            // Security: never followed: a form with secrets would go where nobody named.
            let target = target(&self.url, response.header("location"));
            return OidcError::Redirect { endpoint, target };
        }
        let Refusal { code, description, uri } = Refusal::of(&response.body);
        let safe = |words: Option<String>| words.map(|words| sent.without_secrets(words));
        match (code, status) {
            (Some(code), _) => {
                let code = sent.without_secrets(code);
                OidcError::Refused { endpoint, status, code, description: safe(description), uri: safe(uri) }
            }
            (None, 429 | 500..) => OidcError::Unavailable { endpoint, status },
            (None, 401) => {
                let code = "invalid_client".to_owned();
                OidcError::Refused { endpoint, status, code, description: None, uri: None }
            }
            (None, _) => {
                let kind = printable(response.header("content-type").unwrap_or("no content type"));
                OidcError::Unusable {
                    endpoint,
                    why: format!("status {status} with `{kind}` is no error of OAuth"),
                }
            }
        }
    }
}

/// `Basic`: both parts are form-encoded before they are put together (RFC 6749 section 2.3.1), so
/// that a colon in one of them is none between them.
fn basic(client_id: &str, secret: &SecretString) -> SecretString {
    let mut pair =
        Zeroizing::new(Vec::with_capacity(3 * (client_id.len() + secret.expose_secret().len()) + 1));
    append(&mut pair, client_id);
    pair.push(b':');
    append(&mut pair, secret.expose_secret());
    SecretString::from(STANDARD.encode(&*pair))
}

/// An error answer; printable.
#[derive(Default)]
struct Refusal {
    code: Option<String>,
    description: Option<String>,
    uri: Option<String>,
}

impl Refusal {
    /// Reads the fields that are text, whatever else is there.
    fn of(body: &[u8]) -> Self {
        let mut refusal = Self::default();
        let Ok(Fields(fields)) = serde_json::from_slice(body) else { return refusal };
        for (name, field) in fields {
            let words = || field.text().map(printable).filter(|words| !words.is_empty());
            match name.as_str() {
                "error" => refusal.code = words(),
                "error_description" => refusal.description = words(),
                "error_uri" => refusal.uri = words(),
                _ => {}
            }
        }
        refusal
    }
}

/// The fields of an object, each of whatever type.
struct Fields(Vec<(String, Field)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_raw_string_hashes, reason = "snapbox writes them so")]

    use std::time::Duration;

    use super::*;
    use crate::config::{TlsSettings, Transport};
    use crate::error::Explain as _;
    use crate::http::scripted::{Scripted, Step, reply, reply_with};

    const SECRET: &str = "p+ss:w/rd %";

    fn public() -> ClientAuthentication {
        ClientAuthentication::None { client_id: Some("kubernetes".into()) }
    }

    fn form() -> Form {
        Form::of_grant("refresh_token").secret("refresh_token", &SecretString::from("the refresh&token"))
    }

    async fn ask_as(
        authentication: &ClientAuthentication,
        server: &Scripted,
    ) -> Result<TokenAnswer, OidcError> {
        let http = Client::new(&TlsSettings::default(), &Transport::default(), None).unwrap().impatient();
        let url = server.url.join("/token?tenant=1").unwrap();
        let endpoint = TokenEndpoint { http: &http, url, authentication };
        endpoint.ask(&form(), Instant::now() + Duration::from_secs(10)).await
    }

    async fn answer(step: Step) -> Result<TokenAnswer, OidcError> {
        ask_as(&public(), &Scripted::new([step])).await
    }

    fn told(error: &OidcError) -> String {
        let lines = [Some(error.to_string()), error.why(), error.hint(), Some(error.exit_code().to_string())];
        let text = lines.into_iter().flatten().collect::<Vec<_>>().join(" | ");
        let (before, rest) = text.split_once("127.0.0.1:").unwrap();
        format!("{before}HOST{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
    }

    #[tokio::test]
    async fn each_client_says_who_it_is_in_its_way() {
        let (client_id, secret) = ("my client".to_owned(), SecretString::from(SECRET));
        let grant = "POST /token?tenant=1 grant_type=refresh_token&refresh_token=the+refresh%26token";
        for (authentication, line, header) in [
            (public(), "&client_id=kubernetes", None),
            (ClientAuthentication::None { client_id: None }, "", None),
            (
                ClientAuthentication::Basic { client_id: client_id.clone(), secret: secret.clone() },
                "",
                // `my+client:p%2Bss%3Aw%2Frd+%25`
                Some("Basic bXkrY2xpZW50OnAlMkJzcyUzQXclMkZyZCslMjU="),
            ),
            (
                ClientAuthentication::Post { client_id: client_id.clone(), secret: secret.clone() },
                "&client_id=my+client&client_secret=p%2Bss%3Aw%2Frd+%25",
                None,
            ),
            (
                ClientAuthentication::Assertion { client_id: Some(client_id), assertion: "a.b.c".into() },
                "&client_id=my+client&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A\
                 jwt-bearer&client_assertion=a.b.c",
                None,
            ),
        ] {
            let server = Scripted::new([reply(200, r#"{"access_token": "x"}"#)]);
            ask_as(&authentication, &server).await.unwrap();
            let seen = server.seen();
            assert_eq!(seen[0].line(), format!("{grant}{line}"));
            assert_eq!(seen[0].header("authorization"), header);
            assert_eq!(seen[0].header("content-type"), Some(FORM));
            assert_eq!(seen[0].header("accept"), Some("application/json"));
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_in_all_the_forms_that_are_met() {
        let whole = r#"{"access_token": "a", "id_token": "i", "refresh_token": "r", "token_type": "bEaReR",
            "expires_in": 300, "scope": "openid", "issued_token_type": "urn:x", "session_state": "s"}"#;
        let whole = answer(reply(200, whole)).await.unwrap();
        assert_eq!(whole.need_access_token().unwrap().expose_secret(), "a");
        assert_eq!(whole.need_id_token().unwrap().expose_secret(), "i");
        assert_eq!(whole.refresh_token.as_ref().unwrap().expose_secret(), "r");
        assert_eq!((whole.token_type.as_deref(), whole.is_bearer()), (Some("bearer"), true));
        assert_eq!((whole.expires_in, whole.scope.as_deref()), (Some(300), Some("openid")));
        assert_eq!(whole.issued_token_type.as_deref(), Some("urn:x"));
        assert_eq!(whole.others, ["session_state"]);

        let bare =
            answer(reply(200, r#"{"access_token": "a", "id_token": "", "refresh_token": null}"#)).await;
        let bare = bare.unwrap();
        assert!(bare.id_token.is_none() && bare.refresh_token.is_none() && bare.is_bearer());
        assert_eq!(bare.expires_in, None);
        let why = bare.need_id_token().unwrap_err().why().unwrap();
        assert_eq!(why, "it has no `id_token`; there is `access_token`");

        for (text, expected) in [("\"3600\"", Some(3600)), ("null", None), ("0", Some(0))] {
            let body = format!(r#"{{"access_token": "a", "token_type": "N_A", "expires_in": {text}}}"#);
            let answer = answer(reply(200, &body)).await.unwrap();
            assert_eq!((answer.expires_in, answer.is_bearer()), (expected, false));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_says_why() {
        let mut lines = Vec::new();
        for step in [
            reply(200, ""),
            reply(200, "<html>s3cret</html>"),
            reply(200, r#"["s3cret"]"#),
            reply(200, "{}"),
            reply(200, r#"{"token": "s3cret", "expire_time": 7}"#),
            reply(200, r#"{"refresh_token": "s3cret"}"#),
            reply(200, r#"{"access_token": {"value": "s3cret"}}"#),
            reply(200, r#"{"access_token": "a", "expires_in": -1}"#),
            reply(200, r#"{"access_token": "a", "expires_in": "soon"}"#),
            reply(200, r#"{"access_token": "a", "expires_in": 1.5}"#),
            reply(200, r#"{"error": "access_denied", "error_description": "not you"}"#),
            reply(
                400,
                r#"{"error": "invalid_grant", "error_description": "a\u001b[2J\r\nforged: b", "error_uri": "https://x"}"#,
            ),
            reply(
                400,
                r#"{"error": "invalid_grant", "error_description": "no such token: the refresh&token"}"#,
            ),
            reply(401, r#"{"error": "invalid_client"}"#),
            reply(401, "no"),
            reply(403, "<html>"),
            reply(400, r#"{"error": {"code": 1}}"#),
            reply(500, r#"{"error": "server_error"}"#),
            reply(503, "down"),
            reply_with(307, &[("Location", "https://evil.example/token?x=1")], ""),
            reply_with(302, &[], ""),
        ] {
            let error = answer(step).await.unwrap_err();
            let line = told(&error);
            assert!(
                !line.contains("s3cret") && !line.contains("refresh&token") && !line.contains('\u{1b}'),
                "{line}"
            );
            lines.push(line);
        }
        snapbox::assert_data_eq!(
            lines.join("\n"),
            snapbox::str![[r#"
the answer of `http://HOST/token` cannot be used | it is not JSON | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | it is not JSON | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | it is no JSON object | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | it has no `access_token`; there is nothing else | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | it has no `access_token`; there is `token`, `expire_time` | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | it has no `access_token`; there is `refresh_token` | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | `access_token` is an object, not text | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | `expires_in` is negative | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | `expires_in` is text, not a number | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | `expires_in` is a fraction, not a number | check that the address is that of a token endpoint | 6
`http://HOST/token` refused the request: `access_denied` | not you | 4
`http://HOST/token` refused the request: `invalid_grant` | a�[2J forged: b (see https://x) | 4
`http://HOST/token` refused the request: `invalid_grant` | no such token: … | 4
`http://HOST/token` refused the request: `invalid_client` | status 401, without a reason | check `clientId`, and that the client's secret is right or that it needs none | 4
`http://HOST/token` refused the request: `invalid_client` | status 401, without a reason | check `clientId`, and that the client's secret is right or that it needs none | 4
the answer of `http://HOST/token` cannot be used | status 403 with `application/json` is no error of OAuth | check that the address is that of a token endpoint | 6
the answer of `http://HOST/token` cannot be used | status 400 with `application/json` is no error of OAuth | check that the address is that of a token endpoint | 6
`http://HOST/token` refused the request: `server_error` | status 500, without a reason | try again in a minute | 5
`http://HOST/token` cannot serve at the moment (status 503) | try again in a minute | 5
`http://HOST/token` redirects to `https://evil.example/token`, where nothing is sent | a redirect could take secrets to somebody else | if that is where it lives now, name that address in the settings | 7
`http://HOST/token` redirects to `nowhere`, where nothing is sent | a redirect could take secrets to somebody else | if that is where it lives now, name that address in the settings | 7
"#]]
        );
    }

    #[tokio::test]
    async fn a_form_is_sent_once() {
        for step in [Step::Close, reply(503, "down"), reply(500, "{}")] {
            let server = Scripted::new([step, reply(200, r#"{"access_token": "a"}"#)]);
            assert!(ask_as(&public(), &server).await.is_err());
            assert_eq!(server.seen().len(), 1);
        }
        let server = Scripted::new([reply(429, "{}"), reply(200, r#"{"access_token": "a"}"#)]);
        assert!(ask_as(&public(), &server).await.is_ok(), "429 is refused unread");
    }

    #[tokio::test]
    async fn nothing_is_sent_in_clear() {
        let http = Client::new(&TlsSettings::default(), &Transport::default(), None).unwrap();
        let url = Url::parse("http://sso.example/token").unwrap();
        let endpoint = TokenEndpoint { http: &http, url, authentication: &public() };
        let error = endpoint.ask(&form(), Instant::now() + Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error, OidcError::Cleartext { endpoint: "http://sso.example/token".into() });
    }
}
