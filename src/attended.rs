//! A token for a caller at whose terminal a person sits: where all that is missing is a log-in that a
//! person can make, they are asked for it, and the token is asked for again.
//!
//! One browser or prompt at a time for a user: whoever comes meanwhile waits and takes what came of
//! it. A log-in that failed is not begun again at once, as clients ask five times in a row and
//! editors all night.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use crate::browser::NotOpened;
use crate::cache::{Acquired, FailedLogIn, Guard, LogIns};
use crate::config::{AuthMethod, JwtOrigin, LogInOverrides};
use crate::desk::{Desk, Order};
use crate::env::Env;
use crate::error::{Calling, Error, ExitCode, Failure};
use crate::issue::{self, Conditions, Issued};
use crate::network::on_the_network;
use crate::person::{LogInHow, NoAnswer, Person};
use crate::process::Caller;
use crate::sign_in::SignIn;
use crate::token::Timestamp;
use crate::vault::session::SessionKey;

/// What whoever asks the person needs beyond their time, to keep what came of it.
const GRACE: Duration = Duration::from_secs(5);

/// The token that `order` asks for, once this person has helped: what was asked for at `began` ended
/// with `missing`, the error of a log-in that is required.
///
/// # Errors
/// `missing` where nobody can be asked; as [`issue::token`]; and what the person's log-in, or another
/// one that was waited for, failed with.
pub fn token(
    missing: Error,
    began: Timestamp,
    env: &Env,
    order: &Order,
    conditions: &Conditions,
    person: &dyn Person,
    calling: &mut Calling,
) -> Result<Issued, Error> {
    // Security: nobody looks at a screen while a shell completes a line.
    if Caller::of_this_process(true).is_some_and(|caller| caller.completes_a_command_line()) {
        return Err(missing);
    }
    // Security: as in `issue`, what a kubeconfig added does not count.
    let desk = Desk::open(env.own(), order)?;
    let Some(session) = asked_for(&desk) else { return Err(missing) };
    let log_ins = Arc::new(LogIns::new(&desk.place));
    refuse_again(&log_ins, &session, began, conditions)?;
    let turn = turn(&log_ins, conditions, person)?;
    // Whoever had the turn before has logged in, perhaps, or failed.
    refuse_again(&log_ins, &session, began, conditions)?;
    desk.tokens.clear_log_in_failures();
    match issue::token(env, order, conditions, calling) {
        Err(error) if error.exit_code() == ExitCode::LoginRequired => {}
        outcome => return outcome,
    }
    // Security: nobody gives their word here for a Vault that only a flag names.
    let mut sign_in = SignIn::new(LogInOverrides::default(), false);
    let noticing = Noticing { person, was_asked: AtomicBool::new(false) };
    match sign_in.one(&env.own(), order, conditions, &noticing, calling) {
        Ok(told) => told.iter().for_each(|line| person.tell(line)),
        Err(error) => {
            let gave_up = matches!(error.exit_code(), ExitCode::Interrupted | ExitCode::Terminated);
            let is_lasting = noticing.was_asked.load(Ordering::Relaxed) && !gave_up;
            // What cannot be kept lets the next one ask again.
            let _ = log_ins.remember(&session, &error.to_failure(), (conditions.clock)(), is_lasting);
            return Err(error);
        }
    }
    log_ins.forget(&session);
    drop(turn);
    issue::token(env, order, conditions, calling)
}

/// Waits for the turn to ask this person, for a command that asks them by name: it takes its turn, but
/// is kept from nothing by what failed before.
///
/// # Errors
/// Wrong settings, or a wait that did not end.
pub fn turn_of_command(
    env: &Env,
    order: &Order,
    conditions: &Conditions,
    person: &dyn Person,
) -> Result<Option<Guard>, Error> {
    let desk = Desk::open_for_login(env.clone(), order)?;
    let log_ins = Arc::new(LogIns::new(&desk.place));
    let turn = turn(&log_ins, conditions, person)?;
    // Whoever asks for it by name is there.
    desk.session_key.iter().for_each(|session| log_ins.forget(session));
    Ok(turn)
}

/// Notices whether anything was asked of the person.
struct Noticing<'a> {
    person: &'a dyn Person,
    was_asked: AtomicBool,
}

impl Noticing<'_> {
    fn asking(&self) -> &dyn Person {
        self.was_asked.store(true, Ordering::Relaxed);
        self.person
    }
}

impl Person for Noticing<'_> {
    fn ask(&self, prompt: &str) -> Result<String, NoAnswer> {
        self.asking().ask(prompt)
    }
    fn ask_secret(&self, prompt: &str) -> Result<SecretString, NoAnswer> {
        self.asking().ask_secret(prompt)
    }
    fn tell(&self, line: &str) {
        self.person.tell(line);
    }
    fn show(&self, address: &Url) {
        self.asking().show(address);
    }
    fn typed(&self) -> Result<Option<Zeroizing<String>>, NoAnswer> {
        self.person.typed()
    }
    fn open(&self, address: &Url) -> Result<(), NotOpened> {
        self.asking().open(address)
    }
    fn wants(&self) -> LogInHow {
        self.person.wants()
    }
    fn patience(&self) -> Duration {
        self.person.patience()
    }
}

/// The session that a person can be asked for; none where it is another's to be made.
fn asked_for(desk: &Desk) -> Option<SessionKey> {
    let by_a_person = match desk.request.vault.as_ref().map(|vault| &vault.auth) {
        // A provider's, where there is one.
        None
        | Some(
            AuthMethod::Oidc { .. }
            | AuthMethod::Userpass { .. }
            | AuthMethod::Ldap { .. }
            | AuthMethod::Jwt { from: JwtOrigin::Provider(_), .. },
        ) => true,
        // A token is laid somewhere, not typed while `kubectl` runs; the others need nobody.
        Some(
            AuthMethod::Token
            | AuthMethod::Approle { .. }
            | AuthMethod::Kubernetes { .. }
            | AuthMethod::Jwt { from: JwtOrigin::Identity(_), .. }
            | AuthMethod::Cert { .. },
        ) => false,
    };
    desk.session_key.clone().filter(|_| by_a_person)
}

/// The failure of the last log-in, to whoever waited for it and to whoever asks again too soon.
fn refuse_again(
    log_ins: &LogIns,
    session: &SessionKey,
    began: Timestamp,
    conditions: &Conditions,
) -> Result<(), Error> {
    let Some(FailedLogIn { failure, at, until, .. }) = log_ins.failed(session, (conditions.clock)()) else {
        return Ok(());
    };
    if began <= at {
        return Err(Error::Earlier(failure));
    }
    let why = failure.why.map(|why| format!(" ({why})")).unwrap_or_default();
    let until = until.format("%H:%M:%SZ");
    Err(Error::Earlier(Failure {
        exit_code: ExitCode::LoginRequired,
        what: "log-in required, and the last one failed".into(),
        why: Some(format!("{}{why}; none is begun unasked before {until}", failure.what)),
        hint: Some("{program} login{profile}{vault}{config}".into()),
    }))
}

/// The turn to ask the person; none where there are no locks.
fn turn(log_ins: &Arc<LogIns>, conditions: &Conditions, person: &dyn Person) -> Result<Option<Guard>, Error> {
    let wait = person.patience() + GRACE;
    // A moment's wait is nobody's business.
    match log_ins.turn(Duration::ZERO, &mut || ()) {
        Acquired::Guard(guard) => return Ok(Some(guard)),
        Acquired::Unsupported(why) => {
            (conditions.note)(&format!("no lock could be taken: {why}"));
            return Ok(None);
        }
        Acquired::Busy => {}
    }
    person.tell("another log-in of yours is under way; waiting for what comes of it");
    let log_ins = Arc::clone(log_ins);
    // On the network for its signals: they have a handler by now, and this wait must end with them.
    let acquired = on_the_network(async move {
        let turn = tokio::task::spawn_blocking(move || log_ins.turn(wait, &mut || ())).await;
        turn.map_err(|error| Error::Fault(format!("no thread waits for a lock: {error}")))
    })?;
    match acquired {
        Acquired::Guard(guard) => Ok(Some(guard)),
        Acquired::Unsupported(_) => Ok(None),
        Acquired::Busy => Err(Error::Earlier(Failure {
            exit_code: ExitCode::Unreachable,
            what: "another log-in of yours did not end in time".into(),
            why: None,
            hint: Some("{program} login{profile}{vault}{config}".into()),
        })),
    }
}
