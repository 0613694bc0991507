//! Why a file was refused: which file, what is wrong, and at which byte.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::value::ValueType;

/// A refused file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}{}", file.display(), At(*offset))]
pub struct GgufError {
    /// The file that was read.
    pub file: PathBuf,
    /// Where in the file the fault lies, in bytes from its start; `None` where that means nothing.
    pub offset: Option<u64>,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(out, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing lies at that path.
    #[error("no such file")]
    NotFound,
    /// A directory lies at that path.
    #[error("this is a directory, not a GGUF file")]
    IsDirectory,
    /// A device, socket or pipe lies at that path.
    #[error("this is not a regular file")]
    NotAFile,
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
    /// Shorter than the smallest header.
    #[error("too small for a GGUF file: {size} bytes{}", looks_like(*.content))]
    TooSmall {
        /// The file's size in bytes.
        size: u64,
        /// What the file seems to be instead.
        content: Option<&'static str>,
    },
    /// Does not begin with "GGUF".
    #[error("not a GGUF file: it begins with \"{}\"{}", magic.escape_ascii(), looks_like(*.content))]
    BadMagic {
        /// The first four bytes.
        magic: [u8; 4],
        /// What the file seems to be instead.
        content: Option<&'static str>,
    },
    /// Written for a machine of the other byte order.
    #[error("this GGUF file is big-endian; only little-endian files can be loaded here")]
    BigEndian,
    /// A version other than 2 and 3.
    #[error("GGUF version {0} is not supported; versions 2 and 3 are")]
    UnsupportedVersion(u32),
    /// The file ends before what it announces.
    #[error("truncated: {what} needs {needed} bytes, but only {available} are left in the file")]
    Truncated {
        /// What was being read.
        what: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// Larger than `limits` allows.
    #[error("{what}: {value} is more than the {limit} allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// What the file says.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A key or tensor name that is empty, or is not text.
    #[error("{what} is not a name: {problem}")]
    BadName {
        /// Which name.
        what: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The same key twice.
    #[error("the key '{0}' occurs twice")]
    DuplicateKey(String),
    /// A value type that GGUF does not have, or an array of arrays (which llama.cpp refuses too).
    #[error("'{key}' has the unknown value type {value_type}{}", if *.nested { " (arrays of arrays are not supported)" } else { "" })]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type's number.
        value_type: u32,
        /// Whether this is the type of an array's elements, and says "array" again.
        nested: bool,
    },
    /// `general.alignment` is no power of two, or too large.
    #[error("alignment {0} is not a power of two between 1 and 1 MiB")]
    BadAlignment(u64),
    /// The same tensor name twice.
    #[error("the tensor '{0}' occurs twice")]
    DuplicateTensor(String),
    /// A tensor type that this ggml does not know.
    #[error("the tensor '{tensor}' has the unknown type {tensor_type}")]
    UnknownTensorType {
        /// The tensor.
        tensor: String,
        /// The type's number.
        tensor_type: u32,
    },
    /// A tensor type that ggml once had.
    #[error("the tensor '{tensor}' has type {tensor_type}, which is no longer supported: {advice}")]
    RemovedTensorType {
        /// The tensor.
        tensor: String,
        /// The type's number.
        tensor_type: u32,
        /// What to do about it.
        advice: &'static str,
    },
    /// A shape that cannot be.
    #[error("the tensor '{tensor}' has an impossible shape {shape:?}: {problem}")]
    BadShape {
        /// The tensor.
        tensor: String,
        /// Its dimensions, the fastest first.
        shape: Vec<u64>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A tensor that does not begin where the one before it ends (ggml demands that).
    #[error(
        "the tensor '{tensor}' begins at {offset} of the data, but {expected} is where it belongs"
    )]
    MisplacedTensor {
        /// The tensor.
        tensor: String,
        /// Where it says that it begins, in bytes from the start of the data.
        offset: u64,
        /// Where the tensor before it ends.
        expected: u64,
    },
    /// A tensor's data ends beyond the end of the file.
    #[error("truncated: the tensor '{tensor}' ends at byte {end}, but the file has {size} bytes")]
    TensorOutsideFile {
        /// The tensor.
        tensor: String,
        /// Where its data ends, in bytes from the start of the file.
        end: u64,
        /// The file's size in bytes.
        size: u64,
    },
    /// A key that a model needs is missing.
    #[error("'{0}' is missing")]
    MissingKey(String),
    /// A value of another type than llama.cpp reads there.
    #[error("'{key}' is of type {found}, but must be {expected}")]
    WrongValueType {
        /// The key.
        key: String,
        /// What the file has.
        found: ValueType,
        /// What is needed.
        expected: &'static str,
    },
    /// A value that llama.cpp cannot work with.
    #[error("'{key}' is {value}: {problem}")]
    BadValue {
        /// The key.
        key: String,
        /// What the file says.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two tokens of the vocabulary are the same text.
    #[error("the tokens {first} and {second} are the same text")]
    DuplicateToken {
        /// The lower id.
        first: usize,
        /// The higher id.
        second: usize,
    },
    /// The file is sound but no language model.
    #[error("not a language model: {0}")]
    NotAModel(String),
    /// The file is sound but no adapter.
    #[error("not an adapter: {0}")]
    NotAnAdapter(String),
    /// A tensor of an adapter that cannot be applied to the model.
    #[error("the tensor '{tensor}' {problem}")]
    Misfit {
        /// The tensor.
        tensor: String,
        /// What is wrong with it, to be read after its name.
        problem: String,
    },
}

fn looks_like(content: Option<&'static str>) -> String {
    content
        .map(|content| format!("; it looks like {content}"))
        .unwrap_or_default()
}
