use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `ping`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Ping {}

/// Answer to `ping`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Pong {
    /// True.
    pub pong: bool,
    /// Since the host started.
    pub uptime_s: f64,
}

/// `health`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct HealthParams {}

/// Answer to `health`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: String,
    /// Since the host started.
    pub uptime_s: f64,
    /// How many it works at.
    pub requests_in_flight: u64,
    /// What is degraded.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// `rpc.discover`: the OpenRPC document.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Discover {}

/// `metrics`: what is counted, as Prometheus text.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct MetricsParams {}

/// `hardware.info`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct HardwareInfo {}

/// Answer to `hardware.info`; the inner shapes are `tabagent_model`'s.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Hardware {
    /// Vendor, family, features, cores.
    pub cpu: Map<String, Value>,
    /// The variant's name.
    pub cpu_variant: String,
    /// The GPUs.
    #[serde(default)]
    pub gpus: Vec<Map<String, Value>>,
    /// The memory.
    pub memory: Map<String, Value>,
    /// The runtime pack, and why it was chosen.
    pub runtime: Map<String, Value>,
}
