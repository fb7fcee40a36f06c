# SPDX-License-Identifier: Apache-2.0
"""The demo's steps. Each shows one thing on real packets and raises LabError where it is not as it must be."""
import json
import os
import time

import wire
from lab import HERE, LabError, wait_until
from watch import Watch

EXACT_COUNT = 20_000
NEW_FLOWS = 300
RUNNING_RATE = 2_000  # packets/s while plugins come and go
SERVICE, SERVICE_PORT, REAL_PORT = "10.0.0.99", 53, 5300
TRANSLATED = 1000  # datagrams
UDP = os.path.join(HERE, "udp.py")
SWITCH = os.path.join(HERE, "..", "examples", "learning_switch.py")
LATENCY_MAC = "06:00:00:00:%02x:%02x"


class Demo:
    def __init__(self, lab, console, datapath="XDP"):
        """`datapath`: what the ports' counters are counted by."""
        self.lab, self.console, self.datapath = lab, console, datapath
        self.one, self.two = lab.hosts[:2]
        self.trunk = lab.hosts[-1]
        self.iperf_runs = 0

    # ------------------------------------------------------------ what happened to packets

    def totals(self):
        ports = self.lab.counters().values()
        return {name: sum(port.get(name, 0) for port in ports) for name in ("forwarded", "upcall")}

    def report(self, before):
        """Counters come about once a second: waits for the round after everything was sent."""
        after = self.settled()
        forwarded, up = (after[name] - before[name] for name in ("forwarded", "upcall"))
        self.console.say(f"{self.datapath} forwarded {forwarded:,} packets, {up:,} went up")
        return forwarded, up

    def settled(self):
        last = self.totals()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(1.1)
            now = self.totals()
            if now == last:
                break
            last = now
        return last

    # ------------------------------------------------------------ steps

    def ping(self, family):
        target = self.two.ip if family == 4 else self.two.ip6
        before = self.totals()
        done = self.one.run("ping", f"-{family}", "-c", "200", "-i", "0.005", "-W", "2", target)
        self.console.say("\n".join(done.stdout.strip().splitlines()[-2:]))
        if "200 received" not in done.stdout:
            raise LabError(f"not every ping was answered: {done.stdout}")
        self.report(before)
        if family == 4:
            there, back = (self.flow_of(host, 0x0800)["packets"] for host in (self.one, self.two))
            self.console.say(f"the flows counted {there} packets there and {back} back")
            if (there, back) != (200, 200):
                raise LabError("that is not what ping sent")

    def iperf3(self, source, target, seconds, *options):
        """What it has measured, or None where it could not, and said so."""
        self.iperf_runs += 1
        server = target.start(f"iperf3-{self.iperf_runs}", "iperf3", "-s", "-1", "--forceflush")
        server.wait_for("Server listening")
        with self.console.alive("iperf3 is running"):
            done = source.run("iperf3", "-c", target.ip, "-t", str(seconds), "-J", *options, check=False)
        server.stop()
        result = json.loads(done.stdout)
        if done.returncode == 0 and ("sum" if "-u" in options else "sum_received") in result["end"]:
            return result["end"]
        self.console.say(f"iperf3: {result.get('error')}; its server: {server.output()[-300:]}")
        return None

    def iperf(self, source, target, seconds, *options):
        # A busy machine makes its control connection time out now and then.
        result = self.iperf3(source, target, seconds, *options) or self.iperf3(source, target, seconds, *options)
        if result is None:
            raise LabError("iperf3 did not come to a result, twice")
        if "-u" in options:
            total = result["sum"]
            self.console.say(f"UDP: {total['bits_per_second'] / 1e6:,.0f} Mbit/s, {total['packets']:,} packets, "
                             f"{total['lost_packets']} lost")
            return
        total = result["sum_received"]
        self.console.say(f"TCP: {total['bits_per_second'] / 1e6:,.0f} Mbit/s, {total['bytes'] / 1e6:,.0f} MB received")
        if total["bytes"] < 1_000_000:
            raise LabError("TCP carried next to nothing")

    def transfers(self):
        before = self.totals()
        self.iperf(self.one, self.two, 3)
        self.iperf(self.one, self.two, 3, "-u", "-b", "100M", "-l", "1400")
        self.report(before)

    def vlan_trunk(self):
        before = self.totals()
        done = self.trunk.run("ping", "-c", "100", "-i", "0.01", "-W", "2", self.one.ip)
        self.console.say("\n".join(done.stdout.strip().splitlines()[-2:]))
        if "100 received" not in done.stdout:
            raise LabError(f"not every ping was answered: {done.stdout}")
        self.iperf(self.trunk, self.one, 2)
        forwarded, _ = self.report(before)
        tagged = [flow for match, flow in self.lab.flows().items() if "vlan(" in match and "pop_vlan" in flow["actions"]]
        if not tagged or forwarded == 0:
            raise LabError("the trunk's packets did not take flows with pop_vlan")

    def exact(self):
        """A known number of packets; the flow, the wire and the far host must agree on it."""
        with wire.Receiver(self.two) as receiver:
            first = wire.numbered(self.one.mac, self.two.mac, 0)
            wire.send_burst(self.one, [first])
            wait_until(lambda: len(receiver) == 1, "the first packet to arrive")
            wire.send_burst(self.one, (wire.numbered(self.one.mac, self.two.mac, n, length=100)
                                       for n in range(1, EXACT_COUNT)))
            arrived = receiver.wait(EXACT_COUNT)
        sent_bytes = len(first) + (EXACT_COUNT - 1) * 100

        def counted():
            flow = self.flow_of(self.one, wire.EXPERIMENTAL)
            return flow if flow["packets"] >= EXACT_COUNT else None
        flow = wait_until(counted, f"the flow to count {EXACT_COUNT} packets", timeout=5)
        self.console.say(f"sent      {EXACT_COUNT:>8,} packets {sent_bytes:>10,} bytes\n"
                         f"arrived   {arrived:>8,} packets\n"
                         f"the flow  {flow['packets']:>8,} packets {flow['bytes']:>10,} bytes")
        if (arrived, flow["packets"], flow["bytes"]) != (EXACT_COUNT, EXACT_COUNT, sent_bytes):
            raise LabError("sent, arrived and counted are not the same")

    def flow_of(self, source, eth_type):
        for match, flow in self.lab.flows().items():
            if f"src={source.mac}" in match and f"{eth_type:#06x}" in match:
                return flow
        raise LabError(f"there is no flow for EtherType {eth_type:#06x} from {source.mac}")

    def latency(self):
        """Every packet comes from another address: each wants a flow of its own."""
        before = self.totals()
        macs = [LATENCY_MAC % divmod(n, 256) for n in range(NEW_FLOWS)]
        sent = {}
        with Watch(self.lab.run_dir, "flow.offload") as watch, wire.Receiver(self.two) as receiver, \
                self.one.socket() as raw:
            for number, mac in enumerate(macs):
                data = wire.numbered(mac, self.two.mac, number)
                sent[mac] = time.time_ns()
                raw.send(data)
                wait_until(lambda n=number: n in receiver.times, f"packet {number} to arrive", interval=0.0005)
            installed = watch.installed(macs, "eth(src=%s")
        to_flow = [(installed[mac] - sent[mac]) / 1e6 for mac in macs]
        to_host = [(receiver.times[n] - sent[mac]) / 1e6 for n, mac in enumerate(macs)]
        for what, values in (("first packet sent -> its flow installed in XDP", to_flow),
                             ("first packet sent -> received by the far host", to_host)):
            p50, p99 = (wire.percentile(values, share) for share in (0.5, 0.99))
            self.console.say(f"{what:<48} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   ({len(values)} flows)")
        self.report(before)

    def edits(self):
        """A service's address and port translated in XDP; then the same with a copy in between, which is software's."""
        match = (f"in_port(p0),eth_type(0x0800),ipv4(dst={SERVICE},proto=17),udp(dst={SERVICE_PORT})")
        translate = f"set(ipv4(dst={self.two.ip})),set(udp(dst={REAL_PORT})),dec_ttl,p1"
        self.one.run("ip", "neigh", "replace", SERVICE, "lladdr", self.two.mac, "dev", "eth0")
        try:
            self.translated("XDP", "installed", match, translate)
            self.translated("software", "software", match, translate + ",set(ipv4(ttl=1)),p2")
        finally:
            self.lab.ctl("flow", "del", match)
            self.one.run("ip", "neigh", "del", SERVICE, "dev", "eth0")

    def translated(self, where, wanted, match, actions):
        before = self.lab.flows().get(match, {}).get("packets", 0)
        self.lab.ctl("flow", "add", f"{match}, priority:100, actions:{actions}")

        def judged():
            return next((flow for flow in self.lab.flows().values() if f"dst={SERVICE}" in flow["match"]
                         and flow["actions"] == actions and flow["offload"][0]["state"] != "pending"), None)
        state = wait_until(judged, "the flow's verdict")["offload"][0]
        if state["state"] != wanted:
            raise LabError(f"the flow is {state}")
        sink = self.two.start(f"sink-{where.replace(' ', '-')}", UDP, "receive", str(REAL_PORT), str(TRANSLATED))
        sink.wait_for("ready")
        self.one.run(UDP, "send", SERVICE, str(SERVICE_PORT), str(TRANSLATED))
        sink.wait_for("received")
        arrived = int(sink.output().split()[-1])
        sink.stop()
        flow = wait_until(lambda: (judged() or {}).get("packets", 0) >= before + TRANSLATED and judged(),
                          "the flow to count them", timeout=5)
        self.console.say(f"{where}: of {TRANSLATED:,} datagrams to {SERVICE}:{SERVICE_PORT} {arrived:,} came to "
                         f"{self.two.ip}:{REAL_PORT}, checksums right; the flow counted {flow['packets'] - before:,}")
        if wanted == "software":
            self.console.say(f"  why: {state['detail']}")
        if arrived != TRANSLATED:
            raise LabError("not all of them came")

    def table(self):
        """The flows that hosts made, without those of the step with made-up addresses."""
        lines = self.lab.ctl("flow", "dump").stdout.splitlines()
        shown = [line for line in lines if "src=06:00:" not in line]
        self.console.say("$ sluicectl flow dump | grep -v src=06:00:")
        self.console.say("\n".join(shown))
        self.console.say(f"({len(lines)} flows in all)")
        refused = [line for line in lines if "offloaded:yes" not in line]
        if refused:
            raise LabError(f"a flow is not offloaded: {refused[0]}")

    def monitor(self):
        topics = ("flow.add", "flow.offload", "flow.stats", "flow.del", "upcall")
        monitor = self.lab.start("monitor", [self.lab.program("sluicectl"), "--endpoint", self.lab.run_dir, "monitor",
                                             *topics, "heartbeat"])
        monitor.wait_for("heartbeat")  # it is subscribed
        with Watch(self.lab.run_dir, "flow.offload") as watch:
            self.lab.ctl("flow", "flush")
            self.one.run("ping", "-c", "3", "-i", "0.1", "-W", "2", self.two.ip)
            watch.installed([self.one.mac], "eth(src=%s")

        def first_lines():
            lines = monitor.output().splitlines()
            first = [next((at for at, line in enumerate(lines) if f" {topic} " in line), None) for topic in topics]
            return None not in first and [lines[at] for at in sorted(first)]
        shown = wait_until(first_lines, f"events of {', '.join(topics)} in the monitor")
        monitor.stop()
        self.console.say(f"$ sluicectl monitor {' '.join(topics)}   (the first line of each)")
        self.console.say("\n".join(shown))

    def plugin_swap(self):
        """Packets go all the time; what happens to the plugin is done under them."""
        self.under_traffic("plugin reload xdp", lambda: self.lab.ctl("plugin", "reload", "xdp"))
        self.under_traffic("plugin unload xdp --keep; plugin load xdp", lambda: self.unload_and_load("--keep"))
        self.under_traffic("plugin unload xdp; plugin load xdp", self.unload_and_load)

    def unload_and_load(self, *options):
        self.lab.ctl("plugin", "unload", "xdp", *options)
        time.sleep(0.5)  # long enough for it to show
        self.lab.ctl("plugin", "load", "xdp")
        self.lab.wait_ports_up()

    def under_traffic(self, what, act):
        wire.send_burst(self.one, [wire.numbered(self.one.mac, self.two.mac, 0)])
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RUNNING_RATE, first=1)
            receiver.wait(RUNNING_RATE // 4)
            began = time.monotonic()
            act()
            took = time.monotonic() - began
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + RUNNING_RATE // 4, "packets to flow again")
            count = sender.stop()
            receiver.wait(count, timeout=0.5)
            arrived = sum(1 for number in receiver.times if 1 <= number <= count)
        lost = count - arrived
        self.console.say(f"{what:<41} took {took * 1000:4.0f} ms; of {count:,} packets at {RUNNING_RATE:,}/s {lost} were "
                         f"lost ({lost / RUNNING_RATE * 1000:.0f} ms of traffic)")
