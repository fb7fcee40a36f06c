#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many tests there are, have failed and were skipped in a file of `ctest --output-junit`."""
import sys
import xml.etree.ElementTree


def main():
    total = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase"):
        total += 1
        reason = case.find("skipped")
        if reason is not None and reason.get("message", "").startswith("SKIP_") or case.get("status") == "disabled":
            skipped += 1
        elif case.get("status") != "run":  # failed, or could not be started
            failed += 1
    print(total, failed, skipped)


main()
