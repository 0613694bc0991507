//! The two kinds of cores of Intel's hybrid chips, by asking each core itself (Intel SDM volume 2, CPUID leaf 1Ah).

use raw_cpuid::{CpuId, cpuid};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::thread;

#[derive(Clone, Copy, PartialEq, Eq)]
enum CoreKind {
    Performance,
    Efficiency,
}

/// Which of these hardware threads are on fast and which on thrifty cores. `None` if the chip is no hybrid, or one of
/// them cannot be asked.
pub(super) fn ask(cpus: &[u32]) -> Option<(Vec<u32>, Vec<u32>)> {
    if !is_bare_hybrid() {
        return None;
    }
    // A thread of its own goes from core to core, so that nobody else's affinity changes.
    let answers = thread::scope(|scope| {
        scope
            .spawn(|| {
                cpus.iter()
                    .map(|cpu| kind_of(*cpu))
                    .collect::<Option<Vec<CoreKind>>>()
            })
            .join()
            .ok()
            .flatten()
    })?;
    let of = |wanted| {
        let told = cpus
            .iter()
            .zip(&answers)
            .filter(|(_, kind)| **kind == wanted);
        told.map(|(cpu, _)| *cpu).collect()
    };
    Some((of(CoreKind::Performance), of(CoreKind::Efficiency)))
}

/// Whether the chip has two kinds of cores and this program runs on the chip itself: under a virtual machine's monitor
/// the kind would be that of whichever core happens to run us.
fn is_bare_hybrid() -> bool {
    let leaf_7 = if cpuid!(0).eax >= 0x1A {
        cpuid!(7, 0).edx
    } else {
        0
    };
    leaf_7 & (1 << 15) != 0 && CpuId::new().get_hypervisor_info().is_none()
}

/// Moves this very thread to a hardware thread and asks for the kind of its core.
fn kind_of(cpu: u32) -> Option<CoreKind> {
    let mut alone = CpuSet::new();
    alone.set(
        usize::try_from(cpu)
            .ok()
            .filter(|cpu| *cpu < CpuSet::MAX_CPU)?,
    );
    sched_setaffinity(None, &alone).ok()?;
    match cpuid!(0x1A, 0).eax >> 24 {
        0x40 => Some(CoreKind::Performance),
        0x20 => Some(CoreKind::Efficiency),
        _ => None,
    }
}
