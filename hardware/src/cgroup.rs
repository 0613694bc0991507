//! What the control groups of this process grant it, of version 1 and 2.
//!
//! Sources: the kernel's `admin-guide/cgroup-v2.rst` and `cgroup-v1/`, proc(5) for `mountinfo`, cgroups(7).

use crate::system_files::SystemFiles;
use std::path::{Path, PathBuf};

/// Above this a memory limit of version 1 means that there is none (it is written as the largest number of pages).
const NO_LIMIT: u64 = 1 << 60;

/// Limits of the groups that a process is in; the tightest from its own group up to the root.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct CgroupLimits {
    /// Processors' worth of time: quota over period.
    pub cpus: Option<f64>,
    /// Memory that the group may use, in bytes, and what it uses of it without what can be dropped.
    pub memory: Option<MemoryLimit>,
}

/// A group's limit of memory and its use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    pub limit: u64,
    pub used: u64,
}

impl MemoryLimit {
    fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The limits of this process.
pub(crate) fn limits(system: &SystemFiles) -> CgroupLimits {
    let groups = system.text("/proc/self/cgroup").unwrap_or_default();
    let mounts = system.text("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let mut found = CgroupLimits::default();
    for line in groups.lines() {
        // hierarchy:controllers:path
        let mut fields = line.splitn(3, ':');
        if let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        {
            let controllers: Vec<&str> = controllers
                .split(',')
                .filter(|name| !name.is_empty())
                .collect();
            look_into(system, &mounts, &controllers, Path::new(path), &mut found);
        }
    }
    found
}

fn look_into(
    system: &SystemFiles,
    mounts: &[Mount],
    controllers: &[&str],
    path: &Path,
    found: &mut CgroupLimits,
) {
    for mount in mounts.iter().filter(|mount| mount.is_of(controllers)) {
        for group in mount.groups_up_from(path) {
            if controllers.is_empty() || controllers.contains(&"cpu") {
                let cpus = if controllers.is_empty() {
                    cpus_v2(system, &group)
                } else {
                    cpus_v1(system, &group)
                };
                found.cpus = tighter(found.cpus, cpus, |a, b| a <= b);
            }
            if controllers.is_empty() || controllers.contains(&"memory") {
                let memory = if controllers.is_empty() {
                    memory_v2(system, &group)
                } else {
                    memory_v1(system, &group)
                };
                found.memory = tighter(found.memory, memory, |a, b| a.left() <= b.left());
            }
        }
    }
}

fn tighter<T: Copy>(
    a: Option<T>,
    b: Option<T>,
    first_is_tighter: impl Fn(&T, &T) -> bool,
) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if first_is_tighter(&a, &b) { a } else { b }),
        (a, b) => a.or(b),
    }
}

/// A mounted hierarchy of control groups.
struct Mount {
    /// Which part of the hierarchy is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
    /// Version 1's controllers; empty for version 2.
    controllers: Vec<String>,
    version_2: bool,
}

impl Mount {
    /// Reads a line of `mountinfo`: `id parent dev root point options [tags…] - type source super-options`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let kind = file_system.next()?;
        let controllers = file_system.nth(1).unwrap_or_default();
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (unescape(mount.next()?), unescape(mount.next()?));
        match kind {
            "cgroup2" => Some(Self {
                root,
                point,
                controllers: Vec::new(),
                version_2: true,
            }),
            "cgroup" => {
                let controllers = controllers.split(',').map(str::to_owned).collect();
                Some(Self {
                    root,
                    point,
                    controllers,
                    version_2: false,
                })
            }
            _ => None,
        }
    }

    fn is_of(&self, controllers: &[&str]) -> bool {
        if controllers.is_empty() {
            self.version_2
        } else {
            !self.version_2
                && controllers
                    .iter()
                    .any(|name| self.controllers.iter().any(|own| own == name))
        }
    }

    /// The folders of the group `path` and of those above it, as far as they are mounted. Where a container sees
    /// another path than its own mount has, the mount's top is its group.
    fn groups_up_from(&self, path: &Path) -> Vec<PathBuf> {
        let below = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        let stays_below = below
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        let below = if stays_below { below } else { Path::new("") };
        below
            .ancestors()
            .map(|part| self.point.join(part))
            .collect()
    }
}

/// `mountinfo` writes a space as `\040`, and so on.
fn unescape(field: &str) -> PathBuf {
    let text = field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\");
    PathBuf::from(text)
}

fn cpus_v2(system: &SystemFiles, group: &Path) -> Option<f64> {
    let text = system.text(group.join("cpu.max"))?;
    let (quota, period) = text.split_once(' ')?;
    quotient(quota.parse().ok()?, period.parse().ok()?)
}

fn cpus_v1(system: &SystemFiles, group: &Path) -> Option<f64> {
    quotient(
        system.value(group.join("cpu.cfs_quota_us"))?,
        system.value(group.join("cpu.cfs_period_us"))?,
    )
}

/// Microseconds of quota over microseconds of period; no quota is written as -1.
fn quotient(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn memory_v2(system: &SystemFiles, group: &Path) -> Option<MemoryLimit> {
    let limit = system.value(group.join("memory.max"))?;
    let droppable = in_stat(system, group, "inactive_file");
    Some(MemoryLimit {
        limit,
        used: used(system, &group.join("memory.current"), droppable),
    })
}

fn memory_v1(system: &SystemFiles, group: &Path) -> Option<MemoryLimit> {
    let limit: u64 = system.value(group.join("memory.limit_in_bytes"))?;
    if limit >= NO_LIMIT {
        return None;
    }
    let droppable = in_stat(system, group, "total_inactive_file");
    Some(MemoryLimit {
        limit,
        used: used(system, &group.join("memory.usage_in_bytes"), droppable),
    })
}

/// Pages of files that were not used lately count as used until the kernel wants them back.
fn used(system: &SystemFiles, file: &Path, droppable: u64) -> u64 {
    system.value(file).unwrap_or(0u64).saturating_sub(droppable)
}

fn in_stat(system: &SystemFiles, group: &Path, key: &str) -> u64 {
    let text = system.text(group.join("memory.stat")).unwrap_or_default();
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system_files::tests::laid_out;
    use proptest::prelude::*;

    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    const V1_CPU: &str =
        "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct";
    const V1_MEMORY: &str =
        "34 25 0:30 / /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory";

    fn limits_of(files: &[(&str, &str)]) -> CgroupLimits {
        let (_folder, system) = laid_out(files);
        limits(&system)
    }

    #[test]
    fn version_2_takes_the_tightest_up_to_the_root() {
        let found = limits_of(&[
            ("/proc/self/cgroup", "0::/user.slice/session"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000"),
            ("/sys/fs/cgroup/user.slice/session/cpu.max", "max 100000"),
            ("/sys/fs/cgroup/user.slice/memory.max", "4000"),
            ("/sys/fs/cgroup/user.slice/memory.current", "3500"),
            (
                "/sys/fs/cgroup/user.slice/memory.stat",
                "anon 1\ninactive_file 500\n",
            ),
            ("/sys/fs/cgroup/user.slice/session/memory.max", "2500"),
            ("/sys/fs/cgroup/user.slice/session/memory.current", "100"),
        ]);
        assert_eq!(found.cpus, Some(1.5));
        assert_eq!(
            found.memory,
            Some(MemoryLimit {
                limit: 4000,
                used: 3000
            })
        );
    }

    #[test]
    fn version_1_is_read_from_each_controllers_own_mount() {
        let found = limits_of(&[
            (
                "/proc/self/cgroup",
                "4:memory:/job\n1:cpu,cpuacct:/job\n0::/",
            ),
            ("/proc/self/mountinfo", &format!("{V1_CPU}\n{V1_MEMORY}")),
            ("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000"),
            ("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000"),
            ("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1000"),
            ("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "700"),
            (
                "/sys/fs/cgroup/memory/job/memory.stat",
                "cache 9\ntotal_inactive_file 200",
            ),
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712",
            ),
        ]);
        assert_eq!(
            found,
            CgroupLimits {
                cpus: Some(0.5),
                memory: Some(MemoryLimit {
                    limit: 1000,
                    used: 500
                })
            }
        );
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_top_of_its_mount() {
        let mounted = "34 25 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        for path in ["/docker/abc", "/../somewhere", "/"] {
            let found = limits_of(&[
                ("/proc/self/cgroup", &format!("4:memory:{path}")),
                ("/proc/self/mountinfo", mounted),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000"),
            ]);
            assert_eq!(
                found.memory,
                Some(MemoryLimit {
                    limit: 1000,
                    used: 0
                }),
                "{path}"
            );
        }
    }

    #[test]
    fn no_quota_and_no_files_mean_no_limit() {
        let found = limits_of(&[
            ("/proc/self/cgroup", "1:cpu,cpuacct:/"),
            ("/proc/self/mountinfo", V1_CPU),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"),
        ]);
        assert_eq!(found, CgroupLimits::default());
        assert_eq!(limits_of(&[]), CgroupLimits::default());
    }

    #[test]
    fn a_mount_point_may_hold_a_space() {
        let line = "30 23 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw";
        assert_eq!(
            Mount::parse(line).map(|mount| mount.point),
            Some(PathBuf::from("/mnt/my groups"))
        );
    }

    proptest! {
        // Each case lays out a tree on the disk.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_breaks_the_reader(groups in "[0-9a-z:,/.\n]{0,80}", mounts in "[0-9a-z:,/. \\\\\n-]{0,160}") {
            let (_folder, system) = laid_out(&[("/proc/self/cgroup", &groups), ("/proc/self/mountinfo", &mounts)]);
            prop_assert_eq!(limits(&system), CgroupLimits::default());
        }
    }
}
