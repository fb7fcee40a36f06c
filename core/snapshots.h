// SPDX-License-Identifier: Apache-2.0
// Walks over the table, a chunk a request. A walk under way keeps the tombstones that it has yet to tell of.
#pragma once

#include <list>
#include <string>

#include "flow_table.h"
#include "journal.h"
#include "ports.h"
#include "sluice/error.h"

namespace sluice::core {

struct SnapshotLimits {
  size_t walks = 16;                  // at a time; the one longest idle ends
  uint64_t idle_ns = 10'000'000'000;  // then a walk ends
  uint32_t chunk = 1'000;             // flows in a reply, where the request does not say
  uint32_t max_chunk = 10'000;
  uint32_t scan = 100'000;  // entries looked at for one reply
  // Deleted flows that are kept for walks alone: what is slower than that ends.
  uint64_t held = 1'048'576;
};

class Snapshots {
 public:
  Snapshots(Journal& journal, FlowTable& table, Ports& ports, SnapshotLimits limits)
      : journal_(journal), table_(table), ports_(ports), limits_(limits) {}

  // Fills flows, deleted, cursor and done. Errors: "snapshot_expired" (begin anew), "unknown_port", "no_such_plugin".
  Result<void> Take(const v1::Snapshot& request, const std::vector<std::string>& plugins, uint64_t now_ns,
                    v1::Reply& reply);
  // Ends the walks that nobody goes on with, and those that hold too many deleted flows.
  void Expire(uint64_t now_ns);
  [[nodiscard]] size_t size() const { return walks_.size(); }
  [[nodiscard]] const SnapshotLimits& limits() const { return limits_; }

 private:
  struct Walk {
    Cursor cursor;
    uint64_t used_ns;
    Walk(Journal& journal, uint64_t after, uint64_t now_ns) : cursor(journal, after, true), used_ns(now_ns) {}
  };
  struct Filter {
    uint32_t port = 0;  // 0: any
    int plugin = -1;    // index; -1: any
  };
  [[nodiscard]] Result<Filter> ReadFilter(const v1::Snapshot& request, const std::vector<std::string>& plugins) const;
  std::list<Walk>::iterator Resume(uint64_t after, uint64_t now_ns);

  Journal& journal_;
  FlowTable& table_;
  Ports& ports_;
  SnapshotLimits limits_;
  std::list<Walk> walks_;
};

}  // namespace sluice::core
