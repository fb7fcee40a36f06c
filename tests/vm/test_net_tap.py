#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rte_flow plugin on DPDK's net_tap, a driver that we did not write, with a kernel that enforces its rules by TC
flower. Run in the VM; started outside of it, it starts one."""
import glob
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
import unittest

import vm

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "etc", "demo.d"), os.path.join(ROOT, "bus", "python")]
sys.dont_write_bytecode = True

import lab  # noqa: E402
from lab import inside, run  # noqa: E402
import wire  # noqa: E402

BUILD_DIR = os.environ.get("SLUICE_BUILD_DIR", os.path.join(ROOT, "build"))
SOURCE, TARGET, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:99", "02:00:00:00:00:98"
DNS = "10.0.0.9"
_taps = itertools.count()


def wait_until(condition, what):
    """Emulation is slow, and every look at something takes from what is looked at."""
    return lab.wait_until(condition, what, timeout=60, interval=0.1)


def udp(destination, address, port):
    """An untagged frame. Tags are left to a VLAN interface: in one from a packet socket the kernel looks for what is
    behind the tag in the wrong place."""
    payload = bytes(18)
    header = bytearray(bytes.fromhex("4500000000010000401100000a000001") + socket.inet_aton(address))
    header[2:4] = (28 + len(payload)).to_bytes(2, "big")
    total = sum(int.from_bytes(header[n:n + 2], "big") for n in range(0, 20, 2))
    header[10:12] = ((~((total & 0xffff) + (total >> 16))) & 0xffff).to_bytes(2, "big")
    ports = (1000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + bytes(2)
    return wire.frame(SOURCE, destination, 0x0800, bytes(header) + ports + payload)


class NetTap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab("tap", tempfile.mkdtemp(prefix="sluice-tap-"), BUILD_DIR)
        cls.addClassCleanup(cls.lab.close)
        # Interfaces say nothing by themselves, so that packets can be counted.
        run("nsenter", f"--net=/run/netns/{cls.lab.switch}", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        cls.lab.start_daemon("--plugin", "rte_flow")
        # Not sluicectl, whose start takes a good part of a second in emulation.
        import sluice  # pylint: disable=import-outside-toplevel  # only in the VM: it needs pyzmq
        cls.client = sluice.Client(cls.lab.run_dir, timeout=60)
        cls.addClassCleanup(cls.client.close)
        wait_until(lambda: cls.client.call("plugin_list")["plugins"][0]["state"] == "running", "the plugin to run")

    def setUp(self):
        self.addCleanup(self.show_log)

    def show_log(self):
        if any(case is self for case, _ in self._outcome.result.errors + self._outcome.result.failures):
            print(self.lab.daemon.output()[-3000:], file=sys.stderr)

    # ------------------------------------------------------------ words of the cases

    def add_port(self, name=None, **options):
        """Its name; the interface has the same. Goes with its flows when the case ends."""
        name = name or f"tap{next(_taps)}"
        options["devargs"] = f"net_tap_{name},iface={name}"
        options["uncounted"] = "yes"  # all that the driver can do for a flow
        self.client.call("port_add", name=name, plugin="rte_flow", options=options)
        self.addCleanup(self.remove_port, name)
        wait_until(lambda: self.port(name)["state"] == "up", f"port {name} to be up")
        return name

    def remove_port(self, name):
        self.client.call("flow_flush")
        if any(port["name"] == name for port in self.client.call("port_list")["ports"]):
            self.client.call("port_del", name=name)
        wait_until(lambda: not self.has_interface(name), f"interface {name} to be gone")

    def has_interface(self, name):
        with open(f"/proc/{self.lab.daemon.pid}/net/dev", encoding="ascii") as file:
            return f"{name}:" in file.read()

    def port(self, name):
        port, = (port for port in self.client.call("port_list")["ports"] if port["name"] == name)
        return port

    def add_vlan(self, port, vid):
        name = f"{port}.{vid}"
        batch = f"link add link {port} name {name} type vlan id {vid}\nlink set {name} up\n"
        run("ip", "-n", self.lab.switch, "-batch", "-", input=batch)
        return name

    def add_flow(self, text):
        """Its ufid, and what the plugin said of it: state, reason, detail."""
        match, actions = text.rsplit(" actions:", 1)
        ufid, = self.client.put_flows({"match": match, "actions": actions})

        def said():
            offload = self.flow(ufid)["offload"]
            return offload and offload[0]["state"] != "PENDING" and offload[0]
        return ufid, wait_until(said, f"a verdict on {text}")

    def flow(self, ufid):
        flow, = self.client.call("flow_get", ufid=ufid)["flows"]
        return flow

    def wait_packets(self, ufid, count):
        wait_until(lambda: int(self.flow(ufid)["packets"]) >= count, f"flow {ufid} to count {count}")
        self.assertEqual(int(self.flow(ufid)["packets"]), count)

    def send(self, interface, frame, count):
        """TC has dropped, or the tap taken, every frame when this returns."""
        with inside(self.lab.switch), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind((interface, 0))
            for _ in range(count):
                raw.send(frame)

    def filters(self, port):
        """Of TC: keys, and packets that were dropped."""
        said = json.loads(run("tc", "-n", self.lab.switch, "-s", "-j", "filter", "show", "dev", port,
                              "parent", "1:").stdout or "[]")
        return [(entry["options"]["keys"], entry["options"]["actions"][0]["stats"]["drops"])
                for entry in said if "options" in entry]

    def counter(self, port, name):
        return int(self.port(port)["counters"].get(name, 0))

    def wait_counter(self, port, name, count):
        wait_until(lambda: self.counter(port, name) >= count, f"{port}'s {name} to be {count}")
        self.assertEqual(self.counter(port, name), count)

    # ------------------------------------------------------------ cases

    def test_drop_is_enforced_by_the_kernel(self):
        port = self.add_port()
        ufid, verdict = self.add_flow(f"in_port({port}),eth(dst={TARGET}) actions:drop")
        self.assertEqual((verdict["state"], verdict["reason"]), ("INSTALLED", ""))
        other, _ = self.add_flow(f"in_port({port}),eth(dst={OTHER}) actions:{port}")
        self.send(port, udp(TARGET, DNS, 53), 10)
        self.send(port, udp(OTHER, DNS, 53), 3)
        self.send(port, udp("02:00:00:00:00:97", DNS, 53), 2)
        # Of the first ten the plugin has seen none.
        self.wait_counter(port, "hit_software", 3)
        self.wait_counter(port, "miss", 2)
        self.assertEqual(self.counter(port, "rx_packets"), 5)
        self.assertEqual(self.filters(port), [({"dst_mac": TARGET}, 10)])
        self.wait_packets(other, 3)
        self.client.del_flow(ufid)
        wait_until(lambda: self.filters(port) == [], "the rule to be gone")
        self.send(port, udp(TARGET, DNS, 53), 4)
        self.wait_counter(port, "miss", 6)

    def test_what_the_driver_refuses_is_software_with_its_words(self):
        port = self.add_port(queues="2")
        ufid, verdict = self.add_flow(f"in_port({port}),eth(dst={OTHER}) actions:{port}")
        self.assertEqual((verdict["state"], verdict["reason"]), ("SOFTWARE", "device_refused"))
        self.assertRegex(verdict["detail"], r"mark.* was refused: .*action not supported \(Operation not supported\)$")
        _, verdict = self.add_flow(f"in_port({port}),eth_type(0x0800),ipv4(tos=3) actions:drop")
        self.assertEqual((verdict["state"], verdict["reason"]), ("SOFTWARE", "device_refused"))
        self.send(port, udp(OTHER, DNS, 53), 3)
        self.wait_packets(ufid, 3)
        self.assertEqual(self.filters(port), [])
        # Two queues are RSS's business with other drivers; this one has crashed on it.
        info = self.port(port)["info"]
        self.assertEqual((info["driver"], info["queues"]), ("net_tap", "2"))
        self.assertNotIn("rss", json.dumps(info).lower() + verdict["detail"].lower())

    def test_a_rule_for_untagged_frames_that_takes_tagged_ones_is_taken_back(self):
        port = self.add_port()
        tagged = self.add_vlan(port, 5)
        ufid, verdict = self.add_flow(
            f"in_port({port}),eth_type(0x0800),ipv4(dst={DNS},proto=17),udp(dst=53) actions:drop")
        self.assertEqual((verdict["state"], verdict["reason"]), ("SOFTWARE", "device_differs"))
        self.assertIn("takes frames with VLAN tags as well", verdict["detail"])
        self.assertEqual(self.filters(port), [])
        self.send(port, udp(TARGET, DNS, 53), 4)
        self.send(tagged, udp(TARGET, DNS, 53), 3)
        self.wait_counter(port, "miss", 3)
        self.wait_counter(port, "dropped", 4)
        self.wait_packets(ufid, 4)

    def test_where_no_tags_come_it_is_the_devices(self):
        port = self.add_port(tagged="no")
        _, verdict = self.add_flow(
            f"in_port({port}),eth_type(0x0800),ipv4(dst={DNS},proto=17),udp(dst=53) actions:drop")
        self.assertEqual((verdict["state"], verdict["detail"]), ("INSTALLED", "the device does not count it"))
        self.send(port, udp(TARGET, DNS, 53), 10)
        self.send(port, udp(TARGET, DNS, 54), 3)
        self.send(port, udp(TARGET, "10.0.0.8", 53), 2)
        self.wait_counter(port, "miss", 5)
        self.assertEqual(self.filters(port), [
            ({"eth_type": "ipv4", "ip_proto": "udp", "dst_ip": DNS, "dst_port": 53}, 10)])

    def test_another_vlan_than_asked_for_is_taken_back(self):
        port = self.add_port()
        asked, held = self.add_vlan(port, 100), self.add_vlan(port, 4)
        _, verdict = self.add_flow(
            f"in_port({port}),eth_type(0x8100),vlan(vid=100),encap(eth_type(0x0800)) actions:drop")
        self.assertEqual((verdict["state"], verdict["reason"]), ("SOFTWARE", "device_differs"))
        self.assertIn("has vlan(vid=4) where the flow has vlan(vid=100)", verdict["detail"])
        self.assertEqual(self.filters(port), [])
        self.send(asked, udp(TARGET, DNS, 53), 3)
        self.send(held, udp(TARGET, DNS, 53), 2)
        self.wait_counter(port, "dropped", 3)
        self.wait_counter(port, "miss", 2)

    def test_a_vlan_that_the_driver_holds_right_is_the_devices(self):
        port = self.add_port()
        right, wrong = self.add_vlan(port, 5), self.add_vlan(port, 4)
        _, verdict = self.add_flow(
            f"in_port({port}),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),ipv4(dst={DNS})) actions:drop")
        self.assertEqual((verdict["state"], verdict["detail"]), ("INSTALLED", "the device does not count it"))
        self.send(right, udp(TARGET, DNS, 53), 5)
        self.send(right, udp(TARGET, "10.0.0.8", 53), 2)
        self.send(wrong, udp(TARGET, DNS, 53), 1)
        self.send(port, udp(TARGET, DNS, 53), 1)
        self.wait_counter(port, "miss", 4)
        (keys, drops), = self.filters(port)
        self.assertEqual((keys["vlan_id"], keys["dst_ip"], drops), (5, DNS, 5))

    def test_a_rule_that_takes_everything_is_taken_back(self):
        port = self.add_port()
        _, verdict = self.add_flow(f"in_port({port}),eth_type(0x8100) actions:drop")
        self.assertEqual((verdict["state"], verdict["reason"]), ("SOFTWARE", "device_differs"))
        self.assertIn("has any eth_type where the flow has eth_type(0x8100)", verdict["detail"])
        self.send(port, udp(TARGET, DNS, 53), 3)
        self.wait_counter(port, "miss", 3)

    def test_rules_that_exist_are_a_reason(self):
        port = self.add_port()
        _, verdict = self.add_flow(f"in_port({port}),eth(dst={TARGET}) actions:drop")
        self.assertEqual(verdict["state"], "INSTALLED")
        # The kernel has one protocol for each priority, and frames with tags are another than all.
        _, verdict = self.add_flow(
            f"in_port({port}),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800)) actions:drop")
        self.assertEqual((verdict["state"], verdict["reason"]), ("SOFTWARE", "device_refused"))
        self.assertRegex(verdict["detail"], r"overlapping rules or Kernel too old for flower support \(File exists\)$")

    def test_a_port_can_come_back(self):
        for _ in range(2):
            self.add_port("again")
            _, verdict = self.add_flow(f"in_port(again),eth(dst={TARGET}) actions:drop")
            self.assertEqual(verdict["state"], "INSTALLED")
            self.remove_port("again")


# ---------------------------------------------------------------- outside of the VM

def in_vm():
    lack = vm.missing()
    if not lack and not os.path.exists(os.path.join(BUILD_DIR, "lib/sluice/plugins/rte_flow.so")):
        lack = "there is no rte_flow plugin in this build"
    if lack:
        print(f"skipped: {lack}")
        return vm.SKIPPED
    outcome = vm.run([sys.executable, *sys.argv], env={"SLUICE_BUILD_DIR": BUILD_DIR}, timeout=220, echo=True)
    if outcome.status == vm.TIMED_OUT:
        print(outcome.output[-200:] + outcome.console[-2000:])
    return outcome.status


def hide_drivers():
    """DPDK loads every driver there is when it starts, hundreds of libraries that are read and linked in emulation: some
    seconds, which the plugin's start is not to take."""
    drivers, = glob.glob("/usr/lib/*/dpdk/pmds-*")
    with os.scandir(drivers) as entries:
        wanted = [entry.path for entry in entries
                  if entry.name.split(".")[0] in ("librte_bus_pci", "librte_bus_vdev", "librte_mempool_ring",
                                                  "librte_net_tap")]
    os.mkdir("/run/drivers")
    for path in wanted:
        shutil.copy(path, "/run/drivers", follow_symlinks=False)
    run("mount", "--bind", "/run/drivers", drivers)


if __name__ == "__main__":
    if "SLUICE_IN_VM" not in os.environ:
        sys.exit(in_vm())
    hide_drivers()
    unittest.main()
