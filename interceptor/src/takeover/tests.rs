//! Both sides of a takeover in one process, over a real socket with real descriptors; the kernel's part is the netns tier's.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;

use interceptor_common::ABI;
use tokio::sync::mpsc;

use super::claim::{Found, Predecessor, find};
use super::message::{Channel, Message};
use super::offer::{Ask, Host, Offer};
use super::{Admin, Estate, Holding, socket_path};
use crate::admin::tests::TempDir;
use crate::net::netns::Identity;
use crate::net::socket::Listeners;

const PORT: u16 = 15001;

/// An agent's admin path and what its control thread is asked.
struct Running {
    admin: PathBuf,
    asks: mpsc::Receiver<Ask>,
    offer: Offer,
    _directory: TempDir,
}

/// A descriptor that can be told from others, once.
fn file(text: &str) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader.into()
}

fn running() -> Running {
    let directory = TempDir::new();
    let admin = directory.path().join("admin.sock");
    let (asks_tx, asks) = mpsc::channel(8);
    let maps = vec![("ONE".to_owned(), file("1")), ("TWO".to_owned(), file("2"))];
    let offer = Offer::start(&admin, None, Host { outbound_port: PORT, maps, asks: asks_tx }).unwrap();
    Running { admin, asks, offer, _directory: directory }
}

impl Running {
    fn found(&self) -> Predecessor {
        match find(&self.admin, PORT).unwrap() {
            Found::Agent(predecessor) => predecessor,
            other => panic!("{other:?}"),
        }
    }

    /// Answers the next question with what `listener` stands for.
    fn export(&mut self, listener: &TcpListener) {
        let Some(Ask::Export(answer)) = self.asks.blocking_recv() else { panic!("something else was asked") };
        let copy =
            || Listeners { outbound: listener.try_clone().unwrap(), inbound: vec![listener.try_clone().unwrap()] };
        let holding = |inode| Holding {
            netns: Identity::new(4, inode),
            link: Some(file("link")),
            listeners: vec![copy(), copy()],
        };
        let admin = Admin { listener: file("admin"), lock: file("lock"), offer: self.offer.descriptor().unwrap() };
        let links = ["a", "b"].map(|program| (program.to_owned(), file(program))).into();
        let estate = Estate {
            cgroups: vec![("/some/where".into(), links)],
            namespaces: vec![holding(7), holding(8)],
            admin: Some(admin),
        };
        answer.send(Ok(estate)).unwrap();
    }
}

fn text(fd: &OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd.try_clone().unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn everything_changes_hands_and_the_queue_of_a_listener_with_it() {
    let mut before = running();
    let predecessor = before.found();
    let names: Vec<_> = predecessor.maps.iter().map(|(name, fd)| (name.as_str(), text(fd))).collect();
    assert_eq!(names, [("ONE", "1".to_owned()), ("TWO", "2".to_owned())]);
    assert_eq!(predecessor.pid, std::process::id());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let control = thread::spawn(move || {
        before.export(&listener);
        drop(listener);
        let Some(Ask::Release(answer)) = before.asks.blocking_recv() else { panic!() };
        answer.send(()).unwrap();
        assert!(matches!(before.asks.blocking_recv(), Some(Ask::Commit)));
        before
    });
    let estate = predecessor.take().unwrap();
    assert_eq!(estate.cgroups.len(), 1);
    assert_eq!(
        estate.cgroups[0].1.iter().map(|(name, fd)| (name.as_str(), text(fd))).collect::<Vec<_>>(),
        [("a", "a".to_owned()), ("b", "b".to_owned())]
    );
    assert_eq!(estate.namespaces.iter().map(|held| held.netns.parts()).collect::<Vec<_>>(), [(4, 7), (4, 8)]);
    assert!(estate.namespaces.iter().all(|held| held.link.is_some() && held.listeners.len() == 2));
    assert_eq!(text(&estate.admin.as_ref().unwrap().lock), "lock");
    let channel = predecessor.confirm().unwrap();
    let mut before = control.join().unwrap();

    let (mut accepted, _) = estate.namespaces[1].listeners[1].inbound[0].accept().unwrap();
    accepted.write_all(b"served").unwrap();
    drop(accepted);
    let mut got = String::new();
    (&waiting).read_to_string(&mut got).unwrap();
    assert_eq!(got, "served", "a connection that waited at the predecessor's listener");

    before.offer.handed_over();
    assert!(socket_path(&before.admin).exists());
    drop(before.offer);
    assert!(socket_path(&before.admin).exists(), "it is the successor's");
    drop(channel);
    assert!(matches!(before.asks.blocking_recv(), Some(Ask::SuccessorGone)));
}

#[test]
fn a_successor_that_dies_at_any_point_leaves_the_agent_as_it_was() {
    let mut before = running();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Before it has taken anything: the control thread hears nothing of it.
    drop(before.found());
    // Right after it has asked for everything.
    let second = before.found();
    let asking = thread::spawn(move || drop(second.take().unwrap()));
    before.export(&listener);
    asking.join().unwrap();
    assert!(matches!(before.asks.blocking_recv(), Some(Ask::Abort(_))));
    // Where it says no itself.
    let third = before.found();
    let asking = thread::spawn(move || third.take().map(drop).unwrap_err().to_string());
    let Some(Ask::Export(answer)) = before.asks.blocking_recv() else { panic!() };
    answer.send(Err("a worker hangs".to_owned())).unwrap();
    let said = asking.join().unwrap();
    assert!(said.ends_with("refuses: a worker hangs"), "{said}");
    assert!(matches!(before.asks.blocking_recv(), Some(Ask::Abort(_))));
    // And the next one is welcome.
    assert_eq!(before.found().maps.len(), 2);
}

#[test]
fn an_agent_of_another_layout_or_port_makes_way_instead() {
    let mut before = running();
    match find(&before.admin, PORT + 1).unwrap() {
        Found::Ending(why) => assert!(why.contains("capture.outbound_port 15001, the successor on 15002"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(before.asks.blocking_recv(), Some(Ask::End)));

    let channel = Channel::new(super::claim::dial(&socket_path(&before.admin)).unwrap().unwrap()).unwrap();
    let hello = Message::Hello { abi: ABI + 1, outbound_port: PORT, pid: 1, version: "0".to_owned() };
    channel.send(&hello, &[]).unwrap();
    let (answer, fds) = channel.receive().unwrap();
    assert!(matches!(&answer, Message::Refused { can_end: true, why, .. } if why.contains("layout")), "{answer:?}");
    assert!(fds.is_empty(), "nothing of it is handed out");
}

#[test]
fn what_is_no_message_is_answered_with_the_end_and_does_no_harm() {
    let before = running();
    for bytes in [&b"garbage"[..], b"{\"say\":\"ready\"}", &[b'x'; 20_000]] {
        let socket = super::claim::dial(&socket_path(&before.admin)).unwrap().unwrap();
        nix::sys::socket::send(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            bytes,
            nix::sys::socket::MsgFlags::MSG_NOSIGNAL,
        )
        .unwrap();
        let channel = Channel::new(socket).unwrap();
        assert!(channel.receive().is_err());
    }
    assert_eq!(before.found().maps.len(), 2);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(socket_path(&before.admin)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn where_no_agent_is_there_is_nobody_to_ask() {
    let directory = TempDir::new();
    let admin = directory.path().join("admin.sock");
    assert!(matches!(find(&admin, PORT).unwrap(), Found::Nobody));
    // One that died leaves its socket's file.
    drop(std::os::unix::net::UnixListener::bind(socket_path(&admin)).unwrap());
    assert!(matches!(find(&admin, PORT), Ok(Found::Nobody) | Err(_)));
}
