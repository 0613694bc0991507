//! Prefixes that are computed once, whoever needs them.

use crate::request::Request;
use crate::scheduler::tests::{Rig, endless, greedy, lone, prompt, toy};

fn with_own_end(shared: usize, own: i32) -> Request {
    let mut prompt = prompt(1, shared);
    prompt.extend([200 + own, 7, own]);
    greedy(prompt, 6)
}

#[test]
fn those_who_arrive_together_compute_their_prefix_once() {
    let config = endless(toy(2048, 64, 16));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..16).map(|own| with_own_end(300, own)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    rig.run(20);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    assert_eq!(rig.heard[&ids[0]].cached, Some(0));
    assert!(ids[1..].iter().all(|id| rig.heard[id].cached == Some(300)));
    // Each has three tokens of its own and feeds five of its six.
    assert_eq!(rig.toy.seen().entries, 300 + 16 * (3 + 5));
    assert_eq!(rig.toy.seen().copies, 15);
    assert_eq!(rig.toy.seen().cells, 300 + 16 * (3 + 5));
    rig.check_empty();
}

#[test]
fn who_computes_for_others_may_go() {
    let mut rig = Rig::new(endless(toy(2048, 64, 4)));
    let ids: Vec<_> = (0..4)
        .map(|own| rig.submit(with_own_end(300, own)))
        .collect();
    (0..2).for_each(|_| assert!(rig.step()));
    rig.control(ids[0], crate::inbox::Control::Cancel);
    rig.run(20);
    // What it had computed went with it; the next one computes for the others.
    assert_eq!(rig.heard[&ids[1]].cached, Some(0));
    assert_eq!(rig.heard[&ids[3]].cached, Some(300));
    rig.check_empty();
}

#[test]
fn a_chat_goes_on_while_others_come_and_go() {
    let mut rig = Rig::new(endless(toy(4096, 64, 4)));
    let mut text = prompt(1, 100);
    for turn in 0..5 {
        let id = rig.submit(Request {
            identity: 1,
            ..greedy(text.clone(), 10)
        });
        rig.submit(Request {
            identity: 2,
            ..greedy(prompt(turn + 2, 50), 10)
        });
        rig.run(30);
        let known = text.len() - 4;
        assert!(
            turn == 0 || rig.heard[&id].cached == Some(known),
            "turn {turn}"
        );
        text.extend(&rig.heard[&id].tokens);
        text.extend([1, 2, 3]);
    }
    rig.check_empty();
}

#[test]
fn only_the_public_part_passes_from_one_identity_to_another() {
    let mut rig = Rig::new(endless(toy(2048, 64, 4)));
    let mut ask = |identity, public_prefix| {
        let request = Request {
            identity,
            public_prefix,
            ..with_own_end(100, 1)
        };
        let id = rig.submit(request);
        rig.run(20);
        rig.heard[&id].cached.unwrap()
    };
    assert_eq!(ask(1, 0), 0);
    assert_eq!(ask(2, 40), 0, "the first one made nothing public");
    assert_eq!(ask(3, 30), 30);
    assert_eq!(ask(3, 0), 102);
}

#[test]
fn the_prefix_that_was_not_used_for_longest_goes_first() {
    let mut rig = Rig::new(endless(toy(2048, 64, 3)));
    let mut ask = |who| {
        let id = rig.submit(greedy(prompt(who, 50), 2));
        rig.run(20);
        rig.heard[&id].cached.unwrap()
    };
    assert_eq!([ask(1), ask(2), ask(3)], [0, 0, 0]);
    assert_eq!(ask(1), 49);
    assert_eq!(ask(4), 0);
    assert_eq!([ask(1), ask(3)], [49, 49], "the second gave way");
}

#[test]
fn without_a_common_pool_nothing_is_copied() {
    let mut config = endless(toy(2048, 64, 4));
    config.limits.unified = false;
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..8).map(|own| with_own_end(100, own)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    rig.run(60);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    assert_eq!(rig.toy.seen().copies, 0);
    assert_eq!(rig.heard[&ids[7]].cached, Some(100), "taken over");
    rig.check_empty();
}
