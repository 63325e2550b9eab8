//! Runs a worker alone: its definition, stored input, no engine.

#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part of it")]

use std::sync::Arc;

use workman_core::seams::{Body, Invocation, States, Unstartable};
use workman_core::store::{Advice, Codec, End};
use workman_core::{Payload, Request, Worker};

/// A run that is put together piece by piece.
pub(crate) struct Run {
    input: Payload,
    prerequisites: Vec<Option<Payload>>,
    states: States,
}

/// A run with the input that this request stores.
pub(crate) fn run_of<P, O>(request: Request<P, O>) -> Run {
    Run::new(workman_core::seams::stored_input(request).expect("the request is in order"))
}

/// A run with this stored input.
pub(crate) fn run_with(json: &str) -> Run {
    Run::new(Payload::new(Codec::JSON, json.as_bytes()))
}

impl Run {
    fn new(input: Payload) -> Self {
        Run { input, prerequisites: Vec::new(), states: States::default() }
    }

    pub(crate) fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value).expect("a type has one state");
        self
    }

    pub(crate) fn after<T: serde::Serialize>(mut self, output: &T) -> Self {
        self.prerequisites.push(Some(Payload::encode(output).unwrap()));
        self
    }

    pub(crate) fn after_no_output(mut self) -> Self {
        self.prerequisites.push(None);
        self
    }

    pub(crate) fn json(&self) -> &str {
        std::str::from_utf8(self.input.bytes()).unwrap()
    }

    pub(crate) fn end<W: Worker>(self) -> Result<End, Unstartable> {
        let invocation = Invocation {
            context: workman_core::seams::detached_context(W::DEF, self.input.clone()),
            input: self.input,
            prerequisites: self.prerequisites,
            states: Arc::new(self.states),
        };
        Ok(match (W::DEF.start)(invocation)? {
            Body::Async(future) => futures_block_on(future),
            Body::Blocking(call) => call(),
        })
    }

    /// What the worker gives.
    pub(crate) fn output<W: Worker>(self) -> W::Output
    where
        W::Output: serde::de::DeserializeOwned,
    {
        match self.end::<W>() {
            Ok(End::Succeeded { output }) => output.decode().unwrap(),
            other => panic!("no success: {other:?}"),
        }
    }

    /// What the worker says when it fails, and what is to be done.
    pub(crate) fn failure<W: Worker>(self) -> (String, Advice) {
        match self.end::<W>() {
            Ok(End::Failed { error, advice }) => (error.to_string(), advice),
            other => panic!("no failed attempt: {other:?}"),
        }
    }

    /// Why the worker does not start.
    pub(crate) fn unstartable<W: Worker>(self) -> Unstartable {
        self.end::<W>().expect_err("it does not start")
    }
}

fn futures_block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
}
