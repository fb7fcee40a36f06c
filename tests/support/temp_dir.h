// SPDX-License-Identifier: Apache-2.0
// A directory of one test's own, gone with its owner.
#pragma once

#include <string>

namespace sluice::test {

class TempDir {
 public:
  // /tmp/sluice-test-XXXXXX. Throws std::system_error.
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Writes `content` to the file `name` in it and returns the file's path.
  std::string Write(const std::string& name, const std::string& content) const;  // NOLINT(modernize-use-nodiscard)

 private:
  std::string path_;
};

}  // namespace sluice::test
