//! Workers that give letters and numbers, for those who test how works hang together.

use std::time::Duration;

use workman_core::{WorkContext, WorkError, worker};

#[worker]
pub(crate) async fn letter(text: String) -> String {
    text
}

/// Takes its time in seconds, so that the order of ends can differ from the order of declaration.
#[worker]
pub(crate) async fn slow_letter(text: String, takes: u64, cx: &WorkContext) -> Result<String, WorkError> {
    cx.sleep(Duration::from_secs(takes)).await?;
    Ok(text)
}

#[worker]
pub(crate) fn number(number: u32) -> u32 {
    number
}
