//! Prompts beside running streams: nobody's stream stops, and every prompt has its turn.

use crate::scheduler::tests::{Rig, endless, greedy, lone, prompt, toy};

#[test]
fn streams_go_on_while_a_long_prompt_is_computed() {
    let config = endless(toy(4096, 512, 8));
    let mut rig = Rig::new(config);
    let streams: Vec<_> = (0..4)
        .map(|who| rig.submit(greedy(prompt(who, 10), 300)))
        .collect();
    (0..10).for_each(|_| assert!(rig.step()));
    let begun = rig.steps;
    let newcomer = rig.submit(greedy(prompt(9, 1000), 5));
    while rig.heard[&newcomer].tokens.is_empty() {
        assert!(rig.step());
        assert!(rig.steps - begun < 130, "1000 tokens of 8 and more");
    }
    // Prompts that are in a batch of their own have decodes before and after it.
    for id in streams {
        let steps = &rig.heard[&id].steps;
        let gaps = steps.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            gaps.max() <= Some(2),
            "two steps without a token: {steps:?}"
        );
        assert!(rig.steps - steps[steps.len() - 1] <= 1, "{steps:?}");
    }
    // The target is 100 ms, a token takes 1 ms at the beginning and 11 in the end.
    let sizes: Vec<usize> = rig.batches[begun..].iter().map(|batch| batch.1).collect();
    assert!(sizes.iter().max() > Some(&40), "{sizes:?}");
    assert!(sizes[sizes.len() - 2] <= 16, "{sizes:?}");
}

#[test]
fn when_nobody_waits_prompts_are_computed_in_whole_batches() {
    let mut rig = Rig::new(toy(4096, 512, 8));
    let id = rig.submit(greedy(prompt(1, 1000), 1));
    rig.run(2);
    assert_eq!(
        rig.batches.iter().map(|batch| batch.1).collect::<Vec<_>>(),
        [512, 488]
    );
    assert_eq!(rig.heard[&id].tokens.len(), 1);
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one() {
    let mut rig = Rig::new(endless(toy(4096, 128, 4)));
    let long = rig.submit(greedy(prompt(1, 2000), 1));
    rig.step();
    let short = rig.submit(greedy(prompt(2, 60), 1));
    rig.step();
    assert_eq!(
        rig.heard[&short].tokens.len(),
        1,
        "it had its share at once"
    );
    assert_eq!(rig.heard[&long].tokens.len(), 0);
    rig.run(20);
}

#[test]
fn of_equal_prompts_one_after_the_other_is_done() {
    // In turns, all of them would be done only when the last one is.
    let mut rig = Rig::new(endless(toy(8192, 64, 8)));
    let ids: Vec<_> = (0..8)
        .map(|who| rig.submit(greedy(prompt(who, 640), 1)))
        .collect();
    rig.run(80);
    let mut ends: Vec<usize> = ids.iter().map(|id| rig.heard[id].steps[0]).collect();
    ends.sort_unstable();
    assert!(
        ends[3] <= 50,
        "half of them by about half of the time: {ends:?}"
    );
}

#[test]
fn a_long_prompt_goes_on_while_short_ones_keep_coming() {
    let mut rig = Rig::new(endless(toy(16384, 64, 8)));
    let long = rig.submit(greedy(prompt(1, 640), 1));
    let mut who = 2;
    while rig.heard[&long].tokens.is_empty() {
        // As much as a step can compute, each step anew.
        rig.submit(greedy(prompt(who, 64), 1));
        who += 1;
        assert!(rig.step());
        assert!(
            rig.steps <= 320,
            "10 chunks, one of four for the one of eight that waited longest"
        );
    }
}

#[test]
fn a_low_priority_has_its_turn_too() {
    let mut rig = Rig::new(endless(toy(16384, 64, 4)));
    let mut urgent = greedy(prompt(1, 9000), 1);
    urgent.priority = 10;
    let urgent = rig.submit(urgent);
    let mut patient = greedy(prompt(2, 60), 1);
    patient.priority = -10;
    let patient = rig.submit(patient);
    while rig.heard[&patient].tokens.is_empty() {
        assert!(rig.step());
    }
    assert!(rig.heard[&urgent].tokens.is_empty());
    assert!((80..90).contains(&rig.steps), "after {} steps", rig.steps);
}

#[test]
fn more_streams_than_a_batch_holds_take_turns() {
    let config = endless(toy(4096, 4, 8));
    let mut rig = Rig::new(config.clone());
    let requests: Vec<_> = (0..8).map(|who| greedy(prompt(who, 3), 30)).collect();
    let ids: Vec<_> = requests.iter().map(|r| rig.submit(r.clone())).collect();
    rig.run(120);
    for (id, request) in ids.iter().zip(&requests) {
        assert_eq!(rig.heard[id].tokens, lone(&config, request).0);
        let gaps = rig.heard[id].steps.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max() <= Some(4));
    }
}
