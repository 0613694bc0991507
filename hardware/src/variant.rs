//! The CPU variant's name, and the variants that can stand in for it.
//!
//! Family and model give the name ([`variant_name`]); features decide what may run ([`fallback_chain`]), because a
//! virtual machine can hide AVX-512 or AVX2 and keep family and model. The names are those of the folders in TabAgent's
//! binary releases; a microarchitecture that has none there gets its own name in the same style.
//!
//! Sources: Intel SDM volume 4, table 2-1, and Linux' `arch/x86/include/asm/intel-family.h` (models of family 6); AMD's
//! Processor Programming References and Linux' `arch/x86/kernel/cpu/amd.c` (families 17h, 19h, 1Ah); GCC's manual,
//! "x86 Options", for what `-march=<name>` lets a compiler use.

use crate::cpu::{self, Architecture, CpuidFacts};
use crate::pack::missing;

/// The name for a processor that the tables do not know, and the AVX2 build that most x86 processors can run.
pub const PORTABLE: &str = "bitnet-portable";
/// The name for every 64-bit ARM processor.
pub const ARM: &str = "bitnet-arm";
/// The folder of the plain llama.cpp build, which asks nothing of the processor.
pub const STANDARD: &str = "standard";
/// How older releases spell [`STANDARD`].
pub const GENERIC: &str = "generic";

/// The variant's name of the processor with these facts, such as `bitnet-amd-zen2`. Never fails: what is unknown is
/// [`PORTABLE`].
#[must_use]
pub fn variant_name(facts: &CpuidFacts) -> String {
    let known = match (facts.architecture, facts.vendor.as_str()) {
        (Architecture::Arm, _) => Some(ARM),
        (Architecture::X86, "AuthenticAMD") => amd(facts.family, facts.model),
        (Architecture::X86, "GenuineIntel") => intel(facts),
        _ => None,
    };
    known.unwrap_or(PORTABLE).to_owned()
}

/// The variant's name of this machine's processor.
#[must_use]
pub fn current() -> String {
    variant_name(&cpu::detect_facts())
}

fn amd(family: u32, model: u32) -> Option<&'static str> {
    Some(match (family, model) {
        (0x10 | 0x12, _) => "bitnet-amd-k10",
        (0x14, _) => "bitnet-amd-bobcat",
        (0x15, 0x02 | 0x10..=0x1F) => "bitnet-amd-piledriver",
        (0x15, 0x00..=0x0F) => "bitnet-amd-bulldozer",
        (0x15, 0x30..=0x3F) => "bitnet-amd-steamroller",
        (0x15, 0x60..=0x7F) => "bitnet-amd-excavator",
        (0x16, 0x00..=0x2F) => "bitnet-amd-jaguar",
        (0x16, 0x30..=0x3F) => "bitnet-amd-puma",
        (0x17, 0x00..=0x0F | 0x11 | 0x18 | 0x20) => "bitnet-amd-zen1",
        (0x17, _) => "bitnet-amd-zen2",
        (0x19, 0x10..=0x1F | 0x60..=0xAF) => "bitnet-amd-zen4",
        (0x19, _) => "bitnet-amd-zen3",
        (0x1A, _) => "bitnet-amd-zen5",
        _ => return None,
    })
}

fn intel(facts: &CpuidFacts) -> Option<&'static str> {
    match facts.family {
        6 => intel_family_6(facts),
        0x12 => matches!(facts.model, 0x01 | 0x03).then_some("bitnet-intel-novalake"),
        0x13 => (facts.model == 0x01).then_some("bitnet-intel-diamondrapids"),
        _ => None,
    }
}

fn intel_family_6(facts: &CpuidFacts) -> Option<&'static str> {
    Some(match facts.model {
        0x0F | 0x16 => "bitnet-intel-core2",
        0x17 | 0x1D => "bitnet-intel-penryn",
        0x1A | 0x1E | 0x1F | 0x2E => "bitnet-intel-nehalem",
        0x25 | 0x2C | 0x2F => "bitnet-intel-westmere",
        0x2A | 0x2D => "bitnet-intel-sandybridge",
        0x3A | 0x3E => "bitnet-intel-ivybridge",
        0x3C | 0x3F | 0x45 | 0x46 => "bitnet-intel-haswell",
        0x3D | 0x47 | 0x4F | 0x56 => "bitnet-intel-broadwell",
        // Kaby, Coffee, Whiskey, Amber and Comet Lake are Skylake's cores, built once more.
        0x4E | 0x5E | 0x8E | 0x9E | 0xA5 | 0xA6 => "bitnet-intel-skylake",
        0x55 => skylake_server(facts),
        0x66 => "bitnet-intel-cannonlake",
        0x6A | 0x6C | 0x7D | 0x7E | 0x9D => "bitnet-intel-icelake",
        0xA7 => "bitnet-intel-rocketlake",
        0x8C | 0x8D => "bitnet-intel-tigerlake",
        // Raptor Lake (B7h, BAh, BFh), Bartlett Lake (D7h) and the N series (BEh) run what is built for Alder Lake.
        0x97 | 0x9A | 0xB7 | 0xBA | 0xBE | 0xBF | 0xD7 => "bitnet-intel-alderlake",
        0x8F => "bitnet-intel-sapphirerapids",
        0xCF => "bitnet-intel-emeraldrapids",
        0xAD | 0xAE => "bitnet-intel-graniterapids",
        0xAA | 0xAC => "bitnet-intel-meteorlake",
        0xB5 | 0xC5 | 0xC6 => "bitnet-intel-arrowlake",
        0xBD => "bitnet-intel-lunarlake",
        0xCC => "bitnet-intel-pantherlake",
        0xD5 => "bitnet-intel-wildcatlake",
        0xAF => "bitnet-intel-sierraforest",
        0xB6 => "bitnet-intel-grandridge",
        0xDD => "bitnet-intel-clearwaterforest",
        0x57 => "bitnet-intel-knightslanding",
        0x85 => "bitnet-intel-knightsmill",
        0x8A => "bitnet-intel-lakefield",
        0x1C | 0x26 => "bitnet-intel-bonnell",
        0x27 | 0x35 | 0x36 => "bitnet-intel-saltwell",
        0x37 | 0x4A | 0x4D | 0x5A | 0x5D => "bitnet-intel-silvermont",
        0x4C | 0x65 | 0x6E | 0x75 => "bitnet-intel-airmont",
        0x5C | 0x5F => "bitnet-intel-goldmont",
        0x7A => "bitnet-intel-goldmontplus",
        // QEMU's first `Icelake-Server` gave itself this number of an Atom; no Atom of that time has AVX-512.
        0x86 if has(facts, "avx512f") => "bitnet-intel-icelake",
        0x86 | 0x96 | 0x9C => "bitnet-intel-tremont",
        _ => return None,
    })
}

/// Three generations share model 55h. Their steppings tell them apart (0–4, 5–7, 10 and up); a feature that only the
/// later ones have tells the same where a virtual machine made the stepping up.
fn skylake_server(facts: &CpuidFacts) -> &'static str {
    if facts.stepping >= 0xA || has(facts, "avx512bf16") {
        "bitnet-intel-cooperlake"
    } else if facts.stepping >= 5 || has(facts, "avx512vnni") {
        "bitnet-intel-cascadelake"
    } else {
        "bitnet-intel-skylakex"
    }
}

fn has(facts: &CpuidFacts, feature: &str) -> bool {
    facts.features.iter().any(|had| had == feature)
}

/// Feature names, as `is_x86_feature_detected!` spells them.
type Features = &'static [&'static str];

/// A variant and the one to try when it cannot be had.
struct Variant {
    name: &'static str,
    next: &'static str,
    /// Whether a build of this variant also uses all that a build of `next` does.
    inherits: bool,
    /// What a build of this variant may use of a processor, beside what it inherits.
    adds: &'static [Features],
}

/// A generation that can do all that the one before it can.
const fn upon(next: &'static str, name: &'static str, adds: &'static [Features]) -> Variant {
    Variant {
        name,
        next,
        inherits: true,
        adds,
    }
}

/// A variant that has nothing from the one to fall back to.
const fn apart(next: &'static str, name: &'static str, adds: &'static [Features]) -> Variant {
    Variant {
        name,
        next,
        inherits: false,
        adds,
    }
}

// What `-march=` of each generation lets a compiler use beside what the one before it had, as far as a program can ask
// for it at run time.
const SSE3: Features = &["sse3", "ssse3"];
const SSE42: Features = &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"];
const AVX: Features = &["avx"];
const AVX2: Features = &["avx", "avx2", "f16c", "fma"];
const HASWELL: Features = &["bmi1", "bmi2", "lzcnt", "movbe", "pclmulqdq", "popcnt"];
const BROADWELL: Features = &["adx", "rdseed"];
const AES: Features = &["aes", "pclmulqdq"];
const AVX512: Features = &["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"];
const VNNI: Features = &["avx512vnni"];
const BF16: Features = &["avx512bf16"];
const CANNON: Features = &["avx512ifma", "avx512vbmi", "sha"];
const ICE: Features = &[
    "avx512vbmi2",
    "avx512bitalg",
    "avx512vpopcntdq",
    "gfni",
    "vaes",
    "vpclmulqdq",
];
const SAPPHIRE: Features = &["avxvnni", "avx512fp16", "amx-tile", "amx-int8", "amx-bf16"];
const ALDER: Features = &["avxvnni", "gfni", "sha", "vaes", "vpclmulqdq"];
const SIERRA: Features = &["avxifma", "avxneconvert", "avxvnniint8"];
const LUNAR: Features = &["avxvnniint16", "sha512", "sm3", "sm4"];
const JAGUAR: Features = &["bmi1", "f16c", "lzcnt", "movbe", "sse4a"];
const ZEN1: Features = &["aes", "adx", "rdseed", "sha", "sse4a"];
const ZEN3: Features = &["vaes", "vpclmulqdq"];

/// Every name that [`variant_name`] gives, and the folders that stand in for all of them.
const VARIANTS: &[Variant] = &[
    apart("", GENERIC, &[]),
    apart(GENERIC, STANDARD, &[]),
    apart(STANDARD, ARM, &[]),
    apart(STANDARD, PORTABLE, &[AVX2]),
    // AMD before Zen
    apart(
        PORTABLE,
        "bitnet-amd-k10",
        &[&["sse3", "sse4a", "popcnt", "lzcnt"]],
    ),
    apart(
        PORTABLE,
        "bitnet-amd-bobcat",
        &[SSE3, &["sse4a", "popcnt", "lzcnt"]],
    ),
    apart(PORTABLE, "bitnet-amd-jaguar", &[SSE42, AVX, AES, JAGUAR]),
    upon("bitnet-amd-jaguar", "bitnet-amd-puma", &[&["rdrand"]]),
    apart(
        PORTABLE,
        "bitnet-amd-bulldozer",
        &[SSE42, AVX, AES, &["lzcnt", "sse4a"]],
    ),
    upon(
        "bitnet-amd-bulldozer",
        "bitnet-amd-piledriver",
        &[&["bmi1", "f16c", "fma"]],
    ),
    upon("bitnet-amd-piledriver", "bitnet-amd-steamroller", &[]),
    apart(
        PORTABLE,
        "bitnet-amd-excavator",
        &[SSE42, AVX2, HASWELL, &["aes", "rdrand", "sse4a"]],
    ),
    // AMD Zen
    upon(PORTABLE, "bitnet-amd-zen1", &[HASWELL, ZEN1]),
    upon("bitnet-amd-zen1", "bitnet-amd-zen2", &[]),
    upon("bitnet-amd-zen2", "bitnet-amd-zen3", &[ZEN3]),
    upon(
        "bitnet-amd-zen3",
        "bitnet-amd-zen4",
        &[AVX512, VNNI, BF16, CANNON, ICE],
    ),
    upon(
        "bitnet-amd-zen4",
        "bitnet-amd-zen5",
        &[&["avx512vp2intersect", "avxvnni"]],
    ),
    // Intel before AVX2
    apart(PORTABLE, "bitnet-intel-core2", &[SSE3]),
    upon("bitnet-intel-core2", "bitnet-intel-penryn", &[&["sse4.1"]]),
    upon("bitnet-intel-penryn", "bitnet-intel-nehalem", &[SSE42]),
    upon(
        "bitnet-intel-nehalem",
        "bitnet-intel-westmere",
        &[&["pclmulqdq"]],
    ),
    upon("bitnet-intel-westmere", "bitnet-intel-sandybridge", &[AVX]),
    upon(
        "bitnet-intel-sandybridge",
        "bitnet-intel-ivybridge",
        &[&["f16c", "rdrand"]],
    ),
    // Intel with AVX2
    upon(PORTABLE, "bitnet-intel-haswell", &[HASWELL]),
    upon(
        "bitnet-intel-haswell",
        "bitnet-intel-broadwell",
        &[BROADWELL],
    ),
    upon("bitnet-intel-broadwell", "bitnet-intel-skylake", &[AES]),
    upon("bitnet-intel-skylake", "bitnet-intel-alderlake", &[ALDER]),
    upon("bitnet-intel-alderlake", "bitnet-intel-meteorlake", &[]),
    upon(
        "bitnet-intel-meteorlake",
        "bitnet-intel-arrowlake",
        &[SIERRA],
    ),
    upon("bitnet-intel-arrowlake", "bitnet-intel-lunarlake", &[LUNAR]),
    upon("bitnet-intel-lunarlake", "bitnet-intel-pantherlake", &[]),
    upon("bitnet-intel-lunarlake", "bitnet-intel-wildcatlake", &[]),
    upon(
        "bitnet-intel-alderlake",
        "bitnet-intel-sierraforest",
        &[SIERRA],
    ),
    upon("bitnet-intel-sierraforest", "bitnet-intel-grandridge", &[]),
    upon(
        "bitnet-intel-sierraforest",
        "bitnet-intel-clearwaterforest",
        &[LUNAR],
    ),
    // Intel with AVX-512
    upon(
        "bitnet-intel-broadwell",
        "bitnet-intel-knightslanding",
        &[&["aes", "avx512f", "avx512cd"]],
    ),
    upon(
        "bitnet-intel-knightslanding",
        "bitnet-intel-knightsmill",
        &[&["avx512vpopcntdq"]],
    ),
    upon("bitnet-intel-skylake", "bitnet-intel-skylakex", &[AVX512]),
    upon("bitnet-intel-skylakex", "bitnet-intel-cascadelake", &[VNNI]),
    upon(
        "bitnet-intel-cascadelake",
        "bitnet-intel-cooperlake",
        &[BF16],
    ),
    upon(
        "bitnet-intel-skylake",
        "bitnet-intel-cannonlake",
        &[AVX512, CANNON],
    ),
    upon(
        "bitnet-intel-skylake",
        "bitnet-intel-icelake",
        &[AVX512, CANNON, VNNI, ICE],
    ),
    upon("bitnet-intel-icelake", "bitnet-intel-rocketlake", &[]),
    upon(
        "bitnet-intel-icelake",
        "bitnet-intel-tigerlake",
        &[&["avx512vp2intersect"]],
    ),
    upon(
        "bitnet-intel-icelake",
        "bitnet-intel-sapphirerapids",
        &[BF16, SAPPHIRE],
    ),
    upon(
        "bitnet-intel-sapphirerapids",
        "bitnet-intel-emeraldrapids",
        &[],
    ),
    upon(
        "bitnet-intel-sapphirerapids",
        "bitnet-intel-graniterapids",
        &[&["amx-fp16"]],
    ),
    upon(
        "bitnet-intel-graniterapids",
        "bitnet-intel-diamondrapids",
        &[SIERRA, LUNAR],
    ),
    upon(
        "bitnet-intel-alderlake",
        "bitnet-intel-novalake",
        &[SIERRA, LUNAR],
    ),
    // Intel's Atoms before AVX2
    apart(PORTABLE, "bitnet-intel-bonnell", &[SSE3, &["movbe"]]),
    upon("bitnet-intel-bonnell", "bitnet-intel-saltwell", &[]),
    upon(
        "bitnet-intel-bonnell",
        "bitnet-intel-silvermont",
        &[SSE42, &["pclmulqdq", "rdrand"]],
    ),
    upon("bitnet-intel-silvermont", "bitnet-intel-airmont", &[]),
    upon(
        "bitnet-intel-silvermont",
        "bitnet-intel-goldmont",
        &[&["aes", "rdseed", "sha"]],
    ),
    upon("bitnet-intel-goldmont", "bitnet-intel-goldmontplus", &[]),
    upon(
        "bitnet-intel-goldmontplus",
        "bitnet-intel-tremont",
        &[&["gfni"]],
    ),
    upon("bitnet-intel-tremont", "bitnet-intel-lakefield", &[]),
];

fn find(name: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name)
}

/// What a build of the variant may use of a processor. `None` for a name that is not in the table.
#[must_use]
pub fn required_features(variant: &str) -> Option<Vec<&'static str>> {
    let mut needs = Vec::new();
    let mut at = find(variant)?;
    loop {
        needs.extend(at.adds.iter().copied().flatten().copied());
        match find(at.next) {
            Some(next) if at.inherits => at = next,
            _ => break,
        }
    }
    needs.sort_unstable();
    needs.dedup();
    Some(needs)
}

/// One link of a chain of stand-ins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLink {
    /// The variant's name.
    pub variant: &'static str,
    /// What the processor lacks to run it; empty if it can.
    pub missing_features: Vec<String>,
}

/// The variant and all that can stand in for it, the best first, runnable or not. An unknown name has the stand-ins of
/// [`PORTABLE`].
#[must_use]
pub fn explain_chain(variant: &str, features: &[String]) -> Vec<ChainLink> {
    let first = find(variant).or_else(|| find(PORTABLE));
    let link = |variant: &Variant| ChainLink {
        variant: variant.name,
        missing_features: missing(
            &required_features(variant.name).unwrap_or_default(),
            features,
        ),
    };
    std::iter::successors(first, |variant| find(variant.next))
        .map(link)
        .collect()
}

/// The variants that a processor with these features can run in place of `variant`, the best first: from the variant
/// itself down to [`PORTABLE`] and [`STANDARD`].
#[must_use]
pub fn fallback_chain(variant: &str, features: &[String]) -> Vec<String> {
    let chain = explain_chain(variant, features).into_iter();
    chain
        .filter(|link| link.missing_features.is_empty())
        .map(|link| link.variant.to_owned())
        .collect()
}
