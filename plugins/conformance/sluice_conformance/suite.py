# SPDX-License-Identifier: Apache-2.0
"""The cases, and how they are run and told."""
import os
import tempfile
import threading
import time
import traceback

import sluice

from .rig import Failure, Rig, Skip

_cases = {}


def case(function):
    """Names a case by its function. It gets a Rig: a daemon with the plugin loaded and the profile's ports up."""
    _cases[function.__name__] = function
    return function


def cases():
    return dict(_cases)


def run(settings, make_profile, names, jobs):
    """Runs the cases, `jobs` at a time, each job with devices of its own, and prints a line for each. Returns how many
    failed."""
    results = {"ok": 0, "FAILED": 0, "skipped": 0}
    began = time.monotonic()
    todo, troubles, lock = list(names), [], threading.Lock()

    def work():
        try:
            with tempfile.TemporaryDirectory(prefix="sluice-conformance-") as scratch:
                profile = make_profile(scratch)
                profile.set_up()
                try:
                    while not troubles:
                        with lock:
                            name = todo.pop(0) if todo else None
                        if name is None:
                            break
                        outcome, line = _run_one(settings, profile, os.path.join(scratch, name), name)
                        with lock:
                            results[outcome] += 1
                            print(line, flush=True)
                finally:
                    profile.take_down()
        except Exception as trouble:
            troubles.append(trouble)
    workers = [threading.Thread(target=work) for _ in range(min(jobs, len(todo)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException as stop:  # asked to end: what was made is to be taken away all the same
        troubles.append(stop)
        for worker in workers:
            worker.join()
    if troubles:
        raise troubles[0]
    print(f"{settings.name} in a {settings.isolation}: {results['ok']} passed, {results['FAILED']} failed, "
          f"{results['skipped']} skipped, {time.monotonic() - began:.0f} s")
    return results["FAILED"]


def _run_one(settings, profile, run_dir, name):
    """The outcome, and the text to print: a line, behind the daemon's last words where it failed."""
    rig, log, since = None, "", time.monotonic()
    try:
        rig = Rig(settings, profile, run_dir)
        rig.load_beside()
        rig.load()
        rig.add_ports()
        rig.wait_ports_up()
        outcome, text = "ok", _cases[name](rig)
    except Skip as skip:
        outcome, text = "skipped", str(skip)
    except (Failure, sluice.Error) as failure:
        outcome, text = "FAILED", str(failure)
    except Exception:  # a hook of the profile's, maybe
        outcome, text = "FAILED", traceback.format_exc().strip()
    if rig is not None:
        if outcome == "FAILED":
            log = "".join(f"    {line}\n" for line in rig.log().splitlines()[-30:])
        rig.close()
    return outcome, f"{log}{outcome:<8}{name:<16}{time.monotonic() - since:5.1f} s" + (f"  {text}" if text else "")
