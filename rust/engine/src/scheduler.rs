//! Decides what is computed in the next step, and hands out what came of it.
//!
//! A step is [`Scheduler::plan`] (fill a batch), [`Scheduler::decode`] (compute it) and [`Scheduler::absorb`]
//! (sample, report, free). One sequence runs at a time. When it has ended, its KV cache stays for a successor of
//! the same identity that begins alike.

use crate::backend::{
    AbortFlag, Backend, BackendError, BatchEntry, DecodeOutcome, Pos, SeqId, Token,
};
use crate::event::{Event, FinishReason};
use crate::inbox::Submitted;
use crate::request::{RequestId, longest_sequence};
use crate::sequence::{Sequence, Vocabulary};

/// The only sequence in the KV cache.
const SEQ: SeqId = 0;

/// A failure after which the backend is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fatal(pub(crate) String);

pub(crate) struct Scheduler<B> {
    backend: B,
    /// Tokens that end a generation.
    ends: Vec<Token>,
    running: Option<Sequence>,
    kept: Option<Kept>,
    batch: Vec<BatchEntry>,
    events: Vec<Event>,
}

/// What an ended sequence left in the KV cache.
struct Kept {
    identity: u64,
    tokens: Vec<Token>,
}

impl<B: Backend> Scheduler<B> {
    pub(crate) fn new(backend: B) -> Self {
        let model = backend.model();
        let mut ends = model.eog.clone();
        ends.extend(model.eos);
        Self {
            backend,
            ends,
            running: None,
            kept: None,
            batch: Vec::new(),
            events: Vec::new(),
        }
    }

    /// How many more requests it can take.
    pub(crate) fn room(&self) -> usize {
        usize::from(self.running.is_none())
    }

    /// Whether there is nothing to compute.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Events since they were last taken, in their order; the caller empties it.
    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Takes a request. There must be [`Self::room`] for it.
    pub(crate) fn admit(&mut self, submitted: Submitted) {
        let mut sequence = Sequence::new(submitted, SEQ, &self.ends);
        if sequence.wants_nothing() {
            self.events.push(sequence.started());
            self.events.push(sequence.finished(FinishReason::Length));
            return;
        }
        let cached = self.reuse_prefix(&sequence);
        sequence.reuse(cached);
        self.events.push(sequence.started());
        self.running = Some(sequence);
    }

    /// Ends a request and frees its KV cache at once.
    pub(crate) fn cancel(&mut self, id: RequestId) {
        if self
            .running
            .as_ref()
            .is_some_and(|sequence| sequence.id == id)
        {
            self.finish(FinishReason::Cancelled);
        }
    }

    /// Ends all requests.
    pub(crate) fn cancel_all(&mut self) {
        self.finish(FinishReason::Cancelled);
    }

    /// Fills the next batch and answers whose it is.
    pub(crate) fn plan(&mut self) -> Vec<RequestId> {
        self.batch.clear();
        let Some(sequence) = &self.running else {
            return Vec::new();
        };
        let chunk = sequence.next_chunk(self.backend.limits().n_batch as usize);
        let last = sequence.tokens().len() - 1;
        self.batch.extend(chunk.map(|index| BatchEntry {
            token: sequence.tokens()[index],
            pos: position(index),
            seq: sequence.seq,
            output: index == last,
        }));
        vec![sequence.id]
    }

    /// Computes the planned batch. This is where the time goes; requests can be cancelled meanwhile.
    pub(crate) fn decode(&mut self, abort: &AbortFlag) -> Result<DecodeOutcome, BackendError> {
        self.backend.decode(&self.batch, abort)
    }

    /// Goes on from what [`Self::decode`] answered.
    pub(crate) fn absorb(
        &mut self,
        decoded: Result<DecodeOutcome, BackendError>,
    ) -> Result<(), Fatal> {
        match decoded {
            Ok(DecodeOutcome::Done) => self.advance(),
            Ok(DecodeOutcome::NoRoom) => {
                self.run_out_of_room();
                Ok(())
            }
            Ok(DecodeOutcome::Aborted) => {
                self.roll_back();
                Ok(())
            }
            Err(error) => self.fail(error),
        }
    }

    /// The batch is computed: choose a token if the sequence is complete.
    fn advance(&mut self) -> Result<(), Fatal> {
        let Some(sequence) = &mut self.running else {
            return Ok(());
        };
        sequence.set_computed(sequence.computed_tokens().len() + self.batch.len());
        if !sequence.is_ready() {
            return Ok(());
        }
        let backend = &self.backend;
        let logits = match backend.logits(self.batch.len() - 1) {
            Ok(logits) => logits,
            Err(error) => return self.fail(error),
        };
        let bytes = |token| {
            let mut bytes = Vec::new();
            backend.token_bytes(token, &mut bytes);
            bytes
        };
        let vocabulary = Vocabulary {
            ends: &self.ends,
            longest: longest_sequence(&backend.limits()),
            bytes: &bytes,
        };
        match sequence.accept(logits, &vocabulary, &mut self.events) {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => {
                self.finish(reason);
                Ok(())
            }
            Err(error) => self.fail(BackendError::recoverable(error.to_string())),
        }
    }

    /// The KV cache is full, though the sequence has it all to itself.
    fn run_out_of_room(&mut self) {
        let Some(sequence) = &self.running else {
            return;
        };
        if sequence.is_decoding() {
            self.finish(FinishReason::Length);
        } else {
            let tokens = sequence.tokens().len();
            let cells = self.backend.limits().kv_cells;
            let error = format!(
                "the KV cache of {cells} cells has no room for the prompt's {tokens} tokens"
            );
            self.give_up(error);
        }
    }

    /// The batch was stopped: only what the KV cache holds now is computed.
    fn roll_back(&mut self) {
        let Some(sequence) = &mut self.running else {
            return;
        };
        let last = self.backend.seq_max_pos(sequence.seq);
        sequence.set_computed(
            last.and_then(|last| usize::try_from(last).ok())
                .map_or(0, |last| last + 1),
        );
        // The last token must be fed once more, for its logits were lost.
        if sequence.is_ready() {
            let again = sequence.tokens().len() - 1;
            let cut = self.backend.seq_remove(sequence.seq, position(again), None);
            if !cut {
                self.backend.seq_remove(sequence.seq, 0, None);
            }
            sequence.set_computed(if cut { again } else { 0 });
        }
    }

    fn fail(&mut self, error: BackendError) -> Result<(), Fatal> {
        let BackendError { message, fatal } = error;
        if fatal {
            // The backend is not to be called any more, and the thread ends what is left.
            return Err(Fatal(message));
        }
        self.give_up(message);
        Ok(())
    }

    /// Ends the running sequence; a good end leaves its KV cache behind.
    fn finish(&mut self, reason: FinishReason) {
        let Some(sequence) = self.running.take() else {
            return;
        };
        self.events.push(sequence.finished(reason));
        let keeps = self.backend.model().prefix_reuse && reason != FinishReason::Cancelled;
        match sequence.identity.filter(|_| keeps) {
            Some(identity) => {
                self.kept = Some(Kept {
                    identity,
                    tokens: sequence.computed_tokens().to_vec(),
                })
            }
            None => self.free(),
        }
    }

    /// Ends the running sequence with an error.
    fn give_up(&mut self, error: String) {
        let Some(sequence) = self.running.take() else {
            return;
        };
        self.events.push(Event::Failed {
            id: sequence.id,
            error,
        });
        self.free();
    }

    fn free(&mut self) {
        self.backend.seq_remove(SEQ, 0, None);
    }

    /// Leaves in the KV cache what the sequence can use, and answers how many tokens of it.
    fn reuse_prefix(&mut self, sequence: &Sequence) -> usize {
        let common = self
            .kept
            .take()
            .filter(|kept| sequence.identity == Some(kept.identity))
            .map_or(0, |kept| common_prefix(&kept.tokens, sequence.tokens()));
        // The last token of the prompt is computed in any case, for its logits.
        let common = common.min(sequence.tokens().len() - 1);
        if common > 0 && self.backend.seq_remove(SEQ, position(common), None) {
            return common;
        }
        self.free();
        0
    }
}

fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// An index into a sequence as a position; both are bounded by `n_ctx`.
fn position(index: usize) -> Pos {
    Pos::try_from(index).unwrap_or(Pos::MAX)
}
