# SPDX-License-Identifier: Apache-2.0
"""A subscriber that notes when flows were installed."""
import json
import threading

import zmq
from lab import wait_until


class Watch:
    """Collects events of one topic between `with` and its end."""

    def __init__(self, run_dir, topic):
        self.events = []
        self._topic = topic
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.rcvhwm = 0
        self._socket.connect(f"ipc://{run_dir}/events")
        for name in (topic, "heartbeat"):
            self._socket.subscribe(f"json:{name}")
        self._socket.recv_multipart()  # a heartbeat: the subscription is in force
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ended.set()
        self._thread.join()
        self._socket.close(0)

    def _run(self):
        while not self._ended.is_set():
            if not self._socket.poll(100):
                continue
            _, payload = self._socket.recv_multipart()
            self.events += [event for event in json.loads(payload)["events"] if event["topic"] == self._topic]

    def installed(self, names, pattern):
        """For each name the time (ns) when a flow whose match contains `pattern % name` was installed first."""
        found = {}

        def all_found():
            for event in list(self.events):
                flow = event["flow"]
                if not any(entry.get("state") == "INSTALLED" for entry in flow.get("offload", [])):
                    continue
                for name in names:
                    if name not in found and pattern % name in flow["match"]:
                        found[name] = int(event["time_ns"])
            return len(found) == len(names)
        wait_until(all_found, f"{len(names)} flows to be installed ({len(found)} are)", interval=0.1)
        return found
