//! Queries over UDP: answered at once, or sent on over the way of the client's socket.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::Place;
use super::answer::{Limit, Verdict};
use super::forward::{Back, Way};
use crate::metrics::{DnsOutcome, DnsTransport};

/// One socket that stands for a server, and the clients whose queries are with that server.
struct Server {
    place: Rc<Place>,
    socket: UdpSocket,
    ways: RefCell<HashMap<SocketAddr, Rc<Way>>>,
}

/// Serves the socket until it is closed. What the server still owes by then is delivered.
pub(super) async fn serve(place: Rc<Place>, socket: UdpSocket, mut closed: watch::Receiver<()>) {
    let server = Rc::new(Server { place, socket, ways: RefCell::default() });
    loop {
        tokio::select! {
            biased;
            _ = closed.changed() => return,
            readable = server.socket.readable() => {
                if let Err(error) = readable {
                    tracing::error!(workload = %server.place.workload.name, %error, "a DNS socket is of no use");
                    return;
                }
            }
        }
        server.take_one();
    }
}

impl Server {
    /// Takes the next datagram, if there still is one.
    fn take_one(self: &Rc<Self>) {
        let mut datagram = self.place.context.datagram.borrow_mut();
        let (length, client) = match self.socket.try_recv_from(&mut datagram) {
            Ok(received) => received,
            // Gone again, or an error of an answer that its client did not wait for.
            Err(_) => return,
        };
        let query = datagram.get(..length).unwrap_or_default();
        let outcome = match self.place.context.judge(&self.place.workload.name, query, Limit::Udp) {
            Verdict::Answer(answer) => {
                self.tell(client, &answer);
                DnsOutcome::Answered
            }
            Verdict::Forward => self.forward(client, query, DnsOutcome::Forwarded),
            Verdict::Malformed => self.forward(client, query, DnsOutcome::Malformed),
        };
        self.place.context.count(DnsTransport::Udp, outcome);
    }

    fn forward(self: &Rc<Self>, client: SocketAddr, query: &[u8], sent: DnsOutcome) -> DnsOutcome {
        let known = self.ways.borrow().get(&client).map(Rc::clone);
        let way = match known.map_or_else(|| self.open(client), |way| Ok(Some(way))) {
            Ok(Some(way)) => way,
            Ok(None) => return DnsOutcome::Dropped,
            Err(error) => return self.failed(&error),
        };
        match way.send(query) {
            Ok(()) => sent,
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &io::Error) -> DnsOutcome {
        let Place { workload, server, .. } = &*self.place;
        tracing::debug!(workload = %workload.name, %server, %error, "sending a DNS query on");
        DnsOutcome::Failed
    }

    /// A new client socket's way; `None` where too many wait already.
    fn open(self: &Rc<Self>, client: SocketAddr) -> io::Result<Option<Rc<Way>>> {
        let mut ways = self.ways.borrow_mut();
        if ways.len() >= self.place.context.max_in_flight {
            let idle = ways.iter().find(|(_, way)| way.is_idle()).map(|(client, _)| *client);
            let Some(idle) = idle else { return Ok(None) };
            ways.remove(&idle);
        }
        let way = Rc::new(Way::open(&self.place)?);
        ways.insert(client, Rc::clone(&way));
        tokio::task::spawn_local(Rc::clone(self).bring_back(client, Rc::clone(&way)));
        Ok(Some(way))
    }

    /// Brings back what the server answers, until it has nothing more to say.
    async fn bring_back(self: Rc<Self>, client: SocketAddr, way: Rc<Way>) {
        loop {
            match way.receive(&self.place).await {
                Back::Response(length) => {
                    let datagram = self.place.context.datagram.borrow();
                    self.tell(client, datagram.get(..length).unwrap_or_default());
                }
                Back::Refused(answers) => {
                    answers.iter().for_each(|answer| self.tell(client, answer));
                    self.place.context.count(DnsTransport::Udp, DnsOutcome::Failed);
                }
                Back::Silence => break,
            }
        }
        let mut ways = self.ways.borrow_mut();
        if ways.get(&client).is_some_and(|current| Rc::ptr_eq(current, &way)) {
            ways.remove(&client);
        }
    }

    fn tell(&self, client: SocketAddr, answer: &[u8]) {
        // Without room in the client's buffer a datagram is lost, as on any network.
        if let Err(error) = self.socket.try_send_to(answer, client) {
            tracing::debug!(workload = %self.place.workload.name, %client, %error, "a DNS answer is lost");
        }
    }
}
