// SPDX-License-Identifier: Apache-2.0
// What a kept program counts while no plugin is there: which record is which flow's, in a file for the next plugin, and
// the counters themselves, in the maps of the program until it is replaced.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flow_table.h"
#include "mapping.h"
#include "sluice/ufid.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

struct KeptFlow {
  Ufid ufid;
  uint64_t instance;
  uint32_t record;
  uint32_t reserved;
  uint64_t packets;  // of the record, already reported
  uint64_t bytes;
};

// `epoch`: of the core whose instances these are. A file that cannot be written is none: its counts are lost.
void WriteKeptFlows(const std::string& path, const std::string& epoch, const std::vector<KeptFlow>& flows);

class KeptCounts {
 public:
  // The file's flows, with the counters of the program. nullopt where there is no such file, or of another epoch, or
  // the program has no counters of ours.
  static std::optional<KeptCounts> Open(const std::string& path, const std::string& epoch, uint32_t program_id);
  // The same with the counters' map.
  static std::optional<KeptCounts> Open(const std::string& path, const std::string& epoch, UniqueFd stats);

  using Report = std::function<void(const Ufid& ufid, uint64_t instance, const FlowStatsDelta& delta)>;
  // What was counted and not reported. Last use is now for all that counted, as they did within the last moments.
  void Read(const Report& report) const;

 private:
  std::vector<KeptFlow> flows_;
  Mapping stats_;
  uint32_t cpus_ = 0;
  uint32_t records_ = 0;  // for each CPU
};

}  // namespace sluice::xdp
