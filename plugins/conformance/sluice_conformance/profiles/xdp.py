# SPDX-License-Identifier: Apache-2.0
"""The XDP plugin on veth devices, in network namespaces of their own; xdp:recirc is it with the recirc plugin beside it.
Needs root."""
import itertools
import os
import subprocess

import wire
from lab import Lab, LabError, run

from ..profile import Profile, Unavailable

_numbers = itertools.count()


class Plugin(Profile):
    ports = ("c0", "c1", "c2")
    why_no_packets = why_no_failure = None
    bad_port = "nosuchdevice"
    returns_by_itself = True

    @property
    def beside(self):
        return (self.variant,) if self.variant else ()

    def set_up(self):
        self.check_machine()
        try:
            self.lab = Lab(f"slc{os.getpid():x}n{next(_numbers)}", os.path.join(self.scratch, "lab"), None)
            for port in self.ports:
                self.lab.add_host(port)
        except LabError as error:
            raise Unavailable(str(error)) from error
        self.hosts = {host.port: host for host in self.lab.hosts}

    def check_machine(self):
        if os.geteuid() != 0:
            raise Unavailable("needs root for network namespaces and XDP")
        if subprocess.run(["grep", "-q", " /sys/fs/bpf bpf ", "/proc/mounts"], check=False).returncode != 0:
            raise Unavailable("bpffs is not mounted (etc/setup does it)")

    def take_down(self):
        self.lab.close()

    def daemon_prefix(self):
        return ["nsenter", f"--net=/run/netns/{self.lab.switch}"]

    def send(self, port, frames):
        wire.send_burst(self.hosts[port], frames)

    def receive(self, port):
        return FarEnd(self.hosts[port])

    def break_device(self, port):
        run("ip", "-n", self.lab.switch, "link", "set", port, "netns", self.hosts[port].namespace)

    def mend_device(self, port):
        run("ip", "-n", self.hosts[port].namespace, "link", "set", port, "netns", self.lab.switch)
        run("ip", "-n", self.lab.switch, "link", "set", port, "up")

    def left_behind(self):
        links = run("ip", "-n", self.lab.switch, "-o", "link").stdout.splitlines()
        return [f"a program is still attached: {line}" for line in links if "xdp" in line]


class FarEnd(wire.Receiver):
    """wire.Receiver, under the names of Receiver."""

    @property
    def sequences(self):
        return set(self.times)
