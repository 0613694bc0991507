use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::generation::{Message, Usage};
use super::numbers::finite;
use super::tools::Tool;

/// `embed`: texts to vectors.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EmbedParams {
    /// The texts.
    pub input: Vec<String>,
    /// The model by its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Scale each vector to length 1 (true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// The host's own limit, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub timeout_s: Option<f64>,
    /// How long the model stays loaded after it, such as `"5m"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
}

/// Answer to `embed`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Embeddings {
    /// One vector a text, in their order.
    pub embeddings: Vec<Vec<f32>>,
    /// How long each is.
    pub dimensions: usize,
    /// Who answered.
    pub model: String,
    /// What it took.
    pub usage: Usage,
}

/// `rerank`: orders documents by how well they answer a query.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RerankParams {
    /// The question.
    pub query: String,
    /// What may answer it.
    pub documents: Vec<String>,
    /// The model by its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The best ones only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_n: Option<u32>,
    /// The host's own limit, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub timeout_s: Option<f64>,
    /// How long the model stays loaded after it, such as `"5m"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
}

/// Answer to `rerank`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Ranking {
    /// The most relevant one first.
    pub results: Vec<RankedDocument>,
    /// Who answered.
    pub model: String,
    /// What it took.
    pub usage: Usage,
}

/// A document's place.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct RankedDocument {
    /// Into `documents`.
    pub index: usize,
    /// Higher is more relevant.
    pub score: f64,
}

/// `tokenize`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TokenizeParams {
    /// The text.
    pub text: String,
    /// The model by its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// With the tokens that a text begins with (true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_special: Option<bool>,
    /// Read control tokens in it (false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_special: Option<bool>,
}

/// Answer to `tokenize`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Tokens {
    /// The tokens.
    pub tokens: Vec<u32>,
}

/// `detokenize`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DetokenizeParams {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// The model by its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Answer to `detokenize`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Text {
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// `models.apply_template`: the prompt that a chat template makes of a conversation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ApplyTemplate {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The model by its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Functions that the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// For the template.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Map<String, Value>>,
    /// With what an answer begins with (true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_generation_prompt: Option<bool>,
    /// Switches of the template.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub chat_template_kwargs: Map<String, Value>,
}

/// Answer to `models.apply_template`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct AppliedTemplate {
    /// The prompt.
    pub prompt: String,
}
