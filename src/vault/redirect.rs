//! Where a Vault may send us on to: a standby names the active node. Pure.

use url::Url;

use crate::http::{Response, is_loopback};

/// The rule for one Vault.
#[derive(Debug, Clone)]
pub(super) struct Redirects {
    /// Its address and its listed nodes.
    pub(super) listed: Vec<Url>,
    /// It is reached through a socket, from which no host can be told.
    pub(super) socket: bool,
}

/// Why a redirect is not followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is none that can be understood.
    Malformed(&'static str),
    /// It would take a secret where nobody allowed it.
    Withheld {
        /// Where to; only scheme, host and port.
        target: String,
        /// Why not.
        why: &'static str,
    },
}

/// Whether this status sends us on.
pub(super) fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status)
}

impl Redirects {
    /// Whether the settings name this very node.
    pub(super) fn is_named(&self, target: &Url) -> bool {
        self.listed.iter().any(|node| node.origin() == target.origin())
    }

    /// Where to ask again with the same method, body and token. With an authority of the vault's
    /// own, who holds a certificate of it is one of its nodes.
    ///
    /// Security: the token goes along, so this decides who gets it.
    pub(super) fn target(
        &self,
        from: &Url,
        response: &Response,
        own_authority: bool,
    ) -> Result<Url, Refused> {
        let Some(location) = response.header("location") else {
            return Err(Refused::Malformed("a redirect that does not say where to"));
        };
        let Ok(target) = from.join(location) else {
            return Err(Refused::Malformed("a redirect to something that is no address"));
        };
        if !matches!(target.scheme(), "http" | "https") || target.host().is_none() {
            return Err(Refused::Malformed("a redirect to something that is no address of a server"));
        }
        let withheld = |why| Err(Refused::Withheld { target: origin(&target), why });
        if !matches!(response.status, 301 | 302 | 307 | 308) {
            return withheld("such a redirect would turn the request into another one");
        }
        if !target.username().is_empty() || target.password().is_some() {
            return withheld("its address holds a name or a password");
        }
        if self.socket {
            return withheld("behind a Unix socket nobody can tell who that is");
        }
        if from.scheme() == "https" && target.scheme() == "http" {
            return withheld("it would have gone over the wire in clear");
        }
        if self.is_named(&target) {
            return Ok(target);
        }
        if target.scheme() == "http" {
            // Another port of this machine is perhaps another person's.
            return withheld(if is_loopback(&target) {
                "that port is not among the `addresses` of this vault"
            } else {
                "it would have gone over the wire in clear"
            });
        }
        if own_authority || self.listed.iter().any(|node| node.host() == target.host()) {
            return Ok(target);
        }
        withheld("that host is not among the `addresses` of this vault")
    }
}

/// Scheme, host and port.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::http::{HeaderMap, HeaderValue};

    fn judged((rule, own_authority): &(Redirects, bool), from: &str, status: u16, location: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_str(location).unwrap());
        let response = Response { status, headers, body: Zeroizing::new(Vec::new()), date: None };
        match rule.target(&Url::parse(from).unwrap(), &response, *own_authority) {
            Ok(url) => format!("to {url}"),
            Err(Refused::Malformed(why)) => why.into(),
            Err(Refused::Withheld { target, why }) => format!("not to {target}: {why}"),
        }
    }

    fn rule(listed: &[&str], own_authority: bool, socket: bool) -> (Redirects, bool) {
        let listed = listed.iter().map(|url| Url::parse(url).unwrap()).collect();
        (Redirects { listed, socket }, own_authority)
    }

    const V: &str = "https://vault.corp.example:8200/v1/x";

    #[test]
    fn a_token_goes_on_to_nodes_of_the_same_vault_only() {
        let strict =
            rule(&["https://vault.corp.example:8200", "https://node2.corp.example:8200"], false, false);
        let elsewhere = "that host is not among the `addresses` of this vault";
        let clear = "it would have gone over the wire in clear";
        for (status, location, expected) in [
            (307, "https://vault.corp.example:8200/v1/y", "to https://vault.corp.example:8200/v1/y".into()),
            (301, "https://vault.corp.example:8300/v1/x", "to https://vault.corp.example:8300/v1/x".into()),
            (302, "https://node2.corp.example:8200/v1/x", "to https://node2.corp.example:8200/v1/x".into()),
            (308, "/v1/y?list=true", "to https://vault.corp.example:8200/v1/y?list=true".into()),
            (307, "https://node2.corp.example/v1/x", "to https://node2.corp.example/v1/x".into()),
            (307, "https://node3.corp.example:8200/v1/x", format!("not to https://node3.corp.example:8200: {elsewhere}")),
            (307, "https://evil.example/v1/x?token=s.1", format!("not to https://evil.example: {elsewhere}")),
            (307, "//evil.example/", format!("not to https://evil.example: {elsewhere}")),
            (307, "http://vault.corp.example:8200/", format!("not to http://vault.corp.example:8200: {clear}")),
            (307, "http://127.0.0.1:8200/", format!("not to http://127.0.0.1:8200: {clear}")),
            (
                303,
                "https://vault.corp.example:8200/v1/y",
                "not to https://vault.corp.example:8200: such a redirect would turn the request into another one"
                    .into(),
            ),
            (
                307,
                "https://me:pw@vault.corp.example:8200/",
                "not to https://vault.corp.example:8200: its address holds a name or a password".into(),
            ),
            (307, "https://[::", "a redirect to something that is no address".into()),
            (307, "file:///etc/passwd", "a redirect to something that is no address of a server".into()),
        ] {
            assert_eq!(judged(&strict, V, status, location), expected, "{status} {location}");
        }
    }

    #[test]
    fn with_an_authority_of_its_own_the_certificate_decides() {
        let own = rule(&["https://vault.corp.example:8200"], true, false);
        assert_eq!(judged(&own, V, 307, "https://10.0.0.7:8200/v1/x"), "to https://10.0.0.7:8200/v1/x");
        assert_eq!(
            judged(&own, V, 307, "http://10.0.0.7:8200/v1/x"),
            "not to http://10.0.0.7:8200: it would have gone over the wire in clear"
        );
    }

    #[test]
    fn on_this_machine_only_listed_ports_count() {
        let local = rule(&["http://127.0.0.1:8200", "http://127.0.0.1:8300"], false, false);
        let from = "http://127.0.0.1:8200/v1/x";
        assert_eq!(judged(&local, from, 307, "http://127.0.0.1:8300/v1/x"), "to http://127.0.0.1:8300/v1/x");
        assert_eq!(
            judged(&local, from, 307, "http://127.0.0.1:9999/v1/x"),
            "not to http://127.0.0.1:9999: that port is not among the `addresses` of this vault"
        );
        assert_eq!(
            judged(&local, from, 307, "http://10.0.0.1/v1/x"),
            "not to http://10.0.0.1: it would have gone over the wire in clear"
        );
    }

    #[test]
    fn nothing_leaves_a_socket() {
        assert_eq!(
            judged(&rule(&[], true, true), "http://localhost/v1/x", 307, "https://node/v1/x"),
            "not to https://node: behind a Unix socket nobody can tell who that is"
        );
    }
}
