#include "shim.h"

#include <cstring>
#include <exception>
#include <type_traits>

#include "ggml-backend.h"
#include "llama-ext.h"

namespace {

void write_error(tabagent_error * error, const char * text) {
    if (error == nullptr || error->text == nullptr || error->capacity == 0) {
        return;
    }
    const size_t length = strnlen(text, error->capacity - 1);
    memcpy(error->text, text, length);
    error->text[length] = '\0';
}

// Calls `body`; an exception becomes text in `error` and `thrown` in place of the result.
template <typename Body>
auto guarded(tabagent_error * error, std::invoke_result_t<Body> thrown, Body body) noexcept
    -> std::invoke_result_t<Body> {
    write_error(error, "");
    try {
        return body();
    } catch (const std::exception & exception) {
        write_error(error, exception.what());
    } catch (...) {
        write_error(error, "an exception of an unknown type");
    }
    return thrown;
}

// As `guarded`, for calls whose whole range of results is taken: `*flag` tells that it threw.
template <typename Body>
int32_t flagged(uint8_t * flag, tabagent_error * error, Body body) noexcept {
    *flag = 1;
    return guarded(error, int32_t{0}, [&] {
        const int32_t result = body();
        *flag = 0;
        return result;
    });
}

#define SIZE(type) static_cast<uint32_t>(sizeof(type))
#define AT(type, field) static_cast<uint32_t>(offsetof(type, field))

const uint32_t layout[] = {
    SIZE(llama_model_params),
    AT(llama_model_params, devices), AT(llama_model_params, tensor_buft_overrides),
    AT(llama_model_params, n_gpu_layers), AT(llama_model_params, split_mode), AT(llama_model_params, load_mode),
    AT(llama_model_params, lazy_mode), AT(llama_model_params, main_gpu), AT(llama_model_params, tensor_split),
    AT(llama_model_params, progress_callback), AT(llama_model_params, progress_callback_user_data),
    AT(llama_model_params, kv_overrides), AT(llama_model_params, vocab_only),
    AT(llama_model_params, check_tensors), AT(llama_model_params, use_extra_bufts),
    AT(llama_model_params, no_host), AT(llama_model_params, no_alloc), AT(llama_model_params, load_mtp),

    SIZE(llama_context_params),
    AT(llama_context_params, n_ctx), AT(llama_context_params, n_batch), AT(llama_context_params, n_ubatch),
    AT(llama_context_params, n_seq_max), AT(llama_context_params, n_rs_seq),
    AT(llama_context_params, n_outputs_max), AT(llama_context_params, n_outputs_max_per_seq),
    AT(llama_context_params, n_threads), AT(llama_context_params, n_threads_batch),
    AT(llama_context_params, ctx_type), AT(llama_context_params, rope_scaling_type),
    AT(llama_context_params, pooling_type), AT(llama_context_params, attention_type),
    AT(llama_context_params, flash_attn_type), AT(llama_context_params, rope_freq_base),
    AT(llama_context_params, rope_freq_scale), AT(llama_context_params, yarn_ext_factor),
    AT(llama_context_params, yarn_attn_factor), AT(llama_context_params, yarn_beta_fast),
    AT(llama_context_params, yarn_beta_slow), AT(llama_context_params, yarn_orig_ctx),
    AT(llama_context_params, defrag_thold), AT(llama_context_params, cb_eval),
    AT(llama_context_params, cb_eval_user_data), AT(llama_context_params, type_k),
    AT(llama_context_params, type_v), AT(llama_context_params, abort_callback),
    AT(llama_context_params, abort_callback_data), AT(llama_context_params, embeddings),
    AT(llama_context_params, offload_kqv), AT(llama_context_params, no_perf),
    AT(llama_context_params, op_offload), AT(llama_context_params, swa_full),
    AT(llama_context_params, kv_unified), AT(llama_context_params, samplers),
    AT(llama_context_params, n_samplers), AT(llama_context_params, ctx_other),

    SIZE(llama_batch),
    AT(llama_batch, n_tokens), AT(llama_batch, token), AT(llama_batch, embd), AT(llama_batch, pos),
    AT(llama_batch, n_seq_id), AT(llama_batch, seq_id), AT(llama_batch, logits),

    SIZE(tabagent_memory),
    AT(tabagent_memory, buffer_type), AT(tabagent_memory, is_host), AT(tabagent_memory, model),
    AT(tabagent_memory, context), AT(tabagent_memory, compute),
};

}  // namespace

int32_t tabagent_shim_version(void) {
    return TABAGENT_SHIM_VERSION;
}

size_t tabagent_layout(uint32_t * out, size_t capacity) {
    const size_t count = sizeof(layout) / sizeof(layout[0]);
    for (size_t i = 0; i < count && i < capacity; ++i) {
        out[i] = layout[i];
    }
    return count;
}

llama_model * tabagent_model_load(const char * path, const llama_model_params * params, tabagent_error * error) {
    return guarded(error, static_cast<llama_model *>(nullptr), [&] {
        return llama_model_load_from_file(path, *params);
    });
}

llama_context * tabagent_context_new(llama_model * model, const llama_context_params * params, tabagent_error * error) {
    return guarded(error, static_cast<llama_context *>(nullptr), [&] { return llama_init_from_model(model, *params); });
}

int32_t tabagent_decode(llama_context * context, const llama_batch * batch, tabagent_error * error) {
    return guarded(error, int32_t{TABAGENT_THROWN}, [&] { return llama_decode(context, *batch); });
}

int32_t tabagent_tokenize(
    const llama_vocab * vocab, const char * text, int32_t text_len, llama_token * tokens, int32_t capacity,
    uint8_t add_special, uint8_t parse_special, uint8_t * thrown, tabagent_error * error) {
    return flagged(thrown, error, [&] {
        return llama_tokenize(vocab, text, text_len, tokens, capacity, add_special != 0, parse_special != 0);
    });
}

int32_t tabagent_token_to_piece(
    const llama_vocab * vocab, llama_token token, char * out, int32_t capacity, uint8_t special, uint8_t * thrown,
    tabagent_error * error) {
    return flagged(thrown, error, [&] {
        return llama_token_to_piece(vocab, token, out, capacity, 0, special != 0);
    });
}

size_t tabagent_memory_breakdown(
    const llama_context * context, tabagent_memory * out, size_t capacity, tabagent_error * error) {
    return guarded(error, size_t{0}, [&] {
        size_t count = 0;
        for (const auto & [type, bytes] : llama_get_memory_breakdown(context)) {
            if (count < capacity) {
                tabagent_memory & entry = out[count];
                memset(&entry, 0, sizeof(entry));
                strncpy(entry.buffer_type, ggml_backend_buft_name(type), sizeof(entry.buffer_type) - 1);
                entry.is_host = ggml_backend_buft_is_host(type) ? 1 : 0;
                entry.model = bytes.model;
                entry.context = bytes.context;
                entry.compute = bytes.compute;
            }
            ++count;
        }
        return count;
    });
}
