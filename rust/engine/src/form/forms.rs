//! Compiles forms for one model.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::InferenceCapabilities;

use super::constraint::Constraint;
use super::schema::prepare;
use super::vocabulary::{VocabularyBytes, environment};

/// Compiled forms that are kept: programs ask for the same few over and over.
const KEPT: usize = 32;
/// White space between the parts of JSON: a blank, or a new line with its indentation. Models that are unsure of what
/// to say would otherwise say blanks for as long as they are let.
const JSON_SPACE: &str = r"(\x20|\r?\n[\x20\x09]{0,32})?";

/// Escapes within strings of JSON: without `\u`, because one could write a name that is taken in another way.
const JSON_ESCAPES: &str = "nrbtf\\\"";
/// How the compiler begins to say what is wrong with a schema where it does not name the keyword, and the keyword.
const UNNAMED: [(&str, &str); 4] = [
    ("regex parse error", "pattern"),
    ("patternProperty", "patternProperties"),
    ("Resource '", "$ref"),
    ("Pointer '", "$ref"),
];

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Any JSON object.
    JsonObject,
    /// JSON that a schema accepts; the schema as JSON text.
    JsonSchema(String),
    /// Text that a regular expression matches from its beginning to its end (the syntax of Rust's `regex`, without
    /// look-around).
    Regex(String),
    /// Text that a grammar derives (`llguidance`'s dialect of Lark; its rule `start`).
    Lark(String),
    /// As [`Form::Lark`], with forms for `@name` in the grammar.
    Composed {
        /// The grammar.
        lark: String,
        /// By name, what its parts are.
        parts: Vec<(String, Form)>,
    },
}

/// Why there can be no answer of a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FormError {
    /// What is wrong with the form, or not supported, for a person to read.
    pub problem: String,
}

/// Compiles forms for one model. Any thread may use it.
pub struct Forms {
    factory: ParserFactory,
    compiled: Mutex<VecDeque<(Form, Matcher)>>,
}

impl Forms {
    /// Prepares a vocabulary.
    ///
    /// # Errors
    /// When the vocabulary has no token that ends an answer, or its tokens are more than can be numbered.
    pub fn new(vocabulary: VocabularyBytes) -> Result<Self, FormError> {
        let environment = environment(vocabulary)
            .ok_or_else(|| refused("the model has no token that ends an answer"))?;
        let capabilities = InferenceCapabilities {
            ff_tokens: environment.tokenize_is_canonical(),
            ..InferenceCapabilities::default()
        };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&environment, capabilities, &slices).map_err(from)?;
        factory.quiet();
        // What goes wrong is told to whoever asked; it must not carry what the model wrote.
        factory.limits_mut().verbose_errors = false;
        Ok(Self {
            factory,
            compiled: Mutex::default(),
        })
    }

    /// A constraint at the beginning of an answer. Takes milliseconds for a form of common size that is not kept.
    ///
    /// # Errors
    /// When the form is malformed, uses what is not supported (the text names it), or nothing can be of it.
    pub fn constrain(&self, form: &Form) -> Result<Constraint, FormError> {
        if let Some(matcher) = self.kept(form) {
            return Ok(Constraint::new(matcher));
        }
        let parser = self.factory.create_parser(grammar(form)?);
        let parser = parser.map_err(|error| match form {
            Form::JsonSchema(_) => naming_the_keyword(from(error)),
            Form::Composed { parts, .. } => self.faulty_part(parts).unwrap_or_else(|| from(error)),
            _ => from(error),
        })?;
        let matcher = Matcher::new(Ok(parser));
        if let Some(problem) = matcher.get_error() {
            return Err(refused(&problem));
        }
        self.keep(form, &matcher);
        Ok(Constraint::new(matcher))
    }

    /// What is wrong with the first part that cannot be met by itself, after its name.
    fn faulty_part(&self, parts: &[(String, Form)]) -> Option<FormError> {
        parts.iter().find_map(|(name, part)| {
            let FormError { problem } = self.constrain(part).err()?;
            Some(refused(&format!("@{name}: {problem}")))
        })
    }

    fn kept(&self, form: &Form) -> Option<Matcher> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let index = compiled.iter().position(|(known, _)| known == form)?;
        let found = compiled.remove(index)?;
        let matcher = found.1.deep_clone();
        compiled.push_back(found);
        Some(matcher)
    }

    fn keep(&self, form: &Form, matcher: &Matcher) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.push_back((form.clone(), matcher.deep_clone()));
        if compiled.len() > KEPT {
            compiled.pop_front();
        }
    }
}

fn grammar(form: &Form) -> Result<TopLevelGrammar, FormError> {
    match form {
        Form::JsonObject => Ok(json_grammar(json!({"type": "object"}))),
        Form::JsonSchema(text) => {
            let mut schema: Value = serde_json::from_str(text)
                .map_err(|error| refused(&format!("is not JSON: {error}")))?;
            if !(schema.is_object() || schema.is_boolean()) {
                return Err(refused("is no schema: it must be an object or a boolean"));
            }
            if schema == json!(false) {
                return Err(refused("nothing satisfies the schema false"));
            }
            prepare(&mut schema)?;
            Ok(json_grammar(schema))
        }
        Form::Regex(regex) => Ok(TopLevelGrammar::from_regex(regex)),
        Form::Lark(text) => Ok(TopLevelGrammar::from_lark(text.clone())),
        Form::Composed { lark, parts } => {
            let mut whole = TopLevelGrammar::from_lark(lark.clone());
            for (name, part) in parts {
                let of_part = grammar(part)
                    .map_err(|FormError { problem }| refused(&format!("@{name}: {problem}")))?;
                let beginning = whole.grammars.len();
                whole.grammars.extend(of_part.grammars);
                // Of a part's own grammars the first is the one that it begins with.
                whole.grammars[beginning].name = Some(name.clone());
            }
            Ok(whole)
        }
    }
}

/// A schema with our own rules for white space. Options that the schema brings along are dropped: one of them makes
/// the compiler ignore keywords that it does not know.
fn json_grammar(schema: Value) -> TopLevelGrammar {
    let mut schema = match schema {
        Value::Object(members) => members,
        _ => serde_json::Map::new(), // `true`: anything
    };
    let options = json!({
        "whitespace_flexible": true,
        "whitespace_pattern": JSON_SPACE,
        "json_allowed_escapes": JSON_ESCAPES,
    });
    schema.insert("x-guidance".to_owned(), options);
    TopLevelGrammar::from_json_schema(Value::Object(schema))
}

fn from(error: impl std::fmt::Display) -> FormError {
    refused(&error.to_string())
}

fn naming_the_keyword(FormError { problem }: FormError) -> FormError {
    if problem.starts_with("oneOf") {
        return refused(
            "oneOf: only schemas that exclude each other, by type or constants, are supported",
        );
    }
    let named = UNNAMED
        .iter()
        .find(|(beginning, _)| problem.starts_with(beginning));
    match named {
        Some((_, keyword)) => refused(&format!("{keyword}: {problem}")),
        None => FormError { problem },
    }
}

/// The first line says what, and one with `error:` why; the others show where in the compiler it came up.
pub(super) fn refused(problem: &str) -> FormError {
    let mut lines = problem
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("not supported");
    let problem = match lines.find_map(|line| line.strip_prefix("error:")) {
        Some(why) => format!("{}: {}", first.trim_end_matches(':'), why.trim()),
        None => first.to_owned(),
    };
    FormError { problem }
}
