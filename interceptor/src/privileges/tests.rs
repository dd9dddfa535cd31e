//! What a confined thread may not do any more, and what it still does. Filters and capabilities belong to threads: each
//! test confines one of its own, and needs no rights.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::*;

fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap()
}

fn refused<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
}

#[test]
fn a_confined_process_executes_and_mounts_nothing_and_enters_no_other_kind_of_namespace() {
    on_a_thread(|| {
        let own = std::fs::File::open("/proc/self/ns/uts").unwrap();
        filter::forbid_to_process().unwrap();
        refused(Command::new("/bin/true").status());
        refused(nix::unistd::chroot("/").map_err(io::Error::from));
        assert_eq!(unshare(CloneFlags::CLONE_NEWUSER), Err(Errno::EPERM));
        assert_eq!(setns(&own, CloneFlags::CLONE_NEWUTS), Err(Errno::EPERM));
        // Of the kind that is wanted the kernel judges itself: it is the wrong file.
        assert_ne!(setns(&own, CloneFlags::CLONE_NEWNET), Ok(()));
        // The opposite: everything else goes on, with threads and files.
        assert!(std::fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:"));
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        // What is started now is confined, too.
        thread::spawn(|| refused(Command::new("/bin/true").status())).join().unwrap();
    });
    // Others are as before.
    assert!(Command::new("/bin/true").status().unwrap().success());
}

#[test]
fn a_worker_opens_no_file_and_starts_nothing_and_still_serves() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let worker = thread::spawn(move || {
        filter::allow_to_worker().unwrap();
        refused(std::fs::File::open("/dev/null"));
        refused(Command::new("/bin/true").status());
        refused(thread::Builder::new().spawn(|| ()));
        refused(std::fs::remove_file("/nonexistent"));
        let (mut stream, _) = listener.accept().unwrap();
        io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        // Memory beyond what is at hand, which is asked of the kernel.
        vec![1_u8; 8 << 20].len()
    });
    let mut client = TcpStream::connect(address).unwrap();
    io::Write::write_all(&mut client, b"ping").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(io::read_to_string(client).unwrap(), "ping");
    assert_eq!(worker.join().unwrap(), 8 << 20);
}

#[test]
fn a_thread_keeps_what_it_is_left_and_was_given_and_nothing_else() {
    let sets = || [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable].map(|set| caps::read(None, set).unwrap());
    let before = sets();
    let after = on_a_thread(move || {
        capabilities(WORKER).unwrap();
        sets()
    });
    let kept: CapsHashSet = before[0].iter().copied().filter(|capability| WORKER.contains(capability)).collect();
    assert_eq!(after, [kept.clone(), kept, CapsHashSet::new()]);
    assert_eq!(sets(), before, "another thread is as before");
    on_a_thread(move || {
        capabilities(MANAGER).unwrap();
        assert!(sets().iter().all(CapsHashSet::is_empty));
    });
}
