//! Routes: makes one connection pool for each scheme (and each host that is known by another name
//! in its certificate), picks the proxy, and puts the library's errors into ours.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::NoProxy;
use reqwest::header::{HOST, HeaderValue};
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::names::Names;
use super::{HttpError, Request, error, tls};
use crate::config::{TlsSettings, Transport};

/// A host that does not answer at all is given up after this long, whatever the deadline.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("kubectl-vaulttoken/", env!("CARGO_PKG_VERSION"));

/// Whether a URL's host is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// The proxies of a client.
#[derive(Clone, Default)]
pub(super) struct Proxies {
    proxies: Vec<reqwest::Proxy>,
    /// By scheme; `host:port` for messages, without the proxy's password.
    displayed: HashMap<&'static str, String>,
}

impl Proxies {
    /// `HTTPS_PROXY` and `HTTP_PROXY`; `NO_PROXY` and this machine are reached directly.
    pub(super) fn standard(transport: &Transport) -> Result<Self, HttpError> {
        let exceptions = format!("localhost,127.0.0.0/8,::1,{}", transport.no_proxy.as_deref().unwrap_or(""));
        let exceptions = NoProxy::from_string(&exceptions);
        let mut all = Self::default();
        for (scheme, address) in [("https", &transport.https_proxy), ("http", &transport.http_proxy)] {
            let Some(address) = address else { continue };
            let url = proxy_url(address.expose_secret())?;
            let made = if scheme == "https" {
                reqwest::Proxy::https(url.clone())
            } else {
                reqwest::Proxy::http(url.clone())
            };
            let made = made.map_err(|_| not_a_proxy())?;
            all.proxies.push(made.no_proxy(exceptions.clone()));
            all.displayed.insert(scheme, displayed(&url));
        }
        Ok(all)
    }

    /// One proxy for everything.
    pub(super) fn everything(proxy: &str) -> Result<Self, HttpError> {
        let url = proxy_url(proxy)?;
        let made = reqwest::Proxy::all(url.clone()).map_err(|_| not_a_proxy())?;
        let host = displayed(&url);
        Ok(Self { proxies: vec![made], displayed: HashMap::from([("https", host.clone()), ("http", host)]) })
    }
}

fn proxy_url(address: &str) -> Result<Url, HttpError> {
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&with_scheme).map_err(|_| not_a_proxy())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(not_a_proxy());
    }
    Ok(url)
}

/// Whether what goes to a server without TLS would leave this machine through this proxy.
pub(super) fn leaves_this_machine(proxy: &str) -> bool {
    // What cannot be read is refused elsewhere.
    proxy_url(proxy).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
}

fn not_a_proxy() -> HttpError {
    // Security: the address may hold a password.
    HttpError::Settings {
        what: "the proxy of the environment".into(),
        why: "its address is not of the form `http://host:port`".into(),
    }
}

/// `host:port`.
fn displayed(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What makes connections.
pub(super) struct Connector {
    tls: TlsSettings,
    transport: Transport,
    socket: Option<PathBuf>,
    proxies: Proxies,
    pools: Mutex<HashMap<Pool, reqwest::Client>>,
}

/// Connections that can stand in for each other.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Pool {
    /// Without TLS.
    Clear,
    /// Each host goes by its own name.
    Tls,
    /// This host goes by `server_name`.
    Alias(String),
}

impl Connector {
    pub(super) fn new(
        tls: TlsSettings,
        transport: &Transport,
        socket: Option<&Path>,
        proxies: Proxies,
    ) -> Self {
        let socket = socket.map(Path::to_owned);
        Self { tls, transport: transport.clone(), socket, proxies, pools: Mutex::default() }
    }

    /// For messages: the socket, or `host:port`.
    pub(super) fn display_host(&self, url: &Url) -> String {
        self.socket.as_ref().map_or_else(|| displayed(url), |path| path.display().to_string())
    }

    /// The pool for a request, and the request as the library wants it.
    pub(super) fn prepare(
        &self,
        request: &Request,
    ) -> Result<(reqwest::Client, reqwest::Request), HttpError> {
        let mut url = request.url.clone();
        let mut pool = if url.scheme() == "https" { Pool::Tls } else { Pool::Clear };
        let mut host_header = None;
        if let (Pool::Tls, Some(name)) = (&pool, &self.tls.server_name)
            && url.host_str().is_some_and(|host| host != name)
        {
            pool = Pool::Alias(self.alias(&mut url, name)?);
            let authority = authority(&request.url);
            host_header = Some(HeaderValue::from_str(&authority).map_err(|_| header_flaw())?);
        }
        let client = self.pool(pool)?;
        let mut outgoing = reqwest::Request::new(request.method.clone(), url);
        for (name, value) in &request.headers {
            outgoing.headers_mut().append(name, value.clone());
        }
        if let Some(host) = host_header {
            outgoing.headers_mut().insert(HOST, host);
        }
        if let Some(body) = &request.body {
            *outgoing.body_mut() = Some(body.to_vec().into());
        }
        Ok((client, outgoing))
    }

    /// Puts `server_name` into the URL, so that the handshake asks for it and the certificate is
    /// judged by it, and returns the host that is really connected to.
    fn alias(&self, url: &mut Url, name: &str) -> Result<String, HttpError> {
        let unusable = |why: &str| HttpError::Settings {
            what: format!("the TLS server name `{name}`"),
            why: why.into(),
        };
        if self.proxies.displayed.contains_key("https") {
            return Err(unusable("through a proxy, a host cannot be asked for by another name"));
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if name.parse::<IpAddr>().is_ok() || url.set_host(Some(name)).is_err() {
            return Err(unusable("it must be the name of a host"));
        }
        Ok(host)
    }

    fn pool(&self, pool: Pool) -> Result<reqwest::Client, HttpError> {
        // A poisoned map is still a map of clients.
        let mut pools = self.pools.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = pools.get(&pool) {
            return Ok(client.clone());
        }
        let client = self.make(&pool)?;
        pools.insert(pool, client.clone());
        Ok(client)
    }

    #[expect(clippy::disallowed_methods, reason = "the one maker of HTTP clients")]
    fn make(&self, pool: &Pool) -> Result<reqwest::Client, HttpError> {
        tls::install_provider();
        let mut builder = reqwest::Client::builder()
            // Security: the library would carry `X-Vault-Token` to any host.
            .redirect(reqwest::redirect::Policy::none())
            // Security: it would read proxies from an environment that a kubeconfig can write.
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(LONGEST_CONNECT)
            .pool_max_idle_per_host(1)
            .user_agent(USER_AGENT);
        #[cfg(unix)]
        if let Some(path) = &self.socket {
            builder = builder.unix_socket(path.as_path());
        }
        if self.socket.is_none() {
            for proxy in &self.proxies.proxies {
                builder = builder.proxy(proxy.clone());
            }
        }
        builder = match pool {
            // No authority is needed, and none is read; an upgrade to https has a pool of its own.
            Pool::Clear => builder.tls_certs_only([]),
            Pool::Tls | Pool::Alias(_) => tls::configure(builder, &self.tls, &self.transport)?,
        };
        let names = if let Pool::Alias(host) = pool { Names::of(host) } else { Names::own() };
        builder = builder.dns_resolver(Arc::new(names));
        builder.build().map_err(|error| HttpError::Settings {
            what: "the TLS settings".into(),
            why: error::innermost(&error),
        })
    }

    pub(super) fn explain(&self, url: &Url, failure: &reqwest::Error) -> HttpError {
        let proxy = self.proxies.displayed.get(url.scheme()).filter(|_| self.socket.is_none());
        error::from_library(self.display_host(url), proxy.cloned(), failure)
    }
}

/// `host[:port]` as in a `Host` header.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn header_flaw() -> HttpError {
    HttpError::Header { name: "host".into() }
}
