//! Engines on a toy backend, what they should say, and what they said.
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use tabagent_engine::toy::{Rule, Toy, ToyConfig, ToyControl, bytes_of};
use tabagent_engine::{
    Engine, EngineConfig, Event, FinishReason, Limits, Request, RequestId, SamplingParams, Timings,
    Token, TokenInfo, Usage,
};

/// An engine on a toy.
pub fn engine(config: ToyConfig) -> (Engine, ToyControl) {
    bounded_engine(config, EngineConfig::default().queue_bound)
}

/// The same with a bound of its queue.
pub fn bounded_engine(config: ToyConfig, queue_bound: usize) -> (Engine, ToyControl) {
    let (toy, control) = Toy::new(config);
    let config = EngineConfig {
        queue_bound,
        ..EngineConfig::default()
    };
    (Engine::spawn(toy, config).unwrap(), control)
}

/// A toy that says `text` after a prompt of `prompt` tokens.
pub fn saying(prompt: usize, text: &str) -> ToyConfig {
    ToyConfig {
        rule: tabagent_engine::toy::script(prompt, text),
        ..ToyConfig::default()
    }
}

/// A request that takes the most likely token every time.
pub fn greedy(prompt: Vec<Token>, max_tokens: u32) -> Request {
    let mut request = Request::new(prompt, max_tokens);
    request.sampling = SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    };
    request
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Finished {
        reason: FinishReason,
        usage: Usage,
        timings: Timings,
        seed: u64,
    },
    Failed(String),
}

/// All that was said about a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Story {
    /// Prompt tokens and cached tokens.
    pub started: Option<(usize, usize)>,
    pub pieces: Vec<String>,
    pub tokens: Vec<TokenInfo>,
    pub end: Option<End>,
}

impl Story {
    pub fn text(&self) -> String {
        self.pieces.concat()
    }

    pub fn token_ids(&self) -> Vec<Token> {
        self.tokens.iter().map(|info| info.token).collect()
    }

    pub fn reason(&self) -> FinishReason {
        match self.end {
            Some(End::Finished { reason, .. }) => reason,
            ref other => panic!("{other:?}"),
        }
    }

    pub fn usage(&self) -> Usage {
        match self.end {
            Some(End::Finished { usage, .. }) => usage,
            ref other => panic!("{other:?}"),
        }
    }

    pub fn error(&self) -> &str {
        match &self.end {
            Some(End::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Adds an event, and checks that it may come here.
    fn add(&mut self, event: Event) {
        assert!(self.end.is_none(), "{event:?} came after the end");
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
                ..
            } => {
                assert!(self.started.is_none(), "started twice");
                self.started = Some((prompt_tokens, cached_tokens));
            }
            Event::Piece { text, tokens, .. } => {
                assert!(self.started.is_some(), "a piece before the start");
                self.pieces.push(text);
                self.tokens.extend(tokens);
            }
            Event::Finished {
                reason,
                usage,
                timings,
                seed,
                ..
            } => {
                if reason != FinishReason::Cancelled {
                    assert_eq!(
                        usage.completion_tokens,
                        self.tokens.len(),
                        "tokens were lost"
                    );
                }
                self.end = Some(End::Finished {
                    reason,
                    usage,
                    timings,
                    seed,
                });
            }
            Event::Failed { error, .. } => self.end = Some(End::Failed(error)),
        }
    }
}

/// What has been drained so far, by request.
#[derive(Debug, Default)]
pub struct Stories(BTreeMap<RequestId, Story>);

impl Stories {
    /// Drains once, without waiting.
    pub fn drain(&mut self, engine: &Engine) {
        for event in engine.drain() {
            self.0.entry(event.id()).or_default().add(event);
        }
    }

    /// Drains until a request has ended, and takes its story.
    pub fn finish(&mut self, engine: &Engine, id: RequestId) -> Story {
        while self.0.get(&id).is_none_or(|story| story.end.is_none()) {
            assert!(
                engine.wait(None),
                "the engine ended without an end of request {id}"
            );
            self.drain(engine);
        }
        self.0.remove(&id).unwrap()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Submits a request and waits for its end; for engines that have no other.
pub fn generate(engine: &Engine, request: Request) -> Story {
    let id = engine.submit(request).unwrap();
    Stories::default().finish(engine, id)
}

/// What a greedy request must say, computed without an engine.
#[derive(Debug, PartialEq)]
pub struct Expected {
    pub text: String,
    pub tokens: Vec<Token>,
    pub reason: FinishReason,
}

/// Follows the toy's rule token by token.
pub fn expected(rule: &Rule, request: &Request, limits: Limits) -> Expected {
    let longest = limits.n_ctx.min(limits.kv_cells) as usize;
    let mut sequence = request.prompt.clone();
    let mut bytes = Vec::new();
    let mut tokens = Vec::new();
    let mut reason = FinishReason::Length;
    while tokens.len() < request.max_tokens as usize && sequence.len() < longest {
        let token = rule(&sequence);
        if [257, 258].contains(&token) {
            reason = FinishReason::Stop;
            break;
        }
        sequence.push(token);
        tokens.push(token);
        bytes.extend(bytes_of(token));
        if cut(&settled(&bytes), &request.stop).1 {
            break;
        }
    }
    let (text, stopped) = cut(&String::from_utf8_lossy(&bytes), &request.stop);
    Expected {
        text,
        tokens,
        reason: if stopped { FinishReason::Stop } else { reason },
    }
}

/// The whole characters among bytes whose last one may be unfinished.
fn settled(bytes: &[u8]) -> String {
    let unfinished = match bytes.utf8_chunks().last() {
        Some(chunk) if !chunk.invalid().is_empty() => {
            let invalid = chunk.invalid();
            let wanted = match invalid[0] {
                0xc2..0xe0 => 2,
                0xe0..0xf0 => 3,
                0xf0..0xf5 => 4,
                _ => 0,
            };
            if invalid.len() < wanted {
                invalid.len()
            } else {
                0
            }
        }
        _ => 0,
    };
    String::from_utf8_lossy(&bytes[..bytes.len() - unfinished]).into_owned()
}

/// A text up to the first stop string to be completed, and whether there is one.
fn cut(text: &str, stops: &[String]) -> (String, bool) {
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if let Some(length) = stops
            .iter()
            .filter(|stop| text[..end].ends_with(stop.as_str()))
            .map(String::len)
            .max()
        {
            return (text[..end - length].to_owned(), true);
        }
    }
    (text.to_owned(), false)
}
