#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the kernel's verifier spends on every BPF program that is built, held against budget.md, here and in the VM."""
import argparse
import dataclasses
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "vm"))
sys.dont_write_bytecode = True

import vm  # noqa: E402

TABLE = os.path.join(HERE, "budget.md")
MARGIN = 0.10       # how far above its line instructions and stack may be
MOST = 0.10         # of the kernel's limit of instructions, for each program
LIMIT = 1_000_000   # the kernel's BPF_COMPLEXITY_LIMIT_INSNS
UPDATE = "tests/verifier/budget.py --update"
COMPILERS = {"default": "lib/sluice/bpf", "newer": "tests/verifier/newer_clang"}  # directories of objects in the build

INTRODUCTION = f"""# Verifier budget

Written by `{UPDATE}`; [tests/README.md](../README.md#verifier-budget) says more. A line is a
program (OBJECT/PROGRAM) under a kernel, compiled by a clang. It is loaded for packets of one buffer and for those of
several (`frags`); of both, the more.

- instructions: that the verifier went through; of the limit: of the kernel's {LIMIT:,}
- states: that it kept in all, at the same time (peak), and at the same instruction (per insn)
- stack: bytes of all functions of the program together; the kernel's limit of 512 is for those of one chain of calls
- size: instructions in the object

"""
COLUMNS = ("program", "kernel", "clang", "instructions", "of the limit", "states", "peak", "per insn", "stack", "size")


@dataclasses.dataclass(frozen=True)
class Case:
    program: str
    kernel: str  # "6.1"
    clang: int

    def order(self):
        return self.program, version(self.kernel), self.clang

    def __str__(self):
        return f"{self.program} (kernel {self.kernel}, clang {self.clang})"


@dataclasses.dataclass(frozen=True)
class Cost:
    instructions: int
    states: int
    peak: int
    per_insn: int
    stack: int
    size: int

    def share(self):
        return f"{100 * self.instructions / LIMIT:.2f}%"

    def most(self, other):
        return self if other is None else Cost(*map(max, dataclasses.astuple(self), dataclasses.astuple(other)))


def version(text):
    return tuple(int(part) for part in text.split("."))


# ---------------------------------------------------------------- the table

def read_table(text):
    """{Case: Cost}"""
    table = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[0] == "program" or set(cells[0]) <= set("-:"):
            continue
        if len(cells) != len(COLUMNS):
            raise ValueError(f"budget.md: {len(cells)} cells instead of {len(COLUMNS)}: {line}")
        case = Case(cells[0], cells[1], int(cells[2]))
        if case in table:
            raise ValueError(f"budget.md: two lines for one program: {line}")
        table[case] = Cost(int(cells[3]), *map(int, cells[5:]))
    return table


def write_table(table):
    rows = [COLUMNS]
    for case, cost in sorted(table.items(), key=lambda item: item[0].order()):
        rows.append((case.program, case.kernel, str(case.clang), str(cost.instructions), cost.share(),
                     *map(str, dataclasses.astuple(cost)[1:])))
    first, *widths = (max(map(len, column)) for column in zip(*rows))
    rows.insert(1, ("-" * first, *("-" * (width - 1) + ":" for width in widths)))
    lines = ["| " + " | ".join([row[0].ljust(first), *map(str.rjust, row[1:], widths)]) + " |" for row in rows]
    return INTRODUCTION + "\n".join(lines) + "\n"


# ---------------------------------------------------------------- what is measured

class Unmeasured(Exception):
    """Nothing can be said here, and why."""


def objects(build, compiler):
    """Paths; nothing where there is no such compiler."""
    found = sorted(glob.glob(os.path.join(build, COMPILERS[compiler], "*.bpf.o")))
    if not found and compiler == "newer":
        raise Unmeasured("the build found no newer clang (etc/setup installs it where Debian's security updates are "
                         "to be had; SLUICE_NEWER_CLANG names another)")
    if not found:
        raise Unmeasured(f"there are no objects in {os.path.join(build, COMPILERS[compiler])}")
    return found


def clang_of(path):
    """Its major version, as the object's debug information has it."""
    with open(path, "rb") as file:
        said = re.search(rb"clang version (\d+)", file.read())
    if not said:
        raise ValueError(f"{path} does not say which clang made it: compiled without -g?")
    return int(said.group(1))


def load(build, paths, kernel):
    """What verifier_stats says of these objects; `kernel` is host or vm. Where connection tracking is a module, programs
    that use it load only with that."""
    command = ["sh", "-c", 'modprobe -q nf_conntrack; exec "$@"', "sh", os.path.join(build, "bin", "verifier_stats"), *paths]
    if kernel == "vm":
        lack = vm.missing()
        if lack:
            raise Unmeasured(lack)
        outcome = vm.run(command, timeout=200)
        if outcome.status != 0:
            raise RuntimeError(f"verifier_stats in the VM: status {outcome.status}\n{outcome.output}")
        return json.loads(outcome.output)
    if os.geteuid() != 0:
        raise Unmeasured("loading BPF programs takes root")
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def cost_of(program):
    log = program["log"]
    processed = re.search(r"processed (\d+) insns .*max_states_per_insn (\d+) total_states (\d+) peak_states (\d+)", log)
    stack = re.search(r"stack depth ([\d+]+)", log)
    if not processed or not stack:
        raise ValueError(f"no statistics of {program['name']} in what the kernel says: {log!r}")
    instructions, per_insn, states, peak = (int(number) for number in processed.groups())
    return Cost(instructions, states, peak, per_insn, sum(int(frame) for frame in stack.group(1).split("+")),
                program["size"])


def measure(said):
    """({Case: Cost}, [complaint]) of verifier_stats's answer."""
    costs, complaints = {}, []
    kernel = family(said["kernel"])
    for loaded in said["loads"]:
        clang = clang_of(loaded["path"])
        name = os.path.basename(loaded["path"]).removesuffix(".bpf.o")
        if loaded["error"]:
            logs = "".join(f"\n  {program['name']}: {program['log'][-1000:]}" for program in loaded["programs"])
            complaints.append(f"{name} (kernel {kernel}, clang {clang}, frags: {loaded['frags']}) does not load: "
                              f"{loaded['error']}{logs}")
            continue
        for program in loaded["programs"]:
            case = Case(f"{name}/{program['name']}", kernel, clang)
            costs[case] = cost_of(program).most(costs.get(case))
    return costs, complaints


def family(release):
    return re.match(r"\d+\.\d+", release).group()


# ---------------------------------------------------------------- the comparison

def nearest(versions, wanted):
    """That, or the nearest lower, or the lowest where none is lower."""
    lower = [each for each in versions if each <= wanted]
    return max(lower) if lower else min(versions)


def differences(cost, line):
    """Of every column that differs: 'peak 459 -> 470'."""
    return [f"{name} {was} -> {now}" + (f" ({100 * (now - was) / was:+.1f}%)" if was else "")
            for name, was, now in zip((field.name for field in dataclasses.fields(Cost)), dataclasses.astuple(line),
                                      dataclasses.astuple(cost)) if was != now]


def judge_one(case, cost, line):
    """Complaints about a program that has a line."""
    return [f"{case}: {what} {now}, more than {MARGIN:.0%} above the {was} in budget.md. If that is worth it: {UPDATE}"
            for what, now, was in (("instructions", cost.instructions, line.instructions), ("stack", cost.stack, line.stack))
            if now > was * (1 + MARGIN)]


def over_the_limit(case, cost):
    if cost.instructions <= MOST * LIMIT:
        return []
    return [f"{case}: instructions {cost.instructions}, {cost.share()} of the kernel's limit, and no program may have more "
            f"than {MOST:.0%}"]


@dataclasses.dataclass
class Verdict:
    said: list        # lines to be printed
    complaints: list  # each is a failure
    compared: bool    # against lines of this kernel and clang


def judge(costs, table, kernel, clang):
    """Of the programs by one clang under one kernel, that is all that `costs` has."""
    lines = {case: cost for case, cost in table.items() if (case.kernel, case.clang) == (kernel, clang)}
    said, complaints = [f"kernel {kernel}, clang {clang}:"], []
    for case, cost in costs.items():
        complaints += over_the_limit(case, cost)
    kernels, clangs = {case.kernel for case in table}, {case.clang for case in table}
    unknown = [f"{what} {value}" for what, value, known in (("kernel", kernel, kernels), ("clang", clang, clangs))
               if value not in known]
    if unknown:
        return judge_stranger(costs, table, unknown, said, complaints)
    for case, cost in sorted(costs.items(), key=lambda item: item[0].order()):
        line = lines.get(case)
        if line is None:
            complaints.append(f"{case} has no line in budget.md. To add it: {UPDATE}")
            continue
        complaints += judge_one(case, cost, line)
        said.append(f"  {case.program}: {cost.instructions} instructions, {cost.share()} of the limit: " +
                    ("; ".join(differences(cost, line)) or "all as in the table"))
    complaints += [f"{case} has a line in budget.md and was not measured. To take it away: {UPDATE}"
                   for case in sorted(lines.keys() - costs.keys(), key=Case.order)]
    return Verdict(said, complaints, True)


def judge_stranger(costs, table, unknown, said, complaints):
    """Verifiers and compilers differ by more than any margin, so that others' lines cannot be held against this one; the
    limit can. The nearest lower ones are shown beside."""
    said.append(f"  budget.md has nothing of {' and '.join(unknown)}: only the limit of {MOST:.0%} is held. To add it: {UPDATE}")
    for case, cost in sorted(costs.items(), key=lambda item: item[0].order()):
        said.append(f"  {case.program}: {cost.instructions} instructions, {cost.share()} of the limit" +
                    beside_nearest(case, cost, table))
    return Verdict(said, complaints, False)


def beside_nearest(case, cost, table):
    there = [each for each in table if each.program == case.program]
    if not there:
        return ""
    kernel = nearest({version(each.kernel) for each in there}, version(case.kernel))
    clang = nearest({each.clang for each in there if version(each.kernel) == kernel}, case.clang)
    near, = (each for each in there if (version(each.kernel), each.clang) == (kernel, clang))
    return f"; beside kernel {near.kernel}, clang {near.clang}: {'; '.join(differences(cost, table[near])) or 'the same'}"


# ---------------------------------------------------------------- by hand and by CTest

def gather(build, compilers):
    """Paths of objects, and complaints."""
    paths, complaints, lacks = [], [], []
    for compiler in compilers:
        try:
            paths += objects(build, compiler)
        except Unmeasured as lack:
            lacks.append(str(lack))
    names = {compiler: {os.path.basename(path) for path in paths if os.path.dirname(path).endswith(COMPILERS[compiler])}
             for compiler in compilers}
    if "newer" in compilers and names["newer"]:
        wanted = {os.path.basename(path) for path in objects(build, "default")}
        complaints += [f"{name} is built by the default clang only: is its source in SLUICE_BPF_SOURCES (bpf/CMakeLists.txt)?"
                       for name in sorted(wanted - names["newer"])]
    return paths, complaints, lacks


def check(costs, complaints, table):
    compared = False
    for kernel, clang in sorted({(case.kernel, case.clang) for case in costs}):
        verdict = judge({case: cost for case, cost in costs.items() if (case.kernel, case.clang) == (kernel, clang)},
                        table, kernel, clang)
        print("\n".join(verdict.said))
        complaints = complaints + verdict.complaints
        compared = compared or verdict.compared
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    if complaints:
        return 1
    return 0 if compared else vm.SKIPPED


def main():
    parser = argparse.ArgumentParser(description="Loads every BPF program that is built, and holds what the kernel's "
                                     "verifier spent on it against budget.md. Attaches nothing.")
    parser.add_argument("--build", metavar="DIR", default=os.path.join(ROOT, "build"))
    parser.add_argument("--kernel", choices=["host", "vm", "both"], default="both")
    parser.add_argument("--compiler", choices=[*COMPILERS, "both"], default="both", help="whose objects")
    parser.add_argument("--update", action="store_true", help="write the table: lines of kernels and compilers that are not "
                        "here stay as they are")
    args = parser.parse_args()

    with open(TABLE, encoding="utf-8") as file:
        table = read_table(file.read())
    paths, complaints, lacks = gather(args.build, list(COMPILERS) if args.compiler == "both" else [args.compiler])
    costs = {}
    for kernel in ("host", "vm") if args.kernel == "both" else (args.kernel,):
        try:
            measured, refused = measure(load(args.build, paths, kernel)) if paths else ({}, [])
        except Unmeasured as lack:
            lacks.append(str(lack))
            continue
        costs.update(measured)
        complaints += refused
    for lack in lacks:
        print(f"skipped: {lack}")
    if args.update and not complaints:
        fresh = {(case.kernel, case.clang) for case in costs}
        table = {case: cost for case, cost in table.items() if (case.kernel, case.clang) not in fresh} | costs
        with open(TABLE, "w", encoding="utf-8") as file:
            file.write(write_table(table))
    return check(costs, complaints, table)


if __name__ == "__main__":
    sys.exit(main())
