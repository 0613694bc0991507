//! llama.cpp's C interface as the pinned release lays it out, and nothing else.
//!
//! Source: `include/llama.h`, `ggml/include/{ggml,ggml-backend}.h` of the llama.cpp inside
//! llama-cpp-python 0.3.36, and our own `shim/shim.h`. Written by hand; `layout.rs` proves the structs.

pub mod api;
pub mod layout;
pub mod types;

pub use api::Api;
pub use types::*;
