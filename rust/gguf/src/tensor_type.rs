//! How tensors are stored: ggml's types with their block sizes.

/// A storage type of ggml 0.25.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorType {
    /// The number in a file (`enum ggml_type` in ggml.h).
    pub number: u32,
    /// The name as ggml writes it, in upper case.
    pub name: &'static str,
    /// Elements in a block.
    pub block_elements: u64,
    /// Bytes that a block takes.
    pub block_bytes: u64,
}

/// What a type number stands for.
pub(crate) enum Lookup {
    Known(TensorType),
    Removed(&'static str),
    Unknown,
}

/// Number, name, elements and bytes of a block: `type_traits` in ggml.c, sizes of the block structs in ggml-common.h.
const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
    (42, "Q2_0", 64, 18),
];

impl TensorType {
    /// Every type that can be in a file, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES
            .iter()
            .map(|&(number, name, block_elements, block_bytes)| Self {
                number,
                name,
                block_elements,
                block_bytes,
            })
    }

    pub(crate) fn look_up(number: u32) -> Lookup {
        if let Some(found) = Self::all().find(|candidate| candidate.number == number) {
            return Lookup::Known(found);
        }
        match number {
            4 | 5 => {
                Lookup::Removed("Q4_2 and Q4_3 went in 2023; quantize the original weights again")
            }
            31..=33 => Lookup::Removed(
                "Q4_0_4_4 and its like are made from Q4_0 while loading now; use a Q4_0 file",
            ),
            36 => Lookup::Removed(
                "in BitNet's own llama.cpp this is I2_S, which needs BitNet's own binaries; \
                 elsewhere IQ4_NL_4_4, in whose place an IQ4_NL file works",
            ),
            37 | 38 => Lookup::Removed(
                "in BitNet's own llama.cpp these are I8_S and TL1, which need BitNet's own binaries; \
                 elsewhere IQ4_NL_4_8 and IQ4_NL_8_8, in whose place an IQ4_NL file works",
            ),
            _ => Lookup::Unknown,
        }
    }

    /// Whether weights have three values only (BitNet's), as ggml itself stores them.
    #[must_use]
    pub fn is_ternary(self) -> bool {
        matches!(self.name, "TQ1_0" | "TQ2_0")
    }
}
