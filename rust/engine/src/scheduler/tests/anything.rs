//! Whatever comes and goes, everyone gets what they would get alone, and in time.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::adapters::AdapterSet;
use crate::backend::{BackendError, Limits, Token};
use crate::engine::EngineConfig;
use crate::event::FinishReason;
use crate::inbox::Control;
use crate::request::{Request, RequestId};
use crate::scheduler::tests::{Rig, greedy, lone, settings};
use crate::speculation::Speculation;
use crate::toy::{Fault, Rule, SAVED_BYTES, ToyConfig, noise, refrain};

#[derive(Debug, Clone)]
enum Act {
    Submit(Box<Request>),
    Control(prop::sample::Index, Control),
    Inject(Fault),
    Steps(usize),
}

fn adapters() -> impl Strategy<Value = AdapterSet> {
    let sets: [&[(u32, f32)]; 3] = [&[(0, 1.0)], &[(0, 0.5)], &[(0, 0.5), (1, 1.0)]];
    let sets = sets.map(|set| AdapterSet::new(set.iter().copied()).unwrap());
    prop_oneof![
        3 => Just(AdapterSet::default()),
        2 => prop::sample::select(sets.to_vec()),
    ]
}

/// Prompts of a few families, so that many have a beginning in common.
fn requests() -> impl Strategy<Value = Request> {
    let prompt = (0..3i32, 0..60usize, prop::collection::vec(0..250i32, 1..20));
    (
        prompt,
        prop_oneof![4 => 0u32..40, 1 => 40u32..160],
        -2i8..3,
        0u64..2,
        0usize..30,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.1),
        adapters(),
        prop::option::weighted(0.4, 0usize..60),
    )
        .prop_map(
            |(
                (family, shared, own),
                max_tokens,
                priority,
                identity,
                public,
                cache,
                alone,
                adapters,
                shift,
            )| {
                let shared = (0..shared).map(|index| (family * 50 + index as Token) % 250);
                Request {
                    priority,
                    identity,
                    public_prefix: public,
                    prefix_cache: cache,
                    deterministic: alone,
                    adapters,
                    context_shift: shift.filter(|_| !alone),
                    ..greedy(shared.chain(own).collect(), max_tokens)
                }
            },
        )
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let control = prop_oneof![
        1 => Just(Control::Cancel),
        2 => Just(Control::Pause),
        2 => Just(Control::Resume),
    ];
    let fault = prop_oneof![
        (0usize..30).prop_map(Fault::Aborted),
        Just(Fault::Error(BackendError::recoverable("a hiccup"))),
    ];
    prop::collection::vec(
        prop_oneof![
            6 => requests().prop_map(|request| Act::Submit(Box::new(request))),
            3 => (any::<prop::sample::Index>(), control).prop_map(|(i, c)| Act::Control(i, c)),
            1 => fault.prop_map(Act::Inject),
            6 => (1usize..12).prop_map(Act::Steps),
        ],
        1..60,
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        80u32..300,
        1u32..40,
        1u32..7,
        0u32..10,
        prop::bool::weighted(0.8),
    )
        .prop_map(
            |(cells, n_batch, n_seq_max, more_outputs, unified)| Limits {
                n_ctx: 200,
                kv_cells: if unified { cells } else { 80 * n_seq_max },
                n_batch,
                n_seq_max,
                n_outputs_max: n_seq_max + more_outputs,
                unified,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn everyone_gets_what_they_would_get_alone(
        limits in limits(),
        prefix_reuse in prop::bool::weighted(0.9),
        can_shift in prop::bool::weighted(0.8),
        window in prop::option::weighted(0.2, 0usize..40),
        acts in acts(),
        repeats in any::<bool>(),
        speculation in prop::sample::select(vec![Speculation::Off, Speculation::WhenItPays, Speculation::Always]),
        longest_draft in 0u32..12,
        spilled in prop_oneof![Just(0usize), 0usize..500],
    ) {
        let rule: Rule = if repeats { Arc::new(refrain) } else { Arc::new(noise) };
        let config = ToyConfig { limits, prefix_reuse, can_shift, window, rule };
        let engine = EngineConfig { speculation, longest_draft, spill_bytes: spilled * SAVED_BYTES, ..settings() };
        let mut rig = Rig::with(config.clone(), engine);
        rig.step_costs = Duration::from_millis(20);
        let mut asked: Vec<(RequestId, Request)> = Vec::new();
        let mut cancelled: Vec<RequestId> = Vec::new();
        let mut hiccups = false;
        for act in acts {
            match act {
                Act::Submit(request) => asked.push((rig.submit((*request).clone()), *request)),
                Act::Control(index, control) if !asked.is_empty() => {
                    let id = index.get(&asked).0;
                    rig.control(id, control);
                    if control == Control::Cancel {
                        cancelled.push(id);
                    }
                }
                Act::Control(..) => {}
                Act::Inject(fault) => {
                    hiccups |= matches!(fault, Fault::Error(_));
                    rig.toy.inject(fault);
                }
                Act::Steps(count) => (0..count).for_each(|_| { rig.step(); }),
            }
        }
        for (id, _) in &asked {
            rig.control(*id, Control::Resume);
        }
        let tokens: usize = asked.iter().map(|(_, r)| r.prompt.len() + r.max_tokens as usize).sum();
        rig.run(4 * tokens + 50);
        for (id, request) in &asked {
            let heard = &rig.heard[id];
            let (tokens, reason) = lone(&config, request);
            match heard.end.as_ref().unwrap() {
                Ok(FinishReason::Cancelled) => {
                    prop_assert!(cancelled.contains(id));
                    prop_assert!(tokens.starts_with(&heard.tokens));
                }
                Ok(ended) => prop_assert_eq!((&heard.tokens, *ended), (&tokens, reason)),
                Err(error) => prop_assert!(hiccups && error == "a hiccup", "{}", error),
            }
        }
        rig.check_empty();
    }
}
