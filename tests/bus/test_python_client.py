#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Python client against a core made for the tests."""
import json
import os
import tempfile
import threading
import unittest

import zmq

import sluice


class FakeCore:
    """Answers control requests from `answers` (operation: function of its body), publishes what it is told."""

    def __init__(self, run_dir):
        self.context = zmq.Context()
        self.control, self.events, self.ingress = (self.context.socket(kind)
                                                   for kind in (zmq.ROUTER, zmq.XPUB, zmq.SUB))
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        for name in ("control", "events", "ingress"):
            getattr(self, name).bind(f"ipc://{run_dir}/{name}")
        self.ingress.subscribe("")
        self.answers, self.published, self.todo = {}, [], []
        self.epoch, self.numbers = "e1", {}
        self.arrived = threading.Condition()
        self.bell = self.context.socket(zmq.PAIR)
        self.bell.bind("inproc://bell")
        self.ring = self.context.socket(zmq.PAIR)
        self.ring.connect("inproc://bell")
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def close(self):
        self.ring.send(b"quit")
        self.thread.join()
        self.context.destroy(linger=0)

    def do(self, work):
        """Runs work in the core's thread, some time later."""
        self.todo.append(work)
        self.ring.send(b"")

    def run(self):
        poller = zmq.Poller()
        for socket in (self.control, self.events, self.ingress, self.bell):
            poller.register(socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self.bell in ready:
                if self.bell.recv() == b"quit":
                    return
                self.todo.pop(0)()
            if self.events in ready and self.events.recv() == b"\1json:heartbeat":
                self.beat()
            if self.ingress in ready:
                topic, payload = self.ingress.recv_multipart()
                with self.arrived:
                    self.published.append((topic.decode(), json.loads(payload)))
                    self.arrived.notify()
            if self.control in ready:
                *route, payload = self.control.recv_multipart()
                request = json.loads(payload)
                (op, body), = ((key, value) for key, value in request.items() if key != "id")
                reply = {"ok": True, "reason": "", "detail": "", "refused": [], "id": str(request["id"])}
                reply.update(self.answers[op](body))
                self.control.send_multipart([*route, json.dumps(reply).encode()])

    def next_published(self):
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.published, 20), "nothing was published"
            return self.published.pop(0)

    def send(self, topic, *events):
        message = {"node": "n", "epoch": self.epoch, "events": events}
        self.events.send_multipart([f"json:{topic}".encode(), json.dumps(message).encode()])

    def beat(self):
        numbers = {topic: str(number) for topic, number in self.numbers.items()}
        self.send("heartbeat", {"topic": "heartbeat", "seq": "0", "topic_seq": "0", "heartbeat": {"topic_seq": numbers}})

    def event(self, topic, lost=False):
        self.numbers[topic] = self.numbers.get(topic, 0) + 1
        if not lost:
            self.send(topic, {"topic": topic, "seq": "9", "topic_seq": str(self.numbers[topic]), "flow": {}})


class PythonClient(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="sluice-py-")
        self.addCleanup(directory.cleanup)
        self.run_dir = directory.name
        self.core = FakeCore(self.run_dir)
        self.addCleanup(lambda: self.core.close())
        self.client = sluice.Client(self.run_dir, timeout=20)
        self.addCleanup(lambda: self.client.close())

    def test_requests_are_answered(self):
        self.core.answers["flow_put"] = lambda body: {"ufids": [flow["match"] for flow in body["flows"]]}
        self.assertEqual(self.client.put_flows({"match": "a"}, {"match": "b"}), ["a", "b"])
        self.core.answers["flow_del"] = lambda body: {"flows": [body["flows"][0]]}
        self.assertEqual(self.client.del_flow("u"), {"ufid": "u"})
        self.assertEqual(self.client.del_flow(match="m"), {"match": "m"})
        got = []
        self.core.answers["packet_out"] = lambda body: got.append(body) or {}
        self.client.packet_out("p0", b"\x00\xff", "p1")
        self.assertEqual((got[0]["in_port"], got[0]["data"], got[0]["actions"]), ("p0", "AP8=", "p1"))
        self.core.answers["packet_outs"] = lambda body: got.append(body) or {}
        self.client.packet_outs({"in_port": "p0", "data": b"\x00\xff"}, {"in_port": "p1", "data": b"", "actions": "p2"})
        self.assertEqual(got[1]["packets"], [{"in_port": "p0", "data": "AP8="},
                                             {"in_port": "p1", "data": "", "actions": "p2"}])

    def test_a_refusal_is_an_error(self):
        self.core.answers["flow_get"] = lambda body: {"ok": False, "reason": "no_such_flow", "detail": "none"}
        with self.assertRaises(sluice.Error) as caught:
            self.client.call("flow_get", ufid="u")
        self.assertEqual((caught.exception.reason, caught.exception.detail), ("no_such_flow", "none"))

    def test_so_is_a_request_that_could_not_be_read(self):
        self.core.answers["flow_get"] = lambda body: {"id": "0", "ok": False, "reason": "bad_request"}
        with self.assertRaises(sluice.Error) as caught:
            self.client.call("flow_get", ufit="u")
        self.assertEqual(caught.exception.reason, "bad_request")

    def test_without_a_daemon(self):
        with tempfile.TemporaryDirectory() as empty, sluice.Client(empty, timeout=0.1) as client:
            for attempt in (lambda: client.call("status"), lambda: client.publish("flow.flush"), client.events):
                with self.assertRaises(sluice.Error) as caught:
                    attempt()
                self.assertEqual(caught.exception.reason, "no_daemon")

    def test_a_url_or_the_environment_names_the_daemon(self):
        endpoints = {"control": "elsewhere", "events": "ipc://e", "ingress": "ipc://i"}
        self.core.answers["status"] = lambda body: {"status": {"endpoints": endpoints}}
        with sluice.Client(f"ipc://{self.run_dir}/control") as client:
            self.assertEqual(client.endpoints, {**endpoints, "control": f"ipc://{self.run_dir}/control"})
        os.environ["SLUICE_RUN_DIR"] = "/run/x"
        self.addCleanup(os.environ.pop, "SLUICE_RUN_DIR")
        with sluice.Client() as client:
            self.assertEqual(client.endpoints["events"], "ipc:///run/x/events")

    def test_the_snapshot_is_walked(self):
        chunks = {"0": {"flows": [{"ufid": "a"}, {"ufid": "b"}], "deleted": [], "done": False, "cursor": "2"},
                  "2": {"flows": [{"ufid": "c"}], "deleted": ["a"], "done": True, "cursor": "3"}}
        self.core.answers["snapshot"] = lambda body: {**chunks[body.get("after", "0")], "epoch": "e1"}
        self.assertEqual(self.client.flows(), {"b": {"ufid": "b"}, "c": {"ufid": "c"}})

    def test_the_first_message_published_arrives(self):
        for number in range(10):
            with sluice.Client(self.run_dir, timeout=20, name="me") as client:
                client.publish("flow.flush", port=f"p{number}")
            topic, body = self.core.next_published()
            self.assertGreater(body.pop("publisher_run"), 0)
            expected = {"port": f"p{number}", "publisher": "me", "publisher_seq": 1, "publisher_records": 0}
            self.assertEqual((topic, body), ("flow.flush", expected))

    def test_it_settles_when_the_daemon_has_had_the_last_word(self):
        told = {"accepted": "1", "refused": "1"}

        def answer(body):
            self.assertEqual(body["name"], "me")
            asked.append(body["run"])
            if len(asked) == 3:
                told["dropped"] = "2"
            return {"publishers": [told]} if len(asked) > 1 else {"ok": False, "reason": "no_such_publisher"}
        asked = []
        self.core.answers["publisher_get"] = answer
        with sluice.Client(self.run_dir, timeout=20, name="me") as client:
            client.publish("flow.put", flows=[{"match": "a"}, {"match": "b"}])
            client.publish("flow.flush")
            client.publish("packet.out", in_port="p0")
            self.assertEqual(client.settle(timeout=20),
                             {"sent": 4, "accepted": 1, "refused": 1, "dropped": 2, "under_way": 0})
        messages = [self.core.next_published()[1] for _ in range(4)]
        self.assertEqual([(m["publisher_seq"], m["publisher_records"]) for m in messages],
                         [(1, 0), (2, 2), (3, 3), (4, 4)])
        self.assertEqual({m["publisher_run"] for m in messages}, set(asked))

    def test_events_and_their_gaps(self):
        events = self.client.events("flow.", timeout=20)

        def publish():
            self.core.event("flow.add")
            self.core.event("flow.add", lost=True)
            self.core.event("flow.add")
            self.core.event("port.add")
            self.core.event("flow.del", lost=True)
            self.core.beat()
            self.core.epoch, self.core.numbers = "e2", {}
            self.core.event("flow.add")
        self.core.do(publish)
        got = [next(events) for _ in range(6)]
        self.assertEqual([(event["topic"], event.get("of"), event.get("missed")) for event in got],
                         [("flow.add", None, None), ("gap", "flow.add", 1), ("flow.add", None, None),
                          ("gap", "flow.del", 1), ("epoch", None, None), ("flow.add", None, None)])
        self.assertEqual((got[0]["node"], got[0]["epoch"], got[0]["seq"]), ("n", "e1", 9))
        self.assertEqual(got[5]["epoch"], "e2")

    def test_events_end_when_nothing_comes(self):
        self.assertEqual(list(self.client.events("upcall", timeout=0.05)), [])
        self.core.do(lambda: None)


if __name__ == "__main__":
    unittest.main()
