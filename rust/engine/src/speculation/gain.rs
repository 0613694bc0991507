//! How many guessed tokens a step should feed: as many as yield the most tokens a second.
//!
//! A step costs what it costs for so many sequences without guesses, plus so much a guessed token. Both are measured
//! as steps go by.

use std::time::Duration;

/// How much a new measurement counts against those before it.
const WEIGHT: f64 = 0.3;
/// Until it is measured, a guessed token is taken to cost this part of a step.
const FIRST_COST: f64 = 0.25;
/// Guesses must yield this many times what the step yields without them.
const MARGIN: f64 = 1.03;
/// After each step in which guesses did not pay, a guessed token is taken to cost this much of what it did, so that
/// an old measurement does not stand for ever.
const FORGIVENESS: f64 = 0.99;
/// After this many steps with guesses one without them shows what they are compared with.
const STEPS_TO_COMPARISON: u32 = 48;

/// A sequence that could be continued by a guess.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    /// How likely each guessed token comes true, if those before it did.
    pub(crate) rate: f64,
    /// Tokens that were guessed.
    pub(crate) length: usize,
}

/// The running measure.
#[derive(Debug, Default)]
pub(crate) struct Gain {
    /// By number of sequences.
    costs: Vec<Cost>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Seconds of a step without guesses.
    plain: Option<f64>,
    /// Seconds of a guessed token.
    guessed: Option<f64>,
    /// Steps with guesses since the last one without.
    since_plain: u32,
}

impl Gain {
    /// Learns from a step of so many sequences and guessed tokens, and nothing else.
    pub(crate) fn observe(&mut self, sequences: usize, guessed: usize, took: Duration) {
        let took = took.as_secs_f64();
        let cost = self.cost(sequences);
        if guessed == 0 {
            cost.plain = Some(blend(cost.plain, took));
            cost.since_plain = 0;
        } else {
            let plain = cost.plain.unwrap_or(0.0);
            let each = ((took - plain) / guessed as f64).max(f64::MIN_POSITIVE);
            cost.guessed = Some(blend(cost.guessed, each));
            cost.since_plain += 1;
        }
    }

    /// How many tokens of each guess to feed in a step of so many sequences, at most `most` in all.
    pub(crate) fn drafts(
        &mut self,
        sequences: usize,
        candidates: &[Candidate],
        most: usize,
    ) -> Vec<usize> {
        let none = vec![0; candidates.len()];
        let cost = self.cost(sequences);
        let Some(plain) = cost.plain else {
            return none;
        };
        if candidates.is_empty() || cost.since_plain >= STEPS_TO_COMPARISON {
            return none;
        }
        let guessed = cost.guessed.unwrap_or(plain * FIRST_COST);
        let mut best = (none.clone(), sequences as f64 / plain * MARGIN);
        let mut drafts = none;
        let mut tokens = sequences as f64;
        for count in 1..=most {
            let Some((index, likely)) = likeliest(candidates, &drafts) else {
                break;
            };
            drafts[index] += 1;
            tokens += likely;
            let speed = tokens / (plain + guessed * count as f64);
            if speed > best.1 {
                best = (drafts.clone(), speed);
            }
        }
        if best.0.iter().all(|&draft| draft == 0) {
            self.cost(sequences).guessed = Some(guessed * FORGIVENESS);
        }
        best.0
    }

    fn cost(&mut self, sequences: usize) -> &mut Cost {
        if self.costs.len() <= sequences {
            self.costs.resize(sequences + 1, Cost::default());
        }
        &mut self.costs[sequences]
    }
}

/// The guess whose next token is the likeliest to be kept, and how likely that is.
fn likeliest(candidates: &[Candidate], drafts: &[usize]) -> Option<(usize, f64)> {
    let open = candidates
        .iter()
        .zip(drafts)
        .enumerate()
        .filter(|(_, (candidate, draft))| **draft < candidate.length);
    let likely = |candidate: &Candidate, draft: usize| {
        let exponent = i32::try_from(draft + 1).unwrap_or(i32::MAX);
        candidate.rate.powi(exponent)
    };
    open.map(|(index, (candidate, &draft))| (index, likely(candidate, draft)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

fn blend(known: Option<f64>, new: f64) -> f64 {
    known.map_or(new, |known| known + WEIGHT * (new - known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rate: f64) -> Candidate {
        Candidate { rate, length: 15 }
    }

    /// A machine on which a step takes `fixed` ms and `each` ms more a token.
    fn measured(sequences: usize, fixed: u64, each: u64) -> Gain {
        let mut gain = Gain::default();
        for guessed in [0, 4] {
            let took = fixed + each * (sequences + guessed) as u64;
            gain.observe(sequences, guessed, Duration::from_millis(took));
        }
        gain
    }

    #[test]
    fn nothing_is_risked_before_a_step_was_measured() {
        assert_eq!(Gain::default().drafts(1, &[candidate(1.0)], 15), [0]);
    }

    #[test]
    fn the_surer_the_guess_the_longer_the_draft() {
        let mut gain = measured(1, 12, 3);
        let lengths: Vec<usize> = [0.1, 0.5, 0.8, 0.99]
            .map(|rate| gain.drafts(1, &[candidate(rate)], 15)[0])
            .into();
        assert_eq!(lengths[0], 0);
        assert!(lengths.is_sorted() && lengths[3] == 15, "{lengths:?}");
        assert!((1..4).contains(&lengths[1]), "{lengths:?}");
    }

    #[test]
    fn where_every_token_costs_the_same_there_is_nothing_to_gain() {
        let mut gain = measured(16, 0, 4);
        let drafts = gain.drafts(16, &[candidate(0.9); 16], 64);
        assert_eq!(drafts, [0; 16]);
    }

    #[test]
    fn the_surest_of_several_come_first() {
        let mut gain = measured(2, 20, 2);
        let drafts = gain.drafts(2, &[candidate(0.3), candidate(0.95)], 6);
        assert!(drafts[1] >= 5 && drafts[0] <= 1, "{drafts:?}");
        assert!(drafts.iter().sum::<usize>() <= 6);
    }

    #[test]
    fn a_bad_measurement_is_forgiven_in_time() {
        let mut gain = measured(1, 10, 1);
        gain.observe(1, 1, Duration::from_secs(1));
        let tries = (0..2000)
            .position(|_| gain.drafts(1, &[candidate(0.9)], 8)[0] > 0)
            .unwrap();
        assert!(tries > 50, "{tries}");
    }

    #[test]
    fn now_and_then_a_step_goes_without() {
        let mut gain = measured(1, 10, 1);
        let took = Duration::from_millis(15);
        let without = (0..200)
            .filter(|_| {
                let guessed = gain.drafts(1, &[candidate(0.99)], 5)[0];
                gain.observe(1, guessed, took - Duration::from_millis(5 - guessed as u64));
                guessed == 0
            })
            .count();
        assert_eq!(without, 4);
    }
}
