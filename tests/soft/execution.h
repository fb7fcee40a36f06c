// SPDX-License-Identifier: Apache-2.0
// One frame through one list of actions, and what came of it, in order.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "reference/packet.h"
#include "sluice/flow_text.h"
#include "soft/execute.h"
#include "soft/packet.h"

namespace sluice::soft {

using reference::Bytes;

inline constexpr uint32_t kInPort = 3;

struct Event {
  std::string what;  // "1" (a port), "flood", "upcall", "expired", "dropped"
  Bytes frame{};
  size_t length = 0;  // upcall: of the packet
  bool operator==(const Event&) const = default;
};

inline void PrintTo(const Event& event, std::ostream* out) {
  *out << event.what << " " << reference::Hex(event.frame) << " of " << event.length;
}

class Recorder : public Sink {
 public:
  void Output(uint32_t port, std::span<const uint8_t> frame) override { Add(std::to_string(port), frame); }
  void Flood(std::span<const uint8_t> frame) override { Add("flood", frame); }
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) override {
    EXPECT_EQ(action.cookie, 0u);
    Add("upcall", frame);
    events_.back().length = length;
  }
  void Expired() override { Add("expired", {}); }
  void Dropped() override { Add("dropped", {}); }

  [[nodiscard]] const std::vector<Event>& events() const { return events_; }

 private:
  void Add(std::string what, std::span<const uint8_t> frame) {
    events_.push_back({std::move(what), Bytes(frame.begin(), frame.end())});
  }

  std::vector<Event> events_;
};

inline Actions Parsable(const std::string& text) {
  const auto actions = ParseActions(text);
  if (!actions) throw std::invalid_argument(Explain(actions.error(), text));
  return *actions;
}

inline std::vector<Event> Events(const Bytes& packet, const Actions& actions) {
  Frame frame;
  frame.Assign(packet);
  Recorder recorder;
  Execute(actions, frame, Parse(packet, kInPort).headers, recorder);
  return recorder.events();
}

inline std::vector<Event> Events(const Bytes& packet, const std::string& actions) {
  return Events(packet, Parsable(actions));
}

// The packet after `edits`.
inline Bytes Edited(const Bytes& packet, const std::string& edits) {
  const auto events = Events(packet, edits + ",1");
  EXPECT_EQ(events.size(), 1u) << edits;
  EXPECT_EQ(events.front().what, "1") << edits;
  return events.front().frame;
}

inline reference::PacketSpec Named(const std::string& name) {
  for (const auto& [known, spec] : reference::NamedPackets()) {
    if (known == name) return spec;
  }
  throw std::out_of_range(name);
}

}  // namespace sluice::soft
