//! The cookie of a network namespace, by which the hooks know a workload. A socket option tells it since Linux 5.14; on
//! older kernels a hook does, which runs for sockets of the agent's own cgroup and only while it is asked.

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use aya::programs::{CgroupAttachMode, CgroupSock};
use interceptor_common::names;

use super::error::BpfError;
use super::load::program;
use crate::cgroup;
use crate::net::netns::Netns;
use crate::sys;

/// The cookie of `netns`, in which `socket` is.
pub(super) fn cookie(ebpf: &mut Ebpf, netns: &Netns, socket: impl AsFd) -> Result<u64, BpfError> {
    match sys::netns_cookie(socket) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => by_hook(ebpf, netns),
        told => told.map_err(BpfError::Namespace),
    }
}

fn by_hook(ebpf: &mut Ebpf, netns: &Netns) -> Result<u64, BpfError> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "before Linux 5.14 the agent must be in a cgroup v2");
    let own = cgroup::own().and_then(|own| own.ok_or_else(nowhere)).map_err(BpfError::Namespace)?;
    let directory = File::open(&own).map_err(|source| BpfError::OpenCgroup { path: own.clone(), source })?;
    let refused = |source| BpfError::Program { program: names::SOCK_CREATE, source: Box::new(source) };
    let hook: &mut CgroupSock = program(ebpf, names::SOCK_CREATE).map_err(refused)?;
    if hook.fd().is_err() {
        hook.load().map_err(refused)?;
    }
    let link = hook.attach(directory, CgroupAttachMode::Single).and_then(|id| hook.take_link(id));
    let link = link.map_err(|source| BpfError::Cgroup {
        program: names::SOCK_CREATE,
        cgroup: own,
        source: io::Error::other(source),
    })?;
    let socket = netns.enter(|| UdpSocket::bind("0.0.0.0:0")).flatten().map_err(BpfError::Namespace)?;
    drop(link);
    let socket = sys::socket_cookie(&socket).map_err(BpfError::Cookie)?;
    let unknown = || BpfError::Namespace(io::Error::other("the hook did not see the agent's socket"));
    let map = ebpf.map(names::NAMESPACES).ok_or_else(unknown)?;
    let map: HashMap<&MapData, u64, u64> = HashMap::try_from(map).map_err(BpfError::map(names::NAMESPACES))?;
    map.get(&socket, 0).map_err(BpfError::map(names::NAMESPACES))
}
