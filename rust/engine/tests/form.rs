//! Answers of a form: whatever the model would rather say, what comes out is of that form.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{Stories, Story, engine, generate, greedy, saying};
use proptest::prelude::*;
use tabagent_engine::form::{Form, FormError, Forms, VocabularyBytes};
use tabagent_engine::toy::{EOS, EOT, N_VOCAB, ToyConfig, bytes_of};
use tabagent_engine::{FinishReason, Limits, Request, SamplingParams, SubmitError, Token};

/// The toy's vocabulary; `canonical` lets forced text be put into tokens (of single bytes).
fn forms(canonical: bool) -> Forms {
    Forms::new(VocabularyBytes {
        tokens: (0..N_VOCAB as Token).map(bytes_of).collect(),
        ends: vec![EOS, EOT],
        tokenize: canonical.then(|| {
            let tokenize = |text: &str| text.bytes().map(Token::from).collect();
            Arc::new(tokenize) as tabagent_engine::form::Tokenize
        }),
    })
    .unwrap()
}

fn schema(text: &str) -> Form {
    Form::JsonSchema(text.to_owned())
}

fn of_form(form: &Form, canonical: bool) -> Request {
    let mut request = greedy(vec![1, 2, 3], 200);
    request.form = Some(forms(canonical).constrain(form).unwrap());
    request
}

fn hot(mut request: Request, seed: u64) -> Request {
    request.sampling = SamplingParams {
        temperature: 1.5,
        seed,
        ..SamplingParams::default()
    };
    request
}

fn answer(request: Request) -> Story {
    generate(&engine(ToyConfig::default()).0, request)
}

fn problem(form: &Form) -> String {
    let FormError { problem } = forms(false).constrain(form).unwrap_err();
    problem
}

#[test]
fn the_model_says_what_it_wants_where_the_form_lets_it() {
    let said = r#"{"a": [1, 2.5, null], "b": "x"}"#;
    for form in [
        Form::JsonObject,
        schema("true"),
        schema(r#"{"type": "object"}"#),
    ] {
        let mut request = of_form(&form, false);
        request.max_tokens = 100;
        let story = generate(&engine(saying(3, said)).0, request);
        assert_eq!(
            (story.text().as_str(), story.reason()),
            (said, FinishReason::Stop)
        );
    }
}

#[test]
fn it_cannot_say_anything_else() {
    let color = schema(r#"{"enum": ["red", "green"]}"#);
    let story = generate(
        &engine(saying(3, "I would rather chat.")).0,
        of_form(&color, false),
    );
    assert!(
        [r#""red""#, r#""green""#].contains(&story.text().as_str()),
        "{}",
        story.text()
    );
    assert_eq!(story.reason(), FinishReason::Stop);
}

/// What comes out where the model would say `wanted`.
fn held_to(form: &str, wanted: &str) -> String {
    let (engine, _) = engine(saying(3, wanted));
    generate(&engine, of_form(&schema(form), false)).text()
}

#[test]
fn days_that_there_are_not_are_not_said() {
    for (format, day) in [
        ("date", "2023-02-29"),
        ("date", "1900-02-29"),
        ("date", "0000-01-01"),
        ("date-time", "2023-02-29T10:00:00Z"),
        ("date-time", "2024-12-31T23:59:60Z"),
        ("time", "23:59:60Z"),
    ] {
        let form = format!(r#"{{"type": ["string", "null"], "format": "{format}"}}"#);
        let wanted = format!("\"{day}\"");
        assert_ne!(held_to(&form, &wanted), wanted);
    }
    for (format, day) in [
        ("date", "2024-02-29"),
        ("date", "2000-02-29"),
        ("date-time", "2024-02-29T23:59:59.125+02:00"),
        ("time", "23:59:59Z"),
    ] {
        let form = format!(r#"{{"type": "string", "format": "{format}"}}"#);
        let wanted = format!("\"{day}\"");
        assert_eq!(held_to(&form, &wanted), wanted);
    }
}

#[test]
fn a_name_that_is_taken_cannot_be_written_in_another_way() {
    let form = r#"{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
        "additionalProperties": {"type": "boolean"}}"#;
    let wanted = r#"{"a": null, "\u0061": true}"#;
    assert_ne!(held_to(form, wanted), wanted);
    let wanted = r#"{"a": null, "b": true}"#;
    assert_eq!(held_to(form, wanted), wanted);
}

#[test]
fn bounds_that_floating_point_does_not_have_hold_too() {
    let form = r#"{"type": "integer", "minimum": 9007199254740990, "maximum": 9007199254740993}"#;
    for wanted in ["9007199254740993", "9007199254740994"] {
        let said: i64 = held_to(form, wanted).parse().unwrap();
        assert!(
            (9007199254740990..=9007199254740993).contains(&said),
            "{said}"
        );
    }
    let all =
        r#"{"type": "integer", "minimum": -9223372036854775808, "maximum": 9223372036854775807}"#;
    assert_eq!(held_to(all, "-12"), "-12");
}

#[test]
fn what_must_come_may_end_within_a_character() {
    let story = answer(of_form(&Form::Regex("[äöüß]é".to_owned()), true));
    assert_eq!(story.text().chars().count(), 2);
}

#[test]
fn a_regular_expression_holds_from_end_to_end() {
    let date = Form::Regex(r"20[0-9]{2}-[01][0-9]".to_owned());
    let story = answer(of_form(&date, false));
    let text = story.text();
    assert!(
        text.starts_with("20") && text.len() == 7 && &text[4..5] == "-",
        "{text}"
    );
    assert_eq!(story.reason(), FinishReason::Stop);
}

#[test]
fn a_grammar_derives_the_answer() {
    let sum = Form::Lark("start: NUMBER (\"+\" NUMBER){2}\nNUMBER: /[0-9]{1,3}/\n".to_owned());
    let text = answer(of_form(&sum, true)).text();
    let numbers: Vec<_> = text.split('+').collect();
    assert_eq!(numbers.len(), 3, "{text}");
    assert!(
        numbers.iter().all(|number| number.parse::<u16>().is_ok()),
        "{text}"
    );
}

#[test]
fn what_must_come_is_not_asked_of_the_model() {
    let form = schema(
        r#"{"type": "object", "properties": {"temperature_in_degrees": {"type": "boolean"}},
        "required": ["temperature_in_degrees"], "additionalProperties": false}"#,
    );
    let steps = |canonical| {
        let (engine, _) = engine(ToyConfig::default());
        let story = generate(&engine, of_form(&form, canonical));
        let text: String = story.text().split_whitespace().collect();
        assert!(
            [
                r#"{"temperature_in_degrees":true}"#,
                r#"{"temperature_in_degrees":false}"#
            ]
            .contains(&text.as_str()),
            "{text}"
        );
        engine.stats().totals.steps
    };
    let (forced, asked) = (steps(true), steps(false));
    assert!(forced * 2 < asked, "{forced} steps against {asked}");
}

#[test]
fn an_answer_that_is_cut_short_says_so() {
    let mut request = of_form(&schema(r#"{"type": "string", "minLength": 50}"#), false);
    request.max_tokens = 10;
    let story = answer(request);
    assert_eq!(
        (story.reason(), story.tokens.len()),
        (FinishReason::Length, 10)
    );
}

#[test]
fn log_probabilities_come_with_every_token() {
    let form = schema(r#"{"const": {"key": [true]}}"#);
    let mut request = of_form(&form, true);
    request.logprobs = Some(2);
    let story = answer(request);
    assert!(story.tokens.iter().all(|info| info.logprob.is_some()));
    assert_eq!(story.reason(), FinishReason::Stop);
}

#[test]
fn forms_that_are_none_are_refused_by_what_is_wrong() {
    for (form, said) in [
        (schema("{"), "JSON"),
        (schema("[]"), "object or a boolean"),
        (schema("false"), "false"),
        (
            schema(r#"{"type": "object", "unevaluatedProperties": false}"#),
            "unevaluatedProperties",
        ),
        (
            schema(r#"{"type": "array", "uniqueItems": true}"#),
            "uniqueItems",
        ),
        (schema(r#"{"type": "fish"}"#), "fish"),
        (schema(r#"{"const": "\u0001"}"#), "const"),
        (schema(r#"{"enum": [1, {"a": 9007199254740993}]}"#), "enum"),
        (schema(r##"{"$ref": "#/$defs/none"}"##), "none"),
        (
            schema(r#"{"type": "integer", "minimum": 5, "maximum": 3}"#),
            "minimum",
        ),
        (Form::Regex("(".to_owned()), "unclosed group"),
        (Form::Lark("start: missing".to_owned()), "missing"),
    ] {
        let problem = problem(&form);
        assert!(problem.contains(said), "{form:?}: {problem}");
        assert_eq!(problem.lines().count(), 1, "{problem}");
    }
}

#[test]
fn a_schema_cannot_switch_checks_off() {
    let lenient = r#"{"type": "array", "uniqueItems": true, "x-guidance": {"lenient": true}}"#;
    assert!(problem(&schema(lenient)).contains("uniqueItems"));
}

#[test]
fn a_form_says_where_the_answer_ends_and_nobody_else() {
    let mut request = of_form(&Form::JsonObject, false);
    request.ignore_eos = true;
    let refused = engine(ToyConfig::default()).0.submit(request).unwrap_err();
    assert!(matches!(
        refused,
        SubmitError::InvalidParameter {
            name: "ignore_eos",
            ..
        }
    ));
}

#[test]
fn a_bias_that_leaves_nothing_is_an_error_of_that_request_alone() {
    let (engine, _) = engine(ToyConfig::default());
    let mut request = of_form(&schema(r#"{"const": 7}"#), false);
    request.sampling.logit_bias = vec![(Token::from(b'7'), f32::NEG_INFINITY)];
    assert!(
        generate(&engine, request)
            .error()
            .contains("response_format")
    );
    assert_eq!(
        generate(&engine, greedy(vec![1], 1)).reason(),
        FinishReason::Length
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Many answers of different forms side by side, hot: every finished one is of its own form.
    #[test]
    fn answers_side_by_side_keep_to_their_own_forms(seed in any::<u64>(), canonical in any::<bool>()) {
        let forms = forms(canonical);
        let kinds = [
            r#"{"type": "integer", "minimum": 10, "maximum": 99}"#,
            r#"{"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 4}"#,
            r#"{"enum": ["one", 2, null]}"#,
            r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}"#,
        ];
        let config = ToyConfig {
            limits: Limits { n_ctx: 256, kv_cells: 512, n_seq_max: 4, n_outputs_max: 8, ..ToyConfig::default().limits },
            ..ToyConfig::default()
        };
        let (engine, _) = engine(config);
        let ids: Vec<_> = (0..8).map(|n| {
            let mut request = hot(Request::new(vec![1, 2, n], 200), seed.wrapping_add(n as u64));
            request.form = Some(forms.constrain(&schema(kinds[n as usize % 4])).unwrap());
            engine.submit(request).unwrap()
        }).collect();
        let mut stories = Stories::default();
        for (n, id) in ids.into_iter().enumerate() {
            let story = stories.finish(&engine, id);
            if story.reason() == FinishReason::Length {
                continue;
            }
            let value: serde_json::Value = serde_json::from_str(&story.text()).unwrap();
            let fits = match n % 4 {
                0 => value.as_i64().is_some_and(|number| (10..=99).contains(&number)),
                1 => value.as_array().is_some_and(|list| (1..=4).contains(&list.len()) && list.iter().all(|item| item.is_boolean())),
                2 => value == "one" || value == 2 || value.is_null(),
                _ => value.as_object().is_some_and(|object| object.len() == 1 && object["n"].is_i64() | object["n"].is_u64() | object["n"].is_number()),
            };
            prop_assert!(fits, "{value}");
        }
    }
}
