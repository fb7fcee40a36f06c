# SPDX-License-Identifier: Apache-2.0
"""A small network to show and test Sluice in: a daemon and hosts, each in a network namespace of its own."""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


class LabError(Exception):
    """Something did not go as it must; the text is for people."""


@contextlib.contextmanager
def inside(namespace):
    """Puts the calling thread into a network namespace, and into that alone: `ip netns exec` would mount another /sys,
    and BPF's pins would vanish from sight."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        _setns(there)
        try:
            yield
        finally:
            _setns(home)


def _setns(file):
    if _LIBC.setns(file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns({file.name})")


def run(*argv, check=True, timeout=60, **kwargs):
    """Runs a command; what it wrote is in stdout and stderr of the result."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **kwargs)
    if check and done.returncode != 0:
        raise LabError(f"`{' '.join(argv)}` exited {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def wait_until(condition, what, timeout=10.0, interval=0.02):
    """Polls until `condition()` is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


class Process:
    """A child with its output in a file."""

    def __init__(self, name, argv, log, namespace=None, env=None):
        self.name, self.log = name, log
        enter = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(enter + list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                                          start_new_session=True)
        self.pid = self.popen.pid

    def output(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def running(self):
        return self.popen.poll() is None

    def wait_for(self, text, timeout=10.0):
        """Until `text` is in its output."""
        def seen():
            return text in self.output() or not self.running()
        wait_until(seen, f"'{text}' from {self.name} (it said: {self.output()[-400:]!r})", timeout)
        if text not in self.output():
            raise LabError(f"{self.name} ended with {self.popen.returncode}: {self.output()[-2000:].strip()}")

    def stop(self, sig=signal.SIGTERM, timeout=15):
        """Returns the exit code; kills what does not end by itself, and says so."""
        if self.running():
            self.popen.send_signal(sig)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
                raise LabError(f"{self.name} did not end within {timeout} s of signal {sig}; killed")
        return self.popen.returncode


class Host:
    """A namespace with eth0, whose other end is the switch's port."""

    def __init__(self, lab, port, index):
        self.lab, self.port, self.index = lab, port, index
        self.namespace = lab.add_namespace(f"h{index}")
        self.mac = f"02:00:00:00:00:{index + 1:02x}"
        self.ip, self.ip6 = f"10.0.0.{index + 1}", f"fd00::{index + 1}"
        self.plug_in()

    def plug_in(self):
        """Makes the cable; once more where its port was deleted."""
        switch = self.lab.switch
        run("ip", "link", "add", self.port, "netns", switch, "type", "veth",
            "peer", "name", "eth0", "netns", self.namespace)
        for namespace, device in ((switch, self.port), (self.namespace, "eth0")):
            # No link-local addresses: nobody speaks unless spoken to, so that packets can be counted.
            run("ip", "-n", namespace, "link", "set", device, "addrgenmode", "none")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "address", self.mac)
        # What multicast groups it is in a host says twice: at once, not again when packets are counted.
        with inside(self.namespace), open("/proc/sys/net/ipv6/conf/eth0/mldv2_unsolicited_report_interval", "w") as wait:
            wait.write("1")
        run("ip", "-n", switch, "link", "set", self.port, "up")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")

    def address(self, device="eth0"):
        run("ip", "-n", self.namespace, "addr", "add", f"{self.ip}/24", "dev", device)
        run("ip", "-n", self.namespace, "addr", "add", f"{self.ip6}/64", "dev", device, "nodad")

    def run(self, *argv, **kwargs):
        return run("nsenter", f"--net=/run/netns/{self.namespace}", *argv, **kwargs)

    def start(self, name, *argv):
        return self.lab.start(f"{name}-{self.namespace}", argv, namespace=self.namespace)

    def socket(self, ethertype=0, device="eth0"):
        """A packet socket; ethertype 0 receives nothing, 3 everything."""
        with inside(self.namespace):
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
            raw.bind((device, ethertype))
        return raw


class Lab:
    """Everything that was set up, and is taken down by close() in the opposite order."""

    def __init__(self, prefix, run_dir, build_dir):
        self.prefix, self.run_dir, self.build_dir = prefix, run_dir, build_dir
        self.namespaces, self.processes, self.hosts = [], [], []
        self.daemon = None
        os.makedirs(run_dir, mode=0o755, exist_ok=True)
        self.log_dir = os.path.join(run_dir, "log")
        os.makedirs(self.log_dir, exist_ok=True)
        self.switch = f"{prefix}-sw"
        try:
            self.add_namespace("sw")
        except LabError:
            self.close()
            raise

    def add_namespace(self, suffix):
        name = f"{self.prefix}-{suffix}"
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def add_host(self, port):
        host = Host(self, port, len(self.hosts))
        self.hosts.append(host)
        return host

    def program(self, name):
        return os.path.join(self.build_dir, "bin", name)

    def start(self, name, argv, namespace=None, env=None):
        process = Process(name, argv, os.path.join(self.log_dir, f"{name}.log"), namespace, env)
        self.processes.append(process)
        return process

    def start_daemon(self, *args, env=None):
        """In the switch's namespace; returns when it answers."""
        argv = [self.program("sluiced"), "--run-dir", self.run_dir, *args]
        self.daemon = self.start("sluiced", argv, self.switch, env)

        def answers():
            if not self.daemon.running():
                raise LabError(f"sluiced ended with {self.daemon.popen.returncode}: {self.daemon.output().strip()}")
            return self.ctl("status", check=False).returncode == 0
        wait_until(answers, "sluiced to answer", timeout=30)
        return self.daemon

    def ctl(self, *args, check=True, **kwargs):
        return run(self.program("sluicectl"), *args, check=check, env={**os.environ, "SLUICE_RUN_DIR": self.run_dir},
                   **kwargs)

    def query(self, *args):
        """sluicectl --json ...: the objects it prints."""
        return [json.loads(line) for line in self.ctl("--json", *args).stdout.splitlines() if line.strip()]

    def wait_ports_up(self, names=None):
        """All ports, when those of `names` (default: the hosts') are up."""
        names = names if names is not None else [host.port for host in self.hosts]
        ports = []

        def up():
            ports[:] = self.query("port", "list")
            states = {port["name"]: port["state"] for port in ports}
            for port in ports:
                if port["state"] == "failed":
                    raise LabError(f"port {port['name']} failed: {port.get('detail')}")
            return all(states.get(name) == "up" for name in names)
        wait_until(up, f"ports {', '.join(names)} to be up", timeout=20)
        return ports

    def counters(self):
        """Of every port; `forwarded` is what a flow sent to one port or to several, outside of a NIC."""
        ports = {port["name"]: port.get("counters", {}) for port in self.query("port", "list")}
        for counters in ports.values():
            counters["forwarded"] = sum(counters.get(name, 0) for name in ("output", "output_many", "forwarded"))
            counters.setdefault("upcall", 0)
        return ports

    def flows(self):
        """By match."""
        return {flow["match"]: flow for flow in self.query("flow", "dump")}

    def state(self):
        """What takes it down again from another process: take_down()."""
        return {"run_dir": self.run_dir, "namespaces": self.namespaces,
                "processes": [{"name": p.name, "pid": p.pid, "started": start_time(p.pid)} for p in self.processes
                              if p.running()]}

    def close(self):
        problems = []
        for process in reversed(self.processes):
            try:
                process.stop()
            except LabError as error:
                problems.append(str(error))
        for name in reversed(self.namespaces):
            run("ip", "netns", "del", name, check=False)
        if not problems:
            shutil.rmtree(self.run_dir, ignore_errors=True)
        if problems:
            raise LabError("; ".join(problems))


def start_time(pid):
    """In clock ticks since boot; with the pid it names a process for good. None: there is none."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError):
        return None


def take_down(state):
    """Ends what Lab.state() describes, the last started first."""
    for entry in reversed(state["processes"]):
        pid, started = entry["pid"], entry["started"]
        if start_time(pid) != started:
            continue
        os.kill(pid, signal.SIGTERM)
        try:
            wait_until(lambda: start_time(pid) != started, f"{entry['name']} to end", timeout=15)
        except LabError as error:
            print(f"{error}; killed", flush=True)
            os.kill(pid, signal.SIGKILL)
    for name in state["namespaces"]:
        run("ip", "netns", "del", name, check=False)
    shutil.rmtree(state["run_dir"], ignore_errors=True)
