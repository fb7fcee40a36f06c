#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The recirculation plugin under Debian's kernel, with the kernel's own Geneve, GRE and VXLAN devices as the far ends
of its tunnels, and its connection tracking. Run in the VM; started outside of it, it starts one."""
import os
import sys
import tempfile
import unittest

import vm

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "etc", "demo.d"), os.path.join(ROOT, "bus", "python")]
sys.dont_write_bytecode = True

import lab  # noqa: E402
from lab import run  # noqa: E402

BUILD_DIR = os.environ.get("SLUICE_BUILD_DIR", os.path.join(ROOT, "build"))
NEAR, FAR = "10.1.0.1", "10.1.0.2"          # of the underlay
NEAR6, FAR6 = "fd01::1", "fd01::2"
FAR_INNER = "192.168.0.2"
FAR_MAC = "02:00:00:00:01:02"


def wait_until(condition, what):
    return lab.wait_until(condition, what, timeout=60, interval=0.1)


class Tunnels(unittest.TestCase):
    """p0 is the underlay, with an address of the kernel's in the switch; behind it `far` has the tunnel's other end. p1
    has the host."""

    def setUp(self):
        self.lab = lab.Lab("tun", tempfile.mkdtemp(prefix="sluice-tun-"), BUILD_DIR)
        self.addCleanup(self.lab.close)
        self.far, self.host = self.lab.add_host("p0"), self.lab.add_host("p1")
        for namespace, device, addresses in ((self.lab.switch, "p0", (NEAR, NEAR6)),
                                             (self.far.namespace, "eth0", (FAR, FAR6))):
            run("ip", "-n", namespace, "addr", "add", f"{addresses[0]}/24", "dev", device)
            run("ip", "-n", namespace, "addr", "add", f"{addresses[1]}/64", "dev", device, "nodad")
        run("ip", "-n", self.host.namespace, "addr", "add", "192.168.0.1/24", "dev", "eth0")
        run("ip", "-n", self.host.namespace, "link", "set", "eth0", "mtu", "1400")
        # Without it the kernel tells XDP no route.
        for family in ("ipv4", "ipv6"):
            run("nsenter", f"--net=/run/netns/{self.lab.switch}", "sysctl", "-qw", f"net.{family}.conf.all.forwarding=1")
        self.lab.start_daemon("--plugin", "xdp", "--plugin", "recirc", "--port", "p0=xdp:miss=pass",
                              "--port", "p1=xdp:miss=drop")
        import sluice  # pylint: disable=import-outside-toplevel  # only in the VM: it needs pyzmq
        self.client = sluice.Client(self.lab.run_dir, timeout=60)
        self.addCleanup(self.client.close)
        self.addCleanup(self.show_log)
        for name in ("xdp", "recirc"):
            wait_until(lambda name=name: self.plugin(name)["state"] == "running", f"plugin {name} to run")
        for name in ("p0", "p1"):
            wait_until(lambda name=name: self.port(name)["state"] == "up", f"port {name} to be up")

    def show_log(self):
        if any(case is self for case, _ in self._outcome.result.errors + self._outcome.result.failures):
            print(self.lab.daemon.output()[-4000:], file=sys.stderr)
            for port in self.client.call("port_list")["ports"]:
                counters = {name: count for name, count in port.get("counters", {}).items() if count not in (0, "0")}
                print(port["name"], port["state"], port["info"].get("warning", ""), counters, file=sys.stderr)
            print(run("ip", "-n", self.far.namespace, "-s", "link", "show", "tnl").stdout, file=sys.stderr)

    # ------------------------------------------------------------ words of the cases

    def plugin(self, name):
        plugin, = (plugin for plugin in self.client.call("plugin_list")["plugins"] if plugin["name"] == name)
        return plugin

    def port(self, name):
        port, = (port for port in self.client.call("port_list")["ports"] if port["name"] == name)
        return port

    def counter(self, port, name):
        return int(self.port(port)["counters"].get(name, 0))

    def flow(self, ufid):
        flow, = self.client.call("flow_get", ufid=ufid)["flows"]
        return flow

    def add_flow(self, text):
        match, actions = text.rsplit(" actions:", 1)
        ufid, = self.client.put_flows({"match": match, "actions": actions})
        verdict = wait_until(lambda: [one for one in self.flow(ufid)["offload"] if one["plugin"] == "xdp" and
                                      one["state"] != "PENDING"], f"a verdict on {text}")[0]
        self.assertEqual(verdict["state"], "INSTALLED", f"{text}: {verdict}")
        return ufid

    def add_tunnel(self, kind, **options):
        self.client.call("port_add", name="tnl0", plugin="xdp", options={"tunnel": kind, "underlay": "p0", **options})
        wait_until(lambda: self.port("tnl0")["state"] == "up", "port tnl0 to be up")

    def add_far_end(self, *words):
        run("ip", "-n", self.far.namespace, "link", "add", "tnl", "address", FAR_MAC, "type", *words)
        run("ip", "-n", self.far.namespace, "addr", "add", f"{FAR_INNER}/24", "dev", "tnl")
        run("ip", "-n", self.far.namespace, "link", "set", "tnl", "mtu", "1400", "up")

    def check_pings(self, outer, tunnel, came):
        """`outer`: of the packets that come; `tunnel`: fields for those that go out; `came`: of those that come."""
        for address in ((FAR, NEAR), (FAR6, NEAR6)):  # the kernels' neighbours, both ways
            run("nsenter", f"--net=/run/netns/{self.lab.switch}", "ping", "-c1", "-W20", address[0])
        inward = self.add_flow(f"in_port(p0),{outer} actions:tnl_pop(tnl0)")
        inner = self.add_flow(f"in_port(tnl0),tunnel({came}) actions:p1")
        outward = self.add_flow(f"in_port(p1) actions:set(tunnel({tunnel})),tnl0")
        self.host.run("ping", "-c", "5", "-i", "0.2", "-W", "20", FAR_INNER, timeout=60)
        self.host.run("ping", "-c", "2", "-i", "0.2", "-W", "20", "-s", "1300", FAR_INNER, timeout=60)
        for ufid in (inward, inner, outward):
            wait_until(lambda ufid=ufid: int(self.flow(ufid)["packets"]) >= 7, f"flow {ufid} to count 7 packets")
        self.assertEqual(self.counter("p0", "missed_tail_call") + self.counter("p1", "missed_tail_call"), 0)
        self.assertGreaterEqual(self.counter("p0", "tnl_popped"), 7)
        self.assertGreaterEqual(self.counter("p1", "tnl_pushed"), 7)

    # ------------------------------------------------------------ cases

    def test_geneve(self):
        self.add_tunnel("geneve")
        self.add_far_end("geneve", "id", "7", "remote", NEAR)
        self.check_pings(f"eth_type(0x0800),ipv4(dst={NEAR},proto=17),udp(dst=6081)",
                         f"tun_id=0x7,src={NEAR},dst={FAR},ttl=64,flags(df|key)", f"tun_id=0x7,src={FAR},dst={NEAR}")

    def test_geneve_over_ipv6(self):
        self.add_tunnel("geneve")
        self.add_far_end("geneve", "id", "7", "remote", NEAR6)
        self.check_pings(f"eth_type(0x86dd),ipv6(dst={NEAR6},proto=17),udp(dst=6081)",
                         f"tun_id=0x7,ipv6_src={NEAR6},ipv6_dst={FAR6},ttl=64,flags(key)",
                         f"tun_id=0x7,ipv6_src={FAR6},ipv6_dst={NEAR6}")

    def test_gre_with_a_key(self):
        self.add_tunnel("gre")
        self.add_far_end("gretap", "local", FAR, "remote", NEAR, "key", "9")
        self.check_pings(f"eth_type(0x0800),ipv4(dst={NEAR},proto=47)",
                         f"tun_id=0x9,src={NEAR},dst={FAR},ttl=64,flags(df|key)", f"tun_id=0x9,src={FAR}")

    def test_gre_without_a_key_and_with_checksums(self):
        self.add_tunnel("gre")
        self.add_far_end("gretap", "local", FAR, "remote", NEAR, "csum")
        self.check_pings(f"eth_type(0x0800),ipv4(dst={NEAR},proto=47)",
                         f"src={NEAR},dst={FAR},ttl=64,flags(df|csum)", f"src={FAR},flags(+csum-key)")

    def test_vxlan(self):
        self.add_tunnel("vxlan")
        self.add_far_end("vxlan", "id", "5", "local", FAR, "remote", NEAR, "dstport", "4789", "noudpcsum")
        self.check_pings(f"eth_type(0x0800),ipv4(dst={NEAR},proto=17),udp(dst=4789)",
                         f"tun_id=0x5,src={NEAR},dst={FAR},ttl=64,flags(df|key)", f"tun_id=0x5,src={FAR},dst={NEAR}")


# ---------------------------------------------------------------- outside of the VM

def in_vm():
    lack = vm.missing()
    if lack:
        print(f"skipped: {lack}")
        return vm.SKIPPED
    outcome = vm.run([sys.executable, *sys.argv], env={"SLUICE_BUILD_DIR": BUILD_DIR}, timeout=280, echo=True)
    if outcome.status == vm.TIMED_OUT:
        print(outcome.output[-200:] + outcome.console[-2000:])
    return outcome.status


if __name__ == "__main__":
    if "SLUICE_IN_VM" not in os.environ:
        sys.exit(in_vm())
    for module in ("geneve", "ip_gre", "vxlan", "nf_conntrack", "nf_conntrack_netlink"):
        run("modprobe", module)
    unittest.main()
