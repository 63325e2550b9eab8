//! Several JSON objects made into one, in two ways. Values are moved as the text that they are, so nothing about them changes.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::{Codec, DecodeError, Payload};

/// An object in pieces. Nothing at all, and `null`, count as an object without keys.
type Object<'a> = BTreeMap<String, &'a RawValue>;

/// Of one key, the value of the last object that has it counts.
pub(crate) fn overwriting(objects: &[Option<&Payload>]) -> Result<Payload, MergeError> {
    let mut merged = Object::new();
    for (place, object) in objects.iter().enumerate() {
        merged.extend(read(place, *object)?);
    }
    Ok(write(&merged, |bytes, value| bytes.extend_from_slice(value.get().as_bytes())))
}

/// Of one key, the values of all objects are put into an array, in order. A value that is no array counts as an array of one,
/// so each key of the result has an array, with elements of one type. Null counts as a string.
pub(crate) fn array_creating(objects: &[Option<&Payload>]) -> Result<Payload, MergeError> {
    let mut merged: BTreeMap<String, Vec<(usize, &RawValue)>> = BTreeMap::new();
    for (place, object) in objects.iter().enumerate() {
        for (key, value) in read(place, *object)? {
            let values = merged.entry(key).or_default();
            match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
                Ok(elements) => values.extend(elements.into_iter().map(|element| (place, element))),
                Err(_) => values.push((place, value)),
            }
        }
    }
    for (key, values) in &merged {
        let mut kinds = values.iter().map(|(place, value)| Found { kind: kind(value), place: *place });
        let Some(one) = kinds.next() else { continue };
        if let Some(other) = kinds.find(|found| found.kind != one.kind) {
            return Err(MergeError::Mixed { key: key.clone(), one, other });
        }
    }
    Ok(write(&merged, |bytes, values| {
        bytes.push(b'[');
        for (at, (_, value)) in values.iter().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(value.get().as_bytes());
        }
        bytes.push(b']');
    }))
}

fn read(place: usize, object: Option<&Payload>) -> Result<Object<'_>, MergeError> {
    let Some(object) = object else { return Ok(Object::new()) };
    let read = match object.codec() {
        Codec::JSON => serde_json::from_slice::<Option<Object<'_>>>(object.bytes())
            .map_err(|error| DecodeError::of(&error).to_string()),
        other => Err(format!("codec {} is unknown to this build", other.code())),
    };
    read.map(Option::unwrap_or_default).map_err(|problem| MergeError::NoObject { place, problem })
}

fn write<T>(object: &BTreeMap<String, T>, value_into: impl Fn(&mut Vec<u8>, &T)) -> Payload {
    let mut bytes = Vec::new();
    for (key, value) in object {
        bytes.push(if bytes.is_empty() { b'{' } else { b',' });
        bytes.extend_from_slice(serde_json::Value::from(key.as_str()).to_string().as_bytes());
        bytes.push(b':');
        value_into(&mut bytes, value);
    }
    if bytes.is_empty() {
        bytes.push(b'{');
    }
    bytes.push(b'}');
    Payload::new(Codec::JSON, bytes)
}

/// What JSON calls a value, which its first letter says.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"' | b'n') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'[') => "array",
        Some(b'{') => "object",
        _ => "number",
    }
}

/// Objects can't be made into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MergeError {
    /// What stands at this place is no object.
    NoObject {
        place: usize,
        /// What the parser said.
        problem: String,
    },
    /// One key has values of different types.
    Mixed { key: String, one: Found, other: Found },
}

/// What JSON calls a value, and in which object it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: &'static str,
    pub(crate) place: usize,
}

impl fmt::Display for MergeError {
    /// What is wrong, without the places, whose names the caller knows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MergeError::NoObject { problem, .. } => write!(f, "only a JSON object can be merged: {problem}"),
            MergeError::Mixed { key, one, other } => write!(
                f,
                "the values under the key `{key}` are of different types and can't be put into one array: {} and {} (null counts as a string)",
                one.kind, other.kind
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Merge = fn(&[Option<&Payload>]) -> Result<Payload, MergeError>;

    fn merged(merge: Merge, objects: &[&str]) -> Result<String, MergeError> {
        let objects: Vec<Payload> =
            objects.iter().map(|object| Payload::new(Codec::JSON, object.as_bytes().to_vec())).collect();
        let objects: Vec<Option<&Payload>> = objects.iter().map(Some).collect();
        merge(&objects).map(|merged| String::from_utf8(merged.bytes().to_vec()).unwrap())
    }

    #[test]
    fn data_2_the_last_object_that_has_a_key_wins_key_by_key() {
        assert_eq!(merged(overwriting, &[r#"{"key":"value"}"#]).unwrap(), r#"{"key":"value"}"#);
        let merged = merged(overwriting, &[r#"{"a":1,"b":1}"#, r#"{"b":[2],"c":null}"#, r#"{"c":{"x":3}}"#]);
        assert_eq!(merged.unwrap(), r#"{"a":1,"b":[2],"c":{"x":3}}"#);
    }

    #[test]
    fn data_3_a_scalar_becomes_an_array_of_one_even_alone() {
        assert_eq!(merged(array_creating, &[r#"{"k":3}"#]).unwrap(), r#"{"k":[3]}"#);
    }

    #[test]
    fn data_3_arrays_and_scalars_of_one_type_are_joined_in_order() {
        let arrays = merged(array_creating, &[r#"{"k":[0,1,2]}"#, r#"{"k":[0,1,2]}"#]);
        assert_eq!(arrays.unwrap(), r#"{"k":[0,1,2,0,1,2]}"#);
        assert_eq!(merged(array_creating, &[r#"{"k":[0,1,2]}"#, r#"{"k":3}"#]).unwrap(), r#"{"k":[0,1,2,3]}"#);
        assert_eq!(merged(array_creating, &[r#"{"k":[]}"#, r#"{"k":true}"#]).unwrap(), r#"{"k":[true]}"#);
        assert_eq!(merged(array_creating, &[r#"{"k":[]}"#, r#"{"l":[[1],[]]}"#]).unwrap(), r#"{"k":[],"l":[[1],[]]}"#);
    }

    #[test]
    fn data_3_null_counts_as_a_string() {
        for (one, other, both) in [
            ("null", "null", "[null,null]"),
            (r#""b""#, "null", r#"["b",null]"#),
            ("null", r#""b""#, r#"[null,"b"]"#),
            (r#"["b","c"]"#, "null", r#"["b","c",null]"#),
            ("null", r#"["b","c"]"#, r#"[null,"b","c"]"#),
        ] {
            let objects = [one, other].map(|value| format!(r#"{{"k":{value}}}"#));
            let merged = merged(array_creating, &objects.each_ref().map(String::as_str));
            assert_eq!(merged.unwrap(), format!(r#"{{"k":{both}}}"#));
        }
    }

    #[test]
    fn data_3_values_of_different_types_under_one_key_are_refused() {
        let refused = |one, other| merged(array_creating, &[one, other]).unwrap_err();
        let mixed = |one, other| {
            let found = |kind, place| Found { kind, place };
            MergeError::Mixed { key: "k".into(), one: found(one, 0), other: found(other, 1) }
        };
        assert_eq!(refused(r#"{"k":3}"#, r#"{"k":"3"}"#), mixed("number", "string"));
        assert_eq!(refused(r#"{"k":null}"#, r#"{"k":-3.5}"#), mixed("string", "number"));
        assert_eq!(refused(r#"{"k":[true]}"#, r#"{"k":{}}"#), mixed("boolean", "object"));
        assert_eq!(refused(r#"{"k":[[1]]}"#, r#"{"k":[1]}"#), mixed("array", "number"));
    }

    #[test]
    fn nothing_and_null_have_no_keys_and_what_else_is_no_object_is_named_by_its_place() {
        let own = Payload::new(Codec::JSON, *br#"{ "a\"b" : 340282366920938463463374607431768211455 }"#);
        let null = Payload::new(Codec::JSON, *b"null");
        for merge in [overwriting as Merge, array_creating] {
            assert_eq!(merge(&[]).unwrap().bytes(), b"{}");
            let merged = merge(&[Some(&own), None, Some(&null)]).unwrap();
            assert!(merged.bytes().starts_with(br#"{"a\"b":"#), "{merged:?}");
            let list = Payload::new(Codec::JSON, *b"[1]");
            let error = merge(&[Some(&own), Some(&list)]).unwrap_err();
            assert!(matches!(error, MergeError::NoObject { place: 1, .. }), "{error:?}");
            let foreign = Payload::new(Codec::from_code(9), *b"{}");
            assert!(matches!(merge(&[Some(&foreign)]), Err(MergeError::NoObject { place: 0, .. })));
        }
    }
}
