//! What an ARM system tells of its processor.

/// What the system tells of the processor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub vendor: String,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    pub brand: String,
    /// As the system spells them.
    pub features: Vec<String>,
}

/// Reads Linux' `/proc/cpuinfo`; of several kinds of cores the last, which kernels number as the fastest.
pub(super) fn from_cpuinfo(text: &str) -> Told {
    let mut told = Told::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match key.trim() {
            "CPU implementer" => told.vendor = implementer(number(value)),
            "CPU architecture" => told.family = number(value),
            "CPU part" => told.model = number(value),
            "CPU revision" => told.stepping = number(value),
            "Hardware" | "Model" | "model name" => told.brand = value.to_owned(),
            "Features" => told.features = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }
    told
}

fn number(text: &str) -> u32 {
    let hexadecimal = text
        .strip_prefix("0x")
        .map(|digits| u32::from_str_radix(digits, 16));
    hexadecimal.unwrap_or_else(|| text.parse()).unwrap_or(0)
}

/// Source: Arm's list of implementer codes for MIDR_EL1, as in Linux' `arch/arm64/include/asm/cputype.h`.
fn implementer(code: u32) -> String {
    let name = match code {
        0x41 => "ARM",
        0x42 => "Broadcom",
        0x43 => "Cavium",
        0x46 => "Fujitsu",
        0x48 => "HiSilicon",
        0x4E => "NVIDIA",
        0x50 => "APM",
        0x51 => "Qualcomm",
        0x53 => "Samsung",
        0x61 => "Apple",
        0x6D => "Microsoft",
        0xC0 => "Ampere",
        _ => "",
    };
    name.to_owned()
}
