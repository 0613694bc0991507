use serde::{Deserialize, Serialize};

use super::generation::Message;
use super::numbers::finite;

/// `sessions.create`: a conversation that the host keeps, as long as it lives itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SessionsCreate {
    /// For chats that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Before everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Seconds that it is kept after it was last used (a day).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub ttl_s: Option<f64>,
}

/// Answer to `sessions.create`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SessionCreated {
    /// Its name, which nobody can guess.
    pub session: String,
}

/// `sessions.get`.
#[derive(Clone, Debug, Serialize)]
pub struct SessionsGet {
    /// Its name.
    pub session: String,
}

/// `sessions.delete`.
#[derive(Clone, Debug, Serialize)]
pub struct SessionsDelete {
    /// Its name.
    pub session: String,
}

/// `sessions.list`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SessionsList {}

/// Answer to `sessions.get`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SessionContent {
    /// Its name.
    pub session: String,
    /// In seconds since 1970.
    pub created_at: f64,
    /// How long it is kept.
    pub ttl_s: f64,
    /// For chats that name none.
    #[serde(default)]
    pub model: Option<String>,
    /// Before everything else.
    #[serde(default)]
    pub system: Option<String>,
    /// What was said.
    pub messages: Vec<Message>,
    /// How many of the oldest are no longer read.
    #[serde(default)]
    pub left_out: u64,
}

/// One of `sessions.list`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SessionListing {
    /// Its name.
    pub session: String,
    /// In seconds since 1970.
    pub created_at: f64,
    /// How long it is kept.
    pub ttl_s: f64,
    /// How many messages it has.
    pub messages: u64,
}
