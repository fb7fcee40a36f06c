# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a lab (etc/demo.d/lab.py) for each case, with names of its own."""
import itertools
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "etc", "demo.d"))
sys.dont_write_bytecode = True

from lab import Lab, LabError, inside, run, wait_until  # noqa: E402
import wire  # noqa: E402

__all__ = ["BUILD_DIR", "ROOT", "LabError", "SluiceTest", "inside", "main", "run", "wait_until", "wire"]

BUILD_DIR = os.environ.get("SLUICE_BUILD_DIR", os.path.join(ROOT, "build"))
LEARNING_SWITCH = os.path.join(ROOT, "etc", "examples", "learning_switch.py")
TAGGER = os.path.join(ROOT, "etc", "demo.d", "tagger.py")
_SKIPPED = 77
_numbers = itertools.count()


class SluiceTest(unittest.TestCase):
    """setUp makes the ports' hosts and starts sluiced with the XDP plugin. Set `daemon_args = None` to start it in the
    case itself."""

    ports = ("p0", "p1")
    port_options = ""      # as in --port p0=xdp:OPTION=VALUE,...
    daemon_args = ("--plugin", "xdp")

    def setUp(self):
        run_dir = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.lab = Lab(f"sl{os.getpid():x}n{next(_numbers)}", run_dir, BUILD_DIR)
        self.addCleanup(self.lab.close)
        self.addCleanup(self._show_logs)
        for port in self.ports:
            self.lab.add_host(port).address()
        self.hosts = self.lab.hosts
        if self.daemon_args is not None:
            options = f":{self.port_options}" if self.port_options else ""
            ports = [arg for port in self.ports for arg in ("--port", f"{port}=xdp{options}")]
            self.lab.start_daemon(*self.daemon_args, *ports)
            self.wait_ports_up()

    def _show_logs(self):
        # Not outcome.success: while cleanups run, it is theirs.
        result = self._outcome.result
        if all(case is not self for case, _ in result.errors + result.failures):
            return
        for process in self.lab.processes:
            print(f"---- {process.name}\n{process.output()[-4000:]}", file=sys.stderr)

    # ------------------------------------------------------------ short words for what cases do

    def wait_ports_up(self):
        self.lab.wait_ports_up(self.ports)

    def add_flow(self, text):
        """Returns its ufid when it is installed in every plugin."""
        ufid = self.lab.query("flow", "add", text)[0]["ufid"]
        self.wait_installed(ufid)
        return ufid

    def wait_installed(self, ufid):
        def installed():
            offload = self.flow(ufid)["offload"]
            return offload and all(entry["state"] == "installed" for entry in offload)
        wait_until(installed, f"flow {ufid} to be installed")

    def flow(self, ufid):
        flow, = self.lab.query("flow", "get", ufid)
        return flow

    def wait_packets(self, ufid, count):
        """Counters come about once a second."""
        def counted():
            return self.flow(ufid)["packets"] >= count
        wait_until(counted, f"flow {ufid} to count {count} packets", timeout=5)
        self.assertEqual(self.flow(ufid)["packets"], count)

    def wait_counter(self, port, name, least):
        wait_until(lambda: self.lab.counters()[port].get(name, 0) >= least, f"{port}'s counter {name} to reach {least}",
                   timeout=5)

    def start_switch(self, *args):
        controller = self.lab.start("learning-switch",
                                    ["/usr/bin/python3", LEARNING_SWITCH, "--run-dir", self.lab.run_dir, *args])
        controller.wait_for("ready")
        return controller

    def start_tagger(self, host, vid):
        """The host's address goes behind VLAN `vid` of its eth0."""
        run("ip", "-n", host.namespace, "addr", "flush", "dev", "eth0")
        tagger = host.start("tagger", TAGGER, "--tap", f"vlan{vid}", "--vid", str(vid), "--mac", host.mac)
        tagger.wait_for("ready")
        host.address(f"vlan{vid}")

    def assertPings(self, source, target, family=4, count=5, interval=0.05):
        """The last answer has to come within `interval`, or twice the longest time that one took."""
        address = target.ip if family == 4 else target.ip6
        done = source.run("ping", f"-{family}", "-c", str(count), "-i", str(interval), "-W", "2", address, check=False)
        self.assertIn(f"{count} received", done.stdout)

    def assertNoPing(self, source, target):
        done = source.run("ping", "-c", "3", "-i", "0.1", "-W", "0.5", target.ip, check=False)
        self.assertIn(" 0 received", done.stdout)

    def send(self, source, target, count, first=0, **kwargs):
        wire.send_burst(source, (wire.numbered(source.mac, target.mac, number, **kwargs)
                                 for number in range(first, first + count)))

    def assertRefused(self, code, pattern, *args):
        """sluicectl ends with `code` and one clear sentence; the daemon lives."""
        done = self.lab.ctl(*args, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(self.lab.ctl("status", check=False).returncode, 0)
        return done.stderr


def main():
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces and XDP")
        sys.exit(_SKIPPED)
    if subprocess.run(["grep", "-q", " /sys/fs/bpf bpf ", "/proc/mounts"], check=False).returncode != 0:
        print("skipped: bpffs is not mounted (etc/setup does it)")
        sys.exit(_SKIPPED)
    unittest.main()
