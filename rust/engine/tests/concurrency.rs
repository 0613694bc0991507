//! Many callers at once: nothing is lost, repeated or mixed up.

mod common;

use std::sync::Mutex;

use common::{End, Stories, bounded_engine, engine, expected, greedy};
use proptest::prelude::*;
use tabagent_engine::toy::{Fault, N_VOCAB, ToyConfig};
use tabagent_engine::{FinishReason, Request, RequestId, SubmitError, Token};

/// A prompt that no other request has.
fn prompt(caller: usize, number: usize) -> Vec<Token> {
    vec![caller as Token, number as Token, 7, 7, 7]
}

#[test]
fn sixteen_callers_are_all_answered() {
    let config = ToyConfig::default();
    let (engine, control) = engine(config.clone());
    let asked: Mutex<Vec<(RequestId, Request)>> = Mutex::default();
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let (engine, asked) = (&engine, &asked);
            scope.spawn(move || {
                for number in 0..8 {
                    let request = Request {
                        identity: caller as u64,
                        ..greedy(prompt(caller, number), 30)
                    };
                    let id = engine.submit(request.clone()).unwrap();
                    asked.lock().unwrap().push((id, request));
                }
            });
        }
    });
    let mut stories = Stories::default();
    for (id, request) in asked.into_inner().unwrap() {
        let story = stories.finish(&engine, id);
        let wanted = expected(&config.rule, &request, config.limits);
        assert_eq!(
            (story.text(), story.token_ids(), story.reason()),
            (wanted.text, wanted.tokens, wanted.reason)
        );
    }
    assert_eq!(stories.len(), 0, "events of requests that nobody made");
    assert_eq!(engine.stats().totals.finished, 128);
    assert_eq!(
        (
            engine.stats().queued,
            engine.stats().running,
            engine.stats().events_waiting
        ),
        (0, 0, 0)
    );
    assert!(
        control.seen().cells <= 35,
        "more than one sequence was left behind"
    );
}

#[test]
fn callers_that_cancel_what_they_ask_for_are_all_told() {
    let (engine, control) = engine(ToyConfig::default());
    let asked: Mutex<Vec<RequestId>> = Mutex::default();
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let (engine, asked) = (&engine, &asked);
            scope.spawn(move || {
                for number in 0..12 {
                    let id = engine.submit(greedy(prompt(caller, number), 30)).unwrap();
                    asked.lock().unwrap().push(id);
                    engine.cancel(id);
                }
            });
        }
        // Someone who drains all the while.
        let mut stories = Stories::default();
        for _ in 0..1000 {
            stories.drain(&engine);
        }
        engine.submit(greedy(vec![1], 1)).unwrap();
    });
    engine.shutdown();
    let totals = engine.stats().totals;
    assert_eq!(totals.finished + totals.cancelled, 16 * 12 + 1);
    assert_eq!(totals.failed, 0);
    assert!(control.seen().dropped);
}

#[test]
fn many_sequences_answer_sixteen_callers_as_one_does() {
    let mut config = ToyConfig::default();
    config.limits.n_seq_max = 8;
    config.limits.n_outputs_max = 16;
    let (engine, control) = engine(config.clone());
    let requests: Vec<Request> = (0..64)
        .map(|number| greedy(prompt(number % 16, number / 16), 30))
        .collect();
    let ids: Vec<RequestId> = requests
        .iter()
        .map(|request| engine.submit(request.clone()).unwrap())
        .collect();
    let mut stories = Stories::default();
    for (id, request) in ids.into_iter().zip(&requests) {
        let story = stories.finish(&engine, id);
        let wanted = expected(&config.rule, request, config.limits);
        assert_eq!((story.text(), story.reason()), (wanted.text, wanted.reason));
    }
    let seen = control.seen();
    assert!(seen.largest_batch > 8, "decodes and prompts in one batch");
    assert!(seen.cells <= 256);
}

#[test]
fn who_is_paused_says_nothing_until_it_is_resumed() {
    let mut config = common::saying(1, "abcdef");
    config.limits.n_seq_max = 2;
    config.limits.n_outputs_max = 2;
    let (engine, control) = engine(config);
    control.hold();
    let paused = engine.submit(greedy(vec![1], 9)).unwrap();
    control.wait_until_held();
    let other = engine.submit(greedy(vec![2], 9)).unwrap();
    assert!(engine.pause(paused));
    control.release();
    let mut stories = Stories::default();
    assert_eq!(stories.finish(&engine, other).text(), "abcdef");
    assert_eq!(engine.stats().running, 1);
    assert!(engine.resume(paused));
    assert_eq!(stories.finish(&engine, paused).text(), "abcdef");
    assert!(
        !engine.pause(paused) && !engine.resume(paused),
        "it has ended"
    );
}

#[test]
fn who_is_paused_can_be_cancelled() {
    let (engine, control) = engine(common::saying(1, "abcdef"));
    control.hold();
    let id = engine.submit(greedy(vec![1], 9)).unwrap();
    control.wait_until_held();
    assert!(engine.pause(id));
    control.release();
    assert!(engine.cancel(id));
    let story = Stories::default().finish(&engine, id);
    assert_eq!(story.reason(), FinishReason::Cancelled);
    assert_eq!(control.seen().cells, 0);
}

/// What a caller does.
#[derive(Debug, Clone)]
enum Act {
    Submit {
        prompt: Vec<Token>,
        max_tokens: u32,
        priority: i8,
        identity: u64,
        prefix_cache: bool,
    },
    /// Cancels the n-th of those submitted so far.
    Cancel(prop::sample::Index),
    Pause(prop::sample::Index),
    Resume(prop::sample::Index),
    /// Lets a decode go on, if one is held.
    Inject(Option<Fault>),
    Drain,
    Hold,
    Release,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let prompt =
        proptest::collection::vec(prop_oneof![4 => Just(7), 1 => 0..N_VOCAB as Token], 1..50);
    let submit = (prompt, 0u32..40, -2i8..3, 0u64..2, any::<bool>()).prop_map(
        |(prompt, max_tokens, priority, identity, prefix_cache)| Act::Submit {
            prompt,
            max_tokens,
            priority,
            identity,
            prefix_cache,
        },
    );
    let fault = proptest::option::of((0usize..20).prop_map(Fault::Aborted));
    proptest::collection::vec(
        prop_oneof![
            6 => submit,
            3 => any::<prop::sample::Index>().prop_map(Act::Cancel),
            2 => any::<prop::sample::Index>().prop_map(Act::Pause),
            1 => any::<prop::sample::Index>().prop_map(Act::Resume),
            2 => fault.prop_map(Act::Inject),
            1 => Just(Act::Drain),
            1 => Just(Act::Hold),
            2 => Just(Act::Release),
        ],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_callers_do_each_request_has_one_right_story(acts in acts(), n_seq_max in 1u32..5) {
        let mut config = ToyConfig::default();
        config.limits.n_seq_max = n_seq_max;
        config.limits.n_outputs_max = n_seq_max + 4;
        let (engine, control) = bounded_engine(config.clone(), 6);
        let mut stories = Stories::default();
        let mut asked: Vec<(RequestId, Request, bool)> = Vec::new();
        for act in acts {
            match act {
                Act::Submit { prompt, max_tokens, priority, identity, prefix_cache } => {
                    let request = Request { priority, identity, prefix_cache, ..greedy(prompt, max_tokens) };
                    match engine.submit(request.clone()) {
                        Ok(id) => asked.push((id, request, false)),
                        Err(SubmitError::Overloaded { queue_depth, .. }) => prop_assert_eq!(queue_depth, 6),
                        Err(error) => prop_assert!(false, "{}", error),
                    }
                }
                Act::Cancel(index) if !asked.is_empty() => {
                    let (id, _, cancelled) = index.get(&asked).clone();
                    let known = engine.cancel(id);
                    let entry = asked.iter_mut().find(|(other, ..)| *other == id).unwrap();
                    entry.2 = cancelled || known;
                }
                Act::Pause(index) if !asked.is_empty() => {
                    engine.pause(index.get(&asked).0);
                }
                Act::Resume(index) if !asked.is_empty() => {
                    engine.resume(index.get(&asked).0);
                }
                Act::Cancel(_) | Act::Pause(_) | Act::Resume(_) => {}
                Act::Inject(fault) => control.inject(fault),
                Act::Drain => stories.drain(&engine),
                Act::Hold => control.hold(),
                Act::Release => control.release(),
            }
        }
        control.release();
        asked.iter().for_each(|(id, ..)| {
            engine.resume(*id);
        });
        for (id, request, cancelled) in asked {
            let story = stories.finish(&engine, id);
            let wanted = expected(&config.rule, &request, config.limits);
            let Some(End::Finished { reason, .. }) = story.end else { panic!("{:?}", story.end) };
            if reason == FinishReason::Cancelled {
                prop_assert!(cancelled);
                prop_assert!(wanted.text.starts_with(&story.text()));
                prop_assert!(wanted.tokens.starts_with(&story.token_ids()));
            } else {
                prop_assert_eq!(story.text(), wanted.text);
                prop_assert_eq!(story.token_ids(), wanted.tokens);
                prop_assert_eq!(reason, wanted.reason);
            }
        }
        prop_assert_eq!(stories.len(), 0);
        engine.shutdown();
        prop_assert!(engine.drain().is_empty());
    }
}
