//! A hundred chats at once through one child, which is killed at random moments: every chat ends in its full answer
//! or in one clear error, and none hangs. `NATIVE_HOST_KILLS` says how often (3), `NATIVE_HOST_CHATS` how many (100).

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use native_host_client::messages::ChatParams;
use native_host_client::{Error, Event, Host, State};
use support::{Place, kill, patient, soon};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    died: u64,
}

fn setting(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

fn random_below(most: u32) -> u32 {
    getrandom::u32().unwrap() % most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_chat_ends() {
    let (kills, chats) = (
        setting("NATIVE_HOST_KILLS", 3),
        setting("NATIVE_HOST_CHATS", 100),
    );
    let place = Place::new();
    let host = soon("the start", Host::spawn_with(place.command(), patient()))
        .await
        .unwrap();
    let started = Instant::now();
    let killed = Arc::new(AtomicBool::new(false));
    let (events, mut seen) = mpsc::unbounded_channel();
    let mut crowd = JoinSet::new();
    for number in 0..chats {
        crowd.spawn(one_after_another(
            host.clone(),
            number,
            killed.clone(),
            events.clone(),
        ));
    }
    drop(events);

    let mut states = host.watch();
    for done in 0..kills {
        let returned =
            |state: &State| matches!(state, State::Ready { restarts, .. } if *restarts == done);
        soon("the host", states.wait_for(returned)).await.unwrap();
        // A random moment: while the model loads, or after so many pieces.
        for _ in 0..random_below(500) {
            soon("a piece", seen.recv()).await.unwrap();
        }
        let State::Ready { pid, .. } = host.state() else {
            panic!("it died by itself: {:?}", host.state())
        };
        kill(pid);
    }
    killed.store(true, Ordering::Relaxed);
    while seen.recv().await.is_some() {}

    let mut total = Tally::default();
    while let Some(tally) = crowd.join_next().await {
        let tally = tally.unwrap();
        total.answered += tally.answered;
        total.died += tally.died;
    }
    let expected =
        |state: &State| matches!(state, State::Ready { restarts, .. } if *restarts == kills);
    soon("the last start", states.wait_for(expected))
        .await
        .unwrap();
    assert!(total.answered >= u64::from(chats), "{total:?}");
    println!(
        "{chats} chats at once, {kills} kills, {:.1} s: {total:?}",
        started.elapsed().as_secs_f64()
    );
    soon("the end", host.shutdown()).await;
}

/// Chat until the killing is over, and then once more, which must be answered.
async fn one_after_another(
    host: Host,
    number: u32,
    killed: Arc<AtomicBool>,
    events: mpsc::UnboundedSender<()>,
) -> Tally {
    let mut tally = Tally::default();
    loop {
        let last = killed.load(Ordering::Relaxed);
        match one_chat(&host, number, &events).await {
            Ok(()) => tally.answered += 1,
            Err(error @ Error::HostDied(_)) => {
                assert!(error.to_string().contains("killed by signal 9"), "{error}");
                tally.died += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
        if last {
            return tally;
        }
    }
}

async fn one_chat(
    host: &Host,
    number: u32,
    events: &mpsc::UnboundedSender<()>,
) -> Result<(), Error> {
    let mut params = ChatParams::ask(format!("What is a worker? ({number})"));
    params.options.max_tokens = Some(16);
    params.options.ignore_eos = Some(true);
    let call = host.chat(params);
    let mut stream = if number.is_multiple_of(2) {
        call.retry().stream()
    } else {
        call.stream()
    };
    let mut text = String::new();
    while let Some(event) = soon("an event", stream.next()).await {
        match event? {
            Event::Piece(piece) => {
                text += &piece.text;
                let _ = events.send(()); // whoever counts has counted enough
            }
            Event::Done(whole) => {
                assert_eq!(whole.text(), text);
                assert_eq!(whole.usage.completion_tokens, 16);
                return Ok(());
            }
            _ => {}
        }
    }
    panic!("a stream ended without an answer and without an error");
}
