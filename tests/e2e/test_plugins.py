# SPDX-License-Identifier: Apache-2.0
"""Plugins are loaded, unloaded, reloaded and killed while packets flow."""
import os
import signal
import sys

from harness import BUILD_DIR, SluiceTest, main, wait_until, wire

RATE = 1000


class Plugins:
    """The same for both isolations."""

    isolation = None
    daemon_args = ()

    def setUp(self):
        self.wanted_ports, self.ports = self.ports, ()
        super().setUp()
        self.ports = self.wanted_ports
        for port in self.ports:
            self.lab.add_host(port).address()
        self.load()
        for port in self.ports:
            self.lab.ctl("port", "add", port)
        self.one, self.two = self.lab.hosts
        self.ufid = self.add_flow("in_port(p0),eth_type(0x88b5), actions:p1")

    def load(self):
        self.lab.ctl("plugin", "load", "xdp", "--isolation", self.isolation)

    def plugin(self):
        plugins = [plugin for plugin in self.lab.query("plugin", "list") if plugin["name"] == "xdp"]
        return plugins[0] if plugins else None

    def under_traffic(self, act):
        """Returns (sent, lost) with packets flowing before, while and after `act()` is done."""
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RATE)
            wait_until(lambda: len(receiver) > 100, "packets to flow")
            act()
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + 200, "packets to flow again")
            sent = sender.stop()
            receiver.wait(sent, timeout=1)
            self.assertEqual(receiver.duplicates, 0)
            lost = sent - len(receiver)
        print(f"{self.id()}: {lost} of {sent} lost at {RATE}/s", file=sys.stderr)
        return sent, lost

    def test_isolation_is_what_was_asked_for(self):
        plugin = self.plugin()
        self.assertEqual((plugin["state"], plugin["isolation"]), ("running", self.isolation))
        if self.isolation == "process":
            self.assertIn("sluice-plugin-host", os.readlink(f"/proc/{plugin['pid']}/exe"))

    def test_unload_keeps_the_table_and_load_installs_it_again(self):
        def act():
            self.lab.ctl("plugin", "unload", "xdp")
            self.assertIsNone(self.plugin())
            self.assertFalse([o for o in self.flow(self.ufid)["offload"] if o["state"] == "installed"])
            self.assertEqual({port["state"] for port in self.lab.query("port", "list")}, {"pending"})
            self.load()
            self.wait_ports_up()
            self.wait_installed(self.ufid)
        sent, lost = self.under_traffic(act)
        self.assertLess(lost, sent)
        self.wait_packets(self.ufid, sent - lost)

    def test_reload_under_traffic(self):
        def act():
            for _ in range(3):
                self.lab.ctl("plugin", "reload", "xdp")
                self.wait_ports_up()
                self.wait_installed(self.ufid)
        sent, lost = self.under_traffic(act)
        self.assertEqual(lost, 0)
        self.wait_packets(self.ufid, sent)

    def test_kept_flows_forward_without_the_plugin(self):
        def act():
            self.lab.ctl("plugin", "unload", "xdp", "--keep")
            self.assertIsNone(self.plugin())
            with wire.Receiver(self.two, 0x88b6) as receiver:
                self.send(self.one, self.two, 1, eth_type=0x88b6)  # no flow takes it: it must not stop the others
                self.assertEqual(len(receiver), 0)
            self.load()
            self.lab.wait_ports_up(self.ports)
            self.wait_installed(self.ufid)
        sent, lost = self.under_traffic(act)
        self.assertEqual(lost, 0)
        self.wait_packets(self.ufid, sent)

    def test_many_reloads_leave_nothing(self):
        for _ in range(10):
            self.lab.ctl("plugin", "reload", "xdp")
        self.wait_ports_up()
        self.wait_installed(self.ufid)
        pid = self.plugin().get("pid") or self.lab.daemon.pid
        with open(f"/proc/{pid}/maps") as maps:
            # A library is mapped in a handful of parts; ten left behind would be fifty.
            parts = [line for line in maps if "xdp" in line and ".so" in line and "libxdp" not in line]
        self.assertLess(len(parts), 10, parts)

    def test_another_plugin_s_process_keeps_nothing_of_it(self):
        other = os.path.join(BUILD_DIR, "tests", "conformance", "unix_switch.so")
        self.lab.ctl("plugin", "load", other, "--isolation", "process")
        pid = next(plugin["pid"] for plugin in self.lab.query("plugin", "list") if plugin["name"] == "unix_switch")
        held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        self.assertEqual([what for what in held if "bpf" in what], [])
        self.lab.ctl("plugin", "unload", "xdp")
        self.load()  # which is refused the queues of the devices, where somebody has their sockets
        self.wait_ports_up()

        def verdicts():
            return {offload["plugin"]: offload["state"] for offload in self.flow(self.ufid)["offload"]}
        wait_until(lambda: verdicts() == {"xdp": "installed", "unix_switch": "refused"}, "both verdicts")

    def test_a_plugin_of_another_abi_is_refused(self):
        path = os.path.join(BUILD_DIR, "tests", "e2e", "wrong_abi.so")
        self.assertRefused(1, "ABI", "plugin", "load", path, "--isolation", self.isolation)
        self.assertEqual([plugin["name"] for plugin in self.lab.query("plugin", "list")], ["xdp"])
        self.wait_installed(self.ufid)

    def test_what_is_no_plugin_is_refused(self):
        self.assertRefused(1, "nosuch", "plugin", "load", "nosuch", "--isolation", self.isolation)
        self.assertRefused(1, "nosuch", "plugin", "unload", "nosuch")
        self.assertRefused(1, "nosuch", "plugin", "reload", "nosuch")
        self.assertRefused(1, "xdp", "plugin", "load", "xdp")
        self.assertRefused(1, "sluice_plugin|not a plugin|libsluice", "plugin", "load",
                           os.path.join(BUILD_DIR, "lib", "libsluice.so"), "--isolation", self.isolation)
        self.assertRefused(1, "passwd", "plugin", "load", "/etc/passwd", "--isolation", self.isolation)

    def test_the_daemon_ends_cleanly_with_it(self):
        self.assertEqual(self.lab.daemon.stop(), 0)


class Thread(Plugins, SluiceTest):
    isolation = "thread"


class ProcessIsolation(Plugins, SluiceTest):
    isolation = "process"

    def test_a_killed_host_takes_nothing_else_down(self):
        os.kill(self.plugin()["pid"], signal.SIGKILL)
        wait_until(lambda: (self.plugin() or {}).get("state") != "running", "the core to notice", timeout=10)
        self.assertEqual(self.flow(self.ufid)["actions"], "p1")
        if self.plugin() is not None:
            self.lab.ctl("plugin", "reload", "xdp")
        else:
            self.load()
        self.wait_ports_up()
        self.wait_installed(self.ufid)
        self.under_traffic(lambda: None)


if __name__ == "__main__":
    main()
