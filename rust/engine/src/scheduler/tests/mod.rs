//! Schedulers on a toy, step by step, with a clock that is made up.

mod alone;
mod anything;
mod cells;
mod deadlines;
mod prefill;
mod sets;
mod sharing;
mod shift;
mod speculation;
mod spill;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::backend::{AbortFlag, Limits, Token};
use crate::engine::EngineConfig;
use crate::event::{Event, FinishReason};
use crate::inbox::{Control, Submitted};
use crate::request::{Request, RequestId, SamplingParams};
use crate::scheduler::Scheduler;
use crate::speculation::Speculation;
use crate::toy::{EOS, EOT, Toy, ToyConfig, ToyControl, adapted};

/// What was heard of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) cached: Option<usize>,
    pub(super) tokens: Vec<Token>,
    /// Steps in which its tokens came.
    pub(super) steps: Vec<usize>,
    pub(super) end: Option<Result<FinishReason, String>>,
}

/// A scheduler, what it computes, and a queue before it that has no bound and no priorities.
pub(super) struct Rig {
    pub(super) scheduler: Scheduler<Toy>,
    pub(super) toy: ToyControl,
    pub(super) heard: BTreeMap<RequestId, Heard>,
    pub(super) steps: usize,
    waiting: Vec<Submitted>,
    cells: usize,
    next: RequestId,
    /// What a step takes beside its tokens.
    pub(super) step_costs: Duration,
    /// What a step takes in addition where prompts and next tokens are in one batch.
    pub(super) mixed_costs: Duration,
    /// What all steps took.
    pub(super) took: Duration,
    /// By step, the requests in its batch and the number of its entries.
    pub(super) batches: Vec<(BTreeSet<RequestId>, usize)>,
}

impl Rig {
    pub(super) fn new(config: ToyConfig) -> Self {
        Self::with(config, settings())
    }

    pub(super) fn with(config: ToyConfig, engine: EngineConfig) -> Self {
        let cells = config.limits.kv_cells as usize;
        let (toy, control) = Toy::new(config);
        Self {
            scheduler: Scheduler::new(toy, &engine),
            toy: control,
            heard: BTreeMap::new(),
            steps: 0,
            waiting: Vec::new(),
            cells,
            next: 1,
            step_costs: Duration::ZERO,
            mixed_costs: Duration::ZERO,
            took: Duration::ZERO,
            batches: Vec::new(),
        }
    }

    pub(super) fn submit(&mut self, request: Request) -> RequestId {
        let id = self.next;
        self.next += 1;
        self.heard.insert(id, Heard::default());
        self.waiting.push(Submitted {
            id,
            request,
            at: Instant::now(),
        });
        id
    }

    pub(super) fn control(&mut self, id: RequestId, control: Control) {
        if let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) {
            if control == Control::Cancel {
                self.waiting.remove(index);
                self.heard.get_mut(&id).unwrap().end = Some(Ok(FinishReason::Cancelled));
            }
            return;
        }
        self.scheduler.control(id, control);
        self.listen();
    }

    /// One step. Answers whether there was anything to do.
    pub(super) fn step(&mut self) -> bool {
        self.enter();
        let owners = self.scheduler.plan();
        self.listen();
        if owners.is_empty() {
            assert!(
                self.scheduler.is_idle(),
                "nothing planned for those who wait"
            );
            // Some may have ended as they came in.
            return !self.waiting.is_empty();
        }
        self.steps += 1;
        let distinct: BTreeSet<RequestId> = owners.iter().copied().collect();
        assert_eq!(distinct.len(), owners.len(), "twice in a batch");
        let size = self.scheduler.batch.len();
        self.batches.push((distinct, size));
        let decoded = self.scheduler.decode(&AbortFlag::new());
        // A millisecond a token, and one for every hundred tokens before it.
        let micros: i32 = self.scheduler.batch.iter().map(|e| 1000 + e.pos * 10).sum();
        let mut took = self.step_costs + Duration::from_micros(micros.unsigned_abs().into());
        if self.scheduler.shape.prefill > 0 && self.scheduler.shape.decodes > 0 {
            took += self.mixed_costs;
        }
        self.took += took;
        self.scheduler.absorb(decoded, took).unwrap();
        self.listen();
        let free = self.cells - self.toy.seen().cells;
        assert_eq!(self.scheduler.kv.free_cells(), free, "the books are wrong");
        true
    }

    /// Steps until nothing is left to do, at most so many.
    pub(super) fn run(&mut self, most: usize) {
        let before = self.steps;
        while self.step() {
            assert!(self.steps - before <= most, "no end after {most} steps");
        }
    }

    /// Checks that nothing is left of anybody, once all have ended.
    pub(super) fn check_empty(&mut self) {
        assert!(self.waiting.is_empty() && self.scheduler.sequences.is_empty());
        assert!(self.heard.values().all(|heard| heard.end.is_some()));
        let spare = self.scheduler.kv.demand(0, None).1;
        assert_eq!(spare, self.cells, "an id is still at work");
        while self.scheduler.kv.evict() {}
        assert_eq!(self.toy.seen().cells, 0, "cells are lost");
    }

    fn enter(&mut self) {
        let mut room = self.scheduler.room();
        while room > 0 && !self.waiting.is_empty() {
            let submitted = self.waiting.remove(0);
            room = if submitted.request.deterministic {
                0
            } else {
                room - 1
            };
            self.scheduler.admit(submitted);
        }
        self.listen();
    }

    pub(super) fn listen(&mut self) {
        for event in self.scheduler.events().drain(..) {
            let heard = self.heard.get_mut(&event.id()).unwrap();
            assert!(heard.end.is_none(), "{event:?} came after the end");
            match event {
                Event::Started { cached_tokens, .. } => {
                    assert_eq!(heard.cached.replace(cached_tokens), None, "started twice");
                }
                Event::Piece { tokens, .. } => {
                    assert!(heard.cached.is_some(), "a piece before the start");
                    heard.steps.extend(tokens.iter().map(|_| self.steps));
                    heard.tokens.extend(tokens.iter().map(|info| info.token));
                }
                Event::Finished { reason, .. } => heard.end = Some(Ok(reason)),
                Event::Failed { error, .. } => heard.end = Some(Err(error)),
            }
        }
    }
}

/// What steps are held to; no guesses, and nothing is spilled.
pub(super) fn settings() -> EngineConfig {
    EngineConfig {
        target_step: Duration::from_millis(100),
        least_prefill: 8,
        speculation: Speculation::Off,
        longest_draft: 0,
        ..EngineConfig::default()
    }
}

/// Settings with guesses of eight tokens.
pub(super) fn guessing(speculation: Speculation) -> EngineConfig {
    EngineConfig {
        speculation,
        longest_draft: 8,
        ..settings()
    }
}

pub(super) fn toy(kv_cells: u32, n_batch: u32, n_seq_max: u32) -> ToyConfig {
    ToyConfig {
        limits: Limits {
            n_ctx: kv_cells,
            kv_cells,
            n_batch,
            n_seq_max,
            n_outputs_max: n_seq_max + 8,
            unified: true,
        },
        ..ToyConfig::default()
    }
}

/// A toy that never comes to an end, and says letters only.
pub(super) fn endless(config: ToyConfig) -> ToyConfig {
    let rule = |tokens: &[Token]| {
        let sum: i64 = (1..).zip(tokens).map(|(i, &t)| i * i64::from(t)).sum();
        97 + (sum % 26) as Token
    };
    ToyConfig {
        rule: std::sync::Arc::new(rule),
        ..config
    }
}

pub(super) fn greedy(prompt: Vec<Token>, max_tokens: u32) -> Request {
    let mut request = Request::new(prompt, max_tokens);
    request.sampling = SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    };
    request
}

/// A prompt that begins like no other one's.
pub(super) fn prompt(who: usize, length: usize) -> Vec<Token> {
    (0..length)
        .map(|index| ((who * 31 + index * 7) % 250) as Token)
        .collect()
}

/// What a greedy request must say, whoever else is there.
pub(super) fn lone(config: &ToyConfig, request: &Request) -> (Vec<Token>, FinishReason) {
    let longest = crate::request::longest_sequence(&config.limits);
    let keeps = request
        .context_shift
        .filter(|_| config.can_shift && config.prefix_reuse);
    let mut sequence = request.prompt.clone();
    let mut said = Vec::new();
    while said.len() < request.max_tokens as usize {
        if sequence.len() >= longest {
            let Some(keeps) = keeps else { break };
            let start = keeps.min(longest / 2);
            sequence.drain(start..start + ((sequence.len() - start) / 2).max(1));
        }
        let token = adapted(&config.rule, &request.adapters, &sequence);
        if [EOS, EOT].contains(&token) {
            return (said, FinishReason::Stop);
        }
        sequence.push(token);
        said.push(token);
    }
    (said, FinishReason::Length)
}
