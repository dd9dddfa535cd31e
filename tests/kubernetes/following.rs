//! A list that goes on as a watch: it misses nothing, asks for no more than it must, tells every failure and recovers.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use interceptor::kubernetes::{News, Selection, follow};
use interceptor_tests::apiserver::{ApiServer, Fault};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::{LIMIT, Named, client, namespace, namespaces, pace};

/// A server, a follower of its namespaces, and what that has told.
struct Following {
    server: ApiServer,
    news: mpsc::Receiver<News<Named>>,
    /// The names that are there, by what was told.
    known: BTreeSet<String>,
    listed: BTreeSet<String>,
    /// What was told, a word each.
    told: Vec<String>,
}

impl Following {
    async fn new() -> Following {
        Following::of(ApiServer::start().unwrap()).await
    }

    async fn of(server: ApiServer) -> Following {
        let (news_tx, news) = mpsc::channel(16);
        let client = client(&server).await.client;
        tokio::spawn(follow(client, Selection::default(), pace(), news_tx, |news| news));
        Following { server, news, known: BTreeSet::new(), listed: BTreeSet::new(), told: Vec::new() }
    }

    /// Reads news until `done` holds.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&Following) -> bool) {
        let end = Instant::now() + LIMIT;
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(Some(news)) = timeout(left, self.news.recv()).await else {
                panic!("waited for {what}: told {:?}, known {:?}", self.told, self.known)
            };
            self.take(news);
        }
    }

    fn take(&mut self, news: News<Named>) {
        self.told.push(match news {
            News::Listing => {
                self.listed.clear();
                "listing".to_owned()
            }
            News::Page(objects) => {
                let count = objects.len();
                self.listed.extend(objects.into_iter().map(|object| object.metadata.name));
                format!("page of {count}")
            }
            News::Listed => {
                self.known = std::mem::take(&mut self.listed);
                "listed".to_owned()
            }
            News::Watching => "watching".to_owned(),
            News::Changed(object) => {
                let word = format!("changed {}", object.metadata.name);
                self.known.insert(object.metadata.name);
                word
            }
            News::Gone(object) => {
                self.known.remove(&object.metadata.name);
                format!("gone {}", object.metadata.name)
            }
            News::Failed(error) => format!("failed {}: {error}", error.kind()),
        });
    }

    async fn watching(&mut self) {
        self.until("the watch", |this| this.told.last().is_some_and(|word| word == "watching")).await;
    }

    /// Waits for a watch that is not one of the first so many.
    async fn watching_after(&mut self, before: usize) {
        self.until("the next watch", |this| {
            this.calls("watch") > before && this.told.last().is_some_and(|word| word == "watching")
        })
        .await;
    }

    /// Makes a namespace, and waits until it is known.
    async fn make(&mut self, name: &str) {
        self.server.apply(&namespace(name)).unwrap();
        self.until(name, |this| this.known.contains(name)).await;
    }

    fn calls(&self, verb: &str) -> usize {
        self.server.calls().iter().filter(|call| call.verb == verb).count()
    }

    fn failures(&self) -> Vec<&str> {
        self.told.iter().filter_map(|word| word.strip_prefix("failed ")).collect()
    }
}

#[tokio::test]
async fn a_list_is_read_in_pages_and_goes_on_as_a_watch() {
    let server = ApiServer::start().unwrap();
    for number in 0..1200 {
        server.apply(&namespace(&format!("n{number:04}"))).unwrap();
    }
    let mut following = Following::of(server).await;
    following.watching().await;
    let pages = ["listing", "page of 500", "page of 500", "page of 204", "listed", "watching"];
    assert_eq!(following.told, pages);
    following.make("new").await;
    following.server.delete(namespaces(), "", "n0000").unwrap();
    following.until("the deletion", |this| !this.known.contains("n0000")).await;
    assert_eq!((following.known.len(), following.calls("list"), following.calls("watch")), (1204, 3, 1));
    let call = following.server.calls().into_iter().find(|call| call.verb == "watch").unwrap();
    assert_eq!(call.user_agent, "tests/1");
    assert!(call.query.contains("allowWatchBookmarks=true"), "{}", call.query);
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was_and_misses_nothing() {
    let mut following = Following::new().await;
    following.watching().await;
    for round in 0..10 {
        following.server.cut_watches();
        // In the gap.
        following.make(&format!("gap{round}")).await;
    }
    assert_eq!(following.calls("list"), 1, "{:?}", following.told);
    assert!(following.calls("watch") >= 3, "{:?}", following.told);
}

#[tokio::test]
async fn a_version_that_is_too_old_leads_to_a_new_list() {
    let mut following = Following::new().await;
    following.watching().await;
    following.make("a").await;
    // The watch is told 410 in an event; what happened in between shows in the list.
    following.server.compact();
    following.until("a new list", |this| this.told.iter().filter(|word| *word == "listed").count() == 2).await;
    following.watching().await;
    // The watch itself is refused with 410, as some servers do: to ask again with the same version would never end.
    following.server.fail("watch", "namespaces", Fault::Status(410));
    following.server.cut_watches();
    following.server.delete(namespaces(), "", "a").unwrap();
    following.until("a new list", |this| !this.known.contains("a")).await;
    following.server.heal();
    following.make("b").await;
}

#[tokio::test]
async fn a_bookmark_moves_a_quiet_watch_on() {
    let mut following = Following::new().await;
    following.watching().await;
    // Something else happens, then history is forgotten up to there: only the bookmark saves the watch a new list.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}});
    following.server.apply(&pod).unwrap();
    following.server.bookmark(namespaces());
    tokio::time::sleep(Duration::from_millis(100)).await;
    following.server.compact_before_now();
    following.server.cut_watches();
    following.make("after").await;
    assert_eq!(following.calls("list"), 1, "{:?}", following.told);
}

#[tokio::test]
async fn every_change_moves_the_watch_on() {
    let mut following = Following::new().await;
    following.watching().await;
    // History is forgotten up to what was told: only who begins after that is not refused.
    following.make("a").await;
    following.server.compact_before_now();
    following.server.cut_watches();
    following.make("b").await;
    assert_eq!(following.calls("list"), 1, "{:?}", following.told);
}

#[tokio::test]
async fn a_server_that_says_when_to_come_back_is_believed() {
    // A 429 of the test API server says: in a second. That is more than the longest wait here, which counts then.
    for (code, at_least) in [(429, pace().wait_max), (500, pace().wait / 2)] {
        let server = ApiServer::start().unwrap();
        server.fail("list", "namespaces", Fault::Status(code));
        let mut following = Following::of(server).await;
        following.until("two failures", |this| this.failures().len() == 2).await;
        let calls = following.server.calls();
        let between = calls[1].at - calls[0].at;
        assert!(between >= at_least, "{code}: asked again after {between:?}");
    }
}

#[tokio::test]
async fn every_failure_is_told_in_words_and_ends_with_its_cause() {
    for (verb, fault, kind, words) in [
        ("list", Fault::Status(401), "unauthorized", "token is missing, expired or of another cluster"),
        ("list", Fault::Status(403), "forbidden", "let its service account list namespaces (API group \"\")"),
        ("watch", Fault::Status(403), "forbidden", "let its service account watch namespaces"),
        ("list", Fault::Status(404), "refused", "has no such resource"),
        ("list", Fault::Status(429), "throttled", "answered 429"),
        ("watch", Fault::Status(429), "throttled", "answered 429"),
        ("list", Fault::Status(500), "refused", "answered 500 (as the test asked)"),
        ("watch", Fault::Status(503), "refused", "answered 503"),
        ("list", Fault::Garbage, "garbage", "may be no API server"),
        ("watch", Fault::Garbage, "garbage", "may be no API server"),
        ("list", Fault::Silence, "silent", "list namespaces: no answer within 800ms"),
        ("watch", Fault::Silence, "silent", "watch namespaces: no answer within 800ms"),
        ("list", Fault::Cut, "unreachable", "check that the API server runs"),
        ("watch", Fault::Cut, "unreachable", "check that the API server runs"),
    ] {
        let server = ApiServer::start().unwrap();
        server.fail(verb, "namespaces", fault.clone());
        let mut following = Following::of(server).await;
        following.until("two failures", |this| this.failures().len() == 2).await;
        let told = following.failures()[0].to_owned();
        assert!(told.starts_with(&format!("{kind}: ")) && told.contains(words), "{verb} {fault:?}: {told}");
        following.server.heal();
        following.make("after").await;
        assert!(following.known.contains("default"));
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_asked_less_and_less_often_and_found_again() {
    let mut following = Following::new().await;
    following.watching().await;
    let address = following.server.address();
    following.server.stop();
    following.until("failures", |this| this.failures().len() >= 6).await;
    following.server.apply(&namespace("meanwhile")).unwrap();
    following.server.go_on(TcpListener::bind(address).unwrap()).unwrap();
    following.until("the change", |this| this.known.contains("meanwhile")).await;
    assert_eq!(following.calls("list"), 1, "{:?}", following.told);
}

#[tokio::test]
async fn after_a_success_the_next_failure_is_a_first_one() {
    let mut following = Following::new().await;
    following.watching().await;
    following.server.fail("watch", "namespaces", Fault::Status(500));
    following.server.cut_watches();
    following.until("the longest wait", |this| this.failures().len() >= 8).await;
    following.server.heal();
    let mut waits = Vec::new();
    for round in 0..10 {
        following.make(&format!("works{round}")).await;
        let (cut, before) = (Instant::now(), following.calls("watch"));
        following.server.cut_watches();
        following.watching_after(before).await;
        let all = following.server.calls();
        waits.push(all.iter().rfind(|call| call.verb == "watch").unwrap().at - cut);
    }
    // The longest one is half of its 200 ms at least; a busy machine makes some of these long, but not all.
    assert!(waits.iter().min().unwrap() < &(pace().wait_max / 2), "{waits:?}");
}

#[tokio::test]
async fn a_server_that_ends_watches_at_once_is_not_asked_in_a_loop() {
    let mut following = Following::new().await;
    following.watching().await;
    following.server.fail("watch", "namespaces", Fault::Ends);
    following.server.cut_watches();
    following.until("the failure", |this| this.failures().iter().any(|told| told.starts_with("short"))).await;
    let (before, begin) = (following.calls("watch"), Instant::now());
    while begin.elapsed() < Duration::from_secs(1) {
        if let Ok(Some(news)) = timeout(Duration::from_millis(50), following.news.recv()).await {
            following.take(news);
        }
    }
    let asked = following.calls("watch") - before;
    assert!((2..=20).contains(&asked), "{asked} watches in a second, waits being at most 200 ms");
    following.server.heal();
    following.make("after").await;
}

#[tokio::test]
async fn it_ends_when_nobody_reads_it() {
    let server = ApiServer::start().unwrap();
    let client = client(&server).await.client;
    let (news_tx, news) = mpsc::channel::<News<Named>>(1);
    let task = tokio::spawn(follow(client, Selection::default(), pace(), news_tx, |news| news));
    drop(news);
    timeout(LIMIT, task).await.unwrap().unwrap();
}
