# SPDX-License-Identifier: Apache-2.0
"""Recirculation: a VXLAN tunnel to the kernel's vxlan device, and a stateful firewall by the kernel's conntrack, in XDP."""
import time

import wire
from lab import LabError, wait_until
from overlay import Overlay, TUNNEL, UNDERLAY, VNI
from steps import RUNNING_RATE, Demo

STEPS = 10
# What later passes do, in the order of a packet's way.
SHOWN = ("tnl_popped", "recirculated", "ct_committed", "tnl_pushed", "output", "drop", "upcall", "missed_tail_call")


class OverlayDemo(Demo):
    def __init__(self, lab, console, overlay):
        super().__init__(lab, console)
        self.overlay = overlay

    def settled(self):
        """The counters when nothing more is told: they come about once a second."""
        last, now = None, self.overlay.counters()
        while now != last:
            time.sleep(1.1)
            last, now = now, self.overlay.counters()
        return now

    def stayed_in_xdp(self, before):
        """What every packet since then went through; none may have come up."""
        last = self.settled()
        diff = {name: last.get(name, 0) - before.get(name, 0) for name in SHOWN}
        self.console.say("in XDP: " + ", ".join(f"{name} {diff[name]:,}" for name in SHOWN))
        if diff["upcall"] or diff["missed_tail_call"]:
            raise LabError(f"packets came up, or fell into an empty slot: {diff}")
        return diff

    def refused(self):
        flow = f"in_port({UNDERLAY}),eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=4789), actions:tnl_pop({TUNNEL})"
        self.console.say(f"$ sluicectl flow add '{flow}'")
        ufid = self.lab.query("flow", "add", flow)[0]["ufid"]

        def judged():
            offload = self.lab.query("flow", "get", ufid)[0]["offload"]
            return offload[0] if offload and offload[0]["state"] != "pending" else None
        state = wait_until(judged, "the flow's verdict")
        self.console.say(f"xdp: {state['state']}, {state['reason']}: {state['detail']}")
        if state["reason"] != "needs_recirc":
            raise LabError(f"the flow is {state}")
        self.lab.ctl("plugin", "load", "recirc")
        self.console.say("$ sluicectl plugin load recirc")
        wait_until(lambda: (judged() or {}).get("state") == "installed", "the flow to be installed")
        self.console.say("xdp: installed")
        self.lab.ctl("flow", "flush")

    def ping(self):
        before = self.settled()  # what came before there were flows went up
        done = self.one.run("ping", "-c", "100", "-i", "0.01", "-W", "2", self.two.ip)
        self.console.say("\n".join(done.stdout.strip().splitlines()[-2:]))
        if "100 received" not in done.stdout:
            raise LabError(f"not every ping was answered: {done.stdout}")
        diff = self.stayed_in_xdp(before)
        if diff["tnl_pushed"] < 100 or diff["tnl_popped"] < 100 or diff["ct_committed"] != 1:
            raise LabError(f"that is not what ping sent: {diff}")

    def transfers(self):
        before = self.overlay.counters()
        self.iperf(self.one, self.two, 3)
        self.iperf(self.one, self.two, 3, "-u", "-b", "50M", "-l", "1300")
        self.iperf(self.one, self.two, 2, "-R")
        self.stayed_in_xdp(before)

    def intruder(self):
        before = self.overlay.counters()
        got = self.overlay.tcp(self.one, self.two)
        self.console.say(f"TCP from inside to {self.two.ip}:7000: {got!r} came back")
        if got != "over":
            raise LabError("a connection from inside did not come about")
        got = self.overlay.tcp(self.two, self.one, timeout=1.5)
        self.console.say(f"TCP from outside to {self.one.ip}:7000: {'timed out' if got is None else got}")
        done = self.two.run("ping", "-c", "3", "-i", "0.2", "-W", "1", self.one.ip, check=False)
        self.console.say("ping from outside: " + done.stdout.strip().splitlines()[-1])
        if got is not None or " 0 received" not in done.stdout:
            raise LabError("the firewall let somebody in")
        if self.stayed_in_xdp(before)["drop"] < 4:
            raise LabError("what was dropped is not counted")

    def conntrack(self):
        lines = self.overlay.connections()
        self.console.say("$ conntrack -L   (in the switch's namespace)")
        self.console.say("\n".join(sorted(lines)[:8]))
        ours = [line for line in lines if f"src={self.one.ip} dst={self.two.ip}" in line]
        if len(ours) != len(lines) or not any(line.startswith("tcp") for line in ours):
            raise LabError("the kernel's table is not what was committed")
        if any(f"mark={0x5c}" not in line for line in ours):
            raise LabError("a connection lacks its mark")

    def table(self):
        self.console.say("$ sluicectl flow dump")
        for line in self.lab.ctl("flow", "dump").stdout.splitlines():
            self.console.say(line.split(",", 1)[1])  # without its ufid

    def trace(self):
        packet = (f"in_port({TUNNEL}),tunnel(tun_id={VNI}),ipv4(src={self.two.ip},dst={self.one.ip}),tcp(src=40000,dst=22),"
                  "tcp_flags(syn)")
        self.console.say(f"$ sluicectl trace '{packet}'")
        said = self.lab.ctl("trace", packet).stdout
        self.console.say(said.strip())
        if "pass 2" not in said or "the flow drops its packets" not in said:
            raise LabError("that is not what becomes of such a packet")

    def reload(self):
        """Both plugins, under numbered datagrams that go through conntrack and the tunnel."""
        with wire.Receiver(self.two, 0x0800, "vxlan0", wire.IN_DATAGRAM) as receiver:
            sender = wire.Sender(self.one, None, RUNNING_RATE, make=lambda number: wire.datagram(self.one, self.two, number))
            receiver.wait(RUNNING_RATE // 4)
            for plugin in ("recirc", "xdp", "recirc"):
                said = self.lab.ctl("plugin", "reload", plugin).stdout.strip()
                self.console.say(f"$ sluicectl plugin reload {plugin}\n{said}")
                self.lab.wait_ports_up(("p0", UNDERLAY, TUNNEL))
                self.overlay.wait_installed(1)
                flowing = len(receiver)
                wait_until(lambda: len(receiver) > flowing + RUNNING_RATE // 2, "datagrams to flow on")
            sent = sender.stop()
            arrived = receiver.wait(sent, timeout=1)
        missed = self.overlay.counters().get("missed_tail_call", 0)
        self.console.say(f"of {sent:,} datagrams at {RUNNING_RATE:,}/s {sent - arrived} were lost; missed tail calls: {missed}")
        if arrived != sent or missed:
            raise LabError("a reload lost packets")


def show(lab, console):
    console.step("a host at p0, and one behind a VXLAN tunnel whose far end is the kernel's vxlan device")
    overlay = Overlay(lab)
    console.say(f"inside  {overlay.inside.namespace}: {overlay.inside.ip}, at port p0\n"
                f"outside {overlay.outside.namespace}: {overlay.outside.ip} on vxlan0, VNI {VNI}, "
                f"{overlay.far} to {overlay.near}, at port {UNDERLAY}")
    lab.start_daemon("--plugin", "xdp")
    overlay.add_ports()
    for port in lab.wait_ports_up(("p0", UNDERLAY, TUNNEL)):
        console.say(f"{port['name']}: {port['state']}" + (f", {port['info']['mode']} XDP" if "mode" in port["info"] else
                                                          ", a tunnel port: no device"))
    demo = OverlayDemo(lab, console, overlay)
    console.step("what needs the recirc plugin, without and with it")
    demo.refused()
    console.step("a stateful firewall: connections are opened from inside only")
    overlay.put(overlay.firewall_flows())
    console.say("\n".join(overlay.firewall_flows()))
    console.step("ping, 100 packets, inside -> outside, through conntrack and the tunnel")
    demo.ping()
    console.step("iperf3 through both: TCP, UDP, and TCP the other way")
    demo.transfers()
    console.step("who gets in, and who does not")
    demo.intruder()
    console.step("the kernel's connection table, which XDP has filled")
    demo.conntrack()
    console.step("the flow table")
    demo.table()
    console.step("why a packet is dropped, without sending it")
    demo.trace()
    console.step("recirc and xdp reloaded while packets pass")
    demo.reload()
