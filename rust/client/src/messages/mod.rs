//! The params and results of the wire's methods, and of its notifications: plain data, named as on the wire
//! (`docs/protocol.md`, Methods).
//!
//! Params leave out what is `None`: the host then takes its own default. Results take what they know and leave the
//! rest, so that a newer host can say more.

mod conversations;
mod generation;
mod life_cycle;
mod models;
mod numbers;
mod tools;
mod vectors;

pub use conversations::*;
pub use generation::*;
pub use life_cycle::*;
pub use models::*;
pub use tools::*;
pub use vectors::*;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Params that know their method and what it answers.
pub trait Request: Serialize {
    /// The method's name on the wire.
    const METHOD: &'static str;
    /// What it answers.
    type Result: DeserializeOwned;
}

/// Results that can come in pieces.
pub trait Streamed: DeserializeOwned {}

impl Streamed for Generated {}
impl Streamed for GeneratedMany {}
impl Streamed for ChatResult {}

macro_rules! requests {
    ($($params:ident $method:literal $result:ty;)*) => {
        $(impl Request for $params {
            const METHOD: &'static str = $method;
            type Result = $result;
        })*

        /// Every method that has a type here.
        pub const METHODS: &[&str] = &[$($method),*];
    };
}

requests! {
    Ping "ping" Pong;
    HealthParams "health" Health;
    Discover "rpc.discover" serde_json::Value;
    GenerateParams "generate" Generated;
    GenerateManyParams "generate" GeneratedMany;
    ChatParams "chat" ChatResult;
    SessionsCreate "sessions.create" SessionCreated;
    SessionsGet "sessions.get" SessionContent;
    SessionsList "sessions.list" Vec<SessionListing>;
    SessionsDelete "sessions.delete" ();
    EmbedParams "embed" Embeddings;
    RerankParams "rerank" Ranking;
    TokenizeParams "tokenize" Tokens;
    DetokenizeParams "detokenize" Text;
    ApplyTemplate "models.apply_template" AppliedTemplate;
    ModelsList "models.list" Vec<ModelListing>;
    ModelsInspect "models.inspect" ModelInspection;
    ModelsEstimate "models.estimate" ModelEstimate;
    ModelsLoad "models.load" LoadedModel;
    ModelsUnload "models.unload" ();
    ModelsPull "models.pull" PulledModel;
    ModelsImport "models.import" ImportedModels;
    ModelsDelete "models.delete" DeletedModel;
    ModelsRecommend "models.recommend" Recommendations;
    HardwareInfo "hardware.info" Hardware;
    MetricsParams "metrics" String;
}
