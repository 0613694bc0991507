//! Hosts that go wrong: each way ends in one clear error, and in no process that stays.

#![allow(clippy::unwrap_used)]

mod support;

use native_host_client::messages::{GenerateParams, Ping};
use native_host_client::{Error, Event, Finish, Host, RestartPolicy, Settings, State};
use support::{fake, patient, soon};
use tokio::sync::mpsc;

async fn refused(way: &str) -> Error {
    let started = soon(way, Host::spawn_with(fake(way), patient())).await;
    started
        .err()
        .unwrap_or_else(|| panic!("{way}: the host was believed"))
}

async fn ready(way: &str) -> Host {
    soon(way, Host::spawn_with(fake(way), patient()))
        .await
        .unwrap()
}

async fn asked(host: &Host) -> Result<String, Error> {
    let answered = soon(
        "an answer",
        host.generate(GenerateParams::new("x")).into_future(),
    )
    .await;
    answered.map(|whole| whole.text)
}

fn without_restarts() -> Settings {
    Settings {
        restart: RestartPolicy {
            limit: 0,
            ..RestartPolicy::default()
        },
        ..patient()
    }
}

#[tokio::test]
async fn a_host_that_exits_at_once_is_quoted() {
    let error = refused("exit").await;
    let Error::HostDied(death) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(death.exit_code, Some(1));
    assert_eq!(death.last_words, ["the disk is full"]);
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let error = Host::spawn(native_host_client::HostCommand::new("no-such-native-host"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Spawn { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-native-host"), "{error}");
}

#[tokio::test]
async fn text_on_stdout_is_quoted() {
    let error = refused("garbage").await;
    assert!(
        error.to_string().contains("begins with \"Hell\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_host_that_hangs_in_the_handshake_is_given_up() {
    let settings = Settings {
        start_timeout: std::time::Duration::from_millis(500),
        ..patient()
    };
    let error = soon("the end", Host::spawn_with(fake("hang"), settings))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::StartTimeout { .. }), "{error:?}");
}

#[tokio::test]
async fn other_versions_are_refused_with_the_side_to_update() {
    let told = refused("refuses-version").await;
    assert!(
        matches!(&told, Error::UnsupportedProtocol { supported, .. } if supported == &["2"]),
        "{told:?}"
    );
    assert!(told.to_string().contains("update the client"), "{told}");
    let found = refused("other-version").await;
    assert!(
        matches!(found, Error::UnsupportedProtocol { .. }),
        "{found:?}"
    );
    assert!(found.to_string().contains("update this program"), "{found}");
}

#[tokio::test]
async fn a_host_that_does_not_know_the_secret_is_not_believed() {
    let error = refused("liar").await;
    assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
    assert!(error.to_string().contains("did not prove"), "{error}");
}

#[tokio::test]
async fn what_a_newer_host_says_more_is_left_out() {
    let host = ready("newer").await;
    let mut stream = host.generate(GenerateParams::new("x")).stream();
    let mut text = String::new();
    while let Some(event) = soon("an event", stream.next()).await {
        match event.unwrap() {
            Event::Piece(piece) => text += &piece.text,
            Event::Done(whole) => {
                assert_eq!(whole.text, text);
                assert_eq!(whole.finish_reason, Finish::Unknown);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(text, "all of it");
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn a_gap_in_a_stream_fails_that_stream_alone() {
    let host = ready("gap").await;
    let mut stream = host.generate(GenerateParams::new("x")).stream();
    assert!(matches!(
        soon("a piece", stream.next()).await,
        Some(Ok(Event::Piece(_)))
    ));
    let error = soon("the error", stream.next()).await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("piece 1 of a stream is missing"),
        "{error}"
    );
    assert!(soon("the end", stream.next()).await.is_none());
    soon("a ping", host.ping().into_future()).await.unwrap();
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn parts_without_their_checksum_are_refused() {
    let host = ready("damaged-parts").await;
    let error = asked(&host).await.unwrap_err();
    assert!(
        error.to_string().contains("does not match its checksum"),
        "{error}"
    );
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_ends_after_what_was_waiting_and_no_other_does() {
    let settings = Settings {
        stream_buffer: 20_000,
        ..patient()
    };
    let host = soon("the start", Host::spawn_with(fake("flood"), settings))
        .await
        .unwrap();
    let mut unread = host.generate(GenerateParams::new("x")).stream();
    assert!(matches!(
        soon("a piece", unread.next()).await,
        Some(Ok(Event::Piece(_)))
    ));
    // The answer to this comes behind all pieces of that, through the same pipe.
    soon("a ping", host.ping().into_future()).await.unwrap();
    let mut pieces = 0;
    let error = loop {
        match soon("an event", unread.next()).await.unwrap() {
            Ok(Event::Piece(_)) => pieces += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, Error::SlowReader { limit: 20_000 }),
        "{error:?}"
    );
    assert!((1..200).contains(&pieces), "{pieces}");
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn of_progress_that_is_not_taken_the_newest_waits() {
    let host = ready("progress-flood").await;
    let mut stream = host.generate(GenerateParams::new("x")).stream();
    let Some(Ok(Event::Progress(mut newest))) = soon("progress", stream.next()).await else {
        panic!("something else came first")
    };
    // The answer to this comes behind all progress of that, through the same pipe.
    soon("a ping", host.ping().into_future()).await.unwrap();
    let mut waiting = 0;
    loop {
        match soon("an event", stream.next()).await.unwrap().unwrap() {
            Event::Progress(progress) => {
                newest = progress;
                waiting += 1;
            }
            Event::Done(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(waiting <= 1, "{waiting}");
    assert_eq!(newest.message, "4999");
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn a_stream_that_is_read_is_not_too_much_however_long() {
    let settings = Settings {
        stream_buffer: 700_000,
        ..patient()
    };
    let host = soon("the start", Host::spawn_with(fake("flood"), settings))
        .await
        .unwrap();
    let mut stream = host.generate(GenerateParams::new("x")).stream();
    let mut bytes = 0;
    while let Some(event) = soon("an event", stream.next()).await {
        match event.unwrap() {
            Event::Piece(piece) => bytes += piece.text.len(),
            Event::Done(whole) => assert_eq!(whole.text.len(), bytes),
            other => panic!("{other:?}"),
        }
    }
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn a_request_that_the_host_would_not_take_is_not_sent() {
    let host = ready("newer").await;
    let long = "x".repeat(20_000);
    let error = soon(
        "the error",
        host.generate(GenerateParams::new(long)).into_future(),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, Error::TooLong { limit: 10_000, .. }),
        "{error:?}"
    );
    soon("a ping", host.ping().into_future()).await.unwrap();
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn numbers_that_are_none_are_not_sent() {
    let host = ready("newer").await;
    let mut params = GenerateParams::new("x");
    params.options.temperature = Some(f64::NAN);
    let error = soon("the error", host.generate(params).into_future())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn a_host_that_breaks_the_contract_is_given_up_and_started_again() {
    for (way, words) in [
        ("garbage-later", "begins with \"Trac\""),
        ("too-long", "a frame of 4042322160 bytes"),
    ] {
        let host = ready(way).await;
        let error = asked(&host).await.unwrap_err();
        assert!(error.is_host_death(), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        soon("a ping of the next one", host.ping().into_future())
            .await
            .unwrap();
        assert!(
            matches!(host.state(), State::Ready { restarts: 1, .. }),
            "{:?}",
            host.state()
        );
        soon("the end", host.shutdown()).await;
    }
}

#[tokio::test]
async fn a_host_that_gives_no_sign_of_life_is_killed() {
    let (sender, mut states) = mpsc::unbounded_channel();
    let settings = Settings {
        ping_every: std::time::Duration::from_millis(10),
        ping_deadline: std::time::Duration::from_millis(100),
        ..without_restarts()
    }
    .on_state(move |state| drop(sender.send(state.clone())));
    let host = soon("the start", Host::spawn_with(fake("no-pings"), settings))
        .await
        .unwrap();
    let why = loop {
        match soon("a state", states.recv()).await.unwrap() {
            State::Stopped { why } => break why,
            State::Starting | State::Ready { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(why.contains("no sign of life"), "{why}");
    let error = soon("the error", host.ask(Ping {}).into_future())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error:?}");
}

#[tokio::test]
async fn a_host_that_does_not_end_is_killed_and_reaped() {
    let settings = Settings {
        exit_grace: std::time::Duration::from_millis(200),
        ..patient()
    };
    let host = soon("the start", Host::spawn_with(fake("stays"), settings))
        .await
        .unwrap();
    let State::Ready { pid, .. } = host.state() else {
        panic!("{:?}", host.state())
    };
    let exit = soon("the end", host.shutdown()).await;
    assert!(exit.killed);
    assert!(!support::runs(pid), "a process is left");
}
