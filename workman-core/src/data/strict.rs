//! JSON that decodes again: `serde_json` behind a serializer that refuses what JSON would silently change.
//!
//! `serde_json` writes a float that is not finite as `null`, and `Some` of nothing as `null` too; both read back as
//! something else, or not at all. What is refused here is refused when work is enqueued, and not a week later when it runs.

use std::fmt::{self, Display};

use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::EncodeError;

/// Appends the value. A value that is refused leaves nothing of itself.
pub(super) fn write<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    let start = bytes.len();
    serde_json::to_writer(&mut *bytes, &Strict { value, at: &At::Root }).map_err(|error| {
        bytes.truncate(start);
        EncodeError::new(error.to_string())
    })
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
}

impl<T: Serialize + ?Sized> Serialize for Strict<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked { inner: serializer, at: self.at })
    }
}

/// A serializer that looks at every value on its way to `inner`.
struct Checked<'a, S> {
    inner: S,
    at: &'a At<'a>,
}

/// A list, map or structure on its way to `inner`.
struct Compound<'a, C> {
    inner: C,
    at: &'a At<'a>,
    index: usize,
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

macro_rules! open {
    ($($method:ident($($arg:ident: $type:ty),*): $compound:ident,)*) => {$(
        fn $method(self, $($arg: $type),*) -> Result<Self::$compound, S::Error> {
            let inner = self.inner.$method($($arg),*)?;
            Ok(Compound { inner, at: self.at, index: 0 })
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
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    finite! {
        serialize_f32: f32,
        serialize_f64: f64,
    }

    open! {
        serialize_seq(len: Option<usize>): SerializeSeq,
        serialize_tuple(len: usize): SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize): SerializeTupleStruct,
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize): SerializeTupleVariant,
        serialize_map(len: Option<usize>): SerializeMap,
        serialize_struct(name: &'static str, len: usize): SerializeStruct,
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize): SerializeStructVariant,
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.at.check_null()?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Strict { value, at: &At::Some(self.at) })
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
        self.inner.serialize_newtype_struct(name, &Strict { value, at: self.at })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_variant(name, index, variant, &Strict { value, at: &At::Field(self.at, variant) })
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
                self.inner.$method(&Strict { value, at: &at })
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
                self.inner.serialize_field(key, &Strict { value, at: &At::Field(self.at, key) })
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

/// An entry is named by its place: its key may be anything that makes a JSON string.
impl<C: SerializeMap> SerializeMap for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let at = self.next();
        self.inner.serialize_key(&Strict { value, at: &at })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let at = At::Index(self.at, self.index.saturating_sub(1));
        self.inner.serialize_value(&Strict { value, at: &at })
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
        let error = write(&mut bytes, &value).expect_err("it would not decode again");
        assert_eq!(bytes, b"before", "half a value stays");
        error.to_string()
    }

    fn json(value: impl Serialize) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes, &value).expect("it decodes again");
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

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf_8_is_refused() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::path::Path;

        assert!(refusal(Path::new(OsStr::from_bytes(b"\xff"))).contains("UTF-8"));
    }
}
