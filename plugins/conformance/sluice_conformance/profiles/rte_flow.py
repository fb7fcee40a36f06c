# SPDX-License-Identifier: Apache-2.0
"""The rte_flow plugin on net_sluice, the software NIC, over veth devices in network namespaces of their own. Needs root.

The variant is a capability profile of net_sluice: `--profile rte_flow:mark-count`.
"""
import os

from lab import run

from ..profile import Unavailable
from . import xdp


class Plugin(xdp.Plugin):
    beside = ()

    def port_options(self, port):
        return {"devargs": f"net_sluice_{port},iface={port},profile={self.variant or 'full'}"}

    def check_machine(self):
        if os.geteuid() != 0:
            raise Unavailable("needs root for network namespaces and packet sockets")

    def left_behind(self):
        # A device that is still held would be promiscuous: the plugin asks for all packets.
        links = run("ip", "-n", self.lab.switch, "-d", "-o", "link").stdout.splitlines()
        return [f"a device is still promiscuous: {line}" for line in links if "promiscuity 0" not in line and " c" in line]
