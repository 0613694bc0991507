//! Contexts that are full: the answer goes on without the older half of it, and nobody else notices.

use crate::event::FinishReason;
use crate::request::{Request, SamplingParams};
use crate::sampling::Sampler;
use crate::scheduler::tests::{Rig, endless, greedy, guessing, lone, prompt, settings, toy};
use crate::speculation::Speculation;
use crate::toy::{EOS, EOT, SAVED_BYTES, ToyConfig, logits_after};

fn shifting(prompt: Vec<i32>, max_tokens: u32) -> Request {
    Request {
        context_shift: Some(10),
        ..greedy(prompt, max_tokens)
    }
}

/// A context of 64 tokens within so many cells.
fn config(cells: u32) -> ToyConfig {
    let mut config = endless(toy(cells, 32, 4));
    config.limits.n_ctx = 64;
    config
}

#[test]
fn an_answer_goes_on_past_the_end_of_its_context() {
    let config = config(64);
    let mut rig = Rig::new(config.clone());
    let request = shifting(prompt(1, 30), 300);
    let id = rig.submit(request.clone());
    rig.run(310);
    let heard = &rig.heard[&id];
    assert_eq!(heard.tokens, lone(&config, &request).0);
    assert_eq!(heard.tokens.len(), 300);
    assert_eq!(heard.end, Some(Ok(FinishReason::Length)));
    // 27 tokens go each time, and nothing is computed anew.
    assert_eq!(rig.scheduler.shifts(), 10);
    assert_eq!(rig.toy.seen().entries, 30 + 299);
    rig.check_empty();
}

#[test]
fn without_being_asked_or_able_it_ends_for_its_length() {
    let unable = ToyConfig {
        can_shift: false,
        ..config(64)
    };
    let unasked = greedy(prompt(1, 30), 300);
    for (config, request) in [
        (config(64), unasked),
        (unable, shifting(prompt(1, 30), 300)),
    ] {
        let mut rig = Rig::new(config);
        let id = rig.submit(request);
        rig.run(100);
        assert_eq!(rig.heard[&id].tokens.len(), 34);
        assert_eq!(rig.heard[&id].end, Some(Ok(FinishReason::Length)));
        rig.check_empty();
    }
}

#[test]
fn a_context_too_short_to_be_halved_ends_for_its_length() {
    for longest in 2..=8 {
        let mut config = config(64);
        config.limits.n_ctx = longest;
        let mut rig = Rig::new(config.clone());
        let id = rig.submit(shifting(prompt(1, 1), 30));
        rig.run(100);
        let said = if longest < 8 {
            longest as usize - 1
        } else {
            30
        };
        assert_eq!(rig.heard[&id].tokens.len(), said, "of {longest} tokens");
        assert_eq!(rig.heard[&id].end, Some(Ok(FinishReason::Length)));
        rig.check_empty();
    }
}

#[test]
fn what_is_shared_stays_where_it_is() {
    let config = config(256);
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..3)
        .map(|own| {
            let mut prompt = prompt(1, 50);
            prompt.push(200 + own);
            shifting(prompt, 100)
        })
        .collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    rig.run(400);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    assert!(rig.toy.seen().copies >= 2);
    assert!(rig.scheduler.shifts() >= 9);
    rig.check_empty();
}

#[test]
fn only_what_was_computed_without_the_dropped_serves_others() {
    let config = config(256);
    let mut rig = Rig::new(config.clone());
    let first = shifting(prompt(1, 30), 60);
    let id = rig.submit(first.clone());
    rig.run(100);
    // What its cache holds now: the first ten tokens, and what it said last.
    let said = &rig.heard[&id].tokens;
    let mut alike: Vec<i32> = first.prompt[..10].to_vec();
    let sequence = [&first.prompt[..], said].concat();
    alike.extend(&sequence[10 + 27..10 + 27 + 20]);
    let second = rig.submit(greedy(alike, 5));
    rig.run(100);
    assert_eq!(rig.heard[&second].cached, Some(10));
    rig.check_empty();
}

#[test]
fn nothing_but_the_public_beginning_passes_to_others() {
    let config = config(256);
    let mut rig = Rig::new(config.clone());
    let request = Request {
        identity: 1,
        public_prefix: 50,
        ..shifting(prompt(1, 50), 60)
    };
    rig.submit(request.clone());
    rig.run(200);
    let other = rig.submit(Request {
        identity: 2,
        ..request
    });
    rig.run(200);
    assert_eq!(rig.heard[&other].cached, Some(10));
    rig.check_empty();
}

#[test]
fn who_gives_way_after_a_shift_is_computed_anew_from_what_is_left() {
    for spilled in [0, 1000] {
        let config = config(150);
        let engine = crate::engine::EngineConfig {
            spill_bytes: spilled * SAVED_BYTES,
            ..settings()
        };
        let mut rig = Rig::with(config.clone(), engine);
        let requests: Vec<_> = (0..4).map(|who| shifting(prompt(who, 20), 150)).collect();
        let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
        rig.run(2000);
        for (id, request) in ids.iter().zip(&requests) {
            assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
        }
        assert!(rig.scheduler.preemptions() > 0 && rig.scheduler.shifts() > 8);
        rig.check_empty();
    }
}

#[test]
fn guesses_go_on_after_a_shift() {
    let config = ToyConfig {
        rule: std::sync::Arc::new(crate::toy::refrain),
        ..config(128)
    };
    let mut rig = Rig::with(config.clone(), guessing(Speculation::Always));
    for who in 0..6 {
        let request = shifting(prompt(who, 30), 200);
        let id = rig.submit(request.clone());
        rig.run(300);
        assert_eq!(rig.heard[&id].tokens, lone(&config, &request).0);
    }
    assert!(rig.scheduler.shifts() > 0 && rig.scheduler.drafted().1 > 0);
    rig.check_empty();
}

#[test]
fn draws_go_on_counting_positions_after_a_shift() {
    let config = config(64);
    let request = Request {
        sampling: SamplingParams {
            temperature: 3.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 7,
            ..SamplingParams::default()
        },
        ignore_eos: true,
        ..shifting(prompt(1, 30), 80)
    };
    let mut rig = Rig::new(config.clone());
    let id = rig.submit(request.clone());
    rig.run(100);
    let mut sampler = Sampler::new(request.sampling, &[EOS, EOT], None);
    let mut sequence = request.prompt;
    let expected: Vec<i32> = (30..110)
        .map(|position| {
            if sequence.len() == 64 {
                sequence.drain(10..10 + 27);
            }
            let logits = logits_after((config.rule)(&sequence), &sequence);
            let token = sampler.sample(&logits, position).unwrap().token;
            sequence.push(token);
            token
        })
        .collect();
    assert_eq!(rig.heard[&id].tokens, expected);
    rig.check_empty();
}
