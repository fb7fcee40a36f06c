# SPDX-License-Identifier: Apache-2.0
"""sluiced and plugin hosts are killed and frozen while packets flow."""
import os
import re
import signal
import sys
import time

from harness import SluiceTest, main, run, wait_until, wire

RATE = 1000
REJOIN_MS = 3000


def alive(pid):
    """Not if it is only waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Orphans(SluiceTest):
    daemon_args = None
    orphan = "keep"
    times = ""
    beside = ""

    def setUp(self):
        super().setUp()
        self.config = os.path.join(self.lab.run_dir, "sluiced.toml")
        ports = "".join(f'[[port]]\nname = "{port}"\n' for port in self.ports)
        with open(self.config, "w") as config:
            config.write(f'[times]\nrejoin_ms = {REJOIN_MS}\norphan_ms = 60000\nrestart_ms = 100\n{self.times}\n'
                         f'[[plugin]]\nname = "xdp"\nisolation = "process"\norphan = "{self.orphan}"\n{ports}{self.beside}')
        self.one, self.two = self.hosts
        self.addCleanup(self.end_host)
        self.start()
        self.text = f"in_port(p0),eth(src={self.one.mac}),eth_type(0x88b5), actions:p1"
        self.ufid = self.add_flow(self.text)
        self.host_pid = self.plugin()["pid"]

    def end_host(self):
        """Whatever outlived its daemon."""
        if hasattr(self, "host_pid") and alive(self.host_pid):
            os.kill(self.host_pid, signal.SIGCONT)
            os.kill(self.host_pid, signal.SIGTERM)
            wait_until(lambda: not alive(self.host_pid), "the host to end")

    def start(self):
        self.lab.start_daemon("--config", self.config)
        self.wait_ports_up()

    def kill_daemon(self):
        self.lab.daemon.popen.kill()
        self.lab.daemon.popen.wait()

    def plugin(self):
        return next(plugin for plugin in self.lab.query("plugin", "list") if plugin["name"] == "xdp")

    def programs(self):
        """How many of the switch's devices have an XDP program."""
        shown = run("ip", "-n", self.lab.switch, "link", "show").stdout
        return len(re.findall(r"prog/xdp", shown))

    def passes(self, source, target):
        with wire.Receiver(target, 0x88b6) as receiver:
            self.send(source, target, 20, eth_type=0x88b6)
            return receiver.wait(20, timeout=1) == 20


class Keep(Orphans):
    def test_the_core_is_killed_and_started_again_without_loss(self):
        gone = self.add_flow("in_port(p1),eth_type(0x88b6), actions:p0")
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RATE)
            wait_until(lambda: len(receiver) > 100, "packets to flow")
            for _ in range(2):
                self.kill_daemon()
                flowing = len(receiver)
                wait_until(lambda: len(receiver) > flowing + RATE, "packets to flow without a daemon")
                self.assertTrue(alive(self.host_pid))
                self.start()
                plugin = self.plugin()
                self.assertEqual((plugin["pid"], plugin["adopted"], plugin["state"]), (self.host_pid, True, "running"))
                self.assertIn("withdrawn", plugin["detail"])
                self.assertTrue(self.passes(self.two, self.one))  # not yet put again, nor withdrawn
                # The controller's part: one of the two flows, and in the second round the other as well.
                self.assertEqual(self.add_flow(self.text), self.ufid)
                wait_until(lambda: not self.plugin()["detail"], "the time to put flows again to be over")
                wait_until(lambda: not self.passes(self.two, self.one), "the other flow to be withdrawn")
                self.assertEqual(self.add_flow("in_port(p1),eth_type(0x88b6), actions:p0"), gone)
                self.assertTrue(self.passes(self.two, self.one))
            sent = sender.stop()
            receiver.wait(sent, timeout=2)
            lost = sent - len(receiver)
        print(f"{self.id()}: {lost} of {sent} lost at {RATE}/s, the core killed twice", file=sys.stderr)
        self.assertEqual((lost, receiver.duplicates), (0, 0))
        # It counts for the new core, and obeys it.
        before = self.flow(self.ufid)["packets"]
        self.send(self.one, self.two, 500)
        wait_until(lambda: self.flow(self.ufid)["packets"] >= before + 500, "the flow to count", timeout=5)
        self.lab.ctl("plugin", "unload", "xdp")
        self.assertFalse(alive(self.host_pid))
        self.assertEqual(self.programs(), 0)
        self.assertEqual(os.listdir(os.path.join(self.lab.run_dir, "hosts")), [])

    def test_an_adopted_host_is_reloaded_without_loss(self):
        self.kill_daemon()
        self.start()
        self.add_flow(self.text)
        with wire.Receiver(self.two) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RATE)
            wait_until(lambda: len(receiver) > 100, "packets to flow")
            said = self.lab.ctl("plugin", "reload", "xdp").stdout
            self.assertRegex(said, r"reload in \d+ ms, and the device went on forwarding")
            self.assertFalse(alive(self.host_pid))
            sent = sender.stop()
            receiver.wait(sent, timeout=2)
            self.assertEqual(sent - len(receiver), 0)
        self.assertFalse(self.plugin()["adopted"])

    def test_a_new_core_with_other_settings_begins_anew(self):
        self.kill_daemon()
        with open(self.config) as config:
            text = config.read().replace('orphan = "keep"\n', 'orphan = "keep"\noptions = { miss = "drop" }\n')
        with open(self.config, "w") as config:
            config.write(text)
        self.start()
        self.assertFalse(alive(self.host_pid))
        self.assertFalse(self.plugin()["adopted"])
        self.assertEqual({port["info"]["miss"] for port in self.lab.query("port", "list")}, {"drop"})
        self.add_flow(self.text)
        self.host_pid = self.plugin()["pid"]


class KeepPasses(Orphans):
    """The programs of later passes stay, too, though who brought them dies with the daemon."""
    beside = '[[plugin]]\nname = "recirc"\n'
    texts = ("in_port(p0),eth_type(0x88b6), actions:recirc(0x1)",
             "recirc_id(0x1),in_port(p0),eth_type(0x88b6), actions:p1")

    def test_the_core_is_killed_and_started_again_without_loss(self):
        ufids = [self.add_flow(text) for text in self.texts]
        with wire.Receiver(self.two, 0x88b6) as receiver:
            sender = wire.Sender(self.one, self.two.mac, RATE, eth_type=0x88b6)
            wait_until(lambda: len(receiver) > 100, "packets to flow")
            self.kill_daemon()
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + RATE, "packets to flow without a daemon")
            self.start()
            self.assertEqual([self.add_flow(text) for text in self.texts], ufids)
            wait_until(lambda: not self.plugin()["detail"], "the time to put flows again to be over")
            flowing = len(receiver)
            wait_until(lambda: len(receiver) > flowing + RATE, "packets to flow on")
            sent = sender.stop()
            receiver.wait(sent, timeout=2)
            self.assertEqual((sent - len(receiver), receiver.duplicates), (0, 0))
        self.assertEqual(sum(port.get("missed_tail_call", 0) for port in self.lab.counters().values()), 0)
        self.lab.ctl("plugin", "unload", "recirc")
        wait_until(lambda: self.flow(ufids[0])["offload"][0].get("reason") == "needs_recirc", "the flow to be refused")


class Withdraw(Orphans):
    orphan = "withdraw"

    def test_without_its_core_the_host_withdraws_and_ends(self):
        self.assertEqual(self.programs(), 2)
        self.kill_daemon()
        began = time.monotonic()
        wait_until(lambda: not alive(self.host_pid), "the host to end", timeout=5)
        print(f"{self.id()}: the host had ended {(time.monotonic() - began) * 1000:.0f} ms after", file=sys.stderr)
        wait_until(lambda: self.programs() == 0, "the programs to be gone")


class Frozen(Orphans):
    def test_a_frozen_host_is_noticed_and_replaced(self):
        os.kill(self.host_pid, signal.SIGSTOP)
        began = time.monotonic()
        wait_until(lambda: self.plugin()["state"] == "failed", "the core to notice", timeout=5, interval=0.005)
        noticed = (time.monotonic() - began) * 1000
        wait_until(lambda: not alive(self.host_pid), "it to be killed")
        self.wait_ports_up()
        self.wait_installed(self.ufid)
        back = (time.monotonic() - began) * 1000
        print(f"{self.id()}: noticed after {noticed:.0f} ms, back after {back:.0f} ms", file=sys.stderr)
        self.assertLess(noticed, 2500)  # 0.9 s on a machine with time to spare
        wait_until(lambda: self.plugin().get("absence"), "the plugin to have caught up")
        self.assertRegex(self.lab.ctl("plugin", "list", "--details").stdout,
                         r"last away +restart in \d+ ms \(it has said nothing for \d+ ms, and was killed\), a gap")
        self.host_pid = self.plugin()["pid"]
        with wire.Receiver(self.two) as receiver:
            self.send(self.one, self.two, 100)
            self.assertEqual(receiver.wait(100), 100)


class Laggard(Orphans):
    times = "silence_ms = 30000\n[limits]\nmax_tombstones = 256"

    def flows(self, numbers):
        return "".join(f"in_port(p0),eth(src={self.mac(number)}),eth_type(0x88b5), actions:p1\n" for number in numbers)

    @staticmethod
    def mac(number):
        return f"06:00:00:00:{number // 256:02x}:{number % 256:02x}"

    def test_after_a_resync_table_and_device_agree(self):
        self.lab.ctl("flow", "add", "--file", "-", input=self.flows(range(800)))
        wait_until(lambda: self.plugin()["installed"] == 801, "all flows to be installed")
        os.kill(self.host_pid, signal.SIGSTOP)
        self.lab.ctl("flow", "flush", "--port", "p0")
        self.lab.ctl("flow", "add", "--file", "-", input=self.flows(range(400, 1000)))
        wait_until(lambda: self.lab.query("status")[0]["counters"].get("plugin_resyncs", 0) > 0, "a resync")
        self.lab.ctl("flow", "flush", "--port", "p0")
        wanted = set(range(300, 700))
        self.lab.ctl("flow", "add", "--file", "-", input=self.flows(sorted(wanted)))
        os.kill(self.host_pid, signal.SIGCONT)
        wait_until(lambda: self.plugin()["installed"] == len(wanted) and not self.plugin()["pending"],
                   "the plugin to have what the table has", timeout=20)
        wait_until(lambda: self.lab.counters()["p0"]["flows"] == len(wanted), "the device to have no other flow")
        self.assertEqual(len(self.lab.flows()), len(wanted))
        with wire.Receiver(self.two) as receiver:
            wire.send_burst(self.one, (wire.numbered(self.mac(number), self.two.mac, number) for number in range(1000)))
            receiver.wait(len(wanted))
            time.sleep(0.2)  # for those that must not come
            self.assertEqual(set(receiver.times), wanted)
        wait_until(lambda: all(flow["packets"] == 1 for flow in self.lab.flows().values()), "each to count its packet",
                   timeout=5)


del Orphans  # not a test by itself

if __name__ == "__main__":
    main()
