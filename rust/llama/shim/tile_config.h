// GCC before 14 tells its optimizer that loading a tile configuration reads 8 bytes. It reads 64: what had been
// written to the others is then dropped as unused, the tiles have no rows, and the next AMX instruction is illegal.
// Included before ggml's AMX kernels, so that their call is this one.
#pragma once

#ifdef __AMX_TILE__

#include <immintrin.h>

static inline void load_whole_tile_config(const void * config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*static_cast<const char (*)[64]>(config)));
}

#define _tile_loadconfig load_whole_tile_config

#endif
