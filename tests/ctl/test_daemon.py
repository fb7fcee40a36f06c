#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sluicectl against a running sluiced with a plugin that has no device. Needs no privileges."""
import json
import os
import re
import signal
import subprocess
import sys
import unittest

import zmq

from ctl import PATIENCE, ROOT, DaemonTest, environment, program, sluicectl, wait_until

sys.path.insert(0, os.path.join(ROOT, "bus", "python"))
import sluice  # noqa: E402

FLOW_KEYS = {"ufid", "match", "actions", "priority", "packets", "bytes", "used_ms", "tcp_flags", "offload"}
EVENT_KEYS = {"node", "epoch", "seq", "time_ns", "topic"}
UFID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOWHERE = "6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01"
MATCH = "in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24,proto=17,frag=no),udp(dst=53)"


def installed(flow):
    return bool(flow["offload"]) and flow["offload"][0]["state"] == "installed"


def counted(flow):
    return flow["packets"] > 0


class Flows(DaemonTest):
    def add(self, text, *options):
        done = self.run_ctl("flow", "add", text, *options)
        self.assertRegex(done.stdout, rf"^ufid:{UFID.pattern}\n$")
        return done.stdout.strip().removeprefix("ufid:")

    def test_a_dump_line_is_that_of_ovs(self):
        ufid = self.add(f"{MATCH}, actions:push_vlan(vid=5,pcp=0),p1")
        self.wait_flow(ufid, lambda flow: installed(flow) and counted(flow), "the flow to be installed and to count")
        self.assertRegex(
            self.run_ctl("flow", "dump").stdout,
            rf"^ufid:{ufid},(recirc_id\(0\),)?in_port\(p0\),eth_type\(0x0800\),"
            r"ipv4\(dst=10\.0\.0\.0/255\.255\.255\.0,proto=17,frag=no\),udp\(dst=53\), packets:7, bytes:448, "
            rf"used:\d+\.\d{{3}}s, flags:S\., offloaded:yes, dp:{self.plugin}, "
            r"actions:push_vlan\(vid=5,pcp=0\),p1\n$")

    def test_json_of_a_flow(self):
        ufid = self.add("in_port(p0), actions:p1", "--priority", "3", "--idle-timeout", "60", "--hard-timeout", "1.5")
        flow, = self.query("flow", "get", ufid)
        self.assertLessEqual(FLOW_KEYS, flow.keys())
        self.assertEqual((flow["ufid"], flow["priority"], flow["idle_timeout_ms"], flow["hard_timeout_ms"]),
                         (ufid, 3, 60000, 1500))
        for key in ("priority", "packets", "bytes", "tcp_flags"):
            self.assertIsInstance(flow[key], int)
        for offload in flow["offload"]:
            self.assertEqual(offload.keys(), {"plugin", "state", "reason", "detail"})
        self.assertEqual(self.query("flow", "add", "in_port(p1), actions:p0")[0].keys(), {"ufid"})

    def test_a_flow_that_a_plugin_refuses_says_why(self):
        ufid = self.add("in_port(p0),eth_type(0x0800), actions:ct(commit),recirc(0x1)")
        flow = self.wait_flow(ufid, lambda flow: flow["offload"][0]["state"] == "refused", "the refusal")
        self.assertEqual(flow["offload"][0]["reason"], "unsupported_action")
        self.assertIn("ct", flow["offload"][0]["detail"])
        self.assertIn(f"used:never, offloaded:no, refused:{self.plugin}:unsupported_action(\"",
                      self.run_ctl("flow", "dump").stdout)

    def test_a_dump_pastes_back(self):
        for text in (f"{MATCH}, actions:push_vlan(vid=5,pcp=0),p1", "in_port(p1), actions:drop",
                     "in_port(p2),eth_type(0x0800) actions:ct(commit),p1"):
            self.add(text, "--priority", "9", "--idle-timeout", "300.5")
        self.add("in_port(p0),eth(dst=02:00:00:00:00:01), actions:p1,p2", "--ufid", NOWHERE)
        keys = ("ufid", "match", "actions", "priority", "idle_timeout_ms")

        def table():
            return sorted(tuple(str(flow.get(key)) for key in keys) for flow in self.query("flow", "dump"))
        wait_until(lambda: "offloaded:no" in self.run_ctl("flow", "dump").stdout and
                   "pending:" not in self.run_ctl("flow", "dump").stdout, "verdicts")
        before = table()
        text = self.run_ctl("flow", "dump").stdout
        self.assertEqual(len(before), 4)
        self.assertEqual(self.run_ctl("flow", "flush").stdout, "4 removed\n")
        self.assertEqual(self.run_ctl("flow", "dump").stdout, "")
        self.assertEqual(self.run_ctl("flow", "add", "--file", "-", input=text).stdout, "4 added, 0 refused\n")
        self.assertEqual(table(), before)
        self.run_ctl("flow", "flush")
        for line in text.splitlines():  # one by one, as a user pastes
            self.run_ctl("flow", "add", line)
        self.assertEqual(table(), before)

    def test_wrong_text_is_shown_with_a_caret(self):
        for text, word, what in (("in_port(p0),bogus(1), actions:p1", "bogus", "bogus"),
                                 ("in_port(p0), priority:4, eth_typ(0x0800), actions:p1", "eth_typ", "eth_typ"),
                                 ("in_port(p0), actions:push_vlam(vid=5),p1", "push_vlam", "push_vlam"),
                                 ("in_port(p0), actions:p1,p77", "p77", "p77"),
                                 ("in_port(p77), actions:p1", "p77", "p77"),
                                 ("in_port(p0), priority:high, actions:p1", "high", "priority"),
                                 ("in_port(p0),udp(dst=53), actions:p1", "udp", "udp")):
            with self.subTest(text):
                done = self.run_ctl("flow", "add", text, code=1)
                column = text.index(word) + 1
                sentence, shown, caret = done.stderr.splitlines()
                self.assertTrue(sentence.startswith("sluicectl: refused ("), sentence)
                self.assertIn(what, sentence)
                self.assertEqual(shown, text)
                self.assertRegex(caret, r"^ *\^$")
                self.assertTrue(column <= len(caret) <= column + len(word) + 4, f"{text}\n{caret}")
                self.assertIn(f"line 1, column {len(caret)}: ", sentence)
        self.assertEqual(self.run_ctl("flow", "dump").stdout, "")

    def test_a_file_with_errors(self):
        text = ("# flows of the lab\n"
                "\n"
                "in_port(p0),eth_type(0x0800), actions:p1\n"
                "in_port(p0),bogus(1), actions:p1\n"
                "  # indented\n"
                "in_port(p1), priority:high, actions:p1\n"
                "flow-dump from pmd on cpu core: 1\n"
                "in_port(p1), actions:p77\n"
                "in_port(p1), actions:p2")
        path = os.path.join(self.run_dir, "flows.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = self.run_ctl("flow", "add", "--file", path, code=1)
        self.assertEqual(done.stdout, "2 added, 3 refused\n")
        errors = done.stderr.splitlines()
        self.assertEqual(len(errors), 9)
        for at, number, column, line in ((0, 4, 13, 3), (3, 6, 23, 5), (6, 8, 22, 7)):
            self.assertTrue(errors[at].startswith(f"{path}:{number}:{column}: "), errors[at])
            self.assertEqual(errors[at + 1], text.splitlines()[line])
            self.assertEqual(errors[at + 2], " " * (column - 1) + "^")
        self.assertEqual(len(self.query("flow", "dump")), 2)
        counts = self.run_ctl("--json", "flow", "add", "--file", "-", input=text, code=1)
        self.assertEqual(json.loads(counts.stdout), {"added": 2, "refused": 3})
        self.assertTrue(counts.stderr.startswith("<stdin>:4:13: "), counts.stderr)

    def test_many_flows_from_a_file(self):
        text = "".join(f"in_port(p0),eth_type(0x0800),ipv4(dst=10.0.{n // 256}.{n % 256}), actions:p1\n"
                       for n in range(5000))
        self.assertEqual(self.run_ctl("flow", "add", "--file", "-", input=text).stdout, "5000 added, 0 refused\n")
        flows = self.query("flow", "dump")
        self.assertEqual(len({flow["ufid"] for flow in flows}), 5000)
        self.assertEqual(len(flows), 5000)
        found = self.query("flow", "dump", "--filter", "ipv4(dst=10.0.3.7)")
        self.assertEqual(len(found), 1)
        self.assertIn("10.0.3.7", found[0]["match"])

    def test_a_slow_writer_s_flows_go_in_at_once(self):
        with subprocess.Popen([program("sluicectl"), "flow", "add", "--file", "-"], stdin=subprocess.PIPE, text=True,
                              stdout=subprocess.PIPE, env=environment(SLUICE_RUN_DIR=self.run_dir)) as adder:
            adder.stdin.write("in_port(p0), actions:p1\n")
            adder.stdin.flush()
            wait_until(lambda: len(self.query("flow", "dump")) == 1, "the flow")
            adder.stdin.close()
            self.assertEqual(adder.stdout.read(), "1 added, 0 refused\n")
            self.assertEqual(adder.wait(PATIENCE), 0)

    def test_a_reader_that_stops_early_is_no_error(self):
        text = "".join(f"in_port(p0),eth(dst=02:00:00:00:{n // 256:02x}:{n % 256:02x}), actions:p1\n" for n in range(3000))
        self.run_ctl("flow", "add", "--file", "-", input=text)
        done = subprocess.run(f"set -o pipefail; {program('sluicectl')} flow dump | head -n 1", shell=True, text=True,
                              executable="/bin/bash", env=environment(SLUICE_RUN_DIR=self.run_dir), capture_output=True,
                              timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr, done.stdout.count("\n")), (0, "", 1))

    def test_output_that_cannot_be_written_is_an_error(self):
        self.add("in_port(p0), actions:p1")
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([program("sluicectl"), "flow", "dump"], env=environment(SLUICE_RUN_DIR=self.run_dir),
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "sluicectl: cannot write the output: No space left on device\n"))

    def test_modify(self):
        ufid = self.add("in_port(p0),eth_type(0x0800), actions:p1", "--priority", "4")
        self.run_ctl("flow", "mod", "in_port(p0),eth_type(0x0800), priority:4, actions:p2")
        self.assertEqual(self.query("flow", "get", ufid)[0]["actions"], "p2")
        self.run_ctl("flow", "mod", f"ufid:{ufid}, actions:drop")
        flow, = self.query("flow", "dump")
        self.assertEqual((flow["ufid"], flow["priority"], flow["actions"]), (ufid, 4, "drop"))
        self.assertIn("eth_type(0x0800)", flow["match"])
        self.assertRegex(self.run_ctl("flow", "mod", "in_port(p1), actions:p2", code=1).stderr, "no_such_flow")
        self.assertRegex(self.run_ctl("flow", "mod", f"ufid:{NOWHERE}, actions:p2", code=1).stderr, "no_such_flow")
        self.assertEqual(len(self.query("flow", "dump")), 1)

    def test_delete_shows_the_last_counters(self):
        ufid = self.add("in_port(p0),eth_type(0x0800), actions:p1")
        self.wait_flow(ufid, counted, "statistics")
        self.assertRegex(self.run_ctl("flow", "del", ufid).stdout, rf"^ufid:{ufid},.*packets:7, bytes:448.*actions:p1\n$")
        done = self.run_ctl("flow", "del", ufid, code=1)
        self.assertRegex(done.stderr, r"^sluicectl: refused \(no_such_flow\): .+")
        self.assertEqual(done.stdout, "")
        self.assertRegex(self.run_ctl("flow", "get", ufid, code=1).stderr, "no_such_flow")

    def test_delete_by_match_and_by_dump_line(self):
        ufid = self.add("in_port(p0),eth_type(0x0800), actions:p1")
        self.assertIn(ufid, self.run_ctl("flow", "del", "in_port(p0),eth_type(0x0800)").stdout)
        self.add("in_port(p0),eth_type(0x0800), actions:p1")
        line = self.run_ctl("flow", "dump").stdout
        self.assertIn(ufid, self.run_ctl("flow", "del", line).stdout)
        self.assertEqual(self.run_ctl("flow", "dump").stdout, "")
        self.assertRegex(self.run_ctl("flow", "del", "in_port(p0),eth_type(0x0800)", code=1).stderr, "no_such_flow")
        self.assertRegex(self.run_ctl("flow", "del", "in_port(p0),bogus(1)", code=1).stderr, r"\n {12}\^$")

    def test_dump_and_flush_by_port(self):
        one = self.add("in_port(p0), actions:p1")
        two = self.add("in_port(p1), actions:p0")
        self.assertEqual([flow["ufid"] for flow in self.query("flow", "dump", "--port", "p1")], [two])
        self.wait_flow(one, installed, "the flow to be installed")
        self.wait_flow(two, installed, "the flow to be installed")
        self.assertEqual(len(self.query("flow", "dump", "--plugin", self.plugin)), 2)
        self.assertEqual(self.run_ctl("--json", "flow", "flush", "--port", "p0").stdout, '{"removed":1}\n')
        self.assertEqual([flow["ufid"] for flow in self.query("flow", "dump")], [two])

    def test_filter(self):
        udp = self.add(f"{MATCH}, actions:p1")
        arp = self.add("in_port(p1),eth_type(0x0806), actions:p0")
        rest = self.add("in_port(p2), actions:drop")

        def found(expression):
            return {flow["ufid"] for flow in self.query("flow", "dump", "--filter", expression)}
        self.assertEqual(found("ipv4(dst=10.0.0.5)"), {udp, rest})
        self.assertEqual(found("ipv4(dst=10.0.1.5)"), {rest})
        self.assertEqual(found("udp(dst=53)"), {udp, rest})
        self.assertEqual(found("in_port(p1)"), {arp})
        self.assertEqual(found("in_port(p0),eth_type(0x0800)"), {udp})
        wrong = self.run_ctl("flow", "dump", "--filter", "ipv4(dts=1)", code=2).stderr
        self.assertRegex(wrong, r"--filter: line 1, column \d+: (.|\n)*ipv4\(dts=1\)\n +\^")


class PortsAndPlugins(DaemonTest):
    def test_status(self):
        self.run_ctl("flow", "add", "in_port(p0), actions:p1")
        status, = self.query("status")
        self.assertLessEqual({"node", "epoch", "version", "seq", "uptime_ms", "flows", "ports", "plugins", "counters",
                              "endpoints", "publishers", "queues", "drops", "connections", "subscriptions", "rates"},
                             status.keys())
        queues = {queue["name"]: (queue["depth"], queue["limit"]) for queue in status["queues"]}
        self.assertEqual(queues["flows"], (1, 1048576))
        self.assertEqual(queues["socket.ingress"][0], None)
        self.assertIn(f"plugin.{self.plugin}.packets", queues)
        self.assertEqual(set(status["drops"].values()), {0})
        self.assertGreater(status["connections"]["control"], 0)
        self.assertEqual(status["flows"], 1)
        self.assertEqual([port["name"] for port in status["ports"]], ["p0", "p1", "p2"])
        text = self.run_ctl("status").stdout
        self.assertRegex(text, rf"(?m)^epoch +{re.escape(status['epoch'])}$")
        self.assertRegex(text, r"(?m)^flows +1$")
        self.assertRegex(text, rf"(?m)^  p1 +2 +{self.plugin} +up")
        self.assertRegex(text, r"(?m)^a second +events \d+, events_sent \d+, records \d+, upcalls \d+$")
        self.assertRegex(text, r"(?m)^monitors +0 connected$")
        self.assertRegex(text, r"(?m)^  sluicectl +1 +1 +0 +0 ")
        self.assertRegex(text, r"(?m)^  socket.events +- +10000$")
        self.assertRegex(text, r"(?m)^  ingress.records +0$")

    def test_monitors_in_status(self):
        monitor = self.start_monitor("monitor", "upcall", "heartbeat")
        monitor.wait_line("heartbeat")
        self.assertRegex(self.run_ctl("status").stdout, r"(?m)^monitors +1 connected, subscribed to heartbeat, upcall$")

    def test_publishers(self):
        monitor = self.start_monitor("monitor", "publisher.", "heartbeat")
        monitor.wait_line("heartbeat")
        # The page on the bus, to the letter: a PUB that drops and only counts.
        pub = zmq.Context.instance().socket(zmq.PUB)
        self.addCleanup(pub.close, linger=0)
        pub.connect(f"ipc://{self.run_dir}/ingress")
        account = {"publisher": "script", "publisher_run": 7, "publisher_seq": 0, "publisher_records": 0}

        def send(*matches):
            account["publisher_seq"] += 1
            body = {"flows": [{"match": match} for match in matches], **account}
            pub.send_multipart([b"flow.put", json.dumps(body).encode()])
            account["publisher_records"] += len(matches)

        def told():
            found = [one for one in self.query("status")[0]["publishers"] if one["name"] == "script"]
            return found[0] if found else {"seq": 0}

        def concluded():
            send()
            return told()["seq"] > 0
        for _ in range(10):
            send("eth_type(0x0806)", "nonsense")  # nobody has subscribed yet
        wait_until(concluded, "the empty message")
        send("eth_type(0x0806)", "nonsense")
        wait_until(lambda: told()["refused"] == 1, "the last message")
        publisher = told()
        self.assertEqual({key: publisher[key] for key in ("sent", "accepted", "refused", "dropped")},
                         {"sent": 22, "accepted": 1, "refused": 1, "dropped": 20})
        self.assertRegex(self.run_ctl("status").stdout, r"(?m)^  script +22 +1 +1 +20 ")
        self.assertRegex(monitor.wait_line("publisher.gap"),
                         r"publisher.gap script: \d+ messages with 20 records never came; in all 20 sent, 0 accepted, ")

    def test_the_python_client_settles(self):
        with sluice.Client(self.run_dir, name="me") as client:
            for number in range(100):
                client.publish("flow.put", flows=[{"match": f"eth_type({number + 2000})"}, {"match": "nonsense"}])
            client.publish("flow.flush")
            self.assertEqual(client.settle(timeout=PATIENCE),
                             {"sent": 201, "accepted": 101, "refused": 100, "dropped": 0, "under_way": 0})

    def test_ports(self):
        done = self.run_ctl("port", "add", "p3", "--plugin", self.plugin, "--option", "mode=native")
        self.assertRegex(done.stdout, rf"^p3: number \d+, plugin {self.plugin}, up")
        ports = {port["name"]: port for port in self.query("port", "list")}
        self.assertEqual(ports["p3"]["options"], {"mode": "native"})
        self.assertEqual((ports["p3"]["state"], ports["p0"]["number"]), ("up", 1))
        self.assertRegex(self.run_ctl("port", "list").stdout, r"^NAME +NUMBER +PLUGIN +STATE +MODE +NOTE\np0 +1 +")
        self.assertRegex(self.run_ctl("port", "list", "--details", "--counters").stdout, r"(?m)^p3\n    options +mode=native$")
        self.assertEqual(self.run_ctl("port", "del", "p3").stdout, "")
        self.assertNotIn("p3", self.run_ctl("port", "list").stdout)

    def test_ports_that_cannot_be(self):
        self.assertRegex(self.run_ctl("port", "add", "bad0", "--plugin", self.plugin, code=1).stderr,
                         r"there is no device bad0")
        self.assertRegex(self.run_ctl("port", "del", "p9", code=1).stderr, r"refused \(\w+\): .*p9")
        self.assertNotIn("bad0", self.run_ctl("port", "list").stdout)

    def test_plugins(self):
        plugin, = self.query("plugin", "list")
        self.assertEqual((plugin["state"], plugin["version"], plugin["isolation"]), ("running", "1.0", "thread"))
        self.assertRegex(self.run_ctl("plugin", "list").stdout, rf"(?m)^{self.plugin} +1\.0 +running +thread +0 ")
        self.assertIn("output,drop", self.run_ctl("plugin", "list", "--details").stdout)
        self.run_ctl("plugin", "reload", self.plugin)
        self.assertEqual(self.query("plugin", "list")[0]["state"], "running")
        self.run_ctl("plugin", "unload", self.plugin)
        self.assertEqual(self.query("plugin", "list"), [])

    def test_plugins_that_cannot_be(self):
        for args, pattern in ((("load", "nosuch"), "nosuch"), (("load", "/dev/null"), "/dev/null"),
                              (("unload", "nosuch"), "nosuch"), (("reload", "nosuch"), "nosuch")):
            with self.subTest(args):
                done = self.run_ctl("plugin", *args, code=1)
                self.assertRegex(done.stderr, rf"^sluicectl: refused \(\w+\): .*{pattern}")
        self.assertEqual(len(self.query("plugin", "list")), 1)

    def test_packet_out(self):
        frame = "ffffffffffff 02:00:00:00:00:01 88b5 " + "00" * 46
        self.assertEqual(self.run_ctl("packet", "out", "--in-port", "p0", "--hex", frame).stdout, "")
        self.run_ctl("packet", "out", "--in-port", "p0", "--hex", *frame.split(), "--actions", "p1,p2")
        self.assertRegex(self.run_ctl("packet", "out", "--in-port", "p77", "--hex", frame, code=1).stderr, "p77")
        self.assertRegex(self.run_ctl("packet", "out", "--in-port", "p0", "--hex", frame, "--actions", "p1,p77",
                                      code=1).stderr, r"p77(.|\n)*p1,p77\n   \^")


class Monitor(DaemonTest):
    def wait_event(self, monitor, topic):
        """Not only its name: a heartbeat has those of all."""
        wait_until(lambda: any(json.loads(line)["topic"] == topic for line in monitor.lines()), f"an event {topic}")

    def test_events_as_json(self):
        monitor = self.start_monitor("--json", "monitor")
        monitor.wait_line("heartbeat")
        ufid = self.query("flow", "add", "in_port(p0), actions:p1")[0]["ufid"]
        self.wait_event(monitor, "flow.stats")
        self.run_ctl("flow", "del", ufid)
        self.wait_event(monitor, "flow.del")
        events = [json.loads(line) for line in monitor.lines()]
        for event in events:
            self.assertLessEqual(EVENT_KEYS, event.keys())
            if event["topic"].startswith("flow."):
                self.assertLessEqual(FLOW_KEYS, event["flow"].keys())
                self.assertEqual(event["flow"]["ufid"], ufid)
        self.assertEqual([event["topic"] for event in events if event["topic"] in ("flow.add", "flow.del")],
                         ["flow.add", "flow.del"])
        self.assertEqual(next(event for event in events if event["topic"] == "flow.del")["cause"], "request")
        self.assertEqual(len({event["epoch"] for event in events}), 1)
        sequence = [event["seq"] for event in events]
        self.assertEqual(sequence, sorted(sequence))

    def test_events_as_text(self):
        monitor = self.start_monitor("monitor", "flow.", "heartbeat")
        monitor.wait_line("heartbeat")
        self.run_ctl("port", "del", "p2")
        self.run_ctl("flow", "add", "in_port(p0), actions:p1")
        self.assertRegex(monitor.wait_line("flow.add"),
                         r"^\d\d:\d\d:\d\d\.\d{6} #\d+ flow\.add ufid:[-0-9a-f]+,.*in_port\(p0\).*actions:p1$")
        self.assertFalse([line for line in monitor.lines() if "port.del" in line])

    def test_it_ends_with_0_on_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            monitor = self.start_monitor("monitor", "heartbeat")
            monitor.wait_line("heartbeat")
            monitor.process.send_signal(number)
            self.assertEqual(monitor.process.wait(PATIENCE), 0)
            self.assertEqual(monitor.process.stderr.read(), "")

    def test_it_ends_with_0_when_nobody_reads(self):
        for topic in ("heartbeat", "plugin."):  # with and without something to write
            with subprocess.Popen([program("sluicectl"), "monitor", topic], stdout=subprocess.PIPE,
                                  env=environment(SLUICE_RUN_DIR=self.run_dir)) as monitor:
                if topic == "heartbeat":
                    self.assertIn(b"heartbeat", monitor.stdout.readline())
                monitor.stdout.close()
                self.assertEqual(monitor.wait(PATIENCE), 0)

    def test_count(self):
        self.assertEqual(len(self.query("monitor", "heartbeat", "--count", "2")), 2)

    def test_snapshot(self):
        for port in ("p0", "p1"):
            self.run_ctl("flow", "add", f"in_port({port}), actions:drop")
        monitor = self.start_monitor("--json", "monitor", "--snapshot", "flow.add", "flow.del")
        monitor.wait_line("snapshot.done")
        lines = [json.loads(line) for line in monitor.lines()]
        self.assertEqual([line["topic"] for line in lines],
                         ["snapshot.start", "snapshot.flow", "snapshot.flow", "snapshot.done"])
        self.run_ctl("flow", "add", "in_port(p2), actions:drop")
        monitor.wait_line("flow.add")

    def test_it_says_that_the_daemon_has_gone_and_waits(self):
        monitor = self.start_monitor("--json", "monitor", "heartbeat")
        monitor.wait_line("heartbeat")
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            monitor.wait_line("monitor.silent")
            began = subprocess.run([program("sluicectl"), "status"], env=environment(SLUICE_RUN_DIR=self.run_dir),
                                   capture_output=True, text=True, timeout=10, check=False)
            self.assertEqual(began.returncode, 3)
            self.assertIn(self.run_dir, began.stderr)
        finally:
            self.daemon.send_signal(signal.SIGCONT)
        silent = len(monitor.lines())
        wait_until(lambda: len(monitor.lines()) > silent, "the next heartbeat")


class Endpoints(DaemonTest):
    def test_by_directory_and_by_url(self):
        for where in (self.run_dir, f"ipc://{self.run_dir}/control"):
            done = sluicectl("--endpoint", where, "--json", "status", run_dir="/nonexistent")
            self.assertEqual(done.returncode, 0, done.stderr)
            done = sluicectl("--endpoint", where, "--json", "monitor", "heartbeat", "--count", "1", run_dir="/nonexistent")
            self.assertEqual(json.loads(done.stdout)["topic"], "heartbeat")

    def test_by_a_relative_directory(self):
        above, name = os.path.split(self.run_dir)
        done = subprocess.run([program("sluicectl"), "--endpoint", name, "--json", "monitor", "heartbeat", "--count", "1"],
                              cwd=above, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, json.loads(done.stdout)["topic"]), (0, "heartbeat"), done.stderr)


if __name__ == "__main__":
    unittest.main()
