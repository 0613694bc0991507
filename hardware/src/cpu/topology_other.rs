//! Cores as macOS and Windows tell them. Caches and affinity are not asked for there.

use super::Topology;
use std::thread;
use sysinfo::System;

pub(super) fn detect() -> Topology {
    let logical_cores = thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let physical = System::physical_core_count().map_or(logical_cores, |count| count as u32);
    Topology {
        physical_cores: physical,
        logical_cores,
        available_cores: logical_cores,
        performance_cores: kind_of_core(0),
        efficiency_cores: kind_of_core(1),
        ..Topology::default()
    }
}

/// macOS counts levels of strength from 0, the fastest.
#[cfg(target_os = "macos")]
fn kind_of_core(level: u32) -> Option<u32> {
    let levels: u32 = crate::sysctl::value("hw.nperflevels")?;
    if levels < 2 {
        return None;
    }
    crate::sysctl::value(&format!("hw.perflevel{level}.physicalcpu"))
}

#[cfg(not(target_os = "macos"))]
fn kind_of_core(_level: u32) -> Option<u32> {
    None
}
