//! The container: header, metadata and tensor table, in the order in which ggml's `gguf.cpp` reads them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::{GgufError, Problem};
use crate::identify::identify;
use crate::limits::{
    MAX_ALIGNMENT, MAX_ARRAY_ELEMENTS, MAX_DIMENSIONS, MAX_KEY_BYTES, MAX_METADATA_ENTRIES,
    MAX_STRING_BYTES, MAX_TENSOR_NAME_BYTES, MAX_TENSORS,
};
use crate::source::Source;
use crate::tensor::TensorInfo;
use crate::tensor_type::{Lookup, TensorType};
use crate::value::{Array, Strings, Value, ValueType};

const MAGIC: [u8; 4] = *b"GGUF";
/// Magic, version and the two counts.
const HEADER_BYTES: u64 = 24;
const DEFAULT_ALIGNMENT: u64 = 32;
/// What is read of a file that is not GGUF, to tell what it is.
const IDENTIFYING_BYTES: u64 = 512;
/// The least that a tensor takes in the table: name's length, a name of nothing, rank, type and offset.
const LEAST_TENSOR_BYTES: u64 = 24;
/// The least that a key-value pair takes: key's length, one byte of key, type and a value of one byte.
const LEAST_ENTRY_BYTES: u64 = 14;

/// A GGUF file whose container is sound: every string, count, shape and offset lies within the file.
#[derive(Debug, Clone)]
pub struct GgufFile {
    path: PathBuf,
    size: u64,
    version: u32,
    alignment: u64,
    data_offset: u64,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
}

impl GgufFile {
    /// Reads and validates everything but the weights.
    ///
    /// # Errors
    /// When nothing lies there, or no sound GGUF file of version 2 or 3 does.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let fail = |problem| GgufError {
            file: path.to_owned(),
            offset: None,
            problem,
        };
        let io_error = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => fail(Problem::NotFound),
            _ => fail(Problem::Io(error)),
        };
        // Asked before opening: opening a pipe would wait for its writer.
        let about = fs::metadata(path).map_err(io_error)?;
        if about.is_dir() {
            return Err(fail(Problem::IsDirectory));
        }
        if !about.is_file() {
            return Err(fail(Problem::NotAFile));
        }
        let file = File::open(path).map_err(io_error)?;
        let size = file.metadata().map_err(io_error)?.len();
        Self::read(path, file, size)
    }

    /// Reads from any stream of `size` bytes; `path` only serves messages.
    ///
    /// # Errors
    /// As [`GgufFile::open`].
    pub fn read(path: &Path, stream: impl Read, size: u64) -> Result<Self, GgufError> {
        let mut source = Source::new(path, stream, size);
        let version = read_version(&mut source)?;
        let tensor_count = read_count(
            &mut source,
            "the number of tensors",
            MAX_TENSORS,
            LEAST_TENSOR_BYTES,
        )?;
        let entry_count = read_count(
            &mut source,
            "the number of metadata entries",
            MAX_METADATA_ENTRIES,
            LEAST_ENTRY_BYTES,
        )?;
        let metadata = read_metadata(&mut source, entry_count)?;
        let alignment = alignment(&source, &metadata)?;
        let table_offset = source.position();
        let tensors = read_tensors(&mut source, tensor_count)?;
        let data_offset = source.position().next_multiple_of(alignment);
        check_placement(&source, table_offset, &tensors, alignment, data_offset)?;
        Ok(Self {
            path: path.to_owned(),
            size,
            version,
            alignment,
            data_offset,
            metadata,
            tensors,
        })
    }

    /// The path that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// GGUF's version: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Every tensor's data begins at a multiple of this many bytes.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Where the tensors' data begins, in bytes from the start of the file.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// The value of a key.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All keys and values, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The tensors, in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    pub(crate) fn error(&self, problem: Problem) -> GgufError {
        GgufError {
            file: self.path.clone(),
            offset: None,
            problem,
        }
    }
}

fn read_version<R: Read>(source: &mut Source<R>) -> Result<u32, GgufError> {
    if source.size() < HEADER_BYTES {
        let start = peek(source, source.size())?;
        let size = source.size();
        return Err(source.error_at(
            0,
            Problem::TooSmall {
                size,
                content: identify(&start),
            },
        ));
    }
    let magic = source.bytes::<4>(&|| "the magic".to_owned())?;
    if magic != MAGIC {
        let mut start = magic.to_vec();
        start.extend(peek(source, (source.size() - 4).min(IDENTIFYING_BYTES))?);
        return Err(source.error_at(
            0,
            Problem::BadMagic {
                magic,
                content: identify(&start),
            },
        ));
    }
    let version = source.u32(&|| "the version".to_owned())?;
    match version {
        2 | 3 => Ok(version),
        // The bytes of a small number, reversed.
        _ if version & 0xffff == 0 && version != 0 => Err(source.error_at(4, Problem::BigEndian)),
        _ => Err(source.error_at(4, Problem::UnsupportedVersion(version))),
    }
}

fn peek<R: Read>(source: &mut Source<R>, bytes: u64) -> Result<Vec<u8>, GgufError> {
    let mut start = vec![0; bytes.min(IDENTIFYING_BYTES) as usize];
    source.fill(&|| "the beginning".to_owned(), &mut start)?;
    Ok(start)
}

/// A count of things that take at least `least_bytes` each.
fn read_count<R: Read>(
    source: &mut Source<R>,
    what: &str,
    limit: u64,
    least_bytes: u64,
) -> Result<u64, GgufError> {
    let start = source.position();
    let count = source.u64(&|| what.to_owned())?;
    if count > limit {
        return Err(source.error_at(
            start,
            Problem::TooLarge {
                what: what.to_owned(),
                value: count,
                limit,
            },
        ));
    }
    source.expect(&|| format!("{what}, {count},"), count, least_bytes)?;
    Ok(count)
}

fn read_metadata<R: Read>(
    source: &mut Source<R>,
    count: u64,
) -> Result<BTreeMap<String, Value>, GgufError> {
    let mut metadata = BTreeMap::new();
    for index in 0..count {
        let start = source.position();
        let key = read_name(
            source,
            &|| format!("the key of metadata entry {index}"),
            MAX_KEY_BYTES,
        )?;
        if key.is_empty() {
            let what = format!("the key of metadata entry {index}");
            return Err(source.error_at(
                start,
                Problem::BadName {
                    what,
                    problem: "it is empty",
                },
            ));
        }
        let value = read_value(source, &key)?;
        match metadata.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(value);
            }
            Entry::Occupied(occupied) => {
                return Err(source.error_at(start, Problem::DuplicateKey(occupied.key().clone())));
            }
        }
    }
    Ok(metadata)
}

/// A key or a tensor's name: UTF-8 without control characters, since C code will take it for a terminated string
/// and people will see it.
fn read_name<R: Read>(
    source: &mut Source<R>,
    what: &dyn Fn() -> String,
    limit: u64,
) -> Result<String, GgufError> {
    let start = source.position();
    let mut bytes = Vec::new();
    source.string(what, limit, &mut bytes)?;
    let bad = |problem| Problem::BadName {
        what: what(),
        problem,
    };
    let name =
        String::from_utf8(bytes).map_err(|_| source.error_at(start, bad("it is not UTF-8")))?;
    if name.chars().any(char::is_control) {
        return Err(source.error_at(start, bad("it holds control characters")));
    }
    Ok(name)
}

fn read_value_type<R: Read>(
    source: &mut Source<R>,
    key: &str,
    nested: bool,
) -> Result<ValueType, GgufError> {
    let start = source.position();
    let number = source.u32(&|| format!("the type of '{key}'"))?;
    ValueType::from_number(number)
        .filter(|found| !(nested && *found == ValueType::Array))
        .ok_or_else(|| {
            source.error_at(
                start,
                Problem::UnknownValueType {
                    key: key.to_owned(),
                    value_type: number,
                    nested,
                },
            )
        })
}

fn read_value<R: Read>(source: &mut Source<R>, key: &str) -> Result<Value, GgufError> {
    let what: &dyn Fn() -> String = &|| format!("'{key}'");
    Ok(match read_value_type(source, key, false)? {
        ValueType::U8 => Value::U8(u8::from_le_bytes(source.bytes(what)?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(source.bytes(what)?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(source.bytes(what)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(source.bytes(what)?)),
        ValueType::U32 => Value::U32(source.u32(what)?),
        ValueType::I32 => Value::I32(i32::from_le_bytes(source.bytes(what)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(source.bytes(what)?)),
        // ggml takes every byte but zero for true.
        ValueType::Bool => Value::Bool(source.bytes(what)? != [0]),
        ValueType::String => {
            let mut bytes = Vec::new();
            source.string(what, MAX_STRING_BYTES, &mut bytes)?;
            Value::String(bytes)
        }
        ValueType::Array => Value::Array(read_array(source, key)?),
        ValueType::U64 => Value::U64(source.u64(what)?),
        ValueType::I64 => Value::I64(i64::from_le_bytes(source.bytes(what)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(source.bytes(what)?)),
    })
}

fn read_array<R: Read>(source: &mut Source<R>, key: &str) -> Result<Array, GgufError> {
    let what: &dyn Fn() -> String = &|| format!("the array '{key}'");
    let element_type = read_value_type(source, key, true)?;
    let start = source.position();
    let count = source.u64(what)?;
    if count > MAX_ARRAY_ELEMENTS {
        let what = format!("the length of the array '{key}'");
        return Err(source.error_at(
            start,
            Problem::TooLarge {
                what,
                value: count,
                limit: MAX_ARRAY_ELEMENTS,
            },
        ));
    }
    Ok(match element_type {
        ValueType::U8 => Array::U8(source.array(what, count, u8::from_le_bytes)?),
        ValueType::I8 => Array::I8(source.array(what, count, i8::from_le_bytes)?),
        ValueType::U16 => Array::U16(source.array(what, count, u16::from_le_bytes)?),
        ValueType::I16 => Array::I16(source.array(what, count, i16::from_le_bytes)?),
        ValueType::U32 => Array::U32(source.array(what, count, u32::from_le_bytes)?),
        ValueType::I32 => Array::I32(source.array(what, count, i32::from_le_bytes)?),
        ValueType::F32 => Array::F32(source.array(what, count, f32::from_le_bytes)?),
        ValueType::Bool => Array::Bool(source.array(what, count, |byte: [u8; 1]| byte != [0])?),
        ValueType::String => Array::String(read_strings(source, what, count)?),
        ValueType::U64 => Array::U64(source.array(what, count, u64::from_le_bytes)?),
        ValueType::I64 => Array::I64(source.array(what, count, i64::from_le_bytes)?),
        ValueType::F64 => Array::F64(source.array(what, count, f64::from_le_bytes)?),
        ValueType::Array => {
            let value_type = ValueType::Array as u32;
            let key = key.to_owned();
            return Err(source.error_at(
                start,
                Problem::UnknownValueType {
                    key,
                    value_type,
                    nested: true,
                },
            ));
        }
    })
}

fn read_strings<R: Read>(
    source: &mut Source<R>,
    what: &dyn Fn() -> String,
    count: u64,
) -> Result<Strings, GgufError> {
    // Each has at least its length before it.
    source.expect(what, count, 8)?;
    let mut strings = Strings::default();
    for index in 0..count {
        let what = || format!("string {index} of {}", what());
        strings.push_with(|bytes| source.string(&what, MAX_STRING_BYTES, bytes))?;
    }
    Ok(strings)
}

fn alignment<R: Read>(
    source: &Source<R>,
    metadata: &BTreeMap<String, Value>,
) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    let alignment = match metadata.get(KEY) {
        None => DEFAULT_ALIGNMENT,
        Some(Value::U32(alignment)) => u64::from(*alignment),
        Some(other) => {
            let found = other.value_type();
            return Err(source.error(Problem::WrongValueType {
                key: KEY.to_owned(),
                found,
                expected: "u32",
            }));
        }
    };
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        return Err(source.error(Problem::BadAlignment(alignment)));
    }
    Ok(alignment)
}

fn read_tensors<R: Read>(source: &mut Source<R>, count: u64) -> Result<Vec<TensorInfo>, GgufError> {
    let mut tensors = Vec::new();
    for index in 0..count {
        tensors.push(read_tensor(source, index)?);
    }
    let mut names = HashSet::new();
    for tensor in &tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(source.error(Problem::DuplicateTensor(tensor.name.clone())));
        }
    }
    Ok(tensors)
}

fn read_tensor<R: Read>(source: &mut Source<R>, index: u64) -> Result<TensorInfo, GgufError> {
    let start = source.position();
    let name = read_name(
        source,
        &|| format!("the name of tensor {index}"),
        MAX_TENSOR_NAME_BYTES,
    )?;
    let what: &dyn Fn() -> String = &|| format!("the description of the tensor '{name}'");
    let rank = source.u32(what)?;
    if rank > MAX_DIMENSIONS {
        let what = format!("the number of dimensions of the tensor '{name}'");
        let (value, limit) = (rank.into(), MAX_DIMENSIONS.into());
        return Err(source.error_at(start, Problem::TooLarge { what, value, limit }));
    }
    let mut shape = [0; MAX_DIMENSIONS as usize];
    let shape = &mut shape[..rank as usize];
    for dimension in shape.iter_mut() {
        *dimension = source.u64(what)?;
    }
    let number = source.u32(what)?;
    let offset = source.u64(what)?;
    let tensor_type = match TensorType::look_up(number) {
        Lookup::Known(known) => known,
        Lookup::Removed(advice) => {
            let problem = Problem::RemovedTensorType {
                tensor: name,
                tensor_type: number,
                advice,
            };
            return Err(source.error_at(start, problem));
        }
        Lookup::Unknown => {
            let problem = Problem::UnknownTensorType {
                tensor: name,
                tensor_type: number,
            };
            return Err(source.error_at(start, problem));
        }
    };
    TensorInfo::new(name, tensor_type, shape, offset)
        .map_err(|problem| source.error_at(start, problem))
}

/// ggml demands that tensors follow one another in the order of the table, each padded to the alignment. That also
/// makes them aligned and keeps them from overlapping.
fn check_placement<R: Read>(
    source: &Source<R>,
    table_offset: u64,
    tensors: &[TensorInfo],
    alignment: u64,
    data_offset: u64,
) -> Result<(), GgufError> {
    let mut expected = 0_u64;
    for tensor in tensors {
        let name = || tensor.name.clone();
        if tensor.offset != expected {
            let problem = Problem::MisplacedTensor {
                tensor: name(),
                offset: tensor.offset,
                expected,
            };
            return Err(source.error_at(table_offset, problem));
        }
        let end = data_offset
            .saturating_add(expected)
            .saturating_add(tensor.bytes);
        let padded = tensor
            .bytes
            .checked_next_multiple_of(alignment)
            .and_then(|bytes| bytes.checked_add(expected));
        match padded {
            Some(next) if end <= source.size() => expected = next,
            _ => {
                let problem = Problem::TensorOutsideFile {
                    tensor: name(),
                    end,
                    size: source.size(),
                };
                return Err(source.error_at(table_offset, problem));
            }
        }
    }
    Ok(())
}
