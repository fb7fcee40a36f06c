# SPDX-License-Identifier: Apache-2.0
"""A scratch prefix with Sluice installed in it."""
import glob
import os
import subprocess
import tempfile


class Prefix:
    def __init__(self, build_dir):
        self._directory = tempfile.TemporaryDirectory(prefix="sluice-prefix-")
        self.path = self._directory.name
        subprocess.run(["cmake", "--install", build_dir, "--prefix", self.path], check=True,
                       stdout=subprocess.DEVNULL)
        pkg_config, = glob.glob(f"{self.path}/**/pkgconfig", recursive=True)
        self.env = {**os.environ, "PKG_CONFIG_PATH": pkg_config, "CMAKE_PREFIX_PATH": self.path,
                    "PATH": f"{self.path}/bin:{os.environ['PATH']}"}

    def program(self, name):
        return os.path.join(self.path, "bin", name)

    def close(self):
        self._directory.cleanup()
