//! The filter `tojson`, as Python's `json.dumps` writes.

use std::fmt::Write as _;
use std::io;

use minijinja::value::{Kwargs, Rest};
use minijinja::{Error, ErrorKind, Value};
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

use super::meter::Meter;

/// Bytes of JSON that are written between two looks at how much it is.
const COUNTED_AT_ONCE: usize = 64 << 10;

/// `tojson(indent, separators, sort_keys, ensure_ascii)`, as Python's `json.dumps` writes it: nothing escaped for HTML.
/// Ends with an error where it would become too large.
pub fn to_json(
    meter: &Meter,
    value: &Value,
    positional: Rest<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let option = |name: &str, position: usize| -> Result<Option<Value>, Error> {
        let value = options
            .get::<Option<Value>>(name)?
            .or_else(|| positional.get(position).cloned());
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ascii = option("ensure_ascii", 0)?.is_some_and(|value| value.is_true());
    let indent = option("indent", 1)?.map(usize::try_from).transpose()?;
    let separators = option("separators", 2)?;
    let sort = option("sort_keys", 3)?.is_some_and(|value| value.is_true());
    options.assert_all_used()?;
    let separator = |index: usize, default: &str| -> Result<String, Error> {
        match &separators {
            Some(pair) => Ok(pair
                .get_item_by_index(index)?
                .as_str()
                .unwrap_or(default)
                .to_owned()),
            None => Ok(default.to_owned()),
        }
    };
    let style = PythonStyle {
        item: separator(0, if indent.is_some() { "," } else { ", " })?,
        key: separator(1, ": ")?,
        indent: indent.map(|width| width.min(16)),
        ascii,
        depth: 0,
        filled: false,
    };
    let bad = |error: serde_json::Error| {
        Error::new(ErrorKind::BadSerialization, "tojson failed").with_source(error)
    };
    meter.weigh(value)?;
    let mut json = serde_json::to_value(value).map_err(bad)?;
    if sort {
        json.sort_all_objects();
    }
    let mut bytes = Counted {
        bytes: Vec::new(),
        counted: 0,
        meter,
    };
    let written =
        serde::Serialize::serialize(&json, &mut Serializer::with_formatter(&mut bytes, style));
    meter.make(bytes.bytes.len() - bytes.counted)?;
    written.map_err(bad)?;
    let bytes = bytes.bytes;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(ErrorKind::BadSerialization, "tojson failed"))?;
    Ok(Value::from(text))
}

/// Bytes that are counted while they become more.
struct Counted<'a> {
    bytes: Vec<u8>,
    counted: usize,
    meter: &'a Meter,
}

impl io::Write for Counted<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(piece);
        let new = self.bytes.len() - self.counted;
        if new > COUNTED_AT_ONCE {
            self.counted = self.bytes.len();
            self.meter.make(new).map_err(io::Error::other)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON as `json.dumps` lays it out.
struct PythonStyle {
    item: String,
    key: String,
    indent: Option<usize>,
    ascii: bool,
    depth: usize,
    /// Whether the container just being written has something in it.
    filled: bool,
}

impl PythonStyle {
    fn begin<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn end<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.new_line(out)?;
        }
        self.filled = true;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(self.item.as_bytes())?;
        }
        self.filled = true;
        self.new_line(out)
    }

    fn new_line<W: ?Sized + io::Write>(&self, out: &mut W) -> io::Result<()> {
        match self.indent {
            Some(width) => write!(out, "\n{:1$}", "", width * self.depth),
            None => Ok(()),
        }
    }
}

impl Formatter for PythonStyle {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key.as_bytes())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ascii || fragment.is_ascii() {
            return CompactFormatter.write_string_fragment(out, fragment);
        }
        let mut escaped = String::new();
        for unit in fragment.encode_utf16() {
            // Writing to a String cannot fail.
            let _ = match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => escaped.write_char(byte.into()),
                _ => write!(escaped, "\\u{unit:04x}"),
            };
        }
        out.write_all(escaped.as_bytes())
    }
}
