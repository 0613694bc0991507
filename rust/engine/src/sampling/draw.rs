//! The draw among the tokens that truncation leaves.

use multiversion::multiversion;

use super::candidates::LANES;
use super::exp::exp;
use super::truncation::Border;

/// Tokens whose weights are summed up at once, so that the one that is drawn is found without looking at each again.
const BLOCK: usize = 1024;

/// Some neighbouring tokens of which those with at least a logit of `floor` may be drawn.
struct Block<'a> {
    /// Index of the first.
    first: usize,
    logits: &'a [f32],
    floor: f32,
    /// The sum of their weights.
    weight: f64,
}

/// The index of a logit within the border, in proportion to `exp(logit / temperature)`: the first, in their order, at
/// which the running sum exceeds `uniform` (in `[0, 1)`) of the whole. `max` is the largest logit.
pub(super) fn draw(
    logits: &[f32],
    max: f32,
    border: Border,
    temperature: f32,
    uniform: f64,
) -> Option<usize> {
    let blocks: Vec<Block<'_>> = border
        .parts(logits)
        .into_iter()
        .flat_map(|(first, part, floor)| {
            let blocks = part.chunks(BLOCK).enumerate();
            blocks.map(move |(nth, logits)| Block {
                first: first + nth * BLOCK,
                logits,
                floor,
                weight: sum(logits, floor, max, temperature),
            })
        })
        .collect();
    let target = uniform * blocks.iter().map(|block| block.weight).sum::<f64>();
    let mut before = 0.0;
    let mut chosen = None;
    for block in blocks.iter().filter(|block| block.weight > 0.0) {
        chosen = Some((block, before));
        if before + block.weight > target {
            break;
        }
        before += block.weight;
    }
    let (block, before) = chosen?;
    let weigh = |logit: f32| exp((logit - max) / temperature);
    block.find(target - before, weigh)
}

impl Block<'_> {
    /// The first token at which the running sum of weights exceeds `target`, or else the last that has any.
    fn find(&self, target: f64, weigh: impl Fn(f32) -> f32) -> Option<usize> {
        let mut sum = 0.0;
        let mut last = None;
        for (index, &logit) in (self.first..).zip(self.logits) {
            let weight = if logit >= self.floor {
                weigh(logit)
            } else {
                0.0
            };
            sum += f64::from(weight);
            if weight > 0.0 {
                last = Some(index);
                if sum > target {
                    break;
                }
            }
        }
        last
    }
}

/// The sum of the weights of logits of at least `floor`. Written to become vector instructions.
#[multiversion(targets("x86_64+avx2"))]
fn sum(logits: &[f32], floor: f32, max: f32, temperature: f32) -> f64 {
    let mut lanes = [0.0f64; LANES];
    for chunk in logits.chunks(LANES) {
        // In most places there is nothing.
        if chunk
            .iter()
            .fold(false, |any, &logit| any | (logit >= floor))
        {
            for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                let weight = exp((logit - max) / temperature);
                *lane += f64::from(if logit >= floor { weight } else { 0.0 });
            }
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::candidates::largest;
    use super::super::truncation::border;
    use super::*;
    use crate::request::SamplingParams;
    use proptest::prelude::*;

    fn draw_of(logits: &[f32], params: &SamplingParams, uniform: f64) -> Option<usize> {
        let max = largest(logits);
        let border = border(logits, max, params);
        draw(logits, max, border, params.temperature, uniform)
    }

    fn all(temperature: f32) -> SamplingParams {
        SamplingParams {
            temperature,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            ..SamplingParams::default()
        }
    }

    /// The definition, token by token.
    fn reference(logits: &[f32], params: &SamplingParams, uniform: f64) -> Option<usize> {
        let max = largest(logits);
        let border = border(logits, max, params);
        let weights: Vec<(usize, f64)> = border
            .parts(logits)
            .into_iter()
            .flat_map(|(first, part, floor)| {
                let kept = (first..)
                    .zip(part)
                    .filter(move |&(_, &logit)| logit >= floor);
                kept.map(|(index, &logit)| {
                    (index, f64::from(exp((logit - max) / params.temperature)))
                })
            })
            .collect();
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let found = weights.iter().find(|(_, weight)| {
            sum += weight;
            sum > uniform * total
        });
        found.map(|&(index, _)| index)
    }

    fn logits() -> impl Strategy<Value = Vec<f32>> {
        let logit = prop_oneof![4 => (-8i8..8).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY), 4 => -9.0f32..9.0];
        (proptest::collection::vec(logit, 0..2500), -9.0f32..9.0).prop_map(
            |(mut logits, possible)| {
                logits.push(possible);
                logits
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn something_possible_is_always_drawn(
            logits in logits(),
            temperature in prop_oneof![1e-40f32..1e-3, 0.1f32..5.0, Just(f32::MAX)],
            uniform in 0.0f64..1.0,
        ) {
            let drawn = draw_of(&logits, &all(temperature), uniform);
            prop_assert!(drawn.is_some_and(|index| logits[index] > f32::NEG_INFINITY));
        }

        #[test]
        fn the_one_of_the_definition_is_drawn(
            logits in logits(),
            temperature in 0.1f32..5.0,
            top_p in prop_oneof![Just(1.0f32), 0.0f32..1.0],
            min_p in prop_oneof![Just(0.0f32), 0.0f32..0.3],
            uniform in 0.0f64..1.0,
        ) {
            let params = SamplingParams { top_p, min_p, ..all(temperature) };
            let (drawn, wanted) = (draw_of(&logits, &params, uniform), reference(&logits, &params, uniform));
            prop_assert_eq!(drawn, wanted);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        // At temperature 2, weights 1, 2, 4 and 8 out of 15.
        let step = 2.0 * 2.0f32.ln();
        let logits = [0.0, step, 2.0 * step, 3.0 * step];
        let drawn = |uniform: f64| draw_of(&logits, &all(2.0), uniform).unwrap();
        for (uniform, token) in [
            (0.0, 0),
            (0.9 / 15.0, 0),
            (1.1 / 15.0, 1),
            (2.9 / 15.0, 1),
            (3.1 / 15.0, 2),
            (6.9 / 15.0, 2),
            (7.1 / 15.0, 3),
            (0.999_999, 3),
        ] {
            assert_eq!(drawn(uniform), token, "{uniform}");
        }
    }

    #[test]
    fn a_tiny_temperature_takes_the_best() {
        let logits = [1.0, 1.000_001, -5.0];
        assert_eq!(draw_of(&logits, &all(f32::MIN_POSITIVE), 0.999), Some(1));
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        assert_eq!(draw_of(&[], &all(1.0), 0.5), None);
        assert_eq!(draw_of(&[f32::NEG_INFINITY], &all(1.0), 0.5), None);
    }
}
