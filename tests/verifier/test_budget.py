#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What budget.py makes of what the kernel says, and where it complains."""
import dataclasses
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import budget  # noqa: E402

LOG = """verification time 115752 usec
stack depth 104+0+24
processed {instructions} insns (limit 1000000) max_states_per_insn 13 total_states 1366 peak_states 459 mark_read 0
"""
CASE = budget.Case("sluice_xdp/sluice_xdp", "6.18", 14)
COST = budget.Cost(40000, 1366, 459, 13, 128, 2044)
TABLE = {CASE: COST, dataclasses.replace(CASE, kernel="6.1"): dataclasses.replace(COST, instructions=80000),
         dataclasses.replace(CASE, clang=22): COST}


def judged(cost=COST, case=CASE, table=None):
    return budget.judge({case: cost}, TABLE if table is None else table, case.kernel, case.clang)


class Judge(unittest.TestCase):
    def test_what_is_as_in_the_table(self):
        verdict = judged()
        self.assertEqual((verdict.complaints, verdict.compared), ([], True))
        self.assertEqual(verdict.said[1], "  sluice_xdp/sluice_xdp: 40000 instructions, 4.00% of the limit: all as in the table")

    def test_within_the_margin_the_difference_is_printed(self):
        verdict = judged(dataclasses.replace(COST, instructions=44000, peak=900))
        self.assertEqual(verdict.complaints, [])
        self.assertIn("instructions 40000 -> 44000 (+10.0%); peak 459 -> 900 (+96.1%)", verdict.said[1])

    def test_instructions_above_the_margin(self):
        complaint, = judged(dataclasses.replace(COST, instructions=44001)).complaints
        self.assertIn("sluice_xdp/sluice_xdp (kernel 6.18, clang 14): instructions 44001, more than 10% above the 40000",
                      complaint)

    def test_stack_above_the_margin(self):
        self.assertEqual(judged(dataclasses.replace(COST, stack=136)).complaints, [])
        complaint, = judged(dataclasses.replace(COST, stack=144)).complaints
        self.assertIn("stack 144, more than 10% above the 128", complaint)

    def test_above_the_share_of_the_limit_whatever_the_table_says(self):
        much = dataclasses.replace(COST, instructions=100001)
        complaint, = judged(much, table={CASE: much}).complaints
        self.assertIn("10.00% of the kernel's limit, and no program may have more than 10%", complaint)

    def test_a_program_without_a_line(self):
        case = dataclasses.replace(CASE, program="sluice_xdp/sluice_pass")
        complaints = judged(case=case).complaints
        self.assertIn("sluice_xdp/sluice_pass (kernel 6.18, clang 14) has no line in budget.md. To add it: tests/", complaints[0])
        self.assertIn("sluice_xdp/sluice_xdp (kernel 6.18, clang 14) has a line in budget.md and was not measured", complaints[1])

    def test_kernel_and_clang_known_but_not_together(self):
        complaint, = judged(case=dataclasses.replace(CASE, kernel="6.1", clang=22)).complaints
        self.assertIn("(kernel 6.1, clang 22) has no line", complaint)

    def test_another_kernel_has_only_the_limit_and_is_not_called_compared(self):
        verdict = judged(dataclasses.replace(COST, instructions=60000), dataclasses.replace(CASE, kernel="6.12"))
        self.assertEqual((verdict.complaints, verdict.compared), ([], False))
        self.assertIn("budget.md has nothing of kernel 6.12: only the limit of 10% is held. To add it: ", verdict.said[1])
        self.assertIn("beside kernel 6.1, clang 14: instructions 80000 -> 60000 (-25.0%)", verdict.said[2])
        verdict = judged(dataclasses.replace(COST, instructions=100001), dataclasses.replace(CASE, clang=19))
        self.assertIn("beside kernel 6.18, clang 14", verdict.said[2])
        self.assertEqual(len(verdict.complaints), 1)


class Measure(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = os.path.join(scratch.name, "sluice_xdp.bpf.o")
        with open(self.path, "wb") as file:
            file.write(b"\0Debian clang version 14.0.6\0")

    def load(self, instructions, error="", frags=False):
        return {"path": self.path, "frags": frags, "error": error, "programs": [
            {"name": "sluice_xdp", "size": 2044, "log": LOG.format(instructions=instructions)}]}

    def test_of_two_ways_to_load_the_dearer(self):
        said = {"kernel": "6.18.44-x", "loads": [self.load(40000), self.load(39000, frags=True)]}
        self.assertEqual(budget.measure(said), ({CASE: COST}, []))

    def test_a_program_that_is_refused(self):
        costs, (complaint,) = budget.measure({"kernel": "6.18.44-x", "loads": [self.load(39, "Permission denied")]})
        self.assertEqual(costs, {})
        self.assertIn("sluice_xdp (kernel 6.18, clang 14, frags: False) does not load: Permission denied\n", complaint)
        self.assertIn("processed 39 insns", complaint)

    def test_a_log_without_figures_is_an_error(self):
        said = self.load(40000)
        said["programs"][0]["log"] = ""
        with self.assertRaisesRegex(ValueError, "no statistics of sluice_xdp"):
            budget.measure({"kernel": "6.18.44-x", "loads": [said]})


class Table(unittest.TestCase):
    def test_written_and_read_it_is_the_same_and_sorted(self):
        text = budget.write_table(TABLE)
        self.assertEqual(budget.read_table(text), TABLE)
        self.assertEqual(text, budget.write_table(dict(reversed(TABLE.items()))))
        self.assertLess(text.index("|    6.1 |"), text.index("|   6.18 |"))

    def test_the_one_in_the_tree_is_as_it_would_be_written(self):
        with open(budget.TABLE, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text, budget.write_table(budget.read_table(text)))


if __name__ == "__main__":
    unittest.main()
