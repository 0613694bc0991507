//! The client and the real host: what is asked, how it is streamed, how it ends.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use native_host_client::messages::*;
use native_host_client::{AnswerStream, Error, ErrorKind, Event, Host, Settings, State};
use serde::Serialize;
use serde_json::Value;
use support::{Place, kill, patient, runs, soon};

async fn spawn(place: &Place) -> Host {
    soon("the start", Host::spawn_with(place.command(), patient()))
        .await
        .unwrap()
}

async fn end(host: &Host) {
    let exit = soon("the end", host.shutdown()).await;
    assert!(!exit.killed);
    assert_eq!(exit.status.and_then(|status| status.code()), Some(0));
}

fn pid(host: &Host) -> u32 {
    match host.state() {
        State::Ready { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

/// So many answers as long as they can be that nothing is over soon.
fn long() -> GenerateManyParams {
    let options = Options {
        max_tokens: Some(100_000),
        ignore_eos: Some(true),
        ..Options::default()
    };
    GenerateManyParams {
        prompts: vec!["The host".to_owned(); 64],
        options,
    }
}

fn short() -> Options {
    Options {
        max_tokens: Some(8),
        temperature: Some(0.0),
        ..Options::default()
    }
}

async fn first_piece<R: Streamed>(stream: &mut AnswerStream<R>) {
    loop {
        match soon("a piece", stream.next()).await.unwrap().unwrap() {
            Event::Piece(_) => return,
            Event::Progress(_) => {}
            other => panic!("{:?}", std::mem::discriminant(&other)),
        }
    }
}

async fn idle(host: &Host) {
    loop {
        let health = soon("health", host.health().into_future()).await.unwrap();
        if health.requests_in_flight == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn answers_whole_and_in_pieces() {
    let place = Place::new();
    let host = spawn(&place).await;
    let mut params = ChatParams::ask("What is a worker?");
    params.options = Options {
        max_tokens: Some(40),
        ..short()
    };
    let whole = soon("the answer", host.chat(params.clone()).into_future())
        .await
        .unwrap();
    assert_eq!(whole.message.role, "assistant");
    assert_eq!(whole.model, "demo");
    assert!(whole.usage.completion_tokens > 0);

    let mut stream = host.chat(params).stream();
    let mut text = String::new();
    let mut done = None;
    while let Some(event) = soon("an event", stream.next()).await {
        match event.unwrap() {
            Event::Piece(piece) => text += &piece.text,
            Event::Done(result) => done = Some(result),
            _ => {}
        }
    }
    assert_eq!(done.unwrap().text(), text);
    assert!(!whole.text().is_empty());

    let many = GenerateManyParams {
        prompts: vec!["A worker".into(), "A model".into()],
        options: short(),
    };
    let both = soon("the answers", host.generate_many(many).into_future())
        .await
        .unwrap();
    assert_eq!(both.texts.len(), 2);
    end(&host).await;
}

#[tokio::test]
async fn all_methods_have_types() {
    let place = Place::new();
    let host = spawn(&place).await;
    macro_rules! answer {
        ($params:expr) => {
            soon("an answer", host.ask($params).into_future())
                .await
                .unwrap()
        };
    }
    assert!(answer!(Ping {}).pong);
    assert_eq!(answer!(HealthParams {}).status, "ok");
    assert!(answer!(HardwareInfo {}).cpu_variant.starts_with("bitnet-"));
    assert_eq!(answer!(ModelsLoad::default()).model, "demo");
    assert!(answer!(MetricsParams {}).contains("# TYPE"));
    let listed = answer!(ModelsList {});
    assert!(
        listed
            .iter()
            .any(|model| model.name == "demo" && model.state == "loaded" && model.default)
    );
    assert_eq!(
        answer!(ModelsInspect {
            model: Some("demo".into()),
            path: None
        })
        .format,
        "gguf"
    );
    assert!(answer!(ModelsEstimate::default()).total_bytes > 0);
    let tokens = answer!(TokenizeParams {
        text: "good morning".into(),
        ..Default::default()
    })
    .tokens;
    assert_eq!(
        answer!(DetokenizeParams {
            tokens,
            model: None
        })
        .text
        .trim(),
        "good morning"
    );
    let template = ApplyTemplate {
        messages: vec![Message::user("hello")],
        ..Default::default()
    };
    assert!(answer!(template).prompt.contains("hello"));
    let embedded = answer!(EmbedParams {
        input: vec!["a".into(), "b".into()],
        ..Default::default()
    });
    assert_eq!(embedded.embeddings.len(), 2);
    assert_eq!(embedded.embeddings[0].len(), embedded.dimensions);

    let session = answer!(SessionsCreate {
        system: Some("Be brief.".into()),
        ..Default::default()
    })
    .session;
    let mut chat = ChatParams::ask("What is a model?");
    chat.options = Options {
        session: Some(session.clone()),
        ..short()
    };
    answer!(chat);
    let content = answer!(SessionsGet {
        session: session.clone()
    });
    assert_eq!(content.messages.len(), 2);
    assert_eq!(answer!(SessionsList {})[0].messages, 2);
    answer!(SessionsDelete { session });

    let absent = soon(
        "the refusal",
        host.ask(ModelsUnload {
            model: "dem".into(),
            force: false,
        })
        .into_future(),
    )
    .await;
    let error = absent.unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::ModelNotFound));
    assert_eq!(error.rpc().unwrap().data["nearest"][0], "demo");
    answer!(ModelsUnload {
        model: "demo".into(),
        force: true
    });
    end(&host).await;
}

/// The members of params as they are sent, beside those that the host knows.
fn compare<P: Request>(document: &Value, params: &[P]) {
    let method = document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .find(|method| method["name"] == P::METHOD)
        .unwrap();
    let known: BTreeSet<&str> = method["params"]
        .as_array()
        .unwrap()
        .iter()
        .map(|param| param["name"].as_str().unwrap())
        .collect();
    let told: Vec<Value> = params
        .iter()
        .map(|one| serde_json::to_value(one).unwrap())
        .collect();
    let sent: BTreeSet<&str> = told
        .iter()
        .flat_map(|one| one.as_object().unwrap().keys())
        .map(String::as_str)
        .collect();
    assert!(
        sent.is_subset(&known),
        "{}: {:?}",
        P::METHOD,
        sent.difference(&known)
    );
    // `stream` is what `.stream()` says.
    let missing: Vec<&&str> = known
        .difference(&sent)
        .filter(|name| **name != "stream")
        .collect();
    assert!(missing.is_empty(), "{} lacks {missing:?}", P::METHOD);
}

fn every_option() -> Options {
    Options {
        model: Some("m".into()),
        max_tokens: Some(1),
        temperature: Some(1.0),
        top_p: Some(1.0),
        top_k: Some(1),
        min_p: Some(1.0),
        repeat_penalty: Some(1.0),
        presence_penalty: Some(1.0),
        frequency_penalty: Some(1.0),
        logit_bias: [(1, 1.0)].into(),
        seed: Some(1),
        stop: vec!["s".into()],
        logprobs: Some(1),
        response_format: Some(ResponseFormat::JsonObject),
        adapters: vec![Adapter {
            name: "a".into(),
            scale: 1.0,
        }],
        timeout_s: Some(1.0),
        priority: Some(1),
        keep_alive: Some("5m".into()),
        session: Some("s".into()),
        prefix_cache: Some(true),
        response_cache: Some(true),
        ignore_eos: Some(true),
        deterministic: Some(true),
        resumable: Some(true),
    }
}

#[tokio::test]
async fn params_are_those_of_the_wire() {
    let place = Place::new();
    let host = spawn(&place).await;
    let document = soon("the document", host.ask(Discover {}).into_future())
        .await
        .unwrap();
    let names = document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|method| method["name"].as_str().unwrap());
    let untyped: Vec<&str> = names.filter(|name| !METHODS.contains(name)).collect();
    assert_eq!(
        untyped,
        ["initialize", "authenticate", "shutdown", "streams.resume"]
    );

    #[derive(Serialize)]
    #[serde(untagged)]
    enum Either {
        One(GenerateParams),
        Many(GenerateManyParams),
    }
    impl Request for Either {
        const METHOD: &'static str = "generate";
        type Result = Value;
    }
    let one = GenerateParams {
        options: every_option(),
        ..GenerateParams::new("p")
    };
    let many = GenerateManyParams {
        prompts: vec!["p".into()],
        ..Default::default()
    };
    compare(&document, &[Either::One(one), Either::Many(many)]);
    let tool = Tool::function("f", "d", serde_json::json!({"type": "object"}));
    let switches = serde_json::Map::from_iter([("enable_thinking".to_owned(), Value::Bool(true))]);
    let chat = ChatParams {
        messages: vec![Message::user("m")],
        prompt: Some("p".into()),
        prompt_variables: [("v".to_owned(), "v".to_owned())].into(),
        tools: vec![tool.clone()],
        tool_choice: Some(ToolChoice::Function("f".into())),
        parallel_tool_calls: Some(true),
        documents: vec![switches.clone()],
        chat_template_kwargs: switches.clone(),
        options: every_option(),
    };
    compare(&document, &[chat]);
    let m = || Some("m".to_owned());
    compare(
        &document,
        &[SessionsCreate {
            model: m(),
            system: m(),
            ttl_s: Some(60.0),
        }],
    );
    compare(
        &document,
        &[SessionsGet {
            session: "s".into(),
        }],
    );
    compare(
        &document,
        &[SessionsDelete {
            session: "s".into(),
        }],
    );
    let embed = EmbedParams {
        model: m(),
        normalize: Some(true),
        timeout_s: Some(1.0),
        keep_alive: m(),
        ..Default::default()
    };
    compare(&document, &[embed]);
    let rerank = RerankParams {
        model: m(),
        top_n: Some(1),
        timeout_s: Some(1.0),
        ..Default::default()
    };
    compare(&document, &[rerank]);
    compare(
        &document,
        &[TokenizeParams {
            model: m(),
            add_special: Some(true),
            parse_special: Some(true),
            ..Default::default()
        }],
    );
    compare(
        &document,
        &[DetokenizeParams {
            model: m(),
            ..Default::default()
        }],
    );
    let template = ApplyTemplate {
        messages: vec![Message::user("m")],
        model: m(),
        tools: vec![tool],
        documents: vec![switches.clone()],
        add_generation_prompt: Some(true),
        chat_template_kwargs: switches,
    };
    compare(&document, &[template]);
    let memory = || MemoryOptions {
        context_length: Some(1),
        gpu_layers: Some(1),
        parallel: Some(1),
        kv_cache_tokens: Some(1),
        kv_type: m(),
        flash_attention: m(),
    };
    compare(
        &document,
        &[ModelsInspect {
            model: m(),
            path: Some("/p".into()),
        }],
    );
    compare(
        &document,
        &[ModelsEstimate {
            model: m(),
            options: memory(),
        }],
    );
    let load = ModelsLoad {
        model: m(),
        device: m(),
        quantization: m(),
        max_memory: Some(Value::from("1GB")),
        keep_alive: m(),
        threads: Some(1),
        mlock: Some(true),
        options: memory(),
    };
    compare(&document, &[load]);
    compare(&document, &[ModelsUnload::default()]);
    compare(
        &document,
        &[ModelsPull {
            name: m(),
            ..Default::default()
        }],
    );
    compare(&document, &[ModelsImport::default()]);
    compare(&document, &[ModelsDelete::default()]);
    compare(
        &document,
        &[ModelsRecommend {
            context_length: Some(1),
        }],
    );
    end(&host).await;
}

#[tokio::test]
async fn results_that_do_not_fit_a_frame_come_in_parts() {
    let place = Place::new();
    let settings = Settings {
        max_frame_in: 4096,
        ..patient()
    };
    let host = soon("the start", Host::spawn_with(place.command(), settings))
        .await
        .unwrap();
    let document = soon("the document", host.ask(Discover {}).into_future())
        .await
        .unwrap();
    assert!(document.to_string().len() > 4096);
    assert!(document["methods"].as_array().unwrap().len() > 20);
    end(&host).await;
}

#[tokio::test]
async fn dropping_a_stream_or_a_future_cancels_it() {
    let place = Place::new();
    let host = spawn(&place).await;
    let mut stream = host.generate_many(long()).stream();
    first_piece(&mut stream).await;
    drop(stream);
    idle(&host).await;

    let waited = host
        .generate_many(long())
        .timeout(Duration::from_millis(1))
        .into_future();
    assert!(matches!(
        soon("the timeout", waited).await,
        Err(Error::Timeout { .. })
    ));
    idle(&host).await;

    let mut cancelled = host.generate_many(long()).stream();
    first_piece(&mut cancelled).await;
    cancelled.cancel();
    let error = soon("the end", cancelled.result()).await.unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::Cancelled));
    let texts = error.rpc().unwrap().data["texts"].as_array().unwrap();
    assert!(texts.iter().any(|text| text != ""), "{texts:?}");
    end(&host).await;
}

#[tokio::test]
async fn a_host_that_is_killed_returns() {
    let place = Place::new();
    let host = spawn(&place).await;
    let mut cut = host.generate_many(long()).retry().stream();
    first_piece(&mut cut).await; // what has begun to answer is not asked again
    let mut options = short();
    options.max_tokens = Some(2);
    options.ignore_eos = Some(true);
    let waiting = host.generate(GenerateParams {
        options,
        ..GenerateParams::new("The host")
    });
    kill(pid(&host));
    let error = soon("the end of the stream", cut.result())
        .await
        .unwrap_err();
    let Error::HostDied(death) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(death.signal, Some(9));
    assert!(error.to_string().contains("killed by signal 9"), "{error}");
    let answered = soon("the answer of the next one", waiting.retry().into_future())
        .await
        .unwrap();
    assert_eq!(answered.usage.completion_tokens, 2);
    assert!(
        matches!(host.state(), State::Ready { restarts: 1, .. }),
        "{:?}",
        host.state()
    );
    end(&host).await;
}

#[tokio::test]
async fn a_host_that_dies_too_often_is_stopped() {
    let place = Place::new();
    let mut settings = patient();
    settings.restart.limit = 1;
    let host = soon("the start", Host::spawn_with(place.command(), settings))
        .await
        .unwrap();
    let mut states = host.watch();
    for restarts in 0..2 {
        let ready = |state: &State| matches!(state, State::Ready { restarts: told, .. } if *told == restarts);
        soon("the host", states.wait_for(ready)).await.unwrap();
        kill(pid(&host));
    }
    let stopped = soon(
        "the end",
        states.wait_for(|state| matches!(state, State::Stopped { .. })),
    )
    .await
    .unwrap();
    let State::Stopped { why } = &*stopped else {
        unreachable!()
    };
    assert!(why.contains("signal 9"), "{why}");
    let error = host.ping().await.unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error:?}");
    soon("the end", host.shutdown()).await;
}

#[tokio::test]
async fn nothing_is_left_once_nobody_has_it() {
    let place = Place::new();
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let settings = patient().on_log(move |line| drop(sender.send(line.to_owned())));
    let host = soon("the start", Host::spawn_with(place.command(), settings))
        .await
        .unwrap();
    let process = pid(&host);
    let mut stream = host.generate_many(long()).stream();
    first_piece(&mut stream).await;
    drop(host);
    first_piece(&mut stream).await; // a stream keeps its host
    drop(stream);
    let mut said = Vec::new();
    // The callback goes with the supervisor, and that only after it has reaped the child.
    while let Some(line) = soon("a line or the end", lines.recv()).await {
        said.push(line);
    }
    assert!(
        said.iter()
            .any(|line| line.contains("connection.initialized")),
        "{said:?}"
    );
    assert!(!runs(process), "a process is left");
}

#[tokio::test]
async fn what_is_under_way_at_a_shutdown_ends_in_one_error() {
    let place = Place::new();
    let host = spawn(&place).await;
    let process = pid(&host);
    let mut stream = host.generate_many(long()).stream();
    first_piece(&mut stream).await;
    end(&host).await;
    assert!(!runs(process), "a process is left");
    let error = soon("the end", stream.result()).await.unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error:?}");
    assert!(matches!(host.ping().await, Err(Error::Stopped { .. })));
    assert!(soon("the end", host.shutdown()).await.status.is_none());
}
