//! The private network of the pods: one bridge, and for each pod a namespace and a virtual cable.
//!
//! Runs only in the helper. It must never touch the host's network: every function works in
//! namespaces that the helper made, and none of them has a way out.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};

/// The bridge in the helper's namespace.
const BRIDGE: &str = "pods";
/// The interface that every pod sees.
const POD_INTERFACE: &str = "eth0";
/// All pods are neighbours: 10.244.0.0/16 is what Kubernetes installations commonly give to pods.
pub(crate) const PREFIX_LENGTH: u8 = 16;

/// The helper's network namespace with its bridge.
#[derive(Debug)]
pub(crate) struct Network {
    own: OwnedFd,
    bridge: u32,
}

impl Network {
    /// Builds the bridge in the calling thread's network namespace, which must be a fresh one.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let own = current_namespace()?;
        let mut socket = Route::open()?;
        socket.raise("lo")?;
        let mut bridge = LinkMessage::default();
        bridge.header.flags = LinkFlags::Up;
        bridge.header.change_mask = LinkFlags::Up;
        bridge.attributes = vec![
            LinkAttribute::IfName(BRIDGE.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        socket
            .ask(
                RouteNetlinkMessage::NewLink(bridge),
                NLM_F_CREATE | NLM_F_EXCL,
            )
            .context("failed to make a network bridge (is the kernel module `bridge` there?)")?;
        Ok(Self {
            own,
            bridge: index_of(BRIDGE)?,
        })
    }

    /// Makes a namespace for a pod and plugs it into the bridge.
    ///
    /// It lives as long as the descriptor or a process in it.
    pub(crate) fn add_pod(&self, pod: u64, address: Ipv4Addr) -> anyhow::Result<OwnedFd> {
        unshare(CloneFlags::CLONE_NEWNET).context("failed to make a network namespace")?;
        let made = current_namespace().and_then(|namespace| {
            Route::open()?.raise("lo")?;
            Ok(namespace)
        });
        self.back()?;
        let namespace = made?;
        self.plug(pod, &namespace)?;
        setns(&namespace, CloneFlags::CLONE_NEWNET)
            .context("failed to enter the pod's network namespace")?;
        let configured = Route::open().and_then(|mut socket| {
            socket.give_address(POD_INTERFACE, address)?;
            socket.raise(POD_INTERFACE)
        });
        self.back()?;
        configured?;
        Ok(namespace)
    }

    fn back(&self) -> anyhow::Result<()> {
        setns(&self.own, CloneFlags::CLONE_NEWNET)
            .context("failed to return to the helper's network namespace")
    }

    fn plug(&self, pod: u64, namespace: &OwnedFd) -> anyhow::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(POD_INTERFACE.to_owned()),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ];
        let mut cable = LinkMessage::default();
        cable.header.flags = LinkFlags::Up;
        cable.header.change_mask = LinkFlags::Up;
        cable.attributes = vec![
            LinkAttribute::IfName(format!("pod{pod}")),
            LinkAttribute::Controller(self.bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        Route::open()?
            .ask(
                RouteNetlinkMessage::NewLink(cable),
                NLM_F_CREATE | NLM_F_EXCL,
            )
            .context("failed to connect the pod to the bridge (is the kernel module `veth` there?)")
    }
}

/// A conversation with the kernel about the network namespace in which it was opened.
struct Route {
    socket: Socket,
    sequence: u32,
}

impl Route {
    fn open() -> anyhow::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("failed to open a netlink socket")?;
        socket
            .bind_auto()
            .context("failed to bind a netlink socket")?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .context("failed to connect a netlink socket")?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    fn raise(&mut self, interface: &str) -> anyhow::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index_of(interface)?;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.ask(RouteNetlinkMessage::SetLink(message), 0)
            .with_context(|| format!("failed to bring up the network interface `{interface}`"))
    }

    fn give_address(&mut self, interface: &str, address: Ipv4Addr) -> anyhow::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = PREFIX_LENGTH;
        message.header.index = index_of(interface)?;
        let address = IpAddr::V4(address);
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
        ];
        self.ask(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .with_context(|| format!("failed to give `{interface}` the address `{address}`"))
    }

    /// Sends one request and waits for the kernel's word on it.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> anyhow::Result<()> {
        self.sequence += 1;
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket
            .send(&bytes, 0)
            .context("failed to send to the kernel")?;
        let (answer, _) = self
            .socket
            .recv_from_full()
            .context("failed to hear from the kernel")?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .context("failed to understand the kernel")?;
        let NetlinkPayload::Error(verdict) = answer.payload else {
            bail!("the kernel gave an answer that is no acknowledgement");
        };
        if verdict.code.is_some() {
            return Err(verdict.to_io().into());
        }
        Ok(())
    }
}

fn current_namespace() -> anyhow::Result<OwnedFd> {
    let path = "/proc/self/ns/net";
    Ok(fs_err::File::open(path)
        .context("failed to look at the network namespace")?
        .into_parts()
        .0
        .into())
}

fn index_of(interface: &str) -> anyhow::Result<u32> {
    if_nametoindex(interface)
        .with_context(|| format!("failed to find the network interface `{interface}`"))
}
