//! GPUs as Linux lists them under `/sys/class/drm`.
//!
//! Sources: the kernel's `gpu/amdgpu/driver-misc.rst` for `mem_info_vram_total` and `product_name`; the PCI ID
//! repository for the makers' numbers.

use super::{GpuInfo, GpuVendor};
use crate::system_files::SystemFiles;
use std::fs;
use std::path::Path;

const DRM: &str = "/sys/class/drm";

pub(super) fn detect(system: &SystemFiles) -> Vec<GpuInfo> {
    let names = system.names(DRM);
    let mut cards: Vec<&String> = names.iter().filter(|name| is_card(name)).collect();
    cards.sort_by_key(|name| (name.len(), *name));
    cards
        .into_iter()
        .filter_map(|card| describe(system, &format!("{DRM}/{card}/device")))
        .collect()
}

/// `card0`, but not its connectors (`card0-HDMI-A-1`) nor `renderD128`.
fn is_card(name: &str) -> bool {
    name.strip_prefix("card")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn describe(system: &SystemFiles, device: &str) -> Option<GpuInfo> {
    let vendor = match system.text(format!("{device}/vendor"))?.as_str() {
        "0x10de" => GpuVendor::Nvidia,
        "0x1002" => GpuVendor::Amd,
        "0x8086" => GpuVendor::Intel,
        _ => return None,
    };
    let total: Option<u64> = system.value(format!("{device}/mem_info_vram_total"));
    let used: Option<u64> = system.value(format!("{device}/mem_info_vram_used"));
    let driver = link_name(system, &format!("{device}/driver"));
    Some(GpuInfo {
        vendor,
        name: name(system, device, vendor),
        memory_total_bytes: total,
        memory_free_bytes: total
            .zip(used)
            .map(|(total, used)| total.saturating_sub(used)),
        backend: backend(system, driver.as_deref()).map(str::to_owned),
        driver,
        pci_address: link_name(system, device),
    })
}

fn name(system: &SystemFiles, device: &str, vendor: GpuVendor) -> String {
    let product = system
        .text(format!("{device}/product_name"))
        .filter(|name| !name.is_empty());
    product.unwrap_or_else(|| {
        let number = system.text(format!("{device}/device")).unwrap_or_default();
        format!("{vendor} GPU {number}").trim_end().to_owned()
    })
}

/// AMD's compute driver shows itself as `/dev/kfd`; without it, and for Intel, there is Vulkan. NVIDIA's own driver
/// would have been asked through NVML before, and `nouveau` is of no use for computing.
fn backend(system: &SystemFiles, driver: Option<&str>) -> Option<&'static str> {
    match driver? {
        "amdgpu" if system.path("/dev/kfd").exists() => Some("rocm"),
        "amdgpu" | "radeon" | "i915" | "xe" => Some("vulkan"),
        _ => None,
    }
}

/// The last part of where a symbolic link leads.
fn link_name(system: &SystemFiles, link: &str) -> Option<String> {
    let target = fs::read_link(system.path(link)).ok()?;
    Path::file_name(&target).map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system_files::tests::laid_out;
    use std::os::unix::fs::symlink;

    fn driver(folder: &Path, card: &str, name: &str) {
        let target = format!("../../../../bus/pci/drivers/{name}");
        symlink(
            target,
            folder.join(format!("sys/class/drm/{card}/device/driver")),
        )
        .unwrap();
    }

    #[test]
    fn each_makers_card_is_described() {
        let (folder, system) = laid_out(&[
            ("/sys/class/drm/card0/device/vendor", "0x8086"),
            ("/sys/class/drm/card0/device/device", "0x46a6"),
            ("/sys/class/drm/card0-eDP-1/status", "connected"),
            ("/sys/class/drm/renderD128/device/vendor", "0x8086"),
            ("/sys/class/drm/card10/device/vendor", "0x10de"),
            ("/sys/class/drm/card2/device/vendor", "0x1002"),
            ("/sys/class/drm/card2/device/product_name", "Instinct MI210"),
            (
                "/sys/class/drm/card2/device/mem_info_vram_total",
                "68702699520",
            ),
            ("/sys/class/drm/card2/device/mem_info_vram_used", "2699520"),
            ("/sys/class/drm/card3/device/vendor", "0x1234"),
            ("/dev/kfd", ""),
        ]);
        driver(folder.path(), "card0", "i915");
        driver(folder.path(), "card2", "amdgpu");
        driver(folder.path(), "card10", "nouveau");
        let gpus = detect(&system);
        let told: Vec<_> = gpus
            .iter()
            .map(|gpu| (gpu.name.as_str(), gpu.backend.as_deref()))
            .collect();
        let expected = [
            ("Intel GPU 0x46a6", Some("vulkan")),
            ("Instinct MI210", Some("rocm")),
            ("NVIDIA GPU", None),
        ];
        assert_eq!(told, expected);
        assert_eq!(gpus[1].memory_total_bytes, Some(68_702_699_520));
        assert_eq!(gpus[1].memory_free_bytes, Some(68_700_000_000));
        assert_eq!(
            (gpus[1].vendor, gpus[1].driver.as_deref()),
            (GpuVendor::Amd, Some("amdgpu"))
        );
        assert_eq!(gpus[0].memory_total_bytes, None);
    }

    #[test]
    fn the_place_on_the_bus_is_where_the_device_leads() {
        let (folder, system) =
            laid_out(&[("/sys/devices/pci0000:00/0000:03:00.0/vendor", "0x1002")]);
        let card = folder.path().join("sys/class/drm/card0");
        std::fs::create_dir_all(&card).unwrap();
        symlink(
            "../../../devices/pci0000:00/0000:03:00.0",
            card.join("device"),
        )
        .unwrap();
        let gpus = detect(&system);
        assert_eq!(gpus[0].pci_address.as_deref(), Some("0000:03:00.0"));
        assert_eq!(
            (gpus[0].driver.as_deref(), gpus[0].backend.as_deref()),
            (None, None)
        );
    }

    #[test]
    fn a_machine_without_graphics_has_none() {
        let (_folder, system) = laid_out(&[]);
        assert!(detect(&system).is_empty());
    }
}
