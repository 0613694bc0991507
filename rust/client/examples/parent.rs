//! A small parent: spawns a host, asks it, streams the answer to the terminal, and tells how the host is.
//!
//! `cargo run -p native-host-client --example parent -- native-host "What is a worker?"`
//!
//! It asks again for each line of its input. Kill the host meanwhile (its process id is told), and see it return.

use std::error::Error;
use std::io::Write;

use native_host_client::messages::{ChatParams, Message};
use native_host_client::{Event, Host, HostCommand, Settings, State};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().unwrap_or_else(|| "native-host".to_owned());
    let settings = Settings::default().on_state(|state| {
        // There is nobody to tell where the terminal is gone.
        let _ = writeln!(std::io::stderr(), "[{}]", words(state));
    });
    let host = Host::spawn_with(HostCommand::new(program), settings).await?;

    let mut conversation = ChatParams::default();
    conversation.options.max_tokens = Some(128);
    let mut questions: Vec<String> = arguments.collect();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let question = match questions.pop() {
            Some(question) => question,
            None => match lines.next_line().await? {
                Some(line) => line,
                None => break,
            },
        };
        conversation.messages.push(Message::user(question));
        match answer(&host, &conversation).await {
            Ok(message) => conversation.messages.push(message),
            Err(error) => {
                writeln!(std::io::stderr(), "{error}")?;
                conversation.messages.pop();
            }
        }
    }
    host.shutdown().await;
    Ok(())
}

/// Ask, show what comes as it comes, and give the whole of it back for the next question.
async fn answer(host: &Host, conversation: &ChatParams) -> Result<Message, Box<dyn Error>> {
    let mut stdout = std::io::stdout();
    let mut stream = host.chat(conversation.clone()).retry().stream();
    while let Some(event) = stream.next().await {
        match event? {
            Event::Piece(piece) => {
                write!(stdout, "{}", piece.text)?;
                stdout.flush()?;
            }
            Event::Progress(progress) => writeln!(
                std::io::stderr(),
                "[{} {}]",
                progress.stage,
                progress.message
            )?,
            Event::Done(whole) => {
                writeln!(stdout)?;
                return Ok(whole.message);
            }
            _ => {}
        }
    }
    Err("the stream ended without an answer".into())
}

fn words(state: &State) -> String {
    match state {
        State::Starting => "starting the host".to_owned(),
        State::Ready { pid, restarts } => {
            format!("the host is ready: process {pid}, {restarts} restarts")
        }
        State::Restarting { attempt, why, wait } => {
            format!("attempt {attempt} to restart it in {wait:?}: {why}")
        }
        State::Stopped { why } => format!("the host has stopped: {why}"),
        other => format!("{other:?}"),
    }
}
