//! One token for one call: a hit, or a miss with everything that a miss needs.
//!
//! On a miss the environment is read again without what a kubeconfig added to it, the cluster and
//! the Vault are judged, and only then a runtime is started and a source asked. The order of these
//! steps is the promise of `SECURITY.md`.

use std::sync::Arc;
use std::time::Duration;

use crate::admit;
use crate::broker::{self, Given, How, PastFailure, Store, Wish};
use crate::cache::{About, Acquired, CacheKey, Guard};
use crate::cluster::KnownCluster;
use crate::config::{Journaling, Name, SourceSettings};
use crate::desk::{Desk, Order};
use crate::env::Env;
use crate::error::{Calling, Error, Failure};
use crate::fetch;
use crate::heal::{Look, Watch};
use crate::journal::{Entry, Event, Journal};
use crate::keystore::Tier;
use crate::process::Caller;
use crate::source::Fetched;
use crate::token::{State, Timestamp, Token};

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
    /// The next call finds it here, too; else there is no place to keep it.
    pub is_kept: bool,
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
        is_kept: desk.place.tier != Tier::None,
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
    let None = admit::judge(&desk, &conditions.asker)? else { return Ok(()) };
    broker::renew(&store, conditions.clock, || call.fetch())?;
    Ok(())
}

/// One call at its desk.
struct Call<'a> {
    desk: &'a Desk,
    conditions: &'a Conditions,
    /// The program that ran us.
    caller: Option<Caller>,
    /// It is a client that speaks the exec contract.
    is_client: bool,
    invocation: String,
}

impl<'a> Call<'a> {
    fn of(desk: &'a Desk, conditions: &'a Conditions, env: &Env) -> Self {
        let is_client = env.get("KUBERNETES_EXEC_INFO").is_some();
        // A renewal has no caller any more.
        let caller = if env.is_settled() { None } else { Caller::of_this_process(is_client) };
        Self { desk, conditions, caller, is_client, invocation: Journal::invocation((conditions.clock)()) }
    }

    fn now(&self) -> Timestamp {
        (self.conditions.clock)()
    }

    fn store(&self) -> Bound<'_> {
        // Who types at a shell is no client that tries five times.
        let caller = self.caller.clone().filter(|_| self.is_client);
        Bound { desk: self.desk, conditions: self.conditions, caller }
    }

    /// The token, and what came before it: a look at whether it was refused.
    fn given(&self) -> Result<Given, Error> {
        let store = self.store();
        let mut watch = Watch::over(self.desk, self.suspect());
        let mut wish = self.conditions.wish;
        if admit::may_hit(self.desk, &self.conditions.asker)
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
        let first = admit::judge(self.desk, &self.conditions.asker)?;
        let limited = Conditions { wish, ..self.conditions.for_caller(self.caller.as_ref()) };
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
            admit::remember(self.desk, &self.conditions.asker, first.as_ref())?;
            Ok(token)
        };
        let given = broker::token(&store, wish, limited.clock, fetch)?;
        watch.given(&given, wish, self.now())?;
        Ok(given)
    }

    /// The program whose asking again means something: a client, and not a person's shell.
    fn suspect(&self) -> Option<&Caller> {
        let caller = self.caller.as_ref().filter(|caller| self.is_client || !caller.is_shell);
        caller.filter(|_| matches!(self.conditions.asker, Asker::Client { .. }))
    }

    fn fetch(&self) -> Result<Token, Error> {
        let Fetched { token, request_id, warnings, document: _, elsewhere } =
            fetch::fetch(self.desk, self.conditions)?;
        for warning in warnings {
            (self.conditions.note)(&warning);
        }
        let mut entry = self.entry(Event::Mint).token(&token).request(request_id.as_deref());
        if let Some(elsewhere) = &elsewhere {
            entry = entry.elsewhere(elsewhere);
        }
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

/// What the holder of a lock needs beyond its use of the network, to store what came of it.
const LOCK_GRACE: Duration = Duration::from_secs(1);

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
        admit::remember(self.desk, &self.conditions.asker, first)?;
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

    /// Whoever has it is done within the same limit and has then stored what came of it, or hangs.
    fn lock(&self) -> Option<Option<Guard>> {
        let wait = self.conditions.timeout + LOCK_GRACE;
        let mut waiting =
            || (self.conditions.note)("waiting for another process that fetches the same token");
        match self.desk.tokens.lock(&self.desk.key, wait, &mut waiting) {
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
