//! The processor by CPUID, and which of its features the system supports too.

use super::{Architecture, CpuidFacts, Identity, split_signature};
use raw_cpuid::{CpuId, CpuIdReaderNative, Hypervisor, cpuid};

/// Pairs each name with the standard library's answer, which is CPUID's and the system's (XCR0) together.
macro_rules! detected {
    ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
}

pub(super) fn identify() -> Identity {
    let cpuid = CpuId::new();
    let (family, model, stepping) = split_signature(cpuid!(1).eax);
    let facts = CpuidFacts {
        architecture: Architecture::X86,
        vendor: cpuid
            .get_vendor_info()
            .map_or_else(String::new, |info| info.as_str().to_owned()),
        family,
        model,
        stepping,
        features: features(&cpuid),
    };
    let brand = cpuid
        .get_processor_brand_string()
        .map(|brand| brand.as_str().trim().to_owned());
    let hypervisor = cpuid
        .get_hypervisor_info()
        .map(|info| hypervisor_name(&info.identify()));
    Identity {
        facts,
        brand: brand.unwrap_or_default(),
        hypervisor,
    }
}

fn features(cpuid: &CpuId<CpuIdReaderNative>) -> Vec<String> {
    let standard = detected!(
        "adx" "aes" "avx" "avx2" "avx512bf16" "avx512bitalg" "avx512bw" "avx512cd" "avx512dq" "avx512f" "avx512fp16"
        "avx512ifma" "avx512vbmi" "avx512vbmi2" "avx512vl" "avx512vnni" "avx512vp2intersect" "avx512vpopcntdq" "bmi1"
        "bmi2" "cmpxchg16b" "f16c" "fma" "fxsr" "gfni" "lzcnt" "movbe" "pclmulqdq" "popcnt" "rdrand" "rdseed" "sha"
        "sse" "sse2" "sse3" "sse4.1" "sse4.2" "sse4a" "ssse3" "vaes" "vpclmulqdq" "xsave"
    );
    let later = later_features(cpuid, std::arch::is_x86_feature_detected!("avx2"));
    let all = standard.into_iter().chain(later);
    let mut names: Vec<String> = all
        .filter(|(_, has)| *has)
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort_unstable();
    names
}

/// Features that the oldest compiler we support cannot be asked for. Those of AVX's kind need the registers that AVX2
/// needs; those of AMX need the tiles.
fn later_features(cpuid: &CpuId<CpuIdReaderNative>, avx2: bool) -> Vec<(&'static str, bool)> {
    let Some(info) = cpuid.get_extended_feature_info() else {
        return Vec::new();
    };
    let tiles = tiles_are_saved();
    // Leaf 7, subleaf 1; raw-cpuid has no name for these bits.
    let subleaf_1 = if cpuid!(7, 0).eax >= 1 {
        cpuid!(7, 1).eax
    } else {
        0
    };
    let bit = |index: u32| subleaf_1 & (1 << index) != 0;
    vec![
        ("amx-bf16", tiles && info.has_amx_bf16()),
        ("amx-fp16", tiles && bit(21)),
        ("amx-int8", tiles && info.has_amx_int8()),
        ("amx-tile", tiles && info.has_amx_tile()),
        ("avxifma", avx2 && info.has_avx_ifma()),
        ("avxneconvert", avx2 && info.has_avx_ne_convert()),
        ("avxvnni", avx2 && info.has_avx_vnni()),
        ("avxvnniint16", avx2 && info.has_avx_vnni_int16()),
        ("avxvnniint8", avx2 && info.has_avx_vnni_int8()),
        ("sha512", avx2 && bit(0)),
        ("sm3", avx2 && bit(1)),
        ("sm4", avx2 && bit(2)),
    ]
}

/// XSAVE's number for the contents of AMX's tiles.
const TILE_DATA: u32 = 18;

/// Whether the system has switched AMX's tiles on in XCR0. Reading XCR0 itself takes `unsafe`; leaf 0Dh tells the same:
/// how large a save area the parts switched on now need, and where in it the tiles would lie.
fn tiles_are_saved() -> bool {
    let highest_leaf = cpuid!(0).eax;
    highest_leaf >= 0xD
        && reaches(
            cpuid!(0xD, 0).ebx,
            cpuid!(0xD, TILE_DATA).ebx,
            cpuid!(0xD, TILE_DATA).eax,
        )
}

/// Whether a save area of `area` bytes holds the part at `offset` of `size` bytes, if there is such a part at all.
fn reaches(area: u32, offset: u32, size: u32) -> bool {
    size > 0 && offset.checked_add(size).is_some_and(|end| area >= end)
}

fn hypervisor_name(hypervisor: &Hypervisor) -> String {
    match hypervisor {
        Hypervisor::Xen => "Xen".to_owned(),
        Hypervisor::VMware => "VMware".to_owned(),
        Hypervisor::HyperV => "Hyper-V".to_owned(),
        Hypervisor::KVM => "KVM".to_owned(),
        Hypervisor::QEMU => "QEMU".to_owned(),
        Hypervisor::Bhyve => "bhyve".to_owned(),
        Hypervisor::QNX => "QNX".to_owned(),
        Hypervisor::ACRN => "ACRN".to_owned(),
        Hypervisor::Unknown(..) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_count_only_when_the_save_area_reaches_them() {
        // Sapphire Rapids: 8192 bytes at 2816; without the tiles the area ends with PKRU at 2696.
        assert!(reaches(11_008, 2816, 8192));
        assert!(!reaches(2696, 2816, 8192));
        assert!(!reaches(2696, 0, 0));
        assert!(!reaches(u32::MAX, u32::MAX, 1));
    }
}
