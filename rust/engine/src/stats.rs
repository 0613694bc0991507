//! What an engine has done and holds, in numbers.

use std::time::Duration;

use crate::event::{Event, FinishReason};

/// A snapshot of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests that wait.
    pub queued: usize,
    /// Requests at work.
    pub running: usize,
    /// Events that wait to be drained.
    pub events_waiting: usize,
    /// After how long the next request leaves the queue, as far as measured.
    pub retry_after: Duration,
    /// What has been done since the engine began.
    pub totals: Totals,
    /// Why the engine takes no more requests, if so.
    pub unusable: Option<String>,
}

/// Sums over all requests so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Requests that ended by themselves.
    pub finished: u64,
    /// Requests that were cancelled, or whose deadline passed.
    pub cancelled: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Prompt tokens of requests that began.
    pub prompt_tokens: u64,
    /// Those of them that had been computed before.
    pub cached_tokens: u64,
    /// Tokens generated and delivered.
    pub completion_tokens: u64,
    /// Batches computed.
    pub steps: u64,
    /// How often a request lost its KV cache to another one, to be computed anew.
    pub preemptions: u64,
    /// Guessed tokens that were fed.
    pub drafted: u64,
    /// Those of them that came true.
    pub drafts_kept: u64,
    /// How often a request let go of tokens because its context was full.
    pub shifts: u64,
    /// Sequences that left the KV cache for main memory.
    pub spilled: u64,
    /// Those of them that came back.
    pub restored: u64,
    /// Bytes of main memory that such sequences hold now.
    pub spilled_bytes: u64,
}

impl Totals {
    /// Counts an event.
    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
                ..
            } => {
                self.prompt_tokens += *prompt_tokens as u64;
                self.cached_tokens += *cached_tokens as u64;
            }
            Event::Piece { tokens, .. } => self.completion_tokens += tokens.len() as u64,
            Event::Finished {
                reason: FinishReason::Cancelled | FinishReason::Timeout,
                ..
            } => self.cancelled += 1,
            Event::Finished { .. } => self.finished += 1,
            Event::Failed { .. } => self.failed += 1,
        }
    }
}
