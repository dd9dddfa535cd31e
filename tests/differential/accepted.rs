//! What we pass on, nginx and HAProxy frame as we do: as many requests with the same bodies, or fewer for a reason that
//! `differences` names.

use std::collections::HashMap;
use std::time::Duration;

use crate::differences::{DIFFERENCES, covering};
use crate::generator;
use crate::ours::{self, End, Ours};
use crate::servers::{Chain, Seen, Server};

/// Connections; each carries up to three requests and one more.
const CASES: usize = 6000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Ends every connection: a server that has taken too much for a body does not see it, one that took too little sees
/// more than it.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: a\r\nX-Tag: last\r\nConnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn what_we_accept_nginx_frames_identically() {
    accepted(Server::Nginx);
}

#[test]
fn what_we_accept_haproxy_frames_identically() {
    accepted(Server::Haproxy);
}

fn accepted(server: Server) {
    let chain = Chain::start(server, "accepted");
    let mut random = generator::Random::new(SEED);
    let (mut requests, mut same) = (0, 0);
    let (mut used, mut wrong) = (HashMap::new(), Vec::new());
    for _ in 0..CASES {
        let Some((case, ours)) = acceptable(generator::case(&mut random)) else { continue };
        requests += ours.requests.len();
        let (seen, got) = chain.send(&case, PATIENCE);
        let expected: Vec<&Seen> = ours.requests.iter().map(|(seen, _)| seen).collect();
        let agree = seen.iter().zip(&expected).take_while(|(seen, ours)| seen == *ours).count();
        if agree == expected.len() && (agree == seen.len() || stays_open(&ours)) {
            same += 1;
            continue;
        }
        let refused = ours.requests.get(agree).filter(|_| agree == seen.len());
        let text = refused.map(|(_, own)| String::from_utf8_lossy(own)).unwrap_or_default();
        let rows: Vec<&str> = covering(server, &text).map(|row| row.name).collect();
        if rows.is_empty() {
            let got = String::from_utf8_lossy(&got).lines().next().unwrap_or_default().to_owned();
            wrong.push(format!("{}\n  saw {seen:?}\n  not {expected:?}\n  said {got}", case.escape_ascii()));
        }
        // Only a row that is the single reason proves that it is one.
        if let [row] = rows.as_slice() {
            *used.entry(*row).or_insert(0) += 1;
        }
    }
    println!("{server:?}: {requests} requests; {same} connections framed the same; it served less of:");
    for row in DIFFERENCES.iter().filter(|row| row.server == server) {
        println!("  {:>4} {} ({})", used.get(row.name).copied().unwrap_or(0), row.name, row.reason);
    }
    let count = wrong.len();
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{server:?} treats {count} of {CASES} otherwise:\n{}", wrong.join("\n"));
    assert!(same > CASES / 2 && requests > CASES, "{requests} requests, {same} the same: too few to tell anything");
    let unused = DIFFERENCES.iter().filter(|row| row.server == server && !used.contains_key(row.name));
    let unused: Vec<&str> = unused.map(|row| row.name).collect();
    assert!(unused.is_empty(), "no longer differences of {server:?}: {unused:?}");
}

/// What of a connection's bytes we accept, and a last request. The rest never leaves us.
fn acceptable(mut case: Vec<u8>) -> Option<(Vec<u8>, Ours)> {
    let ours = ours::read(&case);
    if matches!(ours.end, End::Refused | End::Incomplete) {
        case.truncate(ours.requests.iter().map(|(_, own)| own.len()).sum());
    }
    if case.is_empty() {
        return None;
    }
    case.extend_from_slice(LAST);
    let ours = ours::read(&case);
    Some((case, ours))
}

/// We end a connection after a request that says `close`, whatever else it says. nginx believes the last field and
/// would serve what follows; we forward none of it.
fn stays_open(ours: &Ours) -> bool {
    let last =
        ours.requests.last().map(|(_, own)| String::from_utf8_lossy(own).to_ascii_lowercase()).unwrap_or_default();
    ours.end == End::Closed && last.matches("\nconnection:").count() > 1
}
