#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the Python of bus/flow.md: it must print the packed form that the page shows under it."""

import re
import subprocess
import sys

page = open(sys.argv[1], encoding="utf-8").read()
code = re.search(r"```python\n(.*?)```", page, re.S).group(1)
shown = re.search(r"```python\n.*?```.*?```\n(\w+)\n```", page, re.S).group(1)
printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
if printed != shown:
    sys.exit(f"bus/flow.md shows {shown}, its Python prints {printed}")
