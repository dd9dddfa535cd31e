//! How much one agent takes, from what its process may have: descriptors and memory.
//!
//! The arithmetic of docs/decisions/0018, used by the agent when it starts and by `interceptor check`. Pure but for
//! [`Machine::own`], which reads this process's limits.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use crate::cgroup;
use crate::config::Proxy;

/// What is planned for one connection, whatever it speaks: two buffers of 16 KiB while bytes are under way, and up to
/// 28 KiB of state; an idle one of HTTP/1 takes 6 KiB, an idle one of HTTP/2 with its upstream 56 KiB.
const CONNECTION_BYTES: usize = 64 * 1024;

/// Descriptors of one connection: the client's and its upstream's.
const CONNECTION_DESCRIPTORS: usize = 2;

/// Below that many connections there is no use in an agent.
const FEWEST: usize = 64;

/// Below that much nothing larger than a plain head would pass.
const LEAST_BYTES: usize = 4 << 20;

/// What a process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Descriptors.
    pub descriptors: usize,
    /// Memory, bytes.
    pub memory: usize,
}

/// How much the agent takes at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// Bytes that are held for peers that do not keep up, beyond what a connection is planned with.
    pub buffered_bytes: usize,
    /// Descriptors beyond two a connection: pipes of splice(2), further upstream connections.
    pub spare_descriptors: usize,
    /// What decided the number of connections, in words.
    pub why: String,
    /// What was configured and is not to be had.
    pub cut: Option<usize>,
}

impl Machine {
    /// This process's: the hard limit of descriptors, which the agent takes, and the least of the machine's memory and the
    /// limits of its cgroups.
    pub fn own() -> Self {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
        let memory = memory_limits().into_iter().chain(total_memory()).min();
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Self { descriptors: number(descriptors), memory: memory.map_or(usize::MAX, number) }
    }
}

impl Limits {
    /// What the configuration asks for, as far as the process may have it.
    ///
    /// Of the descriptors half are for connections, a quarter for what they can do without, and a quarter for listeners,
    /// hooks and whatever else; half of the memory is planned for connections, a quarter for peers that do not keep up, and
    /// the rest is for sockets (the kernel charges them to the agent), the kernel's maps, the cluster and records.
    pub fn of(settings: &Proxy, machine: Machine) -> Self {
        let Machine { descriptors, memory } = machine;
        let (of_descriptors, of_memory) = (descriptors / 4, memory / 2 / CONNECTION_BYTES);
        let (automatic, why) = match of_descriptors <= of_memory {
            true => (of_descriptors, format!("a quarter of {descriptors} descriptors")),
            false => (of_memory, format!("{} KiB each of half of {} MiB", CONNECTION_BYTES >> 10, memory >> 20)),
        };
        let usable = descriptors / 4 * 3;
        let most = (usable / CONNECTION_DESCRIPTORS).max(FEWEST);
        let wanted = settings.max_connections_total;
        let (connections, why) = match wanted {
            0 => (automatic.max(FEWEST), why),
            _ if wanted > most => (most, format!("{descriptors} descriptors hold no more")),
            _ => (wanted, "as configured".to_owned()),
        };
        let buffered_bytes = match settings.max_buffered_bytes {
            0 => (memory / 4).max(LEAST_BYTES),
            bytes => bytes,
        };
        let spare_descriptors = usable.saturating_sub(connections * CONNECTION_DESCRIPTORS);
        Self { connections, buffered_bytes, spare_descriptors, why, cut: Some(wanted).filter(|wanted| *wanted > most) }
    }
}

/// The limits of the cgroups above the process, of either version.
fn memory_limits() -> Vec<u64> {
    let v2 = cgroup::own().ok().flatten().into_iter().map(|own| (own, "memory.max"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v1 = groups.lines().filter_map(|line| {
        let path = line.split_once(":memory:")?.1.trim_start_matches('/');
        Some((Path::new("/sys/fs/cgroup/memory").join(path), "memory.limit_in_bytes"))
    });
    let all: Vec<(PathBuf, &str)> = v2.chain(v1).collect();
    let files = all.iter().flat_map(|(own, file)| own.ancestors().map(move |dir| dir.join(file)));
    // A directory without the file has no limit; "max" is none either.
    files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
}

fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn of(total: usize, descriptors: usize, memory: usize) -> Limits {
        let settings = Proxy { max_connections_total: total, ..Proxy::default() };
        Limits::of(&settings, Machine { descriptors, memory })
    }

    #[test]
    fn the_scarcer_of_descriptors_and_memory_decides() {
        let container = of(0, 1_048_576, 1024 * MIB);
        assert_eq!((container.connections, container.buffered_bytes), (8192, 256 * MIB));
        assert_eq!(container.why, "64 KiB each of half of 1024 MiB");
        let shell = of(0, 20_000, 24_576 * MIB);
        assert_eq!((shell.connections, shell.spare_descriptors), (5000, 5000));
        assert_eq!(shell.why, "a quarter of 20000 descriptors");
        // Without any limit known, and with hardly anything.
        assert_eq!(of(0, 1_048_576, usize::MAX).connections, 262_144);
        assert_eq!(of(0, 0, 0).connections, FEWEST);
    }

    #[test]
    fn what_is_configured_counts_as_far_as_there_are_descriptors() {
        let wanted = of(7000, 20_000, 256 * MIB);
        assert_eq!((wanted.connections, wanted.spare_descriptors, wanted.cut), (7000, 1000, None));
        let too_many = of(10_000, 20_000, 256 * MIB);
        assert_eq!((too_many.connections, too_many.spare_descriptors, too_many.cut), (7500, 0, Some(10_000)));
        let settings = Proxy { max_buffered_bytes: 5 * MIB, ..Proxy::default() };
        let limits = Limits::of(&settings, Machine { descriptors: 20_000, memory: 256 * MIB });
        assert_eq!(limits.buffered_bytes, 5 * MIB);
    }

    #[test]
    fn this_process_has_some_of_both() {
        let own = Machine::own();
        assert!(own.descriptors >= 64 && own.memory > 16 * MIB, "{own:?}");
        assert!(total_memory().unwrap() >= own.memory as u64);
    }
}
