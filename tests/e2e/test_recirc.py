# SPDX-License-Identifier: Apache-2.0
"""Passes after the first: what needs the recirc plugin with it and without it, and packets that take wrong ways."""
import os
import signal

from harness import SluiceTest, main, wait_until, wire

NEEDS = "recirc, tnl_* and ct need the recirc plugin: sluicectl plugin load recirc"
FIRST = "in_port(p0),eth_type(0x88b5), actions:recirc(0x1)"
SECOND = "recirc_id(0x1),in_port(p0),eth_type(0x88b5), actions:p1"


class Recirc(SluiceTest):
    isolation = "thread"

    def setUp(self):
        super().setUp()
        self.one, self.two = self.hosts

    def load(self, *options):
        self.lab.ctl("plugin", "load", "recirc", "--isolation", self.isolation, *options)

    def plugin(self, name="recirc"):
        return next((plugin for plugin in self.lab.query("plugin", "list") if plugin["name"] == name), None)

    def add(self, text):
        return self.lab.query("flow", "add", text)[0]["ufid"]

    def state(self, ufid):
        return self.flow(ufid)["offload"][0]

    def wait_state(self, ufid, state, reason=""):
        wait_until(lambda: (self.state(ufid)["state"], self.state(ufid).get("reason", "")) == (state, reason),
                   f"flow {ufid} to be {state}, {reason}")
        return self.state(ufid).get("detail", "")

    def counter(self, name, port="p0"):
        return self.lab.counters()[port].get(name, 0)

    def wait_counts(self, counts):
        """Of p0, exactly."""
        wait_until(lambda: all(self.counter(name) >= count for name, count in counts.items()), f"{counts} in p0's counters",
                   timeout=5)
        self.assertEqual({name: self.counter(name) for name in counts}, counts)

    def assertArrive(self, count, **kwargs):
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, count, **kwargs)
            self.assertEqual(receiver.wait(count), count)

    def assertNoneMissed(self):
        self.assertEqual(sum(port.get("missed_tail_call", 0) for port in self.lab.counters().values()), 0)


class Lifecycle(Recirc):
    def test_refused_without_it_and_installed_with_it(self):
        plain = self.add_flow("in_port(p1),eth_type(0x88b5), actions:p0")
        flows = [self.add(text) for text in (
            FIRST, SECOND, "in_port(p0),eth_type(0x0800), actions:ct(commit),p1",
            "in_port(p0),eth_type(0x86dd), actions:ct_clear,recirc(0x2)",
            "recirc_id(0x3),ct_state(+trk+est),eth_type(0x0800), actions:p1")]
        for ufid in flows:
            self.assertEqual(self.wait_state(ufid, "refused", "needs_recirc"), NEEDS)
        self.load()
        for ufid in flows:
            self.wait_state(ufid, "installed")
        self.assertArrive(100)
        self.wait_packets(flows[0], 100)
        self.wait_packets(flows[1], 100)
        self.lab.ctl("plugin", "unload", "recirc")
        for ufid in flows:
            self.assertEqual(self.wait_state(ufid, "refused", "needs_recirc"), NEEDS)
        self.assertEqual(self.state(plain)["state"], "installed")
        self.load()
        self.wait_state(flows[0], "installed")
        self.wait_state(flows[1], "installed")
        self.assertArrive(100, first=1000)
        self.assertNoneMissed()

    def test_it_says_what_it_adds(self):
        self.load()
        plugin = self.plugin()
        self.assertEqual((plugin["state"], plugin["pending"]), ("running", "0") if isinstance(plugin["pending"], str) else
                         ("running", 0))
        offers = plugin["capabilities"]
        self.assertLessEqual({"recirc", "tnl_pop", "tnl_push", "set(tunnel)"}, set(offers["actions"]))
        self.assertLessEqual({"recirc_id", "tun_id", "tun_src", "ct_state", "ct_mark"}, set(offers["fields"]))
        self.assertTrue(offers["provides"]["xdp.passes"].endswith(".bpf.o"))
        # It has no word on flows, so nobody waits for it.
        self.assertEqual([entry["plugin"] for entry in self.flow(self.add_flow(FIRST))["offload"]], ["xdp"])

    def test_loaded_before_the_xdp_plugin(self):
        ufid = self.add(FIRST)
        self.add(SECOND)
        self.lab.ctl("plugin", "unload", "xdp")
        self.load()
        self.lab.ctl("plugin", "load", "xdp")
        self.wait_ports_up()
        self.wait_state(ufid, "installed")
        self.assertArrive(10)

    def test_reloads_and_what_is_kept(self):
        self.load()
        first, second = self.add_flow(FIRST), self.add_flow(SECOND)
        self.lab.ctl("plugin", "reload", "recirc")
        self.wait_state(first, "installed")
        self.lab.ctl("plugin", "unload", "recirc", "--keep")  # until another one is loaded
        self.assertIsNone(self.plugin())
        self.assertEqual(self.state(second)["state"], "installed")
        self.assertArrive(100)
        self.load()
        self.lab.ctl("plugin", "reload", "xdp")
        self.wait_ports_up()
        self.wait_state(first, "installed")
        self.wait_state(second, "installed")
        self.assertArrive(100, first=1000)
        self.wait_packets(second, 200)
        self.assertNoneMissed()

    def test_it_cannot_be_loaded(self):
        self.assertRefused(1, "no BPF object .*nothing.bpf.o", "plugin", "load", "recirc", "--option", "object=nothing.bpf.o")
        self.assertRefused(1, "sluice_xdp.bpf.o", "plugin", "load", "recirc", "--option", "object=sluice_xdp.bpf.o")
        self.assertRefused(1, "no option 'depht'", "plugin", "load", "recirc", "--option", "depht=3")
        self.assertIsNone(self.plugin())
        self.load()
        self.assertRefused(1, "has no ports", "port", "add", "p2", "--plugin", "recirc")


class InAProcess(Recirc):
    isolation = "process"

    def test_its_death_changes_nothing(self):
        self.load()
        first, second = self.add_flow(FIRST), self.add_flow(SECOND)
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, 1000)
            wait_until(lambda: len(receiver) > 100, "packets to flow")
            before = self.plugin()["pid"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: self.plugin()["state"] == "running" and self.plugin()["pid"] != before, "another process")
            self.wait_state(first, "installed")
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + 1500, "packets to flow on")
            sent = sender.stop()
            self.assertEqual(receiver.wait(sent), sent)
        self.wait_packets(first, sent)
        self.wait_packets(second, sent)
        self.assertNoneMissed()


class WrongWays(Recirc):
    def setUp(self):
        super().setUp()
        self.load()

    def test_a_loop_ends_after_eight_passes(self):
        self.add_flow(FIRST)
        loop = self.add_flow("recirc_id(0x1),in_port(p0),eth_type(0x88b5), actions:recirc(0x1)")
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, 50)
            self.wait_counts({"depth_exceeded": 50})
            self.assertEqual(len(receiver), 0)
        self.wait_packets(loop, 50 * 8)

    def test_eight_passes_are_taken(self):
        self.add_flow(FIRST)
        for number in range(1, 8):
            self.add_flow(f"recirc_id({number}),in_port(p0),eth_type(0x88b5), actions:recirc({number + 1})")
        last = self.add_flow("recirc_id(8),in_port(p0),eth_type(0x88b5), actions:p1")
        self.assertArrive(50)
        self.wait_packets(last, 50)
        self.assertEqual(self.counter("depth_exceeded"), 0)

    def test_a_pass_without_a_flow_is_a_miss_that_says_where(self):
        self.add_flow(FIRST)
        monitor = self.lab.start("monitor", [self.lab.program("sluicectl"), "--endpoint", self.lab.run_dir, "--json",
                                             "monitor", "upcall", "heartbeat"])
        monitor.wait_for("heartbeat")
        self.send(self.one, self.two, 1)
        monitor.wait_for("recirc_id(0x1)")
        self.assertIn("0x88b5", monitor.output())
        self.wait_counts({"pass_miss": 1})
        self.add_flow(SECOND)  # as who had the upcall would
        self.assertArrive(10, first=1)

    def test_packets_are_looked_up_as_rewritten(self):
        self.add_flow("in_port(p0),eth_type(0x88b5), "
                      "actions:set(eth(src=02:00:00:00:00:77)),push_vlan(vid=7,pcp=0),recirc(0x1)")
        other = self.add_flow("recirc_id(0x1),in_port(p0),eth_type(0x8100),vlan(vid=7),encap(eth_type(0x88b5)), "
                              "actions:pop_vlan,recirc(0x2)")
        last = self.add_flow("recirc_id(0x2),in_port(p0),eth(src=02:00:00:00:00:77),eth_type(0x88b5), actions:p1")
        self.assertArrive(20)
        self.wait_packets(other, 20)
        self.wait_packets(last, 20)

    def test_a_flow_without_in_port_takes_those_of_all(self):
        for port in ("p0", "p1"):
            self.add_flow(f"in_port({port}),eth_type(0x88b5), actions:recirc(0x1)")
        both = self.add_flow("recirc_id(0x1),eth_type(0x88b5), actions:drop")
        self.send(self.one, self.two, 30)
        self.send(self.two, self.one, 12)
        self.wait_packets(both, 42)
        self.wait_counts({"drop": 30})
        self.assertEqual(self.counter("drop", "p1"), 12)

    def test_what_cannot_be_is_refused_by_name(self):
        for text, says in (
                ("in_port(p0),eth_type(0x88b5), actions:recirc(0x1),p1", "recirc"),
                ("in_port(p0),eth_type(0x88b5), actions:p1,recirc(0x1)", "recirc"),
                ("in_port(p0),eth_type(0x0800), actions:ct,set(ipv4(ttl=3)),recirc(0x1)", "set|ct")):
            ufid = self.add(text)
            self.assertRegex(self.wait_state(ufid, "refused", "unsupported_action"), says)
        self.assertRefused(1, "zone", "flow", "add", "in_port(p0),eth_type(0x0800), actions:ct(zone=65536),recirc(0x1)")

    def test_ct_of_what_is_not_ip(self):
        self.add_flow("in_port(p0),eth_type(0x88b5), actions:ct,recirc(0x1)")
        untracked = self.add_flow("recirc_id(0x1),in_port(p0),ct_state(-trk),eth_type(0x88b5), actions:p1")
        self.assertArrive(20)
        self.wait_packets(untracked, 20)
        self.wait_counts({"ct_untracked": 20})


class WithoutPermission(SluiceTest):
    daemon_args = None

    def test_it_says_what_it_lacks(self):
        argv = ["setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin", self.lab.program("sluiced"),
                "--run-dir", self.lab.run_dir]
        self.lab.daemon = self.lab.start("sluiced", argv, self.lab.switch)
        wait_until(lambda: self.lab.ctl("status", check=False).returncode == 0, "sluiced to answer", timeout=30)
        self.assertRefused(1, "the recirc plugin needs CAP_BPF", "plugin", "load", "recirc")


if __name__ == "__main__":
    main()
