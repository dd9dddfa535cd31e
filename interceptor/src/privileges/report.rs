//! What the threads of this process may really do, as the kernel says (proc_pid_status(5)): for `interceptor status`.
//!
//! Reads /proc/self; changes nothing. Names are stable, they are part of the status.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// How far the process has confined itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether no thread can gain privileges by executing a program.
    pub no_new_privileges: bool,
    /// Capabilities that could still be gained by it if they could (the bounding set).
    pub bounding: Vec<String>,
    /// Its threads, by name.
    pub threads: Vec<ThreadPrivileges>,
}

/// What one thread may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadPrivileges {
    /// Its name; the first one has the program's.
    pub name: String,
    /// The capabilities that it has or can make use of.
    pub capabilities: Vec<String>,
    /// Filters of system calls that lie over it; where the kernel does not count them (before 5.9), 1 stands for some.
    pub filters: u32,
}

impl Confinement {
    /// That of this process, now.
    ///
    /// # Errors
    /// Where /proc cannot be read.
    pub fn of_process() -> io::Result<Self> {
        let mut all = Self { no_new_privileges: true, ..Self::default() };
        for task in fs::read_dir("/proc/self/task")? {
            // A thread may have ended meanwhile.
            let Ok(text) = fs::read_to_string(task?.path().join("status")) else { continue };
            all.add(&text);
        }
        all.threads.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Adds a thread by the text of its /proc/PID/task/TID/status.
    fn add(&mut self, status: &str) {
        let fields: BTreeMap<&str, &str> =
            status.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let set = |name: &str| u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
        self.no_new_privileges &= field("NoNewPrivs") == "1";
        for name in names(set("CapBnd")) {
            if !self.bounding.contains(&name) {
                self.bounding.push(name);
            }
        }
        let some = u32::from(field("Seccomp") == "2");
        self.threads.push(ThreadPrivileges {
            name: field("Name").to_owned(),
            // Whatever is in any of these sets, the thread can have.
            capabilities: names(set("CapEff") | set("CapPrm") | set("CapInh") | set("CapAmb")),
            filters: field("Seccomp_filters").parse().unwrap_or(some),
        });
    }

    /// The threads that may do the same, together: their names, and what that is.
    pub fn groups(&self) -> Vec<(Vec<&str>, &ThreadPrivileges)> {
        let mut groups: Vec<(Vec<&str>, &ThreadPrivileges)> = Vec::new();
        for thread in &self.threads {
            let same = |other: &&mut (Vec<&str>, &ThreadPrivileges)| {
                (&other.1.capabilities, other.1.filters) == (&thread.capabilities, thread.filters)
            };
            match groups.iter_mut().find(same) {
                Some((names, _)) => names.push(&thread.name),
                None => groups.push((vec![&thread.name], thread)),
            }
        }
        groups
    }
}

/// The names of the capabilities in a set; those that nobody has named yet by their number.
fn names(set: u64) -> Vec<String> {
    let name = |bit: u8| {
        let known = caps::all().into_iter().find(|capability| capability.index() == bit);
        known.map_or_else(|| format!("CAP_{bit}"), |capability| capability.to_string())
    };
    (0..64).filter(|bit| set >> bit & 1 == 1).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Name:\tinterceptor\nCapInh:\t0000000000000000\nCapPrm:\t0000000000201000\n\
        CapEff:\t0000000000201000\nCapBnd:\t0000000000201000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n\
        Seccomp:\t2\nSeccomp_filters:\t2\n";

    #[test]
    fn a_thread_is_read_from_its_status() {
        let mut all = Confinement { no_new_privileges: true, ..Confinement::default() };
        all.add(CONTROL);
        assert!(all.no_new_privileges);
        assert_eq!(all.bounding, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
        let thread = &all.threads[0];
        assert_eq!((thread.name.as_str(), thread.filters), ("interceptor", 2));
        assert_eq!(thread.capabilities, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
        // What is only inheritable counts, a count of filters that is not told does not hide them, and one thread speaks for
        // all.
        let other = CONTROL.replace("CapInh:\t0000000000000000", "CapInh:\t0000020000000001");
        all.add(&other.replace("Seccomp_filters:\t2\n", "").replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"));
        assert_eq!(all.threads[1].capabilities, ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_41"]);
        assert_eq!(all.threads[1].filters, 1);
        assert!(!all.no_new_privileges);
    }

    #[test]
    fn what_cannot_be_read_counts_as_everything() {
        let mut all = Confinement::default();
        all.add("Name:\tx\n");
        assert_eq!(all.threads[0].capabilities.len(), 64);
        assert!(!all.no_new_privileges);
    }

    #[test]
    fn threads_that_may_do_the_same_are_told_of_together() {
        let mut all = Confinement::default();
        for (name, set) in [("b", "201000"), ("a", "201001"), ("c", "201000")] {
            all.add(&CONTROL.replace("interceptor", name).replace("201000", set));
        }
        let groups: Vec<Vec<&str>> = all.groups().into_iter().map(|(names, _)| names).collect();
        assert_eq!(groups, [vec!["b", "c"], vec!["a"]]);
    }
}
