//! A running daemon, through its Unix socket.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use native_host_client::messages::{ChatResult, GenerateParams, Generated};
use native_host_client::{Credentials, Daemon, Error, ErrorKind, Event, Host, State};
use support::{Place, patient, program, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::process::{Child, Command};

const SECRET: &[u8] = b"a secret of both of them";

async fn serve(place: &Place, secret: Option<&[u8]>) -> Child {
    let mut command = Command::new(program());
    command
        .args(["serve", "--json", "--socket"])
        .arg(place.file("host.sock"));
    command.arg("--models").arg(place.file("models.json"));
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(secret) = secret {
        std::fs::write(place.file("secret"), secret).unwrap();
        command.env("NATIVE_HOST_SECRET_FILE", place.file("secret"));
    }
    let mut daemon = command.spawn().unwrap();
    let mut said = BufReader::new(daemon.stdout.take().unwrap()).lines();
    assert!(
        soon("the daemon", said.next_line())
            .await
            .unwrap()
            .is_some()
    ); // it says where it listens
    daemon
}

fn at(place: &Place, credentials: Credentials) -> Daemon {
    Daemon::at(place.file("host.sock")).credentials(credentials)
}

fn short() -> GenerateParams {
    let mut params = GenerateParams::new("A worker");
    params.options.max_tokens = Some(4);
    params.options.ignore_eos = Some(true);
    params
}

#[tokio::test]
async fn several_clients_share_a_daemon_and_come_back_to_the_next_one() {
    let place = Place::new();
    let mut daemon = serve(&place, None).await;
    let first = soon(
        "a connection",
        Host::connect_with(place.file("host.sock"), patient()),
    )
    .await
    .unwrap();
    let second = soon(
        "a connection",
        Host::connect_with(place.file("host.sock"), patient()),
    )
    .await
    .unwrap();
    assert_eq!(
        first.introduction().unwrap().server.pid,
        daemon.id().unwrap()
    );
    for host in [&first, &second] {
        let answer = soon("an answer", host.generate(short()).into_future())
            .await
            .unwrap();
        assert_eq!(answer.usage.completion_tokens, 4);
    }
    soon("the end", first.shutdown()).await; // of its connection alone
    soon("an answer", second.generate(short()).into_future())
        .await
        .unwrap();

    daemon.kill().await.unwrap();
    let daemon = serve(&place, None).await;
    soon(
        "an answer of the next one",
        second.generate(short()).retry().into_future(),
    )
    .await
    .unwrap();
    assert!(
        matches!(second.state(), State::Ready { restarts: 1.., .. }),
        "{:?}",
        second.state()
    );
    assert_eq!(
        second.introduction().unwrap().server.pid,
        daemon.id().unwrap()
    );
}

#[tokio::test]
async fn a_stream_is_taken_up_by_another_connection() {
    let place = Place::new();
    let _daemon = serve(&place, None).await;
    let host = soon(
        "a connection",
        Host::connect_with(place.file("host.sock"), patient()),
    )
    .await
    .unwrap();
    let mut params = short();
    params.options.max_tokens = Some(40);
    params.options.resumable = Some(true);
    let mut stream = host.generate(params).stream();
    let mut text = String::new();
    let (name, next) = loop {
        match soon("a piece", stream.next()).await.unwrap().unwrap() {
            Event::Piece(piece) => {
                text += &piece.text;
                let (name, next) = stream.place().unwrap();
                break (name.to_owned(), next);
            }
            Event::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    };
    soon("the end of the connection", host.shutdown()).await;
    let other = soon(
        "a connection",
        Host::connect_with(place.file("host.sock"), patient()),
    )
    .await
    .unwrap();
    let mut rest = other.resume::<Generated>(&name, next);
    while let Some(event) = soon("an event", rest.next()).await {
        match event.unwrap() {
            Event::Piece(piece) => text += &piece.text,
            Event::Done(whole) => assert_eq!(whole.text, text),
            other => panic!("{other:?}"),
        }
    }
    let gone = soon(
        "the refusal",
        other.resume::<ChatResult>("no such stream", 0).result(),
    )
    .await
    .unwrap_err();
    assert_eq!(gone.kind(), Some(&ErrorKind::StreamNotFound));
}

#[tokio::test]
async fn secrets_are_held_to() {
    let place = Place::new();
    let _daemon = serve(&place, Some(SECRET)).await;
    let right = at(&place, Credentials::Secret(SECRET.to_vec()));
    let host = soon("a connection", Host::connect_with(right, patient()))
        .await
        .unwrap();
    soon("an answer", host.generate(short()).into_future())
        .await
        .unwrap();

    let wrong = at(
        &place,
        Credentials::Secret(b"a secret of somebody else".to_vec()),
    );
    let error = soon("the refusal", Host::connect_with(wrong, patient()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::Unauthenticated), "{error:?}");
    let none = soon(
        "the refusal",
        Host::connect_with(at(&place, Credentials::Nothing), patient()),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&none, Error::Handshake { problem } if problem.contains("who asks")),
        "{none:?}"
    );
}

#[tokio::test]
async fn a_daemon_of_another_user_than_the_trusted_one_is_told_nothing() {
    let place = Place::new();
    let path = place.file("host.sock");
    let listening = UnixListener::bind(&path).unwrap();
    let own = std::fs::metadata(&path).unwrap().uid();
    let daemon = at(&place, Credentials::ApiKey("hidden".into())).of_user(own + 1);
    let error = soon("the refusal", Host::connect_with(daemon, patient()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains(&format!("Daemon::of_user({own})")), "{text}");
    let (mut connection, _) = soon("the connection", listening.accept()).await.unwrap();
    let mut told = Vec::new();
    soon("its end", connection.read_to_end(&mut told))
        .await
        .unwrap();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn the_user_of_a_daemon_can_be_named() {
    let place = Place::new();
    let _daemon = serve(&place, None).await;
    let own = std::fs::metadata(place.file("host.sock")).unwrap().uid();
    let named = at(&place, Credentials::Nothing).of_user(own);
    let host = soon("a connection", Host::connect_with(named, patient()))
        .await
        .unwrap();
    soon("a ping", host.ping().into_future()).await.unwrap();
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named() {
    let place = Place::new();
    let error = Host::connect(place.file("nobody.sock")).await.unwrap_err();
    assert!(error.to_string().contains("nobody.sock"), "{error}");
}
