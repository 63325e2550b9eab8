//! The macro asks for nothing but the crate's path: no name of the prelude, no name in scope, no dependency called `workman_core`.

extern crate workman_core as renamed;

mod support;

use support::run_of;

mod facade {
    pub(crate) mod work {
        pub(crate) use renamed::*;
    }
}

#[renamed::worker(crate = crate::facade::work)]
async fn by_path(n: u8) -> Result<u8, String> {
    Ok(n)
}

#[renamed::worker(crate = "::workman_core")]
fn by_text(#[prerequisite] n: u8) -> u8 {
    n
}

/// Everything that generated code could confuse with its own.
mod hostile {
    #![allow(non_camel_case_types, non_snake_case, dead_code, unused_macros)]

    struct Result;
    struct Option;
    struct String;
    struct str;
    struct u8;
    trait Into {}
    trait Default {}
    fn Ok() {}
    fn Some() {}
    macro_rules! concat {
        () => {};
    }
    mod workman_core {}
    mod core {}
    mod std {}

    #[::workman_core::worker(concurrency = 3, limit_key = "{invocation}{inputs}{context}{answer}{schedule}")]
    pub(super) fn shadowed(
        invocation: ::core::primitive::u8,
        #[default] inputs: ::core::primitive::u8,
        context: ::core::primitive::u8,
        answer: ::core::primitive::u8,
        schedule: ::core::primitive::u8,
    ) -> ::core::primitive::u8 {
        invocation + inputs + context + answer + schedule
    }
}

use hostile::shadowed;

#[test]
fn the_crate_may_have_any_path() {
    assert_eq!(run_of(by_path::request(1)).output::<by_path>(), 1);
    assert_eq!(run_of(by_text::with(2)).output::<by_text>(), 2);
}

#[test]
fn names_in_scope_are_not_mistaken_for_ours() {
    assert_eq!(run_of(shadowed::request(1, 2, 3, 4, 5)).output::<shadowed>(), 15);
    let _ = shadowed::periodic(1, 2, 3, 4, 5, ::core::time::Duration::from_secs(1));
}
