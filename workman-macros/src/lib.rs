//! The `#[worker]` attribute.

use proc_macro::TokenStream;

/// Makes a worker of a function.
#[proc_macro_attribute]
pub fn worker(_options: TokenStream, item: TokenStream) -> TokenStream {
    item
}
