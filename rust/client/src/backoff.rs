//! How long to wait before the next start.

use std::time::Duration;

use crate::settings::RestartPolicy;

/// The wait before attempt number `attempt` (from 1): it doubles up to the longest, and a random half of it is
/// left out, so that many parents of hosts that died together do not start them together.
pub(crate) fn wait(policy: &RestartPolicy, attempt: u32) -> Duration {
    let doubled = 2_u32
        .checked_pow(attempt.saturating_sub(1))
        .and_then(|factor| policy.first_wait.checked_mul(factor))
        .unwrap_or(policy.longest_wait);
    let most = doubled.min(policy.longest_wait);
    most / 2 + (most / 2).mul_f64(fraction())
}

/// A random number from 0 up to 1. Without a source of randomness there is no jitter.
fn fraction() -> f64 {
    getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_with_half_of_it_random() {
        let policy = RestartPolicy {
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(1),
            ..RestartPolicy::default()
        };
        for (attempt, most) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1000),
            (40, 1000),
            (u32::MAX, 1000),
        ] {
            let waited = wait(&policy, attempt);
            assert!(
                waited >= Duration::from_millis(most / 2),
                "attempt {attempt}: {waited:?}"
            );
            assert!(
                waited <= Duration::from_millis(most),
                "attempt {attempt}: {waited:?}"
            );
        }
        let drawn: Vec<Duration> = (0..20).map(|_| wait(&policy, 5)).collect();
        assert!(
            drawn.iter().any(|other| other != &drawn[0]),
            "no jitter: {drawn:?}"
        );
    }
}
