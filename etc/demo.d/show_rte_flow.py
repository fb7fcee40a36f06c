# SPDX-License-Identifier: Apache-2.0
"""rte_flow: the same switch on DPDK, with net_sluice, the software NIC, in place of a real one."""
import os
import signal
import time

import wire
from lab import LabError, wait_until
from steps import EXACT_COUNT, RUNNING_RATE, SERVICE, SERVICE_PORT, REAL_PORT, SWITCH, Demo

STEPS = 8
FLOWS = 10_000
# What each port's device can do: p0 and p1 are NICs that do everything, p2 is one that only classifies.
PROFILES = {"p0": "full", "p1": "full", "p2": "mark-count"}


def set_up(lab, console):
    console.say(f"namespaces: sluiced in {lab.switch}, hosts in {lab.prefix}-h0, -h1, -h2; a veth pair to each")
    for port in PROFILES:
        lab.add_host(port).address()
    lab.start_daemon("--plugin", "rte_flow")
    for port, profile in PROFILES.items():
        devargs = f"net_sluice_{port},iface={port},profile={profile},thread=1"
        console.say(f"$ sluicectl port add {port} --plugin rte_flow --option devargs={devargs}")
        lab.ctl("port", "add", port, "--plugin", "rte_flow", "--option", f"devargs={devargs}")
    for port in lab.wait_ports_up():
        console.say(f"{port['name']}: {port['state']}, driver {port['info']['driver']}, link {port['info']['link']}")
    plugin = plugin_of(lab)
    console.say(f"DPDK runs in a process of its own, {plugin['pid']}: a driver's crash takes nothing else down")
    controller = lab.start("learning-switch", ["/usr/bin/python3", SWITCH, "--run-dir", lab.run_dir])
    controller.wait_for("ready")


def plugin_of(lab):
    return next(plugin for plugin in lab.query("plugin", "list") if plugin["name"] == "rte_flow")


def offload_of(lab, wanted):
    """The verdict on the flow whose match has all of `wanted` in it, when there is one."""
    def judged():
        for match, flow in lab.flows().items():
            if all(text in match for text in wanted) and flow["offload"] and flow["offload"][0]["state"] != "pending":
                return flow
        return None
    return wait_until(judged, f"a verdict on a flow of {' '.join(wanted)}")


class NicDemo(Demo):
    def ping_both(self, one, two, extents):
        """Pings, and says where the flows of both directions are."""
        done = one.run("ping", "-c", "200", "-i", "0.005", "-W", "2", two.ip)
        self.console.say("\n".join(done.stdout.strip().splitlines()[-2:]))
        if "200 received" not in done.stdout:
            raise LabError(f"not every ping was answered: {done.stdout}")

        def counted():
            flows = [offload_of(self.lab, [f"in_port({source.port})", f"dst={target.mac}", "0x0800"])
                     for source, target in ((one, two), (two, one))]
            return flows if all(flow["packets"] == 200 for flow in flows) else None
        for flow, extent in zip(wait_until(counted, "each flow to count 200 packets", timeout=5), extents):
            state = flow["offload"][0]
            said = "full" if state["state"] == "installed" and not state["reason"] else state["reason"]
            self.console.say(f"{flow['match'].split(',')[0]} -> {flow['actions']}: {flow['packets']} packets; {said} offload"
                             + (f": {state['detail']}" if state["detail"] else ""))
            if said != extent:
                raise LabError(f"the flow is {state}, not {extent}")

    def translated_in_device(self):
        match = f"in_port(p0),eth_type(0x0800),ipv4(dst={SERVICE},proto=17),udp(dst={SERVICE_PORT})"
        translate = f"set(ipv4(dst={self.two.ip})),set(udp(dst={REAL_PORT})),p1"
        self.one.run("ip", "neigh", "replace", SERVICE, "lladdr", self.two.mac, "dev", "eth0")
        try:
            self.translated("the NIC", "installed", match, translate)
            self.translated("software, by the NIC's mark", "installed", match, f"trunc(60),p2,{translate}")
        finally:
            self.lab.ctl("flow", "del", match)
            self.one.run("ip", "neigh", "del", SERVICE, "dev", "eth0")

    def killed(self):
        """The plugin's process killed under traffic, with many flows to bring back."""
        path = os.path.join(self.lab.run_dir, "flows")
        with open(path, "w") as flows:
            for number in range(FLOWS):
                flows.write(f"in_port(p1),eth(src=06:00:00:01:{number >> 8:02x}:{number & 255:02x}),eth_type(0x88b5), "
                            "actions:p0\n")
        self.lab.ctl("flow", "add", "--file", path)

        def at_rest():
            plugin = plugin_of(self.lab)
            return plugin["state"] == "running" and plugin["pending"] == 0 and plugin["lag"] == 0 and plugin
        before = wait_until(at_rest, f"{FLOWS} flows to be judged", timeout=30)
        wire.send_burst(self.one, [wire.numbered(self.one.mac, self.two.mac, 0)])
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RUNNING_RATE, first=1)
            receiver.wait(RUNNING_RATE // 4)
            os.kill(before["pid"], signal.SIGKILL)
            killed = time.monotonic()
            after = wait_until(lambda: (p := at_rest()) and p["pid"] != before["pid"]
                               and p["installed"] == before["installed"] and p,
                               "the flows to be back", timeout=30)
            back = time.monotonic() - killed
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + RUNNING_RATE // 4, "packets to flow again")
            count = sender.stop()
            receiver.wait(count, timeout=0.5)
            arrived = sum(1 for number in receiver.times if 1 <= number <= count)
        self.console.say(f"killed with {before['installed']:,} flows installed; process {after['pid']} has them all again "
                         f"{back * 1000:.0f} ms later")
        self.console.say(f"of {count:,} packets at {RUNNING_RATE:,}/s {count - arrived:,} were lost "
                         f"({(count - arrived) / RUNNING_RATE * 1000:.0f} ms of traffic)")
        self.lab.ctl("flow", "flush", "--port", "p1")

    def learnt(self):
        for port in self.lab.query("port", "list"):
            info = {key: value for key, value in port["info"].items() if key not in ("driver", "mode", "link", "queues")}
            self.console.say(f"{port['name']} ({PROFILES[port['name']]})")
            for key, value in info.items():
                self.console.say(f"   {key}: {value}")


def show(lab, console):
    console.step("three hosts, one sluiced, DPDK with three software NICs, one controller")
    set_up(lab, console)
    demo = NicDemo(lab, console, datapath="the poll-mode loop")
    one, two, three = lab.hosts
    console.step("ping, 200 packets, h0 -> h1: the NIC itself forwards")
    demo.ping_both(one, two, ("full", "full"))
    console.step("ping, 200 packets, h0 -> h2: what comes from h2 its NIC only marks")
    demo.ping_both(one, three, ("full", "partial"))
    console.step(f"counters: exactly {EXACT_COUNT:,} packets, h0 -> h1")
    demo.exact()
    console.step("a service's address and port translated, by the NIC and, with a cut copy for h2, by software")
    demo.translated_in_device()
    console.step("what the plugin has learnt of each device")
    demo.learnt()
    console.step("the flow table")
    console.say("$ sluicectl flow dump")
    console.say(lab.ctl("flow", "dump").stdout)
    console.step(f"DPDK's process killed under running traffic, with {FLOWS:,} flows")
    demo.killed()
