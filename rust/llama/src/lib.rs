//! A llama.cpp runtime opened safely; implements the engine's Backend.
