// SPDX-License-Identifier: Apache-2.0
// One flow as the core keeps it: kept small, there may be millions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "journal.h"
#include "sluice/sluice.pb.h"
#include "sluice/ufid.h"

namespace sluice::core {

// What a publisher asks for, parsed and checked.
struct FlowSpec {
  Ufid ufid;
  std::string_view publisher;   // of the message that it came in
  std::string match;            // packed
  std::string actions;          // canonical text, ports by name
  std::vector<uint32_t> ports;  // numbers that match or actions refer to
  uint32_t in_port = 0;         // 0: any
  bool floods = false;
  uint32_t priority = 0;
  uint32_t idle_timeout_ms = 0;
  uint32_t hard_timeout_ms = 0;
};

enum class Cause : uint8_t { request, flush, idle_timeout, hard_timeout };
std::string_view CauseName(Cause cause);

struct Why {
  std::string reason;
  std::string detail;
  bool operator==(const Why&) const = default;
};

// Where a flow stands in one plugin that has been offered it.
struct Placement {
  uint64_t instance = 0;     // of the flow, as last offered
  uint64_t seq = 0;          // of the change last offered
  std::unique_ptr<Why> why;  // where there is something to say
  uint8_t plugin = 0;        // index
  uint8_t state = 0;         // v1::OffloadState
  bool withdrawn = false;    // the plugin has been told to delete `instance`, and has not confirmed
  bool stale = false;        // the flow changed since it was offered: verdicts on the old content do not count
};

struct Flow : Entry {
  Flow() : Entry(EntryKind::flow) {}

  Ufid ufid;
  uint64_t instance = 0;   // the sequence number it was added with
  uint64_t shown_seq = 0;  // of the last event about it
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t used_ns = 0;      // CLOCK_MONOTONIC; 0: never
  uint64_t modified_ns = 0;  // CLOCK_MONOTONIC of the last put
  uint32_t tcp_flags = 0;
  uint32_t priority = 0;
  uint32_t idle_timeout_ms = 0;
  uint32_t hard_timeout_ms = 0;
  uint32_t in_port = 0;  // 0: any
  uint32_t armed = 0;    // generation of its entry in the ageing heap
  uint16_t share = 0;    // of the publisher that added it, see PublisherShares
  bool floods = false;
  bool announced = false;  // tombstone: flow.del has been said
  Cause cause = Cause::request;
  std::vector<Placement> placements;

  void SetContent(const FlowSpec& spec);
  [[nodiscard]] std::string_view match() const { return {content_.get(), match_size_}; }
  [[nodiscard]] std::string_view actions() const { return {content_.get() + match_size_, actions_size_}; }
  [[nodiscard]] uint32_t PortCount() const { return port_count_; }
  [[nodiscard]] uint32_t PortAt(uint32_t index) const;
  [[nodiscard]] bool live() const { return kind == EntryKind::flow; }
  [[nodiscard]] Placement* In(uint8_t plugin);
  [[nodiscard]] const Placement* In(uint8_t plugin) const;

 private:
  // Match, actions and port numbers in one allocation.
  std::unique_ptr<char[]> content_;
  uint16_t match_size_ = 0;
  uint16_t port_count_ = 0;
  uint32_t actions_size_ = 0;
};

}  // namespace sluice::core
