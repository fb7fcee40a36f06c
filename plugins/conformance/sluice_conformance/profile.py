# SPDX-License-Identifier: Apache-2.0
"""What the suite cannot know of a plugin: its ports, how packets get in and out, how its device fails.

A plugin without a device needs no profile of its own. Else subclass Profile in a file, in a class named `Plugin`, and
give it with --profile; profiles/ has two to learn from.
"""
import functools
import importlib
import importlib.util
import os
import struct


class Profile:
    ports = ("c0", "c1", "c2")
    options = {}  # of the plugin; those of --option come on top
    # Plugins that are loaded first, as what they bring is to be there, and what they say that they bring counts as the
    # plugin's own.
    beside = ()

    # Why cases are skipped. None: the hooks below are there.
    why_no_packets = "the profile sends no packets"
    why_no_failure = "the profile has no device that could fail"
    # A port that cannot be added; None: the plugin takes any.
    bad_port = None
    # True: once mended, the device is used again without being told. False: after port del and port add.
    returns_by_itself = False

    def __init__(self, scratch, variant=""):
        self.scratch = scratch  # a directory that is there for set_up() to take_down()
        self.variant = variant  # what stood behind the profile's name: --profile NAME:VARIANT

    def port_options(self, port):  # pylint: disable=unused-argument
        return {}

    # ------------------------------------------------------------ life

    def set_up(self):
        """Makes the devices. Raise Unavailable where the machine does not let us."""

    def take_down(self):
        """Takes them away again."""

    def daemon_prefix(self):
        """What stands before `sluiced` on the command line, for instance to enter a network namespace."""
        return []

    # ------------------------------------------------------------ flows

    def match(self, port, number):
        """A match that the plugin installs, different for each number, which takes frame(number) coming in at port."""
        return f"in_port({port}),eth(src=06:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:" \
               f"{number >> 8 & 255:02x}:{number & 255:02x}),eth_type(0x88b5)"

    def wide_match(self, port):
        """One that takes all frames of this profile that come in at port."""
        return f"in_port({port}),eth_type(0x88b5)"

    # ------------------------------------------------------------ packets

    def frame(self, number, sequence):
        """One that match(_, number) takes, with the sequence number in four bytes behind the Ethernet header."""
        return struct.pack("!6sHIHI", b"\2\0\0\0\0\2", 0x0600, number, 0x88b5, sequence).ljust(60, b"\0")

    def send(self, port, frames):
        """Has them come in at port."""
        raise NotImplementedError

    def receive(self, port):
        """A Receiver of what leaves from port, from now to its close(), also after the device failed and was mended."""
        raise NotImplementedError

    # ------------------------------------------------------------ the failing device

    def break_device(self, port):
        """From here on flows that need this port cannot be installed."""
        raise NotImplementedError

    def mend_device(self, port):
        raise NotImplementedError

    def left_behind(self):
        """What the plugin has left on its devices after its end, a sentence each."""
        return []


class Receiver:
    """Frames that came, by their sequence numbers."""

    def __init__(self):
        self.sequences = set()
        self.duplicates = 0

    def add(self, frame):
        sequence, = struct.unpack_from("!I", frame, 14)
        self.duplicates += sequence in self.sequences
        self.sequences.add(sequence)

    def close(self):
        raise NotImplementedError


class Unavailable(Exception):
    """This machine, or this user, cannot run the profile."""


def load_profile(name_or_path, plugin):
    """What makes one, given a scratch directory. Without a name: the one named as the plugin, if there is one, else that
    of a plugin without a device."""
    name_or_path, _, variant = (name_or_path or "").partition(":")
    return functools.partial(_profile_class(name_or_path, plugin), variant=variant)


def _profile_class(name_or_path, plugin):
    if name_or_path and os.sep in name_or_path or name_or_path.endswith(".py"):
        spec = importlib.util.spec_from_file_location("profile_of_" + plugin, name_or_path)
        if spec is None or not os.path.exists(name_or_path):
            raise FileNotFoundError(f"there is no profile {name_or_path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Plugin
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "profiles")
    known = sorted(name[:-3] for name in os.listdir(here) if name.endswith(".py") and name != "__init__.py")
    name = name_or_path or plugin
    if name not in known:
        if name_or_path:
            raise FileNotFoundError(f"there is no profile {name_or_path}; there are: {', '.join(known)}, or a file")
        return Profile
    return importlib.import_module(f"sluice_conformance.profiles.{name}").Plugin
