//! Several tokens a step: never others than without, and only where it pays.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendError, Token};
use crate::event::FinishReason;
use crate::request::Request;
use crate::scheduler::tests::{Rig, greedy, guessing, lone, prompt, toy};
use crate::speculation::Speculation;
use crate::toy::{EOS, Fault, REFRAIN, ToyConfig, noise};

/// A toy that says its prompt over and over.
fn repeating(config: ToyConfig) -> ToyConfig {
    let rule = |tokens: &[Token]| tokens[tokens.len() - REFRAIN];
    ToyConfig {
        rule: Arc::new(rule),
        ..config
    }
}

/// A rig on which a step costs as much as many tokens, so that guesses can pay.
fn rig(config: &ToyConfig, speculation: Speculation) -> Rig {
    let mut rig = Rig::with(config.clone(), guessing(speculation));
    rig.step_costs = Duration::from_millis(20);
    rig
}

#[test]
fn text_that_repeats_itself_takes_few_steps() {
    let config = repeating(toy(400, 64, 1));
    let request = greedy(prompt(1, REFRAIN), 200);
    let mut steps = Vec::new();
    for speculation in [
        Speculation::Off,
        Speculation::WhenItPays,
        Speculation::Always,
    ] {
        let mut rig = rig(&config, speculation);
        let id = rig.submit(request.clone());
        rig.run(400);
        assert_eq!(rig.heard[&id].tokens, lone(&config, &request).0);
        steps.push(rig.steps);
        rig.check_empty();
    }
    assert!(steps[0] == 200 && steps[2] <= steps[1], "{steps:?}");
    assert!(steps[1] * 4 < steps[0], "{steps:?}");
}

/// What requests take with guesses where they pay, and without.
fn times(config: &ToyConfig, step_costs: Duration, requests: &[Request]) -> [Duration; 2] {
    [Speculation::WhenItPays, Speculation::Off].map(|speculation| {
        let mut rig = Rig::with(config.clone(), guessing(speculation));
        rig.step_costs = step_costs;
        for request in requests {
            rig.submit(request.clone());
        }
        rig.run(2000);
        rig.check_empty();
        rig.took
    })
}

#[test]
fn text_that_does_not_loses_nothing() {
    let rule = |tokens: &[Token]| match noise(tokens) {
        EOS => 97,
        token => token,
    };
    let config = ToyConfig {
        rule: Arc::new(rule),
        ..toy(700, 64, 1)
    };
    let requests = [greedy(prompt(1, 50), 600)];
    let [with, without] = times(&config, Duration::from_millis(20), &requests);
    assert!(with * 100 <= without * 101, "{with:?} {without:?}");
}

#[test]
fn a_crowd_for_which_it_does_not_pay_loses_nothing() {
    let config = repeating(toy(2000, 64, 6));
    let requests: Vec<_> = (0..6)
        .map(|who| greedy(prompt(who, REFRAIN), 150))
        .collect();
    let [with, without] = times(&config, Duration::ZERO, &requests);
    assert!(with * 100 <= without * 101, "{with:?} {without:?}");
    let [with, without] = times(&config, Duration::from_millis(40), &requests);
    assert!(with * 5 <= without * 4, "{with:?} {without:?}");
}

#[test]
fn a_request_that_runs_alone_is_never_guessed_at() {
    let config = repeating(toy(400, 64, 2));
    let mut rig = rig(&config, Speculation::Always);
    let mut request = greedy(prompt(1, REFRAIN), 100);
    request.deterministic = true;
    rig.submit(request);
    rig.run(200);
    assert_eq!(rig.scheduler.drafted(), (0, 0));
}

#[test]
fn nothing_is_guessed_where_memory_cannot_be_cut() {
    let config = ToyConfig {
        prefix_reuse: false,
        ..repeating(toy(400, 64, 2))
    };
    let mut rig = rig(&config, Speculation::Always);
    rig.submit(greedy(prompt(1, REFRAIN), 100));
    rig.run(200);
    assert_eq!(rig.scheduler.drafted(), (0, 0));
}

#[test]
fn guesses_take_no_cells_from_anybody() {
    // Ninety cells: the first one's tokens leave four, and no room for a guess of eight.
    let config = repeating(toy(90, 64, 2));
    let mut rig = rig(&config, Speculation::Always);
    let request = greedy(prompt(1, REFRAIN), 70);
    let id = rig.submit(request.clone());
    rig.run(200);
    assert_eq!(rig.heard[&id].tokens, lone(&config, &request).0);
    assert_eq!(rig.scheduler.preemptions(), 0);
    rig.check_empty();
}

#[test]
fn a_full_cache_or_a_failure_with_guesses_is_tried_without() {
    for fault in [
        Fault::NoRoom,
        Fault::Error(BackendError::recoverable("too much")),
        Fault::Aborted(3),
    ] {
        let config = repeating(toy(400, 64, 2));
        let mut rig = rig(&config, Speculation::Always);
        let request = greedy(prompt(1, REFRAIN), 100);
        let id = rig.submit(request.clone());
        (0..8).for_each(|_| assert!(rig.step()));
        assert!(rig.scheduler.drafted().0 > 0);
        rig.toy.inject(fault);
        rig.run(200);
        assert_eq!(rig.heard[&id].end, Some(Ok(FinishReason::Length)));
        assert_eq!(rig.heard[&id].tokens, lone(&config, &request).0);
        rig.check_empty();
    }
}
