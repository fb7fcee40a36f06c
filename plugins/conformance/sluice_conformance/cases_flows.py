# SPDX-License-Identifier: Apache-2.0
"""Flows: put, modified, deleted, flushed, judged, counted, and which of them wins."""
import time

from .rig import STATS_S, TAKEN, check, say
from .suite import case

MANY = 600


@case
def put(rig):
    """Every put is answered with a verdict, by control or by ingress, one flow or many."""
    _, out, other = rig.profile.ports
    one, = rig.install(rig.flow(1, out))
    rig.forward(1, 20, [out])
    again, = rig.install(rig.flow(1, out))  # puts are idempotent
    check(one == again, f"the same match put twice became {one} and {again}")
    rig.forward(1, 20, [out])
    model = {one: out}
    flows = [rig.flow(number, other) for number in range(2, 2 + MANY)]
    model.update((ufid, other) for ufid in rig.put(*flows))
    for first in range(0, MANY, 50):
        rig.client.publish("flow.put", flows=[rig.flow(10_000 + number, out) for number in range(first, first + 50)])
    rig.until(lambda: len(rig.client.flows()) == len(model) + MANY, "ingress to take all flows")
    rig.settle()
    for ufid, flow in rig.client.flows().items():
        model.setdefault(ufid, flow["actions"])
    rig.agree(model)
    rig.forward(2, 20, [other])
    rig.forward(10_000 + MANY - 1, 20, [out])


@case
def modify(rig):
    """A put replaces what the flow did; its counters go on."""
    _, second, third = rig.profile.ports
    ufid, = rig.install(rig.flow(1, second))
    rig.forward(1, 30, [second])
    rig.install(rig.flow(1, third))
    rig.forward(1, 20, [third])
    rig.call("flow_mod", flows=[rig.flow(1, "drop")])
    rig.wait_taken(ufid)
    rig.forward(1, 10, [])
    rig.install(rig.flow(1, f"{second},{third}"))
    rig.forward(1, 10, [second, third])
    rig.wait_counts({ufid: 70})
    for actions in [second, third] * 50:  # faster than verdicts: only the last counts
        rig.put(rig.flow(1, actions))
    rig.settle()
    rig.agree({ufid: third})
    rig.forward(1, 20, [third])
    check(rig.events.of(ufid).count("flow.add") == 1, "a change of a flow was told as another flow")


@case
def delete(rig):
    """A delete is confirmed once no packet can have the flow, and its last statistics have been told."""
    _, second, third = rig.profile.ports
    kept, ufid = rig.install(rig.flow(1, second), rig.flow(2, third))
    rig.forward(1, 10, [second])
    rig.forward(2, 40, [third])  # and at once, before these are reported:
    rig.client.del_flow(ufid=ufid)
    gone = wait_deleted(rig, ufid)
    rig.forward(2, 20, [])
    rig.forward(1, 10, [second])
    if not rig.profile.why_no_packets:
        check(int(gone["flow"]["packets"]) == 40, f"the flow ended with {gone['flow']['packets']} packets, it took 40")
        rig.wait_counts({kept: 20})
    rig.agree({kept: second})
    check(rig.counter("stats_late") == 0, "statistics came for a flow whose end the plugin had confirmed")


@case
def delete_put(rig):
    """A flow that is put again after its end is another one: it counts from zero, and forwards."""
    _, second, third = rig.profile.ports
    ufid, = rig.install(rig.flow(1, second))
    for packets in (10, 25):
        rig.forward(1, packets, [second])
        rig.wait_counts({ufid: packets})
        since = len(rig.events.all)
        rig.client.del_flow(ufid=ufid)
        rig.put(rig.flow(1, second))
        gone = wait_deleted(rig, ufid, since)
        rig.wait_taken(ufid)
        if not rig.profile.why_no_packets:
            check(int(gone["flow"]["packets"]) == packets,
                  f"the old flow ended with {gone['flow']['packets']} packets, it took {packets}")
    for _ in range(100):
        rig.client.del_flow(ufid=ufid)
        rig.put(rig.flow(1, third))
    rig.settle()
    rig.agree({ufid: third})
    rig.forward(1, 25, [third])
    rig.wait_counts({ufid: 25})
    check(rig.counter("stats_late") == 0, "statistics came for an instance of the flow that is no more")


@case
def flush(rig):
    """Flushed flows leave the device, all of them or those of a port."""
    first, second, third = rig.profile.ports
    ours = rig.put(*(rig.flow(number, second) for number in range(100)))
    others = rig.put(*(rig.flow(number, third, second) for number in range(100)))
    rig.settle()
    rig.forward(7, 10, [second])
    rig.call("flow_flush", port=first)
    for ufid in ours:
        wait_deleted(rig, ufid, cause="flush")
    rig.agree({ufid: third for ufid in others})
    rig.forward(range(100), 3, [])
    rig.forward(7, 10, [third], second)
    rig.call("flow_flush")
    for ufid in others:
        wait_deleted(rig, ufid, cause="flush")
    rig.forward(range(100), 3, [], second)
    rig.agree({})


# What few plugins can do all of: match, actions, and the fields and actions that it takes.
SAMPLES = (
    ("{in},eth_type(0x0800),ipv4(dst=10.0.0.0/8)", "{out}", ("eth_type", "ipv4_dst"), ()),
    ("{in},eth_type(0x0800),ipv4(proto=6),tcp(dst=80)", "{out}", ("eth_type", "ipv4_proto", "tcp_dst"), ()),
    ("{in},eth_type(0x86dd),ipv6(dst=fd00::/16)", "{out}", ("eth_type", "ipv6_dst"), ()),
    ("{in},eth_type(0x8100),vlan(vid=5)", "{out}", ("eth_type", "vlan_tci"), ()),
    ("{in},eth_type(0x0806),arp(op=1)", "{out}", ("eth_type", "arp_op"), ()),
    ("{in},ct_state(+trk)", "{out}", ("ct_state",), ()),
    ("{in},skb_mark(0x5)", "{out}", ("skb_mark",), ()),
    ("tunnel(tun_id=0x7,src=10.0.0.1),{in}", "{out}", ("tun_id", "tun_src"), ()),
    ("recirc_id(0x5),{in}", "{out}", ("recirc_id",), ()),
    ("{in},eth(src=02:00:00:00:00:01)", "push_vlan(vid=5,pcp=0),{out}", ("eth_src",), ("push_vlan",)),
    ("{in},eth(src=02:00:00:00:00:02)", "set(eth(dst=02:00:00:00:00:09)),{out}", ("eth_src",), ("set(eth)",)),
    ("{in},eth(src=02:00:00:00:00:03)", "ct(commit),{out}", ("eth_src",), ("ct",)),
    ("{in},eth(src=02:00:00:00:00:04)", "upcall", ("eth_src",), ("upcall",)),
    ("{in},eth(src=02:00:00:00:00:05)", "flood", ("eth_src",), ("flood",)),
    ("{in},eth(src=02:00:00:00:00:06)", "trunc(100),{out}", ("eth_src",), ("trunc",)),
    ("{in},eth(src=02:00:00:00:00:07)", "recirc(0x5)", ("eth_src",), ("recirc",)),
    ("{in},eth_type(0x0800),ipv4(dst=10.0.0.1)", "dec_ttl,{out}", ("eth_type", "ipv4_dst"), ("dec_ttl",)),
)


@case
def verdicts(rig):
    """What the plugin cannot do it refuses, with a word for machines and a sentence that names it; what it says it can
    do it does not refuse as unknown."""
    first, second, _ = rig.profile.ports
    names = {"{in}": f"in_port({first})", "{out}": second}
    capable = {kind: rig.capabilities(kind) for kind in ("fields", "actions")}
    for kind, known in capable.items():
        check(known, f"the plugin's hello says nothing of its {kind}")
    judged = {"taken": 0, "refused": 0}
    for match, actions, fields, extra in SAMPLES:
        for name, value in names.items():
            match, actions = match.replace(name, value), actions.replace(name, value)
        ufid, = rig.put({"match": match, "actions": actions})
        entry = rig.wait_judged(ufid)
        beyond = [field for field in fields if not {field, "*"} & capable["fields"]]
        beyond += [action for action in extra if not {action, action.split("(")[0], "*"} & capable["actions"]]
        text = f"{match} -> {actions}"
        check(not (beyond and entry["state"] == "installed"),
              f"{text} is installed, but the plugin's hello does not name {', '.join(beyond)}")
        if entry["state"] == "installed":
            judged["taken"] += 1
            continue
        judged["refused"] += entry["state"] not in TAKEN
        check(entry["reason"] and " " not in entry["reason"], f"{text} is {say(entry)}: it lacks a reason, one word")
        check(" " in entry["detail"], f"{text} is {say(entry)}: it lacks a sentence that says why")
        check(beyond or entry["reason"] not in ("unsupported_field", "unsupported_action") or entry["state"] in TAKEN,
              f"{text} is {say(entry)}, but the plugin's hello names all of it")
        words = {word for name in fields + extra for word in (name, name.split("(")[0], *name.split("_"))}
        # Software's may also be for something that the device said, which need not know the flow's words.
        check(entry["state"] in TAKEN and not beyond or any(word in entry["detail"] for word in words),
              f"{text} is {entry['state']} with '{entry['detail']}', which does not name the field or action")
        check(rig.wait_judged(ufid) == entry, f"the verdict on {text} changed by itself")
    rig.call("flow_flush")
    rig.until(lambda: int(rig.status()["flows"]) == 0, "the flush")
    rig.settle()
    rig.agree({})
    plugin = rig.plugin()
    check(int(plugin["refused"]) == int(plugin["failed"]) == 0, "refused flows are remembered after their end")
    return f"of {len(SAMPLES)} kinds of flow {judged['taken']} installed, {judged['refused']} refused"


@case
def statistics(rig):
    """Packets and bytes are counted exactly, told as differences, in time, and only where something was counted."""
    rig.need_packets()
    _, second, third = rig.profile.ports
    busy, other, idle = rig.install(rig.flow(1, second), rig.flow(2, "drop"), rig.flow(3, third))
    sent = 0
    for count in (1, 100):
        rig.forward(1, count, [second])
        rig.profile.send(rig.profile.ports[0], rig.frames(2, count).values())
        sent += count
        began = time.monotonic()
        rig.wait_counts({busy: sent, other: sent})
        took = time.monotonic() - began - STATS_S - 0.15  # which wait_count() waits at its end
        check(took < 2, f"counters came after {took:.1f} s; every 0.6 s is asked for")
        check(int(rig.get(busy).get("used_ms") or 0) < 4000, "the time of the last packet is wrong")
    flow = rig.get(idle)
    check(int(flow["packets"]) == 0 and flow.get("used_ms") is None, "a flow that took no packet has been used")
    since = len(rig.events.all)
    time.sleep(2 * STATS_S + 0.1)
    told = [event["flow"]["match"] for event in rig.events.all[since:] if event["topic"] == "flow.stats"]
    check(not told, f"statistics are told of flows that took no packet meanwhile: {told[:2]}")


@case
def priority(rig):
    """Where flows overlap the one with the higher priority takes the packet, whichever was put first."""
    rig.need_packets()
    first, second, third = rig.profile.ports
    wide = {"match": rig.profile.wide_match(first), "actions": second}
    rig.install(wide)
    rig.forward(1, 20, [second])
    high, = rig.install(rig.flow(1, third, priority=10))
    rig.forward(1, 20, [third])
    rig.forward(2, 20, [second])
    rig.client.del_flow(ufid=high)
    wait_deleted(rig, high)
    rig.forward(1, 20, [second])
    # The other way round: the wide one above.
    rig.client.call("flow_flush")
    rig.settle()
    low, = rig.install(rig.flow(1, third, priority=1))
    rig.forward(1, 20, [third])
    rig.install({**wide, "priority": 10})
    rig.forward(1, 20, [second])
    rig.install(rig.flow(1, third, ufid=low, priority=20))  # the same flow, raised
    rig.forward(1, 20, [third])
    rig.forward(2, 20, [second])


def wait_deleted(rig, ufid, since=0, cause="request"):
    """Its flow.del event: every plugin has confirmed."""
    def told():
        return next((event for event in rig.events.all[since:]
                     if event["topic"] == "flow.del" and event["flow"]["ufid"] == ufid), None)
    event = rig.until(told, "the plugin to confirm the end of a flow")
    check(event["cause"] == cause, f"a flow ended by {event['cause']}, not by {cause}")
    return event
