//! What the user wrote, typed: the function ([`Function`]), the options of its attribute ([`Options`]), and both together once
//! they obey all rules ([`Worker`]).

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Expr, Ident, LitStr, Path, Result, Signature, Token, Type, Visibility};

/// A function whose body is not looked into.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    body: TokenTree,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        let sig = input.parse::<Signature>().map_err(|error| {
            Error::new(error.span(), format!("`#[worker]` makes a worker of a function, and this is none: {error}"))
        })?;
        if input.peek(Token![;]) {
            return Err(input.error("a worker needs a body: a function that a trait only declares can't be one"));
        }
        Ok(Function { attrs, vis, sig, body: input.parse()? })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attrs);
        self.vis.to_tokens(tokens);
        self.sig.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

/// The options of `#[worker(..)]`, each as it was written.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) handle: Option<Ident>,
    pub(crate) output: Option<Type>,
    pub(crate) krate: Option<Path>,
    pub(crate) attempts: Option<Attempts>,
    pub(crate) permanent: Option<Path>,
    pub(crate) on_death: Option<OnDeath>,
    pub(crate) backoff: Option<Expr>,
    pub(crate) backoff_fn: Option<Path>,
    pub(crate) timeout: Option<Expr>,
    pub(crate) priority: Option<Expr>,
    pub(crate) constraints: Option<Expr>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) limit_key: Option<LitStr>,
}

/// After how many failed attempts work fails for good.
pub(crate) enum Attempts {
    Unlimited,
    AtMost(Expr),
    /// `retry = never`.
    One,
}

/// How many works run at once.
pub(crate) struct Concurrency(pub(crate) Expr);

/// What a death of the process does.
pub(crate) enum OnDeath {
    Fail,
    Park,
}

/// A worker that obeys all rules.
pub(crate) struct Worker<'a> {
    /// The function without our argument attributes.
    pub(crate) function: Function,
    pub(crate) options: &'a Options,
    /// In the order of the function.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) answer: Answer,
    /// The parts of the limit key; none if there is no key.
    pub(crate) limit_key: Vec<Piece>,
}

/// One argument of the function.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) role: Role,
}

/// Where the value of an argument comes from.
pub(crate) enum Role {
    /// The attempt.
    Context(Hold),
    /// The attempt too: it says how the attempt ends.
    Completer,
    /// The application.
    State,
    /// The one prerequisite.
    Prerequisite,
    /// All prerequisites.
    Prerequisites,
    /// The request.
    Input { default: Option<DefaultValue>, aliases: Vec<LitStr> },
}

/// How a worker has the context.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    /// `&WorkContext`.
    Lent,
    /// `WorkContext`.
    Owned,
}

/// What an input is that an older build did not store.
pub(crate) enum DefaultValue {
    /// `Default::default()`.
    OfItsType,
    /// This.
    Expr(Box<Expr>),
}

/// A part of a limit key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it is written.
    Text(String),
    /// What the input at this place of the function says.
    Input(usize),
}

/// What the function returns.
pub(crate) struct Answer {
    /// What it gives when all is well.
    pub(crate) output: Type,
    /// What it returns, or what its stream gives.
    pub(crate) answered: Type,
    /// Where errors about the return type belong.
    pub(crate) span: Span,
    /// Where errors about the error type belong.
    pub(crate) error_span: Span,
    /// How the output comes.
    pub(crate) way: Way,
}

/// How the output of a worker comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is returned.
    Returned,
    /// A completer is given it.
    Completed,
    /// It is the last item of a stream.
    Streamed,
}

impl Worker<'_> {
    /// The names of requests' inputs with their types.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(|argument| matches!(argument.role, Role::Input { .. }))
    }

    /// Whether it is polled on the runtime.
    pub(crate) fn is_async(&self) -> bool {
        self.function.sig.asyncness.is_some() || self.answer.way != Way::Returned
    }

    /// The argument that takes from prerequisites.
    pub(crate) fn taker(&self) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.role.takes())
    }
}

impl Role {
    /// Whether its value is of this attempt alone: neither stored nor the application's.
    pub(crate) fn is_of_the_attempt(&self) -> bool {
        matches!(self, Role::Context(_) | Role::Completer)
    }

    /// Whether it is from prerequisites.
    pub(crate) fn takes(&self) -> bool {
        matches!(self, Role::Prerequisite | Role::Prerequisites)
    }
}
