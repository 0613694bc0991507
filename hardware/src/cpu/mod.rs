//! What the processor is and what of it this process may use.
//!
//! [`CpuidFacts`] is the part that names and choices depend on: a plain record, which tests fill with processors that
//! are not at hand. [`detect`] fills it, and all the rest, from the machine.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(any(target_arch = "aarch64", test))]
#[cfg_attr(
    not(all(target_arch = "aarch64", target_os = "linux")),
    allow(dead_code)
)]
mod arm_told;
#[cfg(all(target_os = "linux", any(target_arch = "x86", target_arch = "x86_64")))]
mod core_kinds;
#[cfg(target_os = "linux")]
mod topology_linux;
#[cfg(not(target_os = "linux"))]
mod topology_other;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

#[cfg(target_os = "linux")]
use topology_linux as topology;
#[cfg(not(target_os = "linux"))]
use topology_other as topology;

use serde::{Deserialize, Serialize};

/// The family of instruction sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86 and x86-64.
    X86,
    /// 64-bit ARM.
    Arm,
    /// Anything else.
    Other,
}

impl Architecture {
    /// The one that this program was compiled for.
    pub const CURRENT: Self = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        Self::X86
    } else if cfg!(target_arch = "aarch64") {
        Self::Arm
    } else {
        Self::Other
    };
}

/// What CPUID says of a processor, as far as names and choices depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuidFacts {
    /// The family of instruction sets.
    pub architecture: Architecture,
    /// CPUID leaf 0: `GenuineIntel`, `AuthenticAMD`, `HygonGenuine` … On ARM the implementer: `ARM`, `Apple` …
    pub vendor: String,
    /// The displayed family (base and extended added up); on ARM the architecture's number.
    pub family: u32,
    /// The displayed model (extended model in the high digit); on ARM the part number.
    pub model: u32,
    /// The stepping; on ARM the revision.
    pub stepping: u32,
    /// What the processor has **and** the system saves registers for, in the words of `is_x86_feature_detected!` /
    /// `is_aarch64_feature_detected!`, sorted.
    pub features: Vec<String>,
}

/// Displayed family, model and stepping out of CPUID leaf 1's EAX: the extended family counts for base family 15, the
/// extended model for 6 and 15 (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
#[must_use]
pub fn split_signature(eax: u32) -> (u32, u32, u32) {
    let digit = |shift: u32| (eax >> shift) & 0xF;
    let base_family = digit(8);
    let family = if base_family == 0xF {
        base_family + ((eax >> 20) & 0xFF)
    } else {
        base_family
    };
    let model = if matches!(base_family, 6 | 0xF) {
        (digit(16) << 4) | digit(4)
    } else {
        digit(4)
    };
    (family, model, digit(0))
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheKind {
    /// Data only.
    Data,
    /// Instructions only.
    Instruction,
    /// Both.
    Unified,
}

/// All caches of one level, kind and size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cache {
    /// 1, 2, 3 …
    pub level: u8,
    /// What it holds.
    pub kind: CacheKind,
    /// The size of one of them, in bytes.
    pub size_bytes: u64,
    /// How many of them there are.
    pub count: u32,
}

/// What the processor is and what of it this process may use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CpuInfo {
    /// The family of instruction sets.
    pub architecture: Architecture,
    /// See [`CpuidFacts::vendor`].
    pub vendor: String,
    /// See [`CpuidFacts::family`].
    pub family: u32,
    /// See [`CpuidFacts::model`].
    pub model: u32,
    /// See [`CpuidFacts::stepping`].
    pub stepping: u32,
    /// The name that the processor gives itself; empty where it gives none.
    pub brand: String,
    /// See [`CpuidFacts::features`].
    pub features: Vec<String>,
    /// Cores that are online.
    pub physical_cores: u32,
    /// Hardware threads that are online.
    pub logical_cores: u32,
    /// Hardware threads that this process may run on (its affinity).
    pub available_cores: u32,
    /// Physical cores of the fast kind, on a chip with two kinds.
    pub performance_cores: Option<u32>,
    /// Physical cores of the thrifty kind, on a chip with two kinds.
    pub efficiency_cores: Option<u32>,
    /// How many processors' worth of time the control group grants (quota over period), where it sets a limit.
    pub cgroup_cpu_limit: Option<f64>,
    /// The caches, from level 1 up.
    pub caches: Vec<Cache>,
    /// The virtual machine's monitor, if the processor says that it runs under one: `KVM`, `HyperV` …
    pub hypervisor: Option<String>,
}

impl CpuInfo {
    /// The part that names and choices depend on.
    #[must_use]
    pub fn facts(&self) -> CpuidFacts {
        CpuidFacts {
            architecture: self.architecture,
            vendor: self.vendor.clone(),
            family: self.family,
            model: self.model,
            stepping: self.stepping,
            features: self.features.clone(),
        }
    }

    /// How many threads to compute with when nobody says: one for each physical core (of the fast kind, where there
    /// are two), but no more than affinity and control group grant; at least one.
    #[must_use]
    pub fn suggested_threads(&self) -> u32 {
        let cores = self.performance_cores.unwrap_or(self.physical_cores);
        let granted = self
            .cgroup_cpu_limit
            .map_or(u32::MAX, |limit| limit.ceil() as u32);
        cores.min(self.available_cores).min(granted).max(1)
    }
}

/// What the processor itself tells, whichever way its architecture has.
pub(crate) struct Identity {
    pub facts: CpuidFacts,
    pub brand: String,
    pub hypervisor: Option<String>,
}

/// Which cores there are, as the system tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Topology {
    pub physical_cores: u32,
    pub logical_cores: u32,
    pub available_cores: u32,
    pub performance_cores: Option<u32>,
    pub efficiency_cores: Option<u32>,
    pub cgroup_cpu_limit: Option<f64>,
    pub caches: Vec<Cache>,
}

/// Looks at the processor of this machine. Never fails: what cannot be found out stays zero, empty or `None`.
#[must_use]
pub fn detect() -> CpuInfo {
    let Identity {
        facts,
        brand,
        hypervisor,
    } = identify();
    let topology = topology::detect();
    CpuInfo {
        architecture: facts.architecture,
        vendor: facts.vendor,
        family: facts.family,
        model: facts.model,
        stepping: facts.stepping,
        brand,
        features: facts.features,
        physical_cores: topology.physical_cores,
        logical_cores: topology.logical_cores,
        available_cores: topology.available_cores,
        performance_cores: topology.performance_cores,
        efficiency_cores: topology.efficiency_cores,
        cgroup_cpu_limit: topology.cgroup_cpu_limit,
        caches: topology.caches,
        hypervisor,
    }
}

/// Only what names and choices depend on: quicker than [`detect`], as it reads no files on x86.
#[must_use]
pub fn detect_facts() -> CpuidFacts {
    identify().facts
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn identify() -> Identity {
    x86::identify()
}

#[cfg(target_arch = "aarch64")]
fn identify() -> Identity {
    arm::identify()
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn identify() -> Identity {
    let facts = CpuidFacts {
        architecture: Architecture::Other,
        vendor: String::new(),
        family: 0,
        model: 0,
        stepping: 0,
        features: Vec::new(),
    };
    Identity {
        facts,
        brand: String::new(),
        hypervisor: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_splits_as_the_manuals_say() {
        assert_eq!(split_signature(0x000B_0671), (6, 0xB7, 1));
        assert_eq!(split_signature(0x00A2_0F12), (0x19, 0x21, 2));
        assert_eq!(split_signature(0x00B0_0F21), (0x1A, 0x02, 1));
        assert_eq!(split_signature(0x0000_0543), (5, 4, 3));
    }

    fn with_cores(
        physical: u32,
        performance: Option<u32>,
        available: u32,
        limit: Option<f64>,
    ) -> u32 {
        let mut cpu = detect();
        cpu.physical_cores = physical;
        cpu.performance_cores = performance;
        cpu.available_cores = available;
        cpu.cgroup_cpu_limit = limit;
        cpu.suggested_threads()
    }

    #[test]
    fn threads_follow_the_cores_that_may_be_used() {
        assert_eq!(with_cores(8, None, 16, None), 8);
        assert_eq!(with_cores(16, Some(6), 24, None), 6);
        assert_eq!(with_cores(8, None, 3, None), 3);
        assert_eq!(with_cores(8, None, 16, Some(2.5)), 3);
        assert_eq!(with_cores(8, None, 16, Some(0.1)), 1);
        assert_eq!(with_cores(0, None, 0, None), 1);
    }

    #[test]
    fn facts_and_the_whole_look_agree() {
        let cpu = detect();
        assert_eq!(cpu.facts(), detect_facts());
        assert!(cpu.features.is_sorted());
        assert_eq!(cpu.architecture, Architecture::CURRENT);
    }

    /// Linux lists a feature only if it saves its registers, which is what we claim too.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn linux_agrees_on_what_this_processor_has() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let line = |key: &str| {
            let line = cpuinfo.lines().find(|line| {
                line.split(':')
                    .next()
                    .is_some_and(|name| name.trim() == key)
            });
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap()
        };
        let flags: Vec<String> = line("flags").split(' ').map(str::to_owned).collect();
        let cpu = detect();
        let spelled = [
            ("sse3", "pni"),
            ("ssse3", "ssse3"),
            ("sse4.1", "sse4_1"),
            ("sse4.2", "sse4_2"),
            ("avx", "avx"),
            ("f16c", "f16c"),
            ("fma", "fma"),
            ("avx2", "avx2"),
            ("bmi2", "bmi2"),
            ("avxvnni", "avx_vnni"),
            ("avx512f", "avx512f"),
            ("avx512cd", "avx512cd"),
            ("avx512bw", "avx512bw"),
            ("avx512dq", "avx512dq"),
            ("avx512vl", "avx512vl"),
            ("avx512vbmi", "avx512vbmi"),
            ("avx512vnni", "avx512_vnni"),
            ("avx512bf16", "avx512_bf16"),
            ("amx-tile", "amx_tile"),
            ("amx-int8", "amx_int8"),
            ("sha", "sha_ni"),
        ];
        for (ours, linux) in spelled {
            let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
            assert_eq!(has(&cpu.features, ours), has(&flags, linux), "{ours}");
        }
        let numbers = [cpu.family, cpu.model, cpu.stepping].map(|number| number.to_string());
        assert_eq!(
            numbers,
            [line("cpu family"), line("model"), line("stepping")]
        );
        assert_eq!(
            (cpu.vendor, cpu.brand),
            (line("vendor_id"), line("model name"))
        );
    }
}
