//! A request at work: its tokens, how far they are computed, and the text that comes out.
//!
//! Prefill and decode are one thing here: tokens that are known but not computed are fed, and when the last of
//! them has been, a new one is chosen. So a rollback or the loss of the KV cache needs no more than a smaller
//! `computed`.

use std::mem;
use std::ops::Range;
use std::time::Instant;

use crate::backend::{SeqId, Token};
use crate::event::{Event, FinishReason, Timings, TokenInfo, Usage};
use crate::inbox::Submitted;
use crate::request::RequestId;
use crate::sampling::{SampleError, Sampler};
use crate::scheduler::Access;
use crate::speculation::{Guess, Lookup, Trust};
use crate::text::TextStream;

pub(crate) struct Sequence {
    pub(crate) id: RequestId,
    /// Where its KV cache is, if it has one.
    pub(crate) seq: Option<SeqId>,
    /// Whom its prefix may be shared with, and what it is computed with.
    pub(crate) access: Access,
    pub(crate) priority: i8,
    deadline: Option<Instant>,
    /// Whether it runs alone, in fixed chunks.
    pub(crate) deterministic: bool,
    /// Whether it is left out of batches for now.
    pub(crate) paused: bool,
    /// The step that computed some of it last, or in which it came.
    pub(crate) served: u64,
    /// Whether its start was reported.
    has_started: bool,
    /// Prompt and completion, without what was dropped.
    tokens: Vec<Token>,
    prompt_tokens: usize,
    cached_tokens: usize,
    /// How many first tokens stay when the context is full; `None` when the answer ends then.
    keeps: Option<usize>,
    /// Tokens that were let go of when it was.
    dropped: usize,
    /// How many of the tokens are in the KV cache.
    computed: usize,
    max_tokens: usize,
    seed: u64,
    sampler: Sampler,
    text: TextStream,
    spelled: Vec<(Token, String)>,
    lookup: Lookup,
    trust: Trust,
    /// Tokens that no piece has reported yet.
    unreported: Vec<TokenInfo>,
    clock: Clock,
}

struct Clock {
    submitted: Instant,
    started: Instant,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
}

impl Sequence {
    /// Takes up a request in a step. `ends` are the tokens that end a generation.
    pub(crate) fn new(submitted: Submitted, step: u64, ends: &[Token]) -> Self {
        let Submitted { id, request, at } = submitted;
        let shares = request.prefix_cache && !request.deterministic;
        let banned = if request.ignore_eos { ends } else { &[] };
        let seed = request.sampling.seed;
        let mut sampler =
            Sampler::new(request.sampling, banned, request.logprobs).with_form(request.form);
        request
            .prompt
            .iter()
            .for_each(|&token| sampler.observe(token));
        Self {
            id,
            seq: None,
            access: Access {
                identity: shares.then_some(request.identity),
                public: request.public_prefix.min(request.prompt.len()),
                adapters: request.adapters,
            },
            priority: request.priority,
            deadline: request.deadline,
            deterministic: request.deterministic,
            paused: false,
            served: step,
            has_started: false,
            prompt_tokens: request.prompt.len(),
            tokens: request.prompt,
            cached_tokens: 0,
            keeps: request.context_shift,
            dropped: 0,
            computed: 0,
            max_tokens: request.max_tokens as usize,
            seed,
            sampler,
            text: TextStream::new(&request.stop),
            spelled: request.spelled,
            lookup: Lookup::default(),
            trust: Trust::default(),
            unreported: Vec::new(),
            clock: Clock {
                submitted: at,
                started: Instant::now(),
                first_token: None,
                last_token: None,
            },
        }
    }

    /// Prompt and completion so far, without what was dropped.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// How many of the tokens are in the KV cache.
    pub(crate) fn computed(&self) -> usize {
        self.computed
    }

    /// How many are known and not in the KV cache.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Tokens of the prompt.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Whether it has chosen a token yet.
    pub(crate) fn is_decoding(&self) -> bool {
        self.completion_tokens() > 0
    }

    /// Whether its answer is of no use any more.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether nothing is asked of it at all.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.max_tokens == 0
    }

    /// Begins, or begins again after its KV cache was lost, with the first tokens in the KV cache already. Answers
    /// the event of the start, if it is the first one.
    pub(crate) fn start(&mut self, cached_tokens: usize) -> Option<Event> {
        self.computed = cached_tokens;
        if self.has_started {
            return None;
        }
        self.has_started = true;
        self.cached_tokens = cached_tokens;
        self.clock.started = Instant::now();
        Some(Event::Started {
            id: self.id,
            prompt_tokens: self.prompt_tokens,
            cached_tokens,
            queue_ms: self.timings().queue_ms,
        })
    }

    /// Whether it must let go of some tokens before it goes on.
    pub(crate) fn is_full(&self, longest: usize) -> bool {
        self.keeps.is_some() && self.tokens.len() >= longest
    }

    /// Lets go of the earlier half of what comes after the tokens that stay. Answers where they were; the caller tells
    /// what of the rest is still computed.
    pub(crate) fn drop_half(&mut self, longest: usize) -> Range<usize> {
        let start = self.keeps.unwrap_or_default().min(longest / 2);
        let count = ((self.tokens.len() - start) / 2).max(1);
        let dropped = start..start + count;
        self.tokens.drain(dropped.clone());
        self.dropped += count;
        self.access.public = self.access.public.min(start);
        // It knows places by their indices.
        self.lookup = Lookup::default();
        dropped
    }

    /// The next tokens to compute, at most `most` of them.
    pub(crate) fn next_chunk(&self, most: usize) -> Range<usize> {
        self.computed..self.tokens.len().min(self.computed + most)
    }

    /// Notes how many tokens the KV cache holds now.
    pub(crate) fn set_computed(&mut self, computed: usize) {
        self.computed = computed.min(self.tokens.len());
    }

    /// Whether logits for its next token are there.
    pub(crate) fn is_ready(&self) -> bool {
        self.computed == self.tokens.len()
    }

    /// Works out, while the model computes, which tokens the answer's form allows next.
    pub(crate) fn prepare(&mut self) {
        if let Some(form) = self.sampler.form() {
            form.prepare();
        }
    }

    /// Whether [`Self::prepare`] has anything to do.
    pub(crate) fn has_form(&mut self) -> bool {
        self.sampler.form().is_some()
    }

    /// Chooses the next token and reports what text it settles. Answers why the generation ends, if it does.
    pub(crate) fn accept(
        &mut self,
        logits: &[f32],
        vocabulary: &Vocabulary<'_>,
        events: &mut Vec<Event>,
    ) -> Result<Option<FinishReason>, SampleError> {
        let info = self.sampler.sample(logits, self.position())?;
        let mut text = String::new();
        let reason = self.take(info, vocabulary, &mut text);
        Ok(self.settle(text, reason, events))
    }

    /// Adds the tokens that the answer's form leaves no choice about, without asking the model, and reports what text
    /// they settle. Not where the model's own view of them is asked for, nor where batches must have the same shape
    /// each time. Answers why the generation ends, if it does.
    pub(crate) fn accept_forced(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        if self.deterministic || self.sampler.reports_logprobs() {
            return None;
        }
        let forced = self.sampler.form()?.forced();
        let mut text = String::new();
        let reason = forced.into_iter().find_map(|token| {
            let info = TokenInfo {
                token,
                logprob: None,
                top: Vec::new(),
            };
            self.take(info, vocabulary, &mut text)
        });
        self.settle(text, reason, events)
    }

    /// Guesses up to `most` next tokens, as far as there is room for them in a sequence of `longest` tokens, with one
    /// more after them.
    pub(crate) fn guess(&mut self, most: usize, longest: usize) -> Option<Guess> {
        let left = self.max_tokens.saturating_sub(self.completion_tokens());
        let room = left.min(longest.saturating_sub(self.tokens.len()));
        self.lookup
            .guess(&self.tokens, most.min(room.saturating_sub(1)))
    }

    /// How likely the first token of a guess comes true.
    pub(crate) fn trust(&self, guess: &Guess) -> f64 {
        self.trust.rate(guess.matched)
    }

    /// Compares a guess with what came.
    pub(crate) fn judge(&mut self, guess: &Guess, came_true: bool) {
        self.trust.note(guess.matched, came_true);
    }

    /// Adds a token to the completion. Answers why the generation ends, if it does.
    fn take(
        &mut self,
        info: TokenInfo,
        vocabulary: &Vocabulary<'_>,
        text: &mut String,
    ) -> Option<FinishReason> {
        let now = Instant::now();
        self.clock.first_token.get_or_insert(now);
        if vocabulary.ends.contains(&info.token) {
            return Some(FinishReason::Stop);
        }
        self.clock.last_token = Some(now);
        self.tokens.push(info.token);
        self.sampler.chosen(info.token);
        let stopped = match self.spelled.iter().find(|(token, _)| *token == info.token) {
            Some((_, name)) => self.text.push(name.as_bytes(), text),
            None => self.text.push(&(vocabulary.bytes)(info.token), text),
        };
        self.unreported.push(info);
        if stopped || self.sampler.form().is_some_and(|form| form.is_complete()) {
            return Some(FinishReason::Stop);
        }
        let full = self.keeps.is_none() && self.tokens.len() >= vocabulary.longest;
        (full || self.completion_tokens() >= self.max_tokens).then_some(FinishReason::Length)
    }

    /// Reports text, and all that is left where the generation ends: then a stop string may come to light, which
    /// is the reason that counts.
    fn settle(
        &mut self,
        mut text: String,
        reason: Option<FinishReason>,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        let stopped = reason.is_some() && self.text.finish(&mut text);
        let reason = if stopped {
            Some(FinishReason::Stop)
        } else {
            reason
        };
        self.report(text, reason.is_some(), events);
        reason
    }

    /// Reports a settled text with the tokens up to it; at the end, also tokens that have no text.
    fn report(&mut self, text: String, at_end: bool, events: &mut Vec<Event>) {
        let left_over = at_end && !self.unreported.is_empty();
        if text.is_empty() && !left_over {
            return;
        }
        let mut news = mem::take(&mut self.unreported);
        match events.last_mut() {
            // Tokens of the same step are told at once.
            Some(Event::Piece {
                id,
                text: before,
                tokens,
            }) if *id == self.id => {
                before.push_str(&text);
                tokens.append(&mut news);
            }
            _ => events.push(Event::Piece {
                id: self.id,
                text,
                tokens: news,
            }),
        }
    }

    /// The event of its end.
    pub(crate) fn finished(&self, reason: FinishReason) -> Event {
        let usage = Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens(),
            cached_tokens: self.cached_tokens,
        };
        Event::Finished {
            id: self.id,
            reason,
            usage,
            timings: self.timings(),
            seed: self.seed,
        }
    }

    fn completion_tokens(&self) -> usize {
        self.dropped + self.tokens.len() - self.prompt_tokens
    }

    /// Where its next token stands, counting those that were dropped.
    fn position(&self) -> u64 {
        (self.dropped + self.tokens.len()) as u64
    }

    fn timings(&self) -> Timings {
        let clock = &self.clock;
        let since_first = |end: Instant, first: Instant| end.duration_since(first).as_secs_f64();
        let rate = |count: usize, seconds: f64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        let prefill_s = clock
            .first_token
            .map_or(0.0, |first| since_first(first, clock.started));
        let decode_s = clock
            .first_token
            .zip(clock.last_token)
            .map_or(0.0, |(first, last)| since_first(last, first));
        Timings {
            queue_ms: milliseconds(clock.submitted, clock.started),
            first_token_ms: clock
                .first_token
                .map_or(0.0, |first| milliseconds(clock.submitted, first)),
            prefill_tokens_per_s: rate(self.prompt_tokens - self.cached_tokens, prefill_s),
            decode_tokens_per_s: rate(self.completion_tokens().saturating_sub(1), decode_s),
        }
    }
}

/// What a sequence must know of the model.
pub(crate) struct Vocabulary<'a> {
    /// Tokens that end a generation.
    pub(crate) ends: &'a [Token],
    /// Tokens in the longest sequence.
    pub(crate) longest: usize,
    /// The bytes of a token.
    pub(crate) bytes: &'a dyn Fn(Token) -> Vec<u8>,
}

/// The event of the end of a request that never began.
pub(crate) fn ended_in_queue(submitted: &Submitted, reason: FinishReason) -> Event {
    let usage = Usage {
        prompt_tokens: submitted.request.prompt.len(),
        ..Usage::default()
    };
    let timings = Timings {
        queue_ms: milliseconds(submitted.at, Instant::now()),
        ..Timings::default()
    };
    Event::Finished {
        id: submitted.id,
        reason,
        usage,
        timings,
        seed: submitted.request.sampling.seed,
    }
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}
