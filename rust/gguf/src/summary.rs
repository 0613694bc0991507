//! What `inspect` says about a file.

use std::collections::BTreeMap;

use crate::file::GgufFile;
use crate::file_type;
use crate::tensor_type::TensorType;
use crate::value::Value;

/// How much of a file is stored in one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationShare {
    /// The type.
    pub tensor_type: TensorType,
    /// Tensors of that type.
    pub tensors: u64,
    /// Elements in them.
    pub elements: u64,
    /// Bytes that they take.
    pub bytes: u64,
}

/// What an adapter file says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// `adapter.type`: "lora" is the one that llama.cpp knows.
    pub kind: Option<String>,
    /// `adapter.lora.alpha`: the scale is alpha / rank.
    pub alpha: Option<f64>,
    /// The largest rank among its tensors.
    pub rank: Option<u64>,
}

/// Which part of a model in several files this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// 0 for the first.
    pub index: u16,
    /// How many there are.
    pub count: u16,
}

/// What a model can be used for, as far as its architecture tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It continues a text token by token.
    Generative,
    /// It reads whole texts at once and answers with vectors; it cannot generate.
    Encoder,
    /// Neither: text diffusion, an encoder with a decoder, a drafting head.
    Other,
}

/// Architectures without a KV cache whose graph ends in vectors (`llama_model::create_memory`, llama-model.cpp), and
/// `llama-embed`, which has one and does not use it.
const ENCODERS: &[&str] = &[
    "bert",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llama-embed",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "t5encoder",
];
const OTHERS: &[&str] = &[
    "dflash",
    "dream",
    "eagle3",
    "llada",
    "llada-moe",
    "rnd1",
    "t5",
    "wavtokenizer-dec",
];

impl Kind {
    fn of(architecture: &str) -> Self {
        if ENCODERS.contains(&architecture) {
            Self::Encoder
        } else if OTHERS.contains(&architecture) {
            Self::Other
        } else {
            Self::Generative
        }
    }
}

/// How the vector of a text is made of those of its tokens: `enum llama_pooling_type` (llama.h), by its number. With
/// "rank" there is no vector: a classification head gives a score.
const POOLING: &[Option<&str>] = &[None, Some("mean"), Some("cls"), Some("last"), Some("rank")];

/// What a file says about its model. What it does not say is `None`; lengths and counts are of tokens, layers and so on.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Summary {
    pub architecture: Option<String>,
    pub kind: Kind,
    /// How the vector of a text is made of those of its tokens: "mean", "cls", "last"; or "rank", for a score in place
    /// of a vector.
    pub pooling: Option<&'static str>,
    pub name: Option<String>,
    /// Elements of all tensors in this file.
    pub parameters: u64,
    pub size_bytes: u64,
    /// By type, the one with the most bytes first.
    pub quantization: Vec<QuantizationShare>,
    /// `general.file_type` as llama.cpp's quantizer names it ("Q4_K_M").
    pub file_type: Option<String>,
    pub context_length: Option<u64>,
    pub embedding_length: Option<u64>,
    pub block_count: Option<u64>,
    /// The largest of all layers, where they differ.
    pub head_count: Option<u64>,
    /// The largest of all layers, where they differ; as many as heads where the file does not say.
    pub head_count_kv: Option<u64>,
    pub expert_count: Option<u64>,
    pub vocab_size: Option<u64>,
    pub tokenizer_model: Option<String>,
    pub tokenizer_pre: Option<String>,
    pub chat_template: Option<String>,
    /// Whether the file is an adapter, and which.
    pub adapter: Option<Adapter>,
    pub split: Option<Split>,
    pub alignment: u64,
    pub version: u32,
    pub tensor_count: u64,
    /// Whether weights are stored as three values (TQ1_0, TQ2_0).
    pub ternary: bool,
    /// Whether this is a BitNet model, by its architecture.
    pub bitnet: bool,
}

impl GgufFile {
    /// Puts together what the file says about its model.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let architecture = self.text("general.architecture");
        let quantization = quantization(self);
        let head_count = self
            .architecture_key("attention.head_count")
            .and_then(largest);
        Summary {
            name: self.text("general.name"),
            kind: Kind::of(architecture.as_deref().unwrap_or_default()),
            pooling: self
                .number("pooling_type")
                .and_then(|number| *POOLING.get(usize::try_from(number).ok()?)?),
            parameters: self
                .tensors()
                .iter()
                .fold(0, |sum, tensor| sum.saturating_add(tensor.elements)),
            size_bytes: self.size(),
            ternary: quantization
                .iter()
                .any(|share| share.tensor_type.is_ternary()),
            bitnet: architecture
                .as_deref()
                .is_some_and(|name| name.starts_with("bitnet")),
            quantization,
            file_type: self
                .metadata("general.file_type")
                .and_then(Value::as_u64)
                .and_then(file_type::name)
                .map(str::to_owned),
            context_length: self.number("context_length"),
            embedding_length: self.number("embedding_length"),
            block_count: self.number("block_count"),
            head_count,
            head_count_kv: self
                .architecture_key("attention.head_count_kv")
                .map_or(head_count, largest),
            expert_count: self.number("expert_count"),
            vocab_size: self
                .metadata("tokenizer.ggml.tokens")
                .and_then(Value::as_array)
                .map(|tokens| tokens.len() as u64)
                .or_else(|| self.number("vocab_size")),
            tokenizer_model: self.text("tokenizer.ggml.model"),
            tokenizer_pre: self.text("tokenizer.ggml.pre"),
            chat_template: self.text("tokenizer.chat_template"),
            adapter: adapter(self),
            split: self.split().ok().flatten(),
            alignment: self.alignment(),
            version: self.version(),
            tensor_count: self.tensors().len() as u64,
            architecture,
        }
    }

    /// The value of `ARCHITECTURE.suffix`.
    #[must_use]
    pub fn architecture_key(&self, suffix: &str) -> Option<&Value> {
        let architecture = self.metadata("general.architecture")?.as_str()?;
        self.metadata(&format!("{architecture}.{suffix}"))
    }

    pub(crate) fn number(&self, suffix: &str) -> Option<u64> {
        self.architecture_key(suffix)?.as_u64()
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.metadata(key)?.as_str().map(str::to_owned)
    }
}

/// A number, or the largest of one for each layer.
fn largest(value: &Value) -> Option<u64> {
    match value {
        Value::Array(array) => array.as_u32s()?.into_iter().max().map(u64::from),
        single => single.as_u64(),
    }
}

fn quantization(file: &GgufFile) -> Vec<QuantizationShare> {
    let mut shares = BTreeMap::new();
    for tensor in file.tensors() {
        let share = shares
            .entry(tensor.tensor_type.number)
            .or_insert(QuantizationShare {
                tensor_type: tensor.tensor_type,
                tensors: 0,
                elements: 0,
                bytes: 0,
            });
        share.tensors += 1;
        share.elements = share.elements.saturating_add(tensor.elements);
        share.bytes = share.bytes.saturating_add(tensor.bytes);
    }
    let mut shares: Vec<_> = shares.into_values().collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}

fn adapter(file: &GgufFile) -> Option<Adapter> {
    if file.metadata("general.type")?.as_str()? != "adapter" {
        return None;
    }
    Some(Adapter {
        kind: file.text("adapter.type"),
        alpha: file.metadata("adapter.lora.alpha").and_then(Value::as_f64),
        // A LoRA pair is A (input × rank) and B (rank × output).
        rank: file
            .tensors()
            .iter()
            .filter(|tensor| tensor.name.ends_with(".lora_a"))
            .filter_map(|tensor| tensor.shape().get(1).copied())
            .max(),
    })
}
