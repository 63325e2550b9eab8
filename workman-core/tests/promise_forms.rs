//! What programs hand on to others: ids, states, queries and snapshots can be written and read again, in forms that are documented.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workman_core::store::{Codec, Due};
use workman_core::{
    Constraints, NetworkType, Payload, StopReason, Timestamp, WorkError, WorkId, WorkInfo, WorkQuery, WorkSelector,
    WorkState, worker,
};
use workman_testing::TestDriver;

/// What a value is as JSON; read again, it is the same.
fn form<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> Value {
    let form = serde_json::to_value(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&form.to_string()).unwrap(), value);
    form
}

#[test]
fn an_id_is_its_text() {
    let id = WorkId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(form(&id), json!("01234567-89ab-cdef-0123-456789abcdef"));
    assert!(serde_json::from_value::<WorkId>(json!("no id")).is_err());
    assert!(serde_json::from_value::<WorkId>(json!(7)).is_err());
}

#[test]
fn states_and_reasons_are_their_names() {
    let names: Vec<Value> = WorkState::ALL.iter().map(form).collect();
    assert_eq!(names, ["enqueued", "running", "succeeded", "failed", "blocked", "cancelled"]);
    assert_eq!(form(&StopReason::ConstraintBatteryNotLow), json!("constraint_battery_not_low"));
    assert!(serde_json::from_value::<StopReason>(json!("bored")).is_err());
}

#[test]
fn a_query_says_only_what_it_asks_for_and_a_word_that_is_none_is_an_error() {
    let query = WorkQuery::tag("photos").state(WorkState::Failed).without_payloads();
    form(&query);
    form(&WorkQuery::ids([]));
    assert_eq!(serde_json::from_value::<WorkQuery>(json!({})).unwrap(), WorkQuery::all());
    let asked = json!({ "tags": ["photos"], "states": ["failed"], "payloads": "left_out" });
    assert_eq!(serde_json::from_value::<WorkQuery>(asked).unwrap(), query);
    assert!(serde_json::from_value::<WorkQuery>(json!({ "tag": "photos" })).is_err());
}

#[test]
fn a_payload_is_the_text_of_its_json() {
    assert_eq!(form(&Payload::encode(&["a"]).unwrap()), json!(r#"["a"]"#));
    let foreign = Payload::new(Codec::from_code(9), [1, 200]);
    assert_eq!(form(&foreign), json!({ "codec": 9, "bytes": [1, 200] }));
    let not_text = Payload::new(Codec::JSON, [200]);
    form(&not_text);
}

#[worker(max_attempts = 2)]
fn fails(text: String) -> Result<String, WorkError> {
    Err(WorkError::retry_after(Duration::from_secs(60)).because(text))
}

/// Ids may be arguments: a worker that looks after other work.
#[worker]
fn looks_after(id: WorkId, state: WorkState) -> WorkId {
    assert_eq!(state, WorkState::Enqueued);
    id
}

#[test]
fn a_snapshot_is_written_and_read_whole() {
    let test = TestDriver::new();
    let constraints = Constraints::new().network(NetworkType::Connected);
    let failed = test.enqueue(fails::request("ä".into()).tag("t").constraints(constraints));
    test.run_until_idle();
    let info = test.info(failed);
    assert_eq!((info.failures, info.attempts.len()), (1, 1));
    let form = form(&info);
    assert_eq!((&form["state"], &form["waits_for"]), (&json!("enqueued"), &json!("asked")));
    assert_eq!(form["constraints"]["network"], json!("connected"));
    assert_eq!(form["attempts"][0]["end"]["failed"]["error"]["message"], json!("ä"));
    assert_eq!(form["created"], json!(info.created.as_millis()));
    let bare: WorkInfo = test.query(WorkQuery::id(failed).without_payloads()).remove(0);
    self::form(&bare);
    assert!(serde_json::from_str::<WorkInfo>(&serde_json::to_string(&bare).unwrap()).unwrap().input.is_left_out());
}

#[test]
fn an_id_may_be_an_argument_and_an_output() {
    let test = TestDriver::new();
    let id = WorkId::generate();
    let work = test.enqueue(looks_after::request(id, WorkState::Enqueued));
    test.run_until_idle();
    assert_eq!(test.output::<WorkId>(work), id);
}

#[test]
fn an_id_selects_its_work() {
    let id = WorkId::from_u128(7);
    assert_eq!(WorkSelector::from(id), WorkSelector::id(id));
    let due = Due::Wall(Timestamp::from(SystemTime::UNIX_EPOCH));
    assert_eq!(form(&due), json!({ "wall": 0 }));
}

#[test]
fn a_handle_ends_its_work_and_so_does_its_id_alone() {
    let test = TestDriver::new();
    let far = || looks_after::request(WorkId::generate(), WorkState::Enqueued).initial_delay(Duration::from_secs(60));
    let manager = test.manager();
    let (one, other) = test.block_on(async {
        let (one, other) = (manager.enqueue(far()).await.unwrap(), manager.enqueue(far()).await.unwrap());
        assert_eq!(one.cancel().await.unwrap(), 1);
        assert_eq!(one.cancel().await.unwrap(), 0, "it has ended");
        assert_eq!(manager.cancel(other.id()).await.unwrap(), 1);
        (one.id(), other.id())
    });
    assert_eq!([one, other].map(|id| test.info(id).state), [WorkState::Cancelled; 2]);
}

#[test]
fn a_moment_that_never_comes_is_refused() {
    let test = TestDriver::new();
    let request = looks_after::request(WorkId::generate(), WorkState::Enqueued).run_at(Timestamp::MAX);
    let manager = test.manager();
    let error = test.block_on(manager.enqueue(request)).unwrap_err().to_string();
    assert!(error.contains("`run_at`, which never comes"), "{error}");
}
