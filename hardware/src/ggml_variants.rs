//! ggml's own table of CPU modules, with what each needs of a processor.
//!
//! Source: the `ggml_add_cpu_backend_variant` lines of `ggml/src/CMakeLists.txt` (ggml 0.25.3), and
//! `ggml/src/ggml-cpu/CMakeLists.txt` for what each of its words switches on. ggml lists the modules by age; here they
//! stand from the worst to the best as `arch/x86/cpu-feats.cpp` and `arch/arm/cpu-feats.cpp` score them: any module with
//! AVX-512 is better than `alderlake`, which matters on processors that have both AVX-512 and AVX-VNNI.

use crate::cpu::Architecture;
use crate::pack::missing;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// One CPU module that ggml can build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GgmlVariant {
    /// ggml's name: the module's file is `libggml-cpu-<name>`.
    pub name: &'static str,
    /// ggml's words for what is switched on, as they stand in its CMake file.
    words: &'static [&'static str],
}

impl GgmlVariant {
    /// What a processor must have, in the words of `is_x86_feature_detected!` / `is_aarch64_feature_detected!`.
    #[must_use]
    pub fn features(&self) -> Vec<&'static str> {
        self.words
            .iter()
            .flat_map(|word| meaning(word))
            .copied()
            .collect()
    }
}

impl Serialize for GgmlVariant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("GgmlVariant", 2)?;
        entry.serialize_field("name", self.name)?;
        entry.serialize_field("features", &self.features())?;
        entry.end()
    }
}

const fn module(name: &'static str, words: &'static [&'static str]) -> GgmlVariant {
    GgmlVariant { name, words }
}

/// What one of ggml's words asks of a processor; nothing for a word that the tables below do not use.
fn meaning(word: &str) -> &'static [&'static str] {
    match word {
        "SSE42" => &["sse4.2"],
        "AVX" => &["avx"],
        "F16C" => &["f16c"],
        "FMA" => &["fma"],
        "AVX2" => &["avx2"],
        "BMI2" => &["bmi2"],
        "AVX_VNNI" => &["avxvnni"],
        "AVX512" => &["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"],
        "AVX512_VBMI" => &["avx512vbmi"],
        "AVX512_VNNI" => &["avx512vnni"],
        "AVX512_BF16" => &["avx512bf16"],
        "AMX_TILE" => &["amx-tile"],
        "AMX_INT8" => &["amx-int8"],
        "DOTPROD" => &["dotprod"],
        "FP16_VECTOR_ARITHMETIC" => &["fp16"],
        "SVE" => &["sve"],
        "SVE2" => &["sve2"],
        "MATMUL_INT8" => &["i8mm"],
        "SME" => &["sme"],
        _ => &[],
    }
}

#[rustfmt::skip]
const X86: &[GgmlVariant] = &[
    module("x64", &[]),
    module("sse42", &["SSE42"]),
    module("sandybridge", &["SSE42", "AVX"]),
    module("ivybridge", &["SSE42", "AVX", "F16C"]),
    module("piledriver", &["SSE42", "AVX", "F16C", "FMA"]),
    module("haswell", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2"]),
    module("alderlake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX_VNNI"]),
    module("skylakex", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512"]),
    module("cannonlake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI"]),
    module("cascadelake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VNNI"]),
    module("icelake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI", "AVX512_VNNI"]),
    module("cooperlake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VNNI", "AVX512_BF16"]),
    module("zen4", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"]),
    module("sapphirerapids", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16", "AMX_TILE", "AMX_INT8"]),
];

#[cfg_attr(any(target_os = "macos", target_os = "android"), allow(dead_code))]
#[rustfmt::skip]
const ARM_LINUX: &[GgmlVariant] = &[
    module("armv8.0_1", &[]),
    module("armv8.2_1", &["DOTPROD"]),
    module("armv8.2_2", &["DOTPROD", "FP16_VECTOR_ARITHMETIC"]),
    module("armv8.2_3", &["DOTPROD", "FP16_VECTOR_ARITHMETIC", "SVE"]),
    module("armv8.6_1", &["DOTPROD", "FP16_VECTOR_ARITHMETIC", "SVE", "MATMUL_INT8"]),
    module("armv8.6_2", &["DOTPROD", "FP16_VECTOR_ARITHMETIC", "SVE", "MATMUL_INT8", "SVE2"]),
    module("armv9.2_1", &["DOTPROD", "FP16_VECTOR_ARITHMETIC", "SVE", "MATMUL_INT8", "SME"]),
    module("armv9.2_2", &["DOTPROD", "FP16_VECTOR_ARITHMETIC", "SVE", "MATMUL_INT8", "SVE2", "SME"]),
];

#[cfg_attr(not(target_os = "macos"), allow(dead_code))]
const ARM_APPLE: &[GgmlVariant] = &[
    module("apple_m1", &["DOTPROD"]),
    module("apple_m2_m3", &["DOTPROD", "MATMUL_INT8"]),
    module("apple_m4", &["DOTPROD", "MATMUL_INT8", "SME"]),
];

#[cfg(target_os = "macos")]
const ARM: &[GgmlVariant] = ARM_APPLE;
#[cfg(not(target_os = "macos"))]
const ARM: &[GgmlVariant] = ARM_LINUX;

/// The modules that ggml builds for an architecture (on this system), from the worst to the best. Empty where ggml's
/// own table is of no use to us.
#[must_use]
pub fn table(architecture: Architecture) -> &'static [GgmlVariant] {
    match architecture {
        Architecture::X86 => X86,
        Architecture::Arm => ARM,
        Architecture::Other => &[],
    }
}

/// The best module of `variants` (ordered from worst to best) for a processor with `features`.
#[must_use]
pub fn best<'a>(variants: &'a [GgmlVariant], features: &[String]) -> Option<&'a GgmlVariant> {
    variants
        .iter()
        .rev()
        .find(|variant| missing(&variant.features(), features).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(features: &[&str]) -> Vec<String> {
        features
            .iter()
            .map(|feature| (*feature).to_owned())
            .collect()
    }

    fn is_proper_subset(a: &GgmlVariant, b: &GgmlVariant) -> bool {
        let (a, b) = (a.features(), b.features());
        a.len() < b.len() && a.iter().all(|feature| b.contains(feature))
    }

    #[test]
    fn every_word_has_a_meaning() {
        for variant in [X86, ARM_LINUX, ARM_APPLE].concat() {
            for word in variant.words {
                assert!(!meaning(word).is_empty(), "{} of {}", word, variant.name);
            }
        }
    }

    #[test]
    fn a_module_that_needs_more_stands_later() {
        for list in [X86, ARM_LINUX, ARM_APPLE] {
            for (index, earlier) in list.iter().enumerate() {
                for later in &list[index + 1..] {
                    assert!(
                        !is_proper_subset(later, earlier),
                        "{} before {}",
                        earlier.name,
                        later.name
                    );
                }
            }
        }
    }

    #[test]
    fn avx512_beats_vnni_on_a_processor_that_has_both() {
        let mut zen5 = owned(&[
            "sse4.2",
            "avx",
            "f16c",
            "fma",
            "avx2",
            "bmi2",
            "avx512f",
            "avx512cd",
            "avx512bw",
            "avx512dq",
            "avx512vl",
            "avx512vbmi",
            "avx512vnni",
            "avx512bf16",
            "avxvnni",
        ]);
        assert_eq!(best(X86, &zen5).map(|variant| variant.name), Some("zen4"));
        zen5.retain(|feature| feature != "avx512f");
        assert_eq!(
            best(X86, &zen5).map(|variant| variant.name),
            Some("alderlake")
        );
    }

    #[test]
    fn the_plain_module_needs_nothing() {
        for (list, name) in [(X86, "x64"), (ARM_LINUX, "armv8.0_1")] {
            assert_eq!(best(list, &[]).map(|variant| variant.name), Some(name));
        }
        assert_eq!(best(table(Architecture::Other), &[]), None);
    }

    #[test]
    fn sapphire_rapids_without_the_tiles_runs_what_zen4_runs() {
        let features = X86.last().map(GgmlVariant::features).unwrap();
        let full = owned(&features);
        assert_eq!(
            best(X86, &full).map(|variant| variant.name),
            Some("sapphirerapids")
        );
        let masked: Vec<String> = full
            .into_iter()
            .filter(|feature| !feature.starts_with("amx"))
            .collect();
        assert_eq!(best(X86, &masked).map(|variant| variant.name), Some("zen4"));
    }
}
