//! Tries kernel splice on this kernel before any connection depends on it, with the data path's own code over loopback.
//!
//! Called by `agent` at start where `proxy.splice: kernel` asks for it, and by `preflight`. What it proves is listed in
//! [`CASES`]; what it cannot is in docs/decisions/0005-kernel-splice.md. Takes some ten milliseconds, at most [`LIMIT`].

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use interceptor_common::splice;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::drain::Drain;
use super::opaque::{Means, Moved, pump};
use crate::config::Splice;
use crate::kernel::KernelSide;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::buffer::BufferPool;
use crate::net::side::Side;

/// After which the kernel is taken for one that stalls.
const LIMIT: Duration = Duration::from_secs(5);

/// Why kernel splice is not to be used here.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A thread, a runtime or a socket could not be had.
    #[error("the self-test of kernel splice could not run: {0}")]
    Io(#[from] io::Error),
    /// The kernel did not do what it should.
    #[error("the self-test of kernel splice failed at {case}: {what}")]
    Failed {
        /// Which case.
        case: &'static str,
        /// What was wrong.
        what: String,
    },
}

/// What is tried.
#[derive(Clone, Copy)]
enum Case {
    Sizes,
    HalfClose,
    SlowReader,
    Reset,
}

const CASES: [(&str, Case); 4] = [
    ("messages of 1 byte to 1 MiB both ways", Case::Sizes),
    ("each side ending its direction alone", Case::HalfClose),
    ("a reader that stops", Case::SlowReader),
    ("a reset", Case::Reset),
];

/// Tries everything on a thread of its own, over the maps of `kernel`.
///
/// # Errors
/// Where kernel splice is not to be used, with what went wrong.
pub fn run(kernel: impl KernelSide + Send + 'static) -> Result<(), Unfit> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(try_all(RefCell::new(Box::new(kernel))))
    };
    let thread = std::thread::Builder::new().name("splice-test".to_owned()).spawn(run)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked").into()))
}

/// Descriptors for a pipe each way.
const PIPES: usize = 4;

async fn try_all(kernel: RefCell<Box<dyn KernelSide>>) -> Result<(), Unfit> {
    for (name, case) in CASES {
        let failed = |what: String| Unfit::Failed { case: name, what };
        match timeout(LIMIT, play(&kernel, case)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("nothing moved for {} s", LIMIT.as_secs()))),
        }
    }
    Ok(())
}

/// Two connections with the data path between them; the outer ends belong to the case.
async fn play(kernel: &RefCell<Box<dyn KernelSide>>, case: Case) -> io::Result<()> {
    let (mut client, front) = pair().await?;
    let (back, mut server) = pair().await?;
    let (pool, metrics, drain) = (BufferPool::default(), Metrics::new(), Drain::default());
    let (mut front, mut back) = (Side::new(front, &pool), Side::new(back, &pool));
    let budget = Rc::new(Budget::new(0, PIPES));
    let means = Means { splice: Splice::Kernel, kernel, metrics: &metrics, after: 0, drain: &drain, budget: &budget };
    // Here before the kernel is asked for anything, and not yet read.
    client.write_all(&[1; 100]).await?;
    let relay = async {
        let moved = pump(means, &mut front, &mut back).await;
        if matches!(case, Case::Reset) {
            front.reset().await;
            back.reset().await;
        } else {
            drop((front, back));
        }
        moved
    };
    let ends = async {
        let mut early = [0; 100];
        server.read_exact(&mut early).await?;
        ensure(early == [1; 100], "early bytes differ")?;
        match case {
            Case::Sizes => sizes(client, server).await,
            Case::HalfClose => half_close(client, server).await,
            Case::SlowReader => slow_reader(client, server, &metrics).await,
            Case::Reset => reset(client, server).await,
        }
    };
    let (moved, outcome): (Moved, io::Result<(u64, u64)>) = tokio::join!(relay, ends);
    let (up, down) = outcome?;
    match (case, moved.broken) {
        (Case::Reset, None) => return Err(io::Error::other("it went unnoticed")),
        (Case::Reset, Some(_)) | (_, None) => {}
        (_, Some((side, error))) => return Err(io::Error::other(format!("{side:?} broke: {error}"))),
    }
    ensure((moved.up, moved.down) == (up + 100, down), "bytes are counted wrongly")?;
    let events = metrics.kernel_splice_events();
    ensure(events.handed > 0, "the kernel took no direction")?;
    let slow = matches!(case, Case::SlowReader);
    ensure((events.left > 0) == slow, if slow { "it takes without limit" } else { "it left a reader that keeps up" })
}

async fn sizes(mut client: TcpStream, mut server: TcpStream) -> io::Result<(u64, u64)> {
    let data = pattern(1 << 20);
    let mut total = 0;
    for size in [1, 2, 64, 1000, 1460, 4096, 65_535, 65_536, 1 << 18, 1 << 20, 1] {
        let message = data.get(..size).unwrap_or_default();
        pass(&mut client, &mut server, message).await?;
        pass(&mut server, &mut client, message).await?;
        total += u64::try_from(size).unwrap_or_default();
    }
    Ok((total, total))
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let mut got = vec![0; message.len()];
    let (sent, read) = tokio::join!(from.write_all(message), to.read_exact(&mut got));
    sent?;
    read?;
    ensure(got == message, "bytes differ")
}

async fn half_close(mut client: TcpStream, mut server: TcpStream) -> io::Result<(u64, u64)> {
    let data = pattern(300_000);
    let mut got = Vec::new();
    let send = async {
        client.write_all(&data).await?;
        client.shutdown().await
    };
    let (sent, read) = tokio::join!(send, server.read_to_end(&mut got));
    sent?;
    read?;
    ensure(got == data, "bytes before an end differ")?;
    // The other direction goes on.
    pass(&mut server, &mut client, &data).await?;
    server.shutdown().await?;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await?;
    ensure(rest.is_empty(), "bytes from nowhere")?;
    let len = u64::try_from(data.len()).unwrap_or_default();
    Ok((len, len))
}

/// More than the kernel queues is sent to a reader that begins when it was given up for slow.
async fn slow_reader(mut client: TcpStream, mut server: TcpStream, metrics: &Metrics) -> io::Result<(u64, u64)> {
    let data = pattern(usize::try_from(splice::LIMIT).unwrap_or_default());
    let send = async {
        for _ in 0..8 {
            client.write_all(&data).await?;
        }
        client.shutdown().await
    };
    let read = async {
        while metrics.kernel_splice_events().left == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let mut got = vec![0; data.len()];
        for _ in 0..8 {
            server.read_exact(&mut got).await?;
            ensure(got == data, "bytes differ")?;
        }
        ensure(server.read(&mut got).await? == 0, "bytes from nowhere")?;
        server.shutdown().await
    };
    let (sent, read) = tokio::join!(send, read);
    sent?;
    read?;
    Ok((8 * splice::LIMIT, 0))
}

async fn reset(mut client: TcpStream, mut server: TcpStream) -> io::Result<(u64, u64)> {
    pass(&mut client, &mut server, &pattern(1000)).await?;
    client.set_zero_linger()?;
    drop(client);
    match server.read(&mut [0; 1]).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok((1000, 0)),
        other => Err(io::Error::other(format!("{other:?} instead of a reset"))),
    }
}

/// Both ends of a new connection over loopback.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let ours = TcpStream::connect(listener.local_addr()?).await?;
    let address = ours.local_addr()?;
    loop {
        let (theirs, peer) = listener.accept().await?;
        // Anybody on the machine may connect.
        if peer == address {
            theirs.set_nodelay(true)?;
            ours.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}

fn ensure(holds: bool, otherwise: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(otherwise)) }
}

#[cfg(test)]
mod tests {
    use interceptor_common::{Client, ClientKey, Facts, FactsKey};

    use super::*;

    /// A kernel that knows nothing of sock maps.
    struct Old;

    impl KernelSide for Old {
        fn set_client(&mut self, _key: ClientKey, _client: Client) -> bool {
            false
        }
        fn remove_client(&mut self, _key: &ClientKey) {}
        fn take_facts(&mut self, _key: &FactsKey) -> Option<Facts> {
            None
        }
    }

    #[test]
    fn a_kernel_that_takes_no_direction_is_unfit_and_every_byte_arrives_all_the_same() {
        // The first case ends in order: what is not handed over is spliced.
        let error = run(Old).unwrap_err();
        let expected = "the self-test of kernel splice failed at messages of 1 byte to 1 MiB both ways: \
                        the kernel took no direction";
        assert_eq!(error.to_string(), expected);
    }
}
