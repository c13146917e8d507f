//! One token for one call: a hit, or a miss with everything that a miss needs.
//!
//! On a miss the environment is read again without what a kubeconfig added to it, the cluster and
//! the Vault are judged, and only then a runtime is started and a source asked. The order of these
//! steps is the promise of `SECURITY.md`.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::{self, Given, How, PastFailure, Store, Wish};
use crate::cache::{About, Acquired, CacheKey, Guard, Sessions};
use crate::cluster::{Cluster, KnownCluster};
use crate::config::{AuthMethod, Journaling, JwtOrigin, Name, SourceSettings, TlsSettings, VaultSettings};
use crate::desk::{Desk, Order};
use crate::env::Env;
use crate::error::{Calling, Error, ExitCode, Failure};
use crate::heal::{Look, Watch};
use crate::http;
use crate::identity::{self, Workload};
use crate::journal::{Entry, Event, Journal};
use crate::keys;
use crate::memory::Memory;
use crate::process::Caller;
use crate::scope::Scope;
use crate::source::{Asking, Fetched, Source};
use crate::token::{State, Timestamp, Token};
use crate::trust::{self, TrustError, Verdict};
use crate::vault::session::SessionKey;
use crate::vault::{JwtSource, Parts, Patience, Vault, VaultError, found_token};

/// How a token is to be had.
#[derive(Clone)]
pub struct Conditions {
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Longest use of the network.
    pub timeout: Duration,
    /// Whether a kept token will do.
    pub wish: Wish,
    /// Who asks.
    pub asker: Asker,
    /// Whether the token leaves this program.
    pub hands_out: bool,
    /// Takes lines that only a verbose caller shows; never a secret.
    pub note: Arc<dyn Fn(&str) + Send + Sync>,
}

/// The longest use of the network while a shell waits for completions.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

impl Conditions {
    /// A shell that completes a command line does not stand still for long; kubectl sets no limit.
    ///
    /// A client that is killed meanwhile does not end us: what was begun is finished and kept within
    /// the timeout, where breaking off would leave a lease behind that nobody knows.
    fn for_caller(&self, caller: Option<&Caller>) -> Self {
        let mut conditions = self.clone();
        if caller.is_some_and(Caller::completes_a_command_line) {
            conditions.timeout = conditions.timeout.min(COMPLETION_TIMEOUT);
        }
        conditions
    }
}

/// Who asks for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// A client, which will carry the token to the cluster that it named, or to one that it did
    /// not name. `claimed_server` is what a flag says in its place: perhaps the kubeconfig's words.
    Client {
        /// `--cluster-server`.
        claimed_server: Option<String>,
    },
    /// A person, for a profile of theirs.
    Person,
}

/// A token, and how it was had.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: Token,
    /// How.
    pub how: How,
    /// The profile it is for, or what stands for one.
    pub profile: String,
    /// The API server it is for, where that is known.
    pub cluster_server: Option<String>,
    /// It is due, and nobody renews it yet.
    pub should_be_renewed: bool,
    /// By which the journal knows this call.
    pub invocation: String,
}

/// The token that `order` asks for. `calling` learns the profile's name as soon as it is known, so
/// that an error can say it.
///
/// # Errors
/// Everything that stands between a caller and a token.
pub fn token(
    env: &Env,
    order: &Order,
    conditions: &Conditions,
    calling: &mut Calling,
) -> Result<Issued, Error> {
    // Security: only the person's own environment counts, also for a hit: it says where the entry,
    // its key and the journal lie.
    let desk = open(env.own(), order, conditions)?;
    calling.profile = desk.request.profile.as_ref().map(Name::to_string);
    let call = Call::of(&desk, conditions, env);
    let outcome = call.given();
    call.write_down(&outcome);
    let given = outcome?;
    // Whoever has the lock does it already.
    let should_be_renewed = matches!(given.how, How::Due) && call.store().try_lock().is_some();
    Ok(Issued {
        token: given.token,
        how: given.how,
        profile: desk.request.profile_label.clone(),
        cluster_server: desk.cluster.as_ref().map(|cluster| cluster.server.clone()),
        should_be_renewed,
        invocation: call.invocation,
    })
}

/// Renews a token that is due, for a caller who has it already.
///
/// # Errors
/// What the fetch failed with; nobody waits to hear it.
pub fn renew(env: &Env, order: &Order, conditions: &Conditions, invocation: String) -> Result<(), Error> {
    let desk = open(env.own(), order, conditions)?;
    let mut call = Call::of(&desk, conditions, env);
    call.invocation = invocation;
    let store = call.store();
    if !broker::should_renew(&store, (conditions.clock)()) {
        return Ok(());
    }
    // A token that is due was handed to its cluster before.
    let None = judge(&desk, &conditions.asker)? else { return Ok(()) };
    broker::renew(&store, conditions.clock, || call.fetch())?;
    Ok(())
}

/// One call at its desk.
struct Call<'a> {
    desk: &'a Desk,
    conditions: &'a Conditions,
    /// The program that ran us.
    caller: Option<Caller>,
    invocation: String,
}

impl<'a> Call<'a> {
    fn of(desk: &'a Desk, conditions: &'a Conditions, env: &Env) -> Self {
        let is_client = env.get("KUBERNETES_EXEC_INFO").is_some();
        // A renewal has no caller any more.
        let caller = if env.is_settled() { None } else { Caller::of_this_process(is_client) };
        Self { desk, conditions, caller, invocation: Journal::invocation((conditions.clock)()) }
    }

    fn now(&self) -> Timestamp {
        (self.conditions.clock)()
    }

    fn store(&self) -> Bound<'_> {
        // Who types at a shell is no client that tries five times.
        let caller = self.caller.clone().filter(|_| self.desk.env.get("KUBERNETES_EXEC_INFO").is_some());
        Bound { desk: self.desk, conditions: self.conditions, caller }
    }

    /// The token, and what came before it: a look at whether it was refused.
    fn given(&self) -> Result<Given, Error> {
        let store = self.store();
        let mut watch = Watch::over(self.desk, self.suspect());
        let mut wish = self.conditions.wish;
        if may_hit(self.desk, &self.conditions.asker)
            && let Some(given) = broker::at_once(&store, wish, self.now())
        {
            // One that is due is renewed anyway, and clients that renew early ask for it.
            let look = match given.how {
                How::Kept => watch.look(&given.token, self.now())?,
                _ => Look::Fine,
            };
            match look {
                Look::Fine => return Ok(given),
                Look::Replace { refused } => wish = Wish::Other { than: given.token.digest(), refused },
            }
        }
        let first = judge(self.desk, &self.conditions.asker)?;
        let limited = self.conditions.for_caller(self.caller.as_ref());
        let call = Call {
            conditions: &limited,
            caller: self.caller.clone(),
            invocation: self.invocation.clone(),
            ..*self
        };
        let store = call.store();
        store.adopt_unbound(first.as_ref())?;
        let fetch = || {
            let token = call.fetch()?;
            // Only a cluster that there is a token for is a first one.
            remember(self.desk, &self.conditions.asker, first.as_ref())?;
            Ok(token)
        };
        let given = broker::token(&store, wish, limited.clock, fetch)?;
        watch.given(&given, wish, self.now())?;
        Ok(given)
    }

    /// The program whose asking again means something: a client, and not a person's shell.
    fn suspect(&self) -> Option<&Caller> {
        let is_client = self.desk.env.get("KUBERNETES_EXEC_INFO").is_some();
        let caller = self.caller.as_ref().filter(|caller| is_client || !caller.is_shell);
        caller.filter(|_| matches!(self.conditions.asker, Asker::Client { .. }))
    }

    fn fetch(&self) -> Result<Token, Error> {
        let Fetched { token, request_id, warnings, document: _ } = fetch(self.desk, self.conditions)?;
        for warning in warnings {
            (self.conditions.note)(&warning);
        }
        let entry = self.entry(Event::Mint).token(&token).request(request_id.as_deref());
        self.journal().add(&entry, self.now());
        Ok(token)
    }

    fn journal(&self) -> Journal {
        journal_of(self.desk, self.caller.as_ref(), self.invocation.clone())
    }

    fn entry(&self, event: Event) -> Entry {
        let server = self.desk.cluster.as_ref().map(|cluster| cluster.server.as_str());
        Entry::new(event).profile(&self.desk.request.profile_label).cluster(server)
    }

    fn write_down(&self, outcome: &Result<Given, Error>) {
        let entry = match outcome {
            // What `login` and `refresh` fetch stays here.
            Ok(_) if !self.conditions.hands_out => return,
            Ok(given) => self.entry(Event::HandOut).token(&given.token).outcome(given.how.name()),
            Err(error) => self.entry(Event::Refusal).error(error),
        };
        self.journal().add(&entry, self.now());
    }
}

/// Whether a kept token may be handed out unjudged. One that is bound to a cluster is kept under that
/// cluster's key, and was judged when it was fetched.
fn may_hit(desk: &Desk, asker: &Asker) -> bool {
    match asker {
        // Security: a person may have fetched this one for any cluster of the pins; a client that
        // hides its own, or only claims one, must be judged each time.
        Asker::Client { claimed_server } if desk.cluster.is_none() => {
            let pins = &desk.request.pins;
            claimed_server.is_none() && (pins.is_empty() || pins.iter().any(|pin| pin.without_cluster_info))
        }
        Asker::Client { .. } | Asker::Person => true,
    }
}

/// The journal for what `caller` asks at this desk.
fn journal_of(desk: &Desk, caller: Option<&Caller>, invocation: String) -> Journal {
    let folder = match desk.request.settings.journal {
        Journaling::On => desk.env.state_folder(),
        Journaling::Off => None,
    };
    Journal::new(folder, caller, invocation)
}

fn open(env: Env, order: &Order, conditions: &Conditions) -> Result<Desk, Error> {
    let mut desk = Desk::open(env, order)?;
    if conditions.asker == Asker::Person {
        desk.bind_to_known()?;
    }
    Ok(desk)
}

/// The journal for what a person does here.
#[must_use]
pub fn journal_of_person(desk: &Desk, now: Timestamp) -> Journal {
    journal_of(desk, Caller::of_this_process(false).as_ref(), Journal::invocation(now))
}

/// Whether the token may go to the cluster. Gives the cluster that would be the profile's first.
fn judge(desk: &Desk, asker: &Asker) -> Result<Option<KnownCluster>, Error> {
    // A person's own command, and no cluster known yet: the first that asks will be it.
    if *asker == Asker::Person && desk.cluster.is_none() {
        return Ok(None);
    }
    let (scope, memory) = (desk.scope()?, desk.memory().read()?);
    Ok(judge_in(&scope, &memory, desk.cluster.as_ref(), asker)?)
}

fn judge_in(
    scope: &Scope,
    memory: &Memory,
    cluster: Option<&Cluster>,
    asker: &Asker,
) -> Result<Option<KnownCluster>, TrustError> {
    let remembered = scope.remembered(memory);
    if let (Asker::Client { claimed_server: Some(server) }, None) = (asker, cluster) {
        if !scope.restricting.is_empty() {
            trust::judge_claim(&scope.restricting, &[], server)?;
        }
        trust::judge_claim(&scope.pins, &remembered, server)?;
        return Ok(None);
    }
    if !scope.restricting.is_empty() {
        trust::judge(&scope.restricting, &[], cluster)?;
    }
    match trust::judge(&scope.pins, &remembered, cluster)? {
        Verdict::Known => Ok(None),
        Verdict::First(cluster) => Ok(Some(cluster)),
    }
}

/// Remembers the first cluster, judged once more under the lock: two processes cannot both be first.
fn remember(desk: &Desk, asker: &Asker, first: Option<&KnownCluster>) -> Result<(), Error> {
    if first.is_none() {
        return Ok(());
    }
    let scope = desk.scope()?;
    desk.memory().judge(|memory| {
        if let Some(first) = judge_in(&scope, memory, desk.cluster.as_ref(), asker)? {
            memory.add_first(&scope.label, first);
        }
        Ok(())
    })
}

/// Asks the source, with the runtime that only a miss starts.
fn fetch(desk: &Desk, conditions: &Conditions) -> Result<Fetched, Error> {
    on_the_network(async {
        let source = Source::new(&desk.request.source, |_| {
            let (Some(settings), Some(key)) = (&desk.request.vault, &desk.session_key) else {
                return Err(Error::Fault("the source names no vault".into()));
            };
            Ok(Arc::new(vault(desk, settings, key, conditions)?))
        })?;
        let asking = Asking {
            server: desk.cluster.as_ref().map(|cluster| cluster.server.clone()),
            certificate_authority: desk.cluster.as_ref().and_then(|cluster| cluster.authority_pem.clone()),
        };
        source.mint(&asking, conditions.clock).await
    })
}

/// Runs what uses the network, on this thread, until it is done or a signal ends it.
///
/// # Errors
/// What the work fails with, or that it was interrupted.
pub fn on_the_network<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Fault(format!("no runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let mut interrupted = std::pin::pin!(interrupted());
        let outcome = tokio::select! {
            // First, so that the handlers are there before the work asks a person: a prompt that a
            // signal ends must be able to put the terminal back.
            biased;
            code = &mut interrupted => return Err(Error::Interrupted(code)),
            outcome = work => outcome,
        };
        if let Err(Error::Vault(VaultError::GivenUp { .. })) = &outcome {
            // A signal ends a prompt before it is seen here.
            tokio::select! {
                biased;
                code = interrupted => return Err(Error::Interrupted(code)),
                () = tokio::task::yield_now() => {}
            }
        }
        outcome
    });
    // A name that is looked up or a lock that is waited for in a thread must not hold us.
    runtime.shutdown_background();
    outcome
}

#[cfg(unix)]
async fn interrupted() -> ExitCode {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ExitCode::Interrupted,
        _ = terminate.recv() => ExitCode::Terminated,
    }
}

#[cfg(not(unix))]
async fn interrupted() -> ExitCode {
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::Interrupted,
        Err(_) => std::future::pending().await,
    }
}

/// A client for one Vault, whose session is kept under `key` in the place of this desk.
///
/// # Errors
/// Settings of the environment that make no sense, or a token helper that fails.
pub fn vault(
    desk: &Desk,
    settings: &VaultSettings,
    key: &SessionKey,
    conditions: &Conditions,
) -> Result<Vault, Error> {
    // Security: the one maker of Vault clients, also for a Vault that only an identity names.
    trust::judge_vault(settings, desk.memory().read()?.vaults(), desk.env.foreign())?;
    let deadline = Instant::now() + conditions.timeout;
    let note = Arc::clone(&conditions.note);
    let waiting = move || note("waiting for another process that logs in");
    let sessions = Sessions::new(&desk.place, conditions.timeout, Box::new(waiting));
    let found_token = match settings.auth {
        AuthMethod::Token => found_token::find(&desk.env, &settings.address.to_string(), deadline)?,
        _ => None,
    };
    Ok(Vault::new(Parts {
        settings: settings.clone(),
        transport: desk.request.transport.clone(),
        sessions: Arc::new(sessions),
        session_key: key.clone(),
        workload: workload(desk, &settings.auth, conditions, deadline),
        found_token,
        clock: conditions.clock,
        patience: Patience::Until(deadline),
        note: Arc::clone(&conditions.note),
    })?)
}

/// The workload whose JWT logs in, for the methods that take one.
fn workload(
    desk: &Desk,
    auth: &AuthMethod,
    conditions: &Conditions,
    deadline: Instant,
) -> Option<Arc<dyn JwtSource>> {
    let name = match auth {
        AuthMethod::Kubernetes { identity, .. } => identity.as_ref(),
        AuthMethod::Jwt { from: JwtOrigin::Identity(name), .. } => Some(name),
        _ => return None,
    };
    let identity = keys::identity_of(name, &desk.request)?;
    let parts = identity::Parts {
        env: &desk.env,
        http: &|| http::Client::new(&TlsSettings::default(), &desk.request.transport, None),
        vault: &|name| {
            let settings = desk.request.vault_named(name);
            let settings = settings.ok_or_else(|| Error::Fault(format!("no vault `{name}`")))?;
            let key = keys::session_key(&settings, &desk.request, &desk.env);
            Ok(Arc::new(vault(desk, &settings, &key, conditions)?))
        },
        clock: conditions.clock,
        deadline,
    };
    Some(Arc::new(Workload::new(name, &identity, &parts)))
}

/// The cache, bound to the key of one desk.
struct Bound<'a> {
    desk: &'a Desk,
    conditions: &'a Conditions,
    caller: Option<Caller>,
}

impl Bound<'_> {
    fn about(&self) -> About {
        About {
            profile: self.desk.request.profile_label.clone(),
            source: self.desk.request.source.name().to_owned(),
            cluster_server: self.desk.cluster.as_ref().map(|cluster| cluster.server.clone()),
            session_key: self.desk.session_key.as_ref().map(|key| key.0.clone()),
        }
    }

    /// A token that `login` fetched before its cluster was known belongs to the first that asks. One
    /// out of a document does not: the document may say for which cluster it is, and is read again.
    fn adopt_unbound(&self, first: Option<&KnownCluster>) -> Result<(), Error> {
        let tokens = &self.desk.tokens;
        let is_fresh = |key: &CacheKey| {
            tokens.load(key).is_some_and(|kept| kept.token.state((self.conditions.clock)()) == State::Valid)
        };
        let Some(unbound) = self.desk.unbound_key() else { return Ok(()) };
        let is_document = matches!(self.desk.request.source, SourceSettings::VaultKv(_));
        if is_document || is_fresh(&self.desk.key) || !is_fresh(&unbound) {
            return Ok(());
        }
        remember(self.desk, &self.conditions.asker, first)?;
        let server = self.desk.cluster.as_ref().map(|cluster| cluster.server.as_str());
        // Where it cannot be moved a new one is fetched.
        let _ = tokens.adopt(&unbound, &self.desk.key, server);
        Ok(())
    }
}

impl Store for Bound<'_> {
    /// Where no locks can be had, none is held.
    type Lock = Option<Guard>;

    fn load(&self) -> Option<Token> {
        self.desk.tokens.load(&self.desk.key).map(|kept| kept.token)
    }

    fn keep(&self, token: &Token) {
        if let Err(error) = self.desk.tokens.store(&self.desk.key, token, &self.about()) {
            (self.conditions.note)(&format!("the token could not be kept: {error}"));
        }
    }

    fn discard(&self) {
        if let Err(error) = self.desk.tokens.discard(&self.desk.key) {
            (self.conditions.note)(&format!("the refused token could not be removed: {error}"));
        }
    }

    fn try_lock(&self) -> Option<Option<Guard>> {
        match self.desk.tokens.lock(&self.desk.key, Duration::ZERO, &mut || ()) {
            Acquired::Guard(guard) => Some(Some(guard)),
            Acquired::Busy => None,
            Acquired::Unsupported(_) => Some(None),
        }
    }

    fn lock(&self) -> Option<Option<Guard>> {
        let mut waiting =
            || (self.conditions.note)("waiting for another process that fetches the same token");
        match self.desk.tokens.lock(&self.desk.key, self.conditions.timeout, &mut waiting) {
            Acquired::Guard(guard) => Some(Some(guard)),
            Acquired::Busy => None,
            Acquired::Unsupported(why) => {
                (self.conditions.note)(&format!("no lock could be taken: {why}"));
                None
            }
        }
    }

    fn failure(&self) -> Option<PastFailure> {
        let past = self.desk.tokens.load_failure(&self.desk.key, (self.conditions.clock)())?;
        let same_caller = self.caller.is_some() && past.caller == self.caller.as_ref().map(Caller::to_string);
        Some(PastFailure { at: past.at, until: past.until(), failure: past.failure, same_caller })
    }

    fn remember(&self, failure: &Failure, now: Timestamp) {
        let caller = self.caller.as_ref().map(Caller::to_string);
        if let Err(error) = self.desk.tokens.store_failure(&self.desk.key, failure, caller, now) {
            (self.conditions.note)(&format!("the failure could not be remembered: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_hangs_does_not_hold_whoever_is_done() {
        let (begun, has_begun) = mpsc::channel();
        let (_end, ends) = mpsc::channel::<()>();
        let outcome = on_the_network(async move {
            tokio::task::spawn_blocking(move || (begun.send(()), ends.recv()));
            has_begun.recv().map_err(|_| Error::Fault("no thread".into()))
        });
        assert!(outcome.is_ok());
    }
}
