//! The host of a workspace or an account, as people and SDKs write it in many ways.

use std::fmt;

/// `https://host`, with a port where it is not the usual one: what is compared. The SDKs cut off
/// everything behind it as well (`fix_host_if_needed` in Python, `fixHostIfNeeded` in Go).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(String);

impl Host {
    /// Reads a host: the scheme may be left out, and a path, a query (`?o=…` of an address that was
    /// copied from a browser) and a slash at the end do not count. `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        Self::of(&url::Url::parse(&whole).ok()?)
    }

    /// The host of an address.
    #[must_use]
    pub fn of(url: &url::Url) -> Option<Self> {
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !is_plain || !matches!(url.scheme(), "https" | "http") {
            return None;
        }
        let host = url.host_str()?;
        // One dot at the end of a name only says that it is complete; a name has no empty part (RFC 1035, 2.3.1).
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_name = host.split('.').all(|label| !label.is_empty());
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        is_name.then(|| Self(format!("{}://{host}{port}", url.scheme())))
    }

    /// As an address without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_written_in_many_ways() {
        let host = Host::parse("https://dbc-1.cloud.databricks.com").unwrap();
        for text in [
            "dbc-1.cloud.databricks.com",
            "https://dbc-1.cloud.databricks.com/",
            "HTTPS://DBC-1.Cloud.Databricks.COM",
            "https://dbc-1.cloud.databricks.com:443",
            "https://dbc-1.cloud.databricks.com./",
            " https://dbc-1.cloud.databricks.com/?o=123#setting/clusters \n",
        ] {
            assert_eq!(Host::parse(text).as_ref(), Some(&host), "{text}");
        }
        for other in ["http://dbc-1.cloud.databricks.com", "dbc-1.cloud.databricks.com:8443", "dbc-2"] {
            assert_ne!(Host::parse(other).unwrap(), host, "{other}");
        }
        for none in [
            "",
            " ",
            "https://",
            "ftp://host",
            "https://me:pw@host",
            "unix:///socket",
            "a b",
            ".",
            "a..b",
            "a..",
            "a.8..",
        ] {
            assert_eq!(Host::parse(none), None, "{none}");
        }
    }
}
