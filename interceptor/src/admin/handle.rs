//! What each path of the admin API answers.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::Body;
use super::{AdminState, answer};
use crate::explain::{ExplainRequest, explain};
use crate::flow::{Filter, FilterError};
use crate::privileges::Confinement;
use crate::propagate::Recalled;
use crate::query::{self, QueryError};
use crate::snapshot::Snapshot;
use crate::status::Status;
use crate::view;
use crate::wanted::Wanted;

/// The largest body of a request.
const MAX_BODY: usize = 64 * 1024;
/// For a body to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// Records that `/v1/flows` shows where nobody says how many.
const DEFAULT_LAST: usize = 100;

const PATHS: &str = "there are /v1/status, /v1/spaces, /v1/services, /v1/workloads, /v1/routes?workload=NAME, /v1/flows and \
                     POST /v1/explain";

/// Answers one request.
pub(super) async fn answer(
    state: AdminState,
    request: Request<Incoming>,
    shutdown: watch::Receiver<bool>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (get, known) = match path.as_str() {
        "/v1/explain" => (false, true),
        "/v1/status" | "/v1/spaces" | "/v1/services" | "/v1/workloads" | "/v1/routes" | "/v1/flows" => (true, true),
        _ => (true, false),
    };
    if !known {
        return answer::error(StatusCode::NOT_FOUND, format!("there is no {path}"), PATHS);
    }
    let (method, word) = if get { (Method::GET, "GET") } else { (Method::POST, "POST") };
    if *request.method() != method {
        return answer::wrong_method(&path, word);
    }
    let snapshot = state.snapshot.load_full();
    let wanted = Wanted::new(&snapshot, state.services);
    match path.as_str() {
        "/v1/status" => answer::json(&Status {
            // Without /proc nothing is known of it, and none of it shown.
            privileges: Confinement::of_process().unwrap_or_default(),
            ..state.status.report(&snapshot, &state.hub, &state.metrics)
        }),
        "/v1/spaces" => answer::lines(&view::spaces(&snapshot)),
        "/v1/services" => answer::lines(&view::services(&snapshot, &wanted)),
        "/v1/workloads" => answer::lines(&view::workloads(&snapshot, &state.status)),
        "/v1/routes" => routes(&snapshot, &wanted, &query),
        "/v1/flows" => flows(&state, &query, shutdown),
        _ => match body(request).await {
            Ok(body) => explained(&state, &snapshot, &wanted, &body),
            Err(refused) => *refused,
        },
    }
}

fn routes(snapshot: &Snapshot, wanted: &Wanted<'_>, query: &str) -> Response<Body> {
    const HINT: &str = "give the workload as /v1/routes?workload=NAME; /v1/workloads lists them";
    let pairs = match query::pairs(query) {
        Ok(pairs) => pairs,
        Err(error) => return answer::error(StatusCode::BAD_REQUEST, error.to_string(), HINT),
    };
    let Some((_, workload)) = pairs.into_iter().find(|(key, _)| key == "workload") else {
        return answer::error(StatusCode::BAD_REQUEST, "no workload is given", HINT);
    };
    match view::routes(snapshot, wanted, &workload) {
        Some(routes) => answer::lines(&routes),
        None => {
            let what = format!("no captured workload is named {workload:?}");
            answer::error(StatusCode::NOT_FOUND, what, "`interceptor workloads` lists them")
        }
    }
}

/// What `/v1/flows` is asked for.
#[derive(Debug, Default)]
struct FlowsQuery {
    filter: Filter,
    last: Option<usize>,
    follow: bool,
}

#[derive(Debug, thiserror::Error)]
enum FlowsError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("{0:?} is no number of records")]
    Last(String),
    #[error("{0:?} is neither true nor false")]
    Follow(String),
}

impl FlowsQuery {
    fn parse(query: &str) -> Result<Self, FlowsError> {
        let mut parsed = Self::default();
        for (key, value) in query::pairs(query)? {
            match (key.as_str(), value.as_str()) {
                ("last", number) => {
                    parsed.last = Some(number.parse().map_err(|_| FlowsError::Last(value.clone()))?);
                }
                ("follow", "true" | "1" | "") => parsed.follow = true,
                ("follow", "false" | "0") => parsed.follow = false,
                ("follow", _) => return Err(FlowsError::Follow(value)),
                _ if parsed.filter.set(&key, &value)? => {}
                _ => return Err(FilterError::UnknownKey(key).into()),
            }
        }
        Ok(parsed)
    }
}

fn flows(state: &AdminState, query: &str, shutdown: watch::Receiver<bool>) -> Response<Body> {
    let FlowsQuery { filter, last, follow } = match FlowsQuery::parse(query) {
        Ok(parsed) => parsed,
        Err(error) => {
            let hint = "besides the filters there are last=NUMBER and follow=true";
            return answer::error(StatusCode::BAD_REQUEST, error.to_string(), hint);
        }
    };
    answer::records(if follow {
        let follower = state.hub.follow(filter, last.unwrap_or(0));
        Body::follow(follower, state.metrics.clone(), shutdown)
    } else {
        Body::Records(state.hub.recent(&filter, last.unwrap_or(DEFAULT_LAST)).into_iter())
    })
}

/// A request's body, within bounds; or the answer that refuses it.
async fn body(request: Request<Incoming>) -> Result<Bytes, Box<Response<Body>>> {
    let collected = timeout(BODY_DEADLINE, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let refuse = |status, error: String, hint: &str| Box::new(answer::error(status, error, hint));
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let what = format!("the body is larger than {MAX_BODY} bytes");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, what, "send less"))
        }
        Ok(Err(error)) => Err(refuse(StatusCode::BAD_REQUEST, format!("reading the body: {error}"), "send it again")),
        Err(_) => {
            Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned(), "send it again"))
        }
    }
}

fn explained(state: &AdminState, snapshot: &Snapshot, wanted: &Wanted<'_>, body: &[u8]) -> Response<Body> {
    let request: ExplainRequest = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => {
            let hint = r#"send {"workload":"W","url":"http://serviceB/","headers":[["azds-route-as","azureuser"]]}"#;
            return answer::error(StatusCode::BAD_REQUEST, format!("the body is not understood: {error}"), hint);
        }
    };
    let recall = |ids: &_| {
        let workload = snapshot.workload(&request.workload);
        let memory = workload.and_then(|workload| state.neighbours.at(*workload.addresses.first()?));
        memory.map_or(Recalled::Unknown, |memory| memory.recall(ids))
    };
    match explain(snapshot, wanted, &request, recall) {
        Ok(explanation) => answer::json(&explanation),
        Err(error) => {
            answer::error(StatusCode::BAD_REQUEST, error.to_string(), "give a URL like http://serviceB.default/path")
        }
    }
}
