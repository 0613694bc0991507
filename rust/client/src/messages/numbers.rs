//! Numbers that JSON has not.

use serde::ser::Error;
use serde::{Serialize, Serializer};

/// A number as it is; NaN and infinities are refused, where serde_json would write null and the host take its
/// default.
pub(super) fn finite<S: Serializer>(
    number: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) if !number.is_finite() => Err(S::Error::custom(format!(
            "{number} is no number for the wire"
        ))),
        _ => number.serialize(serializer),
    }
}
