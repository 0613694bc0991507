//! Decides what is computed in the next step, and hands out what came of it.
//!
//! A step is [`Scheduler::plan`] (fill a batch), [`Scheduler::decode`] (compute it) and [`Scheduler::absorb`]
//! (sample, report, free). A batch holds the next token of every sequence that waits for one, and beside them as
//! many prompt tokens as time allows. A sequence without an id is parked: it is new, it waits for another to compute
//! the prefix that they share, or it lost its KV cache to an older one and will be computed anew.

mod admission;
mod budget;
mod costs;
mod draft;
mod kv;
mod plan;
mod prefix;
mod spill;
#[cfg(test)]
mod tests;
mod turns;

use std::cmp::Reverse;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, SeqId, Token};
use crate::engine::EngineConfig;
use crate::event::{Event, FinishReason};
use crate::inbox::{Control, Submitted};
use crate::request::{RequestId, longest_sequence};
use crate::sequence::{Sequence, Vocabulary};
use crate::speculation::Guess;

use budget::{Budget, Shape};
use draft::Drafter;
use kv::Kv;
pub(crate) use prefix::Access;
pub(crate) use spill::SpillTotals;
use turns::Turn;

/// From so many tokens on, finding out which of them a form allows takes longer than starting a thread for it, which
/// then does so while the model computes.
const VOCABULARY_WORTH_A_THREAD: usize = 16_384;

/// A context must hold so many tokens for half of it to be of use.
const SHORTEST_TO_SHIFT: usize = 8;

/// A failure after which the backend is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fatal(pub(crate) String);

pub(crate) struct Scheduler<B> {
    kv: Kv<B>,
    /// Tokens that end a generation.
    ends: Vec<Token>,
    /// Requests that have not ended, in the order of their arrival here.
    sequences: Vec<Sequence>,
    budget: Budget,
    drafter: Drafter,
    /// Whose adapters are computed with now.
    turn: Turn,
    /// Requests of a batch that failed; each is tried alone, to find which one fails it.
    suspects: Vec<RequestId>,
    /// Whether a parked request waits for cells, so that none is to be let past it.
    crowded: bool,
    step: u64,
    /// How often prompts had a turn.
    prompt_steps: u64,
    batch: Vec<BatchEntry>,
    /// What of the batch is whose, in its order.
    spans: Vec<Span>,
    shape: Shape,
    /// Whether the last batch had prompts only, while requests in turn waited for a token.
    owes_decodes: bool,
    preemptions: u64,
    shifts: u64,
    events: Vec<Event>,
}

/// A part of a batch that continues one sequence.
struct Span {
    id: RequestId,
    seq: SeqId,
    /// Tokens of the sequence.
    tokens: Range<usize>,
    /// Index of the last of them in the batch.
    last: usize,
    /// What may come after them.
    guess: Option<Guess>,
    /// How many guessed tokens are in the batch, after [`Self::last`].
    drafted: usize,
}

impl<B: Backend> Scheduler<B> {
    pub(crate) fn new(backend: B, config: &EngineConfig) -> Self {
        let model = backend.model();
        let mut ends = model.eog.clone();
        ends.extend(model.eos);
        Self {
            kv: Kv::new(backend, config.spill_bytes),
            ends,
            sequences: Vec::new(),
            budget: Budget::new(config.target_step, config.least_prefill as usize),
            drafter: Drafter::new(config),
            turn: Turn::new(config.target_step),
            suspects: Vec::new(),
            crowded: false,
            step: 0,
            prompt_steps: 0,
            batch: Vec::new(),
            spans: Vec::new(),
            shape: Shape::default(),
            owes_decodes: false,
            preemptions: 0,
            shifts: 0,
            events: Vec::new(),
        }
    }

    /// How many more requests it can take. A request that runs alone lets nobody in.
    pub(crate) fn room(&self) -> usize {
        let active = self.sequences.iter().filter(|sequence| !sequence.paused);
        if active.clone().any(|sequence| sequence.deterministic)
            || (self.crowded && !self.is_idle())
        {
            return 0;
        }
        let ids = self.kv.backend().limits().n_seq_max as usize;
        ids.saturating_sub(active.count())
    }

    /// Whether there is nothing to compute.
    pub(crate) fn is_idle(&self) -> bool {
        self.sequences.iter().all(|sequence| sequence.paused)
    }

    /// Events since they were last taken, in their order; the caller empties it.
    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// How often a request lost its KV cache to an older one.
    pub(crate) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// How often a request let go of tokens because its context was full.
    pub(crate) fn shifts(&self) -> u64 {
        self.shifts
    }

    /// What became of sequences that left the KV cache.
    pub(crate) fn spilled(&self) -> SpillTotals {
        self.kv.spilled()
    }

    /// Guessed tokens that were fed, and those that came true.
    pub(crate) fn drafted(&self) -> (u64, u64) {
        self.drafter.totals()
    }

    /// Takes a request. There must be [`Self::room`] for it.
    pub(crate) fn admit(&mut self, mut submitted: Submitted) {
        let model = self.kv.backend().model();
        let too_short = longest_sequence(&self.kv.backend().limits()) < SHORTEST_TO_SHIFT;
        if too_short || !(model.can_shift && model.prefix_reuse) {
            submitted.request.context_shift = None;
        }
        let mut sequence = Sequence::new(submitted, self.step, &self.ends);
        if sequence.wants_nothing() {
            self.events.extend(sequence.start(0));
            self.events.push(sequence.finished(FinishReason::Length));
            return;
        }
        self.sequences.push(sequence);
    }

    /// Does what was asked about a request that has not ended.
    pub(crate) fn control(&mut self, id: RequestId, control: Control) {
        match control {
            Control::Cancel => self.finish(id, FinishReason::Cancelled),
            Control::Pause => self.set_paused(id, true),
            Control::Resume => self.set_paused(id, false),
        }
    }

    /// Ends requests whose deadline has passed.
    pub(crate) fn end_late(&mut self, now: Instant) {
        let late = |sequence: &&Sequence| sequence.is_late(now);
        let late: Vec<RequestId> = self.sequences.iter().filter(late).map(|s| s.id).collect();
        late.into_iter()
            .for_each(|id| self.finish(id, FinishReason::Timeout));
    }

    /// Tokens in the batch of the last step.
    pub(crate) fn batch_length(&self) -> usize {
        self.batch.len()
    }

    /// Ends all requests.
    pub(crate) fn cancel_all(&mut self) {
        while let Some(sequence) = self.sequences.first() {
            self.finish(sequence.id, FinishReason::Cancelled);
        }
    }

    fn set_paused(&mut self, id: RequestId, paused: bool) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let sequence = &mut self.sequences[index];
        sequence.paused = paused;
        if paused && sequence.deterministic {
            // Others run meanwhile, so it begins anew in an empty cache.
            self.park(index);
        }
    }

    /// Computes the planned batch. This is where the time goes; requests can be cancelled meanwhile.
    pub(crate) fn decode(&mut self, abort: &AbortFlag) -> Result<DecodeOutcome, BackendError> {
        let spans = &self.spans;
        let formed: Vec<&mut Sequence> = self
            .sequences
            .iter_mut()
            .filter(|sequence| spans.iter().any(|span| span.id == sequence.id))
            .filter_map(|sequence| sequence.has_form().then_some(sequence))
            .collect();
        let n_vocab = self.kv.backend().model().n_vocab;
        if formed.is_empty() || n_vocab < VOCABULARY_WORTH_A_THREAD {
            return self.kv.decode(self.turn.adapters(), &self.batch, abort);
        }
        let (kv, turn, batch) = (&mut self.kv, &self.turn, &self.batch);
        thread::scope(|scope| {
            // Without a thread the forms are worked out when their logits are there.
            let _ = thread::Builder::new()
                .name("tabagent-forms".into())
                .spawn_scoped(scope, || formed.into_iter().for_each(Sequence::prepare));
            kv.decode(turn.adapters(), batch, abort)
        })
    }

    /// Goes on from what [`Self::decode`] answered, and learns from how long it took.
    pub(crate) fn absorb(
        &mut self,
        decoded: Result<DecodeOutcome, BackendError>,
        took: Duration,
    ) -> Result<(), Fatal> {
        self.turn.spend(took);
        match decoded {
            Ok(DecodeOutcome::Done) => {
                self.budget.observe(self.shape, took);
                self.drafter.observe(self.shape, took);
                self.kv.commit(&self.batch);
                self.advance()
            }
            Ok(DecodeOutcome::NoRoom) => {
                if !self.drafter.hold_back(self.shape) {
                    self.run_out_of_room();
                }
                Ok(())
            }
            Ok(DecodeOutcome::Aborted) => {
                self.kv.commit(&self.batch);
                self.roll_back();
                Ok(())
            }
            Err(error) if !error.fatal && (self.spans.len() > 1 || self.shape.drafts > 0) => {
                self.suspects = self.spans.iter().map(|span| span.id).collect();
                Ok(())
            }
            Err(error) => match self.spans.first().map(|span| span.id) {
                Some(id) => self.fail(id, error),
                None => Ok(()),
            },
        }
    }

    /// The batch is computed: choose a token for every sequence that is complete.
    fn advance(&mut self) -> Result<(), Fatal> {
        for span in std::mem::take(&mut self.spans) {
            self.suspects.retain(|&id| id != span.id);
            let Some(index) = self.index_of(span.id) else {
                continue;
            };
            self.sequences[index].set_computed(span.tokens.end);
            if self.sequences[index].is_ready() {
                self.go_on(&span)?;
            }
        }
        Ok(())
    }

    /// Chooses a sequence's next token by the logits of a batch entry. Answers it, or `None` when the request has
    /// ended.
    fn choose(&mut self, index: usize, entry: usize) -> Result<Option<Token>, Fatal> {
        let backend = self.kv.backend();
        let sequence = &mut self.sequences[index];
        let id = sequence.id;
        let logits = match backend.logits(entry) {
            Ok(logits) => logits,
            Err(error) => return self.fail(id, error).map(|()| None),
        };
        let bytes = |token| bytes_of(backend, token);
        let vocabulary = Vocabulary {
            ends: &self.ends,
            longest: longest_sequence(&backend.limits()),
            bytes: &bytes,
        };
        match sequence.accept(logits, &vocabulary, &mut self.events) {
            Ok(None) => return Ok(sequence.tokens().last().copied()),
            Ok(Some(reason)) => self.finish(id, reason),
            Err(error) => self.give_up(id, error.to_string()),
        }
        Ok(None)
    }

    /// Adds the tokens that must come next by a request's form.
    fn add_forced(&mut self, id: RequestId) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let backend = self.kv.backend();
        let bytes = |token| bytes_of(backend, token);
        let vocabulary = Vocabulary {
            ends: &self.ends,
            longest: longest_sequence(&backend.limits()),
            bytes: &bytes,
        };
        let ended = self.sequences[index].accept_forced(&vocabulary, &mut self.events);
        if let Some(reason) = ended {
            self.finish(id, reason);
        }
    }

    /// Makes room in a context that is full.
    fn shift_context(&mut self, id: RequestId) {
        let longest = longest_sequence(&self.kv.backend().limits());
        let Some(index) = self.index_of(id) else {
            return;
        };
        let sequence = &mut self.sequences[index];
        while let Some(seq) = sequence.seq
            && sequence.is_full(longest)
        {
            let dropped = sequence.drop_half(longest);
            sequence.set_computed(self.kv.drop_range(seq, dropped));
            self.shifts += 1;
        }
    }

    /// The backend has fewer cells than the books say, or a batch needs more at once: make room, or do without the
    /// one that has all cells to itself.
    fn run_out_of_room(&mut self) {
        if self.kv.evict() {
            return;
        }
        let Some(first) = self.first_at_work() else {
            return;
        };
        if self.preempt(first) {
            return;
        }
        let sequence = &self.sequences[first];
        let (id, tokens) = (sequence.id, sequence.tokens().len());
        if sequence.is_decoding() {
            self.finish(id, FinishReason::Length);
        } else {
            let cells = self.kv.backend().limits().kv_cells;
            let error = format!(
                "the KV cache of {cells} cells has no room for the prompt's {tokens} tokens"
            );
            self.give_up(id, error);
        }
    }

    /// The batch was stopped: only what the KV cache holds now is computed.
    fn roll_back(&mut self) {
        for span in std::mem::take(&mut self.spans) {
            let Some(index) = self.index_of(span.id) else {
                continue;
            };
            let sequence = &mut self.sequences[index];
            let mut computed = self.kv.length(span.seq);
            // The last token must be fed once more, for its logits were lost. Fixed chunks must be fed as they were.
            let again = sequence.tokens().len() - 1;
            if sequence.deterministic || (computed > again && !self.kv.cut(span.seq, again)) {
                self.kv.cut(span.seq, 0);
                computed = 0;
            }
            sequence.set_computed(computed.min(again));
        }
    }

    fn fail(&mut self, id: RequestId, error: BackendError) -> Result<(), Fatal> {
        let BackendError { message, fatal } = error;
        if fatal {
            // The backend is not to be called any more, and the thread ends what is left.
            return Err(Fatal(message));
        }
        self.give_up(id, message);
        Ok(())
    }

    /// Ends a request; a good end leaves its KV cache behind.
    fn finish(&mut self, id: RequestId, reason: FinishReason) {
        let Some(sequence) = self.remove(id) else {
            return;
        };
        self.events.push(sequence.finished(reason));
        let keeps = self.kv.backend().model().prefix_reuse
            && !matches!(reason, FinishReason::Cancelled | FinishReason::Timeout)
            && sequence.access.identity.is_some();
        match sequence.seq {
            Some(seq) if keeps => {
                // What was guessed and not chosen is no part of it.
                self.kv.shorten(seq, sequence.computed());
                self.kv.keep(seq, sequence.access);
            }
            Some(seq) => self.kv.release(seq),
            None => {}
        }
    }

    /// Ends a request with an error.
    fn give_up(&mut self, id: RequestId, error: String) {
        let Some(sequence) = self.remove(id) else {
            return;
        };
        self.events.push(Event::Failed { id, error });
        sequence
            .seq
            .into_iter()
            .for_each(|seq| self.kv.release(seq));
    }

    fn remove(&mut self, id: RequestId) -> Option<Sequence> {
        self.suspects.retain(|&suspect| suspect != id);
        let index = self.index_of(id)?;
        Some(self.sequences.remove(index))
    }

    fn index_of(&self, id: RequestId) -> Option<usize> {
        self.sequences.iter().position(|sequence| sequence.id == id)
    }

    /// Takes its id and KV cache from a request. It will be computed anew, but for what waits in main memory.
    fn park(&mut self, index: usize) {
        let sequence = &mut self.sequences[index];
        if let Some(seq) = sequence.seq.take() {
            // What was guessed and not chosen is no part of it.
            self.kv.shorten(seq, sequence.computed());
            sequence.set_computed(0);
            self.kv.put_out(seq);
        }
    }

    /// Takes the cells of the request that gives way to `protected`. Answers whether there is one.
    fn preempt(&mut self, protected: usize) -> bool {
        let victim = self.victim(protected);
        if let Some(victim) = victim {
            self.park(victim);
            self.preemptions += 1;
        }
        victim.is_some()
    }

    /// Requests that have an id and are not paused.
    fn at_work(&self) -> impl Iterator<Item = usize> + '_ {
        let working = |sequence: &Sequence| sequence.seq.is_some() && !sequence.paused;
        (0..self.sequences.len()).filter(move |&index| working(&self.sequences[index]))
    }

    /// Requests at work that are computed with the adapters whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = usize> + '_ {
        self.at_work()
            .filter(|&index| self.sequences[index].access.adapters == *self.turn.adapters())
    }

    /// The request at work that never gives way.
    fn first_at_work(&self) -> Option<usize> {
        self.at_work().min_by_key(|&index| self.rank(index))
    }

    /// Who gives way to `protected` when cells run out: the youngest of the lowest priority. One that is paused keeps
    /// its cells for as long as others can give way.
    fn victim(&self, protected: usize) -> Option<usize> {
        let others = (0..self.sequences.len())
            .filter(|&index| index != protected && self.sequences[index].seq.is_some());
        others.max_by_key(|&index| (!self.sequences[index].paused, self.rank(index)))
    }

    /// Sorts requests by how much they come first.
    fn rank(&self, index: usize) -> (Reverse<i8>, RequestId) {
        let sequence = &self.sequences[index];
        (Reverse(sequence.priority), sequence.id)
    }
}

fn bytes_of<B: Backend>(backend: &B, token: Token) -> Vec<u8> {
    let mut bytes = Vec::new();
    backend.token_bytes(token, &mut bytes);
    bytes
}
