//! What is emitted beside an error: the function, and a type with the methods that its callers use, so that the user reads
//! one message instead of one for each call.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, Ident, Path, ReturnType, Type, parse_quote};

use crate::ast::{Function, Options, Role};
use crate::{attr, parts, valid, written};

/// The error and the item as it was.
pub(crate) fn untouched(item: TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#item #error)
}

/// The error, the function without our attributes, and the type as far as it can be made.
pub(crate) fn beside(mut function: Function, options: &Options, error: &Error) -> TokenStream {
    if function.sig.receiver().is_some() || written::finds_self(&function.sig) {
        return inside(function, error);
    }
    let error = error.to_compile_error();
    let arguments = strip(&mut function);
    let name = &function.sig.ident;
    let handle = options.handle.as_ref().unwrap_or(name);
    let methods = methods(&function, &arguments, handle, &parts::private(options.krate.as_ref()));
    let handle = parts::handle(name, &function.vis, handle);
    quote! {
        #error
        #function
        #handle
        #methods
    }
}

/// The error and the function without our attributes: inside an `impl` no type can be defined.
pub(crate) fn inside(mut function: Function, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    strip(&mut function);
    quote!(#error #function)
}

/// Takes our attributes off, and tells the role of each argument as far as it can be told.
fn strip(function: &mut Function) -> Vec<(Role, Type)> {
    let mut arguments = Vec::new();
    for input in &mut function.sig.inputs {
        match input {
            FnArg::Typed(input) => {
                // The one error has been said.
                input.attrs.retain(|attr| !attr.path().is_ident("serde"));
                let role = attr::role(&attr::take_ours(&mut input.attrs));
                arguments
                    .push((role.unwrap_or(Role::Input { default: None, aliases: Vec::new() }), (*input.ty).clone()));
            }
            FnArg::Receiver(receiver) => drop(attr::take_ours(&mut receiver.attrs)),
        }
    }
    arguments
}

/// The methods, which are never called: this does not compile. A type that means nothing outside of the function is left open.
fn methods(function: &Function, arguments: &[(Role, Type)], handle: &Ident, p: &Path) -> TokenStream {
    let generic = !function.sig.generics.params.is_empty();
    let nameable = |ty: &Type| !generic && valid::check_owned(ty).is_ok() && !matches!(ty, Type::Never(_));
    let output: Type = match &function.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => written::visible_output(ty).unwrap_or_else(|| (**ty).clone()),
    };
    let output = if nameable(&output) { output } else { parse_quote!(()) };
    let told = |role: &Role, ty: &Type| !matches!(role, Role::State) && !valid::is_of_the_attempt(ty);
    let open = |ty: &Type| if nameable(ty) { ty.clone() } else { parse_quote!(impl #p::Sized) };
    let (given, inputs): (Vec<_>, Vec<_>) =
        arguments.iter().filter(|(role, ty)| told(role, ty)).partition(|(role, _)| role.takes());
    let takes = match given.first() {
        Some((Role::Prerequisite, ty)) if nameable(ty) => quote!(#p::Takes<#ty>),
        Some((_, ty)) if nameable(ty) => quote!(#p::TakesAll<#ty>),
        _ => quote!(#p::Nothing),
    };
    let given: Vec<Type> = given.iter().map(|(_, ty)| open(ty)).collect();
    let inputs: Vec<Type> = inputs.iter().map(|(_, ty)| open(ty)).collect();
    let vis = &function.vis;
    quote! {
        #[allow(dead_code)]
        impl #handle {
            #vis fn request(#(_: #inputs),*) -> #p::Request<#takes, #output> { #p::never() }
            #vis fn with(#(_: #given,)* #(_: #inputs),*) -> #p::Request<#p::Nothing, #output> { #p::never() }
            #vis fn periodic(#(_: #inputs,)* _: impl #p::Into<#p::Schedule>) -> #p::PeriodicRequest { #p::never() }
        }
    }
}
