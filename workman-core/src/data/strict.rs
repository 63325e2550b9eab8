//! JSON that decodes again: `serde_json` behind a serializer that refuses what JSON would silently change.
//!
//! What is refused here is refused when work is enqueued, and not a week later when it runs:
//!
//! - A float that is not finite, and `Some` of nothing: `serde_json` writes both as `null`, which reads back as something else, or
//!   not at all.
//! - What is nested deeper than the reader goes ([`DEEPEST`]) from where the value will lie ([`Position`]). This is also what keeps a
//!   list of a million links from running out of stack while it is written.
//! - What a `Serialize` refuses of itself, and one that panics.
//!
//! These checks cost next to nothing and are always made. They see the value on its way out and know nothing of the way back, so
//! they can't tell that a `Deserialize` reads other forms than its `Serialize` writes; for that see `read_back`, beside this file.

use std::fmt::{self, Display};

use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::{EncodeError, guarded};

/// How many lists and objects may lie in each other. `serde_json` reads no more.
const DEEPEST: u8 = 127;

/// What `serde_json` calls the structures that stand for text of its own, and are written without braces.
const VERBATIM: &str = "$serde_json::private::";

/// Where a value will lie, which decides how deep it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Position {
    /// It is all that there is: an output, progress, a checkpoint.
    Alone,
    /// It is an argument, in the object of all arguments. That object may be read as a whole, and a merger may put the value into a
    /// list, from which it is read without the object.
    InObject,
}

impl Position {
    /// How many lists and objects may lie in each other there.
    const fn levels(self) -> u8 {
        match self {
            Position::Alone => DEEPEST,
            Position::InObject => DEEPEST - 1,
        }
    }
}

/// Appends the value. A value that is refused leaves nothing of itself.
pub(super) fn write<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    value: &T,
    position: Position,
) -> Result<(), EncodeError> {
    let start = bytes.len();
    let strict = Strict { value, at: &At::Root, levels: Levels { position, left: position.levels() } };
    let written = guarded("Serialize", || {
        serde_json::to_writer(&mut *bytes, &strict).map_err(|error| EncodeError::new(error.to_string()))
    });
    if written.is_err() {
        bytes.truncate(start);
    }
    written
}

/// How much deeper a value may be.
#[derive(Clone, Copy)]
struct Levels {
    position: Position,
    left: u8,
}

impl Levels {
    /// What is left inside of so many lists and objects.
    fn inside<E: Error>(self, of: u8) -> Result<Levels, E> {
        match self.left.checked_sub(of) {
            Some(left) => Ok(Levels { left, ..self }),
            None => Err(E::custom(format_args!(
                "lists and objects lie in each other more than {} deep, and would not be read again; nest less, or store it elsewhere and pass where it is",
                self.position.levels()
            ))),
        }
    }
}

/// Where in the value the serializer is: a list that lives on the stack.
enum At<'a> {
    Root,
    Field(&'a At<'a>, &'static str),
    Index(&'a At<'a>, usize),
    Some(&'a At<'a>),
}

impl At<'_> {
    /// `what` went wrong here.
    fn error<E: Error>(&self, what: impl Display) -> E {
        match self.to_string() {
            path if path.is_empty() => E::custom(what),
            path => E::custom(format_args!("at {path}: {what}")),
        }
    }

    /// JSON's `null` is about to be written.
    fn check_null<E: Error>(&self) -> Result<(), E> {
        match self {
            At::Some(outer) => Err(outer.error("`Some` of nothing would be read as `None`")),
            _ => Ok(()),
        }
    }

    /// The text `null` is about to be written: as it is, if it is JSON of the program's own.
    fn check_verbatim_null<E: Error>(&self) -> Result<(), E> {
        match self {
            At::Field(outer, name) if name.starts_with(VERBATIM) => outer.check_null(),
            _ => Ok(()),
        }
    }
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Some(outer) => outer.fmt(f),
            At::Field(outer, name) => write!(f, "{outer}.{name}"),
            At::Index(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

/// A value that is serialized strictly.
struct Strict<'a, T: ?Sized> {
    value: &'a T,
    at: &'a At<'a>,
    levels: Levels,
}

impl<T: Serialize + ?Sized> Serialize for Strict<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked { inner: serializer, at: self.at, levels: self.levels })
    }
}

/// A serializer that looks at every value on its way to `inner`.
struct Checked<'a, S> {
    inner: S,
    at: &'a At<'a>,
    levels: Levels,
}

/// A list, map or structure on its way to `inner`.
struct Compound<'a, C> {
    inner: C,
    at: &'a At<'a>,
    index: usize,
    /// What is left for each of its values.
    levels: Levels,
}

impl<'a, C> Compound<'a, C> {
    fn next(&mut self) -> At<'a> {
        let index = self.index;
        self.index += 1;
        At::Index(self.at, index)
    }
}

macro_rules! forward {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

/// What is wrong with a float that is not finite, and what says so instead.
const NO_NUMBER: &str = "is no JSON number; an `Option` has `None` for it";

macro_rules! finite {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            if value.is_finite() { self.inner.$method(value) } else { Err(self.at.error(format_args!("{value} {NO_NUMBER}"))) }
        }
    )*};
}

/// Methods that open this many lists and objects.
macro_rules! open {
    ($($method:ident($($arg:ident: $type:ty),*): $compound:ident is $deep:expr,)*) => {$(
        fn $method(self, $($arg: $type),*) -> Result<Self::$compound, S::Error> {
            let levels = self.levels.inside($deep)?;
            let inner = self.inner.$method($($arg),*)?;
            Ok(Compound { inner, at: self.at, index: 0, levels })
        }
    )*};
}

impl<'a, S: Serializer> Serializer for Checked<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'a, S::SerializeSeq>;
    type SerializeTuple = Compound<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'a, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'a, S::SerializeMap>;
    type SerializeStruct = Compound<'a, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'a, S::SerializeStructVariant>;

    forward! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_bytes: &[u8],
    }

    finite! {
        serialize_f32: f32,
        serialize_f64: f64,
    }

    open! {
        serialize_seq(len: Option<usize>): SerializeSeq is 1,
        serialize_tuple(len: usize): SerializeTuple is 1,
        serialize_tuple_struct(name: &'static str, len: usize): SerializeTupleStruct is 1,
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize): SerializeTupleVariant is 2,
        serialize_map(len: Option<usize>): SerializeMap is 1,
        serialize_struct(name: &'static str, len: usize): SerializeStruct is u8::from(!name.starts_with(VERBATIM)),
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize): SerializeStructVariant is 2,
    }

    fn serialize_str(self, value: &str) -> Result<S::Ok, S::Error> {
        if value == "null" {
            self.at.check_verbatim_null()?;
        }
        self.inner.serialize_str(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.at.check_null()?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Strict { value, at: &At::Some(self.at), levels: self.levels })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.at.check_null()?;
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.at.check_null()?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Strict { value, at: self.at, levels: self.levels })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let levels = self.levels.inside(1)?;
        let at = At::Field(self.at, variant);
        self.inner.serialize_newtype_variant(name, index, variant, &Strict { value, at: &at, levels })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! by_index {
    ($($compound:ident::$method:ident,)*) => {$(
        impl<C: $compound> $compound for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let at = self.next();
                self.inner.$method(&Strict { value, at: &at, levels: self.levels })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

macro_rules! by_name {
    ($($compound:ident,)*) => {$(
        impl<C: $compound> $compound for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), C::Error> {
                let at = At::Field(self.at, key);
                self.inner.serialize_field(key, &Strict { value, at: &at, levels: self.levels })
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

by_index! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

by_name! {
    SerializeStruct,
    SerializeStructVariant,
}

/// An entry is named by its position: its key may be anything that makes a JSON string.
impl<C: SerializeMap> SerializeMap for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let at = self.next();
        self.inner.serialize_key(&Strict { value, at: &at, levels: self.levels })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let at = At::Index(self.at, self.index.saturating_sub(1));
        self.inner.serialize_value(&Strict { value, at: &at, levels: self.levels })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Circle {
        name: &'static str,
        radius: f64,
    }

    #[derive(Serialize)]
    enum Shape {
        Round(Circle),
        Sides(Vec<f32>),
        Named { inner: Option<f32> },
        Empty,
    }

    fn refusal(value: impl Serialize) -> String {
        let mut bytes = b"before".to_vec();
        let error = write(&mut bytes, &value, Position::Alone).expect_err("it would not decode again");
        assert_eq!(bytes, b"before", "half a value stays");
        error.to_string()
    }

    fn json(value: impl Serialize) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes, &value, Position::Alone).expect("it decodes again");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn what_decodes_again_is_written_as_serde_json_writes_it() {
        let shapes = [
            Shape::Round(Circle { name: "unit", radius: 1.0 }),
            Shape::Sides(vec![3.0, 4.5]),
            Shape::Named { inner: None },
            Shape::Named { inner: Some(0.5) },
            Shape::Empty,
        ];
        assert_eq!(json(&shapes), serde_json::to_string(&shapes).unwrap());
        let map = BTreeMap::from([(1_u128 << 100, ("x", 'y', true, ()))]);
        assert_eq!(json(&map), serde_json::to_string(&map).unwrap());
    }

    #[test]
    fn a_float_that_is_not_finite_is_refused_wherever_it_hides() {
        assert_eq!(refusal(f64::NAN), "NaN is no JSON number; an `Option` has `None` for it");
        assert_eq!(
            refusal(Circle { name: "", radius: f64::INFINITY }),
            "at .radius: inf is no JSON number; an `Option` has `None` for it"
        );
        let deep = [Shape::Empty, Shape::Round(Circle { name: "", radius: f64::NAN })];
        assert_eq!(refusal(deep), "at [1].Round.radius: NaN is no JSON number; an `Option` has `None` for it");
        assert_eq!(
            refusal(Shape::Sides(vec![1.0, f32::NEG_INFINITY])),
            "at .Sides[1]: -inf is no JSON number; an `Option` has `None` for it"
        );
        assert_eq!(
            refusal(Shape::Named { inner: Some(f32::NAN) }),
            "at .inner: NaN is no JSON number; an `Option` has `None` for it"
        );
        assert_eq!(
            refusal(BTreeMap::from([(1, 0.5), (2, f64::NAN)])),
            "at [1]: NaN is no JSON number; an `Option` has `None` for it"
        );
    }

    #[test]
    fn some_of_nothing_is_refused_because_it_would_become_none() {
        assert_eq!(refusal((1, Some(None::<u8>))), "at [1]: `Some` of nothing would be read as `None`");
        assert_eq!(refusal(Some(())), "`Some` of nothing would be read as `None`");
        assert_eq!(json((None::<u8>, Some(1))), "[null,1]");
    }

    #[cfg(any(unix, windows))]
    #[test]
    fn a_path_that_is_not_unicode_is_refused() {
        #[cfg(unix)]
        let path: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        #[cfg(windows)]
        let path: std::ffi::OsString = std::os::windows::ffi::OsStringExt::from_wide(&[0xdc00]);
        assert!(refusal(std::path::Path::new(&path)).contains("UTF-8"));
    }
}
