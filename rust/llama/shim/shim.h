// The runtime pack's C face over the parts of llama.cpp that throw C++ exceptions or have no C form.
//
// Nothing here decides anything: each function makes one call, turns an exception into text, and returns.
// Arguments are validated on the Rust side (rust/llama/src), before the call.
#ifndef TABAGENT_SHIM_H
#define TABAGENT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include "llama.h"

#if defined(_WIN32)
#    define TABAGENT_API __declspec(dllexport)
#else
#    define TABAGENT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Where an error's text goes: at most `capacity` bytes, always ended by a zero when `capacity` > 0.
struct tabagent_error {
    char * text;
    size_t capacity;
};

// What one buffer type holds for a context and its model, in bytes.
struct tabagent_memory {
    char     buffer_type[32];
    uint8_t  is_host;
    uint64_t model;
    uint64_t context;
    uint64_t compute;
};

// The version of this interface: it changes with any change of a signature or struct here.
#define TABAGENT_SHIM_VERSION 1
TABAGENT_API int32_t tabagent_shim_version(void);

// Sizes and field offsets of the structs that cross the border, as the C++ compiler laid them out, in the
// order of `LAYOUT` in rust/llama/src/sys/layout.rs. Returns how many there are; writes at most `capacity`.
TABAGENT_API size_t tabagent_layout(uint32_t * out, size_t capacity);

// NULL on failure; `error` then says why (empty when llama.cpp only logged the reason).
TABAGENT_API struct llama_model * tabagent_model_load(
    const char * path, const struct llama_model_params * params, struct tabagent_error * error);

TABAGENT_API struct llama_context * tabagent_context_new(
    struct llama_model * model, const struct llama_context_params * params, struct tabagent_error * error);

// What llama_decode returned, or TABAGENT_THROWN.
#define TABAGENT_THROWN INT32_MIN
TABAGENT_API int32_t tabagent_decode(
    struct llama_context * context, const struct llama_batch * batch, struct tabagent_error * error);

// What llama_tokenize returned; `*thrown` is set when it threw instead (its own range uses INT32_MIN).
TABAGENT_API int32_t tabagent_tokenize(
    const struct llama_vocab * vocab, const char * text, int32_t text_len, llama_token * tokens,
    int32_t capacity, uint8_t add_special, uint8_t parse_special, uint8_t * thrown, struct tabagent_error * error);

TABAGENT_API int32_t tabagent_token_to_piece(
    const struct llama_vocab * vocab, llama_token token, char * out, int32_t capacity, uint8_t special,
    uint8_t * thrown, struct tabagent_error * error);

// Entries of llama_get_memory_breakdown. Returns how many there are; writes at most `capacity`.
TABAGENT_API size_t tabagent_memory_breakdown(
    const struct llama_context * context, struct tabagent_memory * out, size_t capacity,
    struct tabagent_error * error);

#ifdef __cplusplus
}
#endif

#endif
