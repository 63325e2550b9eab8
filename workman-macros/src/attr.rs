//! The grammar of attributes: the options of `#[worker(..)]`, and the attributes of arguments.

use proc_macro2::{TokenStream, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitStr, Meta, Path, Result, Token, UnOp, bracketed};

use crate::ast::{Attempts, Concurrency, DefaultValue, OnDeath, Options, Role};

const OPTIONS: &str = "aliases, backoff, backoff_fn, concurrency, constraints, crate, handle, limit_key, max_attempts, name, on_death, output, permanent, priority, retry, timeout";
const LATER: [&str; 2] = ["version", "upgrade"];

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Options::default();
        let mut seen: Vec<Ident> = Vec::new();
        if let Some(TokenTree::Literal(value)) = tokens.clone().into_iter().next() {
            return Err(Error::new(
                value.span(),
                format!("an option has a name: write `name = {value}`, if that is meant"),
            ));
        }
        syn::meta::parser(|meta| {
            let name = meta.path.require_ident().cloned().map_err(|_| unknown(&meta))?;
            if seen.contains(&name) {
                return Err(Error::new(name.span(), format!("the option `{name}` is given twice")));
            }
            options.set(&name.to_string(), &meta)?;
            seen.push(name);
            Ok(())
        })
        .parse2(tokens)?;
        Ok(options)
    }

    fn set(&mut self, name: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match name {
            "name" => self.name = Some(value(meta, "`name = \"..\"`")?),
            "aliases" => self.aliases = value::<Strings>(meta, "`aliases = [\"..\"]`")?.0.into_iter().collect(),
            "handle" => self.handle = Some(value(meta, "`handle = TypeName`")?),
            "output" => self.output = Some(value(meta, "`output = Type`")?),
            "crate" => self.krate = Some(value::<CratePath>(meta, "`crate = path`")?.0),
            "max_attempts" | "retry" if self.attempts.is_some() => {
                return Err(meta.error("`max_attempts` and `retry` say the same thing: give one of them"));
            }
            "max_attempts" => self.attempts = Some(value(meta, "`max_attempts = 5` or `max_attempts = unlimited`")?),
            "retry" => self.attempts = Some(value::<Never>(meta, "`retry = never`").map(|Never| Attempts::One)?),
            "permanent" => self.permanent = Some(value(meta, "`permanent = Error::is_permanent`")?),
            "on_death" => self.on_death = Some(value(meta, "`on_death = fail` or `on_death = park`")?),
            "backoff" => self.backoff = Some(no_literal(meta, "a `Backoff`", "`backoff = Backoff::linear(..)`")?),
            "backoff_fn" => self.backoff_fn = Some(value(meta, "`backoff_fn = my_backoff`")?),
            "timeout" => self.timeout = Some(no_literal(meta, "a `Duration`", "`timeout = Duration::from_secs(60)`")?),
            "priority" => self.priority = Some(value(meta, "`priority = 5`")?),
            "constraints" => {
                self.constraints = Some(no_literal(meta, "`Constraints`", "`constraints = Constraints::new()..`")?);
            }
            "concurrency" => self.concurrency = Some(value(meta, "`concurrency = 2`")?),
            "limit_key" => self.limit_key = Some(value(meta, "`limit_key = \"customer/{customer}\"`")?),
            later if LATER.contains(&later) => {
                return Err(meta.error(format!(
                    "the option `{later}` is not in this version of workman, it comes later; there are: {OPTIONS}"
                )));
            }
            _ => return Err(unknown(meta)),
        }
        Ok(())
    }
}

fn unknown(meta: &ParseNestedMeta<'_>) -> Error {
    meta.error(format!("no such option; there are: {OPTIONS}"))
}

/// The value behind `=`. What syn says of a wrong one is short, so an example is added; our own words need none.
fn value<T: Parse>(meta: &ParseNestedMeta<'_>, example: &str) -> Result<T> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        return Err(meta.error(format!("a value is missing; write {example}")));
    }
    meta.value()?.parse().map_err(|error| match error.to_string() {
        said if said.contains('`') => error,
        said => Error::new(error.span(), format!("{said}; write {example}")),
    })
}

/// A value that no literal can be: it has a unit, or parts.
fn no_literal(meta: &ParseNestedMeta<'_>, what: &str, example: &str) -> Result<Expr> {
    match value(meta, example)? {
        Expr::Lit(literal) => Err(Error::new_spanned(literal, format!("expected {what}; write {example}"))),
        value => Ok(value),
    }
}

/// `["..", ".."]`.
struct Strings(Punctuated<LitStr, Token![,]>);

impl Parse for Strings {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let content;
        bracketed!(content in input);
        Punctuated::parse_terminated(&content).map(Strings)
    }
}

/// `path` or `"path"`.
struct CratePath(Path);

impl Parse for CratePath {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            return input.parse::<LitStr>()?.parse_with(Path::parse_mod_style).map(CratePath);
        }
        input.call(Path::parse_mod_style).map(CratePath)
    }
}

/// `never`.
struct Never;

impl Parse for Never {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        const WAYS: &str =
            "failed work is tried again by itself; `retry = never` forbids it, and `max_attempts = 5` says how often";
        let value: Expr = input.parse()?;
        match &value {
            Expr::Path(path) if path.path.is_ident("never") => Ok(Never),
            _ => Err(Error::new_spanned(value, WAYS)),
        }
    }
}

impl Parse for Attempts {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attempts: Expr = input.parse()?;
        match &attempts {
            Expr::Path(path) if path.path.is_ident("unlimited") => Ok(Attempts::Unlimited),
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if number.base10_digits() == "0" => Err(Error::new(
                number.span(),
                "work that may be tried 0 times never runs; `max_attempts = 1` tries once and never again",
            )),
            Expr::Lit(ExprLit { lit, .. }) if !matches!(lit, Lit::Int(_)) => {
                Err(Error::new(lit.span(), "expected a number or `unlimited`"))
            }
            Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
                Err(Error::new_spanned(attempts, "expected a number or `unlimited`"))
            }
            _ => Ok(Attempts::AtMost(attempts)),
        }
    }
}

impl Parse for Concurrency {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let count: Expr = input.parse()?;
        match &count {
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if number.base10_digits() == "0" => Err(Error::new(
                number.span(),
                "0 at once would let nothing run, ever; pause it instead: `manager.pause(Gate::worker::<..>())`",
            )),
            Expr::Lit(ExprLit { lit: Lit::Int(_), .. }) => Ok(Concurrency(count)),
            Expr::Lit(_) | Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
                Err(Error::new_spanned(count, "expected a number"))
            }
            _ => Ok(Concurrency(count)),
        }
    }
}

impl Parse for OnDeath {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let word: Ident = input.parse()?;
        match word.to_string().as_str() {
            "fail" => Ok(OnDeath::Fail),
            "park" => Ok(OnDeath::Park),
            _ => Err(Error::new(word.span(), "expected `fail` or `park`")),
        }
    }
}

/// Takes our attributes off an argument; rustc would not know them.
pub(crate) fn take_ours(attrs: &mut Vec<Attribute>) -> Vec<Attribute> {
    attrs.extract_if(.., |attr| OURS.iter().any(|ours| attr.path().is_ident(ours))).collect()
}

const OURS: [&str; 5] = ["default", "alias", "state", "prerequisite", "prerequisites"];

/// The role that these attributes, all ours, give to an argument that is no context.
pub(crate) fn role(attrs: &[Attribute]) -> Result<Role> {
    let mut source: Option<(Role, &Attribute)> = None;
    let mut default: Option<DefaultValue> = None;
    let mut aliases: Vec<LitStr> = Vec::new();
    for attr in attrs {
        let role = match attr.path().require_ident()?.to_string().as_str() {
            "alias" => {
                aliases.extend(alias(attr)?);
                continue;
            }
            "default" if default.is_some() => return Err(Error::new_spanned(attr, "`#[default]` is given twice")),
            "default" => {
                default = Some(default_value(attr)?);
                continue;
            }
            "state" => Role::State,
            "prerequisite" => Role::Prerequisite,
            _ => Role::Prerequisites,
        };
        if !matches!(attr.meta, Meta::Path(_)) {
            let ours = name(attr);
            return Err(Error::new_spanned(
                &attr.meta,
                format!("`#[{ours}]` stands alone: the type of the argument says what is meant"),
            ));
        }
        if let Some((_, first)) = &source {
            let (first, second) = (name(first), name(attr));
            return Err(Error::new_spanned(
                attr,
                format!("an argument has one source: `#[{first}]` or `#[{second}]`, not both"),
            ));
        }
        source = Some((role, attr));
    }
    match source {
        Some((_, attr)) if default.is_some() || !aliases.is_empty() => Err(only_inputs(attrs, &name(attr))),
        Some((role, _)) => Ok(role),
        None => Ok(Role::Input { default, aliases }),
    }
}

/// The error for `#[default]` or `#[alias]` on what is no input.
pub(crate) fn only_inputs(attrs: &[Attribute], source: &str) -> Error {
    let attr = attrs.iter().find(|attr| attr.path().is_ident("default") || attr.path().is_ident("alias"));
    let ours = attr.map_or_else(String::new, name);
    Error::new_spanned(attr, format!("`#[{ours}]` is for inputs, which are stored; this argument is `{source}`"))
}

fn name(attr: &Attribute) -> String {
    attr.path().get_ident().map(ToString::to_string).unwrap_or_default()
}

/// `#[alias("old")]`, one or several.
fn alias(attr: &Attribute) -> Result<Punctuated<LitStr, Token![,]>> {
    match &attr.meta {
        Meta::List(list) if !list.tokens.is_empty() => list.parse_args_with(Punctuated::parse_terminated),
        _ => Err(Error::new_spanned(attr, "an alias is a name that older builds stored: `#[alias(\"old_name\")]`")),
    }
}

/// `#[default]` or `#[default = expr]`.
fn default_value(attr: &Attribute) -> Result<DefaultValue> {
    match &attr.meta {
        Meta::Path(_) => Ok(DefaultValue::OfItsType),
        Meta::NameValue(pair) => Ok(DefaultValue::Expr(Box::new(pair.value.clone()))),
        Meta::List(_) => Err(Error::new_spanned(attr, "write `#[default]` or `#[default = value]`")),
    }
}
