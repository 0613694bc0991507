//! Requests of several sets of adapters: never in one batch, never with each other's cells, and none left waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::adapters::AdapterSet;
use crate::request::{Request, RequestId};
use crate::scheduler::tests::{Rig, endless, greedy, guessing, lone, prompt, settings, toy};
use crate::speculation::Speculation;
use crate::toy::{ToyConfig, refrain};

fn set(id: u32) -> AdapterSet {
    match id {
        0 => AdapterSet::default(),
        id => AdapterSet::new([(id, 0.5)]).unwrap(),
    }
}

fn with(adapters: u32, request: Request) -> Request {
    Request {
        adapters: set(adapters),
        ..request
    }
}

fn submit(rig: &mut Rig, requests: &[Request]) -> BTreeMap<RequestId, Request> {
    let ids = requests.iter().map(|request| rig.submit(request.clone()));
    ids.zip(requests.iter().cloned()).collect()
}

fn check_as_alone(rig: &Rig, config: &ToyConfig, asked: &BTreeMap<RequestId, Request>) {
    for (id, request) in asked {
        assert_eq!(
            rig.heard[id].tokens,
            lone(config, request).0,
            "request {id}"
        );
    }
    for (owners, _) in &rig.batches {
        let mut sets = owners.iter().map(|id| &asked[id].adapters);
        let first = sets.next();
        assert!(
            sets.all(|set| Some(set) == first),
            "a batch of several sets"
        );
    }
}

#[test]
fn everyone_gets_their_own_adapters() {
    let config = endless(toy(2048, 64, 9));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..9)
        .map(|who| with(who % 3, greedy(prompt(1, 40), 30)))
        .collect();
    let asked = submit(&mut rig, &requests);
    rig.run(400);
    check_as_alone(&rig, &config, &asked);
    let answers: Vec<_> = rig.heard.values().map(|heard| &heard.tokens).collect();
    assert!(answers[0] != answers[1] && answers[1] != answers[2] && answers[0] == answers[3]);
    rig.check_empty();
}

#[test]
fn turns_last_about_as_long_as_a_step_should_and_nobody_starves() {
    let config = endless(toy(4096, 64, 12));
    let mut rig = Rig::new(config.clone());
    rig.step_costs = Duration::from_millis(20);
    // Ten streams of one set, and one of each of two others.
    let mut requests = vec![with(0, greedy(prompt(0, 20), 120)); 10];
    requests.extend([1, 2].map(|set| with(set, greedy(prompt(0, 20), 120))));
    let asked = submit(&mut rig, &requests);
    rig.run(1000);
    check_as_alone(&rig, &config, &asked);
    // A step takes more than 20 ms and a turn 100, so that the turns of the two others are over in ten steps.
    for heard in rig.heard.values() {
        let gaps = heard.steps.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max().unwrap() <= 11, "{:?}", heard.steps);
    }
    let switches = rig.toy.seen().switches;
    assert!(switches * 3 <= rig.steps, "{switches} in {}", rig.steps);
    rig.check_empty();
}

#[test]
fn a_long_prompt_of_one_set_does_not_stall_the_streams_of_another() {
    let config = endless(toy(4096, 512, 4));
    let mut rig = Rig::new(config.clone());
    rig.step_costs = Duration::from_millis(5);
    let streams = submit(&mut rig, &[greedy(prompt(0, 10), 200)]);
    (0..10).for_each(|_| assert!(rig.step()));
    let prompts = submit(&mut rig, &[with(1, greedy(prompt(1, 2000), 4))]);
    let longest = (0..).map_while(|_| {
        let before = rig.took;
        rig.step().then(|| rig.took - before)
    });
    // A prompt that nobody else waits for is computed 512 tokens at once, which takes more than half a second.
    assert!(longest.take(150).max().unwrap() < Duration::from_millis(250));
    rig.run(1000);
    check_as_alone(&rig, &config, &streams.into_iter().chain(prompts).collect());
}

/// Prompts apart from next tokens: each such batch takes a whole turn, and must not be all that a turn is.
#[test]
fn a_turn_with_prompts_apart_is_not_over_before_its_tokens_came() {
    let config = endless(toy(8192, 128, 4));
    let mut settings = settings();
    settings.target_step = Duration::from_millis(400); // long enough for a tile
    let mut rig = Rig::with(config.clone(), settings);
    rig.step_costs = Duration::from_millis(20);
    rig.mixed_costs = Duration::from_millis(300);
    let mut asked = submit(&mut rig, &[greedy(prompt(0, 10), 1000)]);
    let stream = *asked.keys().next().unwrap();
    asked.extend(submit(&mut rig, &[with(1, greedy(prompt(0, 10), 1000))]));
    (0..20).for_each(|_| assert!(rig.step()));
    let long = submit(&mut rig, &[greedy(prompt(1, 2000), 4)]);
    let newcomer = *long.keys().next().unwrap();
    asked.extend(long);
    let begun = rig.batches.len();
    while rig.heard[&newcomer].tokens.is_empty() {
        assert!(rig.step());
    }
    let (mut apart, mut in_a_row) = (0, 0);
    for (owners, _) in &rig.batches[begun..] {
        in_a_row = match (owners.contains(&newcomer), owners.contains(&stream)) {
            (_, true) => 0,
            (true, false) => in_a_row + 1,
            (false, false) => in_a_row,
        };
        apart += usize::from(in_a_row == 1 && owners.contains(&newcomer));
        assert!(in_a_row <= 1, "the stream waits while prompts go on");
    }
    assert!(apart > 5, "prompts were apart {apart} times");
    assert!(rig.heard[&stream].end.is_none(), "it went on all the while");
    rig.run(3000);
    check_as_alone(&rig, &config, &asked);
    rig.check_empty();
}

#[test]
fn prefixes_stay_within_a_set() {
    let mut rig = Rig::new(endless(toy(2048, 64, 4)));
    let mut ask = |adapters: u32| {
        let request = Request {
            public_prefix: 50,
            ..with(adapters, greedy(prompt(1, 100), 4))
        };
        let id = rig.submit(request);
        rig.run(30);
        rig.heard[&id].cached.unwrap()
    };
    assert_eq!([ask(1), ask(1), ask(2), ask(0)], [0, 99, 0, 0]);
    assert_eq!([ask(2), ask(0), ask(1)], [99, 99, 99]);
}

#[test]
fn those_who_lose_their_cells_to_another_set_are_computed_anew() {
    let config = endless(toy(200, 32, 6));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..6)
        .map(|who| with(who % 3, greedy(prompt(who as usize, 20), 60)))
        .collect();
    let asked = submit(&mut rig, &requests);
    rig.run(2000);
    check_as_alone(&rig, &config, &asked);
    assert!(rig.scheduler.preemptions() > 0);
    rig.check_empty();
}

#[test]
fn guesses_come_true_under_adapters_too() {
    let config = ToyConfig {
        rule: std::sync::Arc::new(refrain),
        ..toy(4096, 64, 6)
    };
    let mut rig = Rig::with(config.clone(), guessing(Speculation::Always));
    let requests: Vec<_> = (0..6)
        .map(|who| with(who % 3, greedy(prompt(who as usize, 40), 80)))
        .collect();
    let asked = submit(&mut rig, &requests);
    rig.run(2000);
    check_as_alone(&rig, &config, &asked);
    assert!(rig.scheduler.drafted().1 > 0);
    rig.check_empty();
}
