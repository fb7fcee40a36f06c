# SPDX-License-Identifier: Apache-2.0
"""A daemon of the suite's own with the plugin loaded, and short words for what cases do with it."""
import os
import shutil
import signal
import subprocess
import threading
import time

import sluice

TAKEN = ("installed", "software")
STATS_S = 0.6   # a plugin's statistics come that often
MAX_TOMBSTONES = 256  # the least that sluiced takes: more deletes unconfirmed, and a plugin is told everything anew
HEARTBEAT_MS = 100    # EventLog ends at one
SILENCE_S = 60        # without any event: the daemon has gone


class Failure(Exception):
    """The plugin did not do as it must; the text is for its author."""


class Skip(Exception):
    """The case does not apply; the text says why."""


def check(condition, what):
    if not condition:
        raise Failure(what)


class Rig:
    def __init__(self, settings, profile, run_dir):
        """`settings`: plugin, isolation, options, bin_dir, patience (see main.py)."""
        self.settings, self.profile, self.run_dir = settings, profile, run_dir
        self.name = settings.name
        self.patience = settings.patience
        self.sequence = 0
        os.mkdir(run_dir)
        self.config = os.path.join(run_dir, "sluiced.toml")
        with open(self.config, "w") as config:
            config.write(f"[limits]\nmax_tombstones = {MAX_TOMBSTONES}\n[times]\nheartbeat_ms = {HEARTBEAT_MS}\n")
        self.log_path = os.path.join(run_dir, "log")
        self.client = self.events = None
        self._receivers = {}  # by port, from the first packet on
        self.daemon = self._start_daemon()

    # ------------------------------------------------------------ the daemon

    def _start_daemon(self):
        with open(self.log_path, "ab") as log:
            daemon = subprocess.Popen([*self.profile.daemon_prefix(), self.settings.program("sluiced"), "--config",
                                       self.config, "--run-dir", self.run_dir],
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.client = sluice.Client(self.run_dir, timeout=15, name="conformance")
            self.call("status")
            self.events = EventLog(self.run_dir)
        except BaseException:
            daemon.kill()
            daemon.wait()
            raise
        return daemon

    def stop_daemon(self):
        """Its exit code; None where it had to be killed."""
        self.daemon.send_signal(signal.SIGTERM)
        try:
            return self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            return None

    def close(self):
        try:
            self.events.close()
            if self.daemon.poll() is None:
                self.stop_daemon()
        finally:
            for receiver in self._receivers.values():
                receiver.close()
            self.client.close(linger_ms=0)
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def status(self):
        return self.call("status")["status"]

    def counter(self, name):
        return int(self.status()["counters"].get(name, 0))

    # ------------------------------------------------------------ waiting

    def until(self, condition, what, patience=None):
        """Polls until condition() is true and returns its value; `what` is what was waited for, text or a function."""
        end = time.monotonic() + (self.patience if patience is None else patience)
        while True:
            value = condition()
            if value:
                return value
            if self.daemon.poll() is not None:
                raise Failure(f"sluiced ended with {self.daemon.returncode}: {self.log()[-500:]}")
            if time.monotonic() > end:
                raise Failure(f"waited {self.patience if patience is None else patience:g} s in vain for "
                              f"{what() if callable(what) else what}")
            time.sleep(0.02)

    # ------------------------------------------------------------ the plugin and its ports

    def call(self, op, **body):
        try:
            return self.client.call(op, **body)
        except sluice.Error as error:
            if error.reason == "no_daemon":
                raise Failure(f"sluiced does not answer: {self.log()[-500:]}") from error
            raise

    def asked(self, what, op, **body):
        """call(), where a refusal is the plugin's failure."""
        try:
            return self.call(op, **body)
        except sluice.Error as error:
            raise Failure(f"{what}: {error}") from error

    def load_beside(self):
        for name in self.profile.beside:
            self.asked(f"plugin load {name}", "plugin_load", name=name, isolation="thread")

    def capabilities(self, kind):
        """"fields" or "actions", of the plugin and of what it is loaded beside."""
        return {name for plugin in self.call("plugin_list")["plugins"] if plugin["name"] in (self.name, *self.profile.beside)
                for name in plugin["capabilities"][kind]}

    def load(self, **options):
        try:
            self.call("plugin_load", name=self.settings.plugin, isolation=self.settings.isolation,
                      options={**self.profile.options, **self.settings.options, **options})
        except sluice.Error as error:
            if error.reason == "needs_process":  # its file says so
                raise Skip("the plugin runs in a process of its own only") from error
            raise Failure(f"plugin load: {error}") from error

    def plugin(self):
        return next((plugin for plugin in self.call("plugin_list")["plugins"] if plugin["name"] == self.name), None)

    def add_ports(self, *names):
        for name in names or self.profile.ports:
            self.asked(f"port add {name}", "port_add", name=name, plugin=self.name, 
                       options=self.profile.port_options(name))

    def del_port(self, name):
        self.asked(f"port del {name}", "port_del", name=name)

    def port(self, name):
        return next((port for port in self.call("port_list")["ports"] if port["name"] == name), None)

    def wait_ports_up(self):
        def states():
            return {port["name"]: (port["state"], port["detail"]) for port in self.call("port_list")["ports"]}
        self.until(lambda: all(states().get(name, [""])[0] == "up" for name in self.profile.ports),
                   lambda: f"all ports to be up: {states()}")

    def settle(self, patience=None):
        """Until the plugin runs, has been offered everything and has judged it."""
        def at_rest():
            plugin = self.plugin()
            return plugin and plugin["state"] == "running" and int(plugin["pending"]) == int(plugin["lag"]) == 0

        def what():
            plugin = self.plugin()
            if plugin is None:
                return "the plugin, which is not loaded"
            return (f"a verdict on every flow: {plugin['pending']} have none, {plugin['lag']} changes have not been "
                    f"offered; the plugin is {plugin['state']} {plugin['detail']}")
        self.until(at_rest, what, patience)

    # ------------------------------------------------------------ flows

    def flow(self, number, actions, port=None, **more):
        """For put(): of the plugin's own kind."""
        return {"match": self.profile.match(port or self.profile.ports[0], number), "actions": actions, **more}

    def put(self, *flows):
        """Their ufids; their verdicts may be still to come."""
        return self.call("flow_put", flows=flows)["ufids"]

    def install(self, *flows):
        """Their ufids, once the plugin has taken all of them."""
        ufids = self.put(*flows)
        self.wait_taken(*ufids)
        return ufids

    def get(self, ufid):
        return self.call("flow_get", ufid=ufid)["flows"][0]

    def exists(self, ufid):
        try:
            return bool(self.call("flow_get", ufid=ufid))
        except sluice.Error:
            return False

    def offload(self, ufid):
        return self.offload_of(self.get(ufid))

    def offload_of(self, flow):
        """What this plugin says of it: state, reason, detail."""
        for entry in flow["offload"]:
            if entry["plugin"] == self.name:
                return {**entry, "state": entry["state"].lower()}
        return {"state": "pending", "reason": "", "detail": ""}

    def wait_judged(self, ufid):
        self.until(lambda: self.offload(ufid)["state"] != "pending", lambda: f"a verdict on {self.get(ufid)['match']}")
        return self.offload(ufid)

    def wait_taken(self, *ufids):
        for ufid in ufids:
            self.until(lambda ufid=ufid: self.offload(ufid)["state"] in TAKEN,
                       lambda ufid=ufid: f"{self.get(ufid)['match']} -> {self.get(ufid)['actions']} to be installed: it "
                                         f"is {say(self.offload(ufid))}")

    def wait_not_taken(self, *ufids):
        """Until the plugin has judged each and taken none."""
        for ufid in ufids:
            self.until(lambda ufid=ufid: self.offload(ufid)["state"] in ("refused", "failed"),
                       lambda ufid=ufid: f"{self.get(ufid)['match']} -> {self.get(ufid)['actions']} to be refused: it is "
                                         f"{say(self.offload(ufid))}")

    def agree(self, model):
        """The table and the plugin's verdicts are those of `model`: {ufid: actions}, all of them taken."""
        table = self.client.flows()
        missing = [ufid for ufid in model if ufid not in table]
        extra = [flow["match"] for ufid, flow in table.items() if ufid not in model]
        check(not missing and not extra, f"the table is wrong: {len(missing)} flows are missing, {extra[:3]} too many")
        for ufid, flow in table.items():
            check(flow["actions"] == model[ufid], f"{flow['match']} has actions {flow['actions']}, not {model[ufid]}")
            entry = self.offload_of(flow)
            check(entry["state"] in TAKEN, f"{flow['match']} -> {flow['actions']} is {say(entry)}, not installed")
        plugin = self.plugin()
        taken = int(plugin["installed"]) + int(plugin["software"])
        check(taken == len(model), f"the plugin has taken {taken} flows of {len(model)}")

    # ------------------------------------------------------------ packets

    def need_packets(self):
        if self.profile.why_no_packets:
            raise Skip(self.profile.why_no_packets)

    def frames(self, number, count):
        """Frames that match number takes, by their sequence numbers, which are theirs alone."""
        first, self.sequence = self.sequence, self.sequence + count
        return {sequence: self.profile.frame(number, sequence) for sequence in range(first, first + count)}

    def forward(self, numbers, count, to, port=None):
        """Frames of these matches (a number or many) come in at `port`, `count` of each, and leave from every port of
        `to`, and nowhere else. Where the profile sends no packets this checks nothing."""
        if self.profile.why_no_packets:
            return
        port = port or self.profile.ports[0]
        of_flow = {number: self.frames(number, count) for number in ([numbers] if isinstance(numbers, int) else numbers)}
        frames = {sequence: frame for flow in of_flow.values() for sequence, frame in flow.items()}
        if not self._receivers:
            self._receivers = {out: self.profile.receive(out) for out in self.profile.ports}
        self.profile.send(port, frames.values())
        end = time.monotonic() + 3
        while time.monotonic() < end and any(frames.keys() - self._receivers[out].sequences for out in to):
            time.sleep(0.01)
        if len(to) < len(self._receivers) - 1:
            time.sleep(0.1)  # for what should not come to come
        for number, sent in of_flow.items():
            for out, receiver in self._receivers.items():
                arrived = len(receiver.sequences & sent.keys())
                check(arrived == (count if out in to else 0),
                      f"{arrived} of {count} frames left from {out}, to go to {' and '.join(to) or 'nowhere'}, that "
                      f"came in at {port} for flow {self.profile.match(port, number)}")
        for out, receiver in self._receivers.items():
            check(receiver.duplicates == 0, f"{receiver.duplicates} frames left twice from {out}")

    def wait_counts(self, expected, size=60):
        """The flows have counted so many packets ({ufid: packets}), and no more: they are looked at again after the
        next report. Where the profile sends no packets this checks nothing."""
        if self.profile.why_no_packets:
            return

        def counted():
            return {ufid: int(self.get(ufid)["packets"]) for ufid in expected}
        self.until(lambda: all(count >= expected[ufid] for ufid, count in counted().items()),
                   lambda: f"flows to count {list(expected.values())} packets: they have {list(counted().values())}",
                   max(self.patience / 2, 3 * STATS_S))
        time.sleep(STATS_S + 0.15)
        for ufid, packets in expected.items():
            flow = self.get(ufid)
            check(int(flow["packets"]) == packets, f"{flow['match']} counted {flow['packets']} packets, not {packets}")
            check(int(flow["bytes"]) == packets * size,
                  f"{flow['match']} counted {flow['bytes']} bytes, not {packets * size}")


class EventLog:
    """All events but heartbeats and upcalls, as they come, in a thread."""

    def __init__(self, run_dir):
        self._client = sluice.Client(run_dir, timeout=15)
        self._ended = False
        self.all = []
        stream = self._client.events("flow.", "port.", "plugin.", "refused", "heartbeat", timeout=SILENCE_S)
        self._thread = threading.Thread(target=self._run, args=(stream,), daemon=True)
        self._thread.start()

    def _run(self, stream):
        for event in stream:
            if self._ended:
                break
            if event["topic"] != "heartbeat":
                self.all.append(event)
        stream.close()

    def of(self, ufid, since=0):
        """The topics of what was told of a flow from place `since` on, in order."""
        return [event["topic"] for event in self.all[since:] if event.get("flow", {}).get("ufid") == ufid]

    def close(self):
        """The daemon's next heartbeat ends the thread; without a daemon it is left to itself."""
        self._ended = True
        self._thread.join(2)
        if not self._thread.is_alive():
            self._client.close(linger_ms=0)


def say(entry):
    return " ".join(filter(None, (entry["state"], entry["reason"], entry["detail"])))

