//! How many prompt tokens a step may compute while others wait for their next token, and whether in one batch with
//! theirs.
//!
//! A step costs what its decodes cost plus so much a prompt token. What a prompt token costs depends on the context
//! before it, on how many are computed at once and on what else is in the batch. All of it is measured as steps go
//! by, and of the steps that keep to the target the next one is what computes most for its time. The clock is the
//! caller's.

use std::time::Duration;

use crate::scheduler::costs::{Batch, Costs, DecodeCosts, TILE};

/// How much more for its time another kind of step must compute to be preferred.
const MARGIN: f64 = 1.05;
/// How much longer than it should a step may take.
const TOLERANCE: f64 = 1.15;
/// Where more than one prompt waits behind the first beside so many streams, a step may take longer than it should …
const STREAMS_A_PROMPT: f64 = 4.0;
/// … up to so many times as long.
const CROWDED: f64 = 3.0;
/// And it may take so many times as long as its decodes alone.
const DECODES: f64 = 2.5;
/// A prompt token costs at least this part of its share of a step, whatever decodes were measured to take.
const LEAST_SHARE: f64 = 0.1;

/// What a step was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    /// Sequences whose next token was computed.
    pub(crate) decodes: usize,
    /// Tokens of prompts.
    pub(crate) prefill: usize,
    /// Guessed tokens.
    pub(crate) drafts: usize,
    /// Tokens before the prompts' tokens, on the average.
    pub(crate) context: usize,
}

/// Prompts for which others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Sequences that could have their next token in the same batch.
    pub(crate) decodes: usize,
    /// Sequences that wait for their next token, in this batch or another.
    pub(crate) waiting: usize,
    /// Prompts.
    pub(crate) prompts: usize,
    /// Tokens before the prompts' tokens.
    pub(crate) context: usize,
    /// Most entries of a batch.
    pub(crate) room: usize,
}

/// What a step may compute of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Most tokens.
    pub(crate) tokens: usize,
    /// Whether in a batch without decodes, which have one before it and one after it.
    pub(crate) apart: bool,
}

/// Decides how large the prefill of a step may be.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// How long a step should take, in seconds.
    target: f64,
    /// Fewest prompt tokens of a step: fewer cost more than they spare.
    least: usize,
    /// What steps without prefill take.
    decodes: DecodeCosts,
    /// What prompt tokens cost.
    costs: Costs,
    /// Prompt tokens of the last step that had any.
    last: usize,
}

impl Budget {
    pub(crate) fn new(target: Duration, least: usize) -> Self {
        Self {
            target: target.as_secs_f64(),
            least: least.max(1),
            decodes: DecodeCosts::default(),
            costs: Costs::default(),
            last: 0,
        }
    }

    /// Most prompt tokens of the next step while others wait for a token.
    pub(crate) fn chunk(&self, demand: Demand) -> Chunk {
        let least = Chunk {
            tokens: self
                .least
                .min(demand.room.saturating_sub(demand.decodes))
                .max(1),
            apart: demand.decodes == 0,
        };
        let Some(known) = self.time(least, demand) else {
            return least;
        };
        let longest = self.longest(demand).max(known);
        let mut best = (least, self.speed(least, demand));
        for chunk in self.candidates(least, longest, demand) {
            let time = self.time(chunk, demand);
            let speed = self.speed(chunk, demand);
            if time.is_some_and(|time| time <= longest * TOLERANCE) && speed > best.1 * MARGIN {
                best = (chunk, speed);
            }
        }
        best.0
    }

    /// Seconds that a step may take. The more wait for a first token beside few streams, the longer, for that is how
    /// all together wait least; and where decodes alone take long, prompts get a time like theirs.
    fn longest(&self, demand: Demand) -> f64 {
        let behind = demand.prompts.saturating_sub(1) as f64;
        let crowd = behind * STREAMS_A_PROMPT / demand.waiting as f64;
        let target = self.target * crowd.clamp(1.0, CROWDED);
        target.max(DECODES * self.decodes.of(demand.decodes))
    }

    /// Less than a tile, as much as keeps to the time, and whole tiles, both ways.
    fn candidates(&self, least: Chunk, longest: f64, demand: Demand) -> Vec<Chunk> {
        // A guess may be far off, so chunks at most double from step to step.
        let bound = 2 * self.last.max(TILE);
        let part = (TILE - 1).min(demand.room).min(bound + demand.decodes);
        let cost = self.cost(least, demand).unwrap_or(f64::INFINITY);
        let spare = ((longest - self.decodes.of(demand.decodes)) / cost) as usize;
        let tokens = part.saturating_sub(demand.decodes).min(spare);
        let mut candidates = vec![Chunk { tokens, ..least }];
        for entries in (TILE..=demand.room).step_by(TILE) {
            let beside = entries.saturating_sub(demand.decodes);
            candidates.push(Chunk {
                tokens: beside,
                apart: demand.decodes == 0,
            });
            candidates.push(Chunk {
                tokens: entries,
                apart: true,
            });
        }
        candidates.retain(|chunk| (least.tokens + 1..=bound).contains(&chunk.tokens));
        candidates
    }

    /// Learns from a step.
    pub(crate) fn observe(&mut self, shape: Shape, took: Duration) {
        let took = took.as_secs_f64();
        match shape {
            // What guesses cost is somebody else's business.
            Shape { drafts: 1.., .. } => {}
            Shape {
                prefill: 0,
                decodes: 0,
                ..
            } => {}
            // A few tokens cost what the weights cost to read, which says nothing of what each of many costs.
            Shape { prefill, .. } if 0 < prefill && prefill < self.least => {}
            Shape {
                prefill: 0,
                decodes,
                ..
            } => self.decodes.observe(decodes, took),
            Shape {
                prefill,
                context,
                decodes,
                ..
            } => {
                let share = took * decodes as f64 / (decodes + prefill) as f64;
                let decode = match decodes {
                    0 => 0.0,
                    _ => {
                        self.decodes.suppose(decodes, share);
                        self.decodes.of(decodes)
                    }
                };
                let cost = (took - decode).max(took * LEAST_SHARE) / prefill as f64;
                let batch = Batch {
                    apart: decodes == 0,
                    entries: prefill + decodes,
                };
                self.costs.observe(context, batch, cost);
                self.last = prefill;
            }
        }
    }

    /// The batch that prompts are in.
    fn batch(chunk: Chunk, demand: Demand) -> Batch {
        let decodes = if chunk.apart { 0 } else { demand.decodes };
        Batch {
            apart: chunk.apart,
            entries: chunk.tokens + decodes,
        }
    }

    /// Prompt tokens a second.
    fn speed(&self, chunk: Chunk, demand: Demand) -> f64 {
        let time = self.time(chunk, demand).unwrap_or(f64::INFINITY);
        chunk.tokens as f64 / time
    }

    /// Seconds from one token of a stream to the next.
    fn time(&self, chunk: Chunk, demand: Demand) -> Option<f64> {
        let cost = self.cost(chunk, demand)?;
        Some(self.decodes.of(demand.decodes) + chunk.tokens as f64 * cost)
    }

    /// Seconds of a prompt token.
    fn cost(&self, chunk: Chunk, demand: Demand) -> Option<f64> {
        self.costs.of(demand.context, Self::batch(chunk, demand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 512;
    const TARGET: f64 = 0.100;

    /// A machine that takes 20 ms for decodes and so much a prompt token.
    struct Machine {
        token: fn(Shape) -> f64,
    }

    /// A millisecond a token, and as much again for every 1000 tokens of context.
    const EVEN: Machine = Machine {
        token: |shape| 0.001 * (1.0 + shape.context as f64 / 1000.0),
    };
    /// Twice as much for those that fill no tile, and half as much again beside decodes for those that do.
    const TILED: Machine = Machine {
        token: |shape| {
            let entries = shape.prefill + shape.decodes;
            let tiles = entries.div_ceil(TILE) as f64 * TILE as f64 / entries as f64;
            0.0005
                * match (entries < TILE, shape.decodes > 0) {
                    (true, _) => 2.0,
                    (_, true) => 1.5 * tiles,
                    (_, false) => tiles,
                }
        },
    };

    impl Machine {
        fn time(&self, shape: Shape) -> Duration {
            let decodes = if shape.decodes > 0 { 0.020 } else { 0.0 };
            let prefill = if shape.prefill > 0 {
                (self.token)(shape) * shape.prefill as f64
            } else {
                0.0
            };
            Duration::from_secs_f64(decodes + prefill)
        }

        /// A step of prompts, and the decodes' own one if they are apart. Answers its chunk and seconds between two
        /// tokens of a stream.
        fn step(&self, budget: &mut Budget, decodes: usize, context: usize) -> (Chunk, f64) {
            let chunk = budget.chunk(Demand {
                decodes,
                waiting: decodes,
                prompts: 1,
                context,
                room: MOST,
            });
            let prompts = Shape {
                decodes: if chunk.apart { 0 } else { decodes },
                prefill: chunk.tokens,
                context,
                drafts: 0,
            };
            let mut took = self.time(prompts);
            budget.observe(prompts, took);
            if chunk.apart {
                took += self.decode(budget, decodes);
            }
            (chunk, took.as_secs_f64())
        }

        fn decode(&self, budget: &mut Budget, decodes: usize) -> Duration {
            let shape = Shape {
                decodes,
                ..Shape::default()
            };
            budget.observe(shape, self.time(shape));
            self.time(shape)
        }
    }

    fn budget() -> Budget {
        Budget::new(Duration::from_secs_f64(TARGET), 16)
    }

    #[test]
    fn it_begins_carefully_and_finds_the_target() {
        let mut budget = budget();
        EVEN.decode(&mut budget, 4);
        let steps: Vec<(Chunk, f64)> = (0..60).map(|_| EVEN.step(&mut budget, 4, 0)).collect();
        assert_eq!(steps[0].0.tokens, 16);
        assert!(steps.iter().all(|step| step.1 <= TARGET * 1.5), "{steps:?}");
        assert!(
            steps[20..].iter().all(|step| step.1 >= TARGET * 0.7),
            "{steps:?}"
        );
    }

    #[test]
    fn it_shrinks_as_the_context_grows_and_stays_near_the_target() {
        let mut budget = budget();
        let (mut context, mut chunks) = (0, Vec::new());
        while context < 8000 {
            let (chunk, took) = EVEN.step(&mut budget, 4, context);
            chunks.push(chunk.tokens);
            context += chunk.tokens;
            let near = took < TARGET * 2.0 || chunk.tokens == 16;
            assert!(near, "{chunk:?} after {context}: {took}");
        }
        let early = chunks[..10].iter().max();
        assert!(chunks.last() < early, "{chunks:?}");
        // After a long prompt a short one gets large chunks again, within a few steps.
        let chunks: Vec<usize> = (0..4)
            .map(|_| EVEN.step(&mut budget, 4, 0).0.tokens)
            .collect();
        assert!(chunks[3] >= 50, "{chunks:?}");
    }

    #[test]
    fn where_tiles_cost_less_it_computes_whole_ones_apart() {
        let mut budget = budget();
        TILED.decode(&mut budget, 4);
        let chunks: Vec<Chunk> = (0..100).map(|_| TILED.step(&mut budget, 4, 0).0).collect();
        let apart = |chunk: &&Chunk| chunk.apart && chunk.tokens == 2 * TILE;
        assert!(chunks[10..].iter().filter(apart).count() > 75, "{chunks:?}");
        let parts = chunks[10..].iter().filter(|chunk| chunk.tokens < TILE - 4);
        assert!(parts.count() < 5, "{chunks:?}");
    }

    #[test]
    fn where_it_makes_no_difference_a_batch_has_both() {
        let mut budget = budget();
        EVEN.decode(&mut budget, 4);
        let apart = (0..100)
            .filter(|_| EVEN.step(&mut budget, 4, 0).0.apart)
            .count();
        assert!(apart < 30, "{apart}");
    }

    #[test]
    fn a_slow_machine_still_gets_the_least() {
        let mut budget = Budget::new(Duration::from_millis(1), 16);
        (0..5).for_each(|_| assert_eq!(EVEN.step(&mut budget, 4, 0).0.tokens, 16));
        let room = |room| Demand {
            decodes: 4,
            waiting: 4,
            prompts: 1,
            context: 0,
            room,
        };
        assert_eq!(
            budget.chunk(room(7)).tokens,
            3,
            "but no more than there is room for"
        );
    }

    #[test]
    fn what_nobody_waited_for_tells_what_a_chunk_will_take() {
        let mut budget = budget();
        EVEN.decode(&mut budget, 4);
        let whole = Shape {
            prefill: MOST,
            ..Shape::default()
        };
        budget.observe(whole, EVEN.time(whole));
        assert!(EVEN.step(&mut budget, 4, 0).0.tokens >= 50);
        // Nothing is known of such a context, so it may cost 32 times as much.
        assert!(EVEN.step(&mut budget, 4, 8000).0.tokens <= 16);
    }

    #[test]
    fn a_short_prompt_does_not_make_long_ones_look_dear() {
        let mut budget = budget();
        EVEN.decode(&mut budget, 4);
        let short = Shape {
            prefill: 3,
            ..Shape::default()
        };
        budget.observe(short, Duration::from_millis(60));
        let largest = (0..20).map(|_| EVEN.step(&mut budget, 4, 0).0.tokens).max();
        assert!(largest >= Some(64), "{largest:?}");
    }

    #[test]
    fn the_more_prompts_wait_beside_few_streams_the_longer_a_step_may_be() {
        let mut budget = budget();
        EVEN.decode(&mut budget, 4);
        (0..60).for_each(|_| {
            EVEN.step(&mut budget, 4, 0);
        });
        let tokens = |prompts| {
            let demand = Demand {
                decodes: 4,
                waiting: 4,
                prompts,
                context: 0,
                room: MOST,
            };
            budget.chunk(demand).tokens
        };
        assert!(tokens(8) >= tokens(1) + 64, "{} {}", tokens(8), tokens(1));
    }

    #[test]
    fn where_decodes_take_long_prompts_get_as_much_time() {
        let mut budget = Budget::new(Duration::from_millis(20), 16);
        EVEN.decode(&mut budget, 4); // 20 ms
        let chunks: Vec<usize> = (0..40)
            .map(|_| EVEN.step(&mut budget, 4, 0).0.tokens)
            .collect();
        assert!(chunks.last() >= Some(&18), "{chunks:?}");
    }

    #[test]
    fn one_slow_step_is_forgotten() {
        let mut budget = budget();
        EVEN.decode(&mut budget, 4);
        (0..20).for_each(|_| {
            EVEN.step(&mut budget, 4, 0);
        });
        let slow = Shape {
            decodes: 4,
            prefill: 60,
            ..Shape::default()
        };
        budget.observe(slow, Duration::from_secs(3));
        let after: Vec<usize> = (0..60)
            .map(|_| EVEN.step(&mut budget, 4, 0).0.tokens)
            .collect();
        assert!(after[40..].iter().all(|&tokens| tokens >= 50), "{after:?}");
    }
}
