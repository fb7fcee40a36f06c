# SPDX-License-Identifier: Apache-2.0
"""What the flows must be: each publisher has a port of its own, and keeps the books of what it has published there."""
import random
import threading
import time

import sluice

NUMBERS = 400  # that a publisher makes its flows of
FAULTS = ("match", "action", "port")


class Publisher:
    """Changes flows of one in_port at random. `by_control` or by ingress; what will be accepted and what refused is known
    beforehand, and is compared with what the daemon has counted."""

    def __init__(self, name, run_dir, seed, place, port, by_control):
        self.name, self.place, self.port, self.by_control = name, place, port, by_control
        self.rng = random.Random(seed)
        self.client = sluice.Client(run_dir, timeout=30, name=name)
        self.still = threading.Lock()  # who has it keeps the publisher from going on
        self.actions = {}   # by number: what the table must have
        self.packets = {}   # by number: what the flow must have counted
        self.messages = self.accepted = self.refused = 0
        self.busy = 0       # times that the daemon's queue was full
        outs = [out for out in place.ports if out != port]
        self.choices = ["drop", "flood", ",".join(outs)] + outs

    def match(self, number):
        return self.place.match(self.port, number)

    def flow(self, number, actions):
        return {"match": self.match(number), "actions": actions, "priority": number % 3}

    def outs(self, number):
        """The ports that frame(number) must leave from."""
        actions = self.actions.get(number, "drop")
        if actions == "flood":
            return [out for out in self.place.ports if out != self.port]
        return [] if actions == "drop" else actions.split(",")

    def step(self):
        with self.still:
            self._step()

    def _step(self):
        operation = self.rng.choices(("put", "mod", "del", "flush"), (10, 4, 6, 0.3))[0]
        if operation == "flush":
            return self._say("flush", {"port": self.port}, 1, 0, self._flushed)
        numbers = self.rng.sample(range(NUMBERS), self.rng.choice((1, 5, 60)))
        flows, accepted, refused = [], 0, 0
        changes = {}
        for number in numbers:
            actions = self.rng.choice(self.choices)
            known = number in self.actions
            if operation == "del":
                flows.append({"match": self.match(number)})
            elif self.rng.random() < 0.05:
                flows.append(self._wrong(number))
                refused += 1
                continue
            else:
                flows.append(self.flow(number, actions))
            if operation == "put" or known:
                accepted += 1
                changes[number] = None if operation == "del" else actions
            else:
                refused += 1
        return self._say(operation, {"flows": flows}, accepted, refused, lambda: self._changed(changes))

    def _wrong(self, number):
        fault = self.rng.choice(FAULTS)
        flow = self.flow(number, "drop")
        if fault == "match":
            flow["match"] += ",colour(red)"
        else:
            flow["actions"] = "fly" if fault == "action" else "nosuchport"
        return flow

    def _flushed(self):
        self.actions.clear()
        self.packets.clear()

    def _changed(self, changes):
        for number, actions in changes.items():
            if actions is None:
                del self.actions[number]
                del self.packets[number]
            else:
                self.actions[number] = actions
                self.packets.setdefault(number, 0)

    def _say(self, operation, body, accepted, refused, then):
        if self.by_control:
            try:
                self.client.call(f"flow_{operation}", publisher=self.name, **body)
                said = 0
            except sluice.Error as error:
                if error.reason == "no_daemon":
                    raise
                said = len(error.refused)
            if said != refused:
                raise AssertionError(f"{self.name}: {operation} refused {said} flows, not {refused}: {str(body)[:500]}")
        else:
            while True:
                try:
                    self.client.publish(f"flow.{operation}", **body)
                    break
                except sluice.Error as error:
                    if error.reason != "would_block":
                        raise
                    self.busy += 1
                    time.sleep(0.01)
        self.messages += 1
        self.accepted += accepted
        self.refused += refused
        then()

    def close(self):
        self.client.close(linger_ms=0)
