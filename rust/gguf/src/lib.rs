//! Reads and validates a GGUF file without llama.cpp.
#![forbid(unsafe_code)]
