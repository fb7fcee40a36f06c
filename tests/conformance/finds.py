# SPDX-License-Identifier: Apache-2.0
"""finds.py CASE PATTERN SUITE...: runs that case of the suite, which has to fail with a sentence that PATTERN matches."""
import re
import subprocess
import sys


def main():
    case, pattern, *suite = sys.argv[1:]
    done = subprocess.run([*suite, "--case", case], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 1 or len(failed) != 1 or failed[0].split()[1] != case:
        sys.exit(f"case {case} has not found the fault: exit code {done.returncode}")
    if not re.search(pattern, failed[0]):
        sys.exit(f"case {case} has failed for another reason than /{pattern}/")


if __name__ == "__main__":
    main()
