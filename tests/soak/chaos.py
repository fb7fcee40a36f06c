# SPDX-License-Identifier: Apache-2.0
"""What is done to the daemon while flows change: to its plugins and ports, to its sockets, to its events."""
import contextlib
import os
import signal
import socket
import time

import sluice
import zmq

SOCKETS = ("control", "ingress", "events", "plugins")


class Chaos:
    """`world` is the soak (soak.py)."""

    def __init__(self, world, rng):
        self.world, self.rng = world, rng
        self.log = []       # what was done
        self.counts = {}

    def act(self):
        place = self.rng.choice(self.world.places)
        name, weight = zip(*((name, weight) for name, weight in self._actions(place)))
        chosen = self.rng.choices(name, weight)[0]
        self.log.append(f"{chosen} {place.name}")
        self.counts[chosen] = self.counts.get(chosen, 0) + 1
        getattr(self, chosen)(place)

    def _actions(self, place):
        yield from (("reload", 3), ("unload", 3), ("keep", 2), ("port", 4), ("device", 4), ("rest", 2))
        if self.world.pid(place):
            yield from (("kill", 2), ("pause", 4), ("hang", 1))

    def rest(self, _):
        time.sleep(self.rng.uniform(0.1, 0.5))

    def _insist(self, op, **body):
        """A plugin that is on its way somewhere is asked again."""
        end = time.monotonic() + 40
        while True:
            try:
                return self.world.call(op, **body)
            except sluice.Error as error:
                if error.reason not in ("busy", "timeout", "plugin_gone", "unknown_plugin", "no_such_plugin") or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def reload(self, place):
        if not self._gone("plugin_reload", name=place.name):
            self.world.load(place)

    def unload(self, place, keep=False):
        self._gone("plugin_unload", name=place.name, keep=keep)
        time.sleep(self.rng.choice((0, 0.1, 0.5)))
        place.isolation = self.rng.choice(("thread", "process"))
        self.world.load(place)

    def _gone(self, op, **body):
        """True: done. False: what was to be unloaded has been killed just before, and is not loaded any more."""
        try:
            return bool(self._insist(op, **body))
        except sluice.Error as error:
            if error.reason != "stop_failed":
                raise
            return False

    def keep(self, place):
        self.unload(place, keep=True)

    def kill(self, place):
        self._signal(place, signal.SIGKILL)

    def pause(self, place):
        self._signal(place, signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.05, 0.5))
        self._signal(place, signal.SIGCONT)

    def hang(self, place):
        pid = self.world.pid(place)
        self._signal(place, signal.SIGSTOP)
        end = time.monotonic() + 6
        while self.world.pid(place) == pid and self.world.plugin(place)["state"] == "running" and \
                time.monotonic() < end:
            time.sleep(0.05)
        self._signal(place, signal.SIGCONT, pid)

    def _signal(self, place, sig, pid=None):
        try:
            os.kill(pid or self.world.pid(place) or 0x7fffffff, sig)
        except ProcessLookupError:
            pass

    def port(self, place):
        self._cycle(place, self.rng.choice(place.ports[1:]))  # the first has the steady traffic

    def _cycle(self, place, port):
        """Its publishers wait meanwhile: flows that name a port are refused while the core has none of that name."""
        publishers = [publisher for publisher in self.world.publishers if publisher.place is place]
        with contextlib.ExitStack() as stack:
            for publisher in publishers:
                stack.enter_context(publisher.still)
            self.world.until(lambda: self.world.not_published(publishers))
            self._insist("port_del", name=port)
            time.sleep(self.rng.choice((0, 0.1, 0.4)))
            self._insist("port_add", name=port, plugin=place.name)

    def device(self, place):
        port = self.rng.choice(place.ports[1:])
        end = time.monotonic() + 5
        while self.world.port(port)["state"] != "up":  # else what is known of it is of another time
            if time.monotonic() > end:
                return
            time.sleep(0.02)
        before = self.world.port(port)["info"].get("program")
        with contextlib.suppress(FileNotFoundError):  # the plugin is just not there to have it
            place.break_device(port)
        time.sleep(self.rng.choice((0, 0.1, 0.7)))
        place.mend_device(port)
        if place.returns_by_itself:
            self.world.away[port] = before
        else:
            self._cycle(place, port)


class Nuisance:
    """Garbage on every socket; monitors that read nothing, too slowly, or go in the middle."""

    def __init__(self, run_dir, rng):
        self.run_dir, self.rng = run_dir, rng
        self.context = zmq.Context()
        self.asleep = []  # monitors that read nothing

    def step(self):
        self.rng.choice((self.garbage, self.raw_garbage, self.sleeping_monitor, self.dying_monitor))()

    def _socket(self, kind, name):
        sock = self.context.socket(kind)
        sock.linger = 0
        sock.connect(f"ipc://{self.run_dir}/{name}")
        return sock

    def _bytes(self):
        head = self.rng.choice((b"", b"{", b'{"flow_put":', b"\x0a", b"\x12\xff\xff\xff\xff\x0f"))
        return head + self.rng.randbytes(self.rng.choice((0, 3, 40, 5000)))

    def garbage(self):
        """Well-framed messages that are none."""
        name = self.rng.choice(("control", "ingress", "plugins"))
        sock = self._socket(zmq.XPUB if name == "ingress" else zmq.DEALER, name)
        if name == "ingress":
            sock.poll(500)
        topics = (b"flow.put", b"flow.del", b"flow.flush ", b"packet.out", b"nonsense", b"")
        for _ in range(self.rng.choice((1, 20))):
            frames = [self.rng.choice(topics)] if name == "ingress" else []
            frames += [self._bytes() for _ in range(self.rng.choice((1, 1, 1, 2, 5)))]
            try:
                sock.send_multipart(frames, zmq.DONTWAIT)
            except zmq.Again:
                break
        time.sleep(0.01)
        sock.close()

    def raw_garbage(self):
        """Not even ZeroMQ."""
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(0.5)
            try:
                raw.connect(os.path.join(self.run_dir, self.rng.choice(SOCKETS)))
                raw.send(self.rng.choice((b"", b"\xff" + bytes(8) + b"\x7f\x03", b"GET / HTTP/1.1\r\n\r\n")) +
                         self.rng.randbytes(self.rng.randrange(200)))
            except OSError:
                pass

    def sleeping_monitor(self):
        sock = self._socket(zmq.SUB, "events")
        sock.subscribe(self.rng.choice((b"", b"json:", b"flow.")))
        self.asleep.append(sock)
        if len(self.asleep) > 3:
            self.asleep.pop(0).close()

    def dying_monitor(self):
        sock = self._socket(zmq.SUB, "events")
        sock.subscribe(b"json:flow.")
        for _ in range(self.rng.randrange(4)):
            if sock.poll(50):
                sock.recv_multipart()
                time.sleep(0.02)
        sock.close()

    def close(self):
        self.context.destroy(linger=0)
