//! `propagate: thread` on the data path: tells the hooks which request an application has on which connection, and asks
//! them for which one a call was made.
//!
//! Called by `http1`. What the hooks cannot tell, or what needs more than one answer, is not traced back and counted.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use interceptor_common::threads::{Call, Origin, Request};
use interceptor_common::{FactsKey, NetPort};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::connect::Upstream;
use super::{Connection, Context};
use crate::captured::Captured;
use crate::metrics::CallOrigin;
use crate::net::side::Side;
use crate::propagate::Recalled;
use crate::route::{Direction, SpaceFrom};

/// How often other connections of this worker are served first while answers are expected to be on their way to us.
const YIELDS: u32 = 8;
/// How often, and for how long, answers are waited for that other workers have to take, or that the application's kernel
/// holds back until we have acknowledged their beginning (40 ms at most, `TCP_DELACK_MIN`). A thread that answers and then
/// reads its next request can be faster than we are.
const WAITS: u32 = 50;
const WAIT: Duration = Duration::from_millis(1);

/// What a call was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Traced {
    /// Nobody asked: the workload's threads are not followed.
    Off,
    /// A request of this space, or of none.
    Request(Option<Arc<str>>),
    /// It cannot be told.
    Unclear(CallOrigin),
}

impl Traced {
    /// What routing makes of it.
    pub(super) fn recalled(&self) -> Recalled {
        match self {
            Self::Request(Some(space)) => Recalled::Space(Arc::clone(space), SpaceFrom::Thread),
            Self::Off | Self::Request(None) | Self::Unclear(CallOrigin::Unseen | CallOrigin::NoRequest) => {
                Recalled::Unknown
            }
            Self::Unclear(_) => Recalled::Ambiguous(SpaceFrom::Thread),
        }
    }
}

/// A request that an application has; dropped when it is answered.
pub(super) struct Given {
    context: Rc<Context>,
    workload: Arc<Captured>,
    connection: u64,
    request: u64,
}

impl Drop for Given {
    fn drop(&mut self) {
        self.context.kernel.borrow_mut().end_request(self.connection);
        self.workload.threads.end(self.request);
    }
}

/// Says that the application is about to get a request of that number and space on this connection. `None` where its
/// threads are not followed, or there is no room to say it.
pub(super) fn give(
    connection: &Connection,
    upstream: &Upstream,
    request: u64,
    space: Option<&Arc<str>>,
) -> Option<Given> {
    let number = upstream.number.filter(|_| connection.direction == Direction::Inbound)?;
    connection.workload.threads.begin(request, space.cloned());
    let given = Given {
        context: Rc::clone(&connection.context),
        workload: Arc::clone(&connection.workload),
        connection: number,
        request,
    };
    let said = Request { id: request, start: position(upstream.side.written), pad: 0 };
    let begun = given.context.kernel.borrow_mut().begin_request(number, said);
    begun.then_some(given)
}

/// What the request at the front of the client's buffer was made for.
pub(super) async fn trace(connection: &Connection, client: &Side) -> Traced {
    if connection.direction != Direction::Outbound || !connection.workload.threads.are_followed() {
        return Traced::Off;
    }
    let begun = key(connection).and_then(|key| connection.context.kernel.borrow().call(&key));
    let traced = match begun.filter(|call| call.at == position(client.position())) {
        Some(call) => origin(connection, &call).await,
        None => Traced::Unclear(CallOrigin::Unseen),
    };
    connection.workload.threads.count(match &traced {
        Traced::Unclear(why) => *why,
        Traced::Off | Traced::Request(_) => CallOrigin::Traced,
    });
    traced
}

async fn origin(connection: &Connection, call: &Call) -> Traced {
    let threads = &connection.workload.threads;
    Traced::Unclear(match Origin::from_word(call.origin) {
        Origin::Unseen => CallOrigin::Unseen,
        Origin::NoRequest => CallOrigin::NoRequest,
        Origin::Answered => CallOrigin::Answered,
        Origin::SeveralThreads => CallOrigin::SeveralThreads,
        Origin::SeveralRequests => CallOrigin::SeveralRequests,
        Origin::Process => CallOrigin::Process,
        Origin::Found => match threads.space(call.request) {
            None => CallOrigin::NoRequest,
            Some(_) if !are_over(connection, &call.earlier).await => CallOrigin::SeveralRequests,
            Some(space) => return Traced::Request(space),
        },
    })
}

/// Waits a little until none of these requests is under way any more. The thread has begun to answer each of them and has
/// read another request since: usually the answer is whole and has only to be taken.
async fn are_over(connection: &Connection, requests: &[u64]) -> bool {
    let under_way = || connection.workload.threads.any(requests);
    for _ in 0..YIELDS {
        if !under_way() {
            return true;
        }
        yield_now().await;
    }
    for _ in 0..WAITS {
        if !under_way() {
            return true;
        }
        sleep(WAIT).await;
    }
    !under_way()
}

/// Forgets what the hooks know of a client's connection that has ended.
pub(super) fn forget(context: &Context, workload: &Captured, key: Option<FactsKey>) {
    if let Some(key) = key.filter(|_| workload.threads.are_followed()) {
        context.kernel.borrow_mut().forget_calls(&key);
    }
}

fn key(connection: &Connection) -> Option<FactsKey> {
    outbound_key(&connection.context, &connection.workload, connection.original, connection.client)
}

/// How the hooks name an application's connection to the agent.
pub(super) fn outbound_key(
    context: &Context,
    workload: &Captured,
    original: SocketAddr,
    client: SocketAddr,
) -> Option<FactsKey> {
    let agent = context.destinations.loopback(original)?;
    Some(FactsKey { netns: workload.cookie, agent, port: NetPort::from_host(client.port()), pad: 0 })
}

/// As the hooks count: modulo 2³².
fn position(bytes: u64) -> u32 {
    u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or_default()
}
