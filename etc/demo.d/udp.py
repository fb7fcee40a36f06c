#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""udp.py send ADDRESS PORT COUNT: sends numbered datagrams. udp.py receive PORT COUNT: says how many different ones came, after
the last or a second without one; the kernel hands over only those whose checksums are right."""
import socket
import sys

QUIET_SECONDS = 1.0


def send(address, port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(int(count)):
            sender.sendto(b"%d" % number, (address, int(port)))


def receive(port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind(("", int(port)))
        print("ready", flush=True)
        seen = set()
        while len(seen) < int(count):
            try:
                seen.add(receiver.recv(64))
            except TimeoutError:
                break
            receiver.settimeout(QUIET_SECONDS)
        print("received", len(seen), flush=True)


if __name__ == "__main__":
    {"send": send, "receive": receive}[sys.argv[1]](*sys.argv[2:])
