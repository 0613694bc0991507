//! Values of macOS' `sysctl`, by the system's own program: asking the kernel directly takes `unsafe`.

use std::process::{Command, Stdio};
use std::str::FromStr;

/// The value's text, if the system knows the name.
pub(crate) fn text(name: &str) -> Option<String> {
    let mut command = Command::new("/usr/sbin/sysctl");
    let output = command
        .args(["-n", name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The value, read as a number or the like.
pub(crate) fn value<T: FromStr>(name: &str) -> Option<T> {
    text(name)?.parse().ok()
}
