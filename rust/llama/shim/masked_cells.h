// What ggml's attention on the CPU lacks for many sequences in one KV cache: most cells of it are hidden from each
// query. scripts/runtime_build/patching.py puts this before the attention of ops.cpp and calls it there.

namespace masked_cells {

constexpr uint16_t HIDDEN = 0xFC00;  // minus infinity

inline uint16_t bits_of(ggml_fp16_t value) {
    uint16_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

inline bool hidden(ggml_fp16_t mask) {
    return bits_of(mask) == HIDDEN;
}

// Whether the mask hides a run of cells.
constexpr int64_t RUN = 16;
inline bool hides_run(const ggml_fp16_t * mask) {
    constexpr uint64_t FOUR_HIDDEN = 0xFC00FC00FC00FC00;
    uint64_t words[RUN / 4];
    memcpy(words, mask, sizeof(words));
    uint64_t seen = 0;
    for (const uint64_t word : words) {
        seen |= word ^ FOUR_HIDDEN;
    }
    return seen == 0;
}

// The first cell from `from` on, and before `to`, that the mask does not hide; `to` if there is none.
inline int64_t next_seen(const ggml_fp16_t * mask, int64_t from, int64_t to) {
    while (from + RUN <= to && hides_run(mask + from)) {
        from += RUN;
    }
    while (from < to && hidden(mask[from])) {
        from++;
    }
    return from;
}

// The last cell before `to` that the mask does not hide; -1 if there is none.
inline int64_t last_seen(const ggml_fp16_t * mask, int64_t to) {
    while (to >= RUN && hides_run(mask + to - RUN)) {
        to -= RUN;
    }
    while (to > 0 && hidden(mask[to - 1])) {
        to--;
    }
    return to - 1;
}

}  // namespace masked_cells

