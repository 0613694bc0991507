//! Which GPUs this machine has. NVIDIA's by NVML, loaded at run time; the others by what the system tells.
//!
//! A GPU that is listed need not be one that the runtime pack can use: `backend` says what it would take.

#[cfg(target_os = "linux")]
mod drm;
#[cfg(target_os = "macos")]
mod metal;
#[cfg(not(target_os = "macos"))]
mod nvml;

use serde::Serialize;
use std::fmt;

/// Who makes a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuVendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Apple.
    Apple,
}

impl fmt::Display for GpuVendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nvidia => "NVIDIA",
            Self::Amd => "AMD",
            Self::Intel => "Intel",
            Self::Apple => "Apple",
        })
    }
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuInfo {
    /// Who makes it.
    pub vendor: GpuVendor,
    /// Its name, or vendor and device number where the system knows none.
    pub name: String,
    /// Its memory in bytes, where the system tells. Apple's is the machine's.
    pub memory_total_bytes: Option<u64>,
    /// What of that is free, in bytes.
    pub memory_free_bytes: Option<u64>,
    /// The driver, with its version where that is known.
    pub driver: Option<String>,
    /// The interface by which llama.cpp would use it: `cuda`, `rocm`, `vulkan`, `metal`; `None` without a driver for it.
    pub backend: Option<String>,
    /// Its place on the PCI bus, `0000:01:00.0`.
    pub pci_address: Option<String>,
}

/// Looks for GPUs. Never fails; a machine without any gives an empty list.
#[must_use]
pub fn detect() -> Vec<GpuInfo> {
    imp::detect()
}

#[cfg(target_os = "linux")]
mod imp {
    use super::{GpuInfo, GpuVendor, drm, nvml};
    use crate::system_files::SystemFiles;

    pub(super) fn detect() -> Vec<GpuInfo> {
        merge(nvml::detect(), drm::detect(&SystemFiles::of_this_machine()))
    }

    /// NVML knows more of NVIDIA's GPUs than the kernel does; without it the kernel's word is taken.
    pub(super) fn merge(nvml: Vec<GpuInfo>, drm: Vec<GpuInfo>) -> Vec<GpuInfo> {
        let nvml_works = !nvml.is_empty();
        let others = drm
            .into_iter()
            .filter(|gpu| !(nvml_works && gpu.vendor == GpuVendor::Nvidia));
        nvml.into_iter().chain(others).collect()
    }
}

#[cfg(target_os = "macos")]
mod imp {
    pub(super) use super::metal::detect;
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod imp {
    pub(super) use super::nvml::detect;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn gpu(vendor: GpuVendor, name: &str) -> GpuInfo {
        GpuInfo {
            vendor,
            name: name.to_owned(),
            memory_total_bytes: None,
            memory_free_bytes: None,
            driver: None,
            backend: None,
            pci_address: None,
        }
    }

    fn names(gpus: Vec<GpuInfo>) -> Vec<String> {
        gpus.into_iter().map(|gpu| gpu.name).collect()
    }

    #[test]
    fn nvml_stands_in_for_the_kernels_word_on_nvidia() {
        let kernel = || {
            vec![
                gpu(GpuVendor::Intel, "iris"),
                gpu(GpuVendor::Nvidia, "NVIDIA GPU 0x2684"),
            ]
        };
        assert_eq!(
            names(imp::merge(
                vec![gpu(GpuVendor::Nvidia, "RTX 4090")],
                kernel()
            )),
            ["RTX 4090", "iris"]
        );
        assert_eq!(
            names(imp::merge(Vec::new(), kernel())),
            ["iris", "NVIDIA GPU 0x2684"]
        );
    }

    #[test]
    fn a_gpu_reads_as_plain_json() {
        let told = serde_json::to_value(gpu(GpuVendor::Nvidia, "H200")).unwrap();
        assert_eq!(told["vendor"], "nvidia");
        assert_eq!(told["memory_total_bytes"], serde_json::Value::Null);
    }
}
