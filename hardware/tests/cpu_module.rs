//! The program that tells the build script which CPU module to build.
#![allow(clippy::unwrap_used)] // a program that does not start shall end the test at once

use serde_json::Value;
use std::process::{Command, Output};
use tabagent_hardware::cpu::{Architecture, detect_facts};
use tabagent_hardware::ggml_variants::{best, table};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cpu-module"))
        .args(arguments)
        .output()
        .unwrap()
}

fn line(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn the_best_module_of_this_machine_is_printed() {
    let expected = best(table(Architecture::CURRENT), &detect_facts().features)
        .unwrap()
        .name;
    assert_eq!(line(&["--best"]), expected);
    assert_eq!(line(&[]), expected);
}

#[test]
fn the_table_can_be_read_and_is_the_librarys() {
    let told: Value = serde_json::from_str(&line(&["--table"])).unwrap();
    let names: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = table(Architecture::CURRENT)
        .iter()
        .map(|variant| variant.name)
        .collect();
    assert_eq!(names, expected);
    assert_eq!(told[0]["features"], serde_json::json!([]));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn names_limit_the_choice() {
    assert_eq!(line(&["x64"]), "x64");
    assert_eq!(line(&["--best", "x64"]), "x64");
}

#[test]
fn an_unknown_name_is_told_with_those_that_there_are() {
    let output = run(&["--best", "z80"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("z80") && message.contains(table(Architecture::CURRENT)[0].name),
        "{message}"
    );
}
