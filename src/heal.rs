//! Heals a refused token without a person: remembers who was handed what, asks the cluster where a
//! program asks again for what it has, and says what is to become of the token. The judgement is
//! [`crate::suspicion`]'s, the fetch the broker's; a first hit costs one short write and no network.

use crate::broker::{Given, How, Wish};
use crate::cache::HandOuts;
use crate::desk::Desk;
use crate::error::Error;
use crate::network::on_the_network;
use crate::probe::{Target, Verdict};
use crate::process::Caller;
use crate::suspicion::{Cure, Event, RefusedError, Suspicion, What, cure, suspect};
use crate::token::{Digest, Timestamp, Token};

/// What to do with a fresh token that is about to be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Hand it out.
    Fine,
    /// Fetch another one; `refused`: the cluster said no to this one.
    Replace {
        /// Whether the cluster refused it, or nobody could be asked.
        refused: bool,
    },
}

/// The watch over the hand-outs of one key to one program.
pub struct Watch<'a> {
    desk: &'a Desk,
    /// None: whoever asks is not told apart from others, and nobody is suspected.
    log: Option<(String, HandOuts)>,
}

impl<'a> Watch<'a> {
    /// Watches `caller`; nobody where there is none.
    #[must_use]
    pub fn over(desk: &'a Desk, caller: Option<&Caller>) -> Self {
        let log = caller.and_then(|caller| Some((caller.to_string(), desk.tokens.hand_outs(&desk.key)?)));
        Self { desk, log }
    }

    /// Looks at a fresh token before it is handed out.
    ///
    /// # Errors
    /// The cluster refuses whatever is fetched.
    pub fn look(&mut self, token: &Token, now: Timestamp) -> Result<Look, Error> {
        let Some((caller, log)) = &self.log else { return Ok(Look::Fine) };
        let digest = token.digest();
        match suspect(&log.past_of(caller), caller, digest, now) {
            Suspicion::None => {
                self.add_given(digest, now);
                Ok(Look::Fine)
            }
            Suspicion::RefusedToo => Err(RefusedError::NewOneToo { server: self.server() }.into()),
            Suspicion::Perhaps => self.ask(token, now),
        }
    }

    fn ask(&mut self, token: &Token, now: Timestamp) -> Result<Look, Error> {
        let digest = token.digest();
        let verdict = self.verdict(token)?;
        if matches!(verdict, Some(Verdict::Accepted | Verdict::Silent)) {
            // Whom a cluster does not answer, a new token does not help.
            self.add(What::Accepted, digest, now);
            return Ok(Look::Fine);
        }
        let refused = verdict == Some(Verdict::Refused);
        let Some((caller, log)) = &self.log else { return Ok(Look::Fine) };
        match cure(&log.past(), caller, digest, refused, now) {
            Cure::Fetch => Ok(Look::Replace { refused }),
            Cure::Not | Cure::TooOften if !refused => Ok(Look::Fine),
            Cure::Not => {
                self.add(What::RefusedToo, digest, now);
                Err(RefusedError::NewOneToo { server: self.server() }.into())
            }
            Cure::TooOften => Err(RefusedError::TooOften { server: self.server() }.into()),
        }
    }

    /// Takes down what came of a miss or a replacement.
    ///
    /// # Errors
    /// The cluster refuses the new token as well.
    pub fn given(&mut self, given: &Given, wish: Wish, now: Timestamp) -> Result<(), Error> {
        let digest = given.token.digest();
        if let (Wish::Other { than, refused }, How::Fetched) = (wish, &given.how) {
            self.add(What::Replaced, than, now);
            if refused {
                if self.verdict(&given.token)? == Some(Verdict::Refused) {
                    self.add(What::RefusedToo, digest, now);
                    return Err(RefusedError::NewOneToo { server: self.server() }.into());
                }
                self.add(What::Accepted, digest, now);
            }
        }
        self.add_given(digest, now);
        Ok(())
    }

    /// What the cluster says; `None` where it is not known which, or who would answer.
    fn verdict(&self, token: &Token) -> Result<Option<Verdict>, Error> {
        let Some(target) = self.target() else { return Ok(None) };
        on_the_network(async { Ok(Some(target.ask(token, &self.desk.request.transport).await)) })
    }

    fn target(&self) -> Option<Target> {
        Target::of(self.desk.cluster.as_ref(), &self.desk.request.pins)
    }

    fn server(&self) -> String {
        self.target().map_or_else(|| "the cluster".into(), |target| target.server)
    }

    fn add_given(&mut self, token: Digest, now: Timestamp) {
        let Some((caller, log)) = &self.log else { return };
        let known = log.past_of(caller).iter().any(|event| event.what == What::Given && event.token == token);
        if !known {
            self.add(What::Given, token, now);
        }
    }

    fn add(&mut self, what: What, token: Digest, now: Timestamp) {
        if let Some((caller, log)) = &mut self.log {
            log.add(&Event { at: now, what, caller: caller.clone(), token }, Caller::lives);
        }
    }
}
