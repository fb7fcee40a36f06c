# SPDX-License-Identifier: Apache-2.0
"""Sluice as installed: the daemon finds its pieces, and others build against it with pkg-config and find_package."""
import glob
import json
import os
import subprocess
import tempfile
import time
import unittest

from prefix import Prefix

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD_DIR = os.environ["SLUICE_BUILD_DIR"]


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = Prefix(BUILD_DIR)
        cls.addClassCleanup(cls.prefix.close)

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="sluice-install-")
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.run_dir = os.path.join(self.scratch, "run")

    def command(self, *argv, check=True, **kwargs):
        done = subprocess.run(argv, env=self.prefix.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, **kwargs)
        if check:
            self.assertEqual(done.returncode, 0, f"{argv}: {done.stdout}")
        return done

    def ctl(self, *args, check=True):
        return self.command(self.prefix.program("sluicectl"), "--endpoint", self.run_dir, *args, check=check)

    def start_daemon(self):
        log = open(os.path.join(self.scratch, "sluiced.log"), "w+")
        self.addCleanup(log.close)
        daemon = subprocess.Popen([self.prefix.program("sluiced"), "--run-dir", self.run_dir], stdout=log, stderr=log,
                                  env=self.prefix.env)

        def stop():
            if daemon.poll() is None:
                daemon.terminate()
            code = daemon.wait(20)
            log.seek(0)
            self.assertEqual(code, 0, log.read())
        self.addCleanup(stop)
        end = time.monotonic() + 20
        while self.ctl("status", check=False).returncode != 0:
            self.assertIsNone(daemon.poll(), "sluiced ended")
            self.assertLess(time.monotonic(), end, "sluiced does not answer")
            time.sleep(0.05)

    def test_everything_is_where_it_belongs(self):
        for pattern in ("bin/sluiced", "bin/sluicectl", "bin/sluice-plugin-host", "lib/**/sluice/plugins/xdp.so",
                        "lib/**/sluice/bpf/*.bpf.o", "lib/**/libsluice.so", "include/sluice/plugin.h",
                        "include/sluice/sluice.pb.h", "**/sluice.proto", "lib/**/pkgconfig/sluice.pc",
                        "lib/**/cmake/Sluice/SluiceConfig.cmake", "lib/systemd/system/sluiced.service",
                        "etc/sluice/sluiced.toml", "share/sluice/examples/learning_switch.py", "share/sluice/examples/unix_switch.c",
                        "bin/sluice-conformance", "share/sluice/conformance/sluice_conformance/profiles/xdp.py"):
            self.assertTrue(glob.glob(f"{self.prefix.path}/{pattern}", recursive=True), f"{pattern} is not installed")

    def test_the_installed_configuration_is_accepted(self):
        config = os.path.join(self.prefix.path, "etc/sluice/sluiced.toml")
        # It is accepted up to the run directory, which here cannot be made.
        done = self.command(self.prefix.program("sluiced"), "--config", config, "--run-dir", "/proc/sluice", check=False,
                            timeout=20)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/proc/sluice", done.stdout)
        self.assertNotIn("toml", done.stdout)

    def test_plugin_and_client_from_outside_the_tree(self):
        library = os.path.join(self.scratch, "counting.so")
        flags = self.command("pkg-config", "--cflags", "--libs", "sluice").stdout.split()
        self.command("cc", "-Wall", "-Werror", "-shared", "-fPIC", os.path.join(HERE, "plugin", "counting.c"),
                     "-o", library, *flags)
        build = os.path.join(self.scratch, "client")
        self.command("cmake", "-S", os.path.join(HERE, "client"), "-B", build)
        self.command("cmake", "--build", build)

        self.start_daemon()
        for isolation in ("thread", "process"):
            with self.subTest(isolation=isolation):
                self.ctl("plugin", "load", library, "--isolation", isolation)
                done = self.command(os.path.join(build, "client"), f"ipc://{self.run_dir}/control")
                self.assertIn("installed by counting", done.stdout)
                flow = json.loads(self.ctl("--json", "flow", "dump").stdout)
                verdict, = flow["offload"]
                self.assertEqual((verdict["plugin"], verdict["state"]), ("counting", "installed"))
                self.assertIn("flow number", verdict["detail"])
                self.ctl("plugin", "unload", "counting")
                self.ctl("flow", "flush")

    def test_the_author_of_a_plugin_runs_the_conformance_suite(self):
        plugins = {}
        flags = self.command("pkg-config", "--cflags", "--libs", "sluice").stdout.split()
        for name, source in (("unix_switch", f"{self.prefix.path}/share/sluice/examples/unix_switch.c"),
                             ("counting", os.path.join(HERE, "plugin", "counting.c"))):
            plugins[name] = os.path.join(self.scratch, f"{name}.so")
            self.command("cc", "-std=gnu99", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", plugins[name], *flags,
                         "-lpthread")
        done = self.command("sluice-conformance", plugins["unix_switch"], "--jobs", "4")
        for isolation in ("thread", "process"):
            self.assertRegex(done.stdout, f"unix_switch in a {isolation}: [1-9][0-9]* passed, 0 failed")
        # It takes flows of ports that are not there, which no plugin may.
        done = self.command("sluice-conformance", plugins["counting"], "--isolation", "thread", "--patience", "3",
                            "--case", "put", "--case", "statistics", "--case", "port_removal", check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        for line in ("ok +put", "skipped +statistics .*the profile sends no packets",
                     "FAILED +port_removal .*to be refused: it is installed"):
            self.assertRegex(done.stdout, line)

    @unittest.skipIf(os.geteuid() != 0, "needs root to load BPF")
    def test_the_installed_xdp_plugin_starts(self):
        self.start_daemon()
        self.ctl("plugin", "load", "xdp")
        self.assertIn("running", self.ctl("plugin", "list").stdout)


if __name__ == "__main__":
    unittest.main()
