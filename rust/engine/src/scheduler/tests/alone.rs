//! Requests that run alone: their batches are the same, whatever else there is to do.

use crate::inbox::Control;
use crate::request::{Request, RequestId};
use crate::scheduler::tests::{Rig, endless, greedy, lone, prompt, toy};
use crate::toy::{Fault, ToyConfig};

fn config() -> ToyConfig {
    endless(toy(400, 32, 4))
}

fn request() -> Request {
    Request {
        deterministic: true,
        ..greedy(prompt(7, 70), 10)
    }
}

/// Sizes of the batches that a request was in. Nobody else may be in them.
fn batches(rig: &Rig, id: RequestId) -> Vec<usize> {
    let own = rig
        .batches
        .iter()
        .filter(|(owners, _)| owners.contains(&id));
    own.inspect(|(owners, _)| assert_eq!(owners.len(), 1))
        .map(|(_, size)| *size)
        .collect()
}

fn alone() -> Vec<usize> {
    let mut rig = Rig::new(config());
    let id = rig.submit(request());
    rig.run(20);
    batches(&rig, id)
}

#[test]
fn batches_are_the_same_in_a_crowd() {
    let mut rig = Rig::new(config());
    let others: Vec<_> = (0..6).map(|who| greedy(prompt(who, 30), 20)).collect();
    let mut ids: Vec<_> = others[..3].iter().map(|r| rig.submit(r.clone())).collect();
    (0..4).for_each(|_| assert!(rig.step()));
    let id = rig.submit(request());
    ids.extend(others[3..].iter().map(|r| rig.submit(r.clone())));
    rig.run(300);
    assert_eq!(batches(&rig, id), alone());
    assert_eq!(rig.heard[&id].tokens, lone(&config(), &request()).0);
    for (id, request) in ids.iter().zip(&others) {
        assert_eq!(rig.heard[id].tokens, lone(&config(), request).0);
    }
    rig.check_empty();
}

#[test]
fn it_uses_and_leaves_no_prefix() {
    let mut rig = Rig::new(config());
    rig.submit(greedy(prompt(7, 70), 1));
    rig.run(10);
    let id = rig.submit(request());
    rig.run(20);
    assert_eq!(
        (rig.heard[&id].cached, batches(&rig, id)),
        (Some(0), alone())
    );
    assert_eq!(rig.toy.seen().cells, 0);
}

#[test]
fn after_a_stop_it_computes_the_same_batches() {
    let mut rig = Rig::new(config());
    (0..5).for_each(|_| rig.toy.inject(None));
    rig.toy.inject(Fault::Aborted(1));
    let id = rig.submit(request());
    rig.run(40);
    let again = &batches(&rig, id)[6..];
    assert_eq!(again, alone());
    assert_eq!(rig.heard[&id].tokens, lone(&config(), &request()).0);
}

#[test]
fn paused_it_lets_others_in_and_begins_anew() {
    let mut rig = Rig::new(config());
    let id = rig.submit(request());
    (0..5).for_each(|_| assert!(rig.step()));
    rig.control(id, Control::Pause);
    let other = rig.submit(greedy(prompt(1, 30), 20));
    (0..5).for_each(|_| assert!(rig.step()));
    rig.control(id, Control::Resume);
    rig.run(60);
    assert_eq!(batches(&rig, id)[5..], alone());
    assert_eq!(rig.heard[&id].tokens, lone(&config(), &request()).0);
    assert_eq!(rig.heard[&other].tokens.len(), 20);
    rig.check_empty();
}
