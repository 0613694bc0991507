use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::numbers::finite;
use super::tools::{Tool, ToolCall, ToolCallDelta, ToolChoice};

/// How an answer is to be made (`docs/protocol.md`, Sampling).
#[derive(Clone, Debug, Default, Serialize)]
pub struct Options {
    /// The model by its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens at most (512).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 is greedy.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub temperature: Option<f64>,
    /// The likeliest tokens that together have this probability.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub top_p: Option<f64>,
    /// The likeliest so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Tokens at least so likely, as a part of the likeliest one's probability.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub min_p: Option<f64>,
    /// Above 1: what was said is less likely.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub repeat_penalty: Option<f64>,
    /// Taken from the logit of what was said.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub presence_penalty: Option<f64>,
    /// Taken from the logit of what was said, each time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub frequency_penalty: Option<f64>,
    /// Added to the logits of tokens.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub logit_bias: BTreeMap<u32, f32>,
    /// The same seed, the same answer; at most 2⁶³ − 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The answer ends before the first of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// So many candidates for each token, 0 to 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// What the answer must look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// LoRA adapters of the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<Adapter>,
    /// The host's own limit: it answers `timeout` with the text so far. In seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub timeout_s: Option<f64>,
    /// −10 to 10; higher ones first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// How long the model stays loaded after it, such as `"5m"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
    /// The name of a session, for `chat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Use what is computed of a prompt that begins alike (true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_cache: Option<bool>,
    /// Take the answer of the same request from before (false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_cache: Option<bool>,
    /// Go on after the model's own end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
    /// Alone, so that the same machine gives the same tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    /// A stream of a daemon's that can be taken up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumable: Option<bool>,
}

/// What an answer must look like.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseFormat {
    /// Anything.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that a schema accepts.
    JsonSchema {
        /// The schema.
        json_schema: Value,
    },
    /// Text that an expression matches from end to end.
    Regex {
        /// The expression.
        regex: String,
    },
    /// Text that a grammar derives.
    Grammar {
        /// The grammar, in llguidance's dialect of Lark.
        grammar: String,
    },
}

/// An adapter and how strongly it applies.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    /// Its name in `models.json`.
    pub name: String,
    /// 1 is as it was trained.
    pub scale: f32,
}

/// What is to be continued.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Tokens.
    Tokens(Vec<u32>),
}

impl Default for Prompt {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl<T: Into<String>> From<T> for Prompt {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// `generate`, for one prompt.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GenerateParams {
    /// What is to be continued, as it stands.
    pub prompt: Prompt,
    /// How.
    #[serde(flatten)]
    pub options: Options,
}

impl GenerateParams {
    /// With the model's own defaults.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            ..Self::default()
        }
    }
}

/// `generate`, for several prompts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GenerateManyParams {
    /// What is to be continued.
    pub prompts: Vec<String>,
    /// How.
    #[serde(flatten)]
    pub options: Options,
}

/// `chat`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChatParams {
    /// The conversation; in a session what is new in it.
    pub messages: Vec<Message>,
    /// A system prompt of the host's, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What its template takes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prompt_variables: BTreeMap<String, String>,
    /// Functions that the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether it must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once (true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// For the model's template.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Map<String, Value>>,
    /// Switches of the model's template, such as `enable_thinking`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub chat_template_kwargs: Map<String, Value>,
    /// How.
    #[serde(flatten)]
    pub options: Options,
}

impl ChatParams {
    /// One question.
    pub fn ask(question: impl Into<String>) -> Self {
        Self {
            messages: vec![Message::user(question)],
            ..Self::default()
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: Content,
    /// What an assistant thought before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Who said it, for templates that tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The calls of an assistant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a `tool` message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// What whoever asks says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::of("user", text)
    }

    /// What holds for the whole conversation.
    pub fn system(text: impl Into<String>) -> Self {
        Self::of("system", text)
    }

    /// What the model has answered.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::of("assistant", text)
    }

    /// The result of a call.
    pub fn tool(tool_call_id: impl Into<String>, result: impl Into<String>) -> Self {
        Self {
            tool_call_id: Some(tool_call_id.into()),
            ..Self::of("tool", result)
        }
    }

    fn of(role: &str, text: impl Into<String>) -> Self {
        Self {
            role: role.to_owned(),
            content: Content::Text(text.into()),
            ..Self::default()
        }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Text.
    Text(String),
    /// Text in parts: `{"type": "text", "text": …}`.
    Parts(Vec<Map<String, Value>>),
    /// Nothing, beside calls.
    Nothing(()),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finish {
    /// By itself, or before a stop string.
    Stop,
    /// At `max_tokens`.
    Length,
    /// To have tools called.
    ToolCalls,
    /// For a reason that this client does not know.
    #[serde(other)]
    Unknown,
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
    /// Of the prompt, not computed again.
    pub cached_tokens: u64,
}

/// Milliseconds, and tokens a second; none where there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Timings {
    /// Waiting for a turn.
    pub queue_ms: Option<f64>,
    /// Loading the model.
    pub load_ms: Option<f64>,
    /// To the first token.
    pub first_token_ms: Option<f64>,
    /// Reading the prompt.
    pub prefill_tokens_per_s: Option<f64>,
    /// Writing the answer.
    pub decode_tokens_per_s: Option<f64>,
}

/// A token and the likeliest candidates at its place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// Its text.
    pub text: String,
    /// The logarithm of its probability.
    pub logprob: f64,
    /// The likeliest ones.
    #[serde(default)]
    pub top: Vec<Candidate>,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its text.
    pub text: String,
    /// The logarithm of its probability.
    pub logprob: f64,
}

/// Answer to `generate`, for one prompt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Generated {
    /// What follows the prompt.
    pub text: String,
    /// Why it ends there.
    pub finish_reason: Finish,
    /// Where they were asked for.
    #[serde(default)]
    pub logprobs: Vec<TokenLogprob>,
    /// Who answered.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// How long.
    pub timings: Timings,
    /// The seed that was used.
    pub seed: u64,
    /// Where `response_cache` was asked for: whether it is an answer from before.
    #[serde(default)]
    pub cached: Option<bool>,
}

/// Answer to `generate`, for several prompts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct GeneratedMany {
    /// One a prompt, in their order.
    pub texts: Vec<GeneratedText>,
    /// Who answered.
    pub model: String,
    /// What all of it took.
    pub usage: Usage,
    /// How long.
    pub timings: Timings,
    /// The seed that was used.
    pub seed: u64,
    /// Where `response_cache` was asked for: whether it is an answer from before.
    #[serde(default)]
    pub cached: Option<bool>,
}

/// What follows one of several prompts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct GeneratedText {
    /// What follows the prompt.
    pub text: String,
    /// Why it ends there.
    pub finish_reason: Finish,
    /// What it took.
    pub usage: Usage,
    /// Where they were asked for.
    #[serde(default)]
    pub logprobs: Vec<TokenLogprob>,
}

/// Answer to `chat`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ChatResult {
    /// What the model says; send it back with the next question, or after its calls with their results.
    pub message: Message,
    /// Why it ends there.
    pub finish_reason: Finish,
    /// Where they were asked for.
    #[serde(default)]
    pub logprobs: Vec<TokenLogprob>,
    /// In a session: how many of its oldest messages the prompt was without.
    #[serde(default)]
    pub left_out: Option<u64>,
    /// Who answered.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// How long.
    pub timings: Timings,
    /// The seed that was used.
    pub seed: u64,
    /// Where `response_cache` was asked for: whether it is an answer from before.
    #[serde(default)]
    pub cached: Option<bool>,
}

impl ChatResult {
    /// The answer's text.
    pub fn text(&self) -> &str {
        match &self.message.content {
            Content::Text(text) => text,
            Content::Parts(_) | Content::Nothing(()) => "",
        }
    }
}

/// The next part of an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Piece {
    pub(crate) id: u64,
    /// Its number, from 0 without a gap.
    pub seq: u64,
    /// Whole UTF-8; all of them joined are the answer's text.
    pub text: String,
    /// Of which prompt, where there are several.
    #[serde(default)]
    pub index: Option<usize>,
    /// Where they were asked for.
    #[serde(default)]
    pub logprobs: Vec<TokenLogprob>,
    /// The stream's name, in the first one of a resumable stream.
    #[serde(default)]
    pub stream: Option<String>,
    /// What the model thinks.
    #[serde(default)]
    pub reasoning: String,
    /// What has come of calls.
    #[serde(default)]
    pub tool_calls: Vec<ToolCallDelta>,
    #[serde(skip)]
    weight: usize,
}

impl Piece {
    pub(crate) fn weighing(mut self, bytes: usize) -> Self {
        self.weight = bytes;
        self
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

/// How far something is that an answer waits for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    pub(crate) id: u64,
    /// What is done.
    pub stage: String,
    /// From 0 to 1, where that is known.
    #[serde(default)]
    pub fraction: Option<f64>,
    /// In words.
    #[serde(default)]
    pub message: String,
    /// Of what is counted in bytes.
    #[serde(default)]
    pub done_bytes: Option<u64>,
    /// Of what is counted in bytes.
    #[serde(default)]
    pub total_bytes: Option<u64>,
}
