//! Builds a `llama_batch` from entries that were checked against everything that llama.cpp asserts.

use crate::sys::LlamaBatch;
use std::collections::HashMap;
use tabagent_engine::{BackendError, BatchEntry, Limits, Pos, SeqId};

/// What a batch is checked against.
pub(crate) struct BatchRules {
    pub limits: Limits,
    pub n_vocab: usize,
}

/// The arrays of a `llama_batch`, kept from call to call so that a decode allocates nothing.
pub(crate) struct Batch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    sequence_counts: Vec<i32>,
    sequences: Vec<i32>,
    sequence_pointers: Vec<*mut i32>,
    outputs: Vec<i8>,
}

// SAFETY: the pointers lead into the vectors beside them and are set anew before each use.
unsafe impl Send for Batch {}

impl BatchRules {
    /// Answers an error for whatever llama.cpp would end the process or corrupt its cache for.
    /// `next_position` tells the first free position of a sequence.
    pub(crate) fn check(
        &self,
        entries: &[BatchEntry],
        next_position: impl Fn(SeqId) -> Pos,
    ) -> Result<(), BackendError> {
        let refuse = |message: String| Err(BackendError::recoverable(message));
        if entries.is_empty() || entries.len() > self.limits.n_batch as usize {
            return refuse(format!(
                "a batch has 1 to {} entries, not {}",
                self.limits.n_batch,
                entries.len()
            ));
        }
        let outputs = entries.iter().filter(|entry| entry.output).count();
        if outputs > self.limits.n_outputs_max as usize {
            return refuse(format!(
                "a batch has at most {} outputs in this context, not {outputs}",
                self.limits.n_outputs_max
            ));
        }
        let mut expected: HashMap<SeqId, Pos> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if !usize::try_from(entry.token).is_ok_and(|id| id < self.n_vocab) {
                return refuse(format!(
                    "entry {index}: token {} is not in the vocabulary of {}",
                    entry.token, self.n_vocab
                ));
            }
            if entry.seq >= self.limits.n_seq_max {
                return refuse(format!(
                    "entry {index}: sequence {} is not below {}",
                    entry.seq, self.limits.n_seq_max
                ));
            }
            let next = expected
                .entry(entry.seq)
                .or_insert_with(|| next_position(entry.seq));
            if entry.pos != *next {
                return refuse(format!(
                    "entry {index}: position {} of sequence {} should be {next}",
                    entry.pos, entry.seq
                ));
            }
            if entry.pos < 0 || entry.pos.unsigned_abs() >= self.limits.n_ctx {
                return refuse(format!(
                    "entry {index}: position {} is past the context of {}",
                    entry.pos, self.limits.n_ctx
                ));
            }
            *next += 1;
        }
        Ok(())
    }
}

impl Batch {
    /// Room for `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(capacity),
            positions: Vec::with_capacity(capacity),
            sequence_counts: Vec::with_capacity(capacity),
            sequences: Vec::with_capacity(capacity),
            sequence_pointers: Vec::with_capacity(capacity + 1),
            outputs: Vec::with_capacity(capacity),
        }
    }

    /// The batch of these (checked) entries. It points into `self` and must not outlive this borrow.
    pub(crate) fn fill(&mut self, entries: &[BatchEntry]) -> LlamaBatch {
        self.tokens.clear();
        self.positions.clear();
        self.sequence_counts.clear();
        self.sequences.clear();
        self.sequence_pointers.clear();
        self.outputs.clear();
        for entry in entries {
            self.tokens.push(entry.token);
            self.positions.push(entry.pos);
            self.sequence_counts.push(1);
            self.sequences.push(entry.seq.cast_signed());
            self.outputs.push(i8::from(entry.output));
        }
        self.sequence_pointers
            .extend(self.sequences.iter_mut().map(std::ptr::from_mut));
        self.sequence_pointers.push(std::ptr::null_mut());
        LlamaBatch {
            n_tokens: i32::try_from(entries.len()).unwrap_or(i32::MAX),
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.sequence_counts.as_mut_ptr(),
            seq_id: self.sequence_pointers.as_mut_ptr(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> BatchRules {
        BatchRules {
            limits: Limits {
                n_ctx: 8,
                kv_cells: 256,
                n_batch: 4,
                n_seq_max: 2,
                n_outputs_max: 2,
                unified: true,
            },
            n_vocab: 10,
        }
    }

    fn entry(token: i32, pos: Pos, seq: SeqId) -> BatchEntry {
        BatchEntry {
            token,
            pos,
            seq,
            output: false,
        }
    }

    fn refusal(entries: &[BatchEntry]) -> String {
        let error = rules()
            .check(entries, |seq| if seq == 0 { 3 } else { 0 })
            .unwrap_err();
        assert!(!error.fatal);
        error.message
    }

    #[test]
    fn a_right_batch_passes() {
        let batch = [
            entry(9, 3, 0),
            entry(0, 0, 1),
            entry(1, 4, 0),
            entry(2, 1, 1),
        ];
        assert_eq!(
            rules().check(&batch, |seq| if seq == 0 { 3 } else { 0 }),
            Ok(())
        );
    }

    #[test]
    fn everything_that_llama_asserts_is_refused() {
        assert!(refusal(&[]).contains("1 to 4"));
        assert!(refusal(&[entry(0, 0, 1); 5]).contains("1 to 4"));
        assert!(refusal(&[entry(10, 3, 0)]).contains("vocabulary"));
        assert!(refusal(&[entry(-1, 3, 0)]).contains("vocabulary"));
        assert!(refusal(&[entry(0, 0, 2)]).contains("sequence 2"));
        assert!(refusal(&[entry(0, 0, u32::MAX)]).contains("sequence"));
        assert!(refusal(&[entry(0, 4, 0)]).contains("should be 3"));
        assert!(refusal(&[entry(0, 3, 0), entry(0, 3, 0)]).contains("should be 4"));
        assert!(refusal(&[entry(0, -1, 1)]).contains("should be 0"));
    }

    #[test]
    fn outputs_have_a_budget_and_positions_an_end() {
        let output = |pos| BatchEntry {
            output: true,
            ..entry(0, pos, 1)
        };
        assert!(refusal(&[output(0), output(1), output(2)]).contains("at most 2 outputs"));
        let error = rules().check(&[entry(0, 8, 0)], |_| 8).unwrap_err();
        assert!(error.message.contains("past the context"));
    }

    #[test]
    fn a_filled_batch_points_at_its_entries() {
        let mut batch = Batch::new(2);
        let raw = batch.fill(&[
            entry(5, 3, 0),
            BatchEntry {
                output: true,
                ..entry(6, 0, 1)
            },
        ]);
        assert_eq!(raw.n_tokens, 2);
        assert_eq!(batch.tokens, [5, 6]);
        assert_eq!(batch.sequences, [0, 1]);
        assert_eq!(batch.outputs, [0, 1]);
        assert!(batch.sequence_pointers[2].is_null());
    }
}
