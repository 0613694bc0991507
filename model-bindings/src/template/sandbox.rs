//! Templates that cannot take more than their share, whatever they do.
//!
//! minijinja bounds the number of a template's steps, but not what one step costs. So checks are put between the
//! instructions that a template is compiled to: after every one that makes a value or compares values, and before
//! every text that is written. A value is bounded in size, all of them together in memory, and the time is looked at
//! with each check; so no step starts from much, and only those that could make much of little have to look ahead
//! (`filters.rs`).

use std::sync::Arc;

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{DynObject, ValueKind};
use minijinja::{Environment, Error, State, Value, escape_formatter};

use super::meter::{Meter, refused};

/// Words and signs between `{{` and `}}`, or `{%` and `%}`: each can be a step deeper into the compiler.
const MAX_TOKENS: usize = 2_000;
/// Bytes that a product of constants may have: it is made by the compiler.
const MAX_PRODUCT: usize = 64 << 10;

// Names that no template can write.
const MADE: &str = " made";
const GATHERED: &str = " gathered";
const KEPT: &str = " kept";
const WRITTEN: &str = " written";
const TICK: &str = " tick";

/// Compiles a template with checks in it.
pub fn compile<'a>(source: &'a str, syntax: &SyntaxConfig) -> Result<Instructions<'a>, Error> {
    check_tags(source, syntax)?;
    let parsed = parse(source, "<string>", syntax.clone())?;
    let mut generator = CodeGenerator::new("<string>", source);
    generator.compile_stmt(&parsed);
    let (plain, _) = generator.finish();
    if instructions(&plain).any(|(_, each)| reads_others(each)) {
        return Err(refused("the chat template has blocks, or includes others"));
    }
    Ok(with_checks(&plain, source))
}

/// What the checks call.
pub fn add_checks(environment: &mut Environment<'_>, meter: &Arc<Meter>) {
    let of = Arc::clone(meter);
    environment.add_function(MADE, move |value: Value| {
        of.take(&value)?;
        Ok::<_, Error>(value)
    });
    let of = Arc::clone(meter);
    environment.add_function(GATHERED, move |value: Value| {
        of.gather(&value)?;
        Ok::<_, Error>(value)
    });
    let of = Arc::clone(meter);
    environment.add_function(KEPT, move |value: Value| {
        of.weigh(&value)?;
        if holds_namespace(&value) {
            return Err(refused("a namespace cannot be kept in a namespace"));
        }
        Ok(value)
    });
    let of = Arc::clone(meter);
    environment.add_function(WRITTEN, move |bytes: usize| of.make(bytes));
    let of = Arc::clone(meter);
    environment.add_function(TICK, move || of.tick());
    let of = Arc::clone(meter);
    environment.set_formatter(move |out, state: &mut State, value: &Value| {
        of.take(value)?;
        escape_formatter(out, state, value)
    });
}

/// The compiler works through a tag recursively, and computes with constants.
fn check_tags(source: &str, syntax: &SyntaxConfig) -> Result<(), Error> {
    let mut tag = Tag::default();
    for token in tokenize(source, false, syntax.clone()) {
        match token?.0 {
            Token::VariableStart | Token::BlockStart => tag = Tag::default(),
            token => tag.add(&token)?,
        }
    }
    Ok(())
}

#[derive(Default)]
struct Tag {
    tokens: usize,
    products: usize,
    largest: u64,
    text: usize,
}

impl Tag {
    fn add(&mut self, token: &Token<'_>) -> Result<(), Error> {
        self.tokens += 1;
        match token {
            Token::Mul => self.products += 1,
            Token::Int(number) => self.largest = self.largest.max(*number),
            Token::Int128(_) => self.largest = u64::MAX,
            Token::Str(text) => self.text += text.len(),
            Token::String(text) => self.text += text.len(),
            _ => {}
        }
        if self.tokens > MAX_TOKENS {
            return Err(refused(
                "the chat template has an expression that is too long",
            ));
        }
        let factor = usize::try_from(self.largest).unwrap_or(usize::MAX);
        let repeats = self.products > 1 || self.text.saturating_mul(factor) > MAX_PRODUCT;
        if self.products > 0 && self.text > 0 && repeats {
            return Err(refused("the chat template repeats a text too often"));
        }
        Ok(())
    }
}

fn instructions<'a, 'b>(
    all: &'b Instructions<'a>,
) -> impl Iterator<Item = (u32, &'b Instruction<'a>)> {
    (0..).map_while(|index| Some((index, all.get(index)?)))
}

/// There are no other templates, and blocks are for those.
fn reads_others(instruction: &Instruction<'_>) -> bool {
    matches!(
        instruction,
        Instruction::CallBlock(_)
            | Instruction::LoadBlocks
            | Instruction::Include(_)
            | Instruction::ExportLocals
            | Instruction::FastSuper
    )
}

/// The same instructions, with checks between them.
fn with_checks<'a>(plain: &Instructions<'a>, source: &'a str) -> Instructions<'a> {
    let mut places: Vec<u32> = Vec::new();
    let mut next = 0_usize;
    for (_, instruction) in instructions(plain) {
        places.push(u32::try_from(next).unwrap_or(u32::MAX));
        next += before(instruction).len() + 1 + after(instruction).len();
    }
    places.push(u32::try_from(next).unwrap_or(u32::MAX));
    let mut checked = Instructions::new("<string>", source);
    for (index, instruction) in instructions(plain) {
        let line = plain.get_line(index).unwrap_or_default();
        let line = u16::try_from(line).unwrap_or(u16::MAX);
        let moved = moved(instruction.clone(), &places);
        for each in before(instruction)
            .into_iter()
            .chain([moved])
            .chain(after(instruction))
        {
            checked.add_with_line(each, line);
        }
    }
    checked
}

fn before<'a>(instruction: &Instruction<'a>) -> Vec<Instruction<'a>> {
    match instruction {
        Instruction::EmitRaw(text) => vec![
            Instruction::LoadConst(Value::from(text.len())),
            Instruction::CallFunction(WRITTEN, Some(1)),
            Instruction::DiscardTop,
        ],
        // The value is below the namespace that is to keep it.
        Instruction::SetAttr(_) => vec![
            Instruction::Swap,
            Instruction::CallFunction(KEPT, Some(1)),
            Instruction::Swap,
        ],
        _ => Vec::new(),
    }
}

fn after<'a>(instruction: &Instruction<'a>) -> Vec<Instruction<'a>> {
    match instruction {
        Instruction::Add
        | Instruction::Slice
        | Instruction::BuildMap(_)
        | Instruction::BuildList(_)
        | Instruction::BuildTuple(_) => vec![Instruction::CallFunction(GATHERED, Some(1))],
        Instruction::Mul
        | Instruction::StringConcat
        | Instruction::ApplyFilter(..)
        | Instruction::CallFunction(..)
        | Instruction::CallMethod(..)
        | Instruction::CallObject(_)
        | Instruction::EndCapture => vec![Instruction::CallFunction(MADE, Some(1))],
        Instruction::Iterate(_)
        | Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::In
        | Instruction::CompareAndPreserve(_)
        | Instruction::PerformTest(..) => {
            vec![
                Instruction::CallFunction(TICK, Some(0)),
                Instruction::DiscardTop,
            ]
        }
        _ => Vec::new(),
    }
}

/// An instruction that goes where its target has moved to.
fn moved<'a>(instruction: Instruction<'a>, places: &[u32]) -> Instruction<'a> {
    let to = |target: u32| places.get(target as usize).copied().unwrap_or(u32::MAX);
    match instruction {
        Instruction::Iterate(target) => Instruction::Iterate(to(target)),
        Instruction::Jump(target) => Instruction::Jump(to(target)),
        Instruction::JumpIfFalse(target) => Instruction::JumpIfFalse(to(target)),
        Instruction::JumpIfFalseOrPop(target) => Instruction::JumpIfFalseOrPop(to(target)),
        Instruction::JumpIfTrueOrPop(target) => Instruction::JumpIfTrueOrPop(to(target)),
        Instruction::BuildMacro(name, target, flags) => {
            Instruction::BuildMacro(name, to(target), flags)
        }
        other => other,
    }
}

/// Two namespaces that keep each other would be written without an end, and never freed.
fn holds_namespace(value: &Value) -> bool {
    let is_namespace = |object: &DynObject| object.type_name().ends_with("::Namespace");
    if value.as_object().is_some_and(is_namespace) {
        return true;
    }
    if !matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
    ) {
        return false;
    }
    let of_key = |key: &Value| {
        value
            .get_item(key)
            .is_ok_and(|member| holds_namespace(&member))
    };
    value.try_iter().is_ok_and(|mut elements| {
        elements
            .any(|each| holds_namespace(&each) || (value.kind() == ValueKind::Map && of_key(&each)))
    })
}
