//! A cluster as a person's own kubeconfig reaches it: server, whom to believe there, and the
//! credential, for which a plugin of that kubeconfig is run as client-go would.
//!
//! Only the kubeconfig at its usual place, or where the person's own `KUBECONFIG` says, is read.

use std::time::Instant;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::not_granted::{NotGranted, Reason};
use super::plugin;
use crate::config::{
    Kubeconfig, KubeconfigFiles, KubeconfigUser, Pem, TlsSettings, TokenRequestSource, Transport,
};
use crate::env::Env;
use crate::error::Error;
use crate::foreign_file;
use crate::http::{Client, Method, Request, Response, is_loopback};
use crate::source::SourceError;

/// What a hub is reached with.
pub struct HubParts<'a> {
    /// The person's own environment.
    pub env: &'a Env,
    /// Proxies and retries.
    pub transport: &'a Transport,
    /// Who asks: no plugin of the context may be run to get a token for this one.
    pub profile: &'a str,
    /// When it must have answered.
    pub deadline: Instant,
}

/// A cluster that is asked in a person's name.
pub struct Hub {
    context: String,
    server: String,
    client: Client,
    token: Option<SecretString>,
    deadline: Instant,
}

/// The longest credential of a file or plugin.
pub(super) const LONGEST: usize = 256 * 1024;

impl Hub {
    /// The cluster behind a context.
    ///
    /// # Errors
    /// A context that is not there or cannot be used, or whose credential cannot be had.
    pub fn open(context: &str, parts: &HubParts<'_>) -> Result<Self, Error> {
        let files = KubeconfigFiles::of(parts.env, None);
        let view = Kubeconfig::load(&files)?.context(Some(context))?;
        let refused = |reason| not_granted(context, &view.cluster.server, reason);
        // Security: a credential goes to nobody who cannot show who they are.
        if view.cluster.insecure_skip_tls_verify {
            return Err(refused(Reason::TlsOff).into());
        }
        let url = Url::parse(&view.cluster.server)
            .ok()
            .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)));
        url.ok_or_else(|| refused(Reason::Cleartext))?;
        let user = match &view.user {
            Some(name) => KubeconfigUser::load(&files, context, name)?,
            None => None,
        };
        let user =
            user.ok_or_else(|| refused(Reason::Unusable("it names no user that is there".to_owned())))?;
        if let Some(what) = user.unsupported {
            return Err(refused(Reason::Unusable(format!("its user has {what}"))).into());
        }
        let (mut token, mut client_certificate) = (None, user.client_certificate);
        // As client-go does: a token file goes before a token, and a plugin is run only without either.
        if let Some(file) = &user.token_file {
            let bytes = foreign_file::read(file, LONGEST)
                .map_err(|error| refused(Reason::Unusable(format!("`{}`: {error}", file.display()))))?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| refused(Reason::Unusable(format!("`{}` holds no text", file.display()))))?;
            token = Some(SecretString::from(text.trim()));
        } else if user.token.is_some() {
            token = user.token;
        } else if let (Some(exec), None) = (&user.exec, &client_certificate) {
            (token, client_certificate) = plugin::run(&view, exec, parts)?;
        }
        let tls = TlsSettings {
            certificate_authorities: view
                .cluster
                .certificate_authority_pem
                .iter()
                .cloned()
                .map(Pem::Inline)
                .collect(),
            client_certificate,
            server_name: view.cluster.tls_server_name.clone(),
            skip_verify: false,
        };
        let mut transport = parts.transport.clone();
        if let Some(proxy) = &view.cluster.proxy_url {
            let proxy = SecretString::from(proxy.as_str());
            (transport.https_proxy, transport.http_proxy, transport.no_proxy) =
                (Some(proxy.clone()), Some(proxy), None);
        }
        let client = Client::new(&tls, &transport, None).map_err(|cause| refused(Reason::Http(cause)))?;
        Ok(Self {
            context: context.to_owned(),
            server: view.cluster.server.trim_end_matches('/').to_owned(),
            client,
            token,
            deadline: parts.deadline,
        })
    }

    /// The API server.
    pub(in crate::source) fn server(&self) -> &str {
        &self.server
    }

    /// One request.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, SourceError> {
        let failed = |cause| not_granted(&self.context, &self.server, Reason::Http(cause));
        let url = Url::parse(&format!("{}/{path}", self.server))
            .map_err(|_| not_granted(&self.context, &self.server, Reason::Cleartext))?;
        let mut request =
            Request::new(method, url, self.deadline).header(ACCEPT, "application/json").map_err(failed)?;
        if let Some(token) = &self.token {
            request = request.secret_header(AUTHORIZATION, "Bearer ", token).map_err(failed)?;
        }
        if let Some(body) = body {
            request = request.body("application/json", Zeroizing::new(body.to_string().into_bytes()));
        }
        self.client.send(request).await.map_err(failed)
    }

    /// Why there is no token.
    pub(super) fn not_granted(
        &self,
        settings: &TokenRequestSource,
        reason: Reason,
        words: Option<String>,
    ) -> SourceError {
        SourceError::TokenRequest(Box::new(NotGranted {
            context: self.context.clone(),
            server: self.server.clone(),
            namespace: settings.namespace.clone(),
            account: settings.service_account.clone(),
            reason,
            words: words.map(|words| crate::error::printable(&words)),
        }))
    }

    /// An answer without a meaning of its own.
    pub(super) fn refused(&self, status: u16, response: &Response) -> SourceError {
        let words = String::from_utf8_lossy(&response.body).chars().take(300).collect::<String>();
        not_granted(&self.context, &self.server, Reason::Status(status, crate::error::printable(&words)))
    }
}

pub(super) fn not_granted(context: &str, server: &str, reason: Reason) -> SourceError {
    SourceError::TokenRequest(Box::new(NotGranted {
        context: context.to_owned(),
        server: server.to_owned(),
        namespace: String::new(),
        account: String::new(),
        reason,
        words: None,
    }))
}

/// A name as one part of a path.
pub(super) fn quoted(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
