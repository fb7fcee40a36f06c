# SPDX-License-Identifier: Apache-2.0
"""recirc and xdp reloaded while numbered frames take two passes and connection tracking: none may be lost, and none may
meet an empty slot. SLUICE_RELOADS says how often, SLUICE_RELOAD_RATE how many frames a second there are."""
import itertools
import os
import random
import re
import signal
import sys
import threading
import time

from harness import BUILD_DIR, SluiceTest, main, wait_until, wire

RELOADS = int(os.environ.get("SLUICE_RELOADS", "6"))
RATE = int(os.environ.get("SLUICE_RELOAD_RATE", "50000"))
PUMP = os.path.join(BUILD_DIR, "tests", "e2e", "pump")


class Pumped:
    """Frames from one host to another, while it is entered."""
    numbers = itertools.count()

    def __init__(self, test, frame, offset, rate=RATE):
        self.test, self.source, self.target = test, *test.hosts[:2]
        self.frame, self.offset, self.rate = frame, offset, rate

    def __enter__(self):
        number = next(self.numbers)  # each process writes a file of its own
        self.receiver = self.target.start(f"receive{number}", PUMP, "receive", "eth0", str(self.offset))
        self.receiver.wait_for("ready")
        self.sender = self.source.start(f"send{number}", PUMP, "send", "eth0", self.frame.hex(), str(self.offset), str(self.rate))
        self.receiver.wait_for("flowing")
        return self

    def arrived(self):
        said = self.receiver.output().count("different")
        self.receiver.popen.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.receiver.output().count("different") > said, "the receiver's count")
        return int(re.findall(r"different (\d+)", self.receiver.output())[-1])

    def flow_on(self, seconds=0.2):
        before = self.arrived()
        wait_until(lambda: self.arrived() > before + self.rate * seconds, "frames to flow on")

    def __exit__(self, *exc):
        self.sender.stop()
        time.sleep(0.2)
        self.receiver.stop()
        if exc[0] is None:
            self.sent = int(re.search(r"sent (\d+)", self.sender.output()).group(1))
            self.got, self.different = map(int, re.findall(r"received (\d+) different (\d+)", self.receiver.output())[-1])


class ReloadUnderTraffic(SluiceTest):
    daemon_args = ("--plugin", "xdp", "--plugin", "recirc")

    def setUp(self):
        super().setUp()
        self.one, self.two = self.hosts

    def total(self, name):
        return sum(port.get(name, 0) for port in self.lab.counters().values())

    def reload(self, pumped, plugins):
        lost = []
        for number in range(RELOADS):
            plugin = plugins[number % len(plugins)]
            self.lab.ctl("plugin", "reload", plugin)
            self.wait_ports_up()
            for ufid in self.ufids:
                self.wait_installed(ufid)
            pumped.flow_on()
            lost.append(self.total("missed_tail_call"))
        return lost

    def judge(self, pumped, what, missed):
        print(f"{self.id()}: {RELOADS} reloads of {what}: {pumped.sent - pumped.different} of {pumped.sent:,} frames at "
              f"{RATE:,}/s lost, {sum(missed)} missed tail calls", file=sys.stderr)
        self.assertEqual(sum(missed), 0)
        self.assertEqual(pumped.sent - pumped.different, 0)
        self.assertEqual(pumped.got, pumped.different)  # none came twice

    def test_two_passes(self):
        self.ufids = [self.add_flow(text) for text in (
            "in_port(p0),eth_type(0x0800), actions:set(ipv4(tos=0x4/0xfc)),recirc(0x1)",
            "recirc_id(0x1),in_port(p0),eth_type(0x0800),ipv4(proto=17,tos=0x4/0xfc), actions:p1")]
        with Pumped(self, wire.datagram(self.one, self.two, 0), wire.IN_DATAGRAM) as pumped:
            missed = self.reload(pumped, ("recirc", "xdp"))
        self.judge(pumped, "recirc and xdp in turn", missed)
        for ufid in self.ufids:
            self.wait_packets(ufid, pumped.sent)

    def test_connection_tracking(self):
        self.ufids = [self.add_flow(text) for text in (
            "in_port(p0),eth_type(0x0800), actions:ct,recirc(0x1)",
            "recirc_id(0x1),in_port(p0),ct_state(+trk+new),eth_type(0x0800), actions:ct(commit),p1",
            "recirc_id(0x1),in_port(p0),ct_state(+trk+est),eth_type(0x0800), actions:p1")]
        with Pumped(self, wire.datagram(self.one, self.two, 0), wire.IN_DATAGRAM) as pumped:
            missed = self.reload(pumped, ("recirc", "recirc", "xdp"))
        self.judge(pumped, "recirc, recirc and xdp in turn", missed)

    def test_unloading_recirc_stops_its_flows_and_no_packet_meets_an_empty_slot(self):
        self.ufids = [self.add_flow(text) for text in (
            "in_port(p0),eth_type(0x0800), actions:recirc(0x1)",
            "recirc_id(0x1),in_port(p0),eth_type(0x0800), actions:p1")]
        with Pumped(self, wire.datagram(self.one, self.two, 0), wire.IN_DATAGRAM) as pumped:
            for _ in range(max(RELOADS // 3, 1)):
                self.lab.ctl("plugin", "unload", "recirc")
                wait_until(lambda: {self.flow(ufid)["offload"][0].get("reason") for ufid in self.ufids} == {"needs_recirc"},
                           "the flows to be refused")
                self.lab.ctl("plugin", "load", "recirc")
                for ufid in self.ufids:
                    self.wait_installed(ufid)
                pumped.flow_on()
        self.assertEqual(self.total("missed_tail_call"), 0)
        self.assertLess(pumped.different, pumped.sent)

    def test_in_any_order(self):
        """Whatever comes while the last is not over yet, in the end everything is as it should be."""
        seed = int(os.environ.get("SLUICE_SEED", time.time_ns() % (1 << 32)))
        print(f"SLUICE_SEED={seed}", file=sys.stderr)
        chance = random.Random(seed)
        self.lab.ctl("port", "add", "t0", "--option", "tunnel=vxlan", "--option", "underlay=p1")
        texts = ["in_port(p0),eth_type(0x0800), actions:ct,recirc(0x1)",
                 "recirc_id(0x1),in_port(p0),ct_state(+trk+new),eth_type(0x0800), actions:ct(commit),p1",
                 "recirc_id(0x1),in_port(p0),ct_state(+trk+est),eth_type(0x0800), actions:p1",
                 "in_port(p1),eth_type(0x0800),ipv4(proto=17),udp(dst=4789), actions:tnl_pop(t0)",
                 "in_port(t0),tunnel(tun_id=7), actions:p0",
                 "in_port(p0),eth_type(0x0806), actions:p1"]
        self.ufids = [self.add_flow(text) for text in texts]

        def tunnel_port():
            self.lab.ctl("port", "del", "t0", check=False)
            self.lab.ctl("port", "add", "t0", "--option", "tunnel=vxlan", "--option", "underlay=p1", check=False)

        def flows():
            for number in chance.sample(range(len(texts)), 2):
                self.lab.ctl("flow", "del", self.ufids[number], check=False)
                self.lab.ctl("flow", "add", texts[number], check=False)
        acts = [lambda: self.lab.ctl("plugin", "reload", "recirc", check=False),
                lambda: self.lab.ctl("plugin", "reload", "xdp", check=False),
                lambda: self.lab.ctl("plugin", "unload", "recirc", check=False),
                lambda: self.lab.ctl("plugin", "unload", "recirc", "--keep", check=False),
                lambda: self.lab.ctl("plugin", "load", "recirc", check=False), tunnel_port, flows]
        with Pumped(self, wire.datagram(self.one, self.two, 0), wire.IN_DATAGRAM):
            for _ in range(4 * RELOADS):
                chance.choice(acts)()
                time.sleep(chance.choice((0, 0, 0.02, 0.2)))
                if chance.random() < 0.3:  # one beside the other
                    both = [threading.Thread(target=act) for act in chance.sample(acts[:5], 2)]
                    for thread in both:
                        thread.start()
                    for thread in both:
                        thread.join()
                self.assertEqual(self.total("missed_tail_call"), 0)
            self.lab.ctl("plugin", "load", "recirc", check=False)
            self.lab.ctl("port", "add", "t0", "--option", "tunnel=vxlan", "--option", "underlay=p1", check=False)
            for text in texts:
                self.lab.ctl("flow", "add", text)
            self.lab.wait_ports_up((*self.ports, "t0"))
            for ufid in self.ufids:
                self.wait_installed(ufid)
        with Pumped(self, wire.datagram(self.one, self.two, 0), wire.IN_DATAGRAM) as pumped:
            pumped.flow_on()
        self.assertEqual(pumped.sent, pumped.different)
        self.assertEqual(self.total("missed_tail_call"), 0)
        plugins = {plugin["name"]: plugin for plugin in self.lab.query("plugin", "list")}
        self.assertEqual({name: plugin["state"] for name, plugin in plugins.items()}, {"recirc": "running", "xdp": "running"})
        status, = self.lab.query("status")
        self.assertEqual(status["counters"].get("plugin_failures", "0"), "0")


if __name__ == "__main__":
    main()
