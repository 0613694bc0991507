//! Few cells for many: cached prefixes go, then the youngest gives way, and nobody fails.

use crate::backend::BackendError;
use crate::event::FinishReason;
use crate::inbox::Control;
use crate::scheduler::tests::{Rig, endless, greedy, lone, prompt, toy};
use crate::toy::Fault;

#[test]
fn the_youngest_gives_way_and_comes_again() {
    let config = endless(toy(200, 32, 4));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..4).map(|who| greedy(prompt(who, 20), 100)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    rig.run(400);
    for (id, request) in ids.iter().zip(&requests) {
        let heard = &rig.heard[id];
        assert_eq!(heard.end, Some(Ok(FinishReason::Length)));
        assert_eq!(heard.tokens, lone(&config, request).0);
    }
    assert!(rig.scheduler.preemptions() > 0);
    let steps = &rig.heard[&ids[0]].steps;
    assert_eq!(
        steps.last().unwrap() - steps[0],
        99,
        "the oldest never stopped"
    );
    rig.check_empty();
}

#[test]
fn a_prompt_that_has_no_room_waits_and_is_not_overtaken() {
    let mut rig = Rig::new(endless(toy(200, 32, 4)));
    let first = rig.submit(greedy(prompt(1, 100), 50));
    rig.step();
    let large = rig.submit(greedy(prompt(2, 120), 5));
    let small = rig.submit(greedy(prompt(3, 5), 5));
    rig.run(200);
    let at = |id, first: bool| {
        let steps = &rig.heard[&id].steps;
        if first {
            steps[0]
        } else {
            steps[steps.len() - 1]
        }
    };
    assert!(at(large, true) > at(first, false));
    assert!(at(small, true) > at(first, false));
    assert_eq!(rig.scheduler.preemptions(), 0);
    rig.check_empty();
}

#[test]
fn cached_prefixes_go_before_anybody_has_to() {
    let mut rig = Rig::new(endless(toy(200, 32, 4)));
    for who in 0..3 {
        rig.submit(greedy(prompt(who, 50), 5));
        rig.run(20);
    }
    assert!(rig.toy.seen().cells > 150);
    let id = rig.submit(greedy(prompt(9, 150), 40));
    rig.run(60);
    assert_eq!(rig.heard[&id].tokens.len(), 40);
    assert_eq!(rig.scheduler.preemptions(), 0);
    rig.check_empty();
}

#[test]
fn who_is_paused_keeps_its_cells_while_others_can_give_way() {
    let config = endless(toy(200, 32, 4));
    let mut rig = Rig::new(config.clone());
    let request = greedy(prompt(1, 60), 30);
    let paused = rig.submit(request.clone());
    (0..6).for_each(|_| assert!(rig.step()));
    rig.control(paused, Control::Pause);
    let heard = rig.heard[&paused].tokens.len();
    let others: Vec<_> = (2..4)
        .map(|who| rig.submit(greedy(prompt(who, 20), 80)))
        .collect();
    rig.run(300);
    assert_eq!(rig.heard[&paused].tokens.len(), heard, "it went on");
    assert!(others.iter().all(|id| rig.heard[id].tokens.len() == 80));
    assert!(rig.scheduler.preemptions() > 0);
    let before = rig.toy.seen().entries;
    rig.control(paused, Control::Resume);
    rig.run(50);
    assert_eq!(rig.heard[&paused].tokens, lone(&config, &request).0);
    assert_eq!(
        rig.toy.seen().entries - before,
        30 - heard,
        "nothing was computed twice"
    );
    rig.check_empty();
}

#[test]
fn who_is_paused_gives_way_to_those_who_would_wait_for_ever() {
    let config = endless(toy(200, 32, 2));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..5).map(|who| greedy(prompt(who, 60), 40)).collect();
    let mut ids = Vec::new();
    for request in &requests {
        let id = rig.submit(request.clone());
        (0..4).for_each(|_| assert!(rig.step()));
        rig.control(id, Control::Pause);
        ids.push(id);
    }
    rig.run(1);
    assert!(rig.scheduler.is_idle());
    ids.iter().for_each(|&id| rig.control(id, Control::Resume));
    rig.run(400);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    rig.check_empty();
}

#[test]
fn a_cache_that_is_fuller_than_the_books_say_fails_nobody() {
    let config = endless(toy(400, 32, 4));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..4).map(|who| greedy(prompt(who, 20), 20)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    (0..3).for_each(|_| assert!(rig.step()));
    (0..3).for_each(|_| rig.toy.inject(Fault::NoRoom));
    rig.run(200);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    assert_eq!(rig.scheduler.preemptions(), 3);
    rig.check_empty();
}

#[test]
fn a_batch_that_fails_is_tried_one_by_one() {
    let config = endless(toy(400, 32, 4));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..3).map(|who| greedy(prompt(who, 5), 10)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    (0..3).for_each(|_| assert!(rig.step()));
    let error = || Fault::Error(BackendError::recoverable("one of you"));
    rig.toy.inject(error());
    rig.toy.inject(None);
    rig.toy.inject(error());
    rig.run(50);
    let failed = |id: &u64| rig.heard[id].end == Some(Err("one of you".into()));
    assert_eq!(ids.iter().filter(|id| failed(id)).count(), 1);
    for (id, request) in ids.iter().zip(&requests).filter(|(id, _)| !failed(id)) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    rig.check_empty();
}

#[test]
fn the_prefix_of_one_that_gives_its_id_away_is_not_counted_on() {
    let config = endless(toy(200, 32, 1));
    let mut rig = Rig::new(config.clone());
    let paused = rig.submit(greedy(prompt(1, 60), 10));
    (0..4).for_each(|_| assert!(rig.step()));
    rig.control(paused, Control::Pause);
    let alike = rig.submit(greedy(prompt(1, 60), 10));
    rig.run(20);
    assert_eq!(rig.heard[&alike].cached, Some(0));
    rig.control(paused, Control::Resume);
    rig.run(20);
    for id in [paused, alike] {
        let wanted = lone(&config, &greedy(prompt(1, 60), 10)).0;
        assert_eq!(rig.heard[&id].tokens, wanted);
    }
    rig.check_empty();
}
