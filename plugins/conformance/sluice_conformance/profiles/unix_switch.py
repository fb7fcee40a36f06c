# SPDX-License-Identifier: Apache-2.0
"""etc/examples/unix_switch.c: ports are Unix datagram sockets in a directory."""
import os
import shutil
import socket
import threading

from ..profile import Profile, Receiver


class Plugin(Profile):
    ports = ("u0", "u1", "u2")
    why_no_packets = why_no_failure = None
    bad_port = "taken"

    def set_up(self):
        self.wires = os.path.join(self.scratch, "wires")
        os.makedirs(os.path.join(self.wires, self.bad_port))  # a directory where the socket should be
        self.options = {"dir": self.wires}

    def take_down(self):
        shutil.rmtree(self.wires, ignore_errors=True)

    def send(self, port, frames):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.settimeout(5)  # it takes few at a time
            wire.connect(os.path.join(self.wires, port))
            for frame in frames:
                wire.send(frame)

    def receive(self, port):
        return Peer(os.path.join(self.wires, port + ".peer"))

    def break_device(self, port):
        os.unlink(os.path.join(self.wires, port))

    def mend_device(self, port):
        pass  # the port makes its socket anew when it is added again

    def left_behind(self):
        return [f"the socket {name} is still there" for name in os.listdir(self.wires)
                if not name.endswith(".peer") and name != self.bad_port]


class Peer(Receiver):
    def __init__(self, path):
        super().__init__()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            frame = self._socket.recv(65536)
            if not frame:
                return
            self.add(frame)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.sendto(b"", self._path)
        self._thread.join()
        self._socket.close()
        os.unlink(self._path)
