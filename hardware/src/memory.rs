//! How much memory the machine has, and how much of it this process may still take.

use serde::Serialize;

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryInfo {
    /// What the machine has.
    pub total_bytes: u64,
    /// What the machine can give without swapping, caches that can be dropped counted in.
    pub available_bytes: u64,
    /// What the control group may use, where it sets a limit below what the machine has.
    pub cgroup_limit_bytes: Option<u64>,
    /// What the control group uses of that, without caches that can be dropped.
    pub cgroup_used_bytes: Option<u64>,
    /// What this process can still take: the lesser of what the machine and what the control group has left.
    pub usable_bytes: u64,
}

/// Looks at the machine's memory. Never fails: what cannot be found out is 0 or `None`.
#[must_use]
pub fn detect() -> MemoryInfo {
    imp::detect()
}

#[cfg(target_os = "linux")]
mod imp {
    use super::MemoryInfo;
    use crate::cgroup;
    use crate::system_files::SystemFiles;

    pub(super) fn detect() -> MemoryInfo {
        read(&SystemFiles::of_this_machine())
    }

    pub(super) fn read(system: &SystemFiles) -> MemoryInfo {
        let text = system.text("/proc/meminfo").unwrap_or_default();
        let total_bytes = entry(&text, "MemTotal").unwrap_or(0);
        // Kernels before 3.14 do not say what is available.
        let available_bytes = entry(&text, "MemAvailable")
            .or_else(|| entry(&text, "MemFree"))
            .unwrap_or(0);
        let group = cgroup::limits(system)
            .memory
            .filter(|group| total_bytes == 0 || group.limit < total_bytes);
        let left = group.map_or(u64::MAX, |group| group.limit.saturating_sub(group.used));
        MemoryInfo {
            total_bytes,
            available_bytes,
            cgroup_limit_bytes: group.map(|group| group.limit),
            cgroup_used_bytes: group.map(|group| group.used),
            usable_bytes: available_bytes.min(left),
        }
    }

    /// A line of `/proc/meminfo`, `MemTotal:  16384 kB`, in bytes.
    fn entry(text: &str, key: &str) -> Option<u64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::MemoryInfo;
    use sysinfo::{MemoryRefreshKind, RefreshKind, System};

    pub(super) fn detect() -> MemoryInfo {
        let wanted = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted);
        MemoryInfo {
            total_bytes: system.total_memory(),
            available_bytes: system.available_memory(),
            cgroup_limit_bytes: None,
            cgroup_used_bytes: None,
            usable_bytes: system.available_memory(),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::system_files::tests::laid_out;

    const MEMINFO: &str =
        "MemTotal:       16000 kB\nMemFree:  1000 kB\nMemAvailable:    8000 kB\nCached: 5000 kB\n";
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";

    fn read(files: &[(&str, &str)]) -> MemoryInfo {
        let (_folder, system) = laid_out(files);
        imp::read(&system)
    }

    #[test]
    fn without_a_control_group_all_that_is_available_is_usable() {
        let memory = read(&[("/proc/meminfo", MEMINFO)]);
        assert_eq!(
            (memory.total_bytes, memory.available_bytes),
            (16_000 << 10, 8_000 << 10)
        );
        assert_eq!(
            (memory.usable_bytes, memory.cgroup_limit_bytes),
            (8_000 << 10, None)
        );
    }

    #[test]
    fn a_control_group_leaves_less() {
        let group = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/memory.max", "2097152"),
            ("/sys/fs/cgroup/memory.current", "1048576"),
        ];
        let memory = read(&group);
        assert_eq!(
            (memory.cgroup_limit_bytes, memory.cgroup_used_bytes),
            (Some(2 << 20), Some(1 << 20))
        );
        assert_eq!(memory.usable_bytes, 1 << 20);
    }

    #[test]
    fn a_limit_beyond_the_machine_is_none() {
        let memory = read(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/memory.max", "99999999999999"),
        ]);
        assert_eq!(
            (memory.cgroup_limit_bytes, memory.usable_bytes),
            (None, memory.available_bytes)
        );
    }

    #[test]
    fn an_old_kernel_and_none_at_all() {
        let old = read(&[("/proc/meminfo", "MemTotal: 10 kB\nMemFree: 4 kB\n")]);
        assert_eq!(old.available_bytes, 4096);
        let none = read(&[]);
        assert_eq!(
            (none.total_bytes, none.available_bytes, none.usable_bytes),
            (0, 0, 0)
        );
    }

    #[test]
    fn this_machine_has_memory() {
        let memory = detect();
        assert!(memory.total_bytes > 0 && memory.available_bytes <= memory.total_bytes);
        assert!(memory.usable_bytes <= memory.available_bytes);
    }
}
