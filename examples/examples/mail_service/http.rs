//! The requests: a mail comes in, a question about it, and the answers.

use std::error::Error;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use workman_core::{Backoff, EnqueueError, HandleError, Refusal, WorkHandle, WorkId, WorkManager};
use workman_examples::mailbox::KEY;

use super::{Mail, send_mail};

/// With every character escaped, it is less than a payload may be.
const LONGEST_BODY: usize = 64 << 10;
const LONGEST_KEY: usize = 255;

/// How long a key is known after its mail went out, at the least. After that it may be used for another.
const KNOWN: Duration = Duration::from_secs(24 * 3600);

/// Ids of mails are their keys, hashed in this namespace.
const MAILS: Uuid = Uuid::from_u128(0x6ba0_23c4_58f6_4c1e_9d8a_7f0e_31b5_c2d7);

#[derive(Clone)]
struct App {
    manager: WorkManager,
    retry: Duration,
}

pub(super) fn router(manager: WorkManager, retry: Duration) -> Router {
    Router::new()
        .route("/mails", post(post_mail))
        .route("/mails/{id}", get(get_mail))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(App { manager, retry })
}

/// The key becomes the id of the work, and `enqueue` stores one work for each id: no look before, so no race. A unique name would
/// not do: with `Keep` it is free again as soon as the mail is sent, and a client that asks again then sends a second one.
async fn post_mail(State(app): State<App>, headers: HeaderMap, Json(mail): Json<Mail>) -> Result<Response, Refused> {
    let key = headers.get(KEY).map_or(&[][..], |key| key.as_bytes());
    if !(1..=LONGEST_KEY).contains(&key.len()) {
        return Err(Refused(StatusCode::BAD_REQUEST, format!("{KEY} is to have 1 to {LONGEST_KEY} bytes")));
    }
    let id = WorkId::from_u128(Uuid::new_v5(&MAILS, key).as_u128());
    let request = send_mail::request(mail.clone())
        .with_id(id)
        .backoff(Backoff::exponential(app.retry))
        .keep_results_for_at_least(KNOWN);
    let mail = match app.manager.enqueue(request).await {
        Ok(mail) => mail, // on disk, now or long ago
        Err(EnqueueError::Refused(Refusal::IdReused(_))) => the_same(&app.manager, id, &mail).await?,
        Err(error @ EnqueueError::Store { .. }) => return Err(unavailable(error)),
        Err(error) => return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
    };
    let location = [(LOCATION, format!("/mails/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(status(&app.manager, &mail).await?)).into_response())
}

/// What is stored under a key, if it is this mail. A service that has learned another backoff since makes another request of the
/// same mail; to the client it is the same.
async fn the_same(manager: &WorkManager, id: WorkId, mail: &Mail) -> Result<WorkHandle<()>, Refused> {
    /// The arguments of [`send_mail`](super::send_mail()).
    #[derive(Deserialize)]
    struct Input {
        mail: Mail,
    }

    let handle = find(manager, id).await?;
    let stored = handle.info().await.map_err(unavailable)?.ok_or_else(not_found)?;
    match stored.input.decode::<Input>() {
        Ok(stored) if stored.mail == *mail => Ok(handle),
        _ => Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, format!("this {KEY} belongs to another mail"))),
    }
}

async fn get_mail(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Status>, Refused> {
    let id = id.parse().map_err(|_| not_found())?;
    let mail = find(&app.manager, id).await?;
    Ok(Json(status(&app.manager, &mail).await?))
}

async fn find(manager: &WorkManager, id: WorkId) -> Result<WorkHandle<()>, Refused> {
    manager.handle(send_mail::worker(), id).await.map_err(|error| match error {
        HandleError::Store(error) => unavailable(error),
        _ => not_found(),
    })
}

/// How far a mail is.
#[derive(Serialize)]
struct Status {
    id: String,
    state: String,
    /// The same in a sentence: what it waits for, how it ended.
    why: String,
    runs: u64,
    last_error: Option<String>,
}

async fn status(manager: &WorkManager, mail: &WorkHandle<()>) -> Result<Status, Refused> {
    let info = mail.info().await.map_err(unavailable)?.ok_or_else(not_found)?;
    Ok(Status {
        id: info.id.to_string(),
        state: info.state.to_string(),
        why: manager.explain(info.id).await.map_err(unavailable)?.to_string(),
        runs: info.runs,
        last_error: info.last_error().map(ToString::to_string),
    })
}

/// An answer that is no yes.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(status, why) = self;
        (status, Json(serde_json::json!({ "error": why }))).into_response()
    }
}

fn not_found() -> Refused {
    Refused(StatusCode::NOT_FOUND, "there is no such mail".into())
}

/// The mail may be stored all the same, so a client asks again with the same key.
fn unavailable(error: impl Error) -> Refused {
    Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
