//! JSON that decodes again.

use serde::Serialize;

use super::EncodeError;

pub(super) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    serde_json::to_vec(value).map_err(|error| EncodeError::new(error.to_string()))
}
