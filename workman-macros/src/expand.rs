//! The code that is added to a worker's function: a type of its name, its definition, and its registration.
//!
//! Generated code calls `workman_core::__private` and nothing else. Its own names start with `__WORKMAN`, since items have
//! no hygiene; its local variables are hygienic. Spans are chosen so that each error of a user's type is shown at that type.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Ident, LitStr, Path, Type};

use crate::ast::{Argument, Attempts, Concurrency, DefaultValue, Hold, OnDeath, Role, Way, Worker};
use crate::parts::{self, getter, lints, located, private};
use crate::template;

pub(crate) fn expand(worker: &Worker<'_>) -> TokenStream {
    let expansion = Expansion::new(worker);
    let function = &worker.function;
    let cfgs: Vec<_> = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
    let lints = lints(worker);
    let handle = expansion.handle();
    let constants = expansion.constants();
    let definition = expansion.definition();
    let methods = expansion.methods();
    quote! {
        #function

        #(#cfgs)*
        #handle

        #(#cfgs)*
        #[allow(#(#lints),*)]
        const _: () = {
            #constants
            #definition
            #methods
        };
    }
}

struct Expansion<'a> {
    worker: &'a Worker<'a>,
    /// The private room.
    p: Path,
    /// The function.
    name: &'a Ident,
    /// The type.
    handle: &'a Ident,
    /// The name under which work is stored.
    stored: LitStr,
    /// What the worker gives.
    output: &'a Type,
}

impl<'a> Expansion<'a> {
    fn new(worker: &'a Worker<'a>) -> Self {
        let name = &worker.function.sig.ident;
        let options = worker.options;
        let stored = options.name.clone().unwrap_or_else(|| LitStr::new(&name.unraw().to_string(), name.span()));
        Expansion {
            worker,
            p: private(options.krate.as_ref()),
            name,
            handle: options.handle.as_ref().unwrap_or(name),
            stored,
            output: &worker.answer.output,
        }
    }

    fn handle(&self) -> TokenStream {
        parts::handle(self.name, &self.worker.function.vis, self.handle)
    }

    /// The arguments that have a constant, with their constants.
    fn parts(&self) -> impl Iterator<Item = (&'a Argument, Ident)> {
        let arguments = self.worker.arguments.iter().enumerate();
        let apart = arguments.filter(|(_, argument)| !argument.role.is_of_the_attempt());
        apart.map(|(place, argument)| (argument, format_ident!("__WORKMAN_ARGUMENT_{place}")))
    }

    /// One constant for each argument and one for the output: the only code that demands anything of the user's types.
    fn constants(&self) -> TokenStream {
        let (p, output, stored) = (&self.p, self.output, &self.stored);
        let arguments = self.parts().map(|(argument, constant)| self.constant(argument, &constant));
        let key = template::constants(&self.worker.limit_key, &self.worker.arguments, p);
        let permanent = self.permanent();
        let span = Span::mixed_site().located_at(self.worker.answer.span);
        let here = located(p, span);
        let refuse = quote_spanned! {span=>
            #here::refuse_hidden_answer(#p::Probe::<#output>::HIDES_ANSWER, #p::Probe::<#output>::HIDES_STREAM)
        };
        quote! {
            #(#arguments)*
            #key
            #permanent

            const __WORKMAN_OUTPUT: #p::Output<#output> = {
                use #p::Visible as _;
                #refuse;
                #p::output::<#output, { #p::Probe::<#output>::HIDES_ANSWER }, _>(#stored)
            };
        }
    }

    fn constant(&self, argument: &Argument, constant: &Ident) -> TokenStream {
        let (p, ty) = (&self.p, &argument.ty);
        let name = LitStr::new(&argument.name.unraw().to_string(), argument.name.span());
        match &argument.role {
            Role::Context(_) | Role::Completer => TokenStream::new(),
            Role::State => quote!(const #constant: #p::State<#ty> = #p::state::<#ty, _>();),
            Role::Prerequisite => {
                quote!(const #constant: #p::Prerequisite<#ty> = #p::prerequisite::<#ty, _>(#name);)
            }
            Role::Prerequisites => {
                quote!(const #constant: #p::Prerequisite<#ty> = #p::prerequisites::<#ty, _>(#name);)
            }
            Role::Input { default, aliases } => {
                let default = default.as_ref().map(|default| match default {
                    DefaultValue::OfItsType => quote!(.default(<#ty as #p::Default>::default)),
                    DefaultValue::Expr(value) => quote!(.default(|| #value)),
                });
                let aliases = (!aliases.is_empty()).then(|| quote!(.aliases(&[#(#aliases),*])));
                quote!(const #constant: #p::Argument<#ty> = #p::argument::<#ty, _>(#name) #aliases #default;)
            }
        }
    }

    /// What workman knows about the worker, and its registration.
    fn definition(&self) -> TokenStream {
        let (p, handle, output, stored) = (&self.p, self.handle, self.output, &self.stored);
        let aliases = &self.worker.options.aliases;
        let kind = if self.worker.is_async() { quote!(Async) } else { quote!(Blocking) };
        let taker = self.parts().find(|(argument, _)| argument.role.takes());
        let takes = taker.map_or_else(|| quote!(#p::InputShape::Nothing), |(_, constant)| quote!(#constant.shape()));
        let states = self.parts().filter(|(argument, _)| matches!(argument.role, Role::State));
        let states = states.map(|(_, constant)| quote!(#constant.key()));
        let defaults = self.defaults();
        let start = self.start();
        let reads_input = self.reads_input();
        let is_permanent = self.is_permanent();
        quote! {
            static __WORKMAN_DEF: #p::WorkerDef = #p::WorkerDef {
                name: #stored,
                aliases: &[#(#aliases),*],
                location: #p::concat!(#p::file!(), ":", #p::line!()),
                kind: #p::WorkerKind::#kind,
                takes: #takes,
                defaults: #defaults,
                states: || #p::keys([#(#states),*]),
                start: #start,
                reads_input: #reads_input,
                reads_output: |output| __WORKMAN_OUTPUT.read_back(output),
                trials: #p::Trials::new(),
            };

            impl #p::Worker for #handle {
                type Output = #output;
                const DEF: &'static #p::WorkerDef = &__WORKMAN_DEF;

                #is_permanent
            }

            #p::submit! { #p::Linked(&__WORKMAN_DEF) }
        }
    }

    /// The function of `permanent = ..`, where its type is asked for, and nowhere else.
    fn permanent(&self) -> Option<TokenStream> {
        let (p, permanent) = (&self.p, self.worker.options.permanent.as_ref()?);
        let answered = &self.worker.answer.answered;
        Some(quote!(const __WORKMAN_PERMANENT: fn(&<#answered as #p::FailsWith>::Error) -> #p::bool = #permanent;))
    }

    /// Asks that function about an error that is given in place of the worker's own.
    fn is_permanent(&self) -> Option<TokenStream> {
        self.worker.options.permanent.as_ref()?;
        let (p, error) = (&self.p, Ident::new("error", Span::mixed_site()));
        Some(quote! {
            fn is_permanent(#error: &#p::WorkError) -> #p::bool {
                #[allow(unused_imports)]
                use #p::AsksOthers as _;
                #p::sorter(__WORKMAN_PERMANENT).asks(#error)
            }
        })
    }

    fn defaults(&self) -> TokenStream {
        let (p, options) = (&self.p, self.worker.options);
        let attempts = options.attempts.as_ref().map(|attempts| match attempts {
            Attempts::Unlimited => quote!(max_attempts: #p::None,),
            Attempts::One => quote!(max_attempts: #p::Some(1),),
            Attempts::AtMost(number) => quote!(max_attempts: #p::Some(#number),),
        });
        let on_death = options.on_death.as_ref().map(|on_death| match on_death {
            OnDeath::Fail => quote!(on_death: #p::OnDeath::Fail,),
            OnDeath::Park => quote!(on_death: #p::OnDeath::Park,),
        });
        let backoff = options.backoff.as_ref().map(|backoff| quote!(backoff: #backoff,));
        let backoff_fn = options.backoff_fn.as_ref().map(|function| quote!(backoff_fn: #p::Some(#function),));
        let timeout = options.timeout.as_ref().map(|timeout| quote!(timeout: #p::Some(#timeout),));
        let priority = options.priority.as_ref().map(|priority| quote!(priority: #priority,));
        let constraints = options.constraints.as_ref().map(|constraints| quote!(constraints: #constraints,));
        let concurrency = options.concurrency.as_ref().map(|Concurrency(count)| {
            let span = Span::mixed_site().located_at(count.span());
            let here = located(p, span);
            let at_once = quote_spanned!(span=> #here::at_once(#count));
            quote!(concurrency: #p::Some(#at_once),)
        });
        let given = [attempts, on_death, backoff, backoff_fn, timeout, priority, constraints, concurrency];
        let rest = given.iter().any(Option::is_none).then(|| quote!(..#p::DEFAULTS));
        quote!(#p::Defaults { #(#given)* #rest })
    }

    /// Reads back the arguments that a request has just encoded.
    fn reads_input(&self) -> TokenStream {
        let p = &self.p;
        let [input, fresh] = ["input", "fresh"].map(|name| Ident::new(name, Span::mixed_site()));
        let stored = self.parts().filter(|(argument, _)| !matches!(argument.role, Role::State));
        let checks: Vec<_> = stored
            .map(|(argument, constant)| {
                let getter = Ident::new(getter(&argument.role), Span::mixed_site());
                quote!(#fresh.#getter(&#constant)?;)
            })
            .collect();
        if checks.is_empty() {
            return quote!(|_| #p::Ok(()));
        }
        quote! {
            |#input| {
                let #fresh = #p::Fresh::read(#input)?;
                #(#checks)*
                #p::Ok(())
            }
        }
    }

    /// Decodes the arguments and makes the body.
    fn start(&self) -> TokenStream {
        let (p, site) = (&self.p, Span::mixed_site());
        let [invocation, inputs, context] = ["invocation", "inputs", "context"].map(|name| Ident::new(name, site));
        let mut lets = Vec::new();
        let mut values = Vec::new();
        for (argument, constant) in self.parts() {
            let value = format_ident!("argument_{}", lets.len(), span = site);
            let getter = Ident::new(getter(&argument.role), site);
            lets.push(quote!(let #value = #inputs.#getter(&#constant)?;));
            values.push(value.to_token_stream());
        }
        let mut needs_context = self.worker.answer.way != Way::Returned;
        for (place, argument) in self.worker.arguments.iter().enumerate() {
            let value = match argument.role {
                Role::Context(Hold::Lent) => quote!(&#context),
                Role::Context(Hold::Owned) => quote!(#p::own(&#context)),
                Role::Completer => Ident::new("completer", site).into_token_stream(),
                _ => continue,
            };
            needs_context |= !matches!(argument.role, Role::Completer);
            values.insert(place, value);
        }
        let keep_context = needs_context.then(|| quote!(let #context = #invocation.context;));
        let read = quote!(#p::Inputs::read(&#invocation)?);
        let read = if lets.is_empty() { read } else { quote!(let #inputs = #read) };
        let body = self.body(&values, &context);
        quote! {
            |#invocation| {
                #read;
                #(#lets)*
                #keep_context
                #p::Ok(#body)
            }
        }
    }

    /// Calls the function. Whether its future is `Send` is asked at its name, whether its error can be stored at that type.
    fn body(&self, values: &[TokenStream], context: &Ident) -> TokenStream {
        let (p, name) = (&self.p, self.name);
        let answer = Ident::new("answer", Span::mixed_site().located_at(self.worker.answer.error_span));
        let end = match &self.worker.options.permanent {
            Some(_) => quote!(__WORKMAN_OUTPUT.end_sorted(#answer, __WORKMAN_PERMANENT)),
            None => quote!(__WORKMAN_OUTPUT.end(#answer)),
        };
        let early = match &self.worker.options.permanent {
            Some(_) => quote!(#p::early_sorted(#answer, __WORKMAN_PERMANENT)),
            None => quote!(#p::early(#answer)),
        };
        let at_name = Span::mixed_site().located_at(name.span());
        let here = located(p, at_name);
        let wait = self.worker.function.sig.asyncness.map(|_| quote!(.await));
        let call = quote!(#name(#(#values),*) #wait);
        match self.worker.answer.way {
            Way::Returned if wait.is_some() => {
                quote_spanned!(at_name=> #here::run_async(async move { let #answer = #call; #end }))
            }
            Way::Returned => quote_spanned!(at_name=> #here::run_blocking(move || { let #answer = #call; #end })),
            Way::Completed => {
                let completer = Ident::new("completer", Span::mixed_site());
                quote_spanned! {at_name=>
                    #here::run_completer(
                        #p::own(&#context),
                        move |#completer| async move { let #answer = #call; #early },
                        |outcome| __WORKMAN_OUTPUT.end(outcome),
                    )
                }
            }
            Way::Streamed => quote_spanned! {at_name=>
                #here::run_stream(#p::own(&#context), async move { #call }, |#answer| #end)
            },
        }
    }

    /// What the user calls.
    fn methods(&self) -> TokenStream {
        let (p, handle, output, stored, vis) =
            (&self.p, self.handle, self.output, &self.stored, &self.worker.function.vis);
        let (names, types): (Vec<_>, Vec<_>) = self.worker.inputs().map(|input| (&input.name, &input.ty)).unzip();
        let inputs = self.parts().filter(|(argument, _)| matches!(argument.role, Role::Input { .. }));
        let add: Vec<_> = inputs.map(|(input, constant)| (&input.name, constant)).collect();
        let add: TokenStream = add.iter().map(|(name, constant)| quote!(.add(&#constant, &#name))).collect();
        let key = template::fill(&self.worker.limit_key, &self.worker.arguments, p);
        let add = quote!(#add #key);
        let takes = self.takes();
        let doc = format!("A request to run [`{}()`] once.", self.name);
        let other = self.other_request(&names, &types, &add);
        quote! {
            #[automatically_derived]
            impl #handle {
                /// The name under which its work is stored.
                #vis const NAME: &'static #p::str = #stored;

                #[doc = #doc]
                #vis fn request(#(#names: #types),*) -> #p::Request<#takes, #output> {
                    #p::Arguments::of::<Self>() #add .request::<Self, _>()
                }

                #other

                /// The worker's type as a value.
                #[must_use]
                #vis fn worker() -> #p::WorkerType<Self> {
                    #p::WorkerType::new()
                }
            }
        }
    }

    /// What a request takes from its prerequisites.
    fn takes(&self) -> TokenStream {
        let p = &self.p;
        match self.worker.taker() {
            None => quote!(#p::Nothing),
            Some(Argument { ty, role: Role::Prerequisite, .. }) => quote!(#p::Takes<#ty>),
            Some(Argument { ty, .. }) => quote!(#p::TakesAll<#ty>),
        }
    }

    /// `with` for a worker that takes from prerequisites, `periodic` for one that does not.
    fn other_request(&self, names: &[&Ident], types: &[&Type], add: &TokenStream) -> TokenStream {
        let (p, output, vis) = (&self.p, self.output, &self.worker.function.vis);
        let Some((taker, constant)) = self.parts().find(|(argument, _)| argument.role.takes()) else {
            let doc = format!("A request to run [`{}()`] again and again, for instance every `Duration`.", self.name);
            let schedule = Ident::new("schedule", Span::mixed_site());
            return quote! {
                #[doc = #doc]
                #vis fn periodic(#(#names: #types,)* #schedule: impl #p::Into<#p::Schedule>) -> #p::PeriodicRequest {
                    #p::Arguments::of::<Self>() #add .periodic::<Self>(#schedule)
                }
            };
        };
        let (given, ty) = (&taker.name, &taker.ty);
        let doc = format!("A request to run [`{}()`] once, alone, with `{given}` given here.", self.name);
        quote! {
            #[doc = #doc]
            #vis fn with(#given: #ty, #(#names: #types),*) -> #p::Request<#p::Nothing, #output> {
                #p::Arguments::of::<Self>() .give(&#constant, &#given) #add .request::<Self, _>()
            }
        }
    }
}
