//! How many prompt tokens a step may compute while others wait for their next token.
//!
//! A step costs what its decodes cost plus so much a prompt token, and a prompt token costs the more, the longer
//! the context before it is. Both are measured as steps go by; the clock is the caller's.

use std::time::Duration;

/// How much a new measurement counts against those before it.
const WEIGHT: f64 = 0.3;
/// Contexts of up to this many tokens are one class; each further class is twice as long.
const SHORT_CONTEXT: usize = 256;
/// Classes of contexts; the last one is open.
const CLASSES: usize = 16;

/// What a step was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    /// Sequences that waited for their next token.
    pub(crate) decodes: usize,
    /// Tokens of prompts.
    pub(crate) prefill: usize,
    /// Guessed tokens.
    pub(crate) drafts: usize,
    /// Tokens before the prompts' tokens, on the average.
    pub(crate) context: usize,
}

/// Decides how large the prefill of a step may be.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// How long a step should take, in seconds.
    target: f64,
    /// Fewest prompt tokens of a step: fewer cost more than they spare.
    least: usize,
    /// Seconds of a step without prefill.
    decode: f64,
    /// By class of context, seconds of a prompt token.
    prefill: [Option<f64>; CLASSES],
    /// Prompt tokens of the last step that had decodes beside them.
    last: usize,
}

impl Budget {
    pub(crate) fn new(target: Duration, least: usize) -> Self {
        Self {
            target: target.as_secs_f64(),
            least: least.max(1),
            decode: 0.0,
            prefill: [None; CLASSES],
            last: 0,
        }
    }

    /// Most prompt tokens of the next step, at most `most`: all of them when nobody waits for a token.
    pub(crate) fn chunk(&self, decodes: usize, context: usize, most: usize) -> usize {
        if decodes == 0 {
            return most;
        }
        let spare = (self.target - self.decode).max(0.0);
        // A guess may be far off, so chunks at most double from step to step.
        let bound = 2 * self.last.max(self.least);
        let chunk = self
            .token_cost(context)
            .map_or(self.least, |cost| (spare / cost) as usize);
        chunk.min(bound).max(self.least).min(most)
    }

    /// Learns from a step.
    pub(crate) fn observe(&mut self, shape: Shape, took: Duration) {
        let took = took.as_secs_f64();
        match shape {
            // What guesses cost is somebody else's business.
            Shape { decodes: 0, .. } | Shape { drafts: 1.., .. } => {}
            Shape { prefill: 0, .. } => {
                let known = (self.decode > 0.0).then_some(self.decode);
                self.decode = blend(known, took);
            }
            Shape {
                prefill, context, ..
            } => {
                let cost = ((took - self.decode) / prefill as f64).max(f64::MIN_POSITIVE);
                let known = &mut self.prefill[class(context)];
                *known = Some(blend(*known, cost));
                self.last = prefill;
            }
        }
    }

    /// Seconds of a prompt token after `context` others: as measured in its class, or the nearest one.
    fn token_cost(&self, context: usize) -> Option<f64> {
        let class = class(context);
        let shorter = self.prefill[..=class].iter().rev().find_map(|cost| *cost);
        shorter.or_else(|| self.prefill[class..].iter().find_map(|cost| *cost))
    }
}

fn blend(known: Option<f64>, new: f64) -> f64 {
    known.map_or(new, |known| known + WEIGHT * (new - known))
}

fn class(context: usize) -> usize {
    let doublings = (context / SHORT_CONTEXT + 1).ilog2() as usize;
    doublings.min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 512;

    /// A machine that takes 20 ms for decodes and a millisecond more a prompt token, and as much again for every
    /// 1000 tokens of context.
    fn time(shape: Shape) -> Duration {
        let token = 0.001 * (1.0 + shape.context as f64 / 1000.0);
        let decodes = if shape.decodes > 0 { 0.020 } else { 0.0 };
        Duration::from_secs_f64(decodes + token * shape.prefill as f64)
    }

    fn budget() -> Budget {
        Budget::new(Duration::from_millis(100), 16)
    }

    fn step(budget: &mut Budget, decodes: usize, context: usize) -> usize {
        let shape = Shape {
            decodes,
            prefill: budget.chunk(decodes, context, MOST),
            context,
            ..Shape::default()
        };
        budget.observe(shape, time(shape));
        shape.prefill
    }

    #[test]
    fn when_nobody_waits_a_step_takes_all() {
        let mut budget = budget();
        assert_eq!(budget.chunk(0, 0, MOST), MOST);
        assert_eq!(step(&mut budget, 0, 9000), MOST);
        assert_eq!(budget.chunk(0, 9000, 7), 7);
    }

    #[test]
    fn it_begins_carefully_and_finds_the_target() {
        let mut budget = budget();
        let decode = Shape {
            decodes: 4,
            ..Shape::default()
        };
        budget.observe(decode, time(decode));
        let chunks: Vec<usize> = (0..6).map(|_| step(&mut budget, 4, 0)).collect();
        assert_eq!(chunks[..3], [16, 32, 64]);
        // 80 ms are left for tokens of a millisecond.
        assert!((78..=80).contains(&chunks[5]), "{chunks:?}");
    }

    #[test]
    fn it_shrinks_as_the_context_grows_and_stays_near_the_target() {
        let mut budget = budget();
        let (mut context, mut chunks) = (0, Vec::new());
        while context < 8000 {
            let chunk = step(&mut budget, 4, context);
            chunks.push(chunk);
            context += chunk;
            let shape = Shape {
                decodes: 4,
                prefill: chunk,
                context,
                ..Shape::default()
            };
            let near = time(shape) < Duration::from_millis(150) || chunk == 16;
            assert!(near, "{chunk} tokens after {context}");
        }
        let early = chunks[..10].iter().max();
        assert!(chunks.last() < early, "{chunks:?}");
        // After a long prompt a short one gets large chunks again, within a few steps.
        let chunks: Vec<usize> = (0..4).map(|_| step(&mut budget, 4, 0)).collect();
        assert!(chunks[3] >= 60, "{chunks:?}");
    }

    #[test]
    fn a_slow_machine_still_gets_the_least() {
        let mut budget = Budget::new(Duration::from_millis(1), 16);
        (0..5).for_each(|_| assert_eq!(step(&mut budget, 4, 0), 16));
        assert_eq!(
            budget.chunk(4, 0, 3),
            3,
            "but no more than there is room for"
        );
    }

    #[test]
    fn one_slow_step_is_forgotten() {
        let mut budget = budget();
        (0..9).for_each(|_| {
            step(&mut budget, 4, 0);
        });
        let before = budget.chunk(4, 0, MOST);
        let shape = Shape {
            decodes: 4,
            prefill: before,
            ..Shape::default()
        };
        budget.observe(shape, Duration::from_secs(3));
        assert!(budget.chunk(4, 0, MOST) < before);
        (0..20).for_each(|_| {
            step(&mut budget, 4, 0);
        });
        assert!(budget.chunk(4, 0, MOST) * 10 >= before * 9);
    }
}
