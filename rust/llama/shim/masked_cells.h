// What ggml's attention on the CPU lacks for many sequences in one KV cache: most cells of it are hidden from each
// query. scripts/runtime_build/patching.py puts this before the attention of ops.cpp and calls it there.

static void ggml_compute_forward_flash_attn_ext_f16_one_chunk(
    const ggml_compute_params *, ggml_tensor *, int, int, int64_t, int64_t, float *, int64_t);
static void ggml_compute_forward_flash_attn_ext_tiled(const ggml_compute_params *, ggml_tensor *, int, int);

namespace masked_cells {

// Fewer rows than this are computed sooner one by one than as a tile.
constexpr int WORTH_A_TILE = 16;

// The first cell from `from` on, and before `to`, that the mask does not hide; `to` if there is none.
inline int64_t next_seen(const ggml_fp16_t * mask, int64_t from, int64_t to) {
    constexpr uint16_t HIDDEN = 0xFC00;  // minus infinity
    constexpr uint64_t FOUR_HIDDEN = 0xFC00FC00FC00FC00;
    constexpr int64_t RUN = 16;
    for (; from + RUN <= to; from += RUN) {
        uint64_t words[RUN / 4];
        memcpy(words, mask + from, sizeof(words));
        uint64_t seen = 0;
        for (const uint64_t word : words) {
            seen |= word ^ FOUR_HIDDEN;
        }
        if (seen != 0) {
            break;
        }
    }
    for (; from < to; from++) {
        uint16_t bits;
        memcpy(&bits, mask + from, sizeof(bits));
        if (bits != HIDDEN) {
            break;
        }
    }
    return from;
}

// The cells' mask for a row of queries: rows count through queries first, then heads.
inline const ggml_fp16_t * mask_of(const ggml_tensor * dst, int64_t row) {
    const ggml_tensor * q = dst->src[0];
    const ggml_tensor * mask = dst->src[3];
    const int64_t query = row % q->ne[1];
    const int64_t head = row / q->ne[1] % q->ne[2];
    const int64_t stream = row / (q->ne[1] * q->ne[2]);
    return (const ggml_fp16_t *) ((const char *) mask->data + query * mask->nb[1]
        + head % mask->ne[2] * mask->nb[2] + stream % mask->ne[3] * mask->nb[3]);
}

// Whether a tile's rows see none of the cells of [from, to).
inline bool hides_all(const ggml_tensor * dst, int64_t row, int rows, int64_t from, int64_t to) {
    for (int64_t each = row; each < row + rows; each++) {
        if (next_seen(mask_of(dst, each), from, to) != to) {
            return false;
        }
    }
    return true;
}

// Attention of the rows [row, end): of those that begin to see at about the same cell, as the tokens of one prompt
// do, in tiles, and of others one by one. In a tile each row pays for the cells of all.
inline void attend(const ggml_compute_params * params, ggml_tensor * dst, int row, int end) {
    if (dst->src[3] == nullptr) {
        ggml_compute_forward_flash_attn_ext_tiled(params, dst, row, end);
        return;
    }
    constexpr int Q = ggml_fa_tile_config::Q;
    constexpr int KV = ggml_fa_tile_config::KV;
    const int queries = dst->src[0]->ne[1];
    const int64_t dk = dst->src[1]->ne[0];
    const int64_t dv = dst->src[2]->ne[0];
    const int64_t cells = dst->src[1]->ne[1];
    // Each way of computing finds a thread's scratch memory by its own size of it. Both are to use the same.
    const int64_t tiled = Q * dk + 2 * Q * KV + Q * dv + KV * dv + KV * dk;
    const int64_t single = dk + 2 * dv;
    ggml_compute_params one_by_one = *params;
    one_by_one.wdata = (float *) params->wdata + params->ith * (tiled - single);

    while (row < end) {
        const int most = std::min({end, row + Q, (row / queries + 1) * queries});
        const int64_t first = next_seen(mask_of(dst, row), 0, cells);
        int next = row + 1;
        for (; next < most; next++) {
            const int64_t other = next_seen(mask_of(dst, next), 0, cells);
            if (other < first || other >= first + KV) {
                break;
            }
        }
        if (next - row >= WORTH_A_TILE) {
            ggml_compute_forward_flash_attn_ext_tiled(params, dst, row, next);
        } else {
            ggml_compute_forward_flash_attn_ext_f16_one_chunk(&one_by_one, dst, row, next, 0, cells, nullptr, 0);
        }
        row = next;
    }
}

}  // namespace masked_cells

