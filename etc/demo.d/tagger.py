#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A VLAN interface in user space, for kernels without 8021q: a tap device whose frames go out of a network device
tagged, and that receives what arrives there with that tag."""
import argparse
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_VNET_HDR = 263, 8, 15
_TP_STATUS_VLAN_VALID = 0x10
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
# struct virtio_net_hdr comes before each frame on both sides: what GRO has merged and left without a checksum is
# described there, and passes through as it is.
_VNET_HDR = 10
_ADDRESSES = _VNET_HDR + 12
_AUXDATA = struct.Struct("IIIHHHH")  # struct tpacket_auxdata


def open_tap(name):
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    return tap


def open_wire(device):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    wire.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    wire.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)  # the kernel takes tags out of received frames and tells them here
    wire.bind((device, _ETH_P_ALL))
    wire.setblocking(False)
    return wire


def received_vid(ancillary):
    for level, kind, value in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = _AUXDATA.unpack_from(value)
            if status & _TP_STATUS_VLAN_VALID:
                return tci & 0xFFF
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="eth0")
    parser.add_argument("--tap", required=True, help="name of the tap device to make")
    parser.add_argument("--vid", type=int, required=True)
    parser.add_argument("--mac", required=True)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    tap, wire = open_tap(args.tap), open_wire(args.device)
    for setting in (["address", args.mac], ["addrgenmode", "none"], ["up"]):
        subprocess.run(["ip", "link", "set", args.tap, *setting], check=True)
    tag = struct.pack("!HH", 0x8100, args.vid)
    print("ready", flush=True)
    poll = select.poll()
    poll.register(tap, select.POLLIN)
    poll.register(wire, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            try:
                if ready == tap:
                    data = os.read(tap, 65536 + _VNET_HDR)
                    wire.send(data[:_ADDRESSES] + tag + data[_ADDRESSES:])
                    continue
                data, ancillary, _, address = wire.recvmsg(65536 + _VNET_HDR, 64)
                if address[2] != socket.PACKET_OUTGOING and received_vid(ancillary) == args.vid:
                    os.write(tap, data)
            except OSError:
                pass  # a full queue: the frame is lost, as on a wire


if __name__ == "__main__":
    main()
