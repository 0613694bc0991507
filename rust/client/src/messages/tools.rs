use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A function that the model may call (`docs/protocol.md`, Tools).
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tool {
    /// A function.
    Function {
        /// What it is.
        function: Function,
    },
}

impl Tool {
    /// A function by its name, what it is for, and the JSON schema of its arguments.
    pub fn function(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: Value,
    ) -> Self {
        let function = Function {
            name: name.into(),
            description: Some(description.into()),
            parameters: Some(parameters),
        };
        Self::Function { function }
    }
}

/// A function.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Function {
    /// 1 to 64 letters, digits, underscores, dots and dashes.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of an object; without it the function takes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

/// Whether tools must be called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// The model is not told of them.
    None,
    /// At least one.
    Required,
    /// This one.
    Function(String),
}

impl Serialize for ToolChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Required => serializer.serialize_str("required"),
            Self::Function(name) => {
                json!({"type": "function", "function": {"name": name}}).serialize(serializer)
            }
        }
    }
}

/// A call that the model asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// By which its result is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// Which one, and with what.
    pub function: CalledFunction,
}

fn function() -> String {
    "function".to_owned()
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalledFunction {
    /// Its name.
    pub name: String,
    /// JSON text that its schema accepts.
    pub arguments: Value,
}

impl CalledFunction {
    /// The arguments as an object.
    ///
    /// # Errors
    /// Those of an answer that was cut off within them.
    pub fn parsed(&self) -> serde_json::Result<Map<String, Value>> {
        match &self.arguments {
            Value::String(text) => serde_json::from_str(text),
            other => Map::deserialize(other),
        }
    }
}

/// What has come of a call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ToolCallDelta {
    /// The call's number.
    pub index: usize,
    /// In its first piece.
    #[serde(default)]
    pub id: Option<String>,
    /// The next piece.
    #[serde(default)]
    pub function: FunctionDelta,
}

/// A piece of a call.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FunctionDelta {
    /// In the first piece.
    pub name: Option<String>,
    /// Joined, they are the result's exactly.
    pub arguments: String,
}
