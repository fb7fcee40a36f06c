# SPDX-License-Identifier: Apache-2.0
"""Plugins, ports and flows come and go under traffic, for SLUICE_SOAK_SECONDS (default 600)."""
import os
import random
import time

from harness import SluiceTest, main, wait_until, wire

SECONDS = float(os.environ.get("SLUICE_SOAK_SECONDS", "600"))


def resident_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Soak(SluiceTest):
    ports = ("p0", "p1", "p2")

    def act(self, rng):
        what = rng.choice(("reload", "unload", "port", "flows", "flows"))
        if what == "reload":
            self.lab.ctl("plugin", "reload", "xdp")
        elif what == "unload":
            self.lab.ctl("plugin", "unload", "xdp")
            self.isolation = rng.choice(("thread", "process"))
            self.lab.ctl("plugin", "load", "xdp", "--isolation", self.isolation)
        elif what == "port":
            self.lab.ctl("port", "del", "p2")
            self.lab.ctl("port", "add", "p2")
        else:
            text = "".join(f"in_port(p0),eth(src=06:00:00:00:{n // 256:02x}:{n % 256:02x}),eth_type(0x88b6), actions:p1\n"
                           for n in rng.sample(range(5000), 500))
            self.lab.ctl("flow", "add", "--file", "-", input=text)
            if rng.random() < 0.3:
                self.lab.ctl("flow", "flush", "--port", "p0")
                self.lab.ctl("flow", "add", self.flow_text)

    def test_soak(self):
        seed = int(os.environ.get("SLUICE_SEED", str(random.randrange(1 << 32))))
        rng = random.Random(seed)
        print(f"seed {seed}, {SECONDS:g} s", flush=True)
        one, two, _ = self.hosts
        self.flow_text = f"in_port(p0),eth(src={one.mac}),eth_type(0x88b5), actions:p1"
        self.add_flow(self.flow_text)
        end, told, rounds, first, usage = time.monotonic() + SECONDS, time.monotonic(), 0, None, (0, 0)
        self.isolation = "thread"
        with wire.Receiver(two) as receiver:
            sender = wire.Sender(one, two.mac, 500)
            while time.monotonic() < end:
                self.act(rng)
                rounds += 1
                self.wait_ports_up()
                flowing = len(receiver)
                wait_until(lambda: len(receiver) > flowing + 50, f"packets to flow after round {rounds}")
                if self.isolation == "thread":  # only then is the plugin's share in it
                    usage = resident_kb(self.lab.daemon.pid), open_files(self.lab.daemon.pid)
                    first = first or (usage if rounds > 20 else None)
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    print(f"{rounds} rounds, {len(receiver)} of {sender.count} packets, sluiced: {usage[0]} kB, "
                          f"{usage[1]} open files", flush=True)
            sender.stop()
        if first:
            self.assertLess(usage[0], first[0] * 2 + 50_000, "sluiced grows")
            self.assertLess(usage[1], first[1] + 50, "sluiced leaves files open")


if __name__ == "__main__":
    main()
