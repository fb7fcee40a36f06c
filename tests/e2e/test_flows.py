# SPDX-License-Identifier: Apache-2.0
"""Flows put by hand: what they do to packets, and that they count them."""
import json
import struct
import time

from harness import SluiceTest, main, wait_until, wire

VLAN_10 = struct.pack("!HH", 0x8100, 10)


class Flows(SluiceTest):
    ports = ("p0", "p1", "p2")

    def capture(self, host, source):
        """The frames that arrive at `host` from `source`'s address; a tag taken out by the kernel is in ancillary data
        only, so this looks at what tcpdump prints."""
        dump = host.start("tcpdump", "tcpdump", "-nelxx", "--immediate-mode", "-i", "eth0", "ether", "src", source.mac)
        dump.wait_for("listening")
        return dump

    def test_output_counts_every_packet_and_byte(self):
        one, two, _ = self.hosts
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        with wire.Receiver(two) as receiver:
            self.send(one, two, 3000, length=90)
            self.assertEqual(receiver.wait(3000), 3000)
        self.wait_packets(ufid, 3000)
        flow = self.flow(ufid)
        self.assertEqual(flow["bytes"], 3000 * 90)
        self.assertLess(flow["used_ms"], 10_000)
        self.assertEqual([(o["plugin"], o["state"]) for o in flow["offload"]], [("xdp", "installed")])

    def test_several_outputs_and_flood(self):
        one, two, three = self.hosts
        for actions in ("p1,p2", "flood"):
            self.lab.ctl("flow", "flush")
            ufid = self.add_flow(f"in_port(p0),eth_type(0x88b5), actions:{actions}")
            with wire.Receiver(two) as second, wire.Receiver(three) as third, wire.Receiver(one) as first:
                self.send(one, two, 100)
                self.assertEqual((second.wait(100), third.wait(100), len(first)), (100, 100, 0), actions)
            self.wait_packets(ufid, 100)

    def test_drop_counts(self):
        one, two, _ = self.hosts
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:drop")
        with wire.Receiver(two) as receiver:
            self.send(one, two, 500)
            self.wait_packets(ufid, 500)
            self.assertEqual(len(receiver), 0)

    def test_push_and_pop_vlan(self):
        one, two, three = self.hosts
        push = self.add_flow("in_port(p0),eth_type(0x88b5), actions:push_vlan(vid=10,pcp=3),p1")
        pop = self.add_flow("in_port(p1),eth_type(0x8100),vlan(vid=10,pcp=0),encap(eth_type(0x88b5)) "
                            "actions:pop_vlan,p2")
        tagged, plain = self.capture(two, one), self.capture(three, two)
        self.send(one, two, 1)
        wait_until(lambda: "vlan 10, p 3" in tagged.output(), f"a tagged frame, not {tagged.output()}")
        wire.send_burst(two, [wire.frame(two.mac, three.mac, payload=b"x" * 50, vlan=10)])
        wait_until(lambda: two.mac in plain.output(), "a frame without a tag")
        self.assertNotIn("vlan", plain.output())
        self.wait_packets(push, 1)
        self.wait_packets(pop, 1)

    def test_the_higher_priority_wins_from_its_acknowledgement_on(self):
        one, two, three = self.hosts
        self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        with wire.Receiver(two) as second, wire.Receiver(three) as third:
            self.send(one, two, 100)
            self.assertEqual(second.wait(100), 100)
            high = self.add_flow(f"priority:10,in_port(p0),eth(dst={two.mac}),eth_type(0x88b5), actions:p2")
            self.send(one, two, 100, first=100)
            self.assertEqual(third.wait(100), 100)
            self.lab.ctl("flow", "del", high)
            self.send(one, two, 100, first=200)
            self.assertEqual((second.wait(200), len(third)), (200, 100))

    def test_modify_keeps_counting_and_delete_forgets(self):
        one, two, three = self.hosts
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        self.send(one, two, 10)
        self.wait_packets(ufid, 10)
        self.lab.ctl("flow", "mod", "in_port(p0),eth_type(0x88b5), actions:p2")
        self.wait_installed(ufid)
        with wire.Receiver(three) as third:
            self.send(one, two, 5)
            self.assertEqual(third.wait(5), 5)
        self.wait_packets(ufid, 15)
        self.lab.ctl("flow", "del", ufid)
        self.assertRefused(1, "no such flow|unknown flow|there is no flow", "flow", "get", ufid)

    def test_idle_timeout(self):
        one, two, _ = self.hosts
        ufid = self.add_flow("idle_timeout:1.5,in_port(p0),eth_type(0x88b5), actions:p1")
        sender = wire.Sender(one, two.mac, 50)
        self.assertTrue(wait_until(lambda: self.flow(ufid)["packets"] > 100, "two seconds of packets"))
        sender.stop()
        wait_until(lambda: self.lab.ctl("flow", "get", ufid, check=False).returncode == 1, "the idle flow to go",
                   timeout=8)

    def test_a_dump_pastes_back(self):
        self.add_flow("in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24,frag=no), actions:push_vlan(vid=5,pcp=1),p1")
        self.add_flow("in_port(p1),eth_type(0x86dd),ipv6(proto=6),tcp(dst=443), actions:p0,p2")
        before = self.lab.flows()
        text = self.lab.ctl("flow", "dump").stdout
        self.lab.ctl("flow", "flush")
        self.assertEqual(self.lab.flows(), {})
        self.lab.ctl("flow", "add", "--file", "-", input=text, stdin=None)
        after = self.lab.flows()
        self.assertEqual({m: (f["ufid"], f["actions"]) for m, f in before.items()},
                         {m: (f["ufid"], f["actions"]) for m, f in after.items()})

    def test_packet_out_meets_its_flow(self):
        one, two, three = self.hosts
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        with wire.Receiver(two) as second, wire.Receiver(three) as third:
            self.lab.ctl("packet", "out", "--in-port", "p0", "--hex", wire.numbered(one.mac, two.mac, 1).hex())
            self.assertEqual(second.wait(1), 1)
            self.lab.ctl("packet", "out", "--in-port", "p0", "--hex", wire.numbered(one.mac, two.mac, 2).hex(),
                         "--actions", "p2")
            self.assertEqual((third.wait(1), len(second)), (1, 1))
        self.wait_packets(ufid, 1)

    def test_a_flow_it_cannot_install_says_why(self):
        self.lab.ctl("flow", "add", "in_port(p0),eth_type(0x0800),ct_state(+trk), actions:p1")

        def refused():
            flow, = self.lab.query("flow", "dump")
            return flow["offload"] and flow["offload"][0]["state"] == "refused" and flow["offload"][0]
        verdict = wait_until(refused, "the verdict")
        self.assertIn("ct_state", verdict["detail"])
        self.assertEqual(verdict["reason"], "never_matches")
        text = self.lab.ctl("flow", "dump").stdout
        self.assertIn("ct_state", text)
        self.assertNotIn("offloaded:yes", text)

    def test_events_tell_of_a_flow_s_life(self):
        one, two, _ = self.hosts
        monitor = self.lab.start("monitor", [self.lab.program("sluicectl"), "--endpoint", self.lab.run_dir, "--json",
                                             "monitor", "flow.", "heartbeat"])
        wait_until(lambda: "heartbeat" in monitor.output(), "a heartbeat")
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        self.send(one, two, 7)
        self.wait_packets(ufid, 7)
        self.lab.ctl("flow", "del", ufid)
        wait_until(lambda: '"topic":"flow.del"' in monitor.output(), "flow.del")
        monitor.stop()
        events = [json.loads(line) for line in monitor.output().splitlines() if line.startswith("{")]
        topics = [event["topic"] for event in events if event["topic"].startswith("flow.")]
        self.assertEqual(topics[0], "flow.add")
        self.assertEqual(topics[-1], "flow.del")
        self.assertIn("flow.offload", topics)
        self.assertIn("flow.stats", topics)
        sequence = [event["seq"] for event in events]
        self.assertEqual(sequence, sorted(sequence))
        for key in ("node", "epoch", "seq", "time_ns", "topic"):
            self.assertIn(key, events[0])


class Ageing(SluiceTest):
    """Timeouts, and the counters that a flow ends with. What the flow does not take goes to another, so that all that
    was sent can be found."""

    def setUp(self):
        super().setUp()
        self.rest = self.add_flow("in_port(p0),eth_type(0x88b5), priority:0, actions:drop")
        self.monitor = self.lab.start("monitor", [self.lab.program("sluicectl"), "--endpoint", self.lab.run_dir,
                                                  "--json", "monitor", "flow.del", "heartbeat"])
        wait_until(lambda: "heartbeat" in self.monitor.output(), "a heartbeat")

    def add(self, actions="drop", **timeouts):
        words = [word for name, value in timeouts.items() for word in (f"--{name}-timeout", str(value))]
        match = f"in_port(p0),eth(src={self.hosts[0].mac}),eth_type(0x88b5)"
        ufid = self.lab.query("flow", "add", f"{match}, priority:1, actions:{actions}", *words)[0]["ufid"]
        self.wait_installed(ufid)
        return ufid

    def ends(self):
        lines = self.monitor.output().split("\n")[:-1]  # whole ones
        return [event for event in map(json.loads, lines) if event["topic"] == "flow.del"]

    def wait_end(self, number=1):
        wait_until(lambda: len(self.ends()) >= number, "flow.del")
        return self.ends()[number - 1]

    def assertAllFound(self, flow, sent):
        """What the flow says that it counted at its end, and what went to the other."""
        self.wait_packets(self.rest, sent - flow.get("packets", 0))
        self.assertEqual(flow.get("bytes", 0), 60 * flow.get("packets", 0))

    def test_the_idle_timeout_is_honoured_within_a_second(self):
        one, two = self.hosts
        late = []
        for number in range(1, 4):  # a busy machine may be late, three times in a row it is not
            self.add(idle=2)
            self.send(one, two, 20)
            sent = time.time()
            event = self.wait_end(number)
            self.assertEqual((event["cause"], event["flow"]["packets"], event["flow"]["bytes"]),
                             ("idle_timeout", 20, 1200))
            after = int(event["time_ns"]) / 1e9 - sent
            self.assertGreater(after, 2 - 0.05, "too early")  # the last use is told to some ms
            if after < 3:
                return
            late.append(after)
        self.fail(f"seconds after the last packet: {late}")

    def test_traffic_keeps_a_flow_alive_and_its_end_has_the_last_packet(self):
        one, two = self.hosts
        ufid = self.add(idle=2)
        sender = wire.Sender(one, two.mac, 20)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 5, "five seconds", interval=0.1)
        self.assertEqual(self.flow(ufid)["ufid"], ufid)
        self.assertEqual(self.ends(), [])
        count = sender.stop()
        event = self.wait_end()
        self.assertEqual((event["cause"], event["flow"]["packets"]), ("idle_timeout", count))
        self.assertAllFound(event["flow"], count)

    def test_the_hard_timeout_ends_a_flow_under_traffic(self):
        one, two = self.hosts
        sender = wire.Sender(one, two.mac, 2000)
        put = time.time()
        self.add(hard=1)
        event = self.wait_end()
        count = sender.stop()
        self.assertEqual(event["cause"], "hard_timeout")
        self.assertGreater(int(event["time_ns"]) / 1e9 - put, 1)
        self.assertGreater(event["flow"]["packets"], 0)
        self.assertAllFound(event["flow"], count)

    def test_changes_and_deletion_under_traffic_lose_no_count(self):
        one, two = self.hosts
        sender = wire.Sender(one, two.mac, 3000)
        for actions in ("drop", "p1", "push_vlan(vid=5,pcp=0),p1", "drop", "flood", "p1"):
            ufid = self.add(actions)
        self.lab.ctl("flow", "del", ufid)
        event = self.wait_end()
        count = sender.stop()
        self.assertEqual(event["cause"], "request")
        self.assertGreater(event["flow"]["packets"], 0)
        self.assertAllFound(event["flow"], count)


if __name__ == "__main__":
    main()
