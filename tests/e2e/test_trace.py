# SPDX-License-Identifier: Apache-2.0
"""sluicectl trace against what XDP does: random flows, random packets, each sent for real and traced. The ports that it
left by, the bytes and the flows that counted it must agree, in one pass and in several. SLUICE_SEED=N runs one seed
again."""
import collections
import contextlib
import json
import os
import random
import select
import socket
import struct
import time

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from harness import SluiceTest, main, wait_until

FLOWS, PACKETS = 40, 300
SENTINEL = 0x88b7
_SOL_PACKET, _PACKET_AUXDATA, _VLAN_VALID = 263, 8, 0x10
_AUXDATA = struct.Struct("IIIHHHH")


class Tap:
    """What arrives at a host, as it was on the wire: the kernel takes the outer tag off and tells it beside the frame."""

    def __init__(self, host):
        self.socket = host.socket(3)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self.socket.setblocking(False)

    def frames(self):
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, address = self.socket.recvmsg(65536, 256)
                if address[2] != socket.PACKET_OUTGOING:
                    frames.append(self._on_the_wire(data, ancillary))
        return frames

    @staticmethod
    def _on_the_wire(data, ancillary):
        for level, kind, value in ancillary:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(value)
                if status & _VLAN_VALID:
                    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return data


class Generator:
    """Packets, and flows that have a good chance to take them."""

    macs = ("02:aa:00:00:00:01", "02:aa:00:00:00:02", "02:aa:00:00:01:01")
    ip4 = ("10.1.0.1", "10.1.0.2", "10.1.1.1", "10.2.0.1")
    ip6 = ("2001:db8::1", "2001:db8::2", "2001:db8:1::1")
    numbers = (53, 80, 1000)
    transports = {"udp": 17, "tcp": 6, "sctp": 132, "icmp": 1}

    def __init__(self, rng):
        self.rng = rng

    def one_in(self, n):
        return self.rng.randrange(n) == 0

    def spec(self):
        pick = self.rng.choice
        spec = {"src": pick(self.macs), "dst": pick(self.macs), "l3": pick(("ip4", "ip4", "ip6", "arp", "")),
                "tags": [(pick((5, 6)), pick((0, 3))) for _ in range(pick((0, 0, 1, 2)))], "l4": "",
                "sip": pick(self.ip4), "dip": pick(self.ip4), "ttl": pick((0, 1, 2, 64)), "tos": pick((0, 0x28)),
                "sport": pick(self.numbers), "dport": pick(self.numbers), "frag": ""}
        if spec["l3"] == "ip6":
            spec["sip"], spec["dip"] = pick(self.ip6), pick(self.ip6)
        if spec["l3"].startswith("ip"):
            spec["l4"] = pick(("udp", "udp", "tcp", "sctp", "icmp")[:4 if spec["l3"] == "ip6" else 5])
        if spec["l3"] == "ip4":
            spec["frag"] = pick(("", "", "", "first", "later"))
        return spec

    def packet(self, spec):
        packet = Ether(src=spec["src"], dst=spec["dst"])
        for i, (vid, prio) in enumerate(spec["tags"]):
            packet /= (Dot1AD if i == 0 and len(spec["tags"]) == 2 else Dot1Q)(vlan=vid, prio=prio)
        if spec["l3"] == "arp":
            packet /= ARP(psrc=spec["sip"], pdst=spec["dip"], hwsrc=spec["src"])
        elif spec["l3"] == "ip4":
            flags, offset = {"": (0, 0), "first": (1, 0), "later": (0, 100)}[spec["frag"]]
            packet /= IP(src=spec["sip"], dst=spec["dip"], ttl=spec["ttl"], tos=spec["tos"], flags=flags, frag=offset,
                         proto=self.transports[spec["l4"]])
        elif spec["l3"] == "ip6":
            packet /= IPv6(src=spec["sip"], dst=spec["dip"], hlim=spec["ttl"], tc=spec["tos"])
        else:
            packet.lastlayer().type = 0x88b5
        if spec["l4"] == "icmp":
            packet /= ICMP(type=8)
        elif spec["l4"]:
            packet /= {"udp": UDP, "tcp": TCP, "sctp": SCTP}[spec["l4"]](sport=spec["sport"], dport=spec["dport"])
        data = bytes(packet / Raw(self.rng.randbytes(self.rng.randrange(60))))
        if self.one_in(15):
            data = data[:self.rng.randrange(14, len(data) + 1)]
        return data.ljust(26, b"\0")  # the hosts' kernels drop tagged frames that end with the type

    def match(self, spec, port):
        groups = [f"in_port({port})"] if self.rng.randrange(4) else []
        if self.one_in(3):
            groups.append(f"eth(dst={spec['dst']})")
        types = {"arp": "0x0806", "ip4": "0x0800", "ip6": "0x86dd", "": "0x88b5"}[spec["l3"]]
        inner = [f"eth_type({types})", *self.inner(spec)]
        for i, (vid, _) in reversed(list(enumerate(spec["tags"]))):
            tpid = "0x88a8" if i == 0 and len(spec["tags"]) == 2 else "0x8100"
            tag = [f"vlan(vid={vid})"] if self.one_in(2) else []
            inner = [f"eth_type({tpid})", *tag, f"encap({','.join(inner)})"]
        return ",".join(groups + inner)

    def inner(self, spec):
        if spec["l3"] == "arp":
            return [f"arp(tip={spec['dip']})"] if self.one_in(2) else []
        if not spec["l3"] or self.one_in(5):
            return []
        ip = []
        if self.one_in(2):
            ip.append(f"dst={spec['dip']}/{self.rng.choice((16, 24, 32) if spec['l3'] == 'ip4' else (48, 128))}")
        if self.one_in(4):
            ip.append(f"{'ttl' if spec['l3'] == 'ip4' else 'hlimit'}={spec['ttl']}")
        transport = []
        if spec["l4"]:
            ip.append(f"proto={1 if spec['l4'] == 'icmp' else self.transports[spec['l4']]}")
            if spec["frag"] != "later" and self.one_in(2):
                transport = ["icmp(type=8)" if spec["l4"] == "icmp" else f"{spec['l4']}(dst={spec['dport']})"]
        if spec["frag"] and self.one_in(2):
            ip.append(f"frag={spec['frag']}")
        group = "ipv4" if spec["l3"] == "ip4" else "ipv6"
        return ([f"{group}({','.join(ip)})"] if ip else []) + transport

    def edit(self):
        return self.rng.choice((
            f"set(eth(dst={self.rng.choice(self.macs)}))", f"set(ipv4(dst={self.rng.choice(self.ip4)}))",
            "set(ipv4(tos=0x04/0xfc))", "set(ipv4(src=10.9.0.0/16,ttl=7))", "set(ipv6(dst=2001:db8:9::9))",
            "set(ipv6(label=0x123,tclass=0x8,hlimit=9))", "set(udp(dst=5300))", "set(tcp(src=0x1200/0xff00))",
            "set(sctp(dst=9))", "set(icmp(code=3))", "set(arp(op=2,tip=10.3.0.1))", "set(vlan(vid=9,pcp=1))",
            "push_vlan(vid=7,pcp=2)", "push_vlan(tpid=0x88a8,vid=8,pcp=0)", "pop_vlan", "pop_vlan", "dec_ttl", "dec_ttl",
            "dec_ttl(le_1(p2))", "dec_ttl(le_1(set(ipv4(ttl=3)),p1,p3))"))

    def actions(self):
        actions = [self.edit() for _ in range(self.rng.choice((0, 0, 1, 2, 3, 6)))]
        kind = self.rng.randrange(8)
        if kind == 0:
            return ",".join(actions + ["flood"])
        if kind == 1:
            return ",".join(actions + ["p1", self.edit(), "trunc(40)", "p2", "p3"])  # by software
        if kind == 2:
            return "drop"
        if kind == 3:
            return ",".join(actions + self.rng.sample(("p0", "p1", "p2", "p3"), 3))
        return ",".join(actions + [self.rng.choice(("p0", "p1", "p2", "p3", "p3"))])


class Agreement(SluiceTest):
    ports = ("p0", "p1", "p2", "p3")

    def setUp(self):
        super().setUp()
        for host in self.hosts:  # what they say by themselves would be counted
            host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        self.taps = {host.port: Tap(host) for host in self.hosts}
        for tap in self.taps.values():
            self.addCleanup(tap.socket.close)
        self.ends, self.counted, self.left, self.passes = collections.Counter(), collections.Counter(), 0, 0
        seed = int(os.environ.get("SLUICE_SEED", random.SystemRandom().randrange(1 << 32)))
        print(f"SLUICE_SEED={seed}", flush=True)
        self.rng = random.Random(seed)

    def put(self, lines):
        path = os.path.join(self.lab.run_dir, "flows")
        with open(path, "w", encoding="ascii") as out:
            out.write("\n".join(lines))
        self.lab.ctl("flow", "add", "--file", path)

        def judged():
            flows = self.lab.query("flow", "dump")
            return flows and all(entry["state"] != "pending" for flow in flows for entry in flow["offload"]) and flows
        return wait_until(judged, "verdicts on all flows")

    def trace(self, port, packets):
        path = os.path.join(self.lab.run_dir, f"{port}.pcap")
        with open(path, "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
            for data in packets:
                out.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
        return self.lab.query("trace", "--in-port", port, "--pcap", path)

    def arrived(self, expected, patience=3.0):
        """Frames by port, when as many have come as are expected or no more come."""
        got = collections.Counter()
        end = time.monotonic() + patience
        while sum(got.values()) < sum(expected.values()) and time.monotonic() < end:
            select.select([tap.socket for tap in self.taps.values()], [], [], 0.1)
            for port, tap in self.taps.items():
                got.update((port, frame) for frame in tap.frames())
        return got

    def sentinels(self, ports):
        """To be put: what goes everywhere, so that whatever else a packet before it did has arrived by then."""
        return [f"in_port({port}),eth_type({SENTINEL:#06x}), priority:{10000 + n}, "
                f"actions:p0,p1,p2,p3,trunc(30),p0,p1,p2,p3" for n, port in enumerate(ports)]

    def compare(self, host, packets):
        sentinel = bytes.fromhex("02aa0000000102aa00000002") + struct.pack("!H", SENTINEL) + bytes(46)
        with contextlib.closing(host.socket()) as raw:
            for data, trace in zip([*packets, sentinel], self.trace(host.port, [*packets, sentinel])):
                expected = collections.Counter((output["port"], bytes.fromhex(output["frame"]))
                                               for output in trace["outputs"])
                raw.send(data)
                self.assertEqual(self.arrived(expected), expected, json.dumps(trace, indent=1))
                self.ends[trace["end"]["reason"]] += 1
                self.left += sum(expected.values())
                self.passes += len(trace["passes"]) - 1
                for one in trace["passes"]:
                    if one["flow"]:
                        self.assertEqual(one["equals"], [])
                        self.counted[one["flow"]["ufid"]] += 1

    def check_counters(self, flows):
        expected = {flow["ufid"]: self.counted[flow["ufid"]] for flow in flows}

        def counters():
            return {flow["ufid"]: flow["packets"] for flow in self.lab.query("flow", "dump")}
        with contextlib.suppress(Exception):  # counters come about once a second; what differs is told below
            wait_until(lambda: counters() == expected, "the counters", timeout=5)
        self.assertEqual(counters(), expected)


class OnePass(Agreement):
    def test_they_agree(self):
        generate = Generator(self.rng)
        specs = [generate.spec() for _ in range(30)]
        rng = self.rng
        lines = [f"{generate.match(rng.choice(specs), rng.choice(('p0', 'p0', 'p1')))}, priority:{priority + 1}, "
                 f"actions:{generate.actions()}" for priority in range(FLOWS)]
        lines += self.sentinels(("p0", "p1"))
        lines += [f"{generate.match(rng.choice(specs), 'p0')}, priority:{90 + n}, actions:ct(commit),p1"
                  for n in range(3)]  # refused
        flows = self.put(line for line in dict((line.split(", priority")[0], line) for line in lines).values())
        states = collections.Counter(flow["offload"][0]["state"] for flow in flows)
        for host in self.hosts[:2]:
            self.compare(host, [generate.packet(rng.choice(specs) if rng.randrange(4) else generate.spec())
                                for _ in range(PACKETS // 2)])
        print(f"flows: {dict(states)}; packets: {dict(self.ends)}, {self.left} frames out", flush=True)
        self.assertGreater(states["installed"], 5)
        self.assertGreater(states["software"], 1)
        self.assertGreater(states["refused"], 0)
        self.assertGreater(self.ends["done"], 30)
        self.assertGreater(self.ends["miss"], 0)
        self.check_counters(flows)


class SeveralPasses(Agreement):
    """Recirculation, and tunnels whose headers tnl_push says down to the last byte."""
    tunnels = {"vx0": ("vxlan", "udp", 17, 4789), "gen0": ("geneve", "udp", 17, 6081), "gre0": ("gre", "gre", 47, None)}
    ids = (1, 2, 3)

    def push(self):
        name = self.rng.choice(list(self.tunnels))
        kind, _, proto, dst = self.tunnels[name]
        key = self.rng.choice((0x7b, 0x7c))
        if kind == "gre":
            size, number, inner = 42, 3, f"gre((flags=0x2000,proto=0x6558),key={key:#x})"
        else:
            size, number = 50, 4 if kind == "vxlan" else 5
            inner = f"udp(src=40000,dst={dst},csum={self.rng.choice(('0x0', '0xffff'))})," + \
                (f"vxlan(flags=0x8000000,vni={key:#x})" if kind == "vxlan" else f"geneve(vni={key:#x})")
        return (f"tnl_push(tnl_port({name}),header(size={size},type={number},eth(dst=02:aa:00:00:00:01,src=02:aa:00:00:00:02,"
                f"dl_type=0x0800),ipv4(src=172.16.0.1,dst=172.16.0.2,proto={proto},tos=0,ttl=64,frag=0x4000),{inner}),"
                f"out_port(p3))")

    def actions(self, generate):
        while True:
            edits = [generate.edit() for _ in range(self.rng.choice((0, 0, 1, 2)))]
            if not any(edit.startswith(("set(sctp", "dec_ttl(le_1(set")) for edit in edits):
                break
        end = self.rng.choice(("recirc", "recirc", "recirc", "push", "p1", "p2", "drop"))
        if end == "recirc":
            end = f"recirc({self.rng.choice(self.ids)})"
        elif end == "push":
            end = self.push()
        return "drop" if end == "drop" else ",".join([*edits, end])

    def test_they_agree(self):
        self.lab.ctl("plugin", "load", "recirc")
        for name, (kind, _, _, _) in self.tunnels.items():
            self.lab.ctl("port", "add", name, "--plugin", "xdp", "--option", f"tunnel={kind}", "--option", "underlay=p3")
        generate = Generator(self.rng)
        specs = [generate.spec() for _ in range(30)]
        lines = []
        for priority in range(2 * FLOWS):
            spec = self.rng.choice(specs)
            where = self.rng.choice(("p0", "p0", "p3", *self.ids, *self.ids, *self.tunnels))
            match = generate.match(spec, where if isinstance(where, str) else "p0")
            if isinstance(where, int):
                match = f"recirc_id({where})," + match
            elif where in self.tunnels and "in_port" in match:
                match = f"tunnel(tun_id={self.rng.choice((0x7b, 0x7c)):#x})," + match
            lines.append(f"{match}, priority:{1000 + priority}, actions:{self.actions(generate)}")
        lines += [f"recirc_id({number}), priority:{number}, actions:p{number % 3}" for number in self.ids]
        # What comes back from the wire is opened before all else; what nothing takes takes another pass.
        lines += [f"in_port(p3),eth_type(0x0800),ipv4(proto=17),udp(dst={dst}), priority:{5000 + n}, actions:tnl_pop({name})"
                  for n, (name, (_, inner, _, dst)) in enumerate(self.tunnels.items()) if inner == "udp"]
        lines += ["in_port(p3),eth_type(0x0800),ipv4(proto=47), priority:5010, actions:tnl_pop(gre0)",
                  f"in_port(p0),eth_type(0x88b5), priority:5020, actions:{self.push()}",
                  "in_port(p0), priority:31, actions:recirc(0x1)"]
        lines += [f"in_port({name}), priority:{40 + n}, actions:recirc({self.rng.choice(self.ids)})"
                  for n, name in enumerate(self.tunnels)]
        lines += self.sentinels(("p0", "p3"))
        flows = self.put(line for line in dict((line.split(", priority")[0], line) for line in lines).values())
        states = collections.Counter(flow["offload"][0]["state"] for flow in flows)
        packets = [generate.packet(self.rng.choice(specs) if self.rng.randrange(4) else generate.spec())
                   for _ in range(PACKETS // 2)]
        self.compare(self.hosts[0], packets)
        # What was sent into tunnels comes back by the wire, some of it damaged.
        sent = [bytes.fromhex(output["frame"]) for trace in self.trace("p0", packets) for output in trace["outputs"]
                if "tunnel" in output]
        outer = sent[:PACKETS // 4]
        while len(outer) < PACKETS // 2:
            frame = bytearray(self.rng.choice(sent))
            if self.rng.randrange(2):
                frame[self.rng.randrange(14, 60)] ^= 1 << self.rng.randrange(8)
            outer.append(bytes(frame[:self.rng.randrange(26, len(frame))] if generate.one_in(4) else frame))
        self.compare(self.hosts[3], outer)
        print(f"flows: {dict(states)}; packets: {dict(self.ends)}, {self.passes} passes after the first, "
              f"{self.left} frames out", flush=True)
        self.assertGreater(states["installed"], 2 * FLOWS // 2)
        self.assertGreater(self.passes, PACKETS // 6)
        self.assertGreater(self.ends["tunnel"], 10)
        self.check_counters(flows)
        for port, counters in self.lab.counters().items():
            self.assertEqual(counters.get("missed_tail_call", 0), 0, port)


if __name__ == "__main__":
    main()
