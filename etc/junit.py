#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads files of `ctest --output-junit`.

  junit.py counts FILE          how many tests there are, have failed and were skipped
  junit.py report FILE AGAIN    the failed tests of FILE, with the end of what they printed; AGAIN is a file of the same
                                tests run once more, or is not there
  junit.py steady FILE AGAIN    how many of the failed tests of FILE have failed in AGAIN too
"""
import pathlib
import sys
import xml.etree.ElementTree

LINES = 40


def cases(path):
    return list(xml.etree.ElementTree.parse(path).iter("testcase"))


def was_skipped(case):
    reason = case.find("skipped")
    message = "" if reason is None else reason.get("message", "")
    return message.startswith("SKIP_") or case.get("status") == "disabled"


def has_failed(case):  # or could not be started
    return not was_skipped(case) and case.get("status") != "run"


def passed_again(path):
    if not pathlib.Path(path).exists():
        return set()
    return {case.get("name") for case in cases(path) if case.get("status") == "run"}


def report(path, again):
    passed = passed_again(again)
    for case in filter(has_failed, cases(path)):
        output = (case.findtext("system-out") or "").splitlines()
        print(f"{case.get('name')}, the end of what it printed:")
        print("\n".join("   " + line for line in output[-LINES:]))
    for case in filter(has_failed, cases(path)):
        name = case.get("name")
        print(f"UNSTEADY {name}: failed, and passed when run again alone" if name in passed else f"FAILED {name}")


def main():
    what, path, *again = sys.argv[1:]
    if what == "counts":
        all_cases = cases(path)
        print(len(all_cases), sum(map(has_failed, all_cases)), sum(map(was_skipped, all_cases)))
    elif what == "report":
        report(path, *again)
    elif what == "steady":
        passed = passed_again(*again)
        print(sum(case.get("name") not in passed for case in cases(path) if has_failed(case)))


main()
