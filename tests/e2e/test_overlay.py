# SPDX-License-Identifier: Apache-2.0
"""A host behind a VXLAN tunnel whose far end is the kernel's device, and a firewall that is the kernel's conntrack."""
import shutil
import sys
import unittest

from harness import BUILD_DIR, LabError, SluiceTest, inside, main, run, wait_until, wire
from lab import Host, Lab
from overlay import TUNNEL, UNDERLAY, VNI, Overlay


class OverlayTest(SluiceTest):
    ports = ()
    daemon_args = None
    family = 4
    tunnel_options = ()

    def setUp(self):
        super().setUp()
        try:
            self.overlay = Overlay(self.lab, self.family)
        except LabError as error:
            if "vxlan" in str(error) and ("not supported" in str(error) or "Unknown device type" in str(error)):
                self.skipTest("this kernel has no vxlan device")
            raise
        self.inside, self.outside = self.overlay.inside, self.overlay.outside
        self.overlay.start(*self.tunnel_options)
        self.lab.wait_ports_up(("p0", UNDERLAY, TUNNEL))

    def wait_total(self, **counts):
        """At all ports together, at least."""
        wait_until(lambda: all(self.overlay.counters().get(name, 0) >= count for name, count in counts.items()), f"{counts}",
                   timeout=5)

    def begin(self, flows):
        """With these flows in; what hosts said before that came up."""
        self.overlay.put(flows)
        self.assertPings(self.inside, self.outside, count=1)
        self.wait_total(tnl_pushed=1, tnl_popped=1)
        self.came_up = self.overlay.counters().get("upcall", 0)

    def assertStayedInXdp(self):
        counters = self.overlay.counters()
        self.assertEqual(counters.get("upcall", 0), self.came_up)
        for name in ("missed_tail_call", "tnl_malformed", "tnl_checksum", "tnl_no_neighbour", "depth_exceeded"):
            self.assertEqual(counters.get(name, 0), 0, name)


class Tunnel(OverlayTest):
    def setUp(self):
        super().setUp()
        self.begin(self.overlay.open_flows())

    def test_ping_tcp_and_udp(self):
        self.assertPings(self.inside, self.outside, 4)
        self.assertPings(self.outside, self.inside, 4)
        self.assertPings(self.inside, self.outside, 6)
        for source, target in ((self.inside, self.outside), (self.outside, self.inside)):
            payload = "x" * 100_000
            self.assertEqual(self.overlay.tcp(source, target, payload.encode()), payload)
        self.wait_total(tnl_pushed=100, tnl_popped=100)
        self.assertStayedInXdp()

    def test_largest_packets(self):
        for size in (0, 1, 18, 1401, 1402):
            done = self.inside.run("ping", "-M", "do", "-s", str(size), "-c", "2", "-i", "0.05", "-W", "2", self.outside.ip,
                                   check=False)
            self.assertIn("2 received", done.stdout, size)
        self.assertStayedInXdp()

    def test_another_vni_is_another_network(self):
        far = self.outside.namespace
        run("ip", "-n", far, "link", "add", "vxlan1", "type", "vxlan", "id", str(VNI + 1), "local", self.overlay.far,
            "remote", self.overlay.near, "dstport", "4789", "dev", "eth0", *(("udpcsum",) if self.family == 6 else ()))
        run("ip", "-n", far, "link", "set", "vxlan1", "up")
        before = self.overlay.counters().get("pass_miss", 0)
        with wire.Receiver(self.inside) as receiver:
            raw = self.outside.socket(device="vxlan1")
            for number in range(20):
                raw.send(wire.numbered(self.outside.mac, self.inside.mac, number))
            raw.close()
            self.wait_total(pass_miss=before + 20)
            self.assertEqual(len(receiver), 0)

    def test_exact_counts(self):
        flow = self.add_flow(f"in_port({TUNNEL}),tunnel(tun_id={VNI}),eth_type(0x88b5), actions:p0")
        with wire.Receiver(self.inside) as receiver:
            raw = self.outside.socket(device="vxlan0")
            for number in range(1000):
                raw.send(wire.numbered(self.outside.mac, self.inside.mac, number))
            raw.close()
            self.assertEqual(receiver.wait(1000), 1000)
        self.wait_packets(flow, 1000)
        self.assertEqual(self.flow(flow)["bytes"], 1000 * 60)


class Tunnel6(Tunnel):
    family = 6


class TooLong(OverlayTest):
    tunnel_options = ("mtu_icmp=yes",)

    def test_who_sends_too_much_is_told(self):
        self.begin(self.overlay.open_flows())
        run("ip", "-n", self.inside.namespace, "link", "set", "eth0", "mtu", "1500")
        done = self.inside.run("ping", "-M", "do", "-s", "1472", "-c", "2", "-i", "0.2", "-W", "1", self.outside.ip, check=False)
        self.assertRegex(done.stdout + done.stderr, r"mtu ?= ?1450")
        self.wait_total(tnl_mtu=1, tnl_mtu_told=1)
        payload = "x" * 50_000  # TCP has learnt of it
        self.assertEqual(self.overlay.tcp(self.inside, self.outside, payload.encode()), payload)


class Between(SluiceTest):
    """Two daemons, each with a host, and a tunnel between them; the kernel has no part in it but routes."""
    ports = ()
    daemon_args = None

    def side(self, lab, host, near, far, underlay, kind):
        run("ip", "-n", lab.switch, "addr", "add", f"{near}/24", "dev", "u0")
        with inside(lab.switch), open("/proc/sys/net/ipv4/conf/u0/forwarding", "w") as forwarding:
            forwarding.write("1")
        run("ip", "-n", host.namespace, "link", "set", "eth0", "mtu", "1400")
        lab.start_daemon("--plugin", "xdp", "--plugin", "recirc")
        wait_until(lambda: all(plugin["state"] == "running" for plugin in lab.query("plugin", "list")), "both plugins")
        lab.ctl("port", "add", "p0")
        lab.ctl("port", "add", underlay, "--option", "miss=pass")
        lab.ctl("port", "add", "t0", "--option", f"tunnel={kind}", "--option", f"underlay={underlay}")
        proto = "proto=47" if kind == "gre" else "proto=17"
        flags = "df|key" if kind == "gre" else "df|csum|key"
        udp = {"vxlan": ",udp(dst=4789)", "geneve": ",udp(dst=6081)", "gre": ""}[kind]
        lab.ctl("flow", "add", f"in_port(u0),eth_type(0x0800),ipv4(dst={near},{proto},frag=no){udp}, actions:tnl_pop(t0)")
        lab.ctl("flow", "add", "in_port(t0),tunnel(tun_id=7), actions:p0")
        lab.ctl("flow", "add", f"in_port(p0), actions:set(tunnel(tun_id=7,src={near},dst={far},ttl=64,flags({flags}))),t0")

    def test_each_kind(self):
        for kind in ("vxlan", "geneve", "gre"):
            with self.subTest(kind=kind):
                self.between(kind)

    def between(self, kind):
        labs = [Lab(f"{self.lab.prefix}{kind[0]}{number}", f"{self.lab.run_dir}-{kind}{number}", BUILD_DIR) for number in (1, 2)]
        try:
            run("ip", "link", "add", "u0", "netns", labs[0].switch, "type", "veth", "peer", "name", "u0", "netns", labs[1].switch)
            hosts = [Host(lab, "p0", index) for index, lab in enumerate(labs)]
            for lab, host in zip(labs, hosts):
                host.address()
                run("ip", "-n", lab.switch, "link", "set", "u0", "up")
            ends = ("172.16.0.1", "172.16.0.2")
            for number, (lab, host) in enumerate(zip(labs, hosts)):
                self.side(lab, host, ends[number], ends[1 - number], "u0", kind)
            wait_until(lambda: all(flow["offload"][0]["state"] == "installed" for lab in labs for flow in lab.flows().values()),
                       "all flows to be installed")
            wait_until(lambda: hosts[0].run("ping", "-c", "1", "-W", "1", hosts[1].ip, check=False).returncode == 0,
                       "the first ping through the tunnel")
            self.assertPings(hosts[0], hosts[1])
            self.assertPings(hosts[1], hosts[0], 6)
            for lab in labs:
                for counters in lab.counters().values():
                    for name in ("tnl_malformed", "tnl_checksum", "missed_tail_call"):
                        self.assertEqual(counters.get(name, 0), 0, name)
        except BaseException:
            for lab in labs:
                print({port: {name: count for name, count in counters.items() if count}
                       for port, counters in lab.counters().items()}, lab.daemon.output(), file=sys.stderr)
            raise
        finally:
            for lab in labs:
                lab.close()


@unittest.skipUnless(shutil.which("conntrack"), "there is no conntrack program")
class Firewall(OverlayTest):
    def setUp(self):
        super().setUp()
        wait_until(lambda: self.capabilities()["actions"], "the recirc plugin")
        if "ct" not in self.capabilities()["actions"]:
            self.skipTest("this kernel has no functions for connection tracking")
        self.begin(self.overlay.firewall_flows())

    def capabilities(self):
        return next(plugin["capabilities"] for plugin in self.lab.query("plugin", "list") if plugin["name"] == "recirc")

    def connections(self, protocol):
        return [line for line in self.overlay.connections() if line.startswith(protocol)]

    def test_who_is_inside_opens(self):
        self.assertPings(self.inside, self.outside)
        self.assertEqual(self.overlay.tcp(self.inside, self.outside), "over")
        connection, = self.connections("tcp")  # echoes are not in the kernel's table: plugins/recirc/README.md
        self.assertIn(f"src={self.inside.ip} dst={self.outside.ip}", connection)
        for text in ("dport=7000", "mark=92", "[ASSURED]"):
            self.assertIn(text, connection)
        self.assertStayedInXdp()

    def test_who_is_outside_does_not(self):
        done = self.outside.run("ping", "-c", "5", "-i", "0.1", "-W", "0.5", self.inside.ip, check=False)
        self.assertIn(" 0 received", done.stdout)
        self.assertIsNone(self.overlay.tcp(self.outside, self.inside, timeout=1))
        self.assertEqual(self.overlay.connections(), [])
        self.assertStayedInXdp()

    def test_an_error_about_a_connection_comes_in(self):
        """UDP to a closed port: the answer is ICMP, related to what was sent."""
        script = ("import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.connect((sys.argv[1],9))\n"
                  "s.send(b'x')\ns.settimeout(2)\ntry:\n  s.recv(1)\nexcept ConnectionRefusedError:\n  print('refused')\n")
        done = self.inside.run("/usr/bin/python3", "-c", script, self.outside.ip, check=False)
        self.assertIn("refused", done.stdout)

    def test_zones_are_apart(self):
        if int(self.capabilities()["limits"]["max_ct_zone"]) == 0:
            self.skipTest("this kernel's connection tracking knows no zones")
        for number, zone in enumerate((5, 9)):
            self.lab.ctl("flow", "add", f"in_port(p0),eth_type(0x0800),ipv4(proto=17),udp(dst={7000 + number}), priority:9, "
                                        f"actions:ct(zone={zone}),recirc({10 + number})")
            self.lab.ctl("flow", "add", f"recirc_id({10 + number}),in_port(p0),ct_state(+new),ct_zone({zone}),eth_type(0x0800), "
                                        f"actions:ct(commit,zone={zone}),{self.overlay.encapsulate}")
        self.overlay.wait_installed(1)
        script = "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor p in 7000,7001: s.sendto(b'x',(sys.argv[1],p))"
        self.inside.run("/usr/bin/python3", "-c", script, self.outside.ip)
        wait_until(lambda: len(self.connections("udp")) == 2, "two connections")
        self.assertEqual({line.split("zone=")[1].split()[0] for line in self.connections("udp")}, {"5", "9"})

    def test_a_deleted_connection_is_closed_to_who_is_outside(self):
        server = self.outside.start("server", "/usr/bin/python3", "-c",
                                    "import socket\ns=socket.create_server(('', 7001))\nprint('ready',flush=True)\n"
                                    "c=s.accept()[0]\nwhile True:\n  d=c.recv(9)\n  c.sendall(d)\n")
        server.wait_for("ready")
        client = self.inside.start("client", "/usr/bin/python3", "-c",
                                   "import socket,sys,time\ns=socket.create_connection((sys.argv[1],7001))\ns.settimeout(1)\n"
                                   "for i in range(100):\n  s.sendall(b'%d'%i)\n  try:\n    print(s.recv(9),flush=True)\n"
                                   "  except TimeoutError:\n    print('silence',flush=True)\n    break\n  time.sleep(.02)\n"
                                   "  if i==50: print('half',flush=True); time.sleep(1)\n", self.outside.ip)
        client.wait_for("half")
        # Its flow is changed to one that commits nothing in the middle of a connection.
        before = self.connections("tcp")
        self.assertEqual(len(before), 1)
        self.lab.ctl("flow", "del", next(match for match in self.lab.flows() if "+new" in match and "recirc_id(0x1)" in match))
        with inside(self.lab.switch):
            run("conntrack", "-D", "-p", "tcp")
        client.wait_for("silence")
        self.assertEqual(self.connections("tcp"), [])


if __name__ == "__main__":
    main()
