//! A 64-bit ARM processor: who made it, and its features by the standard library.

use super::arm_told::Told;
use super::{Architecture, CpuidFacts, Identity};

pub(super) fn identify() -> Identity {
    let told = told();
    let mut features = standard_features();
    features.extend(told.features.iter().filter(|name| *name == "sme").cloned());
    features.sort_unstable();
    features.dedup();
    let facts = CpuidFacts {
        architecture: Architecture::Arm,
        vendor: told.vendor,
        family: told.family,
        model: told.model,
        stepping: told.stepping,
        features,
    };
    Identity {
        facts,
        brand: told.brand,
        hypervisor: None,
    }
}

#[cfg(target_os = "linux")]
fn told() -> Told {
    let text = crate::system_files::SystemFiles::of_this_machine().text("/proc/cpuinfo");
    super::arm_told::from_cpuinfo(&text.unwrap_or_default())
}

#[cfg(target_os = "macos")]
fn told() -> Told {
    let sme = crate::sysctl::value::<u32>("hw.optional.arm.FEAT_SME") == Some(1);
    Told {
        vendor: "Apple".to_owned(),
        family: 8,
        brand: crate::sysctl::text("machdep.cpu.brand_string").unwrap_or_default(),
        features: if sme {
            vec!["sme".to_owned()]
        } else {
            Vec::new()
        },
        ..Told::default()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn told() -> Told {
    Told {
        vendor: "ARM".to_owned(),
        family: 8,
        ..Told::default()
    }
}

/// Pairs each name with the standard library's answer.
macro_rules! detected {
    ($($name:tt)*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
}

fn standard_features() -> Vec<String> {
    let all = detected!(
        "aes" "asimd" "bf16" "dotprod" "f32mm" "fhm" "fp16" "i8mm" "lse" "pmull" "rdm" "sha2" "sve" "sve2"
    );
    all.into_iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| name.to_owned())
        .collect()
}
