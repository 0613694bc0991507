//! Cancelling in every state, and what it frees.

mod common;

use std::time::{Duration, Instant};

use common::{End, Stories, bounded_engine, engine, generate, greedy, saying};
use tabagent_engine::toy::{Fault, ToyConfig};
use tabagent_engine::{FinishReason, Request, SubmitError};

#[test]
fn a_request_that_waits_is_cancelled_at_once() {
    let (engine, control) = engine(saying(1, "abc"));
    let mut stories = Stories::default();
    control.hold();
    let running = engine.submit(greedy(vec![1], 9)).unwrap();
    control.wait_until_held();
    let waiting = engine.submit(greedy(vec![1, 2], 9)).unwrap();
    assert_eq!((engine.stats().queued, engine.stats().running), (1, 1));
    assert!(engine.cancel(waiting));
    // The other one is still held: its end can't have been waited for.
    let story = stories.finish(&engine, waiting);
    assert_eq!(
        (story.reason(), story.usage().prompt_tokens, story.started),
        (FinishReason::Cancelled, 2, None)
    );
    assert!(!engine.cancel(waiting));
    control.release();
    assert_eq!(stories.finish(&engine, running).text(), "abc");
}

#[test]
fn a_prefill_is_stopped_in_its_batch() {
    let (engine, control) = engine(saying(100, "abc"));
    control.hold();
    let id = engine.submit(greedy(vec![1; 100], 9)).unwrap();
    control.wait_until_held();
    control.step();
    control.step();
    assert_eq!(control.seen().cells, 32);
    assert!(engine.cancel(id));
    let story = Stories::default().finish(&engine, id);
    assert_eq!(
        (story.reason(), story.text().as_str()),
        (FinishReason::Cancelled, "")
    );
    assert_eq!((control.seen().cells, control.seen().aborted), (0, 1));
}

#[test]
fn a_decode_is_stopped_and_what_was_said_stays() {
    let (engine, control) = engine(saying(4, "abcdefgh"));
    control.hold();
    let id = engine.submit(greedy(vec![1; 4], 9)).unwrap();
    control.wait_until_held();
    (0..3).for_each(|_| control.step());
    assert!(engine.cancel(id));
    // Twice does no harm, whether the first time has taken effect or not.
    let _ = engine.cancel(id);
    let story = Stories::default().finish(&engine, id);
    assert_eq!(
        (story.reason(), story.text().as_str()),
        (FinishReason::Cancelled, "abc")
    );
    assert_eq!(story.usage().completion_tokens, 3);
    assert_eq!(control.seen().cells, 0);
    control.release();
    assert_eq!(generate(&engine, greedy(vec![1; 4], 9)).text(), "abcdefgh");
}

#[test]
fn unknown_and_ended_requests_cannot_be_cancelled() {
    let (engine, _) = engine(saying(1, "a"));
    assert!(!engine.cancel(1));
    let id = engine.submit(greedy(vec![1], 9)).unwrap();
    Stories::default().finish(&engine, id);
    assert!(!engine.cancel(id));
}

#[test]
fn a_decode_that_stops_by_itself_loses_and_repeats_nothing() {
    let text = "The quick brown fox.";
    for after in 0..6 {
        let (engine, control) = engine(saying(40, text));
        // In each of the three batches of the prefill, and in decodes.
        for batch in 0..6 {
            control.inject((batch % 2 == 0).then_some(Fault::Aborted(after)));
        }
        let story = generate(&engine, greedy(vec![3; 40], 99));
        assert_eq!(
            (story.text().as_str(), story.reason()),
            (text, FinishReason::Stop),
            "after {after}"
        );
    }
}

#[test]
fn without_cutting_a_stopped_sequence_is_computed_anew() {
    let (engine, control) = engine(ToyConfig {
        prefix_reuse: false,
        ..saying(4, "abc")
    });
    control.inject(Fault::Aborted(4));
    assert_eq!(generate(&engine, greedy(vec![3; 4], 9)).text(), "abc");
}

#[test]
fn the_queue_is_bounded_by_those_that_wait() {
    let (engine, control) = bounded_engine(saying(1, "ab"), 2);
    control.hold();
    let mut ids = vec![engine.submit(greedy(vec![1], 9)).unwrap()];
    control.wait_until_held();
    ids.push(engine.submit(greedy(vec![1], 9)).unwrap());
    ids.push(engine.submit(greedy(vec![1], 9)).unwrap());
    assert!(matches!(
        engine.submit(greedy(vec![1], 9)),
        Err(SubmitError::Overloaded { queue_depth: 2, .. })
    ));
    assert!(engine.cancel(ids.remove(1)));
    ids.push(engine.submit(greedy(vec![1], 9)).unwrap());
    control.release();
    let mut stories = Stories::default();
    for id in ids {
        assert_eq!(stories.finish(&engine, id).text(), "ab");
    }
}

#[test]
fn priorities_leave_the_queue_first() {
    let (engine, control) = engine(saying(1, "a"));
    control.hold();
    let mut ids = vec![engine.submit(greedy(vec![1], 9)).unwrap()];
    control.wait_until_held();
    for priority in [0, -5, 7] {
        let mut request = greedy(vec![1], 9);
        request.priority = priority;
        ids.push(engine.submit(request).unwrap());
    }
    control.release();
    let mut ended = Vec::new();
    while ended.len() < 4 {
        assert!(engine.wait(None));
        ended.extend(
            engine
                .drain()
                .iter()
                .filter(|event| event.is_last())
                .map(|event| event.id()),
        );
    }
    assert_eq!(ended, [ids[0], ids[3], ids[1], ids[2]]);
}

#[test]
fn shutting_down_ends_everything_and_frees_the_backend() {
    let (engine, control) = engine(saying(1, "abc"));
    control.hold();
    let running = engine.submit(greedy(vec![1], 9)).unwrap();
    control.wait_until_held();
    let waiting = engine.submit(greedy(vec![1], 9)).unwrap();
    std::thread::scope(|scope| {
        (0..3).for_each(|_| {
            scope.spawn(|| engine.shutdown());
        });
    });
    assert!(control.seen().dropped);
    let mut stories = Stories::default();
    for id in [running, waiting] {
        assert_eq!(
            stories.finish(&engine, id).reason(),
            FinishReason::Cancelled
        );
    }
    assert_eq!(
        engine.submit(greedy(vec![1], 9)),
        Err(SubmitError::ShutDown)
    );
    assert!(!engine.wait(None), "nothing can come any more");
    assert_eq!(engine.stats().totals.cancelled, 2);
}

#[test]
fn dropping_an_engine_stops_its_decode() {
    let (engine, control) = engine(saying(1, "abc"));
    control.hold();
    engine.submit(greedy(vec![1], 9)).unwrap();
    control.wait_until_held();
    drop(engine);
    assert!(control.seen().dropped);
    assert_eq!(control.seen().aborted, 1);
}

#[test]
fn an_end_is_an_end() {
    // The story checks that nothing follows it.
    let (engine, _) = engine(saying(1, "abc"));
    let story = generate(&engine, greedy(vec![1], 9));
    assert!(matches!(story.end, Some(End::Finished { .. })));
    engine.shutdown();
    assert!(engine.drain().is_empty());
}

#[test]
fn who_is_late_in_the_queue_is_never_computed() {
    let (engine, control) = engine(saying(1, "ab"));
    let mut stories = Stories::default();
    control.hold();
    let running = engine.submit(greedy(vec![1], 9)).unwrap();
    control.wait_until_held();
    let late = Request {
        deadline: Some(Instant::now()),
        ..greedy(vec![1; 20], 9)
    };
    let late = engine.submit(late).unwrap();
    let in_time = Request {
        deadline: Some(Instant::now() + Duration::from_secs(600)),
        ..greedy(vec![1], 9)
    };
    let in_time = engine.submit(in_time).unwrap();
    control.release();
    let story = stories.finish(&engine, late);
    assert_eq!(
        (story.reason(), story.started, story.usage().prompt_tokens),
        (FinishReason::Timeout, None, 20)
    );
    assert_eq!(stories.finish(&engine, running).text(), "ab");
    assert_eq!(stories.finish(&engine, in_time).text(), "ab");
    let seen = control.seen();
    assert_eq!(seen.entries, 6, "only the other two's tokens");
}
