//! The text of `limit_key = "customer/{customer}"`: which inputs it names, and the code that fills it in.
//!
//! The key is made when a request is, from its inputs: what a prerequisite leaves and what the application has are not there yet.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::{Error, Ident, LitStr, Path, Result};

use crate::ast::{Argument, Piece, Role};

/// The longest key that every manager takes unless told otherwise: `Limits::tag`.
const LONGEST_KEY: usize = 128;

/// The parts of the key, if it names nothing but inputs.
pub(crate) fn pieces(template: &LitStr, arguments: &[Argument]) -> Result<Vec<Piece>> {
    let wrong = |message: String| Error::new(template.span(), message);
    let pieces = split(&template.value()).map_err(wrong)?;
    let pieces: Vec<Piece> = pieces
        .into_iter()
        .map(|piece| match piece {
            Written::Text(text) => Ok(Piece::Text(text)),
            Written::Name(name) => place(&name, arguments).map(Piece::Input).map_err(wrong),
        })
        .collect::<Result<_>>()?;
    let texts = || pieces.iter().filter_map(|piece| if let Piece::Text(text) = piece { Some(text) } else { None });
    let length: usize = texts().map(String::len).sum();
    if pieces.is_empty() {
        return Err(wrong("a limit key can't be empty; leave the option out, or say what its works share".into()));
    }
    if length > LONGEST_KEY {
        return Err(wrong(format!(
            "the text of this key has {length} bytes, the limit for all of it is {LONGEST_KEY}"
        )));
    }
    match texts().flat_map(|text| text.chars()).find(|c| c.is_control()) {
        Some(control) => Err(wrong(format!("a limit key can't have the control character {control:?}"))),
        None => Ok(pieces),
    }
}

/// Where the input of this name stands.
fn place(name: &str, arguments: &[Argument]) -> std::result::Result<usize, String> {
    let found = arguments.iter().enumerate().find(|(_, argument)| argument.name.unraw() == name);
    let what = match found {
        Some((place, Argument { role: Role::Input { .. }, .. })) => return Ok(place),
        Some((_, Argument { role, .. })) => format!("`{name}` is {}", described(role)),
        None => format!("no argument is named `{name}`"),
    };
    let inputs = arguments.iter().filter(|argument| matches!(argument.role, Role::Input { .. }));
    let inputs: Vec<String> = inputs.map(|input| format!("`{}`", input.name.unraw())).collect();
    let there_are = if inputs.is_empty() { "this worker has none".into() } else { inputs.join(", ") };
    Err(format!("{what}, and a limit key is made of inputs, since it is stored with the request; inputs: {there_are}"))
}

fn described(role: &Role) -> &'static str {
    match role {
        Role::Context(_) => "the context of an attempt",
        Role::Completer => "the completer of an attempt",
        Role::State => "state of the application",
        Role::Prerequisite | Role::Prerequisites => "what prerequisites leave",
        Role::Input { .. } => "an input",
    }
}

/// A part as it is written.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Text(String),
    Name(String),
}

/// Takes the text apart, with the braces of `format!`.
fn split(template: &str) -> std::result::Result<Vec<Written>, String> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), template);
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let name = if brace == "{" { after.split_once('}') } else { None };
        let Some((name, after)) = name else {
            return Err(format!(
                "a `{brace}` stands alone; an input is `{{name}}`, and a brace itself is `{brace}{brace}`"
            ));
        };
        if name.is_empty() {
            return Err("`{}` names no input; an input is `{name}`, and braces themselves are `{{` and `}}`".into());
        }
        if !is_name(name) {
            return Err(format!(
                "between braces stands the name of an input and nothing else, and not `{name}`; braces themselves are `{{{{` and `}}}}`"
            ));
        }
        if !text.is_empty() {
            pieces.push(Written::Text(std::mem::take(&mut text)));
        }
        pieces.push(Written::Name(name.into()));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Written::Text(text));
    }
    Ok(pieces)
}

/// Whether it is a name, which may be a word of Rust: of an argument that is written `r#type`.
fn is_name(text: &str) -> bool {
    !text.contains('#') && Ident::parse_any.parse_str(text).is_ok_and(|word| word == text)
}

/// One constant for each input that the key names: what demands that it has a text.
pub(crate) fn constants(key: &[Piece], arguments: &[Argument], p: &Path) -> TokenStream {
    let named = arguments.iter().enumerate().filter(|(place, _)| key.contains(&Piece::Input(*place)));
    named
        .map(|(place, Argument { name, ty, .. })| {
            let constant = constant(place);
            let name = LitStr::new(&name.unraw().to_string(), name.span());
            quote!(const #constant: #p::KeyPart<#ty> = #p::key_part::<#ty, _>(#name);)
        })
        .collect()
}

/// Gives the key to the arguments of a request.
pub(crate) fn fill(key: &[Piece], arguments: &[Argument], p: &Path) -> Option<TokenStream> {
    let pieces = key.iter().map(|piece| match piece {
        Piece::Text(text) => quote!(.text(#text)),
        Piece::Input(place) => {
            let (constant, name) = (constant(*place), &arguments[*place].name);
            quote!(.part(&#constant, &#name))
        }
    });
    (!key.is_empty()).then(|| quote!(.limit_key(#p::Key::new() #(#pieces)*)))
}

fn constant(place: usize) -> Ident {
    format_ident!("__WORKMAN_KEY_{place}", span = Span::call_site())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(template: &str) -> std::result::Result<Vec<String>, String> {
        let shown = |piece| match piece {
            Written::Text(text) => text,
            Written::Name(name) => format!("<{name}>"),
        };
        split(template).map(|pieces| pieces.into_iter().map(shown).collect())
    }

    #[test]
    fn a_template_is_text_and_names_with_the_braces_of_format() {
        let is = |template, wanted: &[&str]| assert_eq!(parts(template).unwrap_or_default(), wanted, "{template}");
        is("", &[]);
        is("all", &["all"]);
        is("{a}", &["<a>"]);
        is("customer/{a}{b}-{a}", &["customer/", "<a>", "<b>", "-", "<a>"]);
        is("{{{a}}}", &["{", "<a>", "}"]);
        is("{{a}}", &["{a}"]);
        is("ü{größe}ß", &["ü", "<größe>", "ß"]);
        is("{type}", &["<type>"]);
    }

    #[test]
    fn nothing_but_a_name_stands_between_braces() {
        for template in
            ["{", "}", "{a", "a}", "{a}}", "{{a}", "{}", "{0}", "{a:?}", "{ a}", "{a.b}", "{r#type}", "{{{}"]
        {
            assert!(parts(template).is_err(), "{template}");
        }
    }
}
