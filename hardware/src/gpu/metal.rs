//! Apple's GPU, which is a part of its chip and shares the machine's memory.

use super::{GpuInfo, GpuVendor};
use crate::{memory, sysctl};

pub(super) fn detect() -> Vec<GpuInfo> {
    if cfg!(target_arch = "aarch64") {
        vec![of_the_chip()]
    } else {
        Vec::new()
    }
}

fn of_the_chip() -> GpuInfo {
    let memory = memory::detect();
    GpuInfo {
        vendor: GpuVendor::Apple,
        name: sysctl::text("machdep.cpu.brand_string").unwrap_or_else(|| "Apple GPU".to_owned()),
        memory_total_bytes: Some(memory.total_bytes),
        memory_free_bytes: Some(memory.available_bytes),
        driver: None,
        backend: Some("metal".to_owned()),
        pci_address: None,
    }
}
