#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sluicectl trace against a daemon whose plugin has no device. That it says what packets really meet is tested in
tests/e2e/test_trace.py."""
import os
import signal
import struct
import unittest

from ctl import CtlTest, DaemonTest

ETHERNET, RAW_IP = 1, 101
FIELDS = "in_port(p0),ipv4(src=10.0.0.1,dst=10.0.0.2),udp(dst=53)"
FRAME = bytes.fromhex("020000000002020000000001" "0800" "4500001c0000000040110000" "0a0000010a000002"
                      "03e8003500080000")


def pcap(*packets, link_type=ETHERNET):
    """(bytes, length on the wire) each."""
    data = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, link_type)
    for packet, length in packets:
        data += struct.pack("<IIII", 0, 0, len(packet), length) + packet
    return data


class Trace(DaemonTest):
    def add(self, text, *options):
        ufid, = self.query("flow", "add", text, *options)
        self.wait_flow(ufid["ufid"], lambda flow: flow["offload"][0]["state"] != "pending", "a verdict")
        return ufid["ufid"]

    def file(self, data, name="packets.pcap"):
        path = os.path.join(self.run_dir, name)
        with open(path, "wb") as out:
            out.write(data)
        return path

    def trace(self, *args):
        return self.query("trace", *args)

    def refused(self, code, pattern, *args, stdout=""):
        done = self.run_ctl("trace", *args, code=code)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, stdout)
        return done

    def test_fields(self):
        ufid = self.add("in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24), actions:p1", "--priority", "3")
        text = self.run_ctl("trace", FIELDS).stdout
        self.assertRegex(text, r"^packet 1: 60 bytes in by p0 \(ctl_test_plugin\)\n  pass 1: in_port\(p0\),eth\(")
        self.assertIn("\n    mask: in_port,eth_type,ipv4(dst/255.255.255.0)\n", text)
        self.assertIn(f"\n    flow: ufid:{ufid},in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0), "
                      "priority:3, actions:p1\n    in:   ctl_test_plugin: installed\n    1. p1\n"
                      "       out by p1, 60 bytes: 0000", text)
        self.assertTrue(text.endswith("\n  end: the actions are done: it leaves by p1\n"))
        trace, = self.trace(FIELDS)
        self.assertEqual(list(trace), ["packet", "in_port", "plugin", "length", "frame", "malformed", "passes",
                                       "outputs", "upcalls", "end"])
        self.assertEqual(list(trace["passes"][0]), ["match", "frame", "mask", "flow", "equals", "absent", "steps"])
        self.assertEqual(trace["passes"][0]["flow"]["ufid"], ufid)
        self.assertEqual([output["port"] for output in trace["outputs"]], ["p1"])
        self.assertEqual(trace["end"]["reason"], "done")

    def test_what_it_printed_can_be_traced_again(self):
        trace, = self.trace(FIELDS)
        self.assertEqual(self.trace(trace["passes"][0]["match"]), [trace])
        self.assertEqual(self.trace("--in-port", "p0", "--hex", trace["frame"]), [trace])

    def test_flows_of_other_ports_and_of_none(self):
        self.add("in_port(p1), actions:p2", "--priority", "9")
        self.assertEqual(self.trace(FIELDS)[0]["end"]["reason"], "miss")
        ufid = self.add("eth_type(0x0800), actions:p2")
        self.assertEqual(self.trace(FIELDS)[0]["passes"][0]["flow"]["ufid"], ufid)

    def test_a_refused_flow_takes_nothing_and_is_told(self):
        self.add("in_port(p0), actions:ct(commit),p1")
        self.assertIn("would have matched, but is not in the datapath; ctl_test_plugin: refused, "
                      "unsupported_action: the test plugin cannot do", self.run_ctl("trace", FIELDS).stdout)
        trace, = self.trace(FIELDS)
        self.assertEqual(trace["end"]["reason"], "miss")
        self.assertEqual(trace["passes"][0]["absent"][0]["offload"][0]["state"], "refused")

    def test_equals(self):
        self.add("in_port(p0), actions:p1")
        self.add("in_port(p0),eth_type(0x0800), actions:p2")
        self.assertEqual(len(self.trace(FIELDS)[0]["passes"][0]["equals"]), 1)
        self.assertIn("the datapath takes any of them", self.run_ctl("trace", FIELDS).stdout)

    def test_passes(self):
        first = self.add("in_port(p0), actions:set(eth(src=02:00:00:00:00:09)),recirc(0x5)")
        trace, = self.trace(FIELDS)
        self.assertEqual(len(trace["passes"]), 2)
        self.assertEqual(trace["end"]["reason"], "miss")
        self.assertIn("no flow has recirc_id(0x5)", trace["end"]["detail"])
        second = self.add("recirc_id(0x5),eth(src=02:00:00:00:00:09), actions:p1")
        trace, = self.trace(FIELDS)
        self.assertEqual([one["flow"]["ufid"] for one in trace["passes"]], [first, second])
        self.assertEqual(trace["passes"][0]["steps"][1]["now"], "recirc_id(0x5)")
        self.assertEqual(trace["passes"][1]["frame"], trace["outputs"][0]["frame"])
        self.assertRegex(self.run_ctl("trace", FIELDS).stdout, r"\n  pass 2: recirc_id\(0x5\),in_port\(p0\),eth\(")
        # What it printed of the second pass begins there.
        again, = self.trace(trace["passes"][1]["match"])
        self.assertEqual([one["flow"]["ufid"] for one in again["passes"]], [second])
        self.add("recirc_id(0x5),eth(src=02:00:00:00:00:09), actions:recirc(0x5)")
        self.assertEqual(self.trace(FIELDS)[0]["end"]["reason"], "too_deep")

    def test_tunnels(self):
        self.run_ctl("port", "add", "vx0", "--plugin", self.plugin, "--option", "tunnel=vxlan", "--option",
                     "underlay=p1")
        self.add("in_port(p0), actions:set(tunnel(tun_id=0x7b,src=172.16.0.1,dst=172.16.0.2,flags(df|key))),vx0")
        trace, = self.trace("--in-port", "p0", "--hex", FRAME.hex())
        output, = trace["outputs"]
        self.assertEqual((output["port"], output["tunnel"], output["length"]), ("p1", "vx0", len(FRAME) + 50))
        self.assertEqual(output["frame"][:24], "00" * 12)  # the kernel's routes decide
        self.assertIn("out by p1 through vx0, 92 bytes: ",
                      self.run_ctl("trace", "--in-port", "p0", "--hex", FRAME.hex()).stdout)
        self.add("in_port(p1), actions:tnl_pop(vx0)")
        inner = self.add("in_port(vx0),tunnel(tun_id=0x7b,dst=172.16.0.2), actions:p0")
        trace, = self.trace("--in-port", "p1", "--hex", output["frame"])
        self.assertEqual(trace["passes"][1]["flow"]["ufid"], inner)
        self.assertEqual(trace["outputs"][0]["frame"], FRAME.hex())
        self.assertIn("tunnel(tun_id=0x7b,src=172.16.0.1,dst=172.16.0.2,", trace["passes"][1]["match"])
        trace, = self.trace("--in-port", "p1", "--hex", output["frame"][:-2])
        self.assertEqual(trace["end"]["reason"], "tunnel")
        self.assertRegex(trace["end"]["detail"], "counted as tnl_malformed$")
        trace, = self.trace("in_port(vx0),tunnel(tun_id=0x7b,dst=172.16.0.2),ipv4(dst=10.0.0.1)")
        self.assertEqual([one["flow"]["ufid"] for one in trace["passes"]], [inner])

    def test_bad_ct_states(self):
        self.refused(2, r"--ct-state: there is no state 'old'; there are new, est", FIELDS, "--ct-state", "new,old")
        self.refused(2, r"--ct-mark", FIELDS, "--ct-mark", "many")

    def test_options_before_the_fields(self):
        self.add("in_port(p0), actions:p1")
        self.assertEqual(self.trace("--ct-state", "new", "--ct-state", "est,rpl", "--ct-mark", "0x7", FIELDS)[0]["end"]["reason"],
                         "done")

    def test_hex(self):
        self.add("in_port(p0),eth_type(0x0800), actions:p1")
        trace, = self.trace("--in-port", "p0", "--hex", "020000000002 02:00:00:00:00:01", FRAME[12:].hex())
        self.assertEqual(trace["frame"], FRAME.hex())
        self.assertEqual(trace["outputs"][0]["frame"], FRAME.hex())

    def test_bytes(self):
        self.add("in_port(p0), actions:push_vlan(vid=5,pcp=0),p1")
        tagged = FRAME[:12].hex() + "81000005" + FRAME[12:].hex()
        self.assertNotIn("now 46 bytes", self.run_ctl("trace", "--in-port", "p0", "--hex", FRAME.hex()).stdout)
        self.assertIn(f"now 46 bytes: {tagged}",
                      self.run_ctl("trace", "--bytes", "--in-port", "p0", "--hex", FRAME.hex()).stdout)
        long = (FRAME + bytes(100)).hex()
        self.assertIn("(82 more: --bytes)", self.run_ctl("trace", "--in-port", "p0", "--hex", long).stdout)

    def test_a_file(self):
        self.add("in_port(p0),eth_type(0x0800), actions:p1")
        path = self.file(pcap((FRAME, len(FRAME)), (FRAME[:40], 1514), (FRAME[:30], 30)))
        traces = self.trace("--in-port", "p0", "--pcap", path)
        self.assertEqual([trace["packet"] for trace in traces], [1, 2, 3])
        self.assertEqual([trace["length"] for trace in traces], [42, 1514, 30])
        self.assertEqual([trace["end"]["reason"] for trace in traces], ["done", "malformed", "malformed"])
        self.assertEqual([trace["malformed"] for trace in traces], ["", "layer 4", "IPv4"])
        text = self.run_ctl("trace", "--in-port", "p0", "--pcap", path).stdout
        self.assertRegex(text, r"\n\npacket 2: 1514 bytes in by p0 \(ctl_test_plugin\)\n"
                               r"  only 40 bytes of it were captured")
        with open(path, "rb") as packets:
            done = self.run_ctl("--json", "trace", "--in-port", "p0", "--pcap", "-", stdin=packets)
        self.assertEqual(len(done.stdout.splitlines()), 3)

    def test_files_that_cannot_be_traced(self):
        def refused(pattern, path):
            self.refused(2, pattern, "--in-port", "p0", "--pcap", path)
        refused(r"^sluicectl: --pcap /nonexistent: No such file", "/nonexistent")
        refused(r"--pcap .*/empty: truncated dump file", self.file(b"", "empty"))
        refused(r"unknown file format", self.file(b"these are no packets at all", "text"))
        refused(r"there is no packet in it", self.file(pcap()))
        refused(r"link type RAW \(Raw IP\); only Ethernet", self.file(pcap((FRAME[14:], 28), link_type=RAW_IP)))
        refused(r"packet 1 cannot be read: truncated dump file", self.file(pcap((FRAME, 42))[:-3]))

    def test_a_file_that_breaks_off_is_traced_so_far(self):
        path = self.file(pcap((FRAME, 42), (FRAME, 42))[:-3])
        done = self.run_ctl("--json", "trace", "--in-port", "p0", "--pcap", path, code=2)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertRegex(done.stderr, r"packet 2 cannot be read: truncated dump file")

    def test_bad_fields(self):
        done = self.refused(2, r"^sluicectl: line 1, column 13: unknown match field 'eth_typ'",
                            "in_port(p0),eth_typ(0x0800)")
        self.assertIn("\nin_port(p0),eth_typ(0x0800)\n            ^", done.stderr)
        done = self.refused(2, r"column 30: ipv6\(dst\)", "in_port(p0),eth_type(0x0800),ipv6(dst=::1)")
        self.assertIn("\n" + " " * 29 + "^", done.stderr)
        self.refused(2, r"ipv4\(dst\) has a mask", "in_port(p0),ipv4(dst=10.0.0.0/8)")

    def test_ports(self):
        self.refused(1, r"unknown_port(.|\n)*column 9(.|\n)*\^", "in_port(p9),eth_type(0x0800)")
        self.refused(1, r"unknown_port\): there is no port p9", "--in-port", "p9", "--hex", FRAME.hex())
        self.refused(2, r"name the port that the packet comes in by", "eth_type(0x0800)")
        self.refused(2, r"not the same port", "in_port(p0)", "--in-port", "p1")
        self.assertEqual(self.trace("eth_type(0x0800)", "--in-port", "p1")[0]["in_port"], "p1")
        self.assertEqual(self.trace("in_port(p1)", "--in-port", "p1")[0]["in_port"], "p1")

    def test_ports_without_packets(self):
        self.run_ctl("port", "add", "bad", "--plugin", self.plugin, code=1)
        done = self.run_ctl("trace", "--in-port", "bad", "--hex", FRAME.hex(), code=1)
        self.assertRegex(done.stderr, r"no port bad|no packet comes in by bad: the port is failed")
        self.run_ctl("plugin", "unload", self.plugin)
        self.refused(1, r"port_not_up\): no packet comes in by p0: the port is pending", FIELDS)

    def test_wrong_usage(self):
        for args in ((), (FIELDS, "--pcap", "/dev/null"), (FIELDS, "--hex", "00"), ("--hex", "00", "--pcap", "x")):
            self.refused(2, r"give the packet as fields, or with --hex, or packets with --pcap", *args)
        self.refused(2, r"name the port that packets come in by: --in-port", "--hex", "00")
        self.refused(2, r"--hex: .*'x' is not a hexadecimal digit", "--in-port", "p0", "--hex", "0x0x")


class NoDaemon(CtlTest):
    def test_exit_3(self):
        self.assertEqual(self.run_ctl("trace", FIELDS, code=3).stdout, "")


if __name__ == "__main__":
    signal.alarm(110)  # a hang is a failure with a name, not CTest's timeout
    unittest.main()
