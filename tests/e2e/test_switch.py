# SPDX-License-Identifier: Apache-2.0
"""The learning switch of etc/examples between hosts that know nothing of it."""
import os

from harness import SluiceTest, main, run, wait_until, wire


class Flat(SluiceTest):
    ports = ("p0", "p1", "p2")

    def setUp(self):
        super().setUp()
        self.start_switch()

    def test_every_pair_of_hosts_talks(self):
        for source in self.hosts:
            for target in self.hosts:
                if source is not target:
                    self.assertPings(source, target, 4)
                    self.assertPings(source, target, 6)

    def test_only_first_packets_go_up(self):
        one, two, _ = self.hosts
        self.assertPings(one, two)
        # On a slow machine pings outlast the kernel's neighbour timers, and its probes, unicast, are flows of their own.
        for host, other in ((one, two), (two, one)):
            run("ip", "-n", host.namespace, "neigh", "replace", other.ip, "lladdr", other.mac, "dev", "eth0",
                "nud", "permanent")
        self.wait_counter("p0", "forwarded", 6)
        self.lab.start("upcalls", [self.lab.program("sluicectl"), "monitor", "upcall"],
                       env={**os.environ, "SLUICE_RUN_DIR": self.lab.run_dir})  # what it was, should it fail
        before = self.lab.counters()["p0"]
        self.assertPings(one, two, count=40)
        self.wait_counter("p0", "forwarded", before["forwarded"] + 40)
        self.assertEqual(self.lab.counters()["p0"]["upcall"], before["upcall"])

    def test_unicast_reaches_only_its_host(self):
        one, two, three = self.hosts
        self.assertPings(one, two)
        with wire.Receiver(three, 0x0800) as stranger:
            self.assertPings(one, two, count=20)
            self.assertEqual(len(stranger), 0)

    def test_a_host_that_moved_is_found_again(self):
        one, two, three = self.hosts
        self.assertPings(one, two)
        run("ip", "-n", two.namespace, "addr", "flush", "dev", "eth0")
        run("ip", "-n", three.namespace, "addr", "flush", "dev", "eth0")
        run("ip", "-n", two.namespace, "link", "set", "eth0", "address", "02:00:00:00:00:99")
        run("ip", "-n", three.namespace, "link", "set", "eth0", "address", two.mac)
        run("ip", "-n", three.namespace, "addr", "add", f"{two.ip}/24", "dev", "eth0")
        three.run("ping", "-c", "1", "-W", "2", one.ip)  # a sign of life from its new place
        self.assertPings(one, two)

    def test_counters_equal_what_was_sent(self):
        one, two, _ = self.hosts
        self.assertPings(one, two)
        with wire.Receiver(two) as receiver:
            self.send(one, two, 1)
            wait_until(lambda: len(receiver) == 1, "the first packet")
            self.send(one, two, 4999, first=1)
            self.assertEqual(receiver.wait(5000), 5000)
            self.assertEqual(receiver.duplicates, 0)
        ufid, = (flow["ufid"] for match, flow in self.lab.flows().items()
                 if f"src={one.mac}" in match and "0x88b5" in match)
        self.wait_packets(ufid, 5000)


class Vlans(SluiceTest):
    ports = ("p0", "p1", "p2", "p3")

    def setUp(self):
        super().setUp()
        self.start_switch("--trunk", "p2", "--access", "p0=10", "--access", "p1=10", "--access", "p3=20")

    def test_trunk_and_access_ports_of_one_vlan_talk(self):
        one, two, trunk, _ = self.hosts
        self.start_tagger(trunk, 10)
        self.assertPings(trunk, one)
        self.assertPings(two, trunk)
        self.assertPings(one, trunk, 6)
        actions = {flow["actions"] for flow in self.lab.flows().values()}
        self.assertTrue(any("push_vlan(vid=10" in action and "p2" in action for action in actions), actions)
        self.assertTrue(any(action.startswith("pop_vlan") and "p0" in action for action in actions), actions)
        self.assertFalse([flow for flow in self.lab.flows().values() if flow["offload"][0]["state"] != "installed"])

    def test_vlans_do_not_meet(self):
        one, two, _, other = self.hosts
        self.assertPings(one, two)
        self.assertNoPing(one, other)

    def test_tags_are_on_the_wire_of_the_trunk_alone(self):
        one, two, trunk, _ = self.hosts
        self.start_tagger(trunk, 10)
        dump = trunk.start("tcpdump", "tcpdump", "-nel", "-c", "4", "-i", "eth0", "icmp or (vlan and icmp)")
        dump.wait_for("listening")
        self.assertPings(trunk, one)
        wait_until(lambda: not dump.running(), "tcpdump to see four packets")
        lines = [line for line in dump.output().splitlines() if "ICMP" in line]
        self.assertTrue(all("vlan 10" in line for line in lines), lines)


if __name__ == "__main__":
    main()
