# SPDX-License-Identifier: Apache-2.0
"""Profiles of plugins that are known here, each named as its plugin."""
