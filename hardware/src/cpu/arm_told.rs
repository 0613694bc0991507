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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graviton_is_told_by_its_numbers() {
        let text = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd asimddp sve i8mm bf16\n\
                    CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd40\nCPU revision\t: 1\n";
        let told = from_cpuinfo(text);
        assert_eq!(
            (told.vendor.as_str(), told.family, told.model, told.stepping),
            ("ARM", 8, 0xD40, 1)
        );
        assert_eq!(
            told.features,
            ["fp", "asimd", "asimddp", "sve", "i8mm", "bf16"]
        );
    }

    #[test]
    fn of_two_kinds_of_cores_the_last_counts() {
        let text = "CPU implementer : 0x41\nCPU part : 0xd05\n\nCPU implementer : 0x41\nCPU part : 0xd0a\n";
        assert_eq!(from_cpuinfo(text).model, 0xD0A);
    }

    #[test]
    fn no_text_is_an_unknown_processor() {
        assert_eq!(from_cpuinfo(""), Told::default());
        assert_eq!(
            from_cpuinfo("CPU part : zebra\nCPU implementer : 0xff\n"),
            Told::default()
        );
    }
}
