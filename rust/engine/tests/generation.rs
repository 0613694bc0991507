//! What one request says: tokens, text, ends, figures.

mod common;

use std::sync::Arc;

use common::{End, Stories, engine, expected, generate, greedy, saying};
use proptest::prelude::*;
use tabagent_engine::sampling::uniform;
use tabagent_engine::toy::{EOS, N_VOCAB, ToyConfig, noise};
use tabagent_engine::{FinishReason, Limits, Request, SamplingParams, SubmitError, Token};

#[test]
fn says_what_the_model_says_and_stops_where_it_stops() {
    let (engine, _) = engine(saying(2, "Hello, wörld 🦀!"));
    let story = generate(&engine, greedy(vec![1, 2], 100));
    assert_eq!(story.text(), "Hello, wörld 🦀!");
    assert_eq!(story.reason(), FinishReason::Stop);
    assert_eq!(story.started, Some((2, 0)));
    assert_eq!(story.usage().completion_tokens, "Hello, wörld 🦀!".len());
    assert!(story.pieces.contains(&"ö".to_owned()) && story.pieces.contains(&"🦀".to_owned()));
}

#[test]
fn stops_at_its_length() {
    let (engine, _) = engine(saying(1, "abcdef"));
    let story = generate(&engine, greedy(vec![1], 3));
    assert_eq!(
        (story.text().as_str(), story.reason()),
        ("abc", FinishReason::Length)
    );
}

#[test]
fn a_length_of_nothing_is_fine_and_costs_nothing() {
    let (engine, control) = engine(ToyConfig::default());
    let story = generate(&engine, greedy(vec![1, 2, 3], 0));
    assert_eq!(
        (story.text().as_str(), story.reason()),
        ("", FinishReason::Length)
    );
    assert_eq!(
        (story.usage().prompt_tokens, story.usage().completion_tokens),
        (3, 0)
    );
    assert_eq!(control.seen().decodes, 0);
}

#[test]
fn an_answer_of_no_tokens_is_an_answer() {
    let (engine, _) = engine(saying(1, ""));
    let story = generate(&engine, greedy(vec![1], 9));
    assert_eq!(
        (story.text().as_str(), story.reason(), story.pieces.len()),
        ("", FinishReason::Stop, 0)
    );
}

#[test]
fn a_full_context_ends_by_length() {
    let limits = Limits {
        n_ctx: 10,
        kv_cells: 10,
        n_batch: 4,
        n_seq_max: 1,
        n_outputs_max: 1,
        unified: true,
    };
    let config = ToyConfig {
        limits,
        ..saying(4, "abcdefghijklmnop")
    };
    let (engine, _) = engine(config);
    let story = generate(&engine, greedy(vec![1; 4], 100));
    assert_eq!(
        (story.text().as_str(), story.reason()),
        ("abcdef", FinishReason::Length)
    );
    // The longest prompt has room for one token.
    let story = generate(&engine, greedy(vec![1; 9], 100));
    assert_eq!(
        (story.usage().completion_tokens, story.reason()),
        (1, FinishReason::Length)
    );
    assert_eq!(
        engine.submit(greedy(vec![1; 10], 1)),
        Err(SubmitError::PromptTooLong {
            tokens: 10,
            limit: 9
        })
    );
}

#[test]
fn prompts_are_computed_in_batches() {
    let limits = Limits {
        n_ctx: 256,
        kv_cells: 256,
        n_batch: 16,
        n_seq_max: 1,
        n_outputs_max: 1,
        unified: true,
    };
    let (engine, control) = engine(ToyConfig {
        limits,
        ..saying(50, "x")
    });
    assert_eq!(generate(&engine, greedy(vec![7; 50], 1)).text(), "x");
    let seen = control.seen();
    assert_eq!(
        (seen.decodes, seen.entries, seen.largest_batch),
        (4, 50, 16)
    );
}

#[test]
fn ends_can_be_ignored() {
    let rule = Arc::new(|tokens: &[Token]| if tokens.len() < 3 { 97 } else { EOS });
    let (engine, _) = engine(ToyConfig {
        rule,
        ..ToyConfig::default()
    });
    assert_eq!(
        generate(&engine, greedy(vec![1], 20)).reason(),
        FinishReason::Stop
    );
    let mut request = greedy(vec![1], 20);
    request.ignore_eos = true;
    let story = generate(&engine, request);
    assert_eq!(
        (story.reason(), story.usage().completion_tokens),
        (FinishReason::Length, 20)
    );
    assert!(
        story
            .token_ids()
            .iter()
            .all(|token| ![257, 258].contains(token))
    );
}

#[test]
fn stop_strings_end_the_text_and_do_not_show() {
    for (text, stops, cut) in [
        ("one two</s>three", vec!["</s>"], "one two"),
        ("one two</s>three", vec!["s>th", "nothing"], "one two</"),
        ("aé€b", vec!["é€"], "a"),
        ("</s></s>", vec!["</s>"], ""),
        ("almost </ s>", vec!["</s>"], "almost </ s>"),
        ("ends with </s", vec!["</s>"], "ends with </s"),
    ] {
        let (engine, _) = engine(saying(1, text));
        let mut request = greedy(vec![1], 100);
        request.stop = stops.into_iter().map(String::from).collect();
        let story = generate(&engine, request);
        assert_eq!(
            (story.text().as_str(), story.reason()),
            (cut, FinishReason::Stop)
        );
    }
}

#[test]
fn log_probabilities_come_with_their_tokens() {
    let (engine, _) = engine(saying(1, "hi"));
    let mut request = greedy(vec![1], 9);
    request.logprobs = Some(3);
    let story = generate(&engine, request);
    assert_eq!(story.token_ids(), [104, 105]);
    for info in &story.tokens {
        assert_eq!(info.top.len(), 3);
        assert_eq!(
            (info.top[0].token, Some(info.top[0].logprob)),
            (info.token, info.logprob)
        );
        assert!(info.logprob.is_some_and(|logprob| logprob < 0.0));
    }
}

#[test]
fn figures_are_those_of_the_request() {
    let (engine, _) = engine(saying(3, "abc"));
    let mut request = greedy(vec![1; 3], 9);
    request.sampling.seed = 77;
    let Some(End::Finished {
        usage,
        timings,
        seed,
        ..
    }) = generate(&engine, request).end
    else {
        panic!()
    };
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens
        ),
        (3, 3, 0)
    );
    assert_eq!(seed, 77);
    assert!(timings.first_token_ms >= timings.queue_ms && timings.queue_ms >= 0.0);
    assert!(timings.prefill_tokens_per_s > 0.0 && timings.decode_tokens_per_s > 0.0);
    let totals = engine.stats().totals;
    assert_eq!(
        (
            totals.finished,
            totals.prompt_tokens,
            totals.completion_tokens
        ),
        (1, 3, 3)
    );
    assert_eq!(totals.steps, 4);
}

fn sampled(prompt: Vec<Token>, seed: u64) -> Request {
    let sampling = SamplingParams {
        seed,
        temperature: 2.0,
        top_p: 1.0,
        min_p: 0.0,
        ..SamplingParams::default()
    };
    Request {
        sampling,
        ignore_eos: true,
        ..Request::new(prompt, 40)
    }
}

#[test]
fn seeds_replay_and_differ() {
    let (first, _) = engine(ToyConfig::default());
    let (second, _) = engine(ToyConfig::default());
    let story = generate(&first, sampled(vec![5, 6], 1));
    assert_eq!(story.token_ids().len(), 40);
    assert_eq!(
        generate(&second, sampled(vec![5, 6], 1)).token_ids(),
        story.token_ids()
    );
    assert_ne!(
        generate(&second, sampled(vec![5, 6], 2)).token_ids(),
        story.token_ids()
    );
}

/// Leaves two tokens, the one as likely as the other.
fn between(first: Token, second: Token) -> Request {
    let mut request = Request::new(vec![5, 6], 40);
    request.sampling.logit_bias = vec![(first, f32::INFINITY), (second, f32::INFINITY)];
    request
}

#[test]
fn each_draw_is_that_of_its_position() {
    let (engine, _) = engine(ToyConfig::default());
    let mut request = between(98, 99);
    request.sampling = SamplingParams {
        seed: 3,
        temperature: 1e9,
        top_p: 1.0,
        min_p: 0.0,
        ..request.sampling
    };
    let wanted = (2..42).map(|position| if uniform(3, position) < 0.5 { 98 } else { 99 });
    assert_eq!(
        generate(&engine, request).token_ids(),
        wanted.collect::<Vec<Token>>()
    );
}

#[test]
fn penalties_see_prompt_and_completion() {
    let (engine, _) = engine(ToyConfig::default());
    let mut request = between(98, 99);
    request.prompt = vec![5, 98];
    request.sampling = SamplingParams {
        temperature: 0.0,
        presence_penalty: 1000.0,
        repeat_last_n: 1,
        ..request.sampling
    };
    let wanted = [99, 98].repeat(20);
    assert_eq!(generate(&engine, request).token_ids(), wanted);
}

#[test]
fn a_stream_can_be_taken_up_from_its_tokens() {
    let (engine, _) = engine(ToyConfig::default());
    let whole = generate(&engine, sampled(vec![5, 6], 9)).token_ids();
    for cut in [0, 1, 17, 39] {
        let prompt = [&[5, 6], &whole[..cut]].concat();
        let mut request = sampled(prompt, 9);
        request.max_tokens = (40 - cut) as u32;
        assert_eq!(generate(&engine, request).token_ids(), whole[cut..]);
    }
}

proptest! {
    /// Any prompt, split into any batches, with any stop strings, says what the rule says.
    #[test]
    fn follows_the_rule(
        prompt in proptest::collection::vec(0..N_VOCAB as Token, 1..40),
        stop in proptest::collection::vec("[a-e ]{1,2}| the|é|</s>", 0..3),
        max_tokens in 0u32..120,
        n_ctx in 41u32..120,
        n_batch in 1u32..20,
        sparse in any::<bool>(),
    ) {
        let limits = Limits { n_ctx, kv_cells: n_ctx, n_batch, n_seq_max: 1, n_outputs_max: 1, unified: true };
        let rule: tabagent_engine::toy::Rule = if sparse { Arc::new(|tokens| noise(&tokens[tokens.len() - 1..])) } else { Arc::new(noise) };
        let config = ToyConfig { limits, rule: Arc::clone(&rule), ..ToyConfig::default() };
        let mut request = greedy(prompt, max_tokens);
        request.stop = stop;
        let wanted = expected(&rule, &request, limits);
        let (engine, control) = engine(config);
        let id = engine.submit(request).unwrap();
        let mut stories = Stories::default();
        let story = stories.finish(&engine, id);
        prop_assert_eq!(story.text(), wanted.text);
        prop_assert_eq!(story.token_ids(), wanted.tokens);
        prop_assert_eq!(story.reason(), wanted.reason);
        prop_assert!(control.seen().largest_batch <= n_batch as usize);
    }
}
