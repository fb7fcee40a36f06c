# SPDX-License-Identifier: Apache-2.0
"""finds.py CASE PATTERN SUITE...: runs that case of the suite, which has to fail with a sentence that PATTERN matches."""
import re
import subprocess
import sys


TRIES = 3  # the plugin may report its statistics just before they would be lost


def attempt(case, pattern, suite):
    """What is wrong with the suite, or None."""
    done = subprocess.run([*suite, "--case", case], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 1 or len(failed) != 1 or failed[0].split()[1] != case:
        return f"case {case} has not found the fault: exit code {done.returncode}"
    if not re.search(pattern, failed[0]):
        return f"case {case} has failed for another reason than /{pattern}/"
    return None


def main():
    case, pattern, *suite = sys.argv[1:]
    for _ in range(TRIES):
        wrong = attempt(case, pattern, suite)
        if wrong is None:
            return
    sys.exit(wrong)


if __name__ == "__main__":
    main()
