# SPDX-License-Identifier: Apache-2.0
"""What every Sluice plugin must do, as a suite that runs it in a daemon of its own. plugins/README.md tells how."""
