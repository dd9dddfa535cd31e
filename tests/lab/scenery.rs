//! The demo's cluster works without the interceptor, so that a failing demo means the interceptor.

use interceptor_tests::demo;

#[test]
fn the_demos_cluster_works_by_itself() {
    let lines = demo::plumbing().unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(lines.len(), 5, "{lines:?}");
}
