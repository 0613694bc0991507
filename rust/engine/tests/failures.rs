//! Backends that fail, and engines that live on or say why they can't.

mod common;

use common::{Stories, engine, generate, greedy, saying};
use tabagent_engine::toy::{Fault, ToyConfig};
use tabagent_engine::{BackendError, FinishReason, Limits, SubmitError};

#[test]
fn a_failed_decode_fails_its_request_only() {
    let (engine, control) = engine(saying(1, "abc"));
    control.inject(None);
    control.inject(Fault::Error(BackendError::recoverable("out of luck")));
    let story = generate(&engine, greedy(vec![1], 9));
    assert_eq!((story.error(), story.text().as_str()), ("out of luck", "a"));
    assert_eq!(control.seen().cells, 0);
    assert_eq!(generate(&engine, greedy(vec![1], 9)).text(), "abc");
    assert_eq!(engine.stats().totals.failed, 1);
}

#[test]
fn logits_that_are_no_numbers_fail_the_request_only() {
    for temperature in [0.0, 0.7] {
        let (engine, control) = engine(saying(1, "abc"));
        control.inject(Fault::Nan);
        let mut request = greedy(vec![1], 9);
        request.sampling.temperature = temperature;
        assert!(generate(&engine, request).error().contains("NaN"));
        assert_eq!(generate(&engine, greedy(vec![1], 9)).text(), "abc");
    }
}

#[test]
fn a_bias_that_leaves_nothing_fails_the_request_only() {
    let (engine, _) = engine(saying(1, "abc"));
    let mut request = greedy(vec![1], 9);
    request.sampling.logit_bias = vec![(257, f32::INFINITY)];
    request.ignore_eos = true;
    assert!(generate(&engine, request).error().contains("logit_bias"));
    assert_eq!(generate(&engine, greedy(vec![1], 9)).text(), "abc");
}

#[test]
fn after_a_fatal_failure_the_engine_says_so() {
    let (engine, control) = engine(saying(1, "abc"));
    control.hold();
    control.inject(Fault::Error(BackendError::fatal("the device is lost")));
    let ids = [0, 0, 0].map(|_| engine.submit(greedy(vec![1], 9)).unwrap());
    control.wait_until_held();
    control.release();
    let mut stories = Stories::default();
    for id in ids {
        assert_eq!(stories.finish(&engine, id).error(), "the device is lost");
    }
    assert!(!engine.wait(None));
    let refused = SubmitError::Unusable {
        reason: "the device is lost".into(),
    };
    assert_eq!(engine.submit(greedy(vec![1], 9)), Err(refused.clone()));
    assert_eq!(engine.stats().unusable, Some(refused.to_string()));
    engine.shutdown();
    assert!(control.seen().dropped);
    assert_eq!(engine.submit(greedy(vec![1], 9)), Err(refused));
}

#[test]
fn a_panic_loses_no_request() {
    let (engine, control) = engine(saying(1, "abc"));
    control.hold();
    control.inject(None);
    control.inject(Fault::Panic);
    let ids = [0, 0, 0].map(|_| engine.submit(greedy(vec![1], 9)).unwrap());
    control.wait_until_held();
    control.release();
    let mut stories = Stories::default();
    let texts = ids.map(|id| {
        let story = stories.finish(&engine, id);
        assert!(story.error().contains("told to panic"), "{}", story.error());
        story.text()
    });
    assert_eq!(texts, ["a", "", ""]);
    assert!(matches!(
        engine.submit(greedy(vec![1], 9)),
        Err(SubmitError::Unusable { .. })
    ));
}

#[test]
fn a_full_cache_ends_a_decode_and_fails_a_prefill() {
    let (engine, control) = engine(saying(1, "abc"));
    control.inject(None);
    control.inject(Fault::NoRoom);
    let story = generate(&engine, greedy(vec![1], 9));
    assert_eq!(
        (story.text().as_str(), story.reason()),
        ("a", FinishReason::Length)
    );
    control.inject(Fault::NoRoom);
    let story = generate(&engine, greedy(vec![1], 9));
    assert!(story.error().contains("256 cells"), "{}", story.error());
    assert_eq!(generate(&engine, greedy(vec![1], 9)).text(), "abc");
}

#[test]
fn few_cells_bound_the_context() {
    let limits = Limits {
        n_ctx: 100,
        kv_cells: 6,
        n_batch: 4,
        n_seq_max: 1,
        n_outputs_max: 1,
        unified: true,
    };
    let (engine, _) = engine(ToyConfig {
        limits,
        ..saying(3, "abcdefgh")
    });
    let story = generate(&engine, greedy(vec![1; 3], 99));
    assert_eq!(
        (story.text().as_str(), story.reason()),
        ("abc", FinishReason::Length)
    );
}
