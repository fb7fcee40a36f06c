// SPDX-License-Identifier: Apache-2.0
// Reads the groups of a match, one by one, so that flows and set(...) can have other things around them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "field_text.h"
#include "text_scanner.h"

namespace sluice {

class MatchParser {
 public:
  MatchParser(TextScanner& in, const PortNames& ports) : in_(in), ports_(ports) {}

  // All groups up to the end of the text.
  bool Groups();
  // The group whose name, `word` at `position`, was just read.
  bool Group(std::string_view word, size_t position) { return Group(word, position, 0); }
  // After the last group: does all of it fit together?
  bool Finish();

  [[nodiscard]] const Match& match() const { return match_; }
  // Where `field` was set in the text.
  [[nodiscard]] size_t PositionOf(Field field) const { return positions_[static_cast<size_t>(field)]; }

 private:
  static constexpr unsigned kMaxTags = 2;
  struct GroupInfo;
  class GroupTable;

  bool Group(std::string_view word, size_t position, unsigned depth);
  bool Layered(const GroupInfo& group, size_t position, unsigned depth);
  bool Encap(size_t position, unsigned depth);
  bool Fields(const GroupInfo& group);
  bool Foreign(std::string_view word, size_t position);
  bool Claim(Field field, size_t position);
  bool AtRightDepth(const GroupInfo& group, size_t position, unsigned depth);

  TextScanner& in_;
  const PortNames& ports_;
  Match match_;
  std::array<uint32_t, kFieldCount> positions_;  // where seen_ has the field's bit
  uint64_t seen_ = 0;                            // fields
  uint64_t seen_groups_ = 0;
  unsigned encaps_ = 0;        // how deep encap(...) went
  unsigned packet_depth_ = 0;  // of the first group of layer 3 or 4
  size_t packet_position_ = 0;
  std::string_view packet_name_;  // empty before there is one
};

}  // namespace sluice
