//! `oidc`: a person logs in at the provider that this Vault knows, and Vault gets the code.
//!
//! Who waits for the browser is the role's business, and found by what Vault answers: this program on
//! its loopback, as every Vault does it, or the server (`callback_mode` of OpenBao: `direct`, or
//! `device` by a code), which is then asked until it knows.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::{Door, Granted, LogIn};
use crate::browser;
use crate::config::VaultAddress;
use crate::error::printable;
use crate::http::HttpError;
use crate::oidc::callback::{Callback, CallbackError, Listen, Loopback, Port};
use crate::person::{self, LogInHow, Person};
use crate::vault::exchange::{Ask, Reply};
use crate::vault::{VaultError, answer, held, path};

/// What the roles of a Vault allow by custom: <https://developer.hashicorp.com/vault/docs/auth/jwt>.
const LISTEN: Listen = Listen { host: Loopback::Localhost, port: Port::Rather(8250), path: "/oidc/callback" };

/// How long one question whether the person is done may take.
const ONE_POLL: Duration = Duration::from_secs(15);

/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Begin<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<&'a str>,
    client_nonce: &'a str,
}

/// `oidc/auth_url`: where to send the person.
#[derive(Deserialize)]
struct Begun {
    /// Empty where the role does not allow the redirect address.
    #[serde(default)]
    auth_url: String,
    /// Both are there where the server is to be asked.
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    poll_interval: Option<Seconds>,
    /// What the person types at `auth_url`, where it is not part of it.
    #[serde(default)]
    user_code: Option<String>,
}

/// OpenBao writes the number as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Begun {
    /// The `state` to ask with, and how long to wait before it.
    fn polled(&self) -> Option<(&str, Duration)> {
        let seconds = match self.poll_interval.as_ref()? {
            Seconds::Number(seconds) => *seconds,
            // RFC 8628 §3.2.
            Seconds::Text(text) => text.parse().unwrap_or(5),
        };
        Some((self.state.as_deref()?, Duration::from_secs(seconds.max(1)).min(LONGEST_PAUSE)))
    }

    /// Whether the browser ends at this address.
    fn leads_to(&self, redirect_uri: &str) -> bool {
        let Ok(url) = Url::parse(&self.auth_url) else { return false };
        url.query_pairs().any(|(name, value)| name == "redirect_uri" && value == redirect_uri)
    }
}

/// Logs in by a browser, or by a code on another device.
pub(super) async fn log_in(cx: &LogIn<'_>, mount: &str, role: Option<&str>) -> Result<Granted, VaultError> {
    let Some(person) = cx.person else {
        return Err(cx.vault.login_required("nobody can be sent to a browser here"));
    };
    let attempt = Attempt { cx, mount, role, nonce: nonce(cx)?, person };
    match person.wants() {
        LogInHow::DeviceCode => attempt.by_device().await,
        LogInHow::Browser | LogInHow::NoBrowser => attempt.by_browser().await,
    }
}

/// One log-in. Security: only whoever knows the nonce gets the token, so an answer to a log-in that
/// somebody else began is worth nothing.
struct Attempt<'a> {
    cx: &'a LogIn<'a>,
    mount: &'a str,
    role: Option<&'a str>,
    nonce: Zeroizing<String>,
    person: &'a dyn Person,
}

fn nonce(cx: &LogIn<'_>) -> Result<Zeroizing<String>, VaultError> {
    let mut random = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *random).map_err(|_| VaultError::Settings {
        what: format!("the log-in to `{}`", cx.vault.origin()),
        why: "this system gives no random numbers".into(),
        hint: None,
    })?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*random)))
}

impl Attempt<'_> {
    fn door(&self, last: &'static [&'static str]) -> Door<'_> {
        Door { method: "oidc", mount: self.mount, path: last, who: None }
    }

    async fn by_browser(&self) -> Result<Granted, VaultError> {
        let failed = |cause| self.failed(cause);
        let callback = Callback::listen(LISTEN).await.map_err(failed)?;
        let ours = callback.redirect_uri();
        let mut begun = self.begin(Some(ours)).await?;
        let is_the_servers = begun.polled().is_some() && begun.leads_to(ours);
        if begun.auth_url.is_empty() || is_the_servers {
            // A role whose browser ends at the server allows no address of ours.
            if let Some(theirs) = self.servers_redirect_uri() {
                begun = self.begin(Some(&theirs)).await?;
            }
        }
        if begun.auth_url.is_empty() {
            return Err(VaultError::RedirectNotAllowed {
                vault: self.cx.vault.origin().to_owned(),
                mount: self.mount.to_owned(),
                role: self.role.map(str::to_owned),
                redirect_uri: ours.to_owned(),
            });
        }
        if begun.polled().is_some() {
            return self.poll(&begun).await;
        }
        let address = self.address(&begun)?;
        // Security: an answer is ours if it bears what Vault gave the browser along for us.
        let state =
            address.query_pairs().find(|(name, _)| name == "state").map(|(_, state)| state.into_owned());
        let state = state.ok_or_else(|| self.unusable("its `auth_url` has no `state`"))?;
        if address.query_pairs().any(|(name, value)| name == "response_mode" && value == "form_post") {
            return Err(self.unusable("the mount asks for `form_post`, which reaches no program of a person"));
        }
        let begun_at = Instant::now();
        let arrived = callback.answer_of(self.person, &address, &state).await;
        *held(&self.cx.vault.waited) += begun_at.elapsed();
        let arrived = arrived.map_err(failed)?;
        let query = self.query(&state, &arrived.code);
        let door = self.door(&["oidc", "callback"]);
        let path = path::join(&["auth", self.mount, "oidc", "callback"])?;
        let mut ask = Ask::get(&path, None, self.cx.vault.deadline());
        ask.query = Some(query);
        // A code is good once.
        ask.repeatable = false;
        let asked_at = self.cx.vault.now();
        let reply = self.cx.vault.exchange.ask(ask).await?;
        self.cx.settle(&door, &path, reply, asked_at).await
    }

    fn query(&self, state: &str, code: &SecretString) -> Zeroizing<String> {
        let mut query = form_urlencoded::Serializer::new(String::with_capacity(16 * 1024));
        query.append_pair("state", state);
        query.append_pair("code", code.expose_secret());
        query.append_pair("client_nonce", &self.nonce);
        Zeroizing::new(query.finish())
    }

    async fn by_device(&self) -> Result<Granted, VaultError> {
        let begun = self.begin(None).await;
        let begun = begun.map_err(|error| match error {
            VaultError::LoginRefused { messages, .. }
                if messages.iter().any(|message| message.contains("redirect_uri")) =>
            {
                self.no_device_code()
            }
            other => other,
        })?;
        if begun.polled().is_none() || begun.auth_url.is_empty() {
            return Err(self.no_device_code());
        }
        self.poll(&begun).await
    }

    fn no_device_code(&self) -> VaultError {
        VaultError::NoDeviceCode {
            vault: self.cx.vault.origin().to_owned(),
            mount: self.mount.to_owned(),
            role: self.role.map(str::to_owned),
        }
    }

    async fn begin(&self, redirect_uri: Option<&str>) -> Result<Begun, VaultError> {
        let body = Begin { role: self.role, redirect_uri, client_nonce: &self.nonce };
        let door = self.door(&["oidc", "auth_url"]);
        let (path, reply, _) = self.cx.post(&door, &body, self.cx.vault.deadline()).await?;
        if !reply.is_done() {
            return Err(self.cx.refused(&door, reply.status, reply.messages()));
        }
        answer::data(&reply.body).map_err(|why| self.cx.vault.exchange.unusable(&path, why))
    }

    /// Where a role with `callback_mode: direct` has the browser end.
    fn servers_redirect_uri(&self) -> Option<String> {
        let settings = &self.cx.vault.parts.settings;
        let VaultAddress::Url(base) = &settings.address else { return None };
        let namespace = settings.namespace.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
        let base = base.as_str().trim_end_matches('/');
        Some(format!("{base}/v1/{namespace}auth/{}/oidc/callback", self.mount))
    }

    /// Security: the address is what a server says.
    fn address(&self, begun: &Begun) -> Result<Url, VaultError> {
        browser::checked(&begun.auth_url)
            .map_err(|why| self.unusable(&format!("its `auth_url` is not opened: {why}")))
    }

    /// Asks the server until the person is done.
    async fn poll(&self, begun: &Begun) -> Result<Granted, VaultError> {
        #[derive(Serialize)]
        struct Body<'a> {
            state: &'a str,
            client_nonce: &'a str,
        }
        let Some((state, mut pause)) = begun.polled() else {
            return Err(self.unusable("it names no `state` to ask with"));
        };
        let body = Body { state, client_nonce: &self.nonce };
        let door = self.door(&["oidc", "poll"]);
        // Nobody is asked to paste anything: the browser ends at the server.
        let _ = person::send(self.person, &self.address(begun)?);
        if let Some(code) = begun.user_code.as_deref().filter(|code| !code.is_empty()) {
            self.person.tell(&format!("and type this code there: {}", printable(code)));
        }
        let begun_at = Instant::now();
        let until = begun_at + self.person.patience();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(pause.min(left)).await;
            *held(&self.cx.vault.waited) += pause.min(left);
            if pause >= left {
                return Err(VaultError::Unanswered { vault: self.cx.vault.origin().to_owned() });
            }
            let (path, reply, asked_at) = match self.cx.post(&door, &body, Instant::now() + ONE_POLL).await {
                Ok(answer) => answer,
                // A network that is gone for a moment; nothing was taken from the server.
                Err(VaultError::Http(HttpError::Connect { .. })) => continue,
                Err(error) => return Err(error),
            };
            match waits(&reply) {
                Some(Waits::Pending) => {}
                Some(Waits::SlowDown) => pause = (pause * 2).min(LONGEST_PAUSE),
                None => return self.cx.settle(&door, &path, reply, asked_at).await,
            }
        }
    }

    fn unusable(&self, why: &str) -> VaultError {
        self.cx.vault.exchange.unusable(&format!("auth/{}/oidc/auth_url", self.mount), why)
    }

    fn failed(&self, cause: CallbackError) -> VaultError {
        let vault = self.cx.vault.origin().to_owned();
        match cause {
            CallbackError::GivenUp => VaultError::GivenUp { vault },
            cause => VaultError::Callback { vault, cause },
        }
    }
}

/// The server knows nothing yet.
enum Waits {
    Pending,
    SlowDown,
}

fn waits(reply: &Reply) -> Option<Waits> {
    let errors = reply.envelope.errors.as_deref().unwrap_or_default();
    let says = |words: &str| errors.iter().any(|error| error.contains(words));
    match reply.status {
        400 if says("authorization_pending") => Some(Waits::Pending),
        400 if says("slow_down") => Some(Waits::SlowDown),
        _ => None,
    }
}
