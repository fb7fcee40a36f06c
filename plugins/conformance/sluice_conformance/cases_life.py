# SPDX-License-Identifier: Apache-2.0
"""The plugin's life: loaded, unloaded, reloaded, told everything anew, slow, killed, and what it leaves."""
import os
import signal
import time

import sluice

from .cases_flows import wait_deleted
from .rig import MAX_TOMBSTONES, Failure, Skip, check
from .suite import case


@case
def options(rig):
    """An option that the plugin does not know is refused by name."""
    rig.asked("plugin unload", "plugin_unload", name=rig.name)
    try:
        rig.load(no_such_option_42="1")
    except Failure as refused:
        check("no_such_option_42" in str(refused), f"the refusal does not name the option: {refused}")
    else:
        raise Failure("the plugin has started with option no_such_option_42=1, as if it knew it")
    rig.load()
    rig.wait_ports_up()


def some_flows(rig):
    """{ufid: actions} of four flows that are installed."""
    _, second, third = rig.profile.ports
    flows = [rig.flow(1, second), rig.flow(2, third), rig.flow(3, "drop"), rig.flow(4, f"{second},{third}")]
    return dict(zip(rig.install(*flows), (flow["actions"] for flow in flows)))


def forwards(rig):
    """That some_flows() do what they say, with ten packets each."""
    _, second, third = rig.profile.ports
    rig.forward(1, 10, [second])
    rig.forward(2, 10, [third])
    rig.forward(3, 10, [])
    rig.forward(4, 10, [second, third])


@case
def reload(rig):
    """After a reload all flows are there again, with the counters that they had."""
    model = some_flows(rig)
    for _ in range(2):
        forwards(rig)
        rig.asked("plugin reload", "plugin_reload", name=rig.name)
        rig.wait_ports_up()
        rig.settle()
        rig.agree(model)
    forwards(rig)
    rig.wait_counts({ufid: 30 for ufid in model})


@case
def unload(rig):
    """Unloaded in time the plugin leaves nothing on its devices, and has told all that it counted. Loaded again, it
    has what was changed in between."""
    _, second, third = rig.profile.ports
    model = some_flows(rig)
    forwards(rig)
    rig.asked("plugin unload", "plugin_unload", name=rig.name)
    check("did not say bye" not in rig.log() and "did not stop" not in rig.log(), f"it was not in time: {rig.log()[-300:]}")
    check(rig.plugin() is None, "it is still loaded")
    for sentence in rig.profile.left_behind():
        raise Failure(sentence)
    if not rig.profile.why_no_packets:
        counted = {flow["actions"]: int(flow["packets"]) for flow in rig.client.flows().values()}
        check(set(counted.values()) == {10}, f"counted by action are {counted}, 10 packets went to each")
    one, two, three, _ = model
    rig.client.del_flow(ufid=one)
    rig.put(rig.flow(2, second), rig.flow(5, third))
    del model[one]
    model[two] = second
    rig.load()
    rig.wait_ports_up()
    rig.settle()
    model[next(ufid for ufid in rig.client.flows() if ufid not in model)] = third
    rig.agree(model)
    rig.forward(1, 10, [])
    rig.forward(2, 10, [second])
    rig.forward(5, 10, [third])
    rig.client.del_flow(ufid=three)
    wait_deleted(rig, three)


@case
def leaks(rig):
    """Loaded and unloaded many times, it leaves no thread, no file, no library in the daemon."""
    some_flows(rig)

    def used():
        pid = rig.daemon.pid
        with open(f"/proc/{pid}/maps") as maps:
            mapped = {line.split(None, 5)[5].strip() for line in maps if f"/{rig.name}-" in line and ".so" in line}
        return {"threads": len(os.listdir(f"/proc/{pid}/task")), "open files": len(os.listdir(f"/proc/{pid}/fd")),
                "copies of its library": len(mapped)}

    def cycle():
        rig.load()
        rig.wait_ports_up()
        rig.asked("plugin unload", "plugin_unload", name=rig.name)
    rig.asked("plugin unload", "plugin_unload", name=rig.name)
    cycle()  # what is made once and kept is no leak
    first = used()
    check(first["copies of its library"] == 0, "its library stays in the daemon: is it built with -fno-gnu-unique?")
    for _ in range(4):
        cycle()
    # ZeroMQ closes its sockets a little later.
    rig.until(lambda: all(count <= first[what] for what, count in used().items()),
              lambda: f"the daemon to be as it was four loads before: it has {used()}, it had {first}", 3)


@case
def resync(rig):
    """Told everything anew, it keeps forwarding what is put again, and withdraws what is not."""
    _, second, third = rig.profile.ports
    keep = rig.put(*(rig.flow(number, second) for number in range(60)))
    before, deleted = rig.counter("plugin_resyncs"), []
    for turn in range(5):
        base = 1000 * (turn + 1)
        doomed = rig.put(*(rig.flow(number, third) for number in range(base, base + 8 * MAX_TOMBSTONES)))
        rig.settle()
        rig.call("flow_del", flows=[{"ufid": ufid} for ufid in doomed])  # more at once than may be unconfirmed
        deleted += [base, base + 300, base + 8 * MAX_TOMBSTONES - 1]
        rig.settle()
        if rig.counter("plugin_resyncs") > before:
            break
    else:
        raise Failure("the core saw no reason to tell it everything anew, after five times 2048 deletes")
    rig.wait_ports_up()
    rig.settle()
    rig.agree({ufid: second for ufid in keep})
    rig.forward(deleted, 3, [])
    rig.forward(range(60), 3, [second])
    rig.put(rig.flow(1, third))
    rig.settle()
    rig.forward(1, 10, [third])


def churn(rig):
    """Thousands of changes on ingress, faster than verdicts come. Returns the actions by match that are left."""
    _, second, third = rig.profile.ports
    model = {}

    def publish(topic, numbers, actions=None):
        flows = [rig.flow(number, actions) if actions else {"match": rig.flow(number, "")["match"]} for number in numbers]
        while True:
            try:
                return rig.client.publish(topic, flows=flows)
            except sluice.Error as error:
                if error.reason != "would_block":
                    raise
                time.sleep(0.01)
    for first in range(0, 4000, 100):
        publish("flow.put", range(first, first + 100), second)
        model.update((number, second) for number in range(first, first + 100))
        if first % 300 == 0:
            publish("flow.put", range(first, first + 50), third)
            model.update((number, third) for number in range(first, first + 50))
        if first % 200 == 0:
            publish("flow.del", range(first + 50, first + 100))
            for number in range(first + 50, first + 100):
                del model[number]
    rig.until(lambda: int(rig.status()["flows"]) == len(model), lambda: f"ingress to leave {len(model)} flows")
    return model


def agrees_after_churn(rig, model):
    rig.wait_ports_up()
    rig.settle(rig.patience + 10)
    by_match = {flow["match"]: ufid for ufid, flow in rig.client.flows().items()}
    rig.agree({by_match.get(rig.flow(number, "")["match"], number): actions for number, actions in model.items()})
    for number in (0, 49, 50, 99, 301, 1850, 3850, 3999):
        actions = model.get(number, "drop")
        rig.forward(number, 5, [] if actions == "drop" else [actions])


@case
def slow(rig):
    """More changes than it can take at once, and in a process half a second's pause on top: at the end all is right."""
    pid = int(rig.plugin()["pid"])
    if pid:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        model = churn(rig)
    finally:
        if pid:
            time.sleep(max(0, began + 0.5 - time.monotonic()))
            os.kill(pid, signal.SIGCONT)
    agrees_after_churn(rig, model)
    return f"{len(model)} flows left of a churn of 8000"


@case
def hang(rig):
    """A process that stops answering: whether it returns or is killed and started again, at the end all is right."""
    pid = process_of(rig)
    model = churn(rig)
    rig.settle(rig.patience + 10)
    os.kill(pid, signal.SIGSTOP)
    rig.until(lambda: rig.plugin()["state"] != "running" or int(rig.plugin()["pid"]) != pid,
              "the core to notice that the plugin hangs", 10)
    for number in range(100):
        rig.put(rig.flow(number, "drop"))
        model[number] = "drop"
    for number in range(300, 340):
        rig.client.del_flow(match=rig.flow(number, "")["match"])
        del model[number]
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass  # it was killed for it
    rig.until(lambda: rig.plugin()["state"] == "running", lambda: f"it to run again: {rig.plugin()}", 15)
    agrees_after_churn(rig, model)


@case
def crash(rig):
    """Killed, it is started again, and has everything it had."""
    pid = process_of(rig)
    model = some_flows(rig)
    forwards(rig)
    os.kill(pid, signal.SIGKILL)
    rig.until(lambda: int(rig.plugin()["pid"]) not in (0, pid) and rig.plugin()["state"] == "running",
              lambda: f"the plugin to be started again: {rig.plugin()}", 15)
    rig.wait_ports_up()
    rig.settle()
    rig.agree(model)
    forwards(rig)


def process_of(rig):
    pid = int(rig.plugin()["pid"])
    if pid == 0:
        raise Skip("a thread cannot be stopped or killed by itself")
    return pid


@case
def end(rig):
    """The daemon ends cleanly with the plugin loaded, and its devices are as they were."""
    some_flows(rig)
    rig.events.close()
    code = rig.stop_daemon()
    check(code == 0, f"sluiced ended with {code}: {rig.log()[-500:]}")
    for sentence in rig.profile.left_behind():
        raise Failure(sentence)
