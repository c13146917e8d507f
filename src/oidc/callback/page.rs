//! What a browser is shown: small plain pages without a script, and the head they are sent with.

use crate::error::printable;

/// An answer to one request of a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// The provider's answer is here.
    Arrived,
    /// The provider's answer is an error, in its own words.
    Refused(String),
    /// An answer to another log-in than the one that is waited for.
    OtherState,
    /// An answer that contradicts itself, or is none.
    NoAnswer,
    /// An answer came before this one.
    Gone,
    /// Another path.
    NotFound,
    /// Another method.
    NotAllowed,
    /// Addressed to another host.
    OtherHost,
    /// No HTTP that we understand.
    Malformed,
    /// Too much.
    TooLarge,
}

/// What a person is told to do where the request was none of theirs.
const STRAY: &str = "Nothing was changed. If you are logging in, open the address that the terminal shows.";

impl Page {
    fn status(&self) -> &'static str {
        match self {
            Self::Arrived => "200 OK",
            Self::Refused(_) | Self::OtherState | Self::NoAnswer | Self::Malformed => "400 Bad Request",
            Self::OtherHost => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::Gone => "410 Gone",
            Self::TooLarge => "431 Request Header Fields Too Large",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Arrived => "Back to the terminal",
            Self::Refused(_) => "The log-in was refused",
            Self::OtherState => "Not the log-in that is waited for",
            Self::NoAnswer => "Not an answer to a log-in",
            Self::Gone => "This log-in is over",
            Self::NotFound => "Nothing here",
            Self::NotAllowed | Self::OtherHost | Self::Malformed | Self::TooLarge => "Not understood",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Arrived => {
                "Your answer has arrived. The terminal says whether you are logged in; this page can be closed."
                    .into()
            }
            Self::Refused(words) => {
                format!("{}. The terminal says what to do next; this page can be closed.", printable(words))
            }
            Self::Gone => "An answer has arrived before. This page can be closed.".into(),
            _ => STRAY.into(),
        }
    }

    /// The whole response.
    pub(super) fn response(&self) -> String {
        let body = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>kubectl-vaulttoken</title></head>\n\
             <body><h1>{}</h1>\n<p>{}</p></body></html>\n",
            escaped(self.title()),
            escaped(&self.text()),
        );
        let allow = if *self == Self::NotAllowed { "Allow: GET\r\n" } else { "" };
        // Security: the page's address holds the code. Nothing of it is kept, told to another site,
        // run or framed.
        format!(
            "HTTP/1.1 {}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
             Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
             X-Frame-Options: DENY\r\nCross-Origin-Opener-Policy: same-origin\r\n\
             Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
             {allow}\r\n{body}",
            self.status(),
            body.len(),
        )
    }
}

/// Security: a provider's words are text, never markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
