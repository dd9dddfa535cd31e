//! The bounds of the ring, what followers see and lose, and publishing from many threads.

use std::time::Duration;

use super::super::{RecordKind, samples};
use super::*;

fn published(hub: &Hub, ids: std::ops::RangeInclusive<u64>) {
    ids.for_each(|id| hub.publish(samples::connection(id)));
}

fn ids(records: &[Arc<Record>]) -> Vec<u64> {
    records.iter().map(|record| samples::id(record)).collect()
}

fn seen(follower: &mut Follower) -> Vec<String> {
    std::iter::from_fn(|| follower.try_next())
        .map(|followed| match followed {
            Followed::Record(record) => samples::id(&record).to_string(),
            Followed::Lost(count) => format!("lost {count}"),
        })
        .collect()
}

#[test]
fn the_ring_keeps_the_latest_and_never_grows() {
    let hub = Hub::new(3);
    published(&hub, 1..=5);
    assert_eq!(ids(&hub.recent(&Filter::default(), 10)), [3, 4, 5]);
    assert_eq!(ids(&hub.recent(&Filter::default(), 2)), [4, 5]);
    assert_eq!(ids(&hub.recent(&Filter::default(), 0)), [0_u64; 0]);
    assert_eq!((hub.published(), hub.kept(), hub.capacity(), hub.lost()), (5, 3, 3, 0));
    assert_eq!(hub.ring().records.capacity(), 3);
}

#[test]
fn recent_looks_back_further_than_one_batch() {
    let hub = Hub::new(10 * BATCH);
    hub.publish(samples::request(1));
    published(&hub, 2..=3 * BATCH as u64);
    let requests = Filter { kind: Some(RecordKind::Request), ..Filter::default() };
    assert_eq!(ids(&hub.recent(&requests, 5)), [1]);
    assert_eq!(hub.recent(&Filter::default(), usize::MAX).len(), 3 * BATCH);
}

#[test]
fn identifiers_start_at_one() {
    let hub = Hub::new(1);
    assert_eq!((hub.next_connection_id(), hub.next_connection_id(), hub.next_request_id()), (1, 2, 1));
}

#[test]
fn a_follower_sees_the_last_ones_and_then_the_new_ones() {
    let hub = Arc::new(Hub::new(8));
    published(&hub, 1..=4);
    let mut follower = hub.follow(Filter::default(), 2);
    published(&hub, 5..=6);
    assert_eq!(seen(&mut follower), ["3", "4", "5", "6"]);
    assert_eq!(hub.followers(), 1);
    drop(follower);
    assert_eq!(hub.followers(), 0);
}

#[test]
fn a_slow_follower_loses_the_oldest_and_is_told_how_many() {
    let hub = Arc::new(Hub::new(2));
    let mut slow = hub.follow(Filter::default(), 0);
    published(&hub, 1..=5);
    assert_eq!(seen(&mut slow), ["lost 3", "4", "5"]);
    published(&hub, 6..=6);
    assert_eq!(seen(&mut slow), ["6"]);
    assert_eq!(hub.lost(), 3);
}

#[test]
fn a_follower_sees_only_what_its_filter_matches() {
    let hub = Arc::new(Hub::new(8));
    let mut follower = hub.follow(Filter { kind: Some(RecordKind::Request), ..Filter::default() }, 0);
    published(&hub, 1..=3);
    hub.publish(samples::request(4));
    assert_eq!(seen(&mut follower), ["4"]);
}

#[tokio::test]
async fn a_waiting_follower_is_woken_from_another_thread() {
    let hub = Arc::new(Hub::new(8));
    let mut follower = hub.follow(Filter::default(), 0);
    let worker = std::thread::spawn({
        let hub = Arc::clone(&hub);
        move || {
            for id in 1..=100 {
                hub.publish(samples::connection(id));
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    });
    let mut count = 0;
    while count < 100 {
        let next = tokio::time::timeout(Duration::from_secs(10), follower.next()).await.unwrap();
        count += match next {
            Followed::Record(_) => 1,
            Followed::Lost(lost) => lost,
        };
    }
    worker.join().unwrap();
}

#[test]
fn many_workers_publish_at_once_and_nothing_is_miscounted() {
    let hub = Hub::new(16);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| published(&hub, 1..=1000));
        }
    });
    assert_eq!((hub.published(), hub.kept()), (4000, 16));
}
