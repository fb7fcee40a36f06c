# SPDX-License-Identifier: Apache-2.0
"""Ports that go and return, and a device that fails."""
import sluice

from .cases_flows import wait_deleted
from .rig import Skip, check, say
from .suite import case


@case
def ports(rig):
    """Each port is reported up, or failed with a sentence; one that cannot be added is not left half there."""
    for name in rig.profile.ports:
        port = rig.port(name)
        check(port is not None and port["state"] == "up", f"port {name} is {port and port['state']}, not up")
    rig.del_port(rig.profile.ports[2])
    check(rig.port(rig.profile.ports[2]) is None, f"port {rig.profile.ports[2]} is still there")
    rig.add_ports(rig.profile.ports[2])
    if rig.profile.bad_port is None:
        return
    try:
        rig.call("port_add", name=rig.profile.bad_port, plugin=rig.name, options=rig.profile.port_options(rig.profile.bad_port))
    except sluice.Error as error:
        check(" " in error.detail, f"port {rig.profile.bad_port} was refused without a sentence: {error}")
    else:
        port = rig.port(rig.profile.bad_port)
        check(port["state"] != "up", f"port {rig.profile.bad_port} is up, though there is no such device")
        check(port["detail"], f"port {rig.profile.bad_port} is {port['state']} without a word why")
        rig.del_port(rig.profile.bad_port)
    check(rig.port(rig.profile.bad_port) is None, f"port {rig.profile.bad_port} is still there")


@case
def port_removal(rig):
    """A port that goes takes its flows off the device, and its return brings them back; others notice nothing, and no
    count is lost."""
    first, second, third = rig.profile.ports
    kept, into, out_of, both = rig.install(rig.flow(1, second), rig.flow(2, third), rig.flow(3, second, third),
                                           rig.flow(4, f"{second},{third}"))
    rig.forward(2, 30, [third])
    rig.forward(3, 20, [second], third)
    rig.del_port(third)
    rig.wait_not_taken(into, out_of, both)
    rig.wait_counts({into: 30, out_of: 20, both: 0})
    for ufid in (into, out_of, both):
        entry = rig.offload(ufid)
        check(entry["reason"] and " " in entry["detail"],
              f"{rig.get(ufid)['match']} -> {rig.get(ufid)['actions']} is {say(entry)}: it lacks a reason or a sentence")
    check(rig.offload(kept)["state"] in ("installed", "software"),
          f"a flow that does not need port {third} is {say(rig.offload(kept))}")
    rig.forward(1, 20, [second])
    rig.forward(2, 10, [])
    rig.add_ports(third)
    rig.wait_taken(into, out_of, both)
    rig.forward(1, 20, [second])
    rig.forward(2, 10, [third])
    rig.forward(3, 10, [second], third)
    rig.forward(4, 10, [second, third])
    rig.wait_counts({kept: 40, into: 40, out_of: 30, both: 10})
    # What is changed and deleted while the port is away stays so.
    rig.del_port(third)
    rig.client.del_flow(ufid=into)
    wait_deleted(rig, into)
    rig.install(rig.flow(4, second))
    rig.add_ports(third)
    rig.wait_taken(out_of)
    rig.settle()
    rig.agree({kept: second, out_of: second, both: second})
    rig.forward(2, 10, [])
    rig.forward(4, 10, [second])


@case
def failing_device(rig):
    """While a device fails its flows are not called installed, and can be deleted; once mended they return."""
    if rig.profile.why_no_failure:
        raise Skip(rig.profile.why_no_failure)
    _, second, third = rig.profile.ports
    kept, doomed, old = rig.install(rig.flow(1, second), rig.flow(2, third), rig.flow(3, third))
    rig.forward(2, 10, [third])
    rig.profile.break_device(third)
    if rig.profile.returns_by_itself:
        rig.until(lambda: rig.port(third)["state"] != "up", f"port {third} to be reported gone or failed")
        check(rig.port(third)["detail"] or rig.port(third)["state"] == "gone", f"port {third} failed without a word why")
        rig.wait_not_taken(old)
    new, = rig.put(rig.flow(4, third))
    entry = rig.wait_judged(new)
    check(entry["state"] in ("refused", "failed"), f"a flow to the broken port {third} is {say(entry)}")
    check(entry["reason"] and " " in entry["detail"], f"a flow to the broken port {third} is {say(entry)}: why?")
    check(rig.offload(kept)["state"] in ("installed", "software"), f"a flow of other ports is {say(rig.offload(kept))}")
    rig.client.del_flow(ufid=doomed)
    wait_deleted(rig, doomed)
    rig.forward(1, 10, [second])
    rig.profile.mend_device(third)
    if not rig.profile.returns_by_itself:
        rig.del_port(third)
        rig.add_ports(third)
    rig.wait_ports_up()
    rig.wait_taken(old, new)
    rig.settle()
    rig.agree({kept: second, old: third, new: third})
    rig.forward(1, 10, [second])
    rig.forward(3, 10, [third])
    rig.forward(4, 10, [third])
    rig.forward(2, 10, [])


