//! [`RequestParts`]: what both kinds of requests are made of. Its times are checked beside it, in `terms`.

use std::fmt::{self, DebugStruct};
use std::sync::Arc;
use std::time::Duration;

use super::error::{NameProblem, RequestError};
use crate::constraints::Constraints;
use crate::data::Payload;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{NewWork, NextScheduleTime};
use crate::policy::{BackoffPolicy, OnInterruption};
use crate::record::{InputShape, Prerequisites, Schedule, SerialLane, Terms, WorkSpec};
use crate::time::Timestamp;
use crate::worker::{ReadBack, Role, Unencodable, WorkerDef};

/// A request without its types. Nothing of it is checked yet.
#[derive(Clone)]
pub(crate) struct RequestParts {
    pub(crate) id: WorkId,
    pub(crate) def: &'static WorkerDef,
    /// The name under which a manager has registered the worker; its own name, as long as no manager has said another.
    pub(crate) registered: Option<Arc<str>>,
    pub(crate) input: Result<Input, Unencodable>,
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) constraints: Constraints,
    /// As they were asked for; `retention` is zero if nobody asked.
    pub(crate) terms: Terms,
    /// Whether it came from `periodic(..)`.
    pub(crate) periodic: bool,
    /// Whether the request itself said `.backoff(..)`, and not its worker.
    pub(crate) own_backoff: bool,
    /// What its runs are called in traces.
    pub(crate) trace_tag: Option<Arc<str>>,
    /// What it shares a limit by, unless an input that its worker makes the key of has no text.
    pub(crate) limit_key: Result<Option<Arc<str>>, Unencodable>,
    /// The serial lane that it runs in.
    pub(crate) serial: Option<SerialLane>,
    /// What it says about the next run.
    pub(crate) next_schedule_time: NextScheduleTime,
}

/// Encoded arguments.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) payload: Payload,
    /// What the worker still takes from prerequisites: nothing if `with(..)` gave it.
    pub(crate) takes: InputShape,
}

impl RequestParts {
    /// A new request with a new id, on the worker's own terms.
    pub(crate) fn new(def: &'static WorkerDef, input: Result<Input, Unencodable>) -> Self {
        let defaults = def.defaults.clone();
        RequestParts {
            id: WorkId::generate(),
            def,
            registered: None,
            input,
            tags: Vec::new(),
            constraints: defaults.constraints,
            terms: Terms {
                priority: defaults.priority,
                initial_delay: Duration::ZERO,
                run_at: Timestamp::MIN,
                backoff: match defaults.backoff_fn {
                    Some(_) => defaults.backoff.with_policy(BackoffPolicy::Custom),
                    None => defaults.backoff,
                },
                max_attempts: defaults.max_attempts,
                timeout: defaults.timeout,
                on_interruption: OnInterruption::default(),
                expedited: None,
                retention: Duration::ZERO,
                on_death: defaults.on_death,
                discards_output: false,
                schedule: Schedule::Once,
                expires_at: Timestamp::MAX,
            },
            periodic: false,
            own_backoff: false,
            trace_tag: None,
            limit_key: Ok(None),
            serial: None,
            next_schedule_time: NextScheduleTime::Unchanged,
        }
    }

    /// The worker's name.
    pub(crate) fn worker(&self) -> Arc<str> {
        self.registered.clone().unwrap_or_else(|| self.def.name.into())
    }

    /// Whether the other parts asks for the same, as a clone does.
    pub(crate) fn is_same(&self, other: &RequestParts) -> bool {
        self.id == other.id
            && self.input == other.input
            && std::ptr::eq(self.def, other.def)
            && self.tags == other.tags
            && self.constraints == other.constraints
            && self.terms == other.terms
            && self.trace_tag == other.trace_tag
            && (&self.limit_key, &self.serial) == (&other.limit_key, &other.serial)
            && (self.periodic, self.own_backoff, self.next_schedule_time)
                == (other.periodic, other.own_backoff, other.next_schedule_time)
    }

    /// The work as the planner takes it, if everything about it is in order now, by the store's time.
    pub(crate) fn new_work(
        self,
        limits: &Limits,
        now: Timestamp,
        prerequisites: Vec<WorkId>,
        name: Option<Arc<str>>,
    ) -> Result<NewWork, RequestError> {
        if let Some(name) = &name {
            check_name(name, limits)?;
        }
        let mut work = self.changed_work(limits, now)?;
        let spec = Arc::make_mut(&mut work.spec);
        spec.prerequisites = checked_prerequisites(prerequisites, spec.prerequisites.shape, &spec.worker)?;
        spec.name = name;
        Ok(work)
    }

    /// What stored work is to become, if everything about it is in order. It keeps the prerequisites and the name that it has, so
    /// whether it still fits those is for the planner to see.
    pub(crate) fn changed_work(self, limits: &Limits, now: Timestamp) -> Result<NewWork, RequestError> {
        let terms = self.checked_terms(limits, now)?;
        let worker = self.worker();
        let tags = checked_tags(self.tags, &worker, limits)?;
        let limit_key = self.limit_key.map_err(|refused| unencodable(refused, &worker))?;
        let keys = [("limit_key", limit_key.as_ref()), ("serial", self.serial.as_ref().map(|serial| &serial.lane))];
        check_keys(&keys, &worker, limits)?;
        if self.serial.is_some() && self.periodic {
            return Err(RequestError::SerialPeriodic { worker });
        }
        let input = checked_input(self.input, &worker, limits)?;
        let spec = WorkSpec {
            prerequisites: Prerequisites { shape: input.takes, ids: Vec::new() },
            worker,
            input: input.payload,
            tags,
            name: None,
            constraints: self.constraints,
            trace_tag: self.trace_tag,
            traceparent: None,
            worker_version: 0,
            limit_key,
            serial: self.serial,
        };
        Ok(NewWork { id: self.id, spec: Arc::new(spec), terms, next_schedule_time: self.next_schedule_time })
    }

    /// What `Debug` shows: never the input.
    pub(super) fn describe(&self, f: &mut DebugStruct<'_, '_>) -> fmt::Result {
        let Terms { priority, initial_delay, run_at, timeout, expedited, schedule, .. } = &self.terms;
        f.field("worker", &self.worker()).field("id", &self.id);
        f.field("initial_delay", initial_delay)
            .field("run_at", run_at)
            .field("schedule", schedule)
            .field("priority", priority);
        f.field("timeout", timeout).field("expedited", expedited);
        match &self.input {
            Ok(input) => f.field("input_bytes", &input.payload.len()),
            Err(unencodable) => f.field("unencodable_argument", &unencodable.argument),
        };
        f.field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// Reads the arguments of new work back, if it is one of those whose are.
pub(crate) fn read_back(which: ReadBack, def: &WorkerDef, work: &NewWork) -> Result<(), RequestError> {
    let checked = which.check(def, Role::Input, || (def.reads_input)(&work.spec.input));
    checked.map_err(|refused| unencodable(refused, &work.spec.worker))
}

fn unencodable(Unencodable { argument, error }: Unencodable, worker: &Arc<str>) -> RequestError {
    RequestError::Unencodable { worker: worker.clone(), argument, source: error }
}

/// Refuses a name that no store takes.
pub(crate) fn check_name(name: &str, limits: &Limits) -> Result<(), RequestError> {
    label_problem(name, limits.name).map_or(Ok(()), |problem| Err(RequestError::Name { name: name.into(), problem }))
}

fn label_problem(label: &str, limit: usize) -> Option<NameProblem> {
    if label.is_empty() {
        Some(NameProblem::Empty)
    } else if label.len() > limit {
        Some(NameProblem::TooLong { size: label.len(), limit })
    } else {
        label.chars().find(|c| c.is_control()).map(NameProblem::ControlCharacter)
    }
}

fn checked_input(input: Result<Input, Unencodable>, worker: &Arc<str>, limits: &Limits) -> Result<Input, RequestError> {
    let input = input.map_err(|refused| unencodable(refused, worker))?;
    match (input.payload.len(), limits.payload) {
        (size, limit) if size > limit => Err(RequestError::InputTooLarge { worker: worker.clone(), size, limit }),
        _ => Ok(input),
    }
}

/// Keys are as long as tags may be.
fn check_keys(
    keys: &[(&'static str, Option<&Arc<str>>)],
    worker: &Arc<str>,
    limits: &Limits,
) -> Result<(), RequestError> {
    for (field, key) in keys {
        if let Some((key, problem)) = key.and_then(|key| Some((key, label_problem(key, limits.tag)?))) {
            return Err(RequestError::Key { worker: worker.clone(), field, key: key.clone(), problem });
        }
    }
    Ok(())
}

/// Sorted, each once, without the worker's name.
fn checked_tags(mut tags: Vec<Arc<str>>, worker: &Arc<str>, limits: &Limits) -> Result<Vec<Arc<str>>, RequestError> {
    tags.retain(|tag| tag != worker);
    tags.sort();
    tags.dedup();
    for tag in &tags {
        if let Some(problem) = label_problem(tag, limits.tag) {
            return Err(RequestError::Tag { worker: worker.clone(), tag: tag.clone(), problem });
        }
    }
    match (tags.len(), limits.tags) {
        (count, limit) if count > limit => Err(RequestError::TooManyTags { worker: worker.clone(), count, limit }),
        _ => Ok(tags),
    }
}

fn checked_prerequisites(
    ids: Vec<WorkId>,
    shape: InputShape,
    worker: &Arc<str>,
) -> Result<Prerequisites, RequestError> {
    if shape.fits(ids.len()) {
        Ok(Prerequisites { shape, ids })
    } else {
        Err(RequestError::Prerequisites { worker: worker.clone(), takes: shape, given: ids.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::EncodeError;
    use crate::plan::WorkerKind;
    use crate::policy::{Backoff, OnDeath};
    use crate::request::{Nothing, PeriodicRequest, Request, Takes};
    use crate::time::in_whole_millis;
    use crate::worker::{Defaults, Trials, Unstartable};

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    static RESIZE: WorkerDef = WorkerDef {
        name: "resize",
        aliases: &[],
        location: "here",
        kind: WorkerKind::Async,
        takes: InputShape::One,
        defaults: Defaults {
            max_attempts: Some(3),
            backoff: Backoff::linear(Duration::from_secs(1)),
            priority: 4,
            constraints: Constraints::new().requires_charging(),
            on_death: OnDeath::Fail,
            timeout: None,
            concurrency: None,
            backoff_fn: None,
        },
        states: Vec::new,
        start: |_| Err(Unstartable::Undecodable("never started".into())),
        reads_input: |_| Ok(()),
        reads_output: |_| Ok(()),
        trials: Trials::new(),
    };

    fn input(takes: InputShape) -> Result<Input, Unencodable> {
        Ok(Input { payload: Payload::encode(&"a secret").unwrap(), takes })
    }

    fn once() -> Request<Nothing, u8> {
        Request::new(RequestParts::new(&RESIZE, input(InputShape::Nothing)))
    }

    fn every(interval: Duration) -> PeriodicRequest {
        PeriodicRequest::new(RequestParts::new(&RESIZE, input(InputShape::Nothing)), interval.into())
    }

    fn work(request: Request<Nothing, u8>) -> Result<NewWork, RequestError> {
        request.into_parts().new_work(&Limits::default(), NOW, Vec::new(), None)
    }

    #[test]
    fn a_request_starts_from_its_workers_defaults_and_keeps_what_it_is_told() {
        let work = work(once()).unwrap();
        assert_eq!((work.terms.max_attempts, work.terms.priority), (Some(3), 4));
        assert_eq!((work.terms.on_death, work.terms.retention), (OnDeath::Fail, Duration::ZERO));
        assert_eq!(
            (&*work.spec.worker, work.spec.constraints.clone()),
            ("resize", Constraints::new().requires_charging())
        );

        let week = Duration::from_secs(7 * 24 * 3600);
        let asked =
            once().with_id(WorkId::from_u128(7)).priority(-1).unlimited_attempts().keep_results_for_at_least(week);
        let asked = asked.constraints(Constraints::NONE).discard_output();
        assert_eq!(asked.id(), WorkId::from_u128(7));
        let work = asked.into_parts().new_work(&Limits::default(), NOW, Vec::new(), Some("name".into())).unwrap();
        assert_eq!((work.terms.max_attempts, work.terms.priority, work.terms.retention), (None, -1, week));
        assert!(work.terms.discards_output && work.spec.constraints.is_none());
        assert_eq!(work.spec.name.as_deref(), Some("name"));
    }

    #[test]
    fn tags_are_sorted_kept_once_and_never_the_workers_own_name() {
        let work = work(once().tag("b").tag(String::from("a")).tag("b").tag("resize")).unwrap();
        let tags: Vec<&str> = work.spec.tags.iter().map(|tag| &**tag).collect();
        assert_eq!(tags, ["a", "b"]);
    }

    #[test]
    fn durations_are_rounded_up_to_whole_milliseconds() {
        let odd = Duration::from_nanos(1_000_001);
        let work = work(once().initial_delay(odd).backoff(Backoff::linear(odd).ceiling(odd))).unwrap();
        let two = Duration::from_millis(2);
        assert_eq!((work.terms.initial_delay, work.terms.backoff), (two, Backoff::linear(two).ceiling(two)));
        assert_eq!(in_whole_millis(Duration::MAX), Duration::from_millis(u64::MAX));
        let work = every(odd).into_parts().new_work(&Limits::default(), NOW, Vec::new(), None).unwrap();
        assert_eq!(work.terms.schedule, Schedule::every(two));
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_and_named() {
        let mut limits = Limits::default();
        (limits.payload, limits.tags, limits.tag, limits.name) = (4, 1, 3, 3);
        let refusal = |request: Request<Nothing, u8>, name: Option<&str>| {
            request.into_parts().new_work(&limits, NOW, Vec::new(), name.map(Arc::from)).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(once(), None),
            "the input of worker `resize` has 10 bytes, the limit is 4: store large data elsewhere and pass where it is, or raise `Limits::payload`"
        );
        assert_eq!(
            refusal(once().tag("a").tag("b"), None),
            "a request for worker `resize` has 2 tags, the limit is 1; see `Limits::tags`"
        );
        assert_eq!(
            refusal(once().tag("long"), None),
            "the tag \"long\" of a request for worker `resize` has 4 bytes, the limit is 3; see `Limits::tag`"
        );
        assert_eq!(
            refusal(once(), Some("long")),
            "the unique name \"long\" has 4 bytes, the limit is 3; see `Limits::name`"
        );
        assert_eq!(refusal(once(), Some("")), "the unique name \"\" is empty; leave it out, or say what it is for");
        assert_eq!(
            refusal(once(), Some("a\n")),
            "the unique name \"a\\n\" has the control character '\\n'; it must read well in one line"
        );
    }

    #[test]
    fn nonsense_is_refused_not_clamped() {
        assert!(matches!(work(once().max_attempts(0)), Err(RequestError::NoAttempts { .. })));
        let zero = every(Duration::ZERO).into_parts().new_work(&Limits::default(), NOW, Vec::new(), None);
        assert!(matches!(zero, Err(RequestError::NoInterval { .. })));
        let never = PeriodicRequest::new(RequestParts::new(&RESIZE, input(InputShape::Nothing)), Schedule::Once);
        let never = never.into_parts().new_work(&Limits::default(), NOW, Vec::new(), None);
        assert!(matches!(never, Err(RequestError::NoInterval { .. })));
    }

    #[test]
    fn an_argument_that_can_not_be_encoded_is_carried_and_refused_by_name() {
        let unencodable = Unencodable {
            argument: "radius",
            error: EncodeError::new("NaN is no JSON number; an `Option` has `None` for it"),
        };
        let request: Request<Nothing, u8> = Request::new(RequestParts::new(&RESIZE, Err(unencodable)));
        assert_eq!(
            work(request).unwrap_err().to_string(),
            "the argument `radius` of worker `resize` can't be encoded: NaN is no JSON number; an `Option` has `None` for it"
        );
    }

    #[test]
    fn a_taker_needs_the_prerequisites_that_it_takes_from() {
        let taker = || Request::<Takes<u8>, u8>::new(RequestParts::new(&RESIZE, input(InputShape::One)));
        let new_work = |ids| taker().into_parts().new_work(&Limits::default(), NOW, ids, None);
        let (a, b) = (WorkId::from_u128(1), WorkId::from_u128(2));
        assert!(matches!(new_work(vec![]), Err(RequestError::Prerequisites { given: 0, .. })));
        assert!(matches!(new_work(vec![a, b]), Err(RequestError::Prerequisites { given: 2, .. })));
        let spec = new_work(vec![a]).unwrap().spec;
        assert_eq!(spec.prerequisites, Prerequisites { shape: InputShape::One, ids: vec![a] });
        let given = once().into_parts().new_work(&Limits::default(), NOW, vec![b, a], None).unwrap();
        assert_eq!(given.spec.prerequisites, Prerequisites { shape: InputShape::Nothing, ids: vec![b, a] });
    }

    #[test]
    fn debug_shows_sizes_and_never_the_input() {
        let shown = format!("{:?} {:?}", once(), every(Duration::from_secs(1)));
        assert!(shown.contains("input_bytes: 10") && shown.contains("interval: 1s"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
