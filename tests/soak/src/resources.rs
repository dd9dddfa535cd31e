//! What the agent holds, sampled every few seconds by a thread of its own: descriptors, memory, threads, kernel objects.
//!
//! Everything is read from /proc; entries of maps are counted by bpftool, from outside the agent, so that an agent that hangs
//! is sampled as well.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use interceptor_tests::bpftool;
use serde_json::Value;

use crate::clock;

/// Between two samples.
const EVERY: Duration = Duration::from_secs(5);

/// What is counted, in this order, with what it may grow by while an agent lives: so many, and a share of its mean. Numbers
/// of connections and of pods come and go; a leak does not go.
pub(crate) const QUANTITIES: [(&str, f64, f64); 7] = [
    ("descriptors", 40.0, 0.15),
    ("sockets", 40.0, 0.15),
    ("rss_kib", 6144.0, 0.1),
    ("threads", 2.0, 0.0),
    ("namespaces", 4.0, 0.0),
    ("links", 4.0, 0.0),
    ("map_entries", 100.0, 0.15),
];

/// One moment of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) pid: u32,
    pub(crate) at: u64,
    pub(crate) values: [f64; QUANTITIES.len()],
}

/// Kernel objects, by their kind's name in fdinfo.
pub(crate) type Objects = BTreeSet<(&'static str, u64)>;

/// The kinds of objects that must not outlive an agent.
const KINDS: [&str; 3] = ["link_id", "map_id", "prog_id"];

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Sample>,
    objects: Objects,
}

/// The sampling thread.
pub(crate) struct Sampler {
    pid: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts; nothing is sampled before there is an agent.
    pub(crate) fn start() -> Sampler {
        let (pid, over, seen) =
            (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let thread = {
            let (pid, over, seen) = (Arc::clone(&pid), Arc::clone(&over), Arc::clone(&seen));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Some((sample, objects)) = sample(pid.load(Ordering::Relaxed)) {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.samples.push(sample);
                        seen.objects.extend(objects);
                    }
                    thread::park_timeout(EVERY);
                }
            })
        };
        Sampler { pid, over, seen, thread: Some(thread) }
    }

    /// From now on this agent is sampled.
    pub(crate) fn follow(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// All samples, and all kernel objects that agents were seen with.
    pub(crate) fn finish(mut self) -> (Vec<Sample>, Objects) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().ok();
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut seen.samples), std::mem::take(&mut seen.objects))
    }
}

/// `None` for one that is gone, or goes meanwhile.
fn sample(pid: u32) -> Option<(Sample, Objects)> {
    let at = clock::now();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets: Vec<String> =
        fds.filter_map(|fd| Some(fs::read_link(fd.ok()?.path()).ok()?.to_string_lossy().into_owned())).collect();
    let objects = objects(pid);
    let count = |prefix: &str| number(targets.iter().filter(|target| target.starts_with(prefix)).count());
    let links = number(objects.iter().filter(|(kind, _)| *kind == "link_id").count());
    let values = [
        number(targets.len()),
        count("socket:"),
        line("VmRSS:")?,
        line("Threads:")?,
        count("net:"),
        links,
        number(entries(&objects).ok()?),
    ];
    Some((Sample { pid, at, values }, objects))
}

/// The kernel objects that a process holds descriptors of.
fn objects(pid: u32) -> Objects {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten();
    let texts = infos.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let find = |text: String| {
        KINDS.iter().find_map(|kind| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'))?;
            Some((*kind, line.trim().parse().ok()?))
        })
    };
    texts.filter_map(find).collect()
}

/// Those of `objects` that the kernel still has.
///
/// # Errors
/// Where it cannot be asked.
pub(crate) fn alive(objects: &Objects) -> Result<Objects> {
    let mut alive = Objects::new();
    for (kind, word) in [("link_id", "link"), ("map_id", "map"), ("prog_id", "prog")] {
        let all = show(word)?;
        alive
            .extend(all.iter().filter_map(|one| Some((kind, one["id"].as_u64()?))).filter(|one| objects.contains(one)));
    }
    Ok(alive)
}

fn show(word: &str) -> Result<Vec<Value>> {
    Ok(serde_json::from_value(bpftool::json(&[word, "show"])?)?)
}

/// Entries of the maps that have some because somebody put them in; those that forget by themselves may fill up.
fn entries(objects: &Objects) -> Result<usize> {
    let maps = show("map")?;
    let mine = maps.iter().filter(|map| map["id"].as_u64().is_some_and(|id| objects.contains(&("map_id", id))));
    let counted = mine.filter(|map| map["type"] == "hash").filter_map(|map| map["id"].as_u64());
    // One may be gone by now.
    let held = counted.filter_map(|id| bpftool::json(&["map", "dump", "id", &id.to_string()]).ok());
    Ok(held.filter_map(|entries| Some(entries.as_array()?.len())).sum())
}

/// Counts here are small.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
