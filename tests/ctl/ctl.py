# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command share: running sluicectl, and a sluiced with the test plugin."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD_DIR = os.environ.get("SLUICE_BUILD_DIR", os.path.join(ROOT, "build"))
TEST_PLUGIN = os.environ.get("SLUICE_TEST_PLUGIN", os.path.join(BUILD_DIR, "tests", "ctl", "ctl_test_plugin.so"))
PATIENCE = 20  # seconds: the machine may be busy


def program(name):
    return os.path.join(BUILD_DIR, "bin", name)


def environment(**more):
    inherited = {key: value for key, value in os.environ.items() if key != "SLUICE_RUN_DIR"}
    return {**inherited, "LSAN_OPTIONS": "exitcode=99", **more}


def sluicectl(*args, run_dir=None, **kwargs):
    env = environment(SLUICE_RUN_DIR=run_dir) if run_dir else environment()
    return subprocess.run([program("sluicectl"), *args], env=env, text=True, capture_output=True, timeout=60, check=False,
                          **({} if {"input", "stdin"} & set(kwargs) else {"stdin": subprocess.DEVNULL}), **kwargs)


def wait_until(condition, what, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(0.02)  # between two looks; how long it takes nobody can know


class CtlTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.run_dir = tempfile.mkdtemp(prefix="sluice-ctl-")
        self.addCleanup(shutil.rmtree, self.run_dir, ignore_errors=True)

    def run_ctl(self, *args, code=0, **kwargs):
        done = sluicectl(*args, run_dir=self.run_dir, **kwargs)
        self.assertEqual(done.returncode, code, f"sluicectl {args}: {done.stdout}{done.stderr}")
        if code == 0:
            self.assertEqual(done.stderr, "")
        return done

    def query(self, *args):
        """The JSON objects that it prints."""
        return [json.loads(line) for line in self.run_ctl("--json", *args).stdout.splitlines()]


class DaemonTest(CtlTest):
    """setUp starts a sluiced with the test plugin and the ports p0, p1, p2."""

    def setUp(self):
        super().setUp()
        self.log_path = os.path.join(self.run_dir, "log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.daemon = subprocess.Popen([program("sluiced"), "--run-dir", self.run_dir], stdout=log, stderr=log,
                                           stdin=subprocess.DEVNULL, env=environment())
        self.addCleanup(self.stop_daemon)
        wait_until(lambda: self.daemon.poll() is not None or sluicectl("status", run_dir=self.run_dir).returncode == 0,
                   "sluiced to answer")
        self.assertIsNone(self.daemon.poll(), self.log())
        self.run_ctl("plugin", "load", TEST_PLUGIN)
        self.plugin = self.query("plugin", "list")[0]["name"]
        for port in ("p0", "p1", "p2"):
            self.run_ctl("port", "add", port, "--plugin", self.plugin)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stop_daemon(self):
        self.daemon.terminate()
        try:
            code = self.daemon.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            raise
        self.assertEqual(code, 0, self.log())

    def wait_flow(self, ufid, condition, what):
        def look():
            flow, = self.query("flow", "get", ufid)
            return flow if condition(flow) else None
        return wait_until(look, what)

    def start_monitor(self, *args):
        return MonitorProcess(self, *args)


class MonitorProcess:
    """sluicectl monitor beside the test; stopped at its end. Its events as they come."""

    def __init__(self, test, *args):
        self.path = os.path.join(test.run_dir, "monitor")
        with open(self.path, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen([program("sluicectl"), *args], stdout=out, stderr=subprocess.PIPE, text=True,
                                            stdin=subprocess.DEVNULL, env=environment(SLUICE_RUN_DIR=test.run_dir))
        test.addCleanup(self.close)

    def lines(self):
        with open(self.path, encoding="utf-8") as out:
            return [line for line in out.read().split("\n")[:-1]]  # complete ones

    def wait_line(self, text):
        return wait_until(lambda: next((line for line in self.lines() if text in line), None), f"{text} in the monitor")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
