//! The other sides: a mail server, a client, and somebody who kills the service.

use std::env;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use workman_examples::cli::Failure;
use workman_examples::loopback::client;
use workman_examples::mailbox::{KEY, Mailbox};
use workman_examples::process::{Running, empty_folder};

const ORDERS: u32 = 5;

pub(super) fn play() -> Result<(), Failure> {
    let folder = empty_folder("mail-service")?;
    println!("the works are in {}, and are removed at the end", folder.display());
    let mailbox = Mailbox::start()?;
    let start = || -> Result<(Running, String), Failure> {
        let mut program = Command::new(env::current_exe()?);
        program.args(["--listen", "127.0.0.1:0", "--retry", "200", "--store"]).arg(folder.join("works.redb"));
        program.arg("--mail-server").arg(format!("http://{}", mailbox.address()));
        let mut service = Running::start(&mut program)?;
        let url = service.says("listening on ")?;
        println!("-- the service listens on {url}");
        Ok((service, url))
    };

    let (mut service, url) = start()?;
    mailbox.hold();
    let ids = (1..=ORDERS).map(|order| post(&url, order, "It is on its way.")).collect::<Result<Vec<_>, _>>()?;
    println!("{} mails were taken: 202", ids.len());
    println!(
        "order 1 once more, same key: {} mail",
        if post(&url, 1, "It is on its way.")? == ids[0] { "the same" } else { "another" }
    );
    println!("order 1 with another text, same key: {}", post(&url, 1, "It is lost.").err().ok_or("it was taken")?);
    let held = mailbox.until(|arrivals| arrivals.held.is_some())?.held;
    println!(
        "the mail server has refused each mail once, and has delivered {}, but not said so",
        held.unwrap_or_default()
    );
    service.kill()?;
    println!("kill -9");
    mailbox.release();

    let (mut service, url) = start()?;
    let arrivals = mailbox.until(|arrivals| arrivals.delivered.len() == ids.len())?;
    println!(
        "{} mails delivered, each once; they were sent {} times",
        ids.len(),
        arrivals.sent.values().sum::<usize>()
    );
    for id in &ids {
        let mail: Value = client().get(format!("{url}/mails/{id}")).call()?.body_mut().read_json()?;
        println!("{id}: {}, {} runs", mail["state"], mail["runs"]);
    }
    service.terminate()?;
    if cfg!(unix) {
        println!("SIGTERM\n{}", service.end()?.join("\n"));
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// Asks the service to send a mail about an order, and answers with the mail's id.
fn post(url: &str, order: u32, text: &str) -> Result<String, Failure> {
    let mail = json!({ "to": "ann@example.org", "subject": format!("Order {order}"), "text": text });
    let request = client().post(format!("{url}/mails")).header(KEY, format!("order {order}"));
    let answer: Value = request.send_json(mail)?.body_mut().read_json()?;
    Ok(answer["id"].as_str().ok_or("a mail has an id")?.to_owned())
}
