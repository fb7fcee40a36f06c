# SPDX-License-Identifier: Apache-2.0
"""Runs README.md's snippets as they stand, and checks its links. They speak to /run/sluice: each runs in a mount
namespace in which that is the run directory of the test's own daemon."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..", "install")]

from harness import BUILD_DIR, ROOT, SluiceTest, main, wait_until  # noqa: E402
from prefix import Prefix  # noqa: E402

RUN_DIR = "/run/sluice"


def snippets():
    with open(os.path.join(ROOT, "README.md")) as readme:
        text = readme.read()
    return dict(re.findall(r"<!-- snippet: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL)), text


class Readme(SluiceTest):
    def setUp(self):
        super().setUp()
        self.snippets, self.text = snippets()
        if not os.path.isdir(RUN_DIR):
            os.mkdir(RUN_DIR)  # somewhere to mount on; a daemon that may live there does not notice
            self.addCleanup(os.rmdir, RUN_DIR)
        self.scratch = os.path.join(self.lab.run_dir, "scratch")
        os.mkdir(self.scratch)
        for name, text in self.snippets.items():
            with open(os.path.join(self.scratch, name), "w") as file:
                file.write(text)

    def wrapped(self, *argv):
        script = f'mount --bind {self.lab.run_dir} {RUN_DIR} && cd {self.scratch} && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *argv]

    def command(self, *argv, env=None):
        done = subprocess.run(self.wrapped(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_drive(self):
        self.assertLessEqual(len(self.snippets["drive.py"].strip().splitlines()), 12)
        output = self.command("/usr/bin/python3", "drive.py")
        self.assertIn("accepted", output)
        self.assertIn("10.0.0.0/", output)
        self.assertIn("-> p1 0 packets", output)
        flow, = self.lab.query("flow", "dump")
        self.wait_installed(flow["ufid"])

    def test_subscribe(self):
        self.assertLessEqual(len(self.snippets["subscribe.py"].strip().splitlines()), 12)
        subscriber = self.lab.start("subscribe", self.wrapped("/usr/bin/python3", "subscribe.py"))

        def heard():
            # Until its subscription is in force it hears nothing: say it again.
            self.lab.ctl("flow", "add", "in_port(p0),eth_type(0x0806) actions:flood")
            self.lab.ctl("flow", "flush")
            output = subscriber.output()
            return "flow.add" in output and "flow.del" in output
        self.assertTrue(subscriber.running(), subscriber.output())
        wait_until(heard, "the subscriber to hear of flows")
        self.assertIn("eth_type(0x0806)", subscriber.output())

    def test_plugin(self):
        prefix = Prefix(BUILD_DIR)
        self.addCleanup(prefix.close)
        script = self.snippets["hello.sh"]
        for isolation in ("process", "thread"):
            with self.subTest(isolation=isolation):
                self.lab.ctl("flow", "add", "in_port(p0),eth_type(0x0806) actions:flood")
                self.command("sh", "-e", "-c", script.replace("process", isolation), env=prefix.env)

                def installed():
                    flow, = self.lab.query("flow", "dump")
                    return ("hello", "installed") in [(o["plugin"], o["state"]) for o in flow["offload"]]
                wait_until(installed, "hello's verdict")
                self.lab.ctl("plugin", "unload", "hello")
                self.lab.ctl("flow", "flush")

    def test_links_lead_somewhere(self):
        for link in re.findall(r"\]\(([^)#]+)", self.text):
            self.assertTrue(os.path.exists(os.path.join(ROOT, link)), link)
        for path in re.findall(r"`((?:etc|bus|core|plugins|bpf|tests)/[^` ]+)`", self.text):
            self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)

    def test_nothing_is_left_to_fill_in(self):
        self.assertNotIn("<!-- output:", self.text)


if __name__ == "__main__":
    main()
