//! The server of a daemon: webhooks come in, metrics and states go out. Nothing here changes anything but when
//! a repository is looked at.

use std::{future::poll_fn, net::TcpListener, pin::Pin, sync::Arc, time::Duration};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use crossbeam_channel::Sender;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    event::{Event, Id},
    metrics,
    schedule::Schedule,
    watch::{Message, Watch},
    webhook::{self, Said},
};

/// How long the body of a webhook may take to arrive, and to find room; GitHub waits 10 seconds for an answer.
const BODY_SECONDS: u64 = 10;
/// How long the driver may take to note a push; GitHub waits 10 seconds for an answer.
const NOTE_SECONDS: u64 = 8;
/// How long requests may take that are under way when the server is to stop.
const STOP_SECONDS: u64 = 3;
/// Repositories in one answer.
const PAGE: usize = 1000;
/// Bytes of bodies that may have arrived and not be dealt with. GitHub's are some 10 KB, and 25 MB at most; a burst of some
/// thousand fits, and what does not waits.
const BODIES_BYTES_MAX: usize = 128 << 20;

/// What the server needs to know.
pub struct Access {
    /// The secret of webhooks; none are taken without.
    pub secret: Option<Vec<u8>>,
    /// Who asks for metrics and states has to know it, if it is set.
    pub token: Option<String>,
    /// Whether who may ask may also have a repository looked at.
    pub is_writable: bool,
}

struct Server {
    watch: Arc<Watch>,
    driver: Sender<Message>,
    access: Access,
    /// A permit for each byte.
    bodies: tokio::sync::Semaphore,
}

/// The body of a webhook, and its room.
struct Held<'s> {
    bytes: Vec<u8>,
    room: Vec<tokio::sync::SemaphorePermit<'s>>,
}

/// Serves on `listener` until `stop` comes.
///
/// # Errors
/// The listener can't be used.
pub fn serve(
    listener: TcpListener,
    watch: Arc<Watch>,
    driver: Sender<Message>,
    access: Access,
    stop: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let server = Server { watch, driver, access, bodies: tokio::sync::Semaphore::new(BODIES_BYTES_MAX) };
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page_of_metrics))
        .route("/webhook/github", post(github))
        .route("/api/repositories", get(repositories))
        .route("/api/repositories/{*id}", get(repository).post(wish))
        .with_state(Arc::new(server));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (told, tell) = oneshot::channel();
        let graceful = async move {
            // Whoever is to stop it may also just be gone.
            _ = stop.await;
            _ = told.send(());
        };
        let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
        let late = async move {
            _ = tell.await;
            tokio::time::sleep(Duration::from_secs(STOP_SECONDS)).await;
        };
        tokio::select! {
            result = serving.into_future() => result,
            () = late => Ok(()),
        }
    })
}

fn answer(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    answer(status, &json!({"error": reason}))
}

/// Whether who asks may know; the refusal where not.
fn check(server: &Server, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(token) = &server.access.token else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let given = given.map(|(_, token)| token.trim()).unwrap_or_default();
    // Digests, since the comparison tells lengths apart.
    let [given, token] = [given, token].map(|text| blake3::hash(text.as_bytes()));
    match verify_slices_are_equal(given.as_bytes(), token.as_bytes()) {
        Ok(()) => Ok(()),
        Err(_) => Err(Box::new(refuse(StatusCode::UNAUTHORIZED, "Authorization: Bearer TOKEN is missing or wrong"))),
    }
}

async fn healthz(State(server): State<Arc<Server>>) -> Response {
    if server.watch.is_alive() {
        return answer(StatusCode::OK, &json!({"alive": true}));
    }
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the driver does not move")
}

async fn readyz(State(server): State<Arc<Server>>) -> Response {
    if server.watch.is_ready() {
        return answer(StatusCode::OK, &json!({"ready": true}));
    }
    refuse(StatusCode::SERVICE_UNAVAILABLE, "sources are being read, or it is about to stop")
}

async fn page_of_metrics(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = check(&server, &headers) {
        return *refusal;
    }
    let page = metrics::page(&server.watch.schedule(), &server.watch.counters());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

async fn github(State(server): State<Arc<Server>>, request: Request) -> Response {
    let response = webhook(&server, request).await;
    if !response.status().is_success() {
        server.watch.counters().webhook("refused");
    }
    response
}

async fn webhook(server: &Server, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let of = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(secret) = &server.access.secret else {
        return refuse(StatusCode::NOT_FOUND, "no webhooks are taken: --webhook-secret-file is not set");
    };
    // Nobody's body is read who does not even claim to know the secret.
    let signature = of("x-hub-signature-256");
    if !webhook::is_signature(signature) {
        return refuse(StatusCode::UNAUTHORIZED, "X-Hub-Signature-256 is missing, or no signature");
    }
    let Held { bytes: body, room } = match body_of(server, body).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    if !webhook::is_genuine(secret, &body, signature) {
        return refuse(StatusCode::UNAUTHORIZED, "X-Hub-Signature-256 does not match");
    }
    if !of("content-type").starts_with("application/json") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the hook's content type has to be application/json");
    }
    let event = of("x-github-event");
    let known = webhook::EVENTS.iter().find(|known| **known == event).copied();
    let said = match webhook::read(event, &body) {
        Ok(said) => said,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &format!("no payload of {event}: {error}")),
    };
    drop((body, room));
    server.watch.counters().webhook(known.unwrap_or("other"));
    let identities = match said {
        Said::Ping => return answer(StatusCode::OK, &json!({"pong": true})),
        Said::Other => return answer(StatusCode::ACCEPTED, &json!({"watched": false})),
        Said::Repository(identities) => identities,
    };
    let ids: Vec<Id> = {
        let schedule = server.watch.schedule();
        identities.iter().filter_map(|identity| schedule.find(identity)).collect()
    };
    if ids.is_empty() {
        return answer(StatusCode::ACCEPTED, &json!({"watched": false}));
    }
    match note(server, ids.into_iter().map(Event::Pushed).collect()).await {
        Ok(()) => answer(StatusCode::OK, &json!({"watched": true})),
        Err(refusal) => *refusal,
    }
}

/// Has what somebody asks for noted. It returns when that is written down: it is not lost then, whatever becomes of this process.
async fn note(server: &Server, events: Vec<Event>) -> Result<(), Box<Response>> {
    let (noted, note) = oneshot::channel();
    let sent = server.driver.send(Message::Asked(events, noted));
    match (sent, tokio::time::timeout(Duration::from_secs(NOTE_SECONDS), note).await) {
        (Ok(()), Ok(Ok(true))) => Ok(()),
        _ => Err(Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, "it could not be noted; send it again"))),
    }
}

/// Reads a body. Room is taken for what has arrived and not for what is announced, so that those who announce much and send
/// little keep it from nobody.
async fn body_of(server: &Server, body: Body) -> Result<Held<'_>, Box<Response>> {
    match tokio::time::timeout(Duration::from_secs(BODY_SECONDS), read(server, body)).await {
        Ok(Some(held)) => Ok(held),
        Ok(None) => {
            Err(Box::new(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is cut off, or has more than 25 MiB")))
        }
        Err(_) => {
            let reason = "the body took too long, or too much came at once; send it again";
            Err(Box::new(refuse(StatusCode::REQUEST_TIMEOUT, reason)))
        }
    }
}

/// `None` where it is cut off, or too large.
async fn read(server: &Server, mut body: Body) -> Option<Held<'_>> {
    let mut held = Held { bytes: Vec::new(), room: Vec::new() };
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(part) = frame.ok()?.into_data() else { continue };
        if held.bytes.len() + part.len() > webhook::BODY_BYTES_MAX {
            return None;
        }
        held.room.push(server.bodies.acquire_many(u32::try_from(part.len()).ok()?).await.ok()?);
        held.bytes.extend_from_slice(&part);
    }
    Some(held)
}

async fn repositories(State(server): State<Arc<Server>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    if let Err(refusal) = check(&server, &headers) {
        return *refusal;
    }
    let query = query.unwrap_or_default();
    let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let (after, wanted) = match (of("after").unwrap_or("0").parse::<Id>(), of("condition")) {
        (Ok(after), wanted) => (after, wanted),
        (Err(_), _) => return refuse(StatusCode::BAD_REQUEST, "after is the number that the page before gave as next"),
    };
    let (page, next) = {
        let schedule = server.watch.schedule();
        let is_wanted = |id: &Id| wanted.is_none_or(|wanted| schedule.state(*id).condition() == wanted);
        let mut ids = schedule.ids().skip_while(|id| *id < after).filter(is_wanted);
        let page: Vec<Id> = ids.by_ref().take(PAGE).collect();
        (page.iter().map(|id| of_repository(&server.watch, &schedule, *id)).collect::<Vec<_>>(), ids.next())
    };
    answer(StatusCode::OK, &json!({"repositories": page, "next": next}))
}

async fn repository(State(server): State<Arc<Server>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Err(refusal) = check(&server, &headers) {
        return *refusal;
    }
    let found = {
        let schedule = server.watch.schedule();
        schedule.find(&id).map(|id| of_repository(&server.watch, &schedule, id))
    };
    found.map_or_else(not_watched, |found| answer(StatusCode::OK, &found))
}

fn not_watched() -> Response {
    refuse(StatusCode::NOT_FOUND, "it is not watched; an id is an identity, as /api/repositories lists them")
}

/// Has a repository looked at, at once: `IDENTITY/look`; or mined from the start: `IDENTITY/mine`.
async fn wish(State(server): State<Arc<Server>>, headers: HeaderMap, Path(path): Path<String>) -> Response {
    if let Err(refusal) = check(&server, &headers) {
        return *refusal;
    }
    if !server.access.is_writable {
        return refuse(StatusCode::FORBIDDEN, "nothing can be changed through this server: --writable is not set");
    }
    let (identity, event): (_, fn(Id) -> Event) = match path.rsplit_once('/') {
        Some((identity, "look")) => (identity, Event::Pushed),
        Some((identity, "mine")) => (identity, Event::Again),
        _ => return refuse(StatusCode::NOT_FOUND, "what can be asked for is IDENTITY/look and IDENTITY/mine"),
    };
    let found = server.watch.schedule().find(identity);
    let Some(id) = found else { return not_watched() };
    match note(&server, vec![event(id)]).await {
        Ok(()) => answer(StatusCode::OK, &of_repository(&server.watch, &server.watch.schedule(), id)),
        Err(refusal) => *refusal,
    }
}

fn of_repository(watch: &Watch, schedule: &Schedule, id: Id) -> Value {
    let (place, state) = (schedule.place(id), schedule.state(id));
    json!({
        "identity": place.identity, "name": watch.spec(id).name, "host": place.host, "condition": state.condition(),
        "doing": schedule.doing(id), "wanted_settings": place.settings, "state": state,
    })
}
