//! Requests whose answer comes too late are given up.

use std::time::{Duration, Instant};

use crate::event::FinishReason;
use crate::request::Request;
use crate::scheduler::tests::{Rig, endless, greedy, prompt, toy};

#[test]
fn who_is_late_at_work_is_ended_in_whatever_state() {
    let mut rig = Rig::new(endless(toy(200, 16, 2)));
    let soon = Instant::now() + Duration::from_secs(600);
    let late = |who, length| Request {
        deadline: Some(soon),
        ..greedy(prompt(who, length), 100)
    };
    let decoding = rig.submit(late(1, 5));
    let in_time = rig.submit(greedy(prompt(2, 5), 20));
    (0..5).for_each(|_| assert!(rig.step()));
    rig.scheduler.end_late(soon - Duration::from_secs(1));
    assert!(rig.step() && rig.heard[&decoding].end.is_none());
    let before = rig.heard[&decoding].tokens.len();
    rig.scheduler.end_late(soon);
    rig.listen();
    assert_eq!(rig.heard[&decoding].end, Some(Ok(FinishReason::Timeout)));
    let prefilling = rig.submit(late(3, 100));
    assert!(rig.step());
    rig.scheduler.end_late(soon);
    rig.run(60);
    assert_eq!(rig.heard[&prefilling].end, Some(Ok(FinishReason::Timeout)));
    assert_eq!(rig.heard[&decoding].tokens.len(), before);
    assert_eq!(rig.heard[&in_time].tokens.len(), 20);
    rig.check_empty();
}
