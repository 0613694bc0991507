//! Writes tiny GGUF models: a Llama of random weights with a byte-level SentencePiece vocabulary.
//!
//! Format: docs/gguf.md of ggml, version 3.

use std::path::Path;

/// Number of tokens: unknown, beginning, end, 256 bytes, a line end as text, a word, a control token.
pub const N_VOCAB: u32 = 3 + 256 + 3;
pub const BOS: i32 = 1;
pub const EOS: i32 = 2;
/// A control token that is written `<|note|>`.
pub const NOTE: i32 = 261;
pub const N_CTX_TRAIN: u32 = 256;
const ALIGNMENT: usize = 32;

/// Shape of the model to write. Head width is `n_embd / n_head`.
pub struct TinyLlama {
    pub n_embd: u32,
    pub n_head: u32,
    pub n_head_kv: u32,
    pub n_ff: u32,
    pub n_layer: u32,
    pub seed: u64,
    /// Leaves the id of the beginning-of-text token out of a vocabulary that wants one.
    pub without_bos: bool,
    /// Makes it a Cohere 2, whose layers see so many tokens only, but for every fourth one.
    pub window: Option<u32>,
}

impl Default for TinyLlama {
    fn default() -> Self {
        Self {
            n_embd: 64,
            n_head: 2,
            n_head_kv: 1,
            n_ff: 96,
            n_layer: 2,
            seed: 7,
            without_bos: false,
            window: None,
        }
    }
}

impl TinyLlama {
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }

    pub fn bytes(&self) -> Vec<u8> {
        let tensors = self.tensors();
        let metadata = self.metadata();
        let mut file = Writer::default();
        file.raw(b"GGUF");
        file.u32(3);
        file.u64(tensors.len() as u64);
        file.u64(metadata.len() as u64);
        for entry in &metadata {
            file.raw(entry);
        }
        let mut offset = 0;
        for (name, shape) in &tensors {
            file.string(name);
            file.u32(shape.len() as u32);
            shape.iter().for_each(|size| file.u64(u64::from(*size)));
            file.u32(0); // F32
            file.u64(offset);
            offset += (elements(shape) * 4).next_multiple_of(ALIGNMENT) as u64;
        }
        file.pad();
        let mut random = self.seed;
        for (name, shape) in &tensors {
            for _ in 0..elements(shape) {
                let value = if name.ends_with("norm.weight") {
                    1.0
                } else {
                    uniform(&mut random)
                };
                file.raw(&value.to_le_bytes());
            }
            file.pad();
        }
        file.0
    }

    fn tensors(&self) -> Vec<(String, Vec<u32>)> {
        let (embd, ff) = (self.n_embd, self.n_ff);
        let kv = embd / self.n_head * self.n_head_kv;
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), vec![embd, N_VOCAB]),
            ("output_norm.weight".to_owned(), vec![embd]),
            ("output.weight".to_owned(), vec![embd, N_VOCAB]),
        ];
        for layer in 0..self.n_layer {
            for (name, shape) in [
                ("attn_norm", vec![embd]),
                ("attn_q", vec![embd, embd]),
                ("attn_k", vec![embd, kv]),
                ("attn_v", vec![embd, kv]),
                ("attn_output", vec![embd, embd]),
                ("ffn_norm", vec![embd]),
                ("ffn_gate", vec![embd, ff]),
                ("ffn_up", vec![embd, ff]),
                ("ffn_down", vec![ff, embd]),
            ] {
                tensors.push((format!("blk.{layer}.{name}.weight"), shape));
            }
        }
        // A Cohere 2 normalises once in a layer, and its table of tokens is its output too.
        let lacks = |name: &str| name == "output.weight" || name.ends_with("ffn_norm.weight");
        tensors.retain(|(name, _)| self.window.is_none() || !lacks(name));
        tensors
    }

    fn architecture(&self) -> &'static str {
        match self.window {
            Some(_) => "cohere2",
            None => "llama",
        }
    }

    fn metadata(&self) -> Vec<Vec<u8>> {
        let architecture = self.architecture();
        let own = |key: &str| format!("{architecture}.{key}");
        let mut entries = vec![
            text("general.architecture", architecture),
            text("general.name", "tiny"),
            number(&own("context_length"), N_CTX_TRAIN),
            number(&own("embedding_length"), self.n_embd),
            number(&own("block_count"), self.n_layer),
            number(&own("feed_forward_length"), self.n_ff),
            number(&own("attention.head_count"), self.n_head),
            number(&own("attention.head_count_kv"), self.n_head_kv),
            float(&own("attention.layer_norm_rms_epsilon"), 1e-5),
            text("tokenizer.ggml.model", "llama"),
            text(
                "tokenizer.chat_template",
                "{% for m in messages %}{{ m.content }}{% endfor %}",
            ),
            number("tokenizer.ggml.eos_token_id", EOS as u32),
            number("tokenizer.ggml.unknown_token_id", 0),
            number(
                "tokenizer.ggml.bos_token_id",
                if self.without_bos {
                    u32::MAX
                } else {
                    BOS as u32
                },
            ),
        ];
        entries.extend(self.window.into_iter().flat_map(|window| {
            [
                number(&own("attention.sliding_window"), window),
                float(&own("attention.layer_norm_epsilon"), 1e-5),
                float(&own("logit_scale"), 1.0),
            ]
        }));
        entries.extend(vocabulary());
        entries
    }
}

fn vocabulary() -> [Vec<u8>; 3] {
    let mut tokens = vec![
        ("<unk>".to_owned(), 2),
        ("<s>".to_owned(), 3),
        ("</s>".to_owned(), 3),
    ];
    tokens.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 6)));
    tokens.extend([
        ("\u{2581}".to_owned(), 1),
        ("\u{2581}hello".to_owned(), 1),
        ("<|note|>".to_owned(), 3),
    ]);
    assert_eq!(tokens.len(), N_VOCAB as usize);
    let strings = array("tokenizer.ggml.tokens", 8, &tokens, |file, (token, _)| {
        file.string(token)
    });
    let scores = array("tokenizer.ggml.scores", 6, &tokens, |file, _| {
        file.raw(&0_f32.to_le_bytes())
    });
    let types = array(
        "tokenizer.ggml.token_type",
        5,
        &tokens,
        |file, (_, kind)| file.u32(*kind),
    );
    [strings, scores, types]
}

fn elements(shape: &[u32]) -> usize {
    shape.iter().map(|size| *size as usize).product()
}

/// SplitMix64, as a number from −0.1 to 0.1.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 0.2
}

fn entry(key: &str, kind: u32, value: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut file = Writer::default();
    file.string(key);
    file.u32(kind);
    value(&mut file);
    file.0
}

fn text(key: &str, value: &str) -> Vec<u8> {
    entry(key, 8, |file| file.string(value))
}

fn number(key: &str, value: u32) -> Vec<u8> {
    entry(key, 4, |file| file.u32(value))
}

fn float(key: &str, value: f32) -> Vec<u8> {
    entry(key, 6, |file| file.raw(&value.to_le_bytes()))
}

fn array<T>(key: &str, kind: u32, items: &[T], write: impl Fn(&mut Writer, &T)) -> Vec<u8> {
    entry(key, 9, |file| {
        file.u32(kind);
        file.u64(items.len() as u64);
        items.iter().for_each(|item| write(file, item));
    })
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    fn string(&mut self, value: &str) {
        self.u64(value.len() as u64);
        self.raw(value.as_bytes());
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }
}
