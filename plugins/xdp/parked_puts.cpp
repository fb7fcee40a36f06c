// SPDX-License-Identifier: Apache-2.0
#include "parked_puts.h"

#include <utility>

namespace sluice::xdp {

void ParkedPuts::Add(ParkedPut put) {
  tickets_[put.ufid] = put.ticket;
  const uint64_t ticket = put.ticket;
  puts_.insert_or_assign(ticket, std::move(put));
}

std::optional<ParkedPut> ParkedPuts::Take(const Ufid& ufid) {
  if (puts_.empty()) return std::nullopt;
  const auto ticket = tickets_.find(ufid);
  if (ticket == tickets_.end()) return std::nullopt;
  auto node = puts_.extract(ticket->second);
  tickets_.erase(ticket);
  return std::move(node.mapped());
}

std::vector<ParkedPut> ParkedPuts::TakeFrom(uint64_t ticket, size_t most) {
  std::vector<ParkedPut> taken;
  for (auto at = puts_.lower_bound(ticket); at != puts_.end() && taken.size() < most; at = puts_.erase(at)) {
    tickets_.erase(at->second.ufid);
    taken.push_back(std::move(at->second));
  }
  return taken;
}

void ParkedPuts::Clear() {
  puts_.clear();
  tickets_.clear();
}

}  // namespace sluice::xdp
