# SPDX-License-Identifier: Apache-2.0
"""recirc and xdp reloaded while numbered frames take two passes and connection tracking: none may be lost, and none may
meet an empty slot. SLUICE_RELOADS says how often, SLUICE_RELOAD_RATE how many frames a second there are."""
import os
import re
import signal
import sys
import time

from harness import BUILD_DIR, SluiceTest, main, wait_until, wire

RELOADS = int(os.environ.get("SLUICE_RELOADS", "6"))
RATE = int(os.environ.get("SLUICE_RELOAD_RATE", "50000"))
PUMP = os.path.join(BUILD_DIR, "tests", "e2e", "pump")


class Pumped:
    """Frames from one host to another, while it is entered."""

    def __init__(self, test, frame, offset, rate=RATE):
        self.test, self.source, self.target = test, *test.hosts[:2]
        self.frame, self.offset, self.rate = frame, offset, rate

    def __enter__(self):
        self.receiver = self.target.start("receive", PUMP, "receive", "eth0", str(self.offset))
        self.receiver.wait_for("ready")
        self.sender = self.source.start("send", PUMP, "send", "eth0", self.frame.hex(), str(self.offset), str(self.rate))
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


if __name__ == "__main__":
    main()
