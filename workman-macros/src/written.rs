//! Questions about a signature as it is written: which name a type ends in, what stands between its angle brackets, and whether
//! it borrows. A macro sees text and no types, so an alias hides whatever it stands for.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, Path, PathArguments, Signature, Type, TypePath};

/// The `T` of `Result<T, ..>`, `Outcome<T>` and `Result<Outcome<T>, ..>`.
pub(crate) fn visible_output(returned: &Type) -> Option<Type> {
    let first = |ty: &Type, name: &str| arguments_of(ty, name).and_then(|types| types.into_iter().next());
    match first(returned, "Result") {
        Some(ty) => first(&ty, "Outcome").or(Some(ty)),
        None => first(returned, "Outcome"),
    }
}

/// The types between the angle brackets of a path that ends in this name, if there are any.
pub(crate) fn arguments_of(ty: &Type, name: &str) -> Option<Vec<Type>> {
    let path = match bare(ty) {
        Type::Path(TypePath { qself: None, path, .. }) if is_named(path, name) => path,
        _ => return None,
    };
    let PathArguments::AngleBracketed(arguments) = &path.segments.last()?.arguments else { return None };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect()).filter(|types: &Vec<Type>| !types.is_empty())
}

/// The type without parentheses, and without the invisible ones that a `macro_rules` puts around `$ty`.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => bare(&inner.elem),
        Type::Group(inner) => bare(&inner.elem),
        _ => ty,
    }
}

pub(crate) fn is_named(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == name)
}

/// The `T` of `Completer<T>`.
pub(crate) fn completed(ty: &Type) -> Option<Type> {
    arguments_of(ty, "Completer").and_then(|types| types.into_iter().next())
}

/// Whether the signature says `Self`, so that the function stands in an `impl` or a trait.
pub(crate) fn finds_self(sig: &Signature) -> bool {
    find(sig.to_token_stream(), &|token| matches!(token, TokenTree::Ident(word) if word == "Self")).is_some()
}

pub(crate) fn is_borrow(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '&' || punct.as_char() == '\'')
}

/// Where the first such token is.
pub(crate) fn find(tokens: TokenStream, wanted: &dyn Fn(&TokenTree) -> bool) -> Option<Span> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => find(group.stream(), wanted),
        _ => wanted(&token).then(|| token.span()),
    })
}
