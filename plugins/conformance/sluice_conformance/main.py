# SPDX-License-Identifier: Apache-2.0
"""The command line of sluice-conformance."""
import argparse
import os
import shutil
import signal
import sys

from . import cases_flows, cases_life, cases_ports, suite
from .profile import Unavailable, load_profile

_SKIPPED = 77
assert cases_flows and cases_life and cases_ports  # they have named their cases


class Settings:
    def __init__(self, args, isolation):
        self.plugin = os.path.abspath(args.plugin) if os.sep in args.plugin else args.plugin
        self.name = os.path.splitext(os.path.basename(args.plugin))[0]
        self.isolation, self.patience, self.bin_dir = isolation, args.patience, args.bin_dir
        self.options = dict(option.split("=", 1) for option in args.option)

    def program(self, name):
        path = os.path.join(self.bin_dir, name) if self.bin_dir else shutil.which(name)
        if path is None or not os.path.exists(path):
            raise Unavailable(f"there is no {path or name}; --bin-dir names where it is")
        return path


def parse(argv):
    beside = os.path.dirname(os.path.realpath(sys.argv[0]))
    parser = argparse.ArgumentParser(
        prog="sluice-conformance",
        description="Runs what every plugin must do against PLUGIN, in a daemon of its own for each case.",
        epilog="Example: sluice-conformance ./mine.so --isolation process --profile mine_profile.py. Exit code 0: all "
               "passed; 1: some failed; 2: wrong usage; 77: this machine cannot run it.")
    parser.add_argument("plugin", metavar="PLUGIN", help="a name that the daemon finds, or the path of a shared object")
    parser.add_argument("--isolation", choices=("thread", "process", "both"), default="both")
    parser.add_argument("--profile", metavar="FILE|NAME[:VARIANT]", help="its ports, packets and failures (default: the one named "
                        "as the plugin, else that of a plugin without a device)")
    parser.add_argument("--option", metavar="K=V", action="append", default=[], help="of the plugin; repeat it")
    parser.add_argument("--case", metavar="NAME", action="append", help="only this one; repeat it")
    parser.add_argument("--list", action="store_true", help="show the cases (PLUGIN is not run)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="cases at a time, each with devices of its own")
    parser.add_argument("--patience", type=float, default=10, metavar="SECONDS", help="for what a plugin has to do "
                        "(default: 10)")
    parser.add_argument("--bin-dir", metavar="DIR", help="where sluiced is (default: beside this program, else in PATH)",
                        default=beside if os.path.exists(os.path.join(beside, "sluiced")) else None)
    args = parser.parse_args(argv)
    for option in args.option:
        if "=" not in option:
            parser.error(f"--option takes K=V, not '{option}'")
    for name in args.case or ():
        if name not in suite.cases():
            parser.error(f"there is no case '{name}'; there are: {', '.join(suite.cases())}")
    return parser, args


def main(argv=None):
    parser, args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{parser.prog}: asked to end"))
    if args.list:
        for name, function in suite.cases().items():
            print(f"{name:<16}{' '.join(function.__doc__.split())}")
        return 0
    try:
        isolations = ("thread", "process") if args.isolation == "both" else (args.isolation,)
        return 1 if sum(_run(args, isolation) for isolation in isolations) else 0
    except FileNotFoundError as error:
        parser.error(str(error))
    except Unavailable as error:
        print(f"skipped: {error}")
        return _SKIPPED


def _run(args, isolation):
    """How many cases failed."""
    settings = Settings(args, isolation)
    settings.program("sluiced")
    return suite.run(settings, load_profile(args.profile, settings.name), args.case or list(suite.cases()), args.jobs)
