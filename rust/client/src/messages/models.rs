use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `models.list`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ModelsList {}

/// A model of the registry. Sizes in bytes, lengths in tokens.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ModelListing {
    /// Its name.
    pub name: String,
    /// `gguf`, `safetensors`, `onnx`, …
    pub format: String,
    /// As `models.json` has it.
    #[serde(rename = "type")]
    pub kind: String,
    /// `available`, `absent`, `loading`, `loaded` or `draining`.
    pub state: String,
    /// Of its files.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// That all of its processes hold now.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// How many use or await it.
    #[serde(default)]
    pub requests: u64,
    /// How long it stays loaded if nobody does.
    #[serde(default)]
    pub unload_in_s: Option<f64>,
    /// It stays loaded.
    #[serde(default)]
    pub pinned: bool,
    /// It answers requests that name none.
    #[serde(default)]
    pub default: bool,
    /// The longest single text.
    #[serde(default)]
    pub context_length: Option<u64>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// `models.inspect`: one of a model of the registry and a file's path.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsInspect {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// An absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// Answer to `models.inspect`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ModelInspection {
    /// `gguf`, `safetensors`, `onnx`, …
    pub format: String,
    /// Where it lies.
    pub file: PathBuf,
    /// Of it.
    pub size_bytes: u64,
    /// What it calls itself.
    #[serde(default)]
    pub name: Option<String>,
    /// Its architecture.
    #[serde(default)]
    pub architecture: Option<String>,
    /// How many it has.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// How its weights are stored.
    #[serde(default)]
    pub quantization: Option<String>,
    /// In tokens.
    #[serde(default)]
    pub context_length: Option<u64>,
    /// In tokens.
    #[serde(default)]
    pub vocab_size: Option<u64>,
    /// In Jinja2's language.
    #[serde(default)]
    pub chat_template: Option<String>,
    /// What only some formats have.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// What decides how much memory a model takes, in place of its entry in `models.json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemoryOptions {
    /// The longest single text, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// −1: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_layers: Option<i32>,
    /// Texts computed at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Cells that all of them share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<u32>,
    /// `f32`, `f16`, `q8_0` or `q4_0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_type: Option<String>,
    /// `auto`, `on` or `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_attention: Option<String>,
}

/// `models.estimate`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsEstimate {
    /// Its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What is to differ from its entry.
    #[serde(flatten)]
    pub options: MemoryOptions,
}

/// Answer to `models.estimate`, in bytes.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ModelEstimate {
    /// Its name.
    pub model: String,
    /// The weights.
    pub weights_bytes: u64,
    /// The KV cache.
    pub kv_bytes: u64,
    /// Scratch space.
    pub compute_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// Whether the machine has that much left now.
    pub fits: bool,
}

/// `models.load`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsLoad {
    /// Its name; else the registry's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// As `models.json` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// As `models.json` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// As `models.json` has it: text, bytes, or an object by devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Value>,
    /// How long it stays loaded unused, such as `"5m"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
    /// Of the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Keep its weights from being swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlock: Option<bool>,
    /// What else is to differ from its entry.
    #[serde(flatten)]
    pub options: MemoryOptions,
}

/// Answer to `models.load`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct LoadedModel {
    /// Its name.
    pub model: String,
    /// The longest single text, in tokens.
    pub context_length: u64,
    /// How long it took.
    pub load_ms: f64,
    /// What it holds.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// `models.unload`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsUnload {
    /// Its name.
    pub model: String,
    /// Cancel what runs, instead of waiting for it.
    pub force: bool,
}

/// `models.pull`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsPull {
    /// `hf:owner/repo[:quant]`, `file:PATH` or `https://…#sha256=…`.
    pub source: String,
    /// What it is to be called here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Answer to `models.pull`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct PulledModel {
    /// What it is called.
    pub model: String,
    /// Where it came from.
    pub source: String,
    /// `gguf`, `safetensors`, `onnx`, …
    pub format: String,
    /// A file or a folder.
    pub path: PathBuf,
    /// Of it.
    pub size_bytes: u64,
    /// That came over the network just now.
    pub fetched_bytes: u64,
    /// The `models.json` that names it.
    pub models_file: PathBuf,
}

/// `models.import`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsImport {
    /// `ollama`, `lmstudio`, `huggingface`, or a folder's absolute path.
    #[serde(rename = "from")]
    pub origin: String,
    /// Only show.
    pub dry_run: bool,
}

/// Answer to `models.import`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ImportedModels {
    /// What was found.
    pub models: Vec<ImportedModel>,
    /// Nothing was written.
    pub dry_run: bool,
    /// The `models.json` that names them.
    pub models_file: PathBuf,
}

/// A model that was found.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ImportedModel {
    /// What it is called.
    pub model: String,
    /// `gguf`, `safetensors`, `onnx`, …
    pub format: String,
    /// Where it lies.
    pub path: PathBuf,
    /// `added`, `known` or `unusable`.
    pub status: String,
    /// Of it.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Why it is unusable.
    #[serde(default)]
    pub problem: Option<String>,
    /// What else there is to say.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `models.delete`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelsDelete {
    /// Its name.
    pub model: String,
    /// Cancel what runs, instead of refusing.
    pub force: bool,
}

/// Answer to `models.delete`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct DeletedModel {
    /// Its name.
    pub model: String,
    /// Only what a pull brought.
    pub removed_files: Vec<PathBuf>,
    /// Of them.
    pub freed_bytes: u64,
    /// Why what is left was left.
    #[serde(default)]
    pub kept: Option<String>,
}

/// `models.recommend`: what fits this machine.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ModelsRecommend {
    /// For contexts of so many tokens (4,096).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
}

/// Answer to `models.recommend`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Recommendations {
    /// What they are reckoned from.
    pub machine: MachineFigures,
    /// The best one first.
    pub models: Vec<RecommendedModel>,
    /// In words.
    pub explanation: String,
}

/// What predictions are made from.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct MachineFigures {
    /// Memory that models may take.
    pub available_bytes: u64,
    /// How fast memory was read here.
    pub read_bytes_per_s: u64,
    /// By how many threads.
    pub threads: u64,
}

/// A model, and what it would do here.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct RecommendedModel {
    /// Its name.
    pub name: String,
    /// Of its weights.
    pub weights_bytes: u64,
    /// All that it takes.
    pub memory_bytes: u64,
    /// How fast it writes.
    pub decode_tokens_per_s: f64,
    /// Whether there is room.
    pub fits: bool,
    /// How many it has.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// How its weights are stored.
    #[serde(default)]
    pub quantization: Option<String>,
    /// It is here.
    #[serde(default)]
    pub installed: bool,
    /// What gets it.
    #[serde(default)]
    pub command: Option<String>,
}
