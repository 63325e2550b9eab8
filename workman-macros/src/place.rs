//! Whether a function stands in an `impl` or a trait. An attribute is not told what surrounds it; what it adds would be four errors of
//! rustc there, none of which says what to do. So the file is looked into, where the attribute is indented at all.

use std::fs;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Error, Ident, Result};

use crate::ast::Function;

/// Refuses a function in an `impl` or a trait, as far as that can be seen. What can't be read is no reason to refuse anything.
pub(crate) fn check(function: &Function) -> Result<()> {
    if function.sig.receiver().is_some() || !is_associated(&function.sig.ident).unwrap_or(false) {
        return Ok(());
    }
    Err(Error::new(
        function.sig.ident.span(),
        "a worker is a free function, since its work is stored under a name of its own: move it out of the `impl` or the trait",
    ))
}

fn is_associated(function: &Ident) -> Option<bool> {
    let here = proc_macro::Span::call_site();
    if here.column() <= 1 {
        return Some(false);
    }
    let text = fs::read_to_string(here.local_file()?).ok()?;
    let tokens = TokenStream::from_str(&text).ok()?;
    let mut seen = Seen::default();
    seen.look(tokens, function, Around::Module);
    Some(seen.associated && !seen.free)
}

/// What a list of items is in.
#[derive(Clone, Copy)]
enum Around {
    Module,
    Impl,
}

/// Where workers of this name stand in a file.
#[derive(Default)]
struct Seen {
    free: bool,
    associated: bool,
}

impl Seen {
    fn look(&mut self, tokens: TokenStream, function: &Ident, around: Around) {
        // The words of an item up to its body, and whether one of its attributes says `worker`.
        let (mut words, mut is_worker) = (Vec::<String>::new(), false);
        let mut after_hash = false;
        for token in tokens {
            let hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
            match token {
                TokenTree::Ident(word) => {
                    if is_worker && word == *function && words.last().is_some_and(|last| last == "fn") {
                        match around {
                            Around::Module => self.free = true,
                            Around::Impl => self.associated = true,
                        }
                    }
                    words.push(word.to_string());
                }
                TokenTree::Group(group) if after_hash => is_worker |= says_worker(group.stream()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let first =
                        words.iter().find(|word| !matches!(word.as_str(), "pub" | "crate" | "unsafe" | "const"));
                    let inside = match first.map(String::as_str) {
                        Some("impl" | "trait") => Around::Impl,
                        _ => Around::Module,
                    };
                    self.look(group.stream(), function, inside);
                    (words, is_worker) = (Vec::new(), false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => (words, is_worker) = (Vec::new(), false),
                _ => {}
            }
            after_hash = hash;
        }
    }
}

/// Whether this is the inside of `#[worker]` or `#[workman_core::worker(..)]`.
fn says_worker(attribute: TokenStream) -> bool {
    attribute.into_iter().any(|token| matches!(token, TokenTree::Ident(word) if word == "worker"))
}
