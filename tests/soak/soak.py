#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everything at once, against a model. See tests/README.md, "The soak"."""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
for _place in ("etc/demo.d", "bus/python", "plugins/conformance"):
    sys.path.insert(0, os.path.join(ROOT, _place))

import sluice  # noqa: E402
from chaos import Chaos, Nuisance  # noqa: E402
from model import NUMBERS, Publisher  # noqa: E402
from sluice_conformance.profile import Unavailable  # noqa: E402
from sluice_conformance.profiles import unix_switch, xdp  # noqa: E402

BUILD_DIR = os.environ.get("SLUICE_BUILD_DIR", os.path.join(ROOT, "build"))
TAKEN = ("INSTALLED", "SOFTWARE")
WITNESS = 1_000_000  # number of the flow with the steady traffic
ANCHOR = 1_000_001   # of one that names every port, and is refused whenever one is away
CONFIG = """
[limits]
max_tombstones = 2000  # a plugin that is stopped for a moment is told everything anew now and then
[times]
heartbeat_ms = 200
"""


class Wrong(Exception):
    """Something is not as the model has it."""


class Xdp(xdp.Plugin):
    name, path = "xdp", "xdp"
    ports = ("c0", "c1", "c2", "c3")


class UnixSwitch(unix_switch.Plugin):
    name = "unix_switch"
    path = os.path.join(BUILD_DIR, "tests", "conformance", "unix_switch.so")


class Soak:
    def __init__(self, seed, scratch):
        self.rng = random.Random(seed)
        self.run_dir = os.path.join(scratch, "run")
        self.scratch = scratch
        self.sequence = 0
        self.places, self.publishers, self.receivers = [], [], {}
        self.daemon = self.mirror = self.client = self.nuisance = self.listener = None
        self.usage, self.first_usage = {}, None
        self.away = {}  # ports whose devices were away: the program that they had, which they cannot have again
        self.rounds = self.compared = self.packets = self.mirror_walks = 0

    # ------------------------------------------------------------ up and down

    def start(self):
        os.mkdir(self.run_dir)
        for kind in (Xdp, UnixSwitch):
            scratch = os.path.join(self.scratch, kind.name)
            os.mkdir(scratch)
            place = kind(scratch)
            place.set_up()
            place.isolation = self.rng.choice(("thread", "process"))
            self.places.append(place)
        config = os.path.join(self.scratch, "sluiced.toml")
        with open(config, "w") as file:
            file.write(CONFIG)
        with open(os.path.join(self.scratch, "log"), "wb") as log:
            self.daemon = subprocess.Popen([*self.places[0].daemon_prefix(), os.path.join(BUILD_DIR, "bin", "sluiced"),
                                            "--config", config, "--run-dir", self.run_dir], stdout=log, stderr=log)
        self.client = sluice.Client(self.run_dir, timeout=30, name="soak")
        self.call("status")
        self.mirror = subprocess.Popen([os.path.join(BUILD_DIR, "bin", "soak_mirror"), self.run_dir],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.listener = Listener(self.run_dir)
        self.nuisance = Nuisance(self.run_dir, random.Random(self.rng.random()))
        for place in self.places:
            self.load(place)
            for port in place.ports:
                self.call("port_add", name=port, plugin=place.name)
                self.receivers[port] = place.receive(port)
            self.call("flow_put", flows=[self.witness(place), self.anchor(place)])
        self.chaos = Chaos(self, random.Random(self.rng.random()))
        ways = [(place, port) for place in self.places for port in place.ports[1:]]
        self.publishers = [Publisher(f"{'control' if number % 2 else 'ingress'} {port}", self.run_dir,
                                     self.rng.random(), place, port, bool(number % 2))
                           for number, (place, port) in enumerate(ways)]

    def witness(self, place):
        return {"match": place.match(place.ports[0], WITNESS), "actions": place.ports[1]}

    def anchor(self, place):
        return {"match": place.match(place.ports[0], ANCHOR), "actions": ",".join(place.ports[1:])}

    def stop(self):
        for close in [publisher.close for publisher in self.publishers] + \
                [part.close for part in (self.nuisance, self.listener) if part]:
            close()
        if self.mirror:
            self.mirror.stdin.close()
            self.mirror.wait(10)
        code = 0
        if self.daemon:
            self.daemon.terminate()
            try:
                code = self.daemon.wait(30)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                code = self.daemon.wait()
        for receiver in self.receivers.values():
            receiver.close()
        left = [sentence for place in self.places for sentence in place.left_behind()] if code == 0 else []
        for place in self.places:
            place.take_down()
        return code, left

    def log(self):
        with open(os.path.join(self.scratch, "log"), errors="replace") as log:
            return log.read()

    # ------------------------------------------------------------ short words

    def call(self, op, **body):
        return self.client.call(op, **body)

    def load(self, place):
        end = time.monotonic() + 40
        while True:
            try:
                return self.call("plugin_load", name=place.path, isolation=place.isolation, options=place.options)
            except sluice.Error as error:
                if error.reason == "already_loaded":  # a restart was quicker
                    return None
                if error.reason not in ("busy", "timeout") or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def plugin(self, place):
        found = [plugin for plugin in self.call("plugin_list")["plugins"] if plugin["name"] == place.name]
        return found[0] if found else {"state": "not loaded", "pid": 0, "detail": "", "pending": 0, "lag": 0}

    def port(self, name):
        return next(port for port in self.call("port_list")["ports"] if port["name"] == name)

    def pid(self, place):
        return int(self.plugin(place)["pid"])

    def until(self, problem, patience=40):
        """Until problem() returns nothing to complain of."""
        end = time.monotonic() + patience
        while True:
            text = problem()
            if not text:
                return
            if self.daemon.poll() is not None:
                raise Wrong(f"sluiced ended with {self.daemon.returncode}")
            if time.monotonic() > end:
                raise Wrong(f"after {patience} s still: {text}")
            time.sleep(0.03)

    # ------------------------------------------------------------ a round

    def turmoil(self, seconds):
        """Everything at once for a while. What a thread of it throws comes out here."""
        end, troubles = time.monotonic() + seconds, []

        def run(step, pause):
            try:
                while time.monotonic() < end and not troubles:
                    step()
                    time.sleep(pause())
            except Exception as trouble:
                troubles.append(trouble)
        rng = random.Random(self.rng.random())
        works = [(publisher.step, lambda: rng.choice((0, 0.005, 0.05))) for publisher in self.publishers]
        works += [(self.nuisance.step, lambda: 0.03), (self.traffic, lambda: 0.02)]
        threads = [threading.Thread(target=run, args=work) for work in works]
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() < end and not troubles:
                self.chaos.act()
        finally:
            end = 0
            for thread in threads:
                thread.join()
        if troubles:
            raise troubles[0]

    def traffic(self):
        for place in self.places:
            frames = [place.frame(WITNESS, self.next_sequence()) for _ in range(10)]
            try:
                place.send(place.ports[0], frames)
            except OSError:
                pass  # its port is not there at the moment
        self.packets += 10 * len(self.places)

    def next_sequence(self):
        self.sequence += 1
        return self.sequence

    def settle(self):
        """Nothing is under way any more."""
        def plugin_at_rest(place):
            plugin = self.plugin(place)
            if plugin["state"] == "parked":
                self.load(place)  # killed too often within a minute
            if plugin["state"] != "running" or int(plugin["pending"]) or int(plugin["lag"]):
                return f"{place.name} is {plugin['state']} {plugin['detail']}, {plugin['pending']} pending, " \
                       f"{plugin['lag']} behind"
            return None

        def ports_down():
            ports = {port["name"]: f"{port['state']} {port['detail']}" for port in self.call("port_list")["ports"]}
            return [f"{port} is {ports.get(port)}" for place in self.places for port in place.ports
                    if ports.get(port, "").split()[0:1] != ["up"]]

        self.until(lambda: self.not_published(self.publishers))
        self.until(ports_down)
        # Until its plugin has noticed that a device was away, a port is said to be up and forwards nothing.
        self.until(lambda: [f"{port} has its program still" for port, program in self.away.items()
                            if self.port(port)["info"].get("program") == program])
        if self.away:
            time.sleep(0.3)  # for the last word of the kernel's about it
        self.away.clear()
        for place in self.places:
            self.until(lambda place=place: plugin_at_rest(place))
        self.until(ports_down)
        for place in self.places:
            self.until(lambda place=place: plugin_at_rest(place))

    def not_published(self, publishers):
        """What the core has yet to take, or has counted wrong."""
        seen = {publisher["name"]: publisher for publisher in self.call("status")["status"]["publishers"]}
        for publisher in publishers:
            one = seen.get(publisher.name, {})
            counts = [int(one.get(key, 0)) for key in ("messages", "accepted", "refused", "missed")]
            wanted = [publisher.messages, publisher.accepted, publisher.refused, 0]
            if counts != wanted:
                return f"{publisher.name}: messages, accepted, refused, missed are {counts}, not {wanted}"
        return None

    # ------------------------------------------------------------ the comparison

    def checkpoint(self):
        self.settle()
        self.compare_packets()
        self.compare_tables()
        self.compare_refusals()
        self.compare_usage()
        self.compared += 1

    def compare_packets(self):
        """Some flows and some numbers without a flow, a few frames each: they leave where the model says, and nowhere
        else."""
        sent = {}  # by sequence: who, number
        for publisher in self.publishers:
            frames = []
            for number in self.rng.sample(range(NUMBERS), 12):
                for _ in range(3):
                    sequence = self.next_sequence()
                    sent[sequence] = publisher, number
                    frames.append(publisher.place.frame(number, sequence))
                if number in publisher.packets:
                    publisher.packets[number] += 3
            publisher.place.send(publisher.port, frames)
        self.packets += len(sent)
        expected = {port: set() for port in self.receivers}
        for sequence, (publisher, number) in sent.items():
            for out in publisher.outs(number):
                expected[out].add(sequence)

        def missing():
            for port, sequences in expected.items():
                lacking = sequences - self.receivers[port].sequences
                if lacking:
                    publisher, number = sent[min(lacking)]
                    return f"{len(lacking)} frames have not left from {port}, the first for {publisher.match(number)} " \
                           f"-> {publisher.actions[number]}"
            return None
        self.until(missing, 5)
        time.sleep(0.1)  # for what should not come to come
        for port, receiver in self.receivers.items():
            extra = (receiver.sequences & sent.keys()) - expected[port]
            if extra:
                publisher, number = sent[min(extra)]
                raise Wrong(f"{len(extra)} frames have left from {port}, the first of {publisher.match(number)}, whose "
                            f"actions are {publisher.actions.get(number, 'none: it is not there')}")
            if receiver.duplicates:
                raise Wrong(f"{receiver.duplicates} frames have left twice from {port}")

    def compare_tables(self):
        """The model, the core's snapshot, the mirror of its events, and every plugin's verdicts."""
        model = {}
        for place in self.places:
            for flow in (self.witness(place), self.anchor(place)):
                model[flow["match"]] = (flow["actions"], 0, None, place.name)
        for publisher in self.publishers:
            for number, actions in publisher.actions.items():
                model[publisher.match(number)] = (actions, number % 3, publisher.packets[number], publisher.place.name)
        self.until(lambda: self.difference(model), 15)

    def difference(self, model):
        table = {flow["match"]: flow for flow in self.client.flows().values()}
        lacking, extra = model.keys() - table.keys(), table.keys() - model.keys()
        if lacking or extra:
            return f"the core's table lacks {list(lacking)[:2]} and has {list(extra)[:2]} too much"
        for match, (actions, priority, packets, owner) in model.items():
            flow = table[match]
            if (flow["actions"], flow["priority"]) != (actions, priority):
                return f"the core has {match} -> {flow['actions']}, priority {flow['priority']}, not {actions}, {priority}"
            if packets is not None and int(flow["packets"]) != packets:
                return f"{match} has counted {flow['packets']} packets, not {packets}"
            states = {entry["plugin"]: entry["state"] for entry in flow["offload"]}
            for place in self.places:
                state = states.get(place.name, "no verdict")
                if (state in TAKEN) != (place.name == owner) or state in ("PENDING", "no verdict", "FAILED"):
                    return f"{place.name} says {state} of {match} -> {actions}: {flow['offload']}"
        return self.mirror_differs(table)

    def mirror_differs(self, table):
        seq = self.call("status")["seq"]
        self.mirror.stdin.write(f"{seq}\n")
        self.mirror.stdin.flush()
        mirrored = {}
        for line in self.mirror.stdout:
            flow = json.loads(line)
            if "walks" in flow:
                self.mirror_walks = flow["walks"]
                break
            mirrored[flow["match"]] = flow
        else:
            raise Wrong(f"the mirror ended with {self.mirror.wait()}")
        if mirrored.keys() != table.keys():
            return f"the mirror lacks {list(table.keys() - mirrored.keys())[:2]} and has " \
                   f"{list(mirrored.keys() - table.keys())[:2]} too much"
        for match, flow in table.items():
            mine = mirrored[match]
            for key, theirs in (("actions", flow["actions"]), ("priority", flow["priority"]),
                                ("packets", int(flow["packets"]))):
                if mine[key] != theirs:
                    return f"the mirror has {key} {mine[key]} of {match}, the core {theirs}"
            states = [{entry["plugin"]: entry["state"].lower() for entry in one["offload"]} for one in (mine, flow)]
            if states[0] != states[1]:
                return f"the mirror has verdicts {states[0]} on {match}, the core {states[1]}"
        return None

    def compare_refusals(self):
        """What was refused on ingress was told in events, all of it."""
        wanted = {publisher.name: publisher.refused for publisher in self.publishers
                  if not publisher.by_control and publisher.refused}

        def untold():
            if self.listener.problems:
                raise Wrong(self.listener.problems[0])
            told = {name: count for name, count in self.listener.refused.items() if name in wanted}
            return None if told == wanted else f"refusals told in events are {told}, not {wanted}"
        self.until(untold, 5)

    def compare_usage(self):
        """Memory, files and threads of the daemon and of the plugins' processes stay within bounds."""
        usage = {"sluiced": measure(self.daemon.pid)}
        for place in self.places:
            if self.pid(place):
                usage[place.name] = measure(self.pid(place))
        self.usage = usage
        first = self.first_usage
        if first is None and self.rounds >= 5 and all(place.isolation == "thread" for place in self.places):
            self.first_usage = usage["sluiced"]  # with all that it can have in it
        elif first is not None:
            now = usage["sluiced"]
            for what, slack in (("kB", first["kB"] + 100_000), ("files", 80), ("threads", 20)):
                if now[what] > first[what] + slack:
                    raise Wrong(f"sluiced grows: {now[what]} {what}, {first[what]} after the first rounds")
        for name, now in usage.items():
            if now["files"] > 400 or now["threads"] > 64 or now["kB"] > 1_500_000:
                raise Wrong(f"{name} has {now}")

    def progress(self):
        flows = sum(len(publisher.actions) for publisher in self.publishers)
        used = ", ".join(f"{name}: {use['kB'] // 1024} MB, {use['files']} files, {use['threads']} threads"
                         for name, use in self.usage.items())
        return f"{self.rounds} rounds, {flows} flows, {sum(p.accepted for p in self.publishers)} changes, " \
               f"{sum(p.refused for p in self.publishers)} refused, {self.packets} packets; {used}"


class Listener:
    """Follows events with few messages, and adds up the refusals told. What it misses is wrong."""

    def __init__(self, run_dir):
        self.refused = collections.Counter()
        self.problems = []
        self._client = sluice.Client(run_dir, timeout=30)
        self._ended = False
        stream = self._client.events("refused", "plugin.", "heartbeat", timeout=60)
        self._thread = threading.Thread(target=self._run, args=(stream,), daemon=True)
        self._thread.start()

    def _run(self, stream):
        for event in stream:
            if self._ended:
                break
            if event["topic"] == "refused":
                self.refused[event["refused"]["publisher"]] += int(event["refused"]["count"])
            elif event["topic"] in ("gap", "epoch"):
                self.problems.append(f"a monitor that reads what comes has seen: {event}")
        stream.close()

    def close(self):
        self._ended = True
        self._thread.join(2)
        if not self._thread.is_alive():
            self._client.close(linger_ms=0)


def measure(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        return {"kB": resident, "files": len(os.listdir(f"/proc/{pid}/fd")),
                "threads": len(os.listdir(f"/proc/{pid}/task"))}
    except (OSError, StopIteration):
        return {"kB": 0, "files": 0, "threads": 0}


def soak(world, seconds):
    world.start()
    world.checkpoint()
    told = time.monotonic()
    end = told + seconds
    while time.monotonic() < end:
        world.turmoil(world.rng.uniform(1, 4))
        world.rounds += 1
        world.checkpoint()
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"soak: {max(0, end - told):4.0f} s left; {world.progress()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Changes everything at once, and compares with a model every few seconds.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: asked to end"))  # by way of world.stop()
    print(f"soak: seed {args.seed}, {args.seconds:g} s", flush=True)
    scratch = tempfile.mkdtemp(prefix="sluice-soak-")
    world = Soak(args.seed, scratch)
    wrong = None
    try:
        soak(world, args.seconds)
    except Unavailable as unavailable:
        print(f"skipped: {unavailable}")
        return 77
    except (Wrong, AssertionError, OSError, sluice.Error) as error:
        wrong = str(error)
    finally:
        code, left = world.stop()
        if wrong is None and (code or left):
            wrong = f"sluiced ended with {code}" if code else left[0]
        if wrong is not None and world.daemon:
            lines = [line for line in world.log().splitlines() if "what cannot be read" not in line]  # the garbage
            print("\n".join(lines[-60:]))
            print(f"soak: the last that was done: {', '.join(world.chaos.log[-12:])}")
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"soak: {world.progress()}; {world.compared} comparisons; {world.chaos.counts}; the mirror walked the table "
          f"{world.mirror_walks} times")
    if wrong is not None:
        print(f"soak: FAILED in round {world.rounds}, seed {args.seed}: {wrong}")
        return 1
    print("soak: everything agreed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
