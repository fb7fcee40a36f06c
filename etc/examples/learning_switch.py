#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A learning switch for Sluice: copy it and make it yours. It needs ZeroMQ and nothing else of Sluice.

Packets that no flow matches come up as `upcall` events. The switch learns where their senders are, publishes a flow for
the packet's kind (in_port, VLAN, Ethernet addresses and type) and hands the packet back, which then takes that flow.

A port is untagged in VLAN 0 unless told otherwise: `--access p0=10` puts it untagged into VLAN 10, `--trunk p2` makes it
carry every VLAN tagged (and VLAN 0 untagged).
"""
import argparse
import base64
import json
import os
import uuid

import zmq

IDLE_TIMEOUT_MS = 60_000
MOST_ADDRESSES = 65_536


class Switch:
    def __init__(self, run_dir, trunks, access):
        self.trunks, self.access = set(trunks), access
        self.ports = set()
        self.places = {}  # (VLAN, address): port
        self.flows = {}   # ufid: (VLAN, source, destination) of what we published
        context = zmq.Context.instance()
        self.events = context.socket(zmq.SUB)
        self.events.rcvhwm = 100_000
        self.events.connect(f"ipc://{run_dir}/events")
        for topic in ("upcall", "port.", "flow.del", "heartbeat"):
            self.events.subscribe("json:" + topic)  # "json:" asks for JSON instead of protobuf
        self.ingress = context.socket(zmq.XPUB)  # an XPUB, because it hears when the core has subscribed:
        self.ingress.connect(f"ipc://{run_dir}/ingress")
        self.ingress.recv()  # what is sent before that would be lost without a word
        self.events.recv_multipart()  # likewise: after the first heartbeat our subscriptions are known to be in force
        control = context.socket(zmq.REQ)
        control.connect(f"ipc://{run_dir}/control")
        control.send_json({"port_list": {}})
        for port in control.recv_json().get("ports", []):
            self.ports.add(port["name"])

    def publish(self, topic, message):
        self.ingress.send_multipart([topic.encode(), json.dumps(message).encode()])

    def run(self):
        while True:
            _, payload = self.events.recv_multipart()
            for event in json.loads(payload)["events"]:
                if "upcall" in event:
                    self.upcall(event["upcall"])
                elif "port" in event:
                    self.port_changed(event["topic"], event["port"]["name"])
                elif event["topic"] == "flow.del":
                    self.flows.pop(event["flow"]["ufid"], None)

    def port_changed(self, topic, name):
        if (topic == "port.del") != (name in self.ports):
            return  # nothing that matters here
        self.ports ^= {name}
        self.withdraw(lambda vlan, source, destination: is_group(destination))  # floods reach other ports now
        for where in [where for where, port in self.places.items() if port == name]:
            self.forget(where)

    def upcall(self, upcall):
        port, frame = upcall["in_port"], base64.b64decode(upcall["data"])
        destination, source = (":".join(f"{byte:02x}" for byte in frame[at:at + 6]) for at in (0, 6))
        eth_type = int.from_bytes(frame[12:14], "big")
        vlan, tagged = self.access.get(port, 0), eth_type == 0x8100
        if tagged:
            if port not in self.trunks:
                return  # not for us: an access port takes no tags
            vlan = int.from_bytes(frame[14:16], "big") & 0xfff
        self.learn((vlan, source), port)

        match = f"in_port({port}),eth(src={source},dst={destination}),eth_type({eth_type:#06x})"
        if tagged:
            match += f",vlan(vid={vlan}),encap(eth_type({int.from_bytes(frame[16:18], 'big'):#06x}))"
        known = self.places.get((vlan, destination))
        ways = self.ways([known] if known else self.ports - {port}, vlan, tagged) if known != port else []
        if known or (is_group(destination) and len(ways) < 2):
            ufid = str(uuid.uuid5(uuid.NAMESPACE_OID, match))  # any name will do, if the same match gets the same
            self.flows[ufid] = (vlan, source, destination)
            self.publish("flow.put", {"publisher": "learning-switch", "flows": [{
                "ufid": ufid, "match": match, "actions": ",".join(ways) or "drop", "idle_timeout_ms": IDLE_TIMEOUT_MS}]})
            self.publish("packet.out", {"in_port": port, "data": upcall["data"]})  # now it meets its flow
            return
        for way in ways:  # flood
            self.publish("packet.out", {"in_port": port, "data": upcall["data"], "actions": way})

    def ways(self, outputs, vlan, tagged):
        """Actions that bring a packet of this VLAN to `outputs`: one list for untagged ports and one for tagged."""
        members = [p for p in sorted(outputs) if p in self.trunks or self.access.get(p, 0) == vlan]
        with_tag = [p for p in members if vlan and p in self.trunks]
        without = [p for p in members if p not in with_tag]
        ways = []
        if without:
            ways.append(",".join((["pop_vlan"] if tagged else []) + without))
        if with_tag:
            ways.append(",".join(([] if tagged else [f"push_vlan(vid={vlan},pcp=0)"]) + with_tag))
        return ways

    def learn(self, where, port):
        if self.places.get(where) == port or is_group(where[1]):
            return
        self.forget(where)  # it may have moved here: flows to where it was must go
        if len(self.places) >= MOST_ADDRESSES:
            self.forget(next(iter(self.places)))
        self.places[where] = port
        print(f"{where[1]} (VLAN {where[0]}) is at {port}", flush=True)

    def forget(self, where):
        if self.places.pop(where, None) is not None:
            self.withdraw(lambda vlan, *ends: vlan == where[0] and where[1] in ends)

    def withdraw(self, concerned):
        gone = [ufid for ufid, flow in self.flows.items() if concerned(*flow)]
        for ufid in gone:
            del self.flows[ufid]
        if gone:
            self.publish("flow.del", {"publisher": "learning-switch", "flows": [{"ufid": ufid} for ufid in gone]})


def is_group(address):
    """Multicast or broadcast."""
    return int(address[:2], 16) & 1 == 1


def main():
    parser = argparse.ArgumentParser(description="A learning switch, as a Sluice controller.")
    parser.add_argument("--run-dir", default=os.environ.get("SLUICE_RUN_DIR", "/run/sluice"))
    parser.add_argument("--trunk", action="append", default=[], metavar="PORT")
    parser.add_argument("--access", action="append", default=[], metavar="PORT=VLAN")
    args = parser.parse_args()
    access = {name: int(vlan) for name, vlan in (entry.split("=") for entry in args.access)}
    switch = Switch(args.run_dir, args.trunk, access)
    print("ready", flush=True)
    try:
        switch.run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
