//! What has no room in the KV cache waits in main memory, and comes back to those whose it is.

use crate::adapters::AdapterSet;
use crate::engine::EngineConfig;
use crate::request::Request;
use crate::scheduler::tests::{Rig, endless, greedy, lone, prompt, settings, toy};
use crate::toy::SAVED_BYTES;

/// A rig of 200 cells that spills so many tokens.
fn rig(tokens: usize) -> Rig {
    let engine = EngineConfig {
        spill_bytes: tokens * SAVED_BYTES,
        ..settings()
    };
    Rig::with(endless(toy(200, 32, 4)), engine)
}

/// The next turn of a chat of somebody.
fn turn(who: usize, length: usize) -> Request {
    Request {
        identity: who as u64,
        ..greedy(prompt(who, length), 5)
    }
}

#[test]
fn chats_that_take_turns_are_computed_once() {
    let mut rig = rig(1000);
    let mut cached = Vec::new();
    for length in [100, 110, 120] {
        for who in 1..=3 {
            let id = rig.submit(turn(who, length));
            rig.run(20);
            cached.push(rig.heard[&id].cached.unwrap());
            let wanted = lone(&endless(toy(200, 32, 4)), &turn(who, length)).0;
            assert_eq!(rig.heard[&id].tokens, wanted);
        }
    }
    // The first answers are not what the next turns go on with, so these begin where the prompts end.
    assert_eq!(cached, [0, 0, 0, 100, 100, 100, 110, 110, 110]);
    let spilled = rig.scheduler.spilled();
    assert_eq!((spilled.saved, spilled.restored), (8, 6));
    rig.check_empty();
}

#[test]
fn without_room_nothing_waits() {
    for tokens in [0, 99] {
        let mut rig = rig(tokens);
        for who in [1, 2, 1] {
            let id = rig.submit(turn(who, 110));
            rig.run(20);
            assert_eq!(rig.heard[&id].cached, Some(0));
        }
        assert_eq!(rig.scheduler.spilled().saved, 0);
        rig.check_empty();
    }
}

#[test]
fn who_gives_way_goes_on_where_it_was() {
    let config = endless(toy(200, 32, 4));
    let mut rig = rig(1000);
    let requests: Vec<_> = (0..4).map(|who| greedy(prompt(who, 40), 60)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    rig.run(400);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
    }
    assert!(rig.scheduler.preemptions() > 0);
    // All tokens but the last ones, which nobody feeds, and the last of each that gave way, for its logits.
    let again = rig.scheduler.preemptions() as usize;
    let entries = rig.toy.seen().entries;
    assert!(entries <= 4 * 99 + again, "{entries} tokens were computed");
    rig.check_empty();
}

#[test]
fn nobody_gets_what_another_one_left() {
    let mut rig = rig(1000);
    let own = AdapterSet::new([(0, 1.0)]).unwrap();
    let adapted = Request {
        adapters: own.clone(),
        ..turn(1, 150)
    };
    let cases = [
        (turn(1, 150), 0),
        (turn(2, 150), 0),
        // The same prompt of somebody else, or with adapters.
        (
            Request {
                identity: 3,
                ..turn(1, 150)
            },
            0,
        ),
        (adapted.clone(), 0),
        (turn(3, 150), 0),
        (adapted, 149),
        (turn(1, 150), 149),
        (
            Request {
                prefix_cache: false,
                ..turn(1, 150)
            },
            0,
        ),
    ];
    for (request, cached) in cases {
        let id = rig.submit(request);
        rig.run(20);
        assert_eq!(rig.heard[&id].cached, Some(cached));
    }
    rig.check_empty();
}

#[test]
fn what_hardly_begins_alike_is_not_brought_back() {
    let mut rig = rig(1000);
    rig.submit(turn(1, 190));
    rig.run(20);
    rig.submit(turn(2, 190));
    rig.run(20);
    let mut other = prompt(1, 20);
    other.extend(prompt(5, 60));
    let id = rig.submit(Request {
        identity: 1,
        ..greedy(other, 5)
    });
    rig.run(20);
    assert_eq!(rig.heard[&id].cached, Some(0));
    assert_eq!(rig.scheduler.spilled().restored, 0);
    rig.check_empty();
}

#[test]
fn a_conversation_stays_though_another_begins_alike() {
    let mut rig = rig(1000);
    let mut ask = |request| {
        let id = rig.submit(request);
        rig.run(20);
        rig.heard[&id].cached.unwrap()
    };
    assert_eq!([ask(turn(1, 150)), ask(turn(2, 190))], [0, 0]);
    let mut other = prompt(1, 60);
    other.extend(prompt(5, 10));
    let other = Request {
        identity: 1,
        ..greedy(other, 5)
    };
    // What is brought back of the one leaves the rest of it where it is.
    assert_eq!(
        [ask(other), ask(turn(3, 190)), ask(turn(1, 150))],
        [60, 0, 149]
    );
    rig.check_empty();
}

#[test]
fn nobody_goes_for_what_cannot_be_brought_back() {
    let mut rig = rig(1000);
    for request in [turn(1, 150), turn(2, 190)] {
        rig.submit(request);
        rig.run(20);
    }
    // One of 60 cells is at work, and 50 tokens are there for whoever goes on with them.
    let at_work = rig.submit(greedy(prompt(3, 60), 60));
    let kept = rig.submit(turn(4, 50));
    while rig.heard[&kept].end.is_none() {
        assert!(rig.step());
    }
    let saved = rig.scheduler.spilled().saved;
    let mut alike = prompt(1, 50);
    alike.extend(prompt(5, 10));
    let alike = rig.submit(Request {
        identity: 1,
        ..greedy(alike, 1)
    });
    while rig.heard[&alike].end.is_none() {
        assert!(rig.step());
    }
    assert_eq!(rig.heard[&alike].cached, Some(0));
    let spilled = rig.scheduler.spilled();
    assert_eq!((spilled.saved, spilled.restored), (saved, 0));
    assert!(rig.heard[&at_work].end.is_none());
    rig.run(100);
    rig.check_empty();
}
