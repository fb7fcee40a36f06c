#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sluicectl where there is no daemon: help, wrong usage (exit 2), nobody there (exit 3)."""
import os
import re
import signal
import socket
import subprocess
import time
import unittest

from ctl import CtlTest, ROOT, environment, program, sluicectl

COMPLETION = os.path.join(ROOT, "etc", "completion", "sluicectl.bash")

COMMANDS = ("status", "port", "port add", "port del", "port list", "plugin", "plugin load", "plugin unload",
            "plugin reload", "plugin list", "flow", "flow add", "flow mod", "flow del", "flow flush", "flow get",
            "flow dump", "monitor", "packet", "packet out", "trace")
# A correct use of each command that asks the daemon.
USES = (("status",), ("port", "add", "p0"), ("port", "del", "p0"), ("port", "list"), ("plugin", "load", "xdp"),
        ("plugin", "unload", "xdp"), ("plugin", "reload", "xdp"), ("plugin", "list"),
        ("flow", "add", "in_port(p0), actions:p1"), ("flow", "add", "--file", "/dev/null"),
        ("flow", "mod", "in_port(p0), actions:p1"), ("flow", "del", "in_port(p0)"), ("flow", "flush"),
        ("flow", "get", "6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01"), ("flow", "dump"), ("monitor",),
        ("packet", "out", "--in-port", "p0", "--hex", "00"), ("trace", "in_port(p0)"),
        ("trace", "--in-port", "p0", "--hex", "00"))


class Help(CtlTest):
    def test_every_command_has_an_example(self):
        for command in ("", *COMMANDS):
            with self.subTest(command):
                done = self.run_ctl(*command.split(), "--help")
                self.assertIn("Example:", done.stdout)
                self.assertIn(f"sluicectl {command}".strip(), done.stdout.split("Example:")[1])

    def test_help_lists_every_command(self):
        for command in COMMANDS:
            *group, name = command.split()
            self.assertRegex(self.run_ctl(*group, "--help").stdout, rf"(?m)^  {name} ")

    def test_version(self):
        self.assertRegex(self.run_ctl("--version").stdout, r"^sluicectl \d+\.\d+\.\d+\n$")


class WrongUsage(CtlTest):
    def assert_usage(self, pattern, *args):
        done = self.run_ctl(*args, code=2)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, "")

    def test_commands(self):
        self.assert_usage(r"sluicectl: a command is missing; there are: status, port, plugin, flow, monitor, packet, trace")
        self.assert_usage(r"there is no command 'bogus'; there are: status", "bogus")
        self.assert_usage(r"sluicectl flow: there is no command 'bogus'; there are: add, mod, del", "flow", "bogus")
        self.assert_usage(r"sluicectl flow: a command is missing", "flow")

    def test_options(self):
        self.assert_usage(r"there is no option --bogus", "status", "--bogus")
        self.assert_usage(r"there is no option --bogus", "--bogus", "status")
        self.assert_usage(r"--timeout.*'soon' is not a time", "--timeout", "soon", "status")
        self.assert_usage(r"--timeout", "--timeout", "0", "status")
        self.assert_usage(r"Try 'sluicectl flow dump --help'", "flow", "dump", "--bogus")

    def test_arguments(self):
        self.assert_usage(r"NAME is required", "port", "add")
        self.assert_usage(r"'p1' is one argument too many", "port", "add", "p0", "p1")
        self.assert_usage(r"NAME=VALUE", "port", "add", "p0", "--option", "native")
        self.assert_usage(r"thread,process", "plugin", "load", "xdp", "--isolation", "vm")
        self.assert_usage(r"--hex: .*'x' is not a hexadecimal digit(.|\n)*\^", "packet", "out", "--in-port", "p0", "--hex",
                          "00 0x")
        self.assert_usage(r"odd number", "packet", "out", "--in-port", "p0", "--hex", "000")
        self.assert_usage(r"--hex is required", "packet", "out", "--in-port", "p0")
        self.assert_usage(r"flow add: give either a flow or --file", "flow", "add")
        self.assert_usage(r"the flow is empty", "flow", "add", " ")
        self.assert_usage(r"flow add: give either a flow or --file", "flow", "add", "in_port(p0)", "--file", "-")
        self.assert_usage(r"--file /nonexistent: No such file", "flow", "add", "--file", "/nonexistent")
        self.assert_usage(r"32 hexadecimal digits", "flow", "add", "in_port(p0)", "--ufid", "12")
        self.assert_usage(r"a time in seconds", "flow", "add", "in_port(p0)", "--idle-timeout", "soon")
        self.assert_usage(r"name a ufid or a match", "flow", "del", "")

    def test_endpoint(self):
        self.assert_usage(r"foo://bar", "--endpoint", "foo://bar", "status")


class NoDaemon(CtlTest):
    def assert_nobody(self, args, endpoint, within):
        began = time.monotonic()
        done = self.run_ctl(*args, code=3)
        self.assertLess(time.monotonic() - began, within)
        self.assertIn(endpoint, done.stderr)
        self.assertRegex(done.stderr, r"^sluicectl: no (daemon answers|answer)")
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertEqual(done.stdout, "")

    def test_no_socket_is_told_at_once(self):
        for use in USES:
            with self.subTest(use):
                self.assert_nobody(use, f"ipc://{self.run_dir}/control", 1.5)

    def test_no_run_directory_is_told_at_once(self):
        self.assert_nobody(("--endpoint", "/nonexistent", "status"), "/nonexistent/control", 1.5)
        self.assert_nobody(("status", "--endpoint", "ipc:///nonexistent/ctl"), "ipc:///nonexistent/ctl", 1.5)

    def test_a_socket_left_behind_is_told_at_once(self):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(os.path.join(self.run_dir, "control"))
        self.assert_nobody(("status",), self.run_dir, 1.5)

    def test_who_does_not_answer_is_given_two_seconds(self):
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(os.path.join(self.run_dir, "control"))
            deaf.listen()
            self.assert_nobody(("status",), self.run_dir, 4)
            self.assert_nobody(("--timeout", "0.1", "flow", "dump"), self.run_dir, 1.5)

    def test_port_names_are_no_commands(self):
        for name in ("list", "flow", "status", "add"):
            self.assert_nobody(("port", "add", name), self.run_dir, 1.5)

    def test_the_environment_names_the_run_directory(self):
        self.assertIn("/nonexistent-a/control", sluicectl("status", run_dir="/nonexistent-a").stderr)
        self.assertIn("/nonexistent-b/control",
                      sluicectl("--endpoint", "/nonexistent-b", "status", run_dir="/nonexistent-a").stderr)


class Completion(CtlTest):
    def complete(self, line):
        script = (f"PATH={os.path.dirname(program('sluicectl'))}:$PATH; source {COMPLETION}; COMP_WORDS=({line} ''); "
                  "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sluicectl; printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["/bin/bash", "-c", script], env=environment(SLUICE_RUN_DIR=self.run_dir), text=True,
                              capture_output=True, timeout=60, check=True)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_it_knows_every_command(self):
        for command in COMMANDS:
            *group, name = command.split()
            self.assertIn(name, self.complete(" ".join(["sluicectl --endpoint /nonexistent", *group])), command)

    def test_it_knows_every_option(self):
        for command in COMMANDS:
            shown = self.run_ctl(*command.split(), "--help").stdout.split("\n\n--json")[0]
            options = set(re.findall(r"(?m)^  (?:-h,)?(--[a-z-]+)", shown))
            self.assertLessEqual(options, self.complete(f"sluicectl {command}"), command)


if __name__ == "__main__":
    signal.alarm(110)  # a hang is a failure with a name, not CTest's timeout
    unittest.main()
