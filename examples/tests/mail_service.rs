//! `mail_service` over HTTP, killed and ended while mails are on their way.
//!
//! What was acknowledged is delivered, each mail once by its key, whatever the service died of; a client that got no answer asks
//! again with its key, and that is one mail.
#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use workman_examples::loopback::client;
use workman_examples::mailbox::{Arrivals, KEY, Mailbox};
use workman_examples::process::{Running, empty_folder, example};

/// A mail server, and the folder in which the services of a test follow each other.
struct Town {
    mailbox: Mailbox,
    folder: PathBuf,
}

impl Town {
    fn new(name: &str) -> Self {
        Town { mailbox: Mailbox::start().unwrap(), folder: empty_folder(name).unwrap() }
    }

    /// A service that tries again after so many milliseconds.
    fn service(&self, retry: u32) -> Service {
        let mut program = example("mail_service").unwrap();
        program.args(["--listen", "127.0.0.1:0", "--grace", "60000", "--retry", &retry.to_string(), "--store"]);
        program.arg(self.folder.join("works.redb"));
        program.arg("--mail-server").arg(format!("http://{}/", self.mailbox.address()));
        let mut process = Running::start(&mut program).unwrap();
        let url = process.says("listening on ").unwrap();
        Service { process, url }
    }

    fn all_delivered(&self, ids: &BTreeMap<u32, String>) -> Arrivals {
        self.mailbox.until(|arrivals| ids.values().all(|id| arrivals.delivered.contains_key(id))).unwrap()
    }
}

struct Service {
    process: Running,
    url: String,
}

impl Service {
    /// The status and the body; the error when nobody answers.
    fn post(&self, key: &str, mail: &Value) -> Result<(u16, Value), ureq::Error> {
        let request = client().post(format!("{}/mails", self.url)).header(KEY, key);
        let mut answer = request.config().http_status_as_error(false).build().send_json(mail)?;
        Ok((answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default()))
    }

    fn get(&self, id: &str) -> (u16, Value) {
        let request = client().get(format!("{}/mails/{id}", self.url));
        let mut answer = request.config().http_status_as_error(false).build().call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default())
    }

    /// Takes a mail about an order and answers with its id.
    fn take(&self, order: u32) -> Result<String, ureq::Error> {
        let (status, body) = self.post(&key(order), &mail(order))?;
        assert_eq!(status, 202, "{body}");
        Ok(body["id"].as_str().unwrap().to_owned())
    }

    /// SIGTERM, then its last words.
    fn end(mut self) -> String {
        self.process.terminate().unwrap();
        self.process.end().unwrap().pop().unwrap()
    }
}

fn key(order: u32) -> String {
    format!("order {order}")
}

fn mail(order: u32) -> Value {
    json!({ "to": "ann@example.org", "subject": format!("Order {order}"), "text": "It is on its way." })
}

#[test]
fn killed_while_mails_come_in_and_go_out_it_loses_none_and_each_is_delivered_once() {
    const FIRST: u32 = 20;
    let town = Town::new("mail-killed");
    let mut service = town.service(50);
    let mut ids: BTreeMap<u32, String> = (1..=FIRST).map(|order| (order, service.take(order).unwrap())).collect();
    town.mailbox.hold();
    let held = town.mailbox.until(|arrivals| arrivals.held.is_some()).unwrap().held.unwrap();

    // A client that goes on asking until nobody answers, so that the kill comes in the middle of its requests.
    let (answered, answers) = mpsc::channel();
    let url = service.url.clone();
    let asking = thread::spawn(move || {
        let service = |order| client().post(format!("{url}/mails")).header(KEY, key(order)).send_json(mail(order));
        for order in FIRST + 1.. {
            match service(order) {
                Ok(mut answer) => {
                    let body: Result<Value, _> = answer.body_mut().read_json();
                    let Ok(body) = body else { return order };
                    answered.send((order, body["id"].as_str().unwrap().to_owned())).unwrap();
                }
                Err(_) => return order,
            }
        }
        unreachable!("orders do not run out")
    });
    ids.extend(answers.iter().take(10));
    service.process.kill().unwrap();
    let unanswered = asking.join().unwrap();
    ids.extend(answers.iter());
    town.mailbox.release();
    assert_eq!(ids.len() as u32, unanswered - 1, "each but the last was answered");

    let service = town.service(50);
    ids.insert(unanswered, service.take(unanswered).unwrap());
    let arrivals = town.all_delivered(&ids);
    assert!(service.end().starts_with("ended in order"));

    let distinct: BTreeSet<&String> = ids.values().collect();
    assert!(distinct.into_iter().eq(arrivals.delivered.keys()), "a mail that nobody asked for, or two under one key");
    for (order, id) in &ids {
        assert_eq!(serde_json::from_slice::<Value>(&arrivals.delivered[id]).unwrap(), mail(*order));
    }
    // Refused once, delivered without an answer, sent again.
    assert_eq!(arrivals.sent[&held], 3, "{held}");
    let service = town.service(50);
    for (order, id) in &ids {
        assert_eq!(service.get(id).1["state"], "succeeded", "{order}");
        assert_eq!(service.take(*order).unwrap(), *id);
    }
    service.end();
    assert_eq!(town.mailbox.until(|_| true).unwrap().sent, arrivals.sent, "a mail that was sent is not sent again");
    fs::remove_dir_all(&town.folder).unwrap();
}

#[test]
fn a_key_is_one_mail_and_another_mail_under_it_is_refused() {
    let town = Town::new("mail-keys");
    let service = town.service(3_600_000);
    let id = service.take(1).unwrap();
    assert_eq!(service.take(1).unwrap(), id);
    let (status, body) = service.get(&id);
    assert_eq!((status, &body["id"]), (200, &json!(id)));
    let (status, body) = service.post(&key(1), &mail(2)).unwrap();
    assert_eq!((status, &body["error"]), (422, &json!("this Idempotency-Key belongs to another mail")));

    // What does not come from a client that means well is answered, too, and nothing is stored.
    let long = "k".repeat(256);
    for (key, mail, wanted) in [
        ("", mail(1), 400),
        (&*long, mail(1), 400),
        ("a mail without a text", json!({ "to": "ann", "subject": "" }), 422),
        ("a mail with more", json!({ "to": "ann", "subject": "", "text": "", "cc": "bob" }), 422),
        ("a long mail", json!({ "to": "ann", "subject": "", "text": "x".repeat(70_000) }), 413),
    ] {
        assert_eq!(service.post(key, &mail).unwrap().0, wanted, "{key}");
    }
    // As long as may be, and each character of it escaped.
    let (status, _) =
        service.post(&long[1..], &json!({ "to": "ann", "subject": "", "text": "\u{1}".repeat(10_000) })).unwrap();
    assert_eq!(status, 202);
    for id in ["0", "00000000-0000-0000-0000-000000000000", "..%2F"] {
        assert_eq!(service.get(id).0, 404, "{id}");
    }
    service.end();

    // A build that tries again after another while makes another request of the same mail, which is the same to a client.
    let service = town.service(50);
    assert_eq!(service.take(1).unwrap(), id);
    assert_eq!(service.post(&key(1), &mail(2)).unwrap().0, 422);
    service.end();
    fs::remove_dir_all(&town.folder).unwrap();
}

#[test]
fn told_to_end_while_a_mail_is_on_its_way_it_waits_for_it_and_goes_on_with_the_others_at_the_next_start() {
    let town = Town::new("mail-ended");
    let mut service = town.service(50);
    town.mailbox.hold();
    let ids: BTreeMap<u32, String> = (1..=5).map(|order| (order, service.take(order).unwrap())).collect();
    let held = town.mailbox.until(|arrivals| arrivals.held.is_some()).unwrap().held.unwrap();
    service.process.terminate().unwrap();
    service.process.says("ending").unwrap();
    town.mailbox.release();
    assert_eq!(service.process.end().unwrap(), ["ended in order: 0 given back"]);

    let service = town.service(50);
    let arrivals = town.all_delivered(&ids);
    assert_eq!(service.get(&held).1["state"], "succeeded");
    service.end();
    assert_eq!(arrivals.sent[&held], 2, "it was refused once, and its end was written down");
    assert_eq!(arrivals.delivered.len(), ids.len());
    fs::remove_dir_all(&town.folder).unwrap();
}
