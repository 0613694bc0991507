//! `cpu-module`: which of ggml's CPU modules suits this machine, for the script that builds the runtime pack.
//!
//! ```text
//! cpu-module [--best] [NAME …]   the best module's name (of those named) that this machine can run
//! cpu-module --table             all modules of this architecture as JSON, from the worst to the best
//! ```

use std::io::Write;
use std::process::ExitCode;
use tabagent_hardware::cpu::{self, Architecture};
use tabagent_hardware::ggml_variants::{GgmlVariant, best, table};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match answer(&arguments) {
        Ok(text) => match writeln!(std::io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            // Nothing is left to do if stderr is closed too.
            let _ = writeln!(std::io::stderr(), "cpu-module: {problem}");
            ExitCode::from(2)
        }
    }
}

fn answer(arguments: &[String]) -> Result<String, String> {
    let all = table(Architecture::CURRENT);
    match arguments {
        [flag] if flag == "--table" => {
            serde_json::to_string(all).map_err(|error| error.to_string())
        }
        [flag, names @ ..] if flag == "--best" => best_of(all, names),
        names => best_of(all, names),
    }
}

/// The best of the modules named, or of all if none is.
fn best_of(all: &[GgmlVariant], names: &[String]) -> Result<String, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !all.iter().any(|variant| variant.name == **name))
    {
        let known: Vec<&str> = all.iter().map(|variant| variant.name).collect();
        return Err(format!(
            "{unknown:?} is no module of this architecture; there are {}",
            known.join(" ")
        ));
    }
    let wanted =
        |variant: &&GgmlVariant| names.is_empty() || names.iter().any(|name| name == variant.name);
    let offered: Vec<GgmlVariant> = all.iter().filter(wanted).copied().collect();
    let chosen = best(&offered, &cpu::detect_facts().features);
    chosen
        .map(|variant| variant.name.to_owned())
        .ok_or_else(|| "none of the modules runs on this machine".to_owned())
}
