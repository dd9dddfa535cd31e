//! Invariants of the tree that a reader can rely on (docs/architecture.md). Runs in plain `cargo test`, needs nothing.

mod security;
mod tree;

use tree::{Source, documents, sources};

/// Lines a file of the product may have; tests may have more, as tables are long.
const MAX_LINES: usize = 600;
const MAX_TEST_LINES: usize = 800;
/// Half of the files have no more lines than this.
const MEDIAN_LINES: usize = 150;

fn offenders(of: impl Fn(&Source) -> Option<String>) -> Vec<String> {
    sources().iter().filter_map(of).collect()
}

fn none(offenders: &[String]) {
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    none(&offenders(|file| (!file.text.starts_with("//!")).then(|| format!("{}: no module doc (//!)", file.path))));
}

#[test]
fn files_are_short() {
    none(&offenders(|file| {
        let limit = if file.is_test() { MAX_TEST_LINES } else { MAX_LINES };
        let lines = file.text.lines().count();
        (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", file.path))
    }));
    let mut lengths: Vec<usize> = sources().iter().map(|file| file.text.lines().count()).collect();
    lengths.sort_unstable();
    assert!(lengths[lengths.len() / 2] <= MEDIAN_LINES, "the median file has {} lines", lengths[lengths.len() / 2]);
}

#[test]
fn unsafe_code_stands_in_few_files() {
    const ALLOWED: [&str; 5] = [
        "interceptor/src/sys.rs",
        "interceptor-common/src/record.rs",
        "interceptor-ebpf/src/",
        "interceptor/tests/allocations.rs",
        "tests/src/sys.rs",
    ];
    none(&offenders(|file| {
        let allowed = ALLOWED.iter().any(|path| file.path.starts_with(path));
        let is_unsafe =
            |line: &str| ["{", "fn", "impl"].iter().any(|after| line.contains(&format!("un{}fe {after}", "sa")));
        let line = file.code().position(is_unsafe);
        line.filter(|_| !allowed).map(|line| format!("{}:{}: unsafe", file.path, line + 1))
    }));
}

#[test]
fn aya_is_used_only_under_bpf() {
    none(&offenders(|file| {
        let inside = !file.path.starts_with("interceptor/src/") || file.path.starts_with("interceptor/src/bpf");
        let line = file.code().position(|line| line.contains("aya::") || line.contains("aya_log::"));
        line.filter(|_| !inside).map(|line| format!("{}:{}: aya", file.path, line + 1))
    }));
}

#[test]
fn pure_modules_do_no_io() {
    const PURE: [&str; 18] = [
        "interceptor-common/",
        "interceptor/src/ingress/facts.rs",
        "interceptor/src/ingress/objects.rs",
        "interceptor/src/ingress/plan",
        "interceptor/src/ingress/problem.rs",
        "interceptor/src/ingress/render.rs",
        "interceptor/src/headers",
        "interceptor/src/route",
        "interceptor/src/snapshot",
        "interceptor/src/config",
        "interceptor/src/source/kubernetes/batch.rs",
        "interceptor/src/source/kubernetes/objects.rs",
        "interceptor/src/source/kubernetes/store.rs",
        "interceptor/src/source/kubernetes/translate.rs",
        "interceptor/src/source/kubernetes/world.rs",
        "interceptor/src/wanted",
        "interceptor/src/proxy/classify.rs",
        "interceptor/src/proxy/http1/head.rs",
    ];
    const IO: [&str; 7] = ["tokio::", "kube::", "std::fs", "std::process", "TcpStream", "UnixStream", "Instant::now"];
    none(&offenders(|file| {
        let pure = PURE.iter().any(|path| file.path.starts_with(path)) && !file.is_test();
        let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let found = IO.iter().find(|word| text.contains(**word));
        found.filter(|_| pure).map(|word| format!("{}: {word} in a pure module", file.path))
    }));
}

#[test]
fn rooms_do_not_depend_on_each_other_in_circles() {
    let uses = tree::uses_between_rooms();
    let mut circles = Vec::new();
    for room in uses.keys() {
        let mut reached = std::collections::BTreeSet::new();
        let mut waiting = vec![room];
        while let Some(next) = waiting.pop() {
            for used in uses.get(next).into_iter().flatten() {
                if reached.insert(used) {
                    waiting.push(used);
                }
            }
        }
        if reached.contains(room) {
            circles.push(format!("{room}: {:?}", uses.get(room)));
        }
    }
    none(&circles);
}

#[test]
fn nothing_names_a_machine() {
    let paths = ["/ro".to_owned() + "ot/", "/wo".to_owned() + "rk/", "/far".to_owned() + "m/"];
    none(&offenders(|file| {
        let found = paths.iter().find(|path| file.text.contains(path.as_str()));
        found.map(|path| format!("{}: {path}", file.path))
    }));
}

/// Clocks that somebody may set, by an hour or by years.
#[test]
fn the_time_of_day_is_told_and_decides_nothing() {
    // Records, `status`, and what the ingress manager writes for people and other clients to read.
    const ALLOWED: [&str; 5] =
        ["proxy/record.rs", "proxy/routing.rs", "status.rs", "ingress/events.rs", "ingress/lease.rs"];
    none(&offenders(|file| {
        let path = file.path.strip_prefix("interceptor/src/")?;
        let asks = |line: &str| {
            ["SystemTime::now", "Timestamp::now", "UtcDateTime::now", "CLOCK_REALTIME"]
                .iter()
                .any(|clock| line.contains(clock))
        };
        let line = file.code().position(asks).filter(|_| !ALLOWED.contains(&path))?;
        Some(format!("{}:{}: the time of day", file.path, line + 1))
    }));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        for link in document.links() {
            if !document.target(link).exists() {
                broken.push(format!("{}: {link}", document.path));
            }
        }
    }
    none(&broken);
}

#[test]
fn kube_is_used_only_where_the_api_is_spoken() {
    const ALLOWED: [&str; 3] =
        ["interceptor/src/kubernetes", "interceptor/src/source/kubernetes", "interceptor/src/ingress"];
    none(&offenders(|file| {
        let inside =
            !file.path.starts_with("interceptor/src/") || ALLOWED.iter().any(|path| file.path.starts_with(path));
        let line = file.code().position(|line| line.contains("kube::") || line.contains("k8s_openapi::"));
        line.filter(|_| !inside).map(|line| format!("{}:{}: kube", file.path, line + 1))
    }));
}
