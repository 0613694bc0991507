// Attention of prompts on the CPU, in place of ggml's tiles (scripts/runtime_build/patching.py puts this into ops.cpp).
//
// A block is up to 64 rows: queries of neighbouring tokens of one sequence, of all heads that share the same keys and
// values. Its queries lie side by side in the lanes of vectors, so that keys and values are only ever broadcast: they
// are neither transposed nor padded, cells that nobody of the block sees are left out when they are converted, and few
// tokens fill the lanes as well as many. A lane knows nothing of its neighbours: what a query gets depends on the
// cells that are gathered for its block, not on the number of its rows or of threads.

namespace prompt_attention {

#if defined(__GNUC__)  // and Clang: their vectors become whatever registers the CPU module is built for

#if defined(__AVX512F__)
constexpr int LANES = 16;
constexpr int REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8;
constexpr int REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4;
constexpr int REGISTERS = 32;
#else
constexpr int LANES = 4;
constexpr int REGISTERS = 16;
#endif

typedef float Floats __attribute__((vector_size(LANES * sizeof(float)), may_alias));
typedef uint32_t Words __attribute__((vector_size(LANES * sizeof(uint32_t)), may_alias));

// Most rows of a block, and cells that are computed at once: with them a block fits into the scratch memory that ggml
// plans for its own tiles.
constexpr int ROWS = ggml_fa_tile_config::Q;
constexpr int CELLS = ggml_fa_tile_config::KV;
// Where fewer heads share keys and values, so few tokens of a sequence (the next one, and those that are guessed after
// it) leave most lanes empty, and are computed one by one in ggml's way.
constexpr int LEAST_SHARED = 3;
constexpr int LEAST_TOKENS = 17;
// What a block costs beside its rows, in rows.
constexpr int BLOCK_COST = 8;

inline Floats & vector_at(float * values) {
    return *(Floats *) values;
}

inline const Floats & vector_at(const float * values) {
    return *(const Floats *) values;
}

// e^x for x up to 0; 0 where it would not be a normal number.
inline Floats exp_of(Floats x) {
    constexpr float ROUND = 0x1.8p23f;  // what is added to it is rounded, into its lowest bits
    const Floats rounded = x * 0x1.715476p+0f + ROUND;
    const Floats twos = rounded - ROUND;
    const Floats rest = (x - twos * 0x1.62e4p-1f) - twos * 0x1.7f7d1cp-20f;  // ln 2 in two parts
    Floats series = rest * (1.0f / 720) + 1.0f / 120;
    series = series * rest + 1.0f / 24;
    series = series * rest + 1.0f / 6;
    series = series * rest + 0.5f;
    series = series * rest + 1.0f;
    series = series * rest + 1.0f;
    const Words power = ((Words) rounded << 23) + 0x3f800000u;  // 2 to the power of `twos`
    return x < -87.0f ? Floats{} : series * (Floats) power;
}

// sums[row][lane] of some rows and of VECTORS vectors of lanes: what is there, or 0, plus a[row][step] * b[step][lane] of
// all steps. `width` is the length of a row of sums and of b.
template <bool ADD, int COUNT, int VECTORS>
inline void multiply_rows(
        float * sums, const float * a, int64_t a_row, int64_t a_step, const float * b, int64_t steps, int64_t width) {
    Floats sum[COUNT][VECTORS];
    for (int row = 0; row < COUNT; row++) {
        for (int each = 0; each < VECTORS; each++) {
            sum[row][each] = ADD ? vector_at(sums + row * width + each * LANES) : Floats{};
        }
    }
    for (int64_t step = 0; step < steps; step++) {
        Floats lanes[VECTORS];
        for (int each = 0; each < VECTORS; each++) {
            lanes[each] = vector_at(b + step * width + each * LANES);
        }
        for (int row = 0; row < COUNT; row++) {
            const float factor = a[row * a_row + step * a_step];
            for (int each = 0; each < VECTORS; each++) {
                sum[row][each] += factor * lanes[each];
            }
        }
    }
    for (int row = 0; row < COUNT; row++) {
        for (int each = 0; each < VECTORS; each++) {
            vector_at(sums + row * width + each * LANES) = sum[row][each];
        }
    }
}

// The same for any number of rows, and of vectors: VECTORS at once, and what is left by fewer.
template <bool ADD, int VECTORS = REGISTERS / 8>
inline void multiply(float * sums, int64_t rows, const float * a, int64_t a_row, int64_t a_step, const float * b,
                     int64_t steps, int64_t width, int64_t lane = 0) {
    // As many sums as registers hold beside the lanes of b and a factor, and enough to hide how long an addition takes.
    constexpr int COUNT = (REGISTERS - VECTORS - 1) / VECTORS >= 8 ? 8 : 4;
    for (; lane + VECTORS * LANES <= width; lane += VECTORS * LANES) {
        int64_t row = 0;
        for (; row + COUNT <= rows; row += COUNT) {
            multiply_rows<ADD, COUNT, VECTORS>(
                sums + row * width + lane, a + row * a_row, a_row, a_step, b + lane, steps, width);
        }
        for (; row < rows; row++) {
            multiply_rows<ADD, 1, VECTORS>(
                sums + row * width + lane, a + row * a_row, a_row, a_step, b + lane, steps, width);
        }
    }
    if constexpr (VECTORS > 1) {
        multiply<ADD, VECTORS - 1>(sums, rows, a, a_row, a_step, b, steps, width, lane);
    }
}

inline void to_floats(ggml_type type, const char * row, float * values, int64_t count) {
    switch (type) {
        case GGML_TYPE_F32:
            memcpy(values, row, count * sizeof(float));
            break;
        case GGML_TYPE_F16:
            ggml_cpu_fp16_to_fp32((const ggml_fp16_t *) row, values, count);
            break;
        default:
            ggml_get_type_traits(type)->to_float(row, values, count);
    }
}

// What ggml asks for, and the sizes in it.
struct Attention {
    ggml_tensor * dst;
    const ggml_tensor * q;
    const ggml_tensor * k;
    const ggml_tensor * v;
    const ggml_tensor * mask;
    const ggml_tensor * sinks;
    int64_t tokens;
    int64_t heads;
    int64_t shared_by;  // heads that have the same keys and values
    int64_t streams;
    int64_t cells;
    int64_t dk;
    int64_t dv;
    float scale;
    float max_bias;
    float softcap;

    explicit Attention(ggml_tensor * dst)
        : dst(dst), q(dst->src[0]), k(dst->src[1]), v(dst->src[2]), mask(dst->src[3]), sinks(dst->src[4]),
          tokens(q->ne[1]), heads(q->ne[2]), shared_by(heads / k->ne[2]), streams(q->ne[3]), cells(k->ne[1]),
          dk(k->ne[0]), dv(v->ne[0]) {
        memcpy(&scale, (const float *) dst->op_params + 0, sizeof(float));
        memcpy(&max_bias, (const float *) dst->op_params + 1, sizeof(float));
        memcpy(&softcap, (const float *) dst->op_params + 2, sizeof(float));
    }

    bool is_ours() const {
        return q->type == GGML_TYPE_F32 && readable(k) && readable(v) && q->nb[0] == sizeof(float)
            && k->ne[2] == v->ne[2] && k->ne[3] == v->ne[3] && heads % k->ne[2] == 0 && streams % k->ne[3] == 0
            && (mask == nullptr || mask->ne[2] == 1);
    }

    bool in_blocks(int64_t tokens_of_run) const {
        return shared_by >= LEAST_SHARED || tokens_of_run >= LEAST_TOKENS;
    }

    static bool readable(const ggml_tensor * tensor) {
        return tensor->nb[0] == ggml_type_size(tensor->type)
            && (tensor->type == GGML_TYPE_F32 || ggml_get_type_traits(tensor->type)->to_float != nullptr);
    }

    const ggml_fp16_t * mask_of(int64_t token, int64_t stream) const {
        return (const ggml_fp16_t *) ((const char *) mask->data + token * mask->nb[1]
            + stream % mask->ne[3] * mask->nb[3]);
    }

    // What a head multiplies the mask with (ALiBi).
    float slope_of(int64_t head) const {
        if (max_bias <= 0.0f) {
            return 1.0f;
        }
        const int64_t power = (int64_t) 1 << (int64_t) floor(log2((double) heads));
        return head < power ? powf(powf(2.0f, -max_bias / power), head + 1)
                            : powf(powf(2.0f, -max_bias / 2.0f / power), 2 * (head - power) + 1);
    }

    // The end of the neighbours from `token` on that belong to one sequence: each sees the last cell of the one before
    // it, and they begin to see at about the same cell. A wrong guess costs time and nothing else.
    int64_t end_of_run(int64_t token, int64_t stream) const {
        if (mask == nullptr) {
            return tokens;
        }
        const int64_t first = masked_cells::next_seen(mask_of(token, stream), 0, cells);
        for (int64_t next = token + 1; next < tokens; next++) {
            const ggml_fp16_t * row = mask_of(next, stream);
            const int64_t last = masked_cells::last_seen(mask_of(next - 1, stream), cells);
            const int64_t other = masked_cells::next_seen(row, 0, cells);
            if (last < 0 || masked_cells::hidden(row[last]) || other < first || other >= first + CELLS) {
                return next;
            }
        }
        return tokens;
    }
};

// Queries of the heads that share keys and values, of neighbouring tokens: rows count through those heads first.
struct Rows {
    int64_t stream;
    int64_t kv_head;
    int64_t token;   // first of the run
    int64_t begin;   // the first row, counted from the first head of that token
    int count;
};

// A thread's memory for a block, of `width` lanes.
struct Scratch {
    float * queries;  // [dk][width]
    float * scores;   // [CELLS][width]
    float * sums;     // [dv][width]
    float * keys;     // [CELLS][dk]
    float * values;   // [CELLS][dv]

    // Floats of a thread, as ggml plans them.
    static int64_t size(const Attention & op) {
        return ROWS * (op.dk + 2 * CELLS + op.dv) + CELLS * (op.dk + op.dv);
    }

    Scratch(const ggml_compute_params * params, const Attention & op) {
        float * base = (float *) params->wdata + params->ith * (size(op) + CACHE_LINE_SIZE_F32);
        // The cache line between two threads' memories is there for this.
        base = (float *) (((uintptr_t) base + sizeof(Floats) - 1) / sizeof(Floats) * sizeof(Floats));
        queries = base;
        scores = queries + ROWS * op.dk;
        sums = scores + ROWS * CELLS;
        keys = sums + ROWS * op.dv;
        values = keys + CELLS * op.dk;
    }
};

class Block {
public:
    Block(const Attention & op, const Rows & rows, const Scratch & scratch)
        : op(op), rows(rows), scratch(scratch), width((rows.count + LANES - 1) / LANES * LANES) {
        for (int vector = 0; vector < width / LANES; vector++) {
            most[vector] = Floats{} - INFINITY;
            weight[vector] = Floats{};
        }
        memset(scratch.sums, 0, op.dv * width * sizeof(float));
        read_queries();
    }

    void compute() {
        for (int64_t cell = next_seen(0); cell < op.cells; cell = next_seen(cell + CELLS)) {
            gather(cell, std::min(cell + CELLS, op.cells));
        }
        if (gathered > 0) {
            attend();
        }
        write();
    }

private:
    const Attention & op;
    const Rows rows;
    const Scratch scratch;
    const int width;
    // Of each row: the largest score so far, and the sum of e^(score - largest).
    Floats most[ROWS / LANES];
    Floats weight[ROWS / LANES];
    // Cells that some row sees and that wait for being computed, and whether all rows see them as they are.
    int gathered = 0;
    int64_t cell_of[CELLS];
    bool plain[CELLS];

    int64_t token_of(int row) const { return rows.token + (rows.begin + row) / op.shared_by; }
    int64_t head_of(int row) const { return rows.kv_head * op.shared_by + (rows.begin + row) % op.shared_by; }

    int64_t last_token() const { return token_of(rows.count - 1); }

    // The first cell from `from` on that is not hidden from all rows.
    int64_t next_seen(int64_t from) const {
        if (op.mask == nullptr) {
            return from;
        }
        int64_t next = op.cells;
        for (int64_t token = token_of(0); token <= last_token(); token++) {
            next = masked_cells::next_seen(op.mask_of(token, rows.stream), from, next);
        }
        return next;
    }

    void read_queries() {
        const float scale = op.softcap != 0.0f ? op.scale / op.softcap : op.scale;
        memset(scratch.queries, 0, op.dk * width * sizeof(float));
        for (int row = 0; row < rows.count; row++) {
            const float * query = (const float *) ((const char *) op.q->data + token_of(row) * op.q->nb[1]
                + head_of(row) * op.q->nb[2] + rows.stream * op.q->nb[3]);
            for (int64_t each = 0; each < op.dk; each++) {
                scratch.queries[each * width + row] = query[each] * scale;
            }
        }
    }

    // Takes the cells of [from, to) that are not hidden from all rows; computes whenever enough are there.
    void gather(int64_t from, int64_t to) {
        uint16_t seen[CELLS] = {};
        uint16_t biased[CELLS] = {};
        if (op.mask != nullptr) {
            for (int64_t token = token_of(0); token <= last_token(); token++) {
                const ggml_fp16_t * mask = op.mask_of(token, rows.stream) + from;
                for (int64_t each = 0; each < to - from; each++) {
                    const uint16_t bits = masked_cells::bits_of(mask[each]);
                    seen[each] |= bits ^ masked_cells::HIDDEN;
                    biased[each] |= bits;
                }
            }
        }
        for (int64_t each = 0; each < to - from; each++) {
            if (op.mask != nullptr && seen[each] == 0) {
                continue;
            }
            cell_of[gathered] = from + each;
            plain[gathered] = biased[each] == 0;
            if (++gathered == CELLS) {
                attend();
            }
        }
    }

    // Adds the gathered cells to the rows' sums.
    void attend() {
        read_cells(op.k, scratch.keys);
        multiply<false>(scratch.scores, gathered, scratch.keys, op.dk, 1, scratch.queries, op.dk, width);
        if (op.softcap != 0.0f) {
            ggml_vec_tanh_f32(gathered * width, scratch.scores, scratch.scores);
            ggml_vec_scale_f32(gathered * width, scratch.scores, op.softcap);
        }
        if (op.mask != nullptr) {
            add_mask();
        }
        for (int vector = 0; vector < width / LANES; vector++) {
            weigh(vector);
        }
        read_cells(op.v, scratch.values);
        multiply<true>(scratch.sums, op.dv, scratch.values, 1, op.dv, scratch.scores, gathered, width);
        gathered = 0;
    }

    void read_cells(const ggml_tensor * tensor, float * values) const {
        const char * data = (const char *) tensor->data + rows.kv_head * tensor->nb[2]
            + rows.stream / (op.streams / tensor->ne[3]) * tensor->nb[3];
        for (int each = 0; each < gathered; each++) {
            const char * row = data + cell_of[each] * tensor->nb[1];
            to_floats(tensor->type, row, values + each * tensor->ne[0], tensor->ne[0]);
        }
    }

    void add_mask() {
        const ggml_fp16_t * mask[ROWS];
        float slope[ROWS];
        for (int row = 0; row < rows.count; row++) {
            mask[row] = op.mask_of(token_of(row), rows.stream);
            slope[row] = op.slope_of(head_of(row));
        }
        for (int each = 0; each < gathered; each++) {
            if (plain[each]) {
                continue;
            }
            for (int row = 0; row < rows.count; row++) {
                scratch.scores[each * width + row] += slope[row] * GGML_CPU_FP16_TO_FP32(mask[row][cell_of[each]]);
            }
        }
    }

    // Makes weights of a vector of rows' scores, and lessens what was summed before where a larger score is among them.
    void weigh(int vector) {
        float * scores = scratch.scores + vector * LANES;
        const Floats before = most[vector];
        Floats largest = before;
        for (int each = 0; each < gathered; each++) {
            const Floats score = vector_at(scores + each * width);
            largest = score > largest ? score : largest;
        }
        const Floats origin = largest == -INFINITY ? Floats{} : largest;  // nothing seen yet: all weights become 0
        if (memcmp(&before, &largest, sizeof(Floats)) != 0) {
            const Floats factor = exp_of(before - origin);
            weight[vector] *= factor;
            for (int64_t each = 0; each < op.dv; each++) {
                vector_at(scratch.sums + each * width + vector * LANES) *= factor;
            }
            most[vector] = largest;
        }
        Floats sum = Floats{};
        for (int each = 0; each < gathered; each++) {
            const Floats score = exp_of(vector_at(scores + each * width) - origin);
            vector_at(scores + each * width) = score;
            sum += score;
        }
        weight[vector] += sum;
    }

    void write() const {
        for (int row = 0; row < rows.count; row++) {
            const float factor = factor_of(row);
            float * result = (float *) ((char *) op.dst->data
                + (rows.stream * op.tokens * op.heads + token_of(row) * op.heads + head_of(row)) * op.dst->nb[1]);
            for (int64_t each = 0; each < op.dv; each++) {
                result[each] = scratch.sums[each * width + row] * factor;
            }
        }
    }

    // What a row's sums are multiplied with in the end; a sink takes its part of the weight.
    float factor_of(int row) const {
        const float largest = most[row / LANES][row % LANES];
        float sum = weight[row / LANES][row % LANES];
        float factor = 1.0f;
        if (op.sinks != nullptr) {
            const float sink = ((const float *) op.sinks->data)[head_of(row)];
            if (sink > largest) {
                factor = expf(largest - sink);
                sum = sum * factor + 1.0f;
            } else {
                sum += expf(sink - largest);
            }
        }
        return sum == 0.0f ? 0.0f : factor / sum;
    }
};

// Rows of the blocks of a run, such that the threads end at about the same time.
inline int rows_of_blocks(int64_t rows, int64_t kv_heads, int threads) {
    int best = ROWS;
    int64_t least = INT64_MAX;
    for (int size = ROWS; size >= 16; size -= LANES) {
        const int64_t blocks = (rows + size - 1) / size * kv_heads;
        const int64_t time = (blocks + threads - 1) / threads * (size + BLOCK_COST);
        if (time < least) {
            least = time;
            best = size;
        }
    }
    return best;
}

// Deals out pieces of work, which all threads count in the same order: each takes the next when it is done with one.
class Turns {
public:
    explicit Turns(const ggml_compute_params * params) : params(params), mine(params->ith) {
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);
    }

    bool take() {
        if (taken) {
            mine = ggml_threadpool_chunk_add(params->threadpool, 1);
        }
        taken = counted++ == mine;
        return taken;
    }

private:
    const ggml_compute_params * params;
    int mine;
    int counted = 0;
    bool taken = false;
};

// The attention of one run's tokens, in blocks.
inline void compute_run(const ggml_compute_params * params, const Attention & op, int64_t stream, int64_t token,
                        int64_t end, Turns & turns) {
    const int64_t count = (end - token) * op.shared_by;
    const int size = rows_of_blocks(count, op.k->ne[2], params->nth);
    for (int64_t kv_head = 0; kv_head < op.k->ne[2]; kv_head++) {
        for (int64_t begin = 0; begin < count; begin += size) {
            if (turns.take()) {
                const Rows rows = {stream, kv_head, token, begin, (int) std::min<int64_t>(size, count - begin)};
                Block(op, rows, Scratch(params, op)).compute();
            }
        }
    }
}

// The attention of tokens without enough neighbours, one by one.
inline void compute_singles(const ggml_compute_params * params, const Attention & op, int64_t stream, int64_t token,
                            int64_t end, Turns & turns) {
    const int64_t count = end - token;
    const int64_t rows = count * op.heads;
    // ggml finds a thread's memory by a smaller size of it: here it is to be the same memory as a block's.
    ggml_compute_params shifted = *params;
    shifted.wdata = (float *) params->wdata + params->ith * (Scratch::size(op) - op.dk - 2 * op.dv);
    const int64_t size = (rows + 4 * params->nth - 1) / (4 * params->nth);
    for (int64_t begin = 0; begin < rows; begin += size) {
        if (!turns.take()) {
            continue;
        }
        for (int64_t row = begin; row < std::min(begin + size, rows);) {
            const int64_t head = row / count;
            const int64_t next = std::min({begin + size, rows, (head + 1) * count});
            const int64_t first = (stream * op.heads + head) * op.tokens + token - head * count;
            ggml_compute_forward_flash_attn_ext_f16_one_chunk(
                &shifted, op.dst, first + row, first + next, 0, op.cells, nullptr, 0);
            row = next;
        }
    }
}

// Whether a single token makes too few blocks for so many threads, among which ggml divides its cells.
inline bool leaves_threads_idle(const ggml_compute_params * params, const Attention & op) {
    return op.tokens == 1 && op.streams == 1 && params->nth > 2 * op.k->ne[2];
}

// Answers false where it is left to ggml.
inline bool compute(const ggml_compute_params * params, ggml_tensor * dst) {
    const Attention op(dst);
    if (params->use_ref || ggml_is_numa() || !op.is_ours() || !op.in_blocks(op.tokens)
        || leaves_threads_idle(params, op)) {
        return false;
    }
    Turns turns(params);
    for (int64_t stream = 0; stream < op.streams; stream++) {
        int64_t single = 0;
        for (int64_t token = 0; token < op.tokens;) {
            const int64_t end = op.end_of_run(token, stream);
            if (op.in_blocks(end - token)) {
                compute_singles(params, op, stream, single, token, turns);
                compute_run(params, op, stream, token, end, turns);
                single = end;
            }
            token = end;
        }
        compute_singles(params, op, stream, single, op.tokens, turns);
    }
    return true;
}

#else

inline bool compute(const ggml_compute_params *, ggml_tensor *) {
    return false;
}

#endif

}  // namespace prompt_attention

