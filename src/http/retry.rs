//! How often and after which wait a request is repeated. Whether it may be is decided elsewhere.

use std::time::{Duration, Instant};

use super::{ConnectCause, HttpError};

/// How patient a client is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retries {
    most: u32,
    /// As many more where it is known that the trouble passes.
    extra: u32,
    first_wait: Duration,
}

impl Retries {
    /// Five repetitions within some seven seconds, three more within ten after that: what a cluster
    /// takes to elect a leader. A number of the person's is taken as it is.
    pub(super) fn new(most: Option<u32>) -> Self {
        let extra = if most.is_some() { 0 } else { 3 };
        Self { most: most.unwrap_or(5), extra, first_wait: Duration::from_millis(200) }
    }

    #[cfg(test)]
    pub(super) fn impatient(self) -> Self {
        Self { first_wait: Duration::from_millis(1), ..self }
    }

    pub(super) fn start(self, deadline: Instant) -> Tries {
        Tries { made: 0, retries: self, deadline }
    }
}

/// The repetitions of one request.
pub(crate) struct Tries {
    made: u32,
    retries: Retries,
    deadline: Instant,
}

impl Tries {
    /// Waits for the next try; false at once where there is none, or no time for it.
    pub(crate) async fn again(&mut self, asked: Option<Duration>) -> bool {
        self.again_within(asked, self.retries.most).await
    }

    /// As [`Self::again`], where the trouble is known to pass within seconds.
    pub(crate) async fn again_patiently(&mut self) -> bool {
        self.again_within(None, self.retries.most.saturating_add(self.retries.extra)).await
    }

    async fn again_within(&mut self, asked: Option<Duration>, most: u32) -> bool {
        if self.made >= most {
            return false;
        }
        let wait = asked.unwrap_or_else(|| jittered(self.retries.first_wait, self.made));
        let left = self.deadline.saturating_duration_since(Instant::now());
        if wait >= left {
            return false;
        }
        self.made += 1;
        tokio::time::sleep(wait).await;
        true
    }

    /// After a failure: again where nothing was sent, or where sending twice does no harm.
    pub(crate) async fn after(&mut self, error: &HttpError, repeatable: bool) -> bool {
        match error {
            // Where nobody listens, a person should soon hear it.
            HttpError::Connect { cause: ConnectCause::Refused | ConnectCause::Other(_), .. } => {
                self.made < 2 && self.again(None).await
            }
            HttpError::Interrupted { .. } => repeatable && self.again(None).await,
            _ => false,
        }
    }
}

/// 1, 2, 4, 8 and at most 15 times the first wait; up to a half more, so that many callers spread.
fn jittered(first: Duration, made: u32) -> Duration {
    let wait = first * (1 << made.min(4)).min(15);
    let mut byte = [0_u8; 1];
    let random = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    let share = if random.is_ok() { u32::from(byte[0]) } else { 0 };
    wait + wait * share / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_wait_grows_and_stays_within_bounds(made in 0_u32..1_000) {
            let wait = jittered(Duration::from_millis(200), made);
            proptest::prop_assert!(wait >= Duration::from_millis(200) * 2_u32.pow(made.min(3)));
            proptest::prop_assert!(wait <= Duration::from_millis(4_500));
        }
    }

    #[tokio::test]
    async fn a_wait_beyond_the_deadline_is_not_begun() {
        let mut tries = Retries::new(None).start(Instant::now() + Duration::from_secs(1));
        assert!(!tries.again(Some(Duration::from_secs(60))).await);
        assert_eq!(tries.made, 0);
    }

    #[tokio::test]
    async fn the_tries_end() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut tries = Retries::new(Some(3)).impatient().start(deadline);
        let mut made = 0;
        while tries.again(None).await {
            made += 1;
        }
        assert_eq!(made, 3);
        let mut tries = Retries::new(None).impatient().start(deadline);
        let refused = HttpError::Connect { host: "vault".into(), cause: ConnectCause::Refused, proxy: None };
        assert!(tries.after(&refused, false).await && tries.after(&refused, false).await);
        assert!(!tries.after(&refused, true).await);
    }
}
