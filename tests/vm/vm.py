#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command as root in a virtual machine with another kernel: Debian's own, on QEMU without KVM, in some seconds.

The guest sees this host's root directory with all that is mounted in it, read-only, under an overlay in memory: the
same programs, libraries and build tree at the same paths, and nothing that the command writes reaches the host but what
it puts into /results. It has a network of its own and no way out of it.

Nothing but QEMU, busybox, cpio and etc/fetch-vm-kernel's kernel is needed; no privilege on the host either.
"""
import argparse
import ctypes
import dataclasses
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

KERNEL_DIR = os.environ.get("SLUICE_VM_KERNEL", "/var/cache/sluice/vm-kernel")
QEMU = "qemu-system-x86_64"
BUSYBOX = "/bin/busybox"
SKIPPED = 77
TIMED_OUT = 124  # as timeout(1) has it
_HERE = os.path.dirname(os.path.abspath(__file__))
# What it takes to mount the host's root and to talk; everything else is loaded from there when it is asked for.
_FIRST_MODULES = ("virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay")
_PR_SET_PDEATHSIG = 1


class VmError(Exception):
    """The VM did not come to run the command, or did not end as it should."""


@dataclasses.dataclass
class Outcome:
    status: int     # the command's exit status; 128 + N for signal N; TIMED_OUT
    output: str     # its stdout and stderr
    console: str    # what the guest's kernel said


def missing():
    """What this host lacks to run VMs, as a sentence; None: nothing."""
    if not shutil.which(QEMU):
        return f"no {QEMU} here (etc/setup installs it)"
    if not os.path.exists(BUSYBOX) or not shutil.which("cpio"):
        return "no busybox-static or cpio here (etc/setup installs them)"
    if not os.path.exists(os.path.join(KERNEL_DIR, "version")):
        return f"no kernel in {KERNEL_DIR} (etc/fetch-vm-kernel gets it)"
    return None


def kernel_version():
    with open(os.path.join(KERNEL_DIR, "version"), encoding="ascii") as file:
        return file.read().strip()


# ---------------------------------------------------------------- the initramfs

def _modules_dir():
    return os.path.join(KERNEL_DIR, "lib", "modules", kernel_version())


def _load_order(names):
    """Paths under the modules' directory, each after those that it depends on."""
    needs = {}
    with open(os.path.join(_modules_dir(), "modules.dep"), encoding="ascii") as file:
        for line in file:
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
    by_name = {os.path.basename(path).removesuffix(".ko").replace("-", "_"): path for path in needs}
    order = []

    def add(path):
        for need in needs[path]:
            add(need)
        if path not in order:
            order.append(path)
    for name in names:
        if name not in by_name:
            raise VmError(f"{_modules_dir()} has no module {name}")
        add(by_name[name])
    return order


def _make_initramfs(work):
    """Returns the path of an archive with busybox, the first modules and `init`."""
    root = os.path.join(work, "initramfs")
    for directory in ("bin", "dev", "root"):
        os.makedirs(os.path.join(root, directory))
    shutil.copy(BUSYBOX, os.path.join(root, "bin", "busybox"))
    shutil.copy(os.path.join(_HERE, "init"), os.path.join(root, "init"))
    os.chmod(os.path.join(root, "init"), 0o755)
    modules = _load_order(_FIRST_MODULES)
    for module in modules:
        shutil.copy(os.path.join(_modules_dir(), module), root)
    with open(os.path.join(root, "modules"), "w", encoding="ascii") as file:
        file.writelines(os.path.basename(module) + "\n" for module in modules)
    names = sorted(os.path.relpath(os.path.join(at, name), root)
                   for at, directories, files in os.walk(root) for name in directories + files)
    archive = os.path.join(work, "initramfs.cpio")
    with open(archive, "wb") as file:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root, check=True,
                       input="\n".join(names).encode(), stdout=file)
    return archive


# ---------------------------------------------------------------- the machine

def _write_job(results, command, cwd, env):
    """What `init` becomes. The command's environment is its own: little, and what is asked for."""
    base = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1", "SLUICE_IN_VM": "1"}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in {**base, **env}.items()]
    with open(os.path.join(results, "job"), "w", encoding="utf-8") as file:
        file.write("\n".join([*exports, "ip link set lo up", "modprobe tun",
                              f"(cd {shlex.quote(cwd)} && exec {shlex.join(command)}) </dev/null",
                              "echo $? >/results/status", f"{BUSYBOX} reboot -f"]) + "\n")
    with open(os.path.join(results, "modules"), "w", encoding="utf-8") as file:
        file.write(_modules_dir())


def _qemu_command(kernel, initramfs, results, console, memory, cpus):
    share = "security_model=none,multidevs=remap"
    return [QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(cpus), "-m", str(memory), "-nodefaults",
            "-no-user-config", "-no-reboot", "-display", "none", "-kernel", kernel, "-initrd", initramfs,
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off", "-serial", f"file:{console}",
            "-virtfs", f"local,path=/,mount_tag=host,readonly=on,{share}",
            "-virtfs", f"local,path={results},mount_tag=results,{share}",
            "-device", "virtio-serial-pci", "-chardev", "file,id=output,path=/dev/fd/1",
            "-device", "virtserialport,chardev=output,name=output"]


def _die_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def run(command, *, results=None, cwd=None, env=None, timeout=120, memory=2048, cpus=2, kernel=None, echo=False):
    """Runs `command` (a list) in a VM of its own and returns its Outcome. `results` is a directory of the caller's that
    the guest sees as /results; `timeout` is in seconds and counts from before the boot; `echo` shows the output as it
    comes. Raises VmError."""
    lack = missing()
    if lack:
        raise VmError(lack)
    with tempfile.TemporaryDirectory(prefix="sluice-vm-") as work:
        results = results or os.path.join(work, "results")
        os.makedirs(results, exist_ok=True)
        _write_job(results, command, cwd or os.getcwd(), env or {})
        console = os.path.join(work, "console")
        qemu = subprocess.Popen(_qemu_command(kernel or os.path.join(KERNEL_DIR, "vmlinux"), _make_initramfs(work), results,
                                              console, memory, cpus),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                preexec_fn=_die_with_parent)
        late = threading.Event()

        def give_up():
            late.set()
            qemu.kill()
        timer = threading.Timer(timeout, give_up)
        timer.start()
        try:
            chunks = []
            for chunk in iter(lambda: qemu.stdout.read1(65536), b""):
                chunks.append(chunk)
                if echo:
                    sys.stdout.buffer.write(chunk)
                    sys.stdout.flush()
            qemu.wait()
        finally:  # also when interrupted
            timer.cancel()
            qemu.kill()
            qemu.wait()
            qemu.stdout.close()
        output = b"".join(chunks).decode(errors="replace")
        said = _read(console)
        status = _read(os.path.join(results, "status")).strip()
        if status:
            return Outcome(int(status), output, said)
        if late.is_set():
            return Outcome(TIMED_OUT, f"{output}\nvm: not done after {timeout} s; killed\n", said)
        raise VmError(f"the guest ended without the command's status (QEMU: {qemu.returncode})\n{output}\n{said[-4000:]}")


# ---------------------------------------------------------------- by hand

def _end(number, _frame):
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description="Runs a command in a VM with Debian's kernel; its root is this host's, "
                                     "read-only, and what it puts into /results stays.")
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("--results", metavar="DIR", help="the guest's /results (default: a temporary directory)")
    parser.add_argument("--env", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=120, metavar="S")
    parser.add_argument("--memory", type=int, default=2048, metavar="MB")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--kernel", metavar="FILE", help="another vmlinux or bzImage of the same version")
    parser.add_argument("--console", action="store_true", help="also show what the guest's kernel said, at the end")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    lack = missing()
    if lack:
        print(f"skipped: {lack}")
        sys.exit(SKIPPED)
    try:
        outcome = run(args.command, results=args.results, env=dict(pair.split("=", 1) for pair in args.env),
                      timeout=args.timeout, memory=args.memory, cpus=args.cpus, kernel=args.kernel, echo=True)
    except VmError as error:
        sys.exit(f"vm: {error}")
    if outcome.status == TIMED_OUT:
        print(f"vm: not done after {args.timeout:g} s", file=sys.stderr)
    if args.console:
        print(outcome.console)
    sys.exit(outcome.status)


if __name__ == "__main__":
    main()
