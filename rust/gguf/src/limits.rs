//! How much of anything a file may hold. Where llama.cpp has a limit of its own, this one is not above it.

/// Bytes from the file's start to the end of its tensor table.
pub const MAX_METADATA_BYTES: u64 = 512 << 20;
/// Key-value pairs. Real models have around 50.
pub const MAX_METADATA_ENTRIES: u64 = 1 << 16;
/// Tensors. The largest real models have a few thousand.
pub const MAX_TENSORS: u64 = 1 << 18;
/// Bytes of a key, as the GGUF specification says.
pub const MAX_KEY_BYTES: u64 = (1 << 16) - 1;
/// Bytes of one string value. Long chat templates have some 100 KB.
pub const MAX_STRING_BYTES: u64 = 16 << 20;
/// Elements of one array. Large vocabularies have 256k tokens and 500k merges.
pub const MAX_ARRAY_ELEMENTS: u64 = 1 << 24;
/// Bytes of a tensor's name: ggml keeps 64 with the terminating zero (`GGML_MAX_NAME`).
pub const MAX_TENSOR_NAME_BYTES: u64 = 63;
/// Dimensions of a tensor (`GGML_MAX_DIMS`).
pub const MAX_DIMENSIONS: u32 = 4;
/// What `general.alignment` may be at most. 32 is the default and nearly always the value.
pub const MAX_ALIGNMENT: u64 = 1 << 20;
/// Layers that llama.cpp has room for (`LLAMA_MAX_LAYERS` in llama-hparams.h).
pub const MAX_LAYERS: u64 = 512;
/// Experts that llama.cpp has room for (`LLAMA_MAX_EXPERTS` in llama-hparams.h).
pub const MAX_EXPERTS: u64 = 1024;
/// Files that one model may be split into.
pub const MAX_SPLITS: u64 = 1024;
