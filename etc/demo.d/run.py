#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: a lab with three hosts, shown step by step, and taken down again."""
import argparse
import fcntl
import importlib
import json
import os
import shutil
import signal
import sys
import traceback

from console import Console
from lab import HERE, Lab, LabError, run, take_down

PREFIX = "sluice-demo"
RUN_DIR = "/run/sluice-demo"
STATE = os.path.join(RUN_DIR, "demo.json")
SCENARIOS = ("xdp", "rte_flow", "overlay")  # a module each, show_*.py: STEPS and show()


def keep(lab):
    with open(STATE, "w") as state:
        json.dump(lab.state(), state)
    bin_dir = os.path.join(lab.build_dir, "bin")
    print(f"""
It is left running. Talk to it:
   export SLUICE_RUN_DIR={RUN_DIR} PATH={bin_dir}:$PATH
   sluicectl status
   sluicectl monitor
   ip netns exec {PREFIX}-h0 ping 10.0.0.2
   sluicectl flow dump
Logs are in {lab.log_dir}. Stop it with: etc/demo --stop""")


def stop():
    """Ends what --keep or a demo that was killed has left."""
    if os.path.exists(STATE):
        with open(STATE) as state:
            take_down(json.load(state))
        print("demo: stopped")
        return 0
    left = [line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines() if line.startswith(PREFIX + "-")]
    for name in left:
        pids = run("ip", "netns", "pids", name).stdout.split()
        for pid in pids:  # they live in the demo's own namespace: they are the demo's
            os.kill(int(pid), signal.SIGTERM)
        run("ip", "netns", "del", name)
    shutil.rmtree(RUN_DIR, ignore_errors=True)
    print(f"demo: removed {len(left)} namespaces that were left" if left else "demo: nothing is running")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="etc/demo")
    parser.add_argument("scenario", nargs="?", choices=SCENARIOS, default="xdp")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--build-dir", required=True)
    args = parser.parse_args()
    # One demo at a time: its names are fixed, so that people can type them.
    lock = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("demo: another one is running", file=sys.stderr)
        return 1
    if args.stop:
        return stop()
    if os.path.exists(RUN_DIR):
        print("demo: it is running already, or an earlier one was killed; `etc/demo --stop` clears it away",
              file=sys.stderr)
        return 1

    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    scenario = importlib.import_module("show_" + args.scenario)
    console = Console(scenario.STEPS)
    lab, failed, kept = None, None, False
    try:
        lab = Lab(PREFIX, RUN_DIR, args.build_dir)
        scenario.show(lab, console)
        kept = args.keep
    except (LabError, OSError) as error:
        failed = str(error)
    except KeyboardInterrupt:
        failed = "interrupted"
    except Exception:  # pylint: disable=broad-except  # whatever it is, the lab must be taken down
        failed = traceback.format_exc()
    if kept:
        keep(lab)
        return 0
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)  # it is ending; half a clean-up would help nobody
    if failed and lab and lab.daemon:
        print(f"\nsluiced's last words:\n{lab.daemon.output()[-3000:]}", file=sys.stderr)
    try:
        if lab:
            lab.close()
    except LabError as error:
        failed = f"{failed}; {error}" if failed else str(error)
    if failed:
        print(f"\ndemo: FAILED: {failed}", file=sys.stderr)
        return 1
    print(f"\n== [{console.seconds():5.1f} s] done: everything was as it must be; nothing is left behind", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
