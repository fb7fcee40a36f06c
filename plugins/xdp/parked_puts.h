// SPDX-License-Identifier: Apache-2.0
// Puts that have to wait for the kernel, so that nothing else does.
//
// A parked put has changed nothing yet. It keeps its place in the order in which puts came, however often it is tried;
// of one ufid there is at most one, the newest.
#pragma once

#include <tsl/robin_map.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "sluice/sluice.pb.h"
#include "sluice/ufid_hash.h"

namespace sluice::xdp {

struct ParkedPut {
  Ufid ufid;
  v1::FlowState put;
  uint64_t seq = 0;     // of its change
  uint64_t ticket = 0;  // its place in the order
};

// Session thread.
class ParkedPuts {
 public:
  // For a put that comes now.
  uint64_t NextTicket() { return ++last_ticket_; }

  void Add(ParkedPut put);
  std::optional<ParkedPut> Take(const Ufid& ufid);
  // The oldest `most` from `ticket` on, in order.
  std::vector<ParkedPut> TakeFrom(uint64_t ticket, size_t most);
  void Clear();

  [[nodiscard]] bool empty() const { return puts_.empty(); }
  [[nodiscard]] size_t size() const { return puts_.size(); }
  // One that came before this ticket is here.
  [[nodiscard]] bool HasBefore(uint64_t ticket) const { return !puts_.empty() && puts_.begin()->first < ticket; }

 private:
  std::map<uint64_t, ParkedPut> puts_;  // by ticket
  tsl::robin_map<Ufid, uint64_t, UfidHash> tickets_;
  uint64_t last_ticket_ = 0;
};

}  // namespace sluice::xdp
