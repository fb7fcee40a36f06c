# SPDX-License-Identifier: Apache-2.0
"""Ports come and go, and what happens to packets that no flow matches."""
import os

from harness import SluiceTest, main, run, wait_until, wire


class Ports(SluiceTest):
    ports = ("p0", "p1", "p2")

    def port(self, name):
        return next(port for port in self.lab.query("port", "list") if port["name"] == name)

    def numbers(self):
        return {port["name"]: port["number"] for port in self.lab.query("port", "list")}

    def wait_refused(self, ufid):
        wait_until(lambda: self.flow(ufid)["offload"][0]["state"] == "refused", f"flow {ufid} to be refused")

    def offloads(self):
        """What port add may change on a veth pair."""
        text = ""
        for host in self.hosts:
            for namespace, device in ((self.lab.switch, host.port), (host.namespace, "eth0")):
                text += run("nsenter", f"--net=/run/netns/{namespace}", "ethtool", "-k", device).stdout
                text += run("ip", "-n", namespace, "-o", "link", "show", device).stdout.split("xdp")[0]
        return text

    def test_other_ports_forward_while_one_comes_and_goes(self):
        one, two, three = self.hosts
        kept = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        gone = self.add_flow("in_port(p2),eth_type(0x88b5), actions:p1")
        with wire.Receiver(two) as receiver:
            sender = wire.Sender(one, two.mac, 1000)
            for _ in range(5):
                self.lab.ctl("port", "del", "p2")
                self.assertNotEqual(self.flow(gone)["offload"][0]["state"], "installed")
                self.lab.ctl("port", "add", "p2")
                self.wait_installed(gone)
            count = sender.stop()
            self.assertEqual(receiver.wait(count), count, "packets were lost")
        self.wait_packets(kept, count)
        self.send(three, two, 10)
        self.wait_packets(gone, 10)

    def take_away(self, how):
        """p2's device vanishes from the switch; returns what brings it back."""
        switch, host = self.lab.switch, self.hosts[2]

        def remade():
            run("ip", "link", "add", "p2", "netns", switch, "type", "veth", "peer", "name", "eth0",
                "netns", host.namespace)
            run("ip", "-n", host.namespace, "link", "set", "eth0", "address", host.mac, "addrgenmode", "none", "up")
            run("ip", "-n", switch, "link", "set", "p2", "addrgenmode", "none", "up")

        def moved_back():
            run("ip", "-n", host.namespace, "link", "set", "p2", "netns", switch)
            run("ip", "-n", switch, "link", "set", "p2", "up")

        def named_back():
            run("ip", "-n", switch, "link", "set", "q2", "name", "p2")
            run("ip", "-n", switch, "link", "set", "p2", "up")

        if how == "deleted":
            run("ip", "-n", switch, "link", "del", "p2")
            return remade
        if how == "moved":
            run("ip", "-n", switch, "link", "set", "p2", "netns", host.namespace)
            return moved_back
        run("ip", "-n", switch, "link", "set", "p2", "down")
        run("ip", "-n", switch, "link", "set", "p2", "name", "q2")
        return named_back

    def test_a_device_that_vanishes_and_returns_gets_its_flows_back(self):
        one, two, three = self.hosts
        kept = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        from_it = self.add_flow("in_port(p2),eth_type(0x88b5), actions:p1")
        to_it = self.add_flow("in_port(p1),eth_type(0x88b5), actions:p2")
        numbers = self.numbers()
        with wire.Receiver(two) as receiver:
            sender = wire.Sender(one, two.mac, 1000)
            for rounds, how in enumerate(("deleted", "moved", "renamed"), 1):
                bring_back = self.take_away(how)
                wait_until(lambda: self.port("p2")["state"] == "gone", f"p2 to be {how}", timeout=5)
                for ufid in (from_it, to_it):
                    self.wait_refused(ufid)
                bring_back()
                for ufid in (from_it, to_it):
                    self.wait_installed(ufid)
                self.send(three, two, 10, first=1_000_000 * rounds)
                self.wait_packets(from_it, 10 * rounds)
                with wire.Receiver(three) as returned:
                    self.send(two, three, 10)
                    self.assertEqual(returned.wait(10), 10, how)
                self.wait_packets(to_it, 10 * rounds)
            count = sender.stop()
            self.assertEqual(receiver.wait(count + 30), count + 30, "packets were lost")
        self.wait_packets(kept, count)
        self.assertEqual(self.flow(kept)["bytes"], 60 * count)
        self.assertEqual(self.numbers(), numbers)

    def test_a_device_that_is_away_for_a_moment_only_gets_its_flows_back(self):
        """It is there again before anybody looks, with its number and its program; but the kernel has taken it out of
        every map of devices."""
        _, two, three = self.hosts
        from_it = self.add_flow("in_port(p2),eth_type(0x88b5), actions:p1")
        to_it = self.add_flow("in_port(p1),eth_type(0x88b5), actions:p2")
        for number in range(10):
            run("sh", "-c", f"ip -n {self.lab.switch} link set p2 netns {three.namespace} && "
                            f"ip -n {three.namespace} link set p2 netns {self.lab.switch} && "
                            f"ip -n {self.lab.switch} link set p2 up")

            def passes():
                with wire.Receiver(two) as second, wire.Receiver(three) as third:
                    self.send(three, two, 10, first=100 * number)
                    self.send(two, three, 10, first=100 * number)
                    return (second.wait(10, 0.3), third.wait(10, 0.3)) == (10, 10)
            wait_until(passes, "packets to pass in both directions")
            for ufid in (from_it, to_it):
                self.wait_installed(ufid)

    def test_a_number_is_not_used_again_while_flows_refer_to_it(self):
        numbers = self.numbers()
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p2")
        self.lab.ctl("port", "del", "p2")
        run("ip", "-n", self.lab.switch, "link", "set", "p2", "down")
        run("ip", "-n", self.lab.switch, "link", "set", "p2", "name", "q2")
        self.lab.ctl("port", "add", "q2")
        self.assertNotIn(self.numbers()["q2"], numbers.values())
        self.assertEqual(self.flow(ufid)["actions"], "p2")
        self.lab.ctl("flow", "del", ufid)
        self.lab.ctl("port", "del", "q2")
        self.lab.ctl("port", "add", "q2")
        self.assertIn(self.numbers()["q2"], numbers.values())

    def test_another_program_is_replaced_only_when_told(self):
        """The other program is that of a second daemon, and held by a bpf_link."""
        run_dir = os.path.join(self.lab.run_dir, "second")
        os.mkdir(run_dir)
        self.lab.start("second", [self.lab.program("sluiced"), "--run-dir", run_dir, "--plugin", "xdp"],
                       self.lab.switch)

        def second(*args, check=True):
            return self.lab.ctl("--endpoint", run_dir, "--json", *args, check=check)
        wait_until(lambda: second("status", check=False).returncode == 0, "the second sluiced to answer")
        wait_until(lambda: '"running"' in second("plugin", "list").stdout, "its plugin to run")
        refused = second("port", "add", "p0", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, r"p0 has an XDP program already: 'sluice_xdp' \(id \d+\), in native mode")
        self.assertIn("--option replace=yes", refused.stderr)
        self.assertEqual(self.port("p0")["state"], "up")

        # Its queue it keeps: whoever wants upcalls cannot have the port, and nothing has been touched.
        refused = second("port", "add", "p0", "--option", "replace=yes", check=False)
        self.assertIn("queue 0 of p0: Device or resource busy; another program's AF_XDP socket", refused.stderr)
        self.assertEqual(self.port("p0")["state"], "up")

        second("port", "add", "p0", "--option", "replace=yes", "--option", "miss=drop")
        self.assertIn("upcalls are lost from 1 of 1 receive queues", second("port", "list").stdout)
        self.assertRegex(second("port", "list").stdout, r"'sluice_xdp' \(id \d+\), in native mode, by bpf_link \d+")
        wait_until(lambda: self.port("p0")["state"] == "failed", "the first daemon to see it")
        self.assertIn("taken off by somebody else", self.port("p0")["detail"])
        self.assertEqual([self.port(name)["state"] for name in ("p1", "p2")], ["up", "up"])

        second("port", "del", "p0")
        wait_until(lambda: self.port("p0")["state"] == "up", "the first daemon to have it again")

    def test_a_port_keeps_its_number_while_flows_name_it(self):
        before = {port["name"]: port["number"] for port in self.lab.query("port", "list")}
        self.add_flow("in_port(p2),eth_type(0x88b5), actions:p1")
        self.lab.ctl("port", "del", "p2")
        self.lab.ctl("port", "add", "p2")
        after = {port["name"]: port["number"] for port in self.lab.query("port", "list")}
        self.assertEqual(before, after)

    def test_port_del_undoes_what_port_add_changed(self):
        with_ports = self.offloads()
        for port in self.ports:
            self.lab.ctl("port", "del", port)
        without = self.offloads()
        for port in self.ports:
            self.lab.ctl("port", "add", port)
        self.assertEqual(self.offloads(), with_ports)
        for port in self.ports:
            self.lab.ctl("port", "del", port)
        self.assertEqual(self.offloads(), without)
        self.assertEqual(run("ip", "-n", self.lab.switch, "link").stdout.count("xdp"), 0)

    def test_a_clean_end_leaves_devices_as_they_were(self):
        self.assertIn("xdp", run("ip", "-n", self.lab.switch, "link").stdout)
        self.assertEqual(self.lab.daemon.stop(), 0)
        self.assertNotIn("xdp", run("ip", "-n", self.lab.switch, "link").stdout)
        names = set(os.listdir(self.lab.run_dir)) - {"log", "sluiced.lock"}  # a lock file that goes could be held twice
        self.assertEqual(names, set(), "left in the run directory")

    def test_a_device_that_vanishes_is_seen(self):
        ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")
        run("ip", "-n", self.lab.switch, "link", "del", "p2")
        wait_until(lambda: {p["name"]: p["state"] for p in self.lab.query("port", "list")}["p2"] == "gone",
                   "p2 to be gone", timeout=5)
        self.send(*self.hosts[:2], 10)
        self.wait_packets(ufid, 10)

    def test_kernel_tcp_between_hosts_works_as_ports_are_added(self):
        """Partial checksums and the missing GRO of a plain veth pair are dealt with."""
        one, two, _ = self.hosts
        self.add_flow("in_port(p0), actions:p1")
        self.add_flow("in_port(p1), actions:p0")
        self.assertPings(one, two)
        server = two.start("iperf3", "iperf3", "-s", "-1", "--forceflush")
        server.wait_for("Server listening")
        done = one.run("iperf3", "-c", two.ip, "-t", "1", "-f", "m")
        self.assertIn("iperf Done", done.stdout)

    def test_the_port_list_shows_what_is_in_force(self):
        for port in self.lab.query("port", "list"):
            self.assertEqual((port["state"], port["plugin"], port["info"]["mode"]), ("up", "xdp", "native"))
            self.assertGreater(port["number"], 0)

    def test_names_and_devices_that_are_not(self):
        self.assertRefused(1, "nosuch", "port", "add", "nosuch")
        self.assertRefused(1, "nosuch", "port", "del", "nosuch")
        self.assertRefused(1, "nosuch", "port", "add", "p0x", "--plugin", "nosuch")
        self.assertRefused(1, "mode", "port", "add", "eth9", "--option", "mode=warp")
        self.assertRefused(1, "p0", "port", "add", "p0")
        self.assertRefused(1, "nosuch", "flow", "add", "in_port(nosuch), actions:p1")
        self.assertRefused(1, "nosuch", "flow", "add", "in_port(p0), actions:nosuch")
        self.assertEqual({port["name"] for port in self.lab.query("port", "list")}, set(self.ports))
        self.assertEqual(self.lab.flows(), {})


class MissPass(SluiceTest):
    port_options = "miss=pass"

    def test_unmatched_packets_reach_the_kernel(self):
        run("ip", "-n", self.lab.switch, "addr", "add", "10.0.0.100/24", "dev", "p0")
        self.hosts[0].run("ping", "-c", "3", "-i", "0.1", "-W", "2", "10.0.0.100")
        self.wait_counter("p0", "miss_pass", 3)


class MissDrop(SluiceTest):
    port_options = "miss=drop"

    def test_unmatched_packets_are_dropped_and_counted(self):
        one, two = self.hosts
        run("ip", "-n", self.lab.switch, "addr", "add", "10.0.0.100/24", "dev", "p0")
        before = self.lab.counters()["p0"]
        self.send(one, two, 1000)
        done = one.run("ping", "-c", "2", "-i", "0.1", "-W", "0.3", "10.0.0.100", check=False)
        self.assertIn(" 0 received", done.stdout)
        self.wait_counter("p0", "miss_drop", before.get("miss_drop", 0) + 1000)


class MissUpcall(SluiceTest):
    port_options = "miss=upcall,upcall_rate=100"

    def test_upcalls_carry_the_packet_and_are_limited(self):
        one, two = self.hosts
        monitor = self.lab.start("monitor", [self.lab.program("sluicectl"), "--endpoint", self.lab.run_dir, "--json",
                                             "monitor", "upcall", "heartbeat"])
        wait_until(lambda: "heartbeat" in monitor.output(), "a heartbeat")
        self.send(one, two, 2000)
        wait_until(lambda: monitor.output().count('"upcall"') > 0, "an upcall")
        self.wait_counter("p0", "upcall_limited", 1)
        monitor.stop()
        seen = sum('"topic":"upcall"' in line.replace(" ", "") for line in monitor.output().splitlines())
        self.assertLess(seen, 1000)
        self.assertIn("eth_type(0x88b5)", monitor.output())


if __name__ == "__main__":
    main()
