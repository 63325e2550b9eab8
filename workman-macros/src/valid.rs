//! The rules: what a worker's function may look like. The first broken one is the only error, at the token that breaks it.

use proc_macro2::{Span, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, Ident, LitStr, Pat, PatType, Result, ReturnType, Signature, Type, TypeParamBound,
    parse_quote,
};

use crate::ast::{Answer, Argument, Function, Hold, Options, Role, Way, Worker};
use crate::attr;
use crate::stream;
use crate::template;
use crate::written::{arguments_of, bare, completed, find, is_borrow, is_named, visible_output};

/// The longest name that every manager takes unless told otherwise: `Limits::name`.
const LONGEST_NAME: usize = 256;

impl<'a> Worker<'a> {
    /// A worker, if the function and the options obey all rules.
    pub(crate) fn check(mut function: Function, options: &'a Options) -> Result<Self> {
        check_signature(&function.sig)?;
        let arguments = function.sig.inputs.iter_mut().enumerate().map(|(place, input)| argument(place, input));
        let arguments: Vec<Argument> = arguments.collect::<Result<_>>()?;
        check_together(&arguments)?;
        let answer = answer(&function.sig, options, &arguments)?;
        check_names(&function.sig.ident, options)?;
        let limit_key = options.limit_key.as_ref().map(|key| template::pieces(key, &arguments)).transpose()?;
        Ok(Worker { function, options, arguments, answer, limit_key: limit_key.unwrap_or_default() })
    }
}

fn check_signature(sig: &Signature) -> Result<()> {
    if let Some(receiver) = sig.receiver() {
        return Err(Error::new_spanned(
            receiver,
            "a method can't be a worker, since nobody could make its `self` again after a restart: use a free function, and `#[state]` for what the application has",
        ));
    }
    if let Some(parameter) = sig.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a worker can't be generic: its name stands for one function with stored arguments",
        ));
    }
    if let Some(bounds) = &sig.generics.where_clause {
        return Err(Error::new_spanned(bounds, "a worker can't be generic, so it has no `where` clause"));
    }
    if let Some(token) = &sig.constness {
        return Err(Error::new_spanned(token, "a `const fn` can't be a worker"));
    }
    let safety = sig.safety.to_token_stream();
    if !safety.is_empty() {
        return Err(Error::new_spanned(
            safety,
            "an unsafe function can't be a worker: workman calls it from safe code",
        ));
    }
    if let Some(abi) = &sig.abi {
        return Err(Error::new_spanned(abi, "a worker is a Rust function, without `extern`"));
    }
    match &sig.variadic {
        Some(variadic) => Err(Error::new_spanned(variadic, "a worker is a Rust function, without `...`")),
        None => Ok(()),
    }
}

fn argument(place: usize, input: &mut FnArg) -> Result<Argument> {
    let FnArg::Typed(input) = input else { return Err(Error::new_spanned(input, "a method can't be a worker")) };
    if let Some(cfg) = input.attrs.iter().find(|attr| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")) {
        return Err(Error::new_spanned(
            cfg,
            "an argument can't depend on `cfg`: another build may read what this one stored",
        ));
    }
    if let Some(serde) = input.attrs.iter().find(|attr| attr.path().is_ident("serde")) {
        return Err(Error::new_spanned(
            serde,
            "an argument is no field of a struct, so serde's attributes don't fit: there are `#[default]`, `#[default = value]` and `#[alias(\"old\")]`",
        ));
    }
    let ours = attr::take_ours(&mut input.attrs);
    let role = match of_the_attempt(&input.ty)? {
        Some(role) => needs_no_attribute(role, &input.ty, &ours)?,
        None => attr::role(&ours)?,
    };
    match role {
        Role::Context(_) | Role::Completer => {}
        Role::State => check_state(&input.ty)?,
        _ => check_owned(&input.ty)?,
    }
    let name = argument_name(place, input, &role)?;
    Ok(Argument { name, ty: (*input.ty).clone(), role })
}

/// The role of `&WorkContext`, `WorkContext` and `Completer<T>`.
fn of_the_attempt(ty: &Type) -> Result<Option<Role>> {
    let is = |ty: &Type, name: &str| matches!(bare(ty), Type::Path(path) if is_named(&path.path, name));
    match bare(ty) {
        Type::Reference(reference) if is(&reference.elem, "WorkContext") => match &reference.mutability {
            Some(token) => Err(Error::new_spanned(token, "the context is shared: write `&WorkContext`")),
            None => Ok(Some(Role::Context(Hold::Lent))),
        },
        Type::Reference(reference) if is(&reference.elem, "Completer") => Err(Error::new_spanned(
            reference.and_token,
            "the completer is the worker's own, to be handed on: write `Completer<T>` without `&`",
        )),
        _ if is(ty, "WorkContext") => Ok(Some(Role::Context(Hold::Owned))),
        _ if is(ty, "Completer") => {
            check_completed(ty)?;
            Ok(Some(Role::Completer))
        }
        _ => Ok(None),
    }
}

/// Whether an argument of this type comes with the attempt.
pub(crate) fn is_of_the_attempt(ty: &Type) -> bool {
    of_the_attempt(ty).map_or(true, |role| role.is_some())
}

/// What a completer takes has to be storable, and nothing but what is given when all is well.
fn check_completed(completer: &Type) -> Result<()> {
    let Some(output) = completed(completer) else {
        return Err(Error::new_spanned(completer, "a completer is given a value: write its type, `Completer<T>`"));
    };
    check_one_type(&output, "the output")?;
    if let Some(span) = find(output.to_token_stream(), &is_borrow) {
        return Err(Error::new(span, "what a worker gives is stored, so it can't be borrowed: use an owned type"));
    }
    if visible_output(&output).is_some() {
        return Err(Error::new_spanned(
            output,
            "a completer takes what is given when all is well: write `Completer<T>`; `fail(..)` and `settle(..)` say everything else",
        ));
    }
    Ok(())
}

fn needs_no_attribute(role: Role, ty: &Type, ours: &[Attribute]) -> Result<Role> {
    match ours.first() {
        None => Ok(role),
        Some(attr) if attr.path().is_ident("default") || attr.path().is_ident("alias") => {
            Err(attr::only_inputs(ours, &ty.to_token_stream().to_string().replace(' ', "")))
        }
        Some(attr) => {
            let what = if matches!(role, Role::Completer) { "completer" } else { "context" };
            Err(Error::new_spanned(attr, format!("the {what} comes from workman and needs no attribute")))
        }
    }
}

/// Refuses what borrows and what has no type of its own.
pub(crate) fn check_owned(ty: &Type) -> Result<()> {
    check_one_type(ty, "an argument")?;
    if let Type::Reference(reference) = bare(ty) {
        let instead = owned(&reference.elem);
        return Err(Error::new_spanned(
            ty,
            format!("an argument can't borrow, since it is stored until the work runs: use {instead}"),
        ));
    }
    match find(ty.to_token_stream(), &is_borrow) {
        Some(span) => {
            Err(Error::new(span, "an argument can't borrow, since it is stored until the work runs: use an owned type"))
        }
        None => Ok(()),
    }
}

/// State is no input: it is not stored, but each run has one of its own.
fn check_state(ty: &Type) -> Result<()> {
    check_one_type(ty, "a state")?;
    if let Type::Reference(reference) = bare(ty) {
        let owned = owned(&reference.elem);
        return Err(Error::new_spanned(
            ty,
            format!(
                "a state can't be borrowed, since a run may outlive whoever lends: use {owned}, of which each run gets a clone, or an `Arc` of it if it has none"
            ),
        ));
    }
    match find(ty.to_token_stream(), &is_borrow) {
        Some(span) => {
            Err(Error::new(span, "a state can't borrow, since a run may outlive whoever lends: use an owned type"))
        }
        None => Ok(()),
    }
}

/// What to use instead of a reference to this.
fn owned(ty: &Type) -> String {
    match bare(ty) {
        Type::Path(path) if path.path.is_ident("str") => "`String`".into(),
        Type::Path(path) if is_named(&path.path, "Path") => "`PathBuf`".into(),
        Type::Slice(slice) => format!("`Vec<{}>`", slice.elem.to_token_stream()),
        Type::Path(path) => format!("`{}`", path.to_token_stream()),
        _ => "an owned type".into(),
    }
}

fn check_one_type(ty: &Type, what: &str) -> Result<()> {
    if let Some(span) = find(ty.to_token_stream(), &|token| matches!(token, TokenTree::Ident(word) if word == "impl")) {
        return Err(Error::new(
            span,
            format!("{what} of a worker has one type, which is stored: `impl Trait` is none"),
        ));
    }
    match find(ty.to_token_stream(), &|token| matches!(token, TokenTree::Ident(word) if word == "Self")) {
        Some(span) => Err(Error::new(span, "a worker is a free function: here is no `Self`")),
        None => Ok(()),
    }
}

/// The name of an argument. What is not stored needs none.
fn argument_name(place: usize, input: &PatType, role: &Role) -> Result<Ident> {
    match &*input.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Ok(pat.ident.clone()),
        Pat::Wild(_) if role.is_of_the_attempt() || matches!(role, Role::State) => {
            Ok(Ident::new(&format!("_{place}"), Span::mixed_site()))
        }
        pat => {
            Err(Error::new_spanned(pat, "an argument of a worker needs a plain name, under which its value is stored"))
        }
    }
}

fn check_together(arguments: &[Argument]) -> Result<()> {
    let second = |wanted: fn(&Role) -> bool| arguments.iter().filter(move |argument| wanted(&argument.role)).nth(1);
    if let Some(argument) = second(|role| matches!(role, Role::Context(_))) {
        return Err(Error::new_spanned(&argument.ty, "an attempt has one context: ask for `&WorkContext` once"));
    }
    if let Some(argument) = second(|role| matches!(role, Role::Completer)) {
        return Err(Error::new_spanned(&argument.ty, "an attempt ends once: ask for one `Completer<T>`"));
    }
    if let Some(argument) = second(Role::takes) {
        return Err(Error::new_spanned(
            &argument.name,
            "a worker takes from its prerequisites with one argument: a list or a tuple with `#[prerequisites]` takes several outputs",
        ));
    }
    let mut names: Vec<String> = arguments.iter().map(|argument| argument.name.unraw().to_string()).collect();
    for argument in arguments {
        let Role::Input { aliases, .. } = &argument.role else { continue };
        for alias in aliases {
            if names.contains(&alias.value()) {
                return Err(Error::new(
                    alias.span(),
                    format!("\"{}\" is the name or alias of an argument already", alias.value()),
                ));
            }
            names.push(alias.value());
        }
    }
    Ok(())
}

/// What the function returns, read from the text of its signature, or what its completer is given.
fn answer(sig: &Signature, options: &Options, arguments: &[Argument]) -> Result<Answer> {
    let returned: Type = match &sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    let item = stream::item(&returned)?;
    let completer = arguments.iter().find(|argument| matches!(argument.role, Role::Completer));
    let way = match (completer, &item) {
        (Some(completer), _) => {
            check_beside_completer(&returned, completer, item.is_some(), options)?;
            Way::Completed
        }
        (None, Some(_)) => {
            check_beside_stream(arguments)?;
            Way::Streamed
        }
        (None, None) => Way::Returned,
    };
    let answered = item.unwrap_or(returned);
    check_no_future(&answered)?;
    check_one_type(&answered, "the answer")?;
    let span = if matches!(sig.output, ReturnType::Default) { sig.ident.span() } else { answered.span() };
    let failure = arguments_of(&answered, "Result").and_then(|types| types.into_iter().nth(1));
    let error_span = failure.map_or(span, |ty| ty.span());
    if let (Some(permanent), None, None) = (&options.permanent, arguments_of(&answered, "Result"), &options.output) {
        return Err(Error::new_spanned(permanent, "`permanent` sorts errors, and this worker returns no `Result`"));
    }
    let given = completer.and_then(|completer| completed(&completer.ty));
    let span = given.as_ref().map_or(span, Spanned::span);
    let output = given
        .or_else(|| options.output.clone())
        .or_else(|| visible_output(&answered))
        .unwrap_or_else(|| answered.clone());
    match bare(&output) {
        Type::Never(never) => Err(Error::new_spanned(never, "a worker has to end: it can't return `!`")),
        Type::Reference(reference) => {
            let instead = owned(&reference.elem);
            Err(Error::new_spanned(
                reference,
                format!("what a worker gives is stored, so it can't be borrowed: use {instead}"),
            ))
        }
        _ => Ok(Answer { output, answered, span, error_span, way }),
    }
}

/// A future that is returned is what an `async fn` has anyway.
fn check_no_future(answered: &Type) -> Result<()> {
    let is_future =
        |bound: &TypeParamBound| matches!(bound, TypeParamBound::Trait(bound) if is_named(&bound.path, "Future"));
    match bare(answered) {
        Type::ImplTrait(opaque) if opaque.bounds.iter().any(is_future) => Err(Error::new_spanned(
            answered,
            "a worker that waits is an `async fn`: write that, and return what the future gives",
        )),
        _ => Ok(()),
    }
}

/// Beside a completer nothing else may give the output.
fn check_beside_completer(returned: &Type, completer: &Argument, streams: bool, options: &Options) -> Result<()> {
    if let Some(output) = &options.output {
        return Err(Error::new_spanned(output, "the `Completer<T>` says already what this worker gives"));
    }
    if streams {
        return Err(Error::new_spanned(
            &completer.ty,
            "a worker gives its output to a completer or as the last item of a stream, not both",
        ));
    }
    let is_unit = |ty: &Type| matches!(bare(ty), Type::Tuple(tuple) if tuple.elems.is_empty());
    let in_result = arguments_of(returned, "Result").and_then(|types| types.into_iter().next());
    if is_unit(&in_result.unwrap_or_else(|| returned.clone())) {
        return Ok(());
    }
    Err(Error::new_spanned(
        returned,
        "what this worker gives goes to its completer, so the function returns `()` or `Result<(), E>`",
    ))
}

/// A stream lives longer than the call that returns it.
fn check_beside_stream(arguments: &[Argument]) -> Result<()> {
    match arguments.iter().find(|argument| matches!(argument.role, Role::Context(Hold::Lent))) {
        Some(context) => Err(Error::new_spanned(
            &context.ty,
            "a stream outlives the call that returns it, so it can't borrow the context: write `WorkContext` without `&`, which the stream can keep",
        )),
        None => Ok(()),
    }
}

fn check_names(function: &Ident, options: &Options) -> Result<()> {
    let own = options.name.as_ref().map_or_else(|| function.unraw().to_string(), LitStr::value);
    let mut names: Vec<String> = Vec::new();
    if let Some(name) = &options.name {
        check_name(name)?;
    }
    if own.len() > LONGEST_NAME {
        return Err(Error::new(
            function.span(),
            format!("a worker's name has {LONGEST_NAME} bytes at the most: give it one with `name = \"..\"`"),
        ));
    }
    names.push(own);
    for alias in &options.aliases {
        check_name(alias)?;
        if names.contains(&alias.value()) {
            return Err(Error::new(alias.span(), "this is a name of the worker already"));
        }
        names.push(alias.value());
    }
    Ok(())
}

fn check_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    if text.is_empty() {
        Err(Error::new(name.span(), "a worker's name can't be empty"))
    } else if text.len() > LONGEST_NAME {
        Err(Error::new(name.span(), format!("this name has {} bytes, the limit is {LONGEST_NAME}", text.len())))
    } else if let Some(control) = text.chars().find(|c| c.is_control()) {
        Err(Error::new(name.span(), format!("a worker's name can't have the control character {control:?}")))
    } else {
        Ok(())
    }
}
