#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The VM itself: what a command in it sees, and that nothing of it is left."""
import glob
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import vm

VM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vm.py")
SEES = r"""
uname -r
id -u
pwd
echo "$WORD"
touch /only_here "$HOME/only_here" && test -e /only_here && echo writable
cat /sys/class/net/*/operstate | wc -l
ip link add v0 type veth && echo veth
tc qdisc add dev v0 clsact && tc filter add dev v0 ingress protocol ip flower dst_ip 10.0.0.1 action drop && echo flower
grep -c ' /sys/fs/bpf bpf ' /proc/mounts
echo kept >/results/file
exit 3
"""


class Vm(unittest.TestCase):
    def test_a_command_sees_another_kernel_and_the_hosts_root(self):
        with tempfile.TemporaryDirectory() as results:
            outcome = vm.run(["/bin/sh", "-c", SEES], results=results, cwd="/usr", env={"WORD": "it's $1"})
            self.assertEqual(outcome.output.splitlines(), [
                vm.kernel_version(), "0", "/usr", "it's $1", "writable", "1", "veth", "flower", "1"])
            self.assertEqual(outcome.status, 3)
            with open(os.path.join(results, "file"), encoding="utf-8") as file:
                self.assertEqual(file.read(), "kept\n")
        self.assertFalse(os.path.exists("/only_here"))

    def test_a_command_that_does_not_end_is_ended(self):
        with tempfile.TemporaryDirectory() as scratch, unittest.mock.patch("tempfile.tempdir", scratch):
            outcome = vm.run(["/bin/sh", "-c", "echo before; sleep 1000"], timeout=10)
            self.assertEqual(outcome.status, vm.TIMED_OUT)
            self.assertEqual(os.listdir(scratch), [])

    def test_an_interrupted_run_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as scratch:
            runner = subprocess.Popen([sys.executable, VM, "run", "--", "/bin/sh", "-c", "echo up; sleep 1000"],
                                      env={**os.environ, "TMPDIR": scratch}, stdout=subprocess.PIPE)
            self.assertEqual(runner.stdout.readline(), b"up\n")
            with open(f"/proc/{runner.pid}/task/{runner.pid}/children", encoding="ascii") as file:
                qemu, = file.read().split()
            runner.send_signal(signal.SIGTERM)
            self.assertEqual(runner.wait(20), 128 + signal.SIGTERM)
            runner.stdout.close()
            self.assertFalse(os.path.exists(f"/proc/{qemu}"))
            self.assertEqual(glob.glob(scratch + "/*"), [])


if __name__ == "__main__":
    lack = vm.missing()
    if lack:
        print(f"skipped: {lack}")
        sys.exit(vm.SKIPPED)
    unittest.main()
