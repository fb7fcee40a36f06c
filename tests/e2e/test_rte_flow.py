# SPDX-License-Identifier: Apache-2.0
"""The rte_flow plugin in a running sluiced, on net_sluice over veth: real packets, a process that is killed, a second
plugin beside it."""
import os
import signal
import sys
import time
import unittest

from harness import BUILD_DIR, LabError, SluiceTest, main, run, wait_until, wire

RATE = 1000
PMD = os.path.join(BUILD_DIR, "lib", "sluice", "pmd", "librte_net_sluice.so")


@unittest.skipUnless(os.path.exists(PMD), "net_sluice was not built: DPDK's internal headers are missing")
class RteFlow(SluiceTest):
    profile = "full"
    daemon_args = None

    def setUp(self):
        super().setUp()
        self.lab.start_daemon("--plugin", "rte_flow")
        for port in self.ports:
            self.add_port(port)
        self.wait_ports_up()
        self.one, self.two = self.hosts[:2]

    def add_port(self, port, *options):
        self.lab.ctl("port", "add", port, "--plugin", "rte_flow", "--option",
                     f"devargs=net_sluice_{port},iface={port},profile={self.profile}", *options)

    def plugin(self, name="rte_flow"):
        return next((plugin for plugin in self.lab.query("plugin", "list") if plugin["name"] == name), None)


class Device(RteFlow):
    def test_runs_in_a_process_by_itself_and_never_in_a_thread(self):
        plugin = self.plugin()
        self.assertEqual((plugin["state"], plugin["isolation"]), ("running", "process"))
        self.assertIn("sluice-plugin-host", os.readlink(f"/proc/{plugin['pid']}/exe"))
        with open(f"/proc/{self.lab.daemon.pid}/maps") as maps:
            self.assertNotIn("librte_", maps.read())
        self.lab.ctl("plugin", "unload", "rte_flow")
        self.assertRefused(1, "runs in a process of its own only", "plugin", "load", "rte_flow", "--isolation", "thread")

    def test_the_device_forwards_and_counts(self):
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, 500)
            self.assertEqual(receiver.wait(500), 500)
        self.wait_packets(ufid, 500)
        self.assertEqual(self.flow(ufid)["offload"], [{"plugin": "rte_flow", "state": "installed", "reason": "",
                                                        "detail": ""}])
        self.assertIn("offloaded:yes, dp:rte_flow", self.lab.ctl("flow", "dump").stdout)
        counters = self.lab.counters()["p0"]  # the loop has seen none of them
        self.assertEqual((counters["marked"], counters["hit_software"]), (0, 0))

    def test_a_learning_switch_works_on_it(self):
        self.start_switch()
        self.assertPings(self.one, self.two, interval=0.5)
        self.assertPings(self.one, self.two, family=6, interval=0.5)
        flows = [flow for flow in self.lab.query("flow", "dump") if "0x0800" in flow["match"]]
        self.assertEqual(len(flows), 2)
        for flow in flows:
            wait_until(lambda ufid=flow["ufid"]: self.flow(ufid)["offload"][0]["state"] == "installed", "the device to have it")

    def test_a_flow_beyond_the_device_is_softwares_and_says_why(self):
        ufid, = (flow["ufid"] for flow in self.lab.query("flow", "add", "in_port(p0),eth_type(0x88b5), actions:trunc(30),p1"))
        wait_until(lambda: self.flow(ufid)["offload"][0]["state"] == "installed", "a verdict")
        self.assertEqual(self.flow(ufid)["offload"][0]["reason"], "partial")
        self.assertIn("offloaded:partial, dp:rte_flow", self.lab.ctl("flow", "dump").stdout)
        self.add_port_with("offload=none")
        wait_until(lambda: self.flow(ufid)["offload"][0]["state"] == "software", "software to have it")
        self.assertEqual(self.flow(ufid)["offload"][0]["detail"], "the port's option offload is none")

    def add_port_with(self, option):
        self.lab.ctl("port", "del", "p0")
        self.add_port("p0", "--option", option)
        self.wait_ports_up()

    def test_wrong_options_are_named(self):
        def refused(pattern, *options):
            done = self.lab.ctl("port", "add", "x0", "--plugin", "rte_flow",
                                *(word for option in options for word in ("--option", option)), check=False)
            detail = done.stderr + "".join(port["detail"] for port in self.lab.query("port", "list") if port["name"] == "x0")
            self.assertRegex(detail, pattern)
            self.lab.ctl("port", "del", "x0", check=False)
        refused("option 'devargs' is missing")
        refused("no device for devargs net_nosuch0", "devargs=net_nosuch0")
        refused("no option 'devarg'", "devarg=x")
        refused("'queues' is '0'", "devargs=net_null7", "queues=0")
        refused("no device net_null9", "devargs=net_null7", "ethdev=net_null9")
        refused("DPDK finds no device", "devargs=net_sluice_x0,iface=nosuchdevice")
        refused("DPDK finds no device", "devargs=net_sluice_x0,iface=p0,profile=nosuch")

    def test_a_reload_brings_everything_back(self):
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        before = self.plugin()["pid"]
        print(self.lab.ctl("plugin", "reload", "rte_flow").stdout, file=sys.stderr)
        self.wait_ports_up()
        self.wait_installed(ufid)
        self.assertNotEqual(self.plugin()["pid"], before)
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, 50)
            self.assertEqual(receiver.wait(50), 50)

    def test_a_port_whose_device_vanishes_is_gone_and_returns(self):
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        run("ip", "-n", self.lab.switch, "link", "del", "p1")
        wait_until(lambda: self.lab.query("port", "list")[1]["state"] == "gone", "p1 to be gone")
        wait_until(lambda: self.flow(ufid)["offload"][0]["state"] == "refused", "the flow to be refused")
        self.assertEqual(self.flow(ufid)["offload"][0]["reason"], "no_such_port")
        self.two.plug_in()
        self.wait_ports_up()
        self.wait_installed(ufid)
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, 50)
            self.assertEqual(receiver.wait(50), 50)

    def test_killed_under_traffic(self):
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        path = os.path.join(self.lab.run_dir, "flows")
        with open(path, "w") as flows:
            for n in range(10_000):
                flows.write(f"in_port(p1),eth(src=06:00:00:00:{n >> 8:02x}:{n & 255:02x}),eth_type(0x88b6), actions:p0\n")
        self.lab.ctl("flow", "add", "--file", path)

        def at_rest():
            plugin = self.plugin()
            return plugin["state"] == "running" and plugin["installed"] == 10_001 and plugin["lag"] == 0 and plugin
        before = wait_until(at_rest, "10,001 flows to be installed", timeout=30)
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RATE)
            wait_until(lambda: len(receiver) > 100, "packets to flow")
            os.kill(before["pid"], signal.SIGKILL)
            killed = time.monotonic()
            after = wait_until(lambda: (p := at_rest()) and p["pid"] != before["pid"] and p, "them to be back", timeout=30)
            took = time.monotonic() - killed
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + 200, "packets to flow again")
            sent = sender.stop()
            receiver.wait(sent, timeout=1)
            self.assertEqual(receiver.duplicates, 0)
            print(f"{self.id()}: 10,001 flows back after {took * 1000:.0f} ms, {sent - len(receiver)} of {sent} packets lost",
                  file=sys.stderr)
        self.assertEqual(after["restarts"], 1)
        self.assertEqual(self.lab.ctl("status", check=False).returncode, 0)
        self.assertEqual(self.flow(ufid)["offload"][0]["state"], "installed")


class MarksOnly(Device):
    """The same where the device only classifies, as far as it is the same."""

    profile = "mark-count"

    def test_the_device_forwards_and_counts(self):
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, 500)
            self.assertEqual(receiver.wait(500), 500)
        self.wait_packets(ufid, 500)
        wait_until(lambda: self.lab.counters()["p0"]["marked"] == 500, "500 packets to be counted as marked")
        self.assertIn("offloaded:partial, dp:rte_flow", self.lab.ctl("flow", "dump").stdout)


class Vxlan(RteFlow):
    """The device puts one host's packets into VXLAN and takes the other's out; that one's far end is the kernel's."""

    near, far, vni = "192.168.5.1", "192.168.5.2", 123
    near_mac, inner_mac = "02:00:00:00:00:fe", "02:00:00:00:01:02"

    def setUp(self):
        super().setUp()
        namespace = self.two.namespace
        try:
            run("ip", "-n", namespace, "link", "add", "vxlan0", "address", self.inner_mac, "mtu", "1450", "type", "vxlan",
                "id", str(self.vni), "local", self.far, "remote", self.near, "dstport", "4789", "dev", "eth0")
        except LabError as error:
            if "not supported" in str(error) or "Unknown device type" in str(error):
                self.skipTest("this kernel has no vxlan device")
            raise
        run("ip", "-n", namespace, "addr", "flush", "dev", "eth0")
        run("ip", "-n", namespace, "addr", "add", f"{self.far}/24", "dev", "eth0")
        run("ip", "-n", namespace, "neigh", "add", self.near, "lladdr", self.near_mac, "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "vxlan0", "up")
        self.two.address("vxlan0")

    def push(self, vni):
        return (f"tnl_push(tnl_port(p1),header(size=50,type=4,eth(dst={self.two.mac},src={self.near_mac},dl_type=0x0800),"
                f"ipv4(src={self.near},dst={self.far},proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"
                f"vxlan(flags=0x8000000,vni={vni:#x})),out_port(p1))")

    def add_both_ways(self, ethertype):
        return (self.add_flow(f"in_port(p0),eth_type({ethertype:#06x}), actions:{self.push(self.vni)}"),
                self.add_flow(f"in_port(p1),tunnel(tun_id={self.vni},src={self.far},dst={self.near}),"
                              f"eth_type({ethertype:#06x}), actions:p0"))

    def test_hosts_talk_through_it(self):
        for ethertype in (0x0800, 0x0806, 0x86dd):
            self.add_both_ways(ethertype)
        self.assertPings(self.one, self.two)
        self.assertPings(self.two, self.one)
        self.assertPings(self.one, self.two, family=6)
        for size in (0, 1, 18, 1400):
            done = self.one.run("ping", "-s", str(size), "-c", "2", "-i", "0.05", "-W", "2", self.two.ip, check=False)
            self.assertIn("2 received", done.stdout, size)

    def test_every_packet_is_counted_and_whole(self):
        there, back = self.add_both_ways(0x88b5)
        with wire.Receiver(self.two, device="vxlan0") as receiver:
            self.send(self.one, self.two, 300)
            self.assertEqual(receiver.wait(300), 300)
        with wire.Receiver(self.one) as receiver:
            raw = self.two.socket(device="vxlan0")
            for number in range(200):
                raw.send(wire.numbered(self.two.mac, self.one.mac, number))
            raw.close()
            self.assertEqual(receiver.wait(200), 200)
        self.wait_packets(there, 300)
        self.wait_packets(back, 200)
        counters = self.lab.counters()  # the loop has seen none of them
        self.assertEqual([counters[port]["marked"] + counters[port]["hit_software"] for port in self.ports], [0, 0])

    def test_another_network_is_another(self):
        self.add_flow(f"in_port(p0),eth_type(0x88b5), actions:{self.push(self.vni + 1)}")
        outer_headers = 14 + 20 + 8 + 8
        with wire.Receiver(self.two, device="vxlan0") as receiver, \
                wire.Receiver(self.two, eth_type=0x0800, offset=outer_headers + 14) as outer:
            self.send(self.one, self.two, 20)
            self.assertEqual(outer.wait(20), 20)
            self.assertEqual(len(receiver), 0)

    def test_what_a_device_without_tunnels_says(self):
        self.lab.ctl("port", "del", "p0")
        self.lab.ctl("port", "add", "p0", "--plugin", "rte_flow", "--option", "devargs=net_sluice_p0,iface=p0,profile=mark-count")
        self.wait_ports_up()
        ufid, = (flow["ufid"] for flow in self.lab.query(
            "flow", "add", f"in_port(p0),eth_type(0x88b5), actions:{self.push(self.vni)}"))
        wait_until(lambda: self.flow(ufid)["offload"][0]["state"] == "refused", "a refusal")
        verdict = self.flow(ufid)["offload"][0]
        self.assertEqual(verdict["reason"], "unsupported_action")
        self.assertIn("software cannot do it either: the software path cannot do tnl_push", verdict["detail"])


class TwoPlugins(RteFlow):
    """The same flow at a port of XDP's and at one of rte_flow's."""

    ports = ("p0", "p1", "p2")

    def setUp(self):
        super().setUp()
        self.lab.ctl("port", "del", "p2")
        self.lab.ctl("plugin", "load", "xdp")
        self.lab.ctl("port", "add", "p2", "--plugin", "xdp")
        self.wait_ports_up()

    def test_one_flow_in_both_is_counted_as_one(self):
        ufid, = (flow["ufid"] for flow in self.lab.query("flow", "add", "eth_type(0x88b5), actions:drop"))

        def installed():
            offload = {entry["plugin"]: entry["state"] for entry in self.flow(ufid)["offload"]}
            return offload == {"rte_flow": "installed", "xdp": "installed"}
        wait_until(installed, "both plugins to have it")
        for host, count in ((self.hosts[0], 30), (self.hosts[1], 20), (self.hosts[2], 100)):
            self.send(host, self.hosts[1], count)
        self.wait_packets(ufid, 150)
        self.lab.ctl("plugin", "unload", "xdp")
        wait_until(lambda: len(self.flow(ufid)["offload"]) == 1, "one of them to be left")
        self.assertEqual(self.flow(ufid)["packets"], 150)
        self.send(self.hosts[0], self.hosts[1], 10)
        self.wait_packets(ufid, 160)


del RteFlow  # it has no case of its own

if __name__ == "__main__":
    main()
