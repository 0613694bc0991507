//! NVIDIA's GPUs by NVML, which comes with the driver and is loaded only now.

use super::{GpuInfo, GpuVendor};
use nvml_wrapper::{Device, Nvml, error::NvmlError};
use std::ffi::OsString;

pub(super) fn detect() -> Vec<GpuInfo> {
    // Without the driver the library is absent or refuses to start: no GPU that could be used.
    let Ok(nvml) = Nvml::builder().lib_path(&library()).init() else {
        return Vec::new();
    };
    let driver = nvml.sys_driver_version().ok();
    let count = nvml.device_count().unwrap_or(0);
    let devices = (0..count).filter_map(|index| nvml.device_by_index(index).ok());
    devices
        .filter_map(|device| describe(&device, driver.as_deref()).ok())
        .collect()
}

/// The driver's own file; the name without a version belongs to the development package.
#[cfg(not(windows))]
fn library() -> OsString {
    OsString::from("libnvidia-ml.so.1")
}

/// By its whole path, as Windows would look for a bare name in the working directory too.
#[cfg(windows)]
fn library() -> OsString {
    let windows = std::env::var_os("SystemRoot").unwrap_or_else(|| OsString::from(r"C:\Windows"));
    std::path::PathBuf::from(windows)
        .join(r"System32\nvml.dll")
        .into_os_string()
}

fn describe(device: &Device<'_>, driver: Option<&str>) -> Result<GpuInfo, NvmlError> {
    let memory = device.memory_info().ok();
    Ok(GpuInfo {
        vendor: GpuVendor::Nvidia,
        name: device.name()?,
        memory_total_bytes: memory.as_ref().map(|memory| memory.total),
        memory_free_bytes: memory.as_ref().map(|memory| memory.free),
        driver: driver.map(|version| format!("nvidia {version}")),
        backend: Some("cuda".to_owned()),
        pci_address: device.pci_info().ok().map(|pci| pci.bus_id.to_lowercase()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True with or without a GPU: what NVML lists is described in full.
    #[test]
    fn whatever_nvml_lists_is_a_named_cuda_device() {
        for gpu in detect() {
            assert_eq!(
                (gpu.vendor, gpu.backend.as_deref()),
                (GpuVendor::Nvidia, Some("cuda"))
            );
            assert!(!gpu.name.is_empty());
            assert!(gpu.memory_free_bytes <= gpu.memory_total_bytes);
        }
    }
}
