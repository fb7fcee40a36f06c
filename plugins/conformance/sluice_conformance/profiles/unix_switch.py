# SPDX-License-Identifier: Apache-2.0
"""etc/examples/unix_switch.c: ports are Unix datagram sockets in a directory."""
import fcntl
import os
import shutil
import socket
import struct
import termios
import threading
import time

from ..profile import Profile, Receiver

_PATIENCE_S = 5

class Plugin(Profile):
    ports = ("u0", "u1", "u2")
    why_no_packets = why_no_failure = None
    bad_port = "taken"

    def set_up(self):
        self.wires = os.path.join(self.scratch, "wires")
        os.makedirs(os.path.join(self.wires, self.bad_port))  # a directory where the socket should be
        self.options = {"dir": self.wires}
        self.peers = []

    def take_down(self):
        shutil.rmtree(self.wires, ignore_errors=True)

    def send(self, port, frames):
        """A few at a time: a Unix socket holds some ten datagrams, and what a peer's has no room for is lost."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.settimeout(_PATIENCE_S)
            wire.connect(os.path.join(self.wires, port))
            for number, frame in enumerate(frames):
                wire.send(frame)
                if number % 4 == 3:
                    self._drain(wire)
            self._drain(wire)

    def _drain(self, wire):
        """Until the plugin has taken all that was sent, and the peers all that it sent."""
        end = time.monotonic() + _PATIENCE_S
        while _waiting(wire, termios.TIOCOUTQ) or any(_waiting(peer.socket, termios.FIONREAD) for peer in self.peers):
            if time.monotonic() > end:
                raise TimeoutError(f"the plugin does not take its frames, or a peer does not: {self.wires}")
            time.sleep(0.0005)

    def receive(self, port):
        peer = Peer(os.path.join(self.wires, port + ".peer"), self.peers.remove)
        self.peers.append(peer)
        return peer

    def break_device(self, port):
        os.unlink(os.path.join(self.wires, port))

    def mend_device(self, port):
        pass  # the port makes its socket anew when it is added again

    def left_behind(self):
        return [f"the socket {name} is still there" for name in os.listdir(self.wires)
                if not name.endswith(".peer") and name != self.bad_port]


def _waiting(unix_socket, which):
    return struct.unpack("i", fcntl.ioctl(unix_socket, which, bytes(4)))[0]


class Peer(Receiver):
    def __init__(self, path, forget):
        super().__init__()
        self._path, self._forget = path, forget
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            frame = self.socket.recv(65536)
            if not frame:
                return
            self.add(frame)

    def close(self):
        self._forget(self)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.sendto(b"", self._path)
        self._thread.join()
        self.socket.close()
        os.unlink(self._path)
