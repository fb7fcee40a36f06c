// SPDX-License-Identifier: Apache-2.0
// What is known of every packet of a flow while its actions are done one after another: from the match at first, then
// from what the actions have set.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "sluice/match.h"

namespace sluice::rteflow {

enum class Answer : uint8_t { kNo, kYes, kUnknown };
enum class Layer3 : uint8_t { kUnknown, kIpv4, kIpv6, kOther };

// Of a field of up to 16 bits, host order. Value bits outside the mask are 0.
struct KnownBits {
  uint16_t value = 0;
  uint16_t mask = 0;
};

class KnownPacket {
 public:
  explicit KnownPacket(const Match& match);

  [[nodiscard]] Layer3 layer3() const { return layer3_; }
  // Whether there is a tag, the outermost one is meant by the others.
  [[nodiscard]] Answer Tagged() const;
  void PushTag(uint16_t tci) { tags_.push_back({static_cast<uint16_t>(tci & ~0x1000U), 0xefff}); }
  void PopTag() { tags_.pop_back(); }
  [[nodiscard]] KnownBits TagAfter(uint16_t value, uint16_t mask) const;
  void SetTag(KnownBits tag) { tags_.back() = tag; }

  // Whether the packets have the header of a settable field.
  [[nodiscard]] Answer HasHeaderOf(Field field) const;
  // Why it is not sure that a device brings the checksums up to date as it should when the field is set; nullptr: it
  // is.
  [[nodiscard]] const char* WhyChecksumUnsure(Field field) const;

  [[nodiscard]] std::optional<uint64_t> Exact(Field field) const;
  [[nodiscard]] KnownBits Known(Field field) const;
  void SetNumber(Field field, uint64_t value) { known_.SetExact(field, value); }

  struct Outcome {
    bool same = false;   // the packets have that value already
    bool whole = false;  // all bits are known, so that it can be set as a whole
    std::array<uint8_t, 16> value{};
  };
  [[nodiscard]] Outcome After(Field field, const Match& set) const;
  void Set(Field field, const Match& set);

 private:
  [[nodiscard]] Answer HasProtocol(uint64_t proto) const;

  Match known_;
  Layer3 layer3_ = Layer3::kUnknown;
  std::vector<KnownBits> tags_;  // the innermost first
  bool more_tags_ = false;       // it is not known whether there are more, inside
  bool later_fragments_ = true;  // may be among them
  bool first_fragments_ = true;
};

}  // namespace sluice::rteflow
