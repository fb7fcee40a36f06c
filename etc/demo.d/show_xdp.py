# SPDX-License-Identifier: Apache-2.0
"""XDP: a learning switch with a VLAN trunk, and everything the plugin does for it."""
import os

from lab import HERE
from steps import EXACT_COUNT, NEW_FLOWS, SWITCH, Demo

STEPS = 11
VLAN = 10


def set_up(lab, console):
    console.say(f"namespaces: sluiced in {lab.switch}, hosts in {lab.prefix}-h0, -h1, -h2; veth ports p0, p1, p2")
    one, two, trunk = (lab.add_host(port) for port in ("p0", "p1", "p2"))
    one.address()
    two.address()
    ports = [argument for host in lab.hosts for argument in ("--port", f"{host.port}=xdp")]
    lab.start_daemon("--plugin", "xdp", *ports)
    for port in lab.wait_ports_up():
        info = port["info"]
        console.say(f"{port['name']}: {port['state']}, {info['mode']} XDP, far end {info.get('peer')}")
    console.say(f"to make a plain veth pair work, port add changed: {info.get('changed')}")
    console.say(f"h2 hangs on the trunk p2, speaks VLAN {VLAN} tagged; p0 and p1 are untagged in VLAN {VLAN}")
    tagger = trunk.start("tagger", os.path.join(HERE, "tagger.py"), "--tap", f"vlan{VLAN}", "--vid", str(VLAN),
                         "--mac", trunk.mac)
    tagger.wait_for("ready")
    trunk.address(f"vlan{VLAN}")
    console.say("controller: etc/examples/learning_switch.py --trunk p2 --access p0=10 --access p1=10")
    controller = lab.start("learning-switch", ["/usr/bin/python3", SWITCH, "--run-dir", lab.run_dir, "--trunk", "p2",
                                               "--access", f"p0={VLAN}", "--access", f"p1={VLAN}"])
    controller.wait_for("ready")


def show(lab, console):
    console.step("three hosts, one sluiced, one controller")
    set_up(lab, console)
    demo = Demo(lab, console)
    console.step("ping, 200 packets, h0 -> h1")
    demo.ping(4)
    console.step("ping6, 200 packets, h0 -> h1")
    demo.ping(6)
    console.step("iperf3, TCP then UDP, h0 -> h1")
    demo.transfers()
    console.step(f"VLAN: tagged trunk p2 -> access port p0: ping and TCP, h2 -> h0, VLAN {VLAN}")
    demo.vlan_trunk()
    console.step(f"counters: exactly {EXACT_COUNT:,} packets, h0 -> h1")
    demo.exact()
    console.step("addresses and ports translated, TTL decremented: h0 -> a service at h1")
    demo.edits()
    console.step("the flow table")
    demo.table()
    console.step(f"from first packet to installed flow: {NEW_FLOWS} new flows, one after the other")
    demo.latency()
    console.step("a monitor's view, while the table is flushed and built again by three pings")
    demo.monitor()
    console.step("the XDP plugin reloaded, and unloaded and loaded, under running traffic")
    demo.plugin_swap()
