//! Which return types are streams, and of what.

use syn::punctuated::Punctuated;
use syn::{AngleBracketedGenericArguments, Error, GenericArgument, PathArguments, Result, Token, Type, TypeParamBound};

use crate::written::{arguments_of, bare, is_named};

type Bounds = Punctuated<TypeParamBound, Token![+]>;

/// The items of a returned stream: `impl Stream<Item = T>`, `BoxStream<'static, T>` or `Pin<Box<dyn Stream<Item = T> + Send>>`.
pub(crate) fn item(returned: &Type) -> Result<Option<Type>> {
    if let Some(item) = item_of(returned)? {
        return Ok(Some(item));
    }
    let in_result = arguments_of(returned, "Result").and_then(|types| types.into_iter().next());
    match in_result.map(|ty| item_of(&ty)).transpose()?.flatten() {
        Some(_) => Err(Error::new_spanned(
            returned,
            "a worker returns its stream itself: an error is an item of it, so let the items be `Result<T, E>`",
        )),
        None => Ok(None),
    }
}

fn item_of(ty: &Type) -> Result<Option<Type>> {
    match bare(ty) {
        Type::ImplTrait(opaque) => item_in(&opaque.bounds),
        Type::TraitObject(object) if item_in(&object.bounds)?.is_some() => {
            Err(Error::new_spanned(ty, "a trait object is returned in a box: write `BoxStream<'static, T>`"))
        }
        _ => {
            if arguments_of(ty, "LocalBoxStream").is_some() {
                return Err(not_send(ty));
            }
            if let Some(types) = arguments_of(ty, "BoxStream") {
                return Ok(types.into_iter().next());
            }
            let boxed = arguments_of(ty, "Pin").and_then(|types| types.into_iter().next());
            let object = boxed.and_then(|ty| arguments_of(&ty, "Box")).and_then(|types| types.into_iter().next());
            match object.as_ref().map(bare) {
                Some(Type::TraitObject(object)) => match item_in(&object.bounds)? {
                    Some(_) if !object.bounds.iter().any(|bound| is_bound(bound, "Send")) => Err(not_send(ty)),
                    item => Ok(item),
                },
                _ => Ok(None),
            }
        }
    }
}

fn not_send(ty: &Type) -> Error {
    Error::new_spanned(
        ty,
        "the runtime may move a stream to another thread, so it has to be `Send`: write `BoxStream<'static, T>` or `impl Stream<Item = T> + Send`",
    )
}

/// The `T` of `Stream<Item = T>` among these bounds.
fn item_in(bounds: &Bounds) -> Result<Option<Type>> {
    for bound in bounds {
        if is_bound(bound, "Iterator") {
            return Err(Error::new_spanned(
                bound,
                "an iterator is no stream: return `futures::stream::iter(..)` as `impl Stream<Item = T>`, or use a blocking worker that says `cx.set_progress(..)`",
            ));
        }
        if is_bound(bound, "Stream") {
            let item = item_named(bound);
            return item
                .map(Some)
                .ok_or_else(|| Error::new_spanned(bound, "say what the stream gives: `impl Stream<Item = T>`"));
        }
    }
    Ok(None)
}

fn is_bound(bound: &TypeParamBound, name: &str) -> bool {
    matches!(bound, TypeParamBound::Trait(bound) if is_named(&bound.path, name))
}

fn item_named(bound: &TypeParamBound) -> Option<Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let arguments: &AngleBracketedGenericArguments = match &bound.path.segments.last()?.arguments {
        PathArguments::AngleBracketed(arguments) => arguments,
        _ => return None,
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(assoc) if assoc.ident == "Item" => Some(assoc.ty.clone()),
        _ => None,
    })
}
