//! Reading back what was just written, before it is stored: the only way to know that a `Deserialize` reads what its
//! `Serialize` writes.
//!
//! Many pairs of the two do not fit each other, and nothing about the written form shows it: numbers of 128 bits in an untagged,
//! flattened or internally tagged place, flattened maps with keys that are numbers, fields that are left out and have no default,
//! two keys of one text, an untagged variant that an earlier one takes. So the value is read, and what was read is written once more.
//!
//! Reading costs as much as writing. Who calls this decides how often that is worth it; see `worker/trial.rs`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DecodeError, EncodeError, Scratch, guarded, strict};

/// What to do about it.
const REMEDY: &str = "give it forms of serde that agree; `Payload::encode` names those that do not";

/// Refuses JSON that was written for such a value and does not read back, or not as what was written.
pub(super) fn check<T: Serialize + DeserializeOwned>(json: &[u8]) -> Result<(), EncodeError> {
    guarded("Deserialize", || {
        let read: T = serde_json::from_slice(json).map_err(|error| {
            let error = DecodeError::of(&error);
            EncodeError::new(format!("what its `Serialize` writes, its `Deserialize` does not read: {error}; {REMEDY}"))
        })?;
        if writes(&read, json)? {
            return Ok(());
        }
        Err(EncodeError::new(format!(
            "it would come back as something else: what is read is not what was written; {REMEDY}"
        )))
    })
}

/// Whether the value is written with the same bytes, in any order, since a hashed map or set has another order each time that it
/// is made; or with other bytes each time, as one that is encrypted on the way, so that they say nothing.
fn writes<T: Serialize>(value: &T, json: &[u8]) -> Result<bool, EncodeError> {
    let again = written(value)?;
    Ok(*again == json || bytes_of(&again) == bytes_of(json) || bytes_of(&written(value)?) != bytes_of(&again))
}

fn written<T: Serialize>(value: &T) -> Result<Scratch, EncodeError> {
    let mut bytes = Scratch::take();
    strict::write(&mut bytes, value, strict::Position::Alone)?;
    Ok(bytes)
}

/// How often each byte is there.
fn bytes_of(json: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    json.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;

    fn checked<T: Serialize + DeserializeOwned>(value: &T) -> Result<(), String> {
        let bytes = written(value).map_err(|error| error.to_string())?;
        check::<T>(&bytes).map_err(|error| error.to_string())
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Wide { cents: u128 },
        Float(f64),
        Int(u64),
        Text(String),
    }

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Wide { at: i128 },
        Narrow { at: i64, name: Option<char> },
    }

    #[derive(Serialize, Deserialize)]
    struct Flat<K: Ord, V> {
        name: String,
        #[serde(flatten, bound = "K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned")]
        rest: BTreeMap<K, V>,
    }

    #[derive(Serialize, Deserialize)]
    #[expect(dead_code, reason = "nobody reads a field that is not there")]
    struct LeftOut {
        #[serde(skip_serializing)]
        password: String,
        name: String,
    }

    #[derive(Serialize, Deserialize)]
    #[expect(dead_code, reason = "nobody reads a field that is not there")]
    struct LeftOutForGood {
        #[serde(skip)]
        cache: Vec<u8>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }

    #[test]
    fn what_its_deserialize_does_not_read_is_refused_and_says_why() {
        let unread = "what its `Serialize` writes, its `Deserialize` does not read: ";
        let refused = |checked: Result<(), String>| {
            let refusal = checked.unwrap_err();
            assert!(refusal.starts_with(unread) && refusal.contains("`Payload::encode`"), "{refusal}");
        };
        refused(checked(&Untagged::Wide { cents: 1 }));
        refused(checked(&Tagged::Wide { at: -1 }));
        refused(checked(&Flat { name: "a".into(), rest: BTreeMap::from([(2026_u32, 1_u8)]) }));
        refused(checked(&Flat { name: "a".into(), rest: BTreeMap::from([("wide".to_owned(), u128::MAX)]) }));
        refused(checked(&Flat { name: "a".into(), rest: BTreeMap::from([("name".to_owned(), 1_u8)]) }));
        refused(checked(&LeftOut { password: "secret".into(), name: "a".into() }));
    }

    #[test]
    fn what_comes_back_as_something_else_is_refused() {
        struct Grows(u8);
        impl Serialize for Grows {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(self.0 + 1)
            }
        }
        impl<'de> Deserialize<'de> for Grows {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u8::deserialize(deserializer).map(Grows)
            }
        }
        #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
        #[serde(transparent)]
        struct First(#[serde(serialize_with = "first_letter")] String);
        fn first_letter<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&text[..1])
        }
        for refusal in [
            checked(&Grows(1)),
            checked(&Untagged::Int(1)),
            checked(&Untagged::Int(u64::MAX)),
            checked(&BTreeMap::from([(First("ab".into()), 1), (First("ac".into()), 2)])),
        ] {
            assert!(refusal.unwrap_err().starts_with("it would come back as something else"));
        }
    }

    #[test]
    fn what_comes_back_as_it_was_is_fine_whatever_it_looks_like() {
        assert_eq!(checked(&Untagged::Float(1.0)), Ok(()));
        assert_eq!(checked(&Untagged::Text("1".into())), Ok(()));
        assert_eq!(checked(&Tagged::Narrow { at: i64::MIN, name: Some('"') }), Ok(()));
        assert_eq!(checked(&Flat { name: "a".into(), rest: BTreeMap::from([("b".to_owned(), -0.0)]) }), Ok(()));
        assert_eq!(checked(&LeftOutForGood { cache: vec![1], name: None }), Ok(()));
        assert_eq!(checked(&(u128::MAX, i128::MIN, f64::MIN_POSITIVE, f32::MAX, -0.0_f32)), Ok(()));
        assert_eq!(checked(&(Some(Some(1)), (), "text".to_owned(), b"bytes".to_vec(), '\u{1F600}')), Ok(()));
    }

    #[test]
    #[expect(
        clippy::disallowed_types,
        reason = "the order in which they are written differs each time, and is no difference"
    )]
    fn a_hashed_map_or_set_comes_back_as_it_was_in_any_order() {
        use std::collections::{HashMap, HashSet};

        let set: HashSet<u64> = (0..100).collect();
        let map: HashMap<u64, HashSet<u64>> = (0..100).map(|key| (key, set.clone())).collect();
        assert_eq!(checked(&map), Ok(()));
    }

    thread_local! {
        static NONCE: Cell<u8> = const { Cell::new(0) };
    }

    #[test]
    fn what_is_written_in_another_way_each_time_is_fine_as_long_as_it_is_read() {
        #[derive(Debug)]
        struct Encrypted;
        impl Serialize for Encrypted {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u8(NONCE.replace(NONCE.get() + 1))
            }
        }
        impl<'de> Deserialize<'de> for Encrypted {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u8::deserialize(deserializer).map(|_| Encrypted)
            }
        }
        assert_eq!(checked(&Encrypted), Ok(()));
    }

    #[test]
    fn a_deserialize_that_panics_is_an_error() {
        #[derive(Serialize)]
        struct Panics(u8);
        impl<'de> Deserialize<'de> for Panics {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("no bytes today")
            }
        }
        let refusal = checked(&Panics(1)).unwrap_err();
        assert_eq!(refusal, "its `Deserialize` panicked: no bytes today; it answers with an error instead");
    }
}
