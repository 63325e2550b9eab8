//! [`Registry`]: the workers of a manager by name.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::iter;
use std::sync::Arc;

use super::{Body, Invocation, StateKey, States, Unstartable, Worker, WorkerDef};

/// A worker that registered itself by being linked.
pub struct Linked(pub &'static WorkerDef);

inventory::collect!(Linked);

/// What stands in for a worker in a test.
pub type Stub = Arc<dyn Fn(Invocation) -> Result<Body, Unstartable> + Send + Sync>;

/// The workers of a manager, in the order of their names. Each worker is in it once, under one name and its aliases.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    workers: Vec<RegisteredWorker>,
    names: BTreeMap<Arc<str>, usize>,
}

impl Registry {
    /// No worker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All workers of all crates that this program names. A crate that is a dependency but is named nowhere in the code is
    /// not linked, and its workers are missing: write `use my_workers as _;`.
    #[must_use]
    pub fn linked() -> Self {
        let mut registry = Self::new();
        for Linked(def) in inventory::iter::<Linked> {
            registry.put(def, def.name.into(), Origin::Linked);
        }
        registry.sort();
        registry
    }

    /// Adds a worker under its own name.
    pub fn add<W: Worker>(&mut self) -> &mut Self {
        self.add_as::<W>(W::DEF.name)
    }

    /// Adds a worker under another name, or gives one that is there another name. A worker with a given name has no aliases.
    pub fn add_as<W: Worker>(&mut self, name: impl Into<Arc<str>>) -> &mut Self {
        self.put(W::DEF, name.into(), Origin::Explicit);
        self.sort();
        self
    }

    fn put(&mut self, def: &'static WorkerDef, name: Arc<str>, origin: Origin) {
        self.workers.retain(|worker| !std::ptr::eq(worker.def, def));
        self.workers.push(RegisteredWorker { name, def, stub: None, explicit: matches!(origin, Origin::Explicit) });
    }

    /// Puts the workers and their names in order; of workers of one name the first counts.
    fn sort(&mut self) {
        self.workers.sort_by(|a, b| (&a.name, a.def.location).cmp(&(&b.name, b.def.location)));
        self.names.clear();
        let names = self.workers.iter().enumerate().map(|(at, worker)| (worker.name.clone(), at));
        let aliases = self.workers.iter().enumerate();
        let aliases = aliases.flat_map(|(at, worker)| worker.aliases().iter().map(move |name| (Arc::from(*name), at)));
        for (name, at) in names.chain(aliases) {
            self.names.entry(name).or_insert(at);
        }
    }

    /// Refuses a registry in which a name or an alias stands for two workers.
    ///
    /// # Errors
    /// [`DuplicateWorker`], the first in the order of names.
    pub fn validate(self) -> Result<Self, DuplicateWorker> {
        let mut duplicates: Vec<DuplicateWorker> = Vec::new();
        for worker in &self.workers {
            for name in worker.names() {
                let first = &self.workers[self.names[name]];
                if !std::ptr::eq(first.def, worker.def) {
                    let (first, second) = (first.def.location, worker.def.location);
                    duplicates.push(DuplicateWorker { name: name.into(), first, second });
                }
            }
        }
        duplicates.into_iter().min_by(|a, b| a.name.cmp(&b.name)).map_or(Ok(self), Err)
    }

    /// Keeps workers of one name apart, for a test that may use none of them. Of those that share a name or an alias, the one that
    /// was named or faked has it, if it is the only such; the others, or all, get a name that nobody else has and a stand-in, which
    /// `stand_in` makes of what is wrong. Two that were both named are left for [`validate`](Self::validate).
    #[doc(hidden)]
    pub fn keep_apart(&mut self, stand_in: impl Fn(DuplicateWorker) -> Stub) {
        let picked = |at: usize| self.workers[at].explicit || self.workers[at].stub.is_some();
        let mut clashes: BTreeMap<usize, DuplicateWorker> = BTreeMap::new();
        for (at, worker) in self.workers.iter().enumerate() {
            for name in worker.names() {
                let first = self.names[name];
                if first != at {
                    let (one, other) = (self.workers[first].def.location, worker.def.location);
                    let clash = DuplicateWorker { name: name.into(), first: one, second: other };
                    for loser in [first, at].into_iter().filter(|at| !picked(*at)) {
                        clashes.entry(loser).or_insert_with(|| clash.clone());
                    }
                }
            }
        }
        for (at, clash) in clashes {
            let worker = &mut self.workers[at];
            worker.name = format!("{} of {}", worker.name, worker.def.location).into();
            worker.stub = Some(stand_in(clash));
        }
        self.sort();
    }

    /// The worker of this name or alias.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RegisteredWorker> {
        self.names.get(name).map(|at| &self.workers[*at])
    }

    /// The worker with this definition, whatever its name is here.
    #[must_use]
    pub fn of(&self, def: &WorkerDef) -> Option<&RegisteredWorker> {
        self.workers.iter().find(|worker| std::ptr::eq(worker.def, def))
    }

    /// Lets `stub` stand in for the worker of this name; adds the worker if it is missing.
    pub fn stub<W: Worker>(&mut self, stub: Stub) -> &mut Self {
        if self.of(W::DEF).is_none() {
            self.add::<W>();
        }
        for worker in self.workers.iter_mut().filter(|worker| std::ptr::eq(worker.def, W::DEF)) {
            worker.stub = Some(stub.clone());
        }
        self
    }

    /// The workers in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &RegisteredWorker> {
        self.workers.iter()
    }

    /// How many workers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there is no worker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }
}

/// How a worker came into the registry.
enum Origin {
    Linked,
    Explicit,
}

/// A worker under the name that it has in one manager.
#[derive(Clone)]
pub struct RegisteredWorker {
    /// The name under which its work is stored.
    pub name: Arc<str>,
    /// What it is.
    pub def: &'static WorkerDef,
    /// What stands in for it in a test.
    pub stub: Option<Stub>,
    /// Whether the program named it, rather than merely linking it.
    pub explicit: bool,
}

impl RegisteredWorker {
    /// Decodes everything, and answers the body to run.
    ///
    /// # Errors
    /// [`Unstartable`] when something does not decode or was never given.
    pub fn start(&self, invocation: Invocation) -> Result<Body, Unstartable> {
        match &self.stub {
            Some(stub) => stub(invocation),
            None => (self.def.start)(invocation),
        }
    }

    /// The states that it needs and that nobody gave. A stub needs none.
    #[must_use]
    pub fn missing_states(&self, states: &States) -> Vec<StateKey> {
        let needed = if self.stub.is_some() { Vec::new() } else { (self.def.states)() };
        needed.into_iter().filter(|key| !states.has(key)).collect()
    }

    /// Its name and its aliases.
    fn names(&self) -> impl Iterator<Item = &str> {
        iter::once(&*self.name).chain(self.aliases().iter().copied())
    }

    /// The names under which older builds stored its work.
    #[must_use]
    pub fn aliases(&self) -> &'static [&'static str] {
        if *self.name == *self.def.name { self.def.aliases } else { &[] }
    }
}

impl fmt::Debug for RegisteredWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredWorker")
            .field("name", &self.name)
            .field("location", &self.def.location)
            .field("stubbed", &self.stub.is_some())
            .field("explicit", &self.explicit)
            .finish()
    }
}

/// Two workers have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateWorker {
    /// The name or alias.
    pub name: Arc<str>,
    /// Where the one is defined.
    pub first: &'static str,
    /// Where the other is defined.
    pub second: &'static str,
}

impl fmt::Display for DuplicateWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DuplicateWorker { name, first, second } = self;
        if first == second {
            // One place in the sources gives two workers only if it is compiled twice.
            return write!(
                f,
                "the worker \"{name}\" at {first} is in this program twice: its file is compiled into a library and again into the program, or into two libraries; let one of them have it (`mod ..;`), and the others `use` it from there"
            );
        }
        write!(
            f,
            "two workers are called \"{name}\": one at {first}, the other at {second}; give one of them another name with `#[worker(name = \"..\")]`, or register it with `register_as`"
        )
    }
}

impl Error for DuplicateWorker {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::constraints::Constraints;
    use crate::plan::{End, WorkerKind};
    use crate::policy::{Backoff, OnDeath};
    use crate::record::InputShape;
    use crate::worker::{Defaults, Trials};

    /// A worker that does nothing.
    pub(in crate::worker) const fn def(
        name: &'static str,
        aliases: &'static [&'static str],
        location: &'static str,
    ) -> WorkerDef {
        WorkerDef {
            name,
            aliases,
            location,
            kind: WorkerKind::Blocking,
            takes: InputShape::Nothing,
            defaults: Defaults {
                max_attempts: None,
                backoff: Backoff::linear(Backoff::DEFAULT_DELAY),
                priority: 0,
                constraints: Constraints::NONE,
                on_death: OnDeath::Park,
                timeout: None,
                concurrency: None,
                backoff_fn: None,
            },
            states: || vec![StateKey::of::<u8>()],
            start: |_| Ok(Body::Blocking(Box::new(|| End::Snoozed { delay: std::time::Duration::ZERO }))),
            reads_input: |_| Ok(()),
            reads_output: |_| Ok(()),
            trials: Trials::new(),
        }
    }

    macro_rules! workers {
        ($($type:ident = $name:literal, $aliases:expr;)*) => {$(
            struct $type;
            impl Worker for $type {
                type Output = ();
                const DEF: &'static WorkerDef = {
                    static DEF: WorkerDef = def($name, &$aliases, concat!("here:", stringify!($type)));
                    &DEF
                };
            }
        )*};
    }

    workers! {
        Sync = "sync", ["old-sync"];
        OtherSync = "sync", [];
        Mail = "mail", ["mail", "post"];
        Post = "post", [];
    }

    #[test]
    fn workers_are_found_by_name_and_alias_and_listed_by_name() {
        let mut registry = Registry::new();
        registry.add::<Sync>().add::<Mail>().add::<Mail>();
        let registry = registry.validate().unwrap();
        let names: Vec<&str> = registry.iter().map(|worker| &*worker.name).collect();
        assert_eq!(names, ["mail", "sync"]);
        assert_eq!(registry.get("old-sync").unwrap().def.name, "sync");
        assert!(registry.get("unknown").is_none());
        assert!(registry.iter().all(|worker| worker.explicit));
    }

    #[test]
    fn a_name_or_alias_for_two_workers_is_refused_with_both_places() {
        let mut registry = Registry::new();
        registry.add::<Sync>().add::<OtherSync>();
        let error = registry.validate().unwrap_err();
        assert_eq!((&*error.name, error.first, error.second), ("sync", "here:OtherSync", "here:Sync"));
        let mut registry = Registry::new();
        registry.add::<Post>().add::<Mail>();
        assert_eq!(&*registry.validate().unwrap_err().name, "post");
    }

    #[test]
    fn another_name_settles_a_quarrel_and_replaces_the_first_name() {
        let mut registry = Registry::new();
        registry.add::<Sync>().add::<OtherSync>().add_as::<Sync>("other/sync");
        let registry = registry.validate().unwrap();
        assert_eq!(registry.len(), 2);
        assert_eq!(registry.get("sync").unwrap().def.location, "here:OtherSync");
        assert_eq!(&*registry.of(Sync::DEF).unwrap().name, "other/sync");
        assert!(registry.get("old-sync").is_none(), "aliases belong to the worker's own name");
    }

    #[test]
    fn a_missing_state_is_named_unless_a_stub_stands_in() {
        let mut registry = Registry::new();
        let missing = registry.add::<Mail>().get("mail").unwrap().missing_states(&States::default());
        assert_eq!(missing, [StateKey::of::<u8>()]);
        registry.stub::<Mail>(Arc::new(|_| Err(Unstartable::Undecodable("stub".into()))));
        assert!(registry.get("post").unwrap().missing_states(&States::default()).is_empty());
    }

    fn refusing(clash: DuplicateWorker) -> Stub {
        Arc::new(move |_| Err(Unstartable::Undecodable(clash.to_string())))
    }

    #[test]
    fn workers_kept_apart_each_have_a_name_and_who_was_picked_has_the_one_they_share() {
        let linked = |defs: &[&'static WorkerDef]| {
            let mut registry = Registry::new();
            for def in defs {
                registry.put(def, def.name.into(), Origin::Linked);
            }
            registry.sort();
            registry
        };
        let stubbed = |registry: &Registry| -> Vec<(String, bool)> {
            registry.iter().map(|worker| (worker.name.to_string(), worker.stub.is_some())).collect()
        };
        let mut nobody = linked(&[Sync::DEF, OtherSync::DEF, Mail::DEF]);
        nobody.keep_apart(refusing);
        let apart = ["mail", "sync of here:OtherSync", "sync of here:Sync"];
        let names: Vec<String> = stubbed(&nobody).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, apart);
        assert!(nobody.of(Sync::DEF).unwrap().stub.is_some() && nobody.of(Mail::DEF).unwrap().stub.is_none());
        nobody.validate().unwrap();

        let mut picked = linked(&[Sync::DEF, OtherSync::DEF]);
        picked.add::<OtherSync>();
        picked.keep_apart(refusing);
        assert_eq!(stubbed(&picked), [("sync".to_owned(), false), ("sync of here:Sync".to_owned(), true)]);
        assert_eq!(picked.get("sync").unwrap().def.location, "here:OtherSync");

        // An alias is a name too.
        let mut alias = linked(&[Mail::DEF, Post::DEF]);
        alias.stub::<Mail>(refusing(DuplicateWorker { name: "a".into(), first: "b", second: "c" }));
        alias.keep_apart(refusing);
        assert_eq!(alias.get("post").unwrap().def.name, "mail");
        assert_eq!(&*alias.of(Post::DEF).unwrap().name, "post of here:Post");

        let mut both = linked(&[Sync::DEF, OtherSync::DEF]);
        both.add::<Sync>().add::<OtherSync>();
        both.keep_apart(refusing);
        assert!(both.validate().is_err(), "a test that means both is told so");
    }

    #[test]
    fn one_source_in_two_crates_is_told_as_that() {
        let twice = DuplicateWorker { name: "sync".into(), first: "src/sync.rs:4", second: "src/sync.rs:4" };
        let text = twice.to_string();
        assert!(text.contains("src/sync.rs:4 is in this program twice") && text.contains("`use`"), "{text}");
        let other = DuplicateWorker { second: "src/other.rs:4", ..twice };
        assert!(other.to_string().contains("one at src/sync.rs:4, the other at src/other.rs:4"), "{other}");
    }
}
