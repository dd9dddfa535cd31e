//! `capture.fail: closed`: without an agent that answers, what it would have had is refused, and nothing else.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interceptor_tests::place::Place;
use interceptor_tests::{Agent, bins, wait};
use nix::sys::signal::Signal;

use crate::crash::{GET, OK, own_links, word, works_directly};
use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange};

/// Longer than the heartbeat's patience.
const STALE: Duration = Duration::from_millis(700);

/// A bpf file system for one test.
pub(crate) struct BpfFs(PathBuf);

impl BpfFs {
    pub(crate) fn mount(at: &Path) -> BpfFs {
        std::fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "bpf", "bpf", at.to_str().unwrap()]);
        BpfFs(at.to_owned())
    }

    /// Where agents pin their links in it.
    pub(crate) fn directory(&self) -> String {
        self.0.join("pins").to_str().unwrap().to_owned()
    }

    /// How many links are pinned in it, by whatever agent.
    pub(crate) fn pins(&self) -> usize {
        let Ok(agents) = std::fs::read_dir(self.directory()) else { return 0 };
        agents.map(|agent| std::fs::read_dir(agent.unwrap().path()).unwrap().count()).sum()
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        // Lazily: a test that failed may have left something in it.
        run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, args: &[&str]) {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// connect() in the client's pod, or from outside.
fn dial(wire: &Wire, way: Way, port: (u16, u16)) -> Result<(), ErrorKind> {
    let from = if way == Way::Outbound { &*wire.client } else { wire.lab.outside() };
    dial_at(from, &wire.address(way, port).to_string())
}

/// connect() in a place, to any address.
pub(crate) fn dial_at(from: &Place, to: &str) -> Result<(), ErrorKind> {
    let output = from.output("timeout", ["1", bins::pod().unwrap().to_str().unwrap(), "connect", "--to", to]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(124) => Err(ErrorKind::TimedOut),
        _ if said.contains("Operation not permitted") => Err(ErrorKind::PermissionDenied),
        _ if said.contains("Connection refused") => Err(ErrorKind::ConnectionRefused),
        _ if output.status.success() => Ok(()),
        _ => panic!("{to}: {output:?}"),
    }
}

#[track_caller]
fn is_refused(wire: &Wire) {
    let server = wire.listen(UNDECLARED);
    assert_eq!(dial(wire, Way::Outbound, UNDECLARED), Err(ErrorKind::PermissionDenied));
    assert_eq!(dial(wire, Way::Inbound, UNDECLARED), Err(ErrorKind::ConnectionRefused));
    drop(server);
    // Nobody would have intercepted that one.
    let other = wire.listen((9999, 9999));
    let client = wire.dial_at(Way::Outbound, wire.server.at(9999));
    exchange(&client, &other.accept(), GET, OK);
    let client = wire.dial_at(Way::Inbound, wire.server.at(9999));
    exchange(&client, &other.accept(), GET, OK);
}

#[track_caller]
fn is_intercepted(wire: &Wire) {
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        let before = wire.counted(word(way), "redirected");
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        assert_eq!(wire.counted(word(way), "redirected"), before + 1, "{way:?}");
    }
}

#[test]
fn with_fail_closed_nothing_passes_a_dead_or_hanging_agent() {
    let mut mounted = None;
    let mut wire = Wire::with_lab("closed", |lab, config| {
        let bpffs = BpfFs::mount(&lab.temp().join("bpf"));
        config.set("capture", "fail", "closed").set("capture", "heartbeat_timeout", "500ms");
        config.set("capture", "pin_directory", bpffs.directory());
        mounted = Some(bpffs);
    });
    let bpffs = mounted.unwrap();
    is_intercepted(&wire);
    // Two connect hooks, and one link for each of two pods.
    assert_eq!(bpffs.pins(), 4);

    wire.agent.process().signal(Signal::SIGSTOP).unwrap();
    std::thread::sleep(STALE);
    is_refused(&wire);
    wire.agent.process().signal(Signal::SIGCONT).unwrap();
    wait::until(LIMIT, "the agent to show itself to the hooks", || {
        let status = wire.agent.status()?;
        anyhow::ensure!(status["heartbeat_lapses"]["count"].as_u64() >= Some(1), "{status}");
        Ok(())
    })
    .unwrap();
    assert!(Way::BOTH.iter().all(|way| wire.counted(word(*way), "refused") >= 1));
    is_intercepted(&wire);

    // Dead, it refuses until there is another; which leaves nothing of it.
    wire.agent.kill9().unwrap();
    std::thread::sleep(STALE);
    is_refused(&wire);
    wire.agent = Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(bpffs.pins(), 4);
    is_intercepted(&wire);

    // A successor has pins of its own.
    let mut old = wire.agent.succeed(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(old.process().wait(LIMIT).unwrap().code(), Some(0), "{}", old.log_tail(20));
    assert_eq!(bpffs.pins(), 4);
    is_intercepted(&wire);

    // Dead again; whoever is open takes what is left away.
    wire.agent.kill9().unwrap();
    std::thread::sleep(STALE);
    is_refused(&wire);
    wire.config.set("capture", "fail", "open");
    wire.agent = Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(bpffs.pins(), 0);
    is_intercepted(&wire);

    // Told to end, it refuses nothing and leaves nothing.
    wire.agent.stop().unwrap();
    wire.config.set("capture", "fail", "closed");
    wire.agent = Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(own_links(wire.pid()).len() >= 7);
    wire.agent.stop().unwrap();
    assert_eq!(bpffs.pins(), 0);
    for way in Way::BOTH {
        works_directly(&wire, way);
    }
}
