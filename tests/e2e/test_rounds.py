# SPDX-License-Identifier: Apache-2.0
"""Unloaded means gone: the XDP plugin is loaded, works, and is unloaded, as often as fits into some seconds, or
SLUICE_LOAD_ROUNDS times."""
import collections
import ctypes
import os
import re
import sys
import time

from harness import SluiceTest, main, run, wait_until

SECONDS = 10
ROUNDS = int(os.environ.get("SLUICE_LOAD_ROUNDS", "0"))
SANITIZED = "asan" in os.environ.get("SLUICE_BUILD_DIR", "") or "tsan" in os.environ.get("SLUICE_BUILD_DIR", "")
_LIBBPF = ctypes.CDLL("libbpf.so.1")


def exists(kind, number):
    """Whether the kernel still has that program, map or link. Nothing is opened for it."""
    following = ctypes.c_uint32()
    found = getattr(_LIBBPF, f"bpf_{kind}_get_next_id")(ctypes.c_uint32(number - 1), ctypes.byref(following)) == 0
    return found and following.value == number


def bpf_objects(pid):
    """{(kind, id)} of all that the process has open."""
    objects = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}") as info:
                objects |= {(kind, int(number)) for kind, number in re.findall(r"^(prog|map|link)_id:\s+(\d+)$", info.read(),
                                                                              re.MULTILINE)}
        except OSError:
            continue  # closed meanwhile
    return objects


def pin_directory(run_dir):
    """Named for the run directory and the plugin, by FNV-1a."""
    value = 0xcbf29ce484222325
    for byte in (os.path.realpath(run_dir) + "/xdp").encode():
        value = (value ^ byte) * 0x100000001b3 % (1 << 64)
    return f"/sys/fs/bpf/sluice/{value:016x}"


class Belongings:
    """What a process has."""

    def __init__(self, pid):
        self.descriptors = collections.Counter()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                self.descriptors[re.sub(r"socket:.*", "socket", os.readlink(f"/proc/{pid}/fd/{fd}"))] += 1
            except OSError:
                continue
        self.threads = collections.Counter()
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm") as comm:
                self.threads[comm.read().strip()] += 1
        with open(f"/proc/{pid}/maps") as maps:
            self.mapped = {line.split(maxsplit=5)[5].strip() for line in maps if len(line.split()) > 5}
        with open(f"/proc/{pid}/status") as status:
            self.resident_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


class Rounds:
    """The same for both isolations."""

    isolation = None
    daemon_args = ()

    def setUp(self):
        super().setUp()
        wait_until(lambda: self.lab.query("plugin", "list"), "the plugin of the ports")
        self.lab.ctl("plugin", "unload", "xdp")
        self.lab.ctl("flow", "add", "in_port(p0),eth_type(0x88b5), actions:p1")

    def round(self, look):
        """Returns what the plugin had open, if it is to `look`."""
        self.lab.ctl("plugin", "load", "xdp", "--isolation", self.isolation)
        self.wait_ports_up()
        objects = set()
        if look:
            plugin, = self.lab.query("plugin", "list")
            objects = bpf_objects(plugin["pid"] or self.lab.daemon.pid)
            self.assertEqual({kind for kind, _ in objects}, {"prog", "map", "link"})
        self.lab.ctl("plugin", "unload", "xdp")
        return objects

    def at_rest(self):
        """When connections of requests that have just been answered are gone."""
        least, still = sys.maxsize, 0
        while still < 10:
            time.sleep(0.02)
            now = sum(Belongings(self.lab.daemon.pid).descriptors.values())
            still = 0 if now < least else still + 1
            least = min(least, now)
        return Belongings(self.lab.daemon.pid)

    def test_leave_nothing(self):
        for _ in range(5):  # what grows once may
            self.round(False)
        before = self.at_rest()
        links = run("ip", "-n", self.lab.switch, "-details", "link", "show").stdout
        rounds, end, objects = 0, time.monotonic() + SECONDS, set()
        while rounds < ROUNDS or (ROUNDS == 0 and time.monotonic() < end):
            objects |= self.round(rounds % 10 == 0)
            rounds += 1
        after = self.at_rest()
        print(f"{self.id()}: {rounds} rounds, {before.resident_kb} kB before, {after.resident_kb} kB after, "
              f"{len(objects)} BPF objects looked at", file=sys.stderr)
        self.assertEqual(after.descriptors, before.descriptors)
        self.assertEqual(after.threads, before.threads)
        self.assertEqual(after.mapped, before.mapped)
        if not SANITIZED:  # what is freed is kept for a while there, to be watched
            self.assertLess(after.resident_kb, before.resident_kb + 4096 + 4 * rounds)
        wait_until(lambda: not [entry for entry in objects if exists(*entry)], "the kernel to free the plugin's objects")
        self.assertEqual(run("ip", "-n", self.lab.switch, "-details", "link", "show").stdout, links)
        self.assertNotIn("xdp", links)
        self.assertEqual(os.listdir(os.path.join(self.lab.run_dir, "modules")), [])
        self.assertEqual([name for name in os.listdir(self.lab.run_dir) if name.startswith("xdp-")], [])
        # What is kept on demand goes with the next unload.
        self.lab.ctl("plugin", "load", "xdp", "--isolation", self.isolation)
        self.wait_ports_up()
        self.lab.ctl("plugin", "unload", "xdp", "--keep")
        self.assertEqual(len(os.listdir(pin_directory(self.lab.run_dir))), 2)
        self.round(False)
        self.assertFalse(os.path.exists(pin_directory(self.lab.run_dir)))


class Thread(Rounds, SluiceTest):
    isolation = "thread"


class Process(Rounds, SluiceTest):
    isolation = "process"


if __name__ == "__main__":
    main()
