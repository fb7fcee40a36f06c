# SPDX-License-Identifier: Apache-2.0
"""Frames made, sent and counted one by one, through packet sockets."""
import contextlib
import socket
import struct
import threading
import time

EXPERIMENTAL = 0x88b5  # IEEE 802 local experimental EtherType: nobody else speaks it
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_HEADER = struct.Struct("!6s6sH")
_SEQUENCE = struct.Struct("!I")
IN_DATAGRAM = 14 + 20 + 8  # where datagram() has its number


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def frame(source, destination, eth_type=EXPERIMENTAL, payload=b"", vlan=None, length=60):
    """An Ethernet frame without FCS, padded to `length`."""
    tag = struct.pack("!HH", 0x8100, vlan) if vlan is not None else b""
    data = mac_bytes(destination) + mac_bytes(source) + tag + struct.pack("!H", eth_type) + payload
    return data.ljust(length, b"\0")


def numbered(source, destination, number, eth_type=EXPERIMENTAL, **kwargs):
    return frame(source, destination, eth_type, _SEQUENCE.pack(number), **kwargs)


def datagram(source, target, number, ports=(4000, 5000)):
    """A numbered frame that is a UDP datagram from one host to another; without checksum, so that any number may be put
    in its place."""
    payload = _SEQUENCE.pack(number).ljust(18, b"\0")
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, socket.inet_aton(source.ip),
                       socket.inet_aton(target.ip))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    return frame(source.mac, target.mac, 0x0800, head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:] + udp)


class Receiver:
    """Notes the number and the kernel's receive time of every numbered frame that arrives at a host."""

    def __init__(self, host, eth_type=EXPERIMENTAL, device="eth0", offset=_HEADER.size):
        self.eth_type, self.times, self.duplicates, self.offset = eth_type, {}, 0, offset
        self._socket = host.socket(eth_type, device)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended.is_set():
            try:
                data, ancillary, _, address = self._socket.recvmsg(256, 128)
            except socket.timeout:
                continue
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if len(data) < self.offset + _SEQUENCE.size:
                continue
            number, = _SEQUENCE.unpack_from(data, self.offset)
            if number in self.times:
                self.duplicates += 1
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack("qq", value)
                    self.times.setdefault(number, seconds * 1_000_000_000 + nanoseconds)

    def __len__(self):
        return len(self.times)

    def wait(self, count, timeout=5.0):
        """Until `count` frames have come or none comes any more; returns how many have."""
        end = time.monotonic() + timeout
        while len(self.times) < count and time.monotonic() < end:
            time.sleep(0.01)
        return len(self.times)

    def close(self):
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Sender:
    """Sends numbered frames at a steady pace until stopped."""

    def __init__(self, host, destination_mac, per_second, eth_type=EXPERIMENTAL, source_mac=None, first=0, make=None):
        """`make`: a frame's bytes by its number, instead of numbered()."""
        self.count, self.next, self._pause = 0, first, 1.0 / per_second
        self._socket = host.socket()
        self._make = make or (lambda number: numbered(source_mac or host.mac, destination_mac, number, eth_type))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        due = time.monotonic()
        while not self._ended.is_set():
            now = time.monotonic()
            if due > now:
                time.sleep(due - now)
            due = max(due + self._pause, now - 0.05)
            with contextlib.suppress(OSError):  # ENOBUFS, or the port is just going: it is lost, as it would be on a wire
                self._socket.send(self._make(self.next))
            self.next += 1
            self.count += 1

    def stop(self):
        """Returns how many were sent."""
        self._ended.set()
        self._thread.join()
        self._socket.close()
        return self.count


def send_burst(host, frames):
    """Sends all, as fast as it goes; waits where the device's queue is full."""
    with contextlib.closing(host.socket()) as raw:
        for data in frames:
            while True:
                try:
                    raw.send(data)
                    break
                except OSError:
                    time.sleep(0.0005)


def percentile(values, share):
    """The value that `share` (0 to 1) of the values are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
