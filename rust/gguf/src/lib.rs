//! Reads and validates a GGUF file without llama.cpp: header, metadata and tensor table, never the weights.
//!
//! This is the bouncer at the door. llama.cpp aborts the process on several kinds of bad file, so every file is
//! read here first: no length in it is trusted, and no memory is taken that the file's own bytes do not justify.
//! [`GgufFile::open`] checks the container as ggml's `gguf.cpp` would; [`GgufFile::check_loadable`] then checks
//! what llama.cpp asserts about a model,
//! and [`GgufFile::check_lora`] what it asserts about an adapter to one. Both follow the sources inside llama-cpp-python 0.3.36 (ggml 0.25.3).
#![forbid(unsafe_code)]

mod error;
mod file;
mod file_type;
mod identify;
pub mod limits;
mod loadable;
mod lora;
mod source;
mod splits;
mod summary;
mod tensor;
mod tensor_type;
mod value;

pub use error::{GgufError, Problem};
pub use file::GgufFile;
pub use identify::identify;
pub use summary::{Adapter, Kind, QuantizationShare, Split, Summary};
pub use tensor::TensorInfo;
pub use tensor_type::TensorType;
pub use value::{Array, Strings, Value, ValueType};
