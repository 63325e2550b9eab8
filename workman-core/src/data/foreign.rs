//! Where code of the program's own runs while values are written and read: what it says when it panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::EncodeError;

/// Calls the program's implementation of this trait of serde. A panic in it is an error of the value, as any other answer that is
/// of no use: whoever enqueues goes on, and whatever was written so far is the caller's to drop.
pub(super) fn guarded<T>(
    implementation: &str,
    call: impl FnOnce() -> Result<T, EncodeError>,
) -> Result<T, EncodeError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic_message(&*panic);
        Err(EncodeError::new(format!("its `{implementation}` panicked: {said}; it answers with an error instead")))
    })
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "with a value that is no text".to_owned())
}
