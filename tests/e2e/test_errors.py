# SPDX-License-Identifier: Apache-2.0
"""What users see when something is wrong around the daemon: one clear sentence, and the right exit code."""
import os
import shutil
import struct
import subprocess
import tempfile

from harness import BUILD_DIR, SluiceTest, main, run, wait_until

ONE_SENTENCE = r"\A[^\n]+\n?\Z"


def section_offset(elf, name):
    """Where a section of a 64-bit little-endian ELF file begins."""
    table, = struct.unpack_from("<Q", elf, 40)
    size, count, names_index = struct.unpack_from("<HHH", elf, 58)

    def field(index, at, kind):
        return struct.unpack_from(kind, elf, table + index * size + at)[0]
    names = field(names_index, 24, "<Q")
    for index in range(count):
        start = names + field(index, 0, "<I")
        if elf[start:elf.index(b"\0", start)] == name:
            return field(index, 24, "<Q")
    raise KeyError(name)


class Environment(SluiceTest):
    daemon_args = None

    def sluiced(self, *args, wrap=(), run_dir=None):
        """Runs it in the switch's namespace until it ends by itself."""
        argv = [*wrap, self.lab.program("sluiced"), "--run-dir", run_dir or self.lab.run_dir, *args]
        return run("nsenter", f"--net=/run/netns/{self.lab.switch}", *argv, check=False, timeout=20)

    def start_wrapped(self, *wrap):
        """A daemon with the XDP plugin under `wrap`; returns when it answers."""
        argv = [*wrap, self.lab.program("sluiced"), "--run-dir", self.lab.run_dir]
        self.lab.daemon = self.lab.start("sluiced", argv, self.lab.switch)
        self.wait_answer()

    def wait_answer(self):
        wait_until(lambda: self.lab.ctl("status", check=False).returncode == 0, "sluiced to answer", timeout=30)

    def test_no_daemon(self):
        done = self.lab.ctl("status", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr, "(?i)no daemon|not running|sluiced")

    def test_second_daemon(self):
        self.lab.start_daemon()
        done = self.sluiced()
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, "(?i)already|another")
        self.assertIn(self.lab.run_dir, done.stdout + done.stderr)
        self.assertEqual(self.lab.ctl("status").returncode, 0)

    def test_a_killed_daemon_does_not_block_the_next(self):
        self.lab.start_daemon()
        self.lab.daemon.popen.kill()
        self.lab.daemon.popen.wait()
        self.lab.start_daemon()

    def test_directory_that_cannot_be_written(self):
        done = self.sluiced(run_dir="/proc/sluice")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/proc/sluice", done.stdout + done.stderr)

    def test_directory_of_another_user(self):
        os.chmod(self.lab.run_dir, 0o755)
        done = self.sluiced(wrap=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(self.lab.run_dir, done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, "(?i)permission|writ")

    def test_unknown_option_and_bad_config(self):
        done = self.sluiced("--no-such-option")
        self.assertEqual(done.returncode, 2)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write("run_dir = [\n")
            config.flush()
            done = self.sluiced("--config", config.name)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(config.name, done.stdout + done.stderr)

    def test_no_capabilities(self):
        for drop, named in (("cap_net_admin", "CAP_NET_ADMIN"), ("cap_bpf,cap_sys_admin", "CAP_BPF")):
            with self.subTest(drop=drop):
                self.start_wrapped("capsh", f"--drop={drop}", "--", "-c", 'exec "$@"', "sh")
                load = self.lab.ctl("plugin", "load", "xdp", check=False)
                add = self.lab.ctl("port", "add", "p0", check=False) if load.returncode == 0 else load
                self.assertEqual(add.returncode, 1)
                self.assertIn(named, add.stderr)
                self.assertRegex(add.stderr, ONE_SENTENCE)
                self.wait_answer()
                self.assertEqual([p for p in self.lab.query("port", "list") if p["state"] == "up"], [])
                self.lab.daemon.stop()

    def test_bpffs_is_mounted_if_allowed(self):
        self.start_wrapped("unshare", "-m", "sh", "-c", 'umount -a -t bpf; exec "$@"', "sh")
        self.lab.ctl("plugin", "load", "xdp")
        self.lab.ctl("port", "add", "p0")

    def test_a_program_that_the_verifier_refuses(self):
        """The daemon finds its objects beside itself: a copy of the tree with the first instruction spoilt."""
        tree = os.path.join(self.lab.run_dir, "tree")
        os.makedirs(os.path.join(tree, "bin"))
        os.makedirs(os.path.join(tree, "lib", "sluice"))
        for name in ("sluiced", "sluice-plugin-host"):
            shutil.copy(os.path.join(BUILD_DIR, "bin", name), os.path.join(tree, "bin"))
        os.symlink(os.path.join(BUILD_DIR, "lib", "sluice", "plugins"), os.path.join(tree, "lib", "sluice", "plugins"))
        shutil.copytree(os.path.join(BUILD_DIR, "lib", "sluice", "bpf"), os.path.join(tree, "lib", "sluice", "bpf"))
        for name in os.listdir(os.path.join(tree, "lib", "sluice", "bpf")):
            path = os.path.join(tree, "lib", "sluice", "bpf", name)
            with open(path, "rb") as file:
                elf = bytearray(file.read())
            for section in (b"xdp", b"xdp.frags"):
                try:
                    at = section_offset(elf, section)
                except KeyError:
                    continue
                elf[at:at + 8] = bytes.fromhex("79a0080000000000")  # r0 = *(u64 *)(r10 + 8): above the stack
            with open(path, "wb") as file:
                file.write(elf)
        self.lab.daemon = self.lab.start("sluiced", [os.path.join(tree, "bin", "sluiced"), "--run-dir",
                                                     self.lab.run_dir], self.lab.switch)
        self.wait_answer()
        load = self.lab.ctl("plugin", "load", "xdp", check=False)
        add = self.lab.ctl("port", "add", "p0", check=False) if load.returncode == 0 else load
        self.assertEqual(add.returncode, 1)
        self.assertRegex(add.stderr, "(?i)verifier")
        self.assertRegex(add.stderr, r"invalid .*stack")  # the log's own last words
        passes = self.assertRefused(1, "(?i)verifier", "plugin", "load", "recirc")
        self.assertRegex(passes, r"invalid .*stack")
        self.wait_answer()


class BadText(SluiceTest):
    ports = ()

    def test_flow_text_wrong_in_many_ways(self):
        for text, pattern in (
                ("in_port(p9), actions:drop", "p9"),
                ("eth_type(0x0800),ipv4(dst=10.0.0.300), actions:drop", "10.0.0.300|300"),
                ("eth_type(0x0800),ipv4(dst=10.0.0.0/33), actions:drop", "33"),
                ("eth_type(0x0800),ipv4(colour=red), actions:drop", "colour"),
                ("colour(red), actions:drop", "colour"),
                ("eth(src=02:00:00:00:00), actions:drop", "02:00:00:00:00|MAC|address"),
                ("eth_type(0x0800),ipv4(dst=10.0.0.1, actions:drop", r"\)|paren|expected"),
                ("udp(dst=53), actions:drop", "udp"),
                ("eth_type(0x0800),ipv4(proto=6),udp(dst=53), actions:drop", "udp"),
                ("eth_type(0x0800), actions:fly", "fly"),
                ("eth_type(0x0800), actions:push_vlan(vid=5000,pcp=0)", "5000|vid"),
                ("", "(?i)empty|match|flow")):
            with self.subTest(text=text):
                done = self.lab.ctl("flow", "add", text, check=False)
                self.assertIn(done.returncode, (1, 2), done)
                self.assertRegex(done.stderr, pattern)
                if text:
                    self.assertIn("^", done.stderr, "no caret")
        self.assertEqual(self.lab.flows(), {})

    def test_usage_errors(self):
        for args in ((), ("fly",), ("flow",), ("flow", "add"), ("port", "add"), ("plugin", "load", "x", "--isolation",
                                                                               "cage"), ("packet", "out")):
            with self.subTest(args=args):
                done = self.lab.ctl(*args, check=False)
                self.assertEqual(done.returncode, 2, done)
        for args in (("--help",), ("flow", "add", "--help"), ("monitor", "--help"), ("port", "add", "--help")):
            done = subprocess.run([self.lab.program("sluicectl"), *args], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, "(?i)example")


if __name__ == "__main__":
    main()
