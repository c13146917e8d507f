//! What the person's own environment says about the network.

use std::time::Duration;

use url::Url;

use super::Pem;

/// Proxies, default authorities and limits that hold for every server.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    /// Whom to believe where the settings name nobody (`VAULT_CACERT`, `SSL_CERT_FILE` …).
    pub certificate_authorities: Vec<Pem>,
    /// `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`.
    pub client_certificate: Option<(Pem, Pem)>,
    /// `VAULT_PROXY_ADDR` or `VAULT_HTTP_PROXY`: wins over the standard ones, for Vault.
    pub vault_proxy: Option<Url>,
    /// `HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`.
    pub http_proxy: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// `VAULT_CLIENT_TIMEOUT`.
    pub timeout: Option<Duration>,
    /// `VAULT_MAX_RETRIES`.
    pub max_retries: Option<u32>,
}
