// SPDX-License-Identifier: Apache-2.0
#include "snapshots.h"

#include <algorithm>

#include "flow_spec.h"

namespace sluice::core {

Result<Snapshots::Filter> Snapshots::ReadFilter(const v1::Snapshot& request,
                                                const std::vector<std::string>& plugins) const {
  Filter filter;
  if (!request.port().empty()) {
    const auto number = ports_.Known().Number(request.port());
    if (!number) return Error{"unknown_port", "there is no port " + request.port(), 0, 0};
    filter.port = *number;
  }
  if (!request.plugin().empty()) {
    auto it = std::find(plugins.begin(), plugins.end(), request.plugin());
    if (it == plugins.end()) return Error{"no_such_plugin", "no plugin " + request.plugin() + " runs", 0, 0};
    filter.plugin = static_cast<int>(it - plugins.begin());
  }
  return filter;
}

// The walk that stands at `after`, or end().
std::list<Snapshots::Walk>::iterator Snapshots::Resume(uint64_t after, uint64_t now_ns) {
  auto walk = walks_.end();
  if (after != 0) {
    walk = std::find_if(walks_.begin(), walks_.end(), [&](const Walk& w) { return w.cursor.position() == after; });
    if (walk == walks_.end() && after < table_.freed_upto()) return walk;
  }
  if (walk == walks_.end()) {
    if (walks_.size() >= limits_.walks) {
      walks_.erase(std::min_element(walks_.begin(), walks_.end(),
                                    [](const Walk& a, const Walk& b) { return a.used_ns < b.used_ns; }));
      table_.Sweep();
    }
    walk = walks_.emplace(walks_.end(), journal_, after, now_ns);
  }
  walk->used_ns = now_ns;
  return walk;
}

Result<void> Snapshots::Take(const v1::Snapshot& request, const std::vector<std::string>& plugins, uint64_t now_ns,
                             v1::Reply& reply) {
  auto filter = ReadFilter(request, plugins);
  if (!filter) return filter.error();
  auto walk = Resume(request.after(), now_ns);
  if (walk == walks_.end()) {
    return Error{"snapshot_expired", "the walk was left for too long: begin it anew with after = 0", 0, 0};
  }
  const uint32_t limit = std::min(request.limit() == 0 ? limits_.chunk : request.limit(), limits_.max_chunk);
  Cursor& cursor = walk->cursor;
  for (uint32_t looked = 0; looked < limits_.scan && static_cast<uint32_t>(reply.flows_size()) < limit; ++looked) {
    Entry* entry = cursor.Peek();
    if (entry == nullptr) break;
    cursor.Advance();
    if (entry->kind == EntryKind::tombstone && request.after() != 0) {
      reply.add_deleted(static_cast<Flow*>(entry)->ufid.ToString());
    }
    if (entry->kind != EntryKind::flow) continue;
    const Flow& flow = *static_cast<Flow*>(entry);
    if (filter->port != 0 && flow.in_port != filter->port) continue;
    if (filter->plugin >= 0) {
      const Placement* placement = flow.In(static_cast<uint8_t>(filter->plugin));
      if (placement == nullptr || placement->state != v1::INSTALLED) continue;
    }
    ShowFlow(flow, ports_, plugins, now_ns, *reply.add_flows());
  }
  reply.set_cursor(std::max(cursor.position(), request.after()));
  reply.set_done(cursor.Peek() == nullptr);
  if (reply.done()) {
    walks_.erase(walk);
  }
  table_.Sweep();
  return {};
}

void Snapshots::Expire(uint64_t now_ns) {
  if (std::erase_if(walks_, [&](const Walk& walk) { return now_ns - walk.used_ns > limits_.idle_ns; }) != 0) {
    table_.Sweep();
  }
  // However often a walk that is slow goes on, what it holds is bounded.
  while (table_.held_for_snapshots() > limits_.held && !walks_.empty()) {
    walks_.erase(std::min_element(walks_.begin(), walks_.end(), [](const Walk& a, const Walk& b) {
      return a.cursor.position() < b.cursor.position();
    }));
    table_.Sweep();
  }
}

}  // namespace sluice::core
