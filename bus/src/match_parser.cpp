// SPDX-License-Identifier: Apache-2.0
#include "match_parser.h"

#include <algorithm>
#include <vector>

#include "match_validate.h"

namespace sluice {
namespace {

enum class Kind : uint8_t {
  bare,   // group(value)
  subs,   // group(sub=value,...)
  layer,  // eth_type and vlan: which field depends on how deep in encap(...) it stands
  encap,
};

// Groups that OVS prints and Sluice has no fields for: accepted where they say nothing.
constexpr std::array<std::string_view, 5> kForeign{"ct_tuple4", "ct_tuple6", "mpls", "nsh", "nd_ext"};

// A mask, or a whole value, of zeros: "0", "0x00", "0.0.0.0", "::", "00:00:00:00:00:00".
bool SaysNothing(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != std::string_view::npos && text.substr(slash + 1).find_first_not_of("0x.:") == std::string_view::npos;
}

constexpr uint64_t Bit(size_t n) { return uint64_t{1} << n; }

}  // namespace

struct MatchParser::GroupInfo {
  std::string_view name;
  uint8_t first = 0;  // fields, both included
  uint8_t last = 0;
  Kind kind = Kind::subs;
  uint8_t number = 0;
};

// Groups by name: open addressing, made by the compiler from field.def.
class MatchParser::GroupTable {
 public:
  constexpr GroupTable() {
    uint8_t number = 0;
    for (size_t f = 0; f < kFieldCount; ++f) {
      const FieldInfo& info = kFields[f];
      if (f > 0 && kFields[f - 1].group == info.group) {
        groups_[number - 1u].last = static_cast<uint8_t>(f);
        continue;
      }
      Kind kind = info.sub.empty() ? Kind::bare : Kind::subs;
      if (info.group == "eth_type" || info.group == "vlan") kind = Kind::layer;
      if (info.group == "encap") kind = Kind::encap;
      groups_[number] = GroupInfo{info.group, static_cast<uint8_t>(f), static_cast<uint8_t>(f), kind, number};
      size_t slot = Hash(info.group);
      while (slots_[slot] != 0) slot = (slot + 1) % slots_.size();
      slots_[slot] = ++number;
    }
    count_ = number;
  }

  [[nodiscard]] constexpr const GroupInfo* Find(std::string_view name) const {
    if (name.empty()) return nullptr;
    for (size_t slot = Hash(name); slots_[slot] != 0; slot = (slot + 1) % slots_.size()) {
      const GroupInfo& group = groups_[slots_[slot] - 1u];
      if (group.name == name) return &group;
    }
    return nullptr;
  }

  [[nodiscard]] std::vector<std::string_view> Names() const {
    std::vector<std::string_view> names;
    for (size_t i = 0; i < count_; ++i) names.push_back(groups_[i].name);
    return names;
  }

 private:
  static constexpr size_t kSlots = 128;

  static constexpr size_t Hash(std::string_view name) {
    return (static_cast<unsigned char>(name.front()) * 31u + static_cast<unsigned char>(name.back()) * 7u +
            static_cast<unsigned char>(name[name.size() / 2]) + name.size() * 13u) %
           kSlots;
  }

  std::array<GroupInfo, kFieldCount> groups_{};
  std::array<uint8_t, kSlots> slots_{};  // group number + 1; 0: free
  size_t count_ = 0;
};

namespace {

constexpr std::array<Field, 3> kEthTypes{Field::eth_type, Field::vlan_eth_type, Field::cvlan_eth_type};
constexpr std::array<Field, 2> kTags{Field::vlan_tci, Field::cvlan_tci};

}  // namespace

bool MatchParser::Groups() {
  in_.SkipDelimiters();
  while (!in_.AtEnd()) {
    const size_t position = in_.Position();
    if (!Group(in_.Word(), position)) return false;
    if (!in_.SkipDelimiters() && !in_.AtEnd()) return in_.FailExpected("',' or the end of the match");
  }
  return true;
}

bool MatchParser::Finish() {
  if (!packet_name_.empty() && packet_depth_ != encaps_) {
    return in_.Fail(packet_position_, std::string(packet_name_) + "(...) belongs inside encap(...)");
  }
  auto fault = FindFault(match_);
  return !fault || in_.Fail(PositionOf(fault->field), std::move(fault->detail));
}

bool MatchParser::Group(std::string_view word, size_t position, unsigned depth) {
  static constexpr GroupTable kGroups;
  const GroupInfo* group = kGroups.Find(word);
  if (group == nullptr) {
    if (std::find(kForeign.begin(), kForeign.end(), word) != kForeign.end() || word == "packet_type") {
      return Foreign(word, position);
    }
    return word.empty() ? in_.FailExpected("a match field")
                        : in_.Fail(position, "unknown match field " + Quote(word) + DidYouMean(word, kGroups.Names()));
  }
  if (!in_.Expect('(')) return false;
  if (group->kind == Kind::encap) return Encap(position, depth);
  if (group->kind == Kind::layer) return Layered(*group, position, depth) && in_.Expect(')');
  if (!AtRightDepth(*group, position, depth)) return false;
  if ((seen_groups_ & Bit(group->number)) != 0) return in_.Fail(position, std::string(word) + "(...) appears twice");
  seen_groups_ |= Bit(group->number);
  if (group->kind == Kind::subs) return Fields(*group) && in_.Expect(')');
  const FieldInfo& info = kFields[group->first];
  return Claim(info.id, position) && ScanField(in_, info, ports_, match_) && in_.Expect(')');
}

// What describes the packet's contents stands behind its tags; all else stands in front.
bool MatchParser::AtRightDepth(const GroupInfo& group, size_t position, unsigned depth) {
  if (group.first < static_cast<uint8_t>(Field::cvlan_eth_type)) {
    return depth == 0 || in_.Fail(position, std::string(group.name) + "(...) belongs outside encap(...)");
  }
  if (packet_name_.empty() || depth != encaps_) {
    packet_name_ = group.name;
    packet_position_ = position;
    packet_depth_ = depth;
  }
  return true;
}

bool MatchParser::Layered(const GroupInfo& group, size_t position, unsigned depth) {
  const bool type = group.first == static_cast<uint8_t>(Field::eth_type);
  if (!type && depth >= kMaxTags) return in_.Fail(position, "at most two VLAN tags can be matched");
  const Field field = type ? kEthTypes[depth] : kTags[depth];
  return Claim(field, position) && ScanField(in_, Info(field), ports_, match_);
}

bool MatchParser::Encap(size_t position, unsigned depth) {
  if (depth >= kMaxTags) return in_.Fail(position, "encap(...) nests at most two deep");
  if (encaps_ > depth) return in_.Fail(position, "encap(...) appears twice");
  encaps_ = depth + 1;
  in_.SkipDelimiters();
  bool any = false;
  while (in_.Peek() != ')') {
    const size_t start = in_.Position();
    if (in_.AtEnd()) return in_.FailExpected("')'");
    any = true;
    if (!Group(in_.Word(), start, depth + 1)) return false;
    if (!in_.SkipDelimiters() && in_.Peek() != ')') return in_.FailExpected("',' or ')'");
  }
  if (!any) encaps_ = depth;  // OVS prints encap() where all in it is wildcarded
  return in_.Expect(')');
}

bool MatchParser::Claim(Field field, size_t position) {
  const auto n = static_cast<size_t>(field);
  if ((seen_ & Bit(n)) != 0) return in_.Fail(position, TextName(field) + " appears twice");
  seen_ |= Bit(n);
  positions_[n] = static_cast<uint32_t>(position);
  return true;
}

bool MatchParser::Fields(const GroupInfo& group) {
  in_.SkipSpace();
  if (in_.Peek() == ')') return true;  // eth(): printed by OVS, says nothing
  do {
    in_.SkipSpace();
    const size_t position = in_.Position();
    const std::string_view word = in_.Word();
    const FieldInfo* info = nullptr;
    for (size_t f = group.first; f <= group.last && info == nullptr; ++f) {
      if (kFields[f].sub == word) info = &kFields[f];
    }
    if (info == nullptr) {
      // Tunnel options without contents.
      if (group.name == "tunnel" && (word == "geneve" || word == "vxlan") && in_.Accept('(') && in_.Accept(')')) {
        continue;
      }
      std::vector<std::string_view> subs;
      for (size_t f = group.first; f <= group.last; ++f) subs.push_back(kFields[f].sub);
      if (word.empty()) return in_.FailExpected("a field of " + std::string(group.name) + "(...)");
      return in_.Fail(position, "unknown field " + Quote(word) + " of " + std::string(group.name) + "(...)" +
                                    DidYouMean(word, subs));
    }
    if (!Claim(info->id, position)) return false;
    const bool flags = info->format == Format::tun_flags;  // flags(...), not flags=
    if (!in_.Expect(flags ? '(' : '=') || !ScanField(in_, *info, ports_, match_)) return false;
    if (flags && !in_.Expect(')')) return false;
  } while (in_.Accept(','));
  return true;
}

bool MatchParser::Foreign(std::string_view word, size_t position) {
  if (!in_.Expect('(')) return false;
  in_.SkipSpace();
  if (in_.Accept(')')) return true;
  do {
    in_.SkipSpace();
    const std::string_view name = in_.Word();
    if (!in_.Expect('=')) return false;
    const std::string_view value = in_.Until(",)");
    // packet_type(ns=0,id=0) is Ethernet: all that there is here.
    const bool ethernet = word == "packet_type" && (name == "ns" || name == "id") && (value == "0" || value == "0x0");
    if (!ethernet && !SaysNothing(value)) {
      return in_.Fail(position, word == "packet_type" ? "only Ethernet packets, packet_type(ns=0,id=0), can be matched"
                                                      : std::string(word) + "(...) cannot be matched");
    }
  } while (in_.Accept(','));
  return in_.Expect(')');
}

}  // namespace sluice
