//! Log-in MFA: satisfies each constraint by one of its methods, in one request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use super::{Door, Exposed, Granted, LogIn};
use crate::error::printable;
use crate::vault::VaultError;
use crate::vault::exchange::Ask;
use crate::vault::wire::{MfaConstraint, MfaMethod, MfaRequirement};

const VALIDATE: &str = "sys/mfa/validate";

/// How long a person may take to find the telephone that a push goes to.
const PUSH: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Body<'a> {
    mfa_request_id: &'a str,
    mfa_payload: BTreeMap<&'a str, Passcode>,
}

/// A list of one passcode, or of none for a method that pushes.
struct Passcode(Option<SecretString>);

impl Serialize for Passcode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.as_ref().map(Exposed))
    }
}

/// Satisfies what is wanted. A wrong passcode may be typed again once: the request stays open.
pub(super) async fn satisfy(
    cx: &LogIn<'_>,
    door: &Door<'_>,
    wanted: &MfaRequirement,
) -> Result<Granted, VaultError> {
    let mut chosen = Vec::new();
    for (name, constraint) in &wanted.mfa_constraints {
        let method = choose(cx, constraint).ok_or_else(|| {
            cx.vault.exchange.unusable(VALIDATE, format!("the factor `{}` has no method", printable(name)))
        })?;
        chosen.push((name.as_str(), method));
    }
    let asks = chosen.iter().any(|(_, method)| method.uses_passcode);
    let pushes = chosen.iter().any(|(_, method)| !method.uses_passcode);
    let mut tries_left = if asks { 2 } else { 1 };
    loop {
        let mut mfa_payload = BTreeMap::new();
        for (name, method) in &chosen {
            mfa_payload.insert(method.id.as_str(), Passcode(passcode(cx, name, method)?));
        }
        let mut deadline = cx.vault.deadline();
        if let (true, Some(person)) = (pushes, cx.person) {
            person.tell("waiting for you to confirm the log-in on your other device");
            deadline = deadline.max(Instant::now() + PUSH);
        }
        let body = Body { mfa_request_id: &wanted.mfa_request_id, mfa_payload };
        let ask = Ask::post(VALIDATE, cx.body(VALIDATE, &body)?, deadline);
        let asked_at = cx.vault.now();
        let reply = cx.vault.exchange.ask(ask).await?;
        tries_left -= 1;
        if reply.status == 403 && tries_left > 0 {
            if let Some(person) = cx.person {
                person.tell("that passcode was refused; one more try");
            }
            continue;
        }
        if !reply.is_done() {
            return Err(VaultError::FactorRefused {
                vault: cx.vault.origin().to_owned(),
                who: door.who.map(str::to_owned),
                messages: reply.messages(),
            });
        }
        let granted = cx.granted(door, VALIDATE, reply, asked_at)?;
        return cx.with_token(VALIDATE, granted);
    }
}

/// A method that can be used here: with a person the first with a passcode, which needs no other
/// device to be reachable; without one a push.
fn choose<'a>(cx: &LogIn<'_>, constraint: &'a MfaConstraint) -> Option<&'a MfaMethod> {
    let by_passcode = cx.person.is_some();
    let preferred = constraint.any.iter().find(|method| method.uses_passcode == by_passcode);
    preferred.or(constraint.any.first())
}

fn passcode(cx: &LogIn<'_>, name: &str, method: &MfaMethod) -> Result<Option<SecretString>, VaultError> {
    if !method.uses_passcode {
        return Ok(None);
    }
    let prompt = format!("passcode ({}) for {}: ", printable(&method.kind), printable(name));
    let typed = cx.vault.ask_person(cx.person, "a passcode", |person| person.ask_secret(&prompt))?;
    Ok(Some(SecretString::from(typed.expose_secret().trim())))
}
