# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: steps with the time since the start, and signs of life while something long runs."""
import sys
import threading
import time


class Console:
    def __init__(self, steps):
        self._began, self._steps, self._step = time.monotonic(), steps, 0

    def step(self, title):
        self._step += 1
        print(f"\n== [{time.monotonic() - self._began:5.1f} s] {self._step}/{self._steps}  {title}", flush=True)

    def say(self, text=""):
        for line in text.splitlines() or [""]:
            print("   " + line, flush=True)

    def alive(self, what, every=2.0):
        """A context in which a line appears every few seconds."""
        return _Alive(self, what, every)

    def seconds(self):
        return time.monotonic() - self._began


class _Alive:
    def __init__(self, console, what, every):
        self._console, self._what, self._every = console, what, every
        self._done = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        began = time.monotonic()
        while not self._done.wait(self._every):
            self._console.say(f"... {self._what}, {time.monotonic() - began:.0f} s")

    def __exit__(self, *exc):
        self._done.set()
        self._thread.join()
        sys.stdout.flush()
