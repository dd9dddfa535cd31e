//! Clocks: an agent in a time namespace is believed by the hooks as any other, and no deadline hangs on the time of day.

use std::time::Duration;

use interceptor_tests::{Agent, wait};
use nix::sys::signal::Signal;

use crate::crash::{GET, OK, word, works_directly};
use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange};

#[test]
fn an_agent_in_a_time_namespace_is_believed_while_it_lives_and_no_longer() {
    let mut wire = Wire::with("timens", |config| {
        config.set("capture", "heartbeat_timeout", "500ms");
    });
    // A day ahead of the kernel's clock, and as far behind as a clock that may not be negative allows.
    for offset in ["86400", "-20"] {
        wire.agent.stop().unwrap();
        let time = ["unshare", "--time", "--monotonic", offset, "--boottime", offset, "--fork", "--kill-child", "--"];
        wire.agent = Agent::start_unready_by(&wire.lab, &time, &wire.config, &[]).unwrap();
        // The process is unshare's child.
        wait::until(LIMIT, "the agent to be ready", || {
            anyhow::ensure!(wire.agent.status()?["ready"] == true);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", wire.agent.log_tail(20)));
        let server = wire.listen(UNDECLARED);
        for way in Way::BOTH {
            for _ in 0..3 {
                let (client, peer) = wire.pair(&server, way, UNDECLARED);
                exchange(&client, &peer, GET, OK);
            }
            assert_eq!((wire.counted(word(way), "redirected"), wire.counted(word(way), "agent_stale")), (3, 0));
        }
        drop(server);
        wire.agent.process().signal(Signal::SIGSTOP).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        for way in Way::BOTH {
            works_directly(&wire, way);
        }
        wire.agent.process().signal(Signal::SIGCONT).unwrap();
        for way in Way::BOTH {
            assert!(wire.counted(word(way), "agent_stale") >= 1, "{offset} {way:?}");
        }
    }
}
