# SPDX-License-Identifier: Apache-2.0
"""Client of the Sluice flow-offload service: JSON over ZeroMQ, needs pyzmq only.

    import sluice
    client = sluice.Client()
    client.put_flows({"match": "in_port(p0),eth_type(0x0806)", "actions": "p1"})
    for event in client.events("upcall", "flow."):
        print(event["topic"], event)

One thread at a time for each Client. bus/README.md describes what travels.
"""
import base64
import os
import secrets
import time

import zmq

DEFAULT_RUN_DIR = "/run/sluice"


class Error(Exception):
    """The daemon refused, or did not answer. `reason` is machine-readable, `refused` the refused parts."""

    def __init__(self, reason, detail, refused=()):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.refused = reason, detail, list(refused)


class Client:
    """Speaks to the daemon in run directory `where`, or to that whose control endpoint is the URL `where`."""

    def __init__(self, where=None, timeout=5.0, name=None):
        where = where or os.environ.get("SLUICE_RUN_DIR") or DEFAULT_RUN_DIR
        self.timeout = timeout
        self.name = name or f"python {os.getpid()}"
        self._context = zmq.Context()
        self._control = self._ingress = None
        self._ids = 0
        self._subscriptions, self._ever_subscribed = set(), set()
        self._begin_run()
        if "://" in where:
            self.endpoints = {"control": where}
            self.endpoints.update(self.call("status")["status"]["endpoints"], control=where)
        else:
            self.endpoints = {name: f"ipc://{where}/{name}" for name in ("control", "ingress", "events")}

    def close(self, linger_ms=1000):
        self._context.destroy(linger=linger_ms)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- control: every request is answered

    def call(self, op, **body):
        """Makes a request (a field of message Request, such as "flow_get") and returns the reply; raises Error."""
        if self._control is None:
            self._control = self._context.socket(zmq.DEALER)
            self._control.setsockopt(zmq.IMMEDIATE, 1)  # never queued for a daemon that starts later
            self._control.connect(self.endpoints["control"])
        self._ids += 1
        deadline = time.monotonic() + self.timeout
        if not self._control.poll(self.timeout * 1000, zmq.POLLOUT):
            raise Error("no_daemon", f"nobody listens at {self.endpoints['control']}")
        self._control.send_json({"id": self._ids, op: body})
        while self._control.poll(max(0, deadline - time.monotonic()) * 1000):
            reply = self._control.recv_json()
            if int(reply["id"]) not in (0, self._ids):  # 0: the daemon could not read the request
                continue  # of a request that timed out
            if not reply["ok"]:
                raise Error(reply["reason"], reply["detail"], reply["refused"])
            return reply
        raise Error("no_daemon", f"no answer from {self.endpoints['control']} within {self.timeout} s")

    def put_flows(self, *flows):
        """Adds or replaces flows (dicts with match, actions, ...); returns their ufids."""
        return self.call("flow_put", flows=flows, publisher=self.name)["ufids"]

    def del_flow(self, ufid=None, match=None):
        """Deletes one flow by its ufid or match; returns it with its last counters."""
        key = {"ufid": ufid} if ufid else {"match": match}
        flows = self.call("flow_del", flows=[key], publisher=self.name)["flows"]
        return flows[0] if flows else None

    def packet_out(self, in_port, data, actions=None):
        """Brings a packet (bytes, from the Ethernet destination on) into the datapath as if received on in_port."""
        body = {"in_port": in_port, "data": base64.b64encode(data).decode(), "publisher": self.name}
        self.call("packet_out", **body, **({} if actions is None else {"actions": actions}))

    def packet_outs(self, *packets):
        """Many at once, as dicts with in_port, data (bytes) and maybe actions. Raises Error where some were refused (by
        their index); the others went."""
        self.call("packet_outs", packets=[{**packet, "data": base64.b64encode(packet["data"]).decode()}
                                          for packet in packets], publisher=self.name)

    def flows(self):
        """The whole table: a dict of flows by ufid."""
        table, snapshot = {}, {}
        while True:
            reply = self.call("snapshot", **snapshot)
            for ufid in reply["deleted"]:
                table.pop(ufid, None)
            table.update((flow["ufid"], flow) for flow in reply["flows"])
            if reply["done"]:
                return table
            snapshot = {"after": reply["cursor"], "epoch": reply["epoch"]}

    # ---- ingress: fire and forget, refusals come as "refused" events

    def publish(self, topic, **body):
        """Sends to ingress; raises Error where no daemon listens or its queue is full. No message is lost unnoticed."""
        if self._ingress is None:
            # XPUB, as it shows the daemon's subscription: what is sent before that is lost.
            self._ingress = self._context.socket(zmq.XPUB)
            self._ingress.setsockopt(zmq.XPUB_NODROP, 1)
            self._ingress.setsockopt(zmq.XPUB_VERBOSE, 1)  # a daemon that comes after another shows, too
            self._ingress.connect(self.endpoints["ingress"])
        deadline = time.monotonic() + self.timeout
        while True:
            self._take_subscriptions()
            if any(topic.encode().startswith(prefix) for prefix in self._subscriptions):
                break
            if not self._ingress.poll(max(0, deadline - time.monotonic()) * 1000):
                raise Error("no_daemon", f"nobody listens at {self.endpoints['ingress']}")
        body.update(publisher=self.name, publisher_run=self._run, publisher_seq=self._sent + 1,
                    publisher_records=self._records)
        try:
            self._ingress.send_string(topic, zmq.SNDMORE | zmq.DONTWAIT)
        except zmq.Again:
            raise Error("would_block", "the daemon is slower than this publisher; try again") from None
        self._ingress.send_json(body)
        self._sent += 1
        self._records += 1 if topic in ("flow.flush", "packet.out") else len(body.get("flows", body.get("packets", ())))

    def settle(self, timeout=5.0):
        """Waits until the daemon has taken or missed all that was published, and returns how it fared: a dict of sent,
        accepted, refused, dropped (it never came) and under_way (not known yet: time was up), in flows, keys, packets
        and flushes. It counts from when this daemon subscribed; raises Error where another has come meanwhile."""
        deadline, pause, said, run = time.monotonic() + timeout, 0.001, False, self._run
        while True:
            # When this has come, all before it has come or never will.
            if not said:
                try:
                    self.publish("flow.put")
                    said = True
                except Error as error:
                    if error.reason != "would_block" or time.monotonic() >= deadline:
                        raise
            try:
                told = self.call("publisher_get", name=self.name, run=self._run)["publishers"][0]
            except Error as error:
                if error.reason != "no_such_publisher":
                    raise
                told = {}
            self._take_subscriptions()
            if run != self._run:
                raise Error("daemon_changed", "another daemon than these were sent to listens now")
            account = {key: int(told.get(key, 0)) for key in ("accepted", "refused", "dropped")}
            account.update(sent=self._records, under_way=self._records - sum(account.values()))
            if account["under_way"] == 0 or time.monotonic() >= deadline:
                return account
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _take_subscriptions(self):
        while self._ingress.poll(0):
            frame = self._ingress.recv()
            (self._subscriptions.add if frame[0] else self._subscriptions.discard)(frame[1:])
            if frame[0] and frame[1:] in self._ever_subscribed:
                self._begin_run()  # this daemon has not seen what went to the one before
            self._ever_subscribed.add(frame[1:])

    def _begin_run(self):
        """By these numbers the daemon knows what never came."""
        self._run, self._sent, self._records = secrets.randbelow(2**53 - 1) + 1, 0, 0

    # ---- events

    def events(self, *topics, timeout=None):
        """Subscribes to topic prefixes and returns a generator of events (dicts with node, epoch, seq, topic and the
        topic's body). Where events were missed it yields {"topic": "gap", "of": TOPIC, "missed": N}, and where another
        daemon took over {"topic": "epoch", "epoch": E}. Returns once the subscription is in force; the generator ends
        when nothing has come for `timeout` seconds. No topics: all but heartbeats."""
        topics = topics or ("flow.", "port.", "plugin.", "upcall", "refused", "publisher.")
        socket = self._context.socket(zmq.SUB)
        for topic in ("heartbeat", *topics):
            socket.subscribe(f"json:{topic}")
        socket.connect(self.endpoints["events"])
        if not socket.poll(self.timeout * 1000):  # the daemon's heartbeat is the sign that it has our subscription
            socket.close(linger=0)
            raise Error("no_daemon", f"no heartbeat from {self.endpoints['events']} within {self.timeout} s")
        return _stream(socket, topics, timeout)


def _stream(socket, topics, timeout):
    epoch, last, known_all = None, {}, False
    deadline = None if timeout is None else time.monotonic() + timeout

    def gap(topic, newest, received):
        """Events of `topic` up to `newest` should have come, `received` of them now."""
        before = last.get(topic, 0 if known_all else newest - received)
        last[topic] = max(before, newest)
        missed = newest - received - before
        return [{"topic": "gap", "of": topic, "missed": missed}] if missed > 0 else []

    try:
        while socket.poll(None if deadline is None else max(0, deadline - time.monotonic()) * 1000):
            socket.recv()
            message = socket.recv_json()
            if message["epoch"] != epoch:
                if epoch is not None:
                    yield {"topic": "epoch", "epoch": message["epoch"]}
                epoch, last, known_all = message["epoch"], {}, False
            for event in message["events"]:
                if event["topic"] == "heartbeat":
                    for topic, newest in event["heartbeat"]["topic_seq"].items():
                        if topic != "heartbeat" and topic.startswith(topics):
                            yield from gap(topic, int(newest), 0)
                    known_all = True
                    if not "heartbeat".startswith(topics):
                        continue
                else:
                    yield from gap(event["topic"], int(event["topic_seq"]), 1)
                event.update(node=message["node"], epoch=epoch, seq=int(event["seq"]))
                yield event
                deadline = None if timeout is None else time.monotonic() + timeout
    finally:
        socket.close(linger=0)
