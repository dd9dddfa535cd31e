//! What a kernel's release number promises. Pure; vendors backport, so the hooks themselves are tried elsewhere.

use std::fmt;

use super::{Finding, State};

/// The number in front of a kernel's release (`6.18.44-fc-v657`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release {
    major: u32,
    minor: u32,
    patch: u32,
}

const fn release(major: u32, minor: u32) -> Release {
    Release { major, minor, patch: 0 }
}

/// From here on maps are charged to a memory cgroup instead of `RLIMIT_MEMLOCK`.
pub(super) const WITHOUT_MEMLOCK: Release = release(5, 11);

/// What is missing below a release, and how bad that is.
const FLOORS: [(Release, State, &str); 3] = [
    (release(5, 10), State::Fail, "the hooks need 5.10 at least"),
    (
        release(5, 14),
        State::Warn,
        "before 5.14 a hook on the agent's own cgroup tells network namespaces apart (no SO_NETNS_COOKIE)",
    ),
    (
        release(5, 15),
        State::Warn,
        "before 5.15 flow records lack the kernel's part, and ports are intercepted whether the application listens or not \
         (netns cookie in sock_ops)",
    ),
];

/// The comfortable kernel.
const ALL: Release = release(5, 17);

/// Stable lines and where each took the sock map change of FIONREAD; all lines from 6.19 have it.
const SOCKMAP_LINES: [Release; 3] = [
    Release { major: 6, minor: 6, patch: 128 },
    Release { major: 6, minor: 12, patch: 75 },
    Release { major: 6, minor: 18, patch: 14 },
];
const SOCKMAP_ALL: Release = release(6, 19);

impl Release {
    /// Reads the number in front of whatever a vendor appends; a missing patch level is 0.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text.get(..end)?.split('.').filter(|part| !part.is_empty()).map(str::parse);
        Some(Self {
            major: parts.next()?.ok()?,
            minor: parts.next()?.ok()?,
            patch: parts.next().and_then(Result::ok).unwrap_or_default(),
        })
    }

    /// Whether a sock map of this kernel may stall the readers of its sockets.
    fn stalls_sock_maps(self) -> bool {
        let same_line = |line: &Release| (line.major, line.minor) == (self.major, self.minor);
        self >= SOCKMAP_ALL || SOCKMAP_LINES.iter().any(|line| same_line(line) && self >= *line)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Judges a release as `uname -r` prints it.
pub(super) fn judge(text: &str) -> Vec<Finding> {
    let Some(release) = Release::parse(text) else {
        let detail = format!("{text:?} does not begin with a version");
        return vec![Finding::warn("kernel", detail, "the hooks below decide; the oldest kernel that will do is 5.10")];
    };
    vec![floor(text, release), sock_map(release)]
}

fn floor(text: &str, release: Release) -> Finding {
    let missing: Vec<_> = FLOORS.iter().filter(|(floor, ..)| release < *floor).collect();
    let Some(state) = missing.iter().map(|(_, state, _)| *state).max() else {
        let note =
            if release < ALL { "has every hook; 5.17 is the oldest without a work-around" } else { "has every hook" };
        return Finding::ok("kernel", format!("{text} {note}"));
    };
    let why: Vec<&str> = missing.iter().map(|(_, _, why)| *why).collect();
    let detail = format!("{text}: {}", why.join("; "));
    let hint = format!("run a newer kernel, {ALL} at best; a vendor's backports count, so the hooks below decide");
    Finding { state, ..Finding::warn("kernel", detail, hint) }
}

fn sock_map(release: Release) -> Finding {
    if !release.stalls_sock_maps() {
        return Finding::ok("sock-map", "no known stall in sock maps of this release");
    }
    let detail = "sock maps of this release may stall readers (FIONREAD), unless it has the fix of July 2026";
    Finding::warn(
        "sock-map",
        detail,
        "nothing to do: only proxy.splice: kernel uses them, and only where its self-test passes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Release::parse(text).unwrap().to_string()
    }

    #[test]
    fn a_release_is_read_whatever_the_vendor_appends() {
        assert_eq!(parsed("6.18.44-fc-v657"), "6.18.44");
        assert_eq!(parsed("5.10.0-28-amd64"), "5.10.0");
        assert_eq!(parsed("5.14.0-427.13.1.el9_4.x86_64"), "5.14.0");
        assert_eq!(parsed("6.19-rc3"), "6.19.0");
        assert_eq!(parsed("6.1.102+"), "6.1.102");
        assert_eq!(parsed("7.0"), "7.0.0");
    }

    #[test]
    fn what_is_no_release_is_a_warning() {
        for text in ["", "linux", "6", "6.x", "99999999999.1", ".", "-6.1"] {
            assert_eq!(Release::parse(text), None, "{text:?}");
            assert_eq!(judge(text)[0].state, State::Warn, "{text:?}");
        }
    }

    #[test]
    fn the_floor_table_holds_at_its_edges() {
        let rows = [
            ("4.18.0-513.el8", State::Fail),
            ("5.9.16", State::Fail),
            ("5.10.0", State::Warn),
            ("5.13.19", State::Warn),
            ("5.14.0", State::Warn),
            ("5.15.0", State::Ok),
            ("5.16.20", State::Ok),
            ("5.17.0", State::Ok),
            ("6.18.44-fc-v657", State::Ok),
            ("10.0.1", State::Ok),
        ];
        for (text, state) in rows {
            assert_eq!(judge(text)[0].state, state, "{text}");
        }
        assert!(judge("5.13.0")[0].detail.contains("SO_NETNS_COOKIE"));
        assert!(!judge("5.14.0")[0].detail.contains("SO_NETNS_COOKIE"));
    }

    #[test]
    fn stalling_sock_maps_are_known_by_line_and_patch() {
        let stalls = |text| Release::parse(text).unwrap().stalls_sock_maps();
        for text in ["6.6.128", "6.6.130", "6.12.75", "6.18.14", "6.18.44", "6.19.0", "7.1.2"] {
            assert!(stalls(text), "{text}");
        }
        for text in ["5.15.180", "6.1.200", "6.6.127", "6.7.130", "6.12.74", "6.18.13"] {
            assert!(!stalls(text), "{text}");
        }
    }
}
