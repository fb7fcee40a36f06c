# SPDX-License-Identifier: Apache-2.0
"""An overlay to show and test: a host at a port, and one behind a VXLAN tunnel whose far end is the kernel's own device."""
import contextlib
import json
import os

from lab import LabError, inside, run, wait_until

VNI = 100
TUNNEL = "vx0"  # Sluice's tunnel port; it has no device
UNDERLAY = "u0"
NEAR, FAR = "172.16.0.1", "172.16.0.2"          # the tunnel's ends
NEAR_6, FAR_6 = "fd16::1", "fd16::2"
INNER_MTU = 1430                                 # what fits over either
OPEN, REPLY = 1, 2                               # recirc_id of the passes behind ct


class Overlay:
    """`inside` at port p0 of the switch, `outside` behind the tunnel, which the switch speaks on u0."""

    def __init__(self, lab, family=4):
        self.lab, self.family, self.servers = lab, family, 0
        self.near, self.far = (NEAR, FAR) if family == 4 else (NEAR_6, FAR_6)
        self.inside = lab.add_host("p0")
        self.inside.address()
        run("ip", "-n", self.inside.namespace, "link", "set", "eth0", "mtu", str(INNER_MTU))
        self.outside = lab.add_host(UNDERLAY)
        self._underlay()
        self._far_end()

    def _underlay(self):
        prefix = 24 if self.family == 4 else 64
        nodad = () if self.family == 4 else ("nodad",)
        switch, far = self.lab.switch, self.outside.namespace
        run("ip", "-n", switch, "addr", "add", f"{self.near}/{prefix}", "dev", UNDERLAY, *nodad)
        run("ip", "-n", far, "addr", "add", f"{self.far}/{prefix}", "dev", "eth0", *nodad)
        # Routes are looked up by the kernel in the switch's namespace, for a device that forwards.
        with inside(switch):
            with open(f"/proc/sys/net/ipv{self.family}/conf/{UNDERLAY}/forwarding", "w") as forwarding:
                forwarding.write("1")
        near_mac = json.loads(run("ip", "-n", switch, "-j", "link", "show", UNDERLAY).stdout)[0]["address"]
        for namespace, device, neighbour, mac in ((switch, UNDERLAY, self.far, self.outside.mac),
                                                  (far, "eth0", self.near, near_mac)):
            run("ip", "-n", namespace, "neigh", "replace", neighbour, "lladdr", mac, "dev", device, "nud", "permanent")

    def _far_end(self):
        """The kernel's vxlan device, with the outside host's addresses."""
        namespace = self.outside.namespace
        run("ip", "-n", namespace, "link", "add", "vxlan0", "address", self.outside.mac, "type", "vxlan", "id", str(VNI), "local", self.far,
            "remote", self.near, "dstport", "4789", "dev", "eth0", *(("udpcsum",) if self.family == 6 else ()))
        run("ip", "-n", namespace, "link", "set", "vxlan0", "addrgenmode", "none", "mtu", str(INNER_MTU))
        run("ip", "-n", namespace, "link", "set", "vxlan0", "up")
        self.outside.address("vxlan0")

    def start(self, *tunnel_options):
        """sluiced with xdp and recirc, and the three ports; what arrives at u0 and is not the tunnel's is the kernel's."""
        self.lab.start_daemon("--plugin", "xdp", "--plugin", "recirc")
        self.add_ports(*tunnel_options)

    def add_ports(self, *tunnel_options):
        self.lab.ctl("port", "add", "p0")
        self.lab.ctl("port", "add", UNDERLAY, "--option", "miss=pass")
        options = ("tunnel=vxlan", f"underlay={UNDERLAY}", *tunnel_options)
        self.lab.ctl("port", "add", TUNNEL, *(word for option in options for word in ("--option", option)))

    @property
    def encapsulate(self):
        ends = f"src={self.near},dst={self.far}" if self.family == 4 else f"ipv6_src={self.near},ipv6_dst={self.far}"
        return f"set(tunnel(tun_id={VNI},{ends},ttl=64,flags(df|key))),{TUNNEL}"

    def tunnel_flows(self):
        """ARP and neighbour discovery pass; what came through the tunnel is in_port(vx0)."""
        if self.family == 4:
            outer = f"eth_type(0x0800),ipv4(src={self.far},dst={self.near},proto=17,frag=no),udp(dst=4789)"
        else:
            outer = f"eth_type(0x86dd),ipv6(src={self.far},dst={self.near},proto=17,frag=no),udp(dst=4789)"
        return [f"in_port({UNDERLAY}),{outer}, actions:tnl_pop({TUNNEL})",
                f"in_port(p0),eth_type(0x0806), actions:{self.encapsulate}",
                f"in_port({TUNNEL}),tunnel(tun_id={VNI}),eth_type(0x0806), actions:p0"]

    def open_flows(self):
        """No firewall: everything passes."""
        return [*self.tunnel_flows(),
                *(f"in_port(p0),eth_type({eth_type}), actions:{self.encapsulate}" for eth_type in ("0x0800", "0x86dd")),
                *(f"in_port({TUNNEL}),tunnel(tun_id={VNI}),eth_type({eth_type}), actions:p0"
                  for eth_type in ("0x0800", "0x86dd"))]

    def firewall_flows(self):
        """Who is inside opens connections, and gets replies; nothing else comes in."""
        return [*self.tunnel_flows(),
                f"in_port(p0),eth_type(0x0800), actions:ct,recirc({OPEN})",
                f"recirc_id({OPEN}),in_port(p0),ct_state(+trk+new-inv),eth_type(0x0800), "
                f"actions:ct(commit,mark=0x5c/0xff),{self.encapsulate}",
                f"recirc_id({OPEN}),in_port(p0),ct_state(+trk+est-inv),eth_type(0x0800), actions:{self.encapsulate}",
                f"recirc_id({OPEN}),in_port(p0),ct_state(+trk+inv),eth_type(0x0800), actions:drop",
                f"in_port({TUNNEL}),tunnel(tun_id={VNI}),eth_type(0x0800), actions:ct,recirc({REPLY})",
                f"recirc_id({REPLY}),in_port({TUNNEL}),ct_state(+trk+est+rpl-inv),eth_type(0x0800), actions:p0",
                f"recirc_id({REPLY}),in_port({TUNNEL}),ct_state(+trk+rel-inv),eth_type(0x0800), actions:p0",
                f"recirc_id({REPLY}),in_port({TUNNEL}),ct_state(+trk-est-rel),eth_type(0x0800), actions:drop",
                *(f"in_port({port}),eth_type(0x86dd), actions:drop" for port in ("p0", TUNNEL))]

    def put(self, flows):
        """Returns when all are installed."""
        path = os.path.join(self.lab.run_dir, "flows")
        with open(path, "w") as file:
            file.writelines(flow + "\n" for flow in flows)
        self.lab.ctl("flow", "add", "--file", path)
        self.wait_installed(len(flows))

    def wait_installed(self, least):
        def installed():
            offloads = [flow["offload"] for flow in self.lab.flows().values()]
            for offload in offloads:
                for entry in offload:
                    if entry["state"] in ("refused", "failed", "software") and entry["reason"] != "needs_recirc":
                        raise LabError(f"a flow is {entry}")
            return len(offloads) >= least and all(offload and all(entry["state"] == "installed" for entry in offload)
                                                  for offload in offloads)
        wait_until(installed, "all flows to be installed")

    def counters(self):
        """Of all ports together: a packet counts at the port that received it."""
        total = {}
        for counters in self.lab.counters().values():
            for name, value in counters.items():
                total[name] = total.get(name, 0) + value
        return total

    def connections(self):
        """The kernel's table in the switch's namespace, as conntrack prints it."""
        done = run("nsenter", f"--net=/run/netns/{self.lab.switch}", "conntrack", "-L")
        return [line for line in done.stdout.splitlines() if line.strip()]

    def tcp(self, source, target, payload=b"over", port=7000, timeout=2.0):
        """A connection from one host to another that echoes; the answer, or None where it does not come about."""
        self.servers += 1  # each writes a file of its own
        server = target.start(f"echo{self.servers}", "/usr/bin/python3", "-c", ECHO, target.ip, str(port))
        server.wait_for("ready")
        try:
            done = source.run("/usr/bin/python3", "-c", ASK, target.ip, str(port), payload.decode(), str(timeout), check=False)
            return json.loads(done.stdout) if done.returncode == 0 else None
        finally:
            with contextlib.suppress(LabError):
                server.stop()


ECHO = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as peer:
            while data := peer.recv(65536):
                peer.sendall(data)
"""

ASK = """
import json, socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[4])) as peer:
    peer.sendall(sys.argv[3].encode())
    peer.shutdown(socket.SHUT_WR)
    got = b""
    while data := peer.recv(65536):
        got += data
print(json.dumps(got.decode()))
"""
