// SPDX-License-Identifier: Apache-2.0
// The files that one XDP plugin leaves for the next: "j", the ports that it keeps; "c", whose records count for what.
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "fuzz.h"
#include "kept_counts.h"
#include "kept_state.h"

namespace {

// In memory, and gone with the process.
class RunDir {
 public:
  RunDir() : path_("/dev/shm/sluice-fuzz-" + std::to_string(getpid())) { std::filesystem::create_directory(path_); }
  ~RunDir() { std::filesystem::remove_all(path_); }
  RunDir(const RunDir&) = delete;
  RunDir& operator=(const RunDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  void Write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
  }

 private:
  std::string path_;
};

void State(const RunDir& dir, std::string_view text) {
  dir.Write("xdp-ports.json", text);
  sluice::xdp::KeptState state(dir.path(), "xdp");
  // What is written then reads as it was.
  state.Set("another", {.ifindex = 7, .changes = {}, .pinned = true});
  const sluice::xdp::KeptState again(dir.path(), "xdp");
  FUZZ_CHECK(again.entries().size() == state.entries().size());
  for (const auto& [port, entry] : state.entries()) {
    const auto* found = again.Find(port, entry.ifindex);
    FUZZ_CHECK(found != nullptr && found->pinned == entry.pinned && found->changes.size() == entry.changes.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const RunDir dir;
  if (size == 0) return 0;
  const auto rest = sluice::fuzz::Text(data + 1, size - 1);
  if (data[0] == 'j') {
    State(dir, rest);
  } else {
    dir.Write("counts", rest);
    // There is no program 0: nothing is ever found, but the file is read to its end.
    FUZZ_CHECK(!sluice::xdp::KeptCounts::Open(dir.path() + "/counts", "e", 0));
  }
  return 0;
}
