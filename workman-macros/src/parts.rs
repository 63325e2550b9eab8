//! Small parts of the code that is added, for a worker and beside an error alike.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Ident, Path, Visibility, parse_quote};

use crate::ast::{Role, Worker};

/// What added code must be allowed, and no more: an `allow` is an error where the user forbids the lint.
pub(crate) fn lints(worker: &Worker<'_>) -> Vec<TokenStream> {
    let deprecated = worker.function.attrs.iter().any(|attr| attr.path().is_ident("deprecated"));
    let deprecated = deprecated.then(|| quote!(deprecated));
    let crowded = (worker.arguments.len() > 6).then(|| quote!(clippy::too_many_arguments));
    [Some(quote!(dead_code)), deprecated, crowded].into_iter().flatten().collect()
}

/// The path of the private room.
pub(crate) fn private(krate: Option<&Path>) -> Path {
    let krate = krate.cloned().unwrap_or_else(|| parse_quote!(::workman_core));
    parse_quote!(#krate::__private)
}

/// The type that stands beside the function.
pub(crate) fn handle(function: &Ident, vis: &Visibility, handle: &Ident) -> TokenStream {
    let doc = format!("The worker [`{function}()`]: its type, and the maker of its requests.");
    let allow = (function == handle).then(|| quote!(#[allow(non_camel_case_types)]));
    quote! {
        #[doc = #doc]
        #allow
        #vis struct #handle {}
    }
}

/// The reader of an argument's value.
pub(crate) fn getter(role: &Role) -> &'static str {
    match role {
        Role::Context(_) | Role::Completer | Role::Input { .. } => "argument",
        Role::State => "state",
        Role::Prerequisite | Role::Prerequisites => "prerequisite",
    }
}

/// The same path, shown here in errors.
pub(crate) fn located(path: &Path, here: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter();
    tokens
        .map(|mut token| {
            token.set_span(token.span().located_at(here));
            token
        })
        .collect()
}
