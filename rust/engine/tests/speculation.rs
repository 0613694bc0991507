//! With guesses an answer is the same as without, whatever was asked for.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{Story, generate};
use proptest::prelude::*;
use tabagent_engine::toy::{Toy, ToyConfig, refrain};
use tabagent_engine::{Engine, EngineConfig, Limits, Request, SamplingParams, Speculation};

fn limits(n_outputs_max: u32) -> Limits {
    Limits {
        n_ctx: 160,
        kv_cells: 200,
        n_batch: 24,
        n_seq_max: 1,
        n_outputs_max,
        unified: true,
    }
}

fn story(request: Request, n_outputs_max: u32, config: EngineConfig) -> (Story, u64) {
    let (toy, _) = Toy::new(ToyConfig {
        limits: limits(n_outputs_max),
        rule: Arc::new(refrain),
        ..ToyConfig::default()
    });
    let engine = Engine::spawn(toy, config).unwrap();
    let story = generate(&engine, request);
    let drafted = engine.stats().totals.drafted;
    (story, drafted)
}

fn requests() -> impl Strategy<Value = Request> {
    let sampling = (
        prop_oneof![Just(0.0f32), 0.05f32..1.5],
        prop_oneof![Just(0u32), 1u32..5],
        prop_oneof![Just(1.0f32), 0.9f32..1.3],
        -0.5f32..0.5,
        proptest::collection::vec((0..270i32, -3.0f32..3.0), 0..4),
        any::<u64>(),
    );
    let sampling = sampling.prop_map(
        |(temperature, top_k, repeat_penalty, frequency_penalty, logit_bias, seed)| {
            SamplingParams {
                temperature,
                top_k,
                repeat_penalty,
                frequency_penalty,
                logit_bias,
                seed,
                ..SamplingParams::default()
            }
        },
    );
    (
        proptest::collection::vec(97..123i32, 12..40),
        0u32..140,
        sampling,
        proptest::collection::vec("[a-z]{2,3}", 0..3),
        any::<bool>(),
        proptest::option::of(0u8..4),
    )
        .prop_map(
            |(prompt, max_tokens, sampling, stop, ignore_eos, logprobs)| Request {
                sampling,
                stop,
                ignore_eos,
                logprobs,
                ..Request::new(prompt, max_tokens)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_answer_is_the_same_with_and_without(
        request in requests(), longest_draft in 1u32..20, n_outputs_max in 2u32..24,
    ) {
        let config = |speculation| EngineConfig { speculation, longest_draft, ..EngineConfig::default() };
        let (without, none) = story(request.clone(), n_outputs_max, config(Speculation::Off));
        let (with, _) = story(request, n_outputs_max, config(Speculation::Always));
        prop_assert_eq!(none, 0);
        prop_assert_eq!(with.text(), without.text());
        prop_assert_eq!(&with.tokens, &without.tokens);
        prop_assert_eq!((with.reason(), with.usage()), (without.reason(), without.usage()));
    }
}

#[test]
fn guesses_are_made_at_all() {
    let mut request = Request::new((97..109).collect(), 100);
    request.sampling.temperature = 0.0;
    request.ignore_eos = true;
    let config = EngineConfig {
        speculation: Speculation::Always,
        ..EngineConfig::default()
    };
    let (story, drafted) = story(request, 16, config);
    assert_eq!(story.tokens.len(), 100);
    assert!(drafted > 50, "{drafted}");
}
