//! Cores and caches as Linux tells them in `/sys`, and what affinity and control groups leave of them.
//!
//! Source: the kernel's `ABI/stable/sysfs-devices-system-cpu` and `ABI/testing/sysfs-devices-system-cpu`.

use super::{Cache, CacheKind, Topology};
use crate::cgroup;
use crate::system_files::{SystemFiles, cpu_list};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn detect() -> Topology {
    let mut topology = read(
        &SystemFiles::of_this_machine(),
        allowed_cpus(),
        by_asking_each,
    );
    if topology.logical_cores == 0 {
        topology.logical_cores =
            thread::available_parallelism().map_or(1, |count| count.get() as u32);
        topology.physical_cores = topology.logical_cores;
    }
    topology
}

/// The numbers of the hardware threads of a chip with two kinds of cores.
struct TwoKinds {
    fast: Vec<u32>,
    thrifty: Vec<u32>,
}

impl TwoKinds {
    /// `None` unless there are some of each.
    fn of(fast: Vec<u32>, thrifty: Vec<u32>) -> Option<Self> {
        (!fast.is_empty() && !thrifty.is_empty()).then_some(Self { fast, thrifty })
    }
}

/// How many hardware threads this process may run on; `None` where the system does not say.
fn allowed_cpus() -> Option<u32> {
    rustix::thread::sched_getaffinity(None)
        .ok()
        .map(|set| set.count())
}

fn read(
    system: &SystemFiles,
    allowed: Option<u32>,
    ask: impl FnOnce(&[u32]) -> Option<TwoKinds>,
) -> Topology {
    let online = online(system);
    let logical_cores = online.len() as u32;
    let (performance_cores, efficiency_cores) = two_kinds(system, &online, ask).unzip();
    Topology {
        physical_cores: physical(system, &online),
        logical_cores,
        available_cores: allowed.unwrap_or(logical_cores),
        performance_cores,
        efficiency_cores,
        cgroup_cpu_limit: cgroup::limits(system).cpus,
        caches: caches(system, &online),
    }
}

/// The numbers of the hardware threads that are online.
fn online(system: &SystemFiles) -> Vec<u32> {
    if let Some(text) = system.text(format!("{CPUS}/online")) {
        return cpu_list(&text);
    }
    // Some containers show no /sys.
    let text = system.text("/proc/cpuinfo").unwrap_or_default();
    let number = |line: &str| {
        line.strip_prefix("processor")?
            .trim_start()
            .strip_prefix(':')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().filter_map(number).collect()
}

/// How many physical cores these hardware threads belong to. A thread that tells no siblings is a core of its own.
fn physical(system: &SystemFiles, cpus: &[u32]) -> u32 {
    let siblings = |cpu: &u32| {
        let text = system.text(format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"));
        text.filter(|list| !list.is_empty())
            .unwrap_or_else(|| cpu.to_string())
    };
    cpus.iter()
        .map(siblings)
        .collect::<BTreeSet<String>>()
        .len() as u32
}

/// Physical cores of the fast and of the thrifty kind, if there are two kinds.
fn two_kinds(
    system: &SystemFiles,
    online: &[u32],
    ask: impl FnOnce(&[u32]) -> Option<TwoKinds>,
) -> Option<(u32, u32)> {
    let told = by_intels_units(system, online).or_else(|| by_capacity(system, online));
    let kinds = told.or_else(|| ask(online))?;
    Some((
        physical(system, &kinds.fast),
        physical(system, &kinds.thrifty),
    ))
}

/// Kernels that tell nothing of a hybrid chip's cores are passed by: each core is asked.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn by_asking_each(online: &[u32]) -> Option<TwoKinds> {
    let (fast, thrifty) = super::core_kinds::ask(online)?;
    TwoKinds::of(fast, thrifty)
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn by_asking_each(_online: &[u32]) -> Option<TwoKinds> {
    None
}

/// Intel's hybrid chips have one performance-monitoring unit for each kind of core.
fn by_intels_units(system: &SystemFiles, online: &[u32]) -> Option<TwoKinds> {
    let of = |unit: &str| -> Option<Vec<u32>> {
        let listed = cpu_list(&system.text(format!("/sys/devices/{unit}/cpus"))?);
        Some(
            listed
                .into_iter()
                .filter(|cpu| online.contains(cpu))
                .collect(),
        )
    };
    TwoKinds::of(of("cpu_core")?, of("cpu_atom")?)
}

/// ARM's (and newer x86) kernels give each core its share of the strongest one's strength. More than half of it is
/// fast: chips with three kinds have one or two of them above that.
fn by_capacity(system: &SystemFiles, online: &[u32]) -> Option<TwoKinds> {
    let capacity = |cpu: &u32| system.value::<u32>(format!("{CPUS}/cpu{cpu}/cpu_capacity"));
    let capacities: Vec<u32> = online.iter().map(capacity).collect::<Option<_>>()?;
    let most = *capacities.iter().max()?;
    let all = online.iter().copied().zip(capacities);
    let (fast, thrifty): (Vec<_>, Vec<_>) =
        all.partition(|(_, capacity)| capacity.saturating_mul(2) > most);
    let numbers = |cpus: Vec<(u32, u32)>| cpus.into_iter().map(|(cpu, _)| cpu).collect();
    TwoKinds::of(numbers(fast), numbers(thrifty))
}

/// Each cache once, however many hardware threads share it; those that are alike counted together.
fn caches(system: &SystemFiles, online: &[u32]) -> Vec<Cache> {
    let mut single = BTreeSet::new();
    for cpu in online {
        let folder = format!("{CPUS}/cpu{cpu}/cache");
        for index in system
            .names(&folder)
            .into_iter()
            .filter(|name| name.starts_with("index"))
        {
            single.extend(cache(system, &format!("{folder}/{index}"), *cpu));
        }
    }
    let mut counts = BTreeMap::new();
    for (level, kind, size_bytes, _) in single {
        *counts.entry((level, kind, size_bytes)).or_insert(0) += 1;
    }
    counts
        .into_iter()
        .map(|((level, kind, size_bytes), count)| Cache {
            level,
            kind,
            size_bytes,
            count,
        })
        .collect()
}

/// Level, kind, size and the threads that share it.
fn cache(system: &SystemFiles, folder: &str, cpu: u32) -> Option<(u8, CacheKind, u64, String)> {
    let kind = match system.text(format!("{folder}/type"))?.as_str() {
        "Data" => CacheKind::Data,
        "Instruction" => CacheKind::Instruction,
        "Unified" => CacheKind::Unified,
        _ => return None,
    };
    let size = bytes(&system.text(format!("{folder}/size"))?)?;
    let shared = system
        .text(format!("{folder}/shared_cpu_list"))
        .unwrap_or_else(|| cpu.to_string());
    Some((system.value(format!("{folder}/level"))?, kind, size, shared))
}

/// A size as the kernel writes it: `32K`, `1M`, `64`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) if text.ends_with('K') => (number, 1 << 10),
        Some(number) if text.ends_with('M') => (number, 1 << 20),
        Some(number) => (number, 1 << 30),
        None => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system_files::tests::laid_out;

    fn read_with(files: &[(String, String)], allowed: Option<u32>) -> Topology {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let (_folder, system) = laid_out(&files);
        read(&system, allowed, |_| None)
    }

    fn file(path: &str, text: &str) -> (String, String) {
        (format!("{CPUS}/{path}"), text.to_owned())
    }

    /// Two fast cores of two threads each (0–3), four thrifty ones (4–7).
    fn hybrid() -> Vec<(String, String)> {
        let siblings = ["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"];
        let mut files = vec![file("online", "0-7")];
        for (cpu, siblings) in siblings.iter().enumerate() {
            files.push(file(
                &format!("cpu{cpu}/topology/thread_siblings_list"),
                siblings,
            ));
        }
        files
    }

    fn counted(topology: &Topology) -> (u32, u32, Option<u32>, Option<u32>) {
        let Topology {
            physical_cores,
            logical_cores,
            performance_cores,
            efficiency_cores,
            ..
        } = topology;
        (
            *physical_cores,
            *logical_cores,
            *performance_cores,
            *efficiency_cores,
        )
    }

    #[test]
    fn threads_of_a_core_count_once() {
        let topology = read_with(&hybrid(), Some(3));
        assert_eq!(counted(&topology), (6, 8, None, None));
        assert_eq!(topology.available_cores, 3);
    }

    #[test]
    fn intels_two_units_tell_two_kinds_of_cores() {
        let mut files = hybrid();
        files.push(("/sys/devices/cpu_core/cpus".into(), "0-3".into()));
        files.push(("/sys/devices/cpu_atom/cpus".into(), "4-7".into()));
        assert_eq!(counted(&read_with(&files, None)), (6, 8, Some(2), Some(4)));
    }

    #[test]
    fn a_hybrid_chip_whose_thrifty_cores_are_off_has_one_kind() {
        let mut files = hybrid();
        files[0] = file("online", "0-3");
        files.push(("/sys/devices/cpu_core/cpus".into(), "0-3".into()));
        files.push(("/sys/devices/cpu_atom/cpus".into(), "4-7".into()));
        assert_eq!(counted(&read_with(&files, None)), (2, 4, None, None));
    }

    #[test]
    fn capacities_tell_big_and_little() {
        let mut files = vec![file("online", "0-3")];
        for (cpu, capacity) in ["250", "250", "870", "1024"].iter().enumerate() {
            files.push(file(&format!("cpu{cpu}/cpu_capacity"), capacity));
        }
        assert_eq!(counted(&read_with(&files, None)), (4, 4, Some(2), Some(2)));
        let alike: Vec<_> = (0..4)
            .map(|cpu| file(&format!("cpu{cpu}/cpu_capacity"), "1024"))
            .chain([file("online", "0-3")])
            .collect();
        assert_eq!(counted(&read_with(&alike, None)), (4, 4, None, None));
    }

    #[test]
    fn cores_are_asked_only_where_the_kernel_tells_nothing() {
        let asked = |files: &[(String, String)]| {
            let files: Vec<(&str, &str)> = files
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_str()))
                .collect();
            let (_folder, system) = laid_out(&files);
            counted(&read(&system, None, |online| {
                assert_eq!(online, [0, 1, 2, 3, 4, 5, 6, 7]);
                TwoKinds::of(vec![0, 1], vec![2, 3, 4, 5, 6, 7])
            }))
        };
        let mut files = hybrid();
        assert_eq!(asked(&files), (6, 8, Some(1), Some(5)));
        files.push(("/sys/devices/cpu_core/cpus".into(), "0-3".into()));
        files.push(("/sys/devices/cpu_atom/cpus".into(), "4-7".into()));
        assert_eq!(asked(&files), (6, 8, Some(2), Some(4)));
    }

    #[test]
    fn asking_the_cores_of_this_machine_leaves_our_affinity_alone() {
        let before = allowed_cpus();
        let _ = by_asking_each(&[0]);
        assert_eq!(allowed_cpus(), before);
    }

    #[test]
    fn a_container_without_sys_still_has_proc() {
        let cpuinfo = "processor\t: 0\nmodel name\t: X\n\nprocessor\t: 1\n".to_owned();
        let topology = read_with(&[("/proc/cpuinfo".into(), cpuinfo)], None);
        assert_eq!(counted(&topology), (2, 2, None, None));
        assert_eq!(topology.available_cores, 2);
    }

    #[test]
    fn shared_caches_count_once() {
        let mut files = vec![file("online", "0-3")];
        for cpu in 0..4 {
            let core = if cpu < 2 { "0-1" } else { "2-3" };
            let caches = [
                ("Data", "1", "32K", core),
                ("Instruction", "1", "64K", core),
                ("Unified", "3", "32M", "0-3"),
            ];
            for (index, (kind, level, size, shared)) in caches.into_iter().enumerate() {
                for (name, text) in [
                    ("type", kind),
                    ("level", level),
                    ("size", size),
                    ("shared_cpu_list", shared),
                ] {
                    files.push(file(&format!("cpu{cpu}/cache/index{index}/{name}"), text));
                }
            }
        }
        let cache = |level, kind, size_bytes, count| Cache {
            level,
            kind,
            size_bytes,
            count,
        };
        let expected = [
            cache(1, CacheKind::Data, 32 << 10, 2),
            cache(1, CacheKind::Instruction, 64 << 10, 2),
            cache(3, CacheKind::Unified, 32 << 20, 1),
        ];
        assert_eq!(read_with(&files, None).caches, expected);
    }

    #[test]
    fn sizes_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            ["48K", "2M", "1G", "7", "K", "", "x"].map(bytes),
            [
                Some(48 << 10),
                Some(2 << 20),
                Some(1 << 30),
                Some(7),
                None,
                None,
                None,
            ]
        );
    }

    #[test]
    fn nothing_at_all_is_not_a_fault() {
        assert_eq!(counted(&read_with(&[], None)), (0, 0, None, None));
        let here = detect();
        assert!(here.logical_cores >= 1 && here.physical_cores >= 1 && here.available_cores >= 1);
    }
}
