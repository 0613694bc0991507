//! A writer of GGUF bytes for tests: whatever is asked for, sound or not.
#![allow(dead_code)] // Every test file uses another part.
#![allow(clippy::expect_used)] // In helpers of tests clippy does not see that they are tests.

use std::path::Path;

use tabagent_gguf::{GgufError, GgufFile};

pub const U8: u32 = 0;
pub const U16: u32 = 2;
pub const U32: u32 = 4;
pub const I32: u32 = 5;
pub const F32: u32 = 6;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;
pub const U64: u32 = 10;

/// A file in the making. Fields may be set to anything before `bytes` writes them.
#[derive(Clone)]
pub struct Writer {
    pub magic: [u8; 4],
    pub version: u32,
    pub tensor_count: Option<u64>,
    pub entry_count: Option<u64>,
    pub entries: Vec<Vec<u8>>,
    pub tensors: Vec<Tensor>,
    pub alignment: usize,
    pub data: Option<usize>,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: Vec<u8>,
    pub shape: Vec<u64>,
    pub rank: Option<u32>,
    pub kind: u32,
    pub offset: Option<u64>,
    pub bytes: usize,
}

pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

pub fn strings<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Vec<u8> {
    let texts: Vec<_> = texts.into_iter().map(string).collect();
    [
        &STRING.to_le_bytes()[..],
        &(texts.len() as u64).to_le_bytes(),
        &texts.concat(),
    ]
    .concat()
}

pub fn array<const N: usize>(kind: u32, elements: &[[u8; N]]) -> Vec<u8> {
    [
        &kind.to_le_bytes()[..],
        &(elements.len() as u64).to_le_bytes(),
        elements.as_flattened(),
    ]
    .concat()
}

impl Writer {
    pub fn empty() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            entry_count: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
            data: None,
        }
    }

    /// A sound little Llama: metadata, a vocabulary of four and three tensors.
    pub fn llama() -> Self {
        Self::empty()
            .text("general.architecture", "llama")
            .text("general.name", "Little")
            .u32("general.file_type", 7)
            .u32("llama.block_count", 1)
            .u32("llama.context_length", 128)
            .u32("llama.embedding_length", 32)
            .u32("llama.attention.head_count", 4)
            .u32("llama.attention.head_count_kv", 2)
            .text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "gpt-2")
            .entry(
                "tokenizer.ggml.tokens",
                ARRAY,
                strings(["a", "b", "\u{e4}", ""]),
            )
            .entry(
                "tokenizer.ggml.token_type",
                ARRAY,
                array(I32, &[1_i32.to_le_bytes(); 4]),
            )
            .u32("tokenizer.ggml.bos_token_id", 0)
            .text("tokenizer.chat_template", "{{ messages }}")
            .tensor("token_embd.weight", &[32, 4], 8, 136)
            .tensor("blk.0.attn_q.weight", &[32, 32], 1, 2048)
            .tensor("output_norm.weight", &[32], 0, 128)
    }

    pub fn entry(mut self, key: impl AsRef<[u8]>, kind: u32, value: impl AsRef<[u8]>) -> Self {
        self.entries
            .push([&string(key)[..], &kind.to_le_bytes(), value.as_ref()].concat());
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, STRING, string(value))
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, U32, value.to_le_bytes())
    }

    /// Replaces the entry of that key.
    pub fn with(mut self, key: &str, kind: u32, value: impl AsRef<[u8]>) -> Self {
        let before = self.entries.len();
        self = self.without(key);
        assert_eq!(self.entries.len() + 1, before, "no entry {key}");
        self.entry(key, kind, value)
    }

    pub fn without(mut self, key: &str) -> Self {
        self.entries
            .retain(|entry| !entry.starts_with(&string(key)));
        self
    }

    pub fn tensor(mut self, name: &str, shape: &[u64], kind: u32, bytes: usize) -> Self {
        let (name, shape) = (name.as_bytes().to_vec(), shape.to_vec());
        self.tensors.push(Tensor {
            name,
            shape,
            rank: None,
            kind,
            offset: None,
            bytes,
        });
        self
    }

    pub fn edit_tensor(mut self, index: usize, edit: impl FnOnce(&mut Tensor)) -> Self {
        edit(&mut self.tensors[index]);
        self
    }

    /// Everything up to the end of the tensor table.
    pub fn head(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(
            self.tensor_count
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        bytes.extend(
            self.entry_count
                .unwrap_or(self.entries.len() as u64)
                .to_le_bytes(),
        );
        bytes.extend(self.entries.concat());
        let mut place = 0;
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            bytes.extend(
                tensor
                    .rank
                    .unwrap_or(tensor.shape.len() as u32)
                    .to_le_bytes(),
            );
            tensor
                .shape
                .iter()
                .for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(place as u64).to_le_bytes());
            place += tensor.bytes.next_multiple_of(self.alignment);
        }
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        let data: usize = self
            .tensors
            .iter()
            .map(|tensor| tensor.bytes.next_multiple_of(self.alignment))
            .sum();
        if !self.tensors.is_empty() {
            bytes.resize(
                bytes.len().next_multiple_of(self.alignment) + self.data.unwrap_or(data),
                0,
            );
        }
        bytes
    }

    pub fn open(&self) -> Result<GgufFile, GgufError> {
        open(&self.bytes())
    }

    /// The message of the error that opening it gives.
    pub fn refusal(&self) -> String {
        self.open()
            .expect_err("this file should have been refused")
            .to_string()
    }

    /// The message of the error that checking it as a model gives.
    pub fn unloadable(&self) -> String {
        let file = self.open().expect("the container should be sound");
        file.check_loadable(false)
            .expect_err("this model should have been refused")
            .to_string()
    }
}

pub fn open(bytes: &[u8]) -> Result<GgufFile, GgufError> {
    GgufFile::read(Path::new("test.gguf"), bytes, bytes.len() as u64)
}
