//! The example as a whole program: it answers, and when it is killed its host goes too.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

mod support;

use std::path::PathBuf;
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use support::{PATIENCE, Place, program, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// Where cargo puts it, beside this test.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let example = tests.ancestors().nth(2).unwrap().join("examples/parent");
    assert!(
        example.is_file(),
        "build it: cargo build -p native-host-client --example parent"
    );
    example
}

fn start(place: &Place, question: &str) -> Child {
    Command::new(example())
        .arg(program())
        .arg(question)
        .env("MODEL_CONFIG_PATH", place.file("models.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn it_answers_each_line() {
    let place = Place::new();
    let mut parent = start(&place, "What is a worker?");
    let mut stdin = parent.stdin.take().unwrap();
    stdin.write_all(b"What is a frame?\n").await.unwrap();
    drop(stdin);
    let ended = soon("its end", parent.wait_with_output()).await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(
        String::from_utf8(ended.stdout).unwrap().lines().count() >= 2,
        "{said}"
    );
    assert!(
        said.contains("the host has stopped: it was shut down"),
        "{said}"
    );
}

#[tokio::test]
async fn its_host_goes_with_it_however_it_goes() {
    let place = Place::new();
    let mut parent = start(&place, "What is a worker?");
    let mut said = BufReader::new(parent.stderr.take().unwrap()).lines();
    let host = loop {
        let line = soon("the host", said.next_line()).await.unwrap().unwrap();
        if let Some(rest) = line.strip_prefix("[the host is ready: process ") {
            break rest.split(',').next().unwrap().parse().unwrap();
        }
    };
    let watch = pidfd_open(Pid::from_raw(host).unwrap(), PidfdFlags::empty()).unwrap();
    let mut piece = [0];
    soon(
        "a piece of the answer",
        parent.stdout.take().unwrap().read_exact(&mut piece),
    )
    .await
    .unwrap();
    soon("its death", parent.kill()).await.unwrap();
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let gone = tokio::task::spawn_blocking(move || {
        poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&patience)).unwrap()
    });
    assert_eq!(gone.await.unwrap(), 1, "the host goes on");
}
