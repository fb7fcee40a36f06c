// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "field_text.h"
#include "match_parser.h"
#include "sluice/flow_text.h"

namespace sluice {
namespace {

class NumberedPorts : public PortNames {
 public:
  [[nodiscard]] std::optional<uint32_t> Number(std::string_view) const override { return std::nullopt; }
  [[nodiscard]] std::optional<std::string> Name(uint32_t) const override { return std::nullopt; }
};

// A group's fields stand together in field.def, or the printer would write the group twice.
constexpr bool GroupsAreContiguous() {
  for (size_t f = 1; f < kFieldCount; ++f) {
    if (kFields[f].group == kFields[f - 1].group) continue;
    for (size_t before = 0; before < f; ++before) {
      if (kFields[before].group == kFields[f].group) return false;
    }
  }
  return true;
}
static_assert(GroupsAreContiguous());

// Writes groups: the open one is closed when a field of another comes.
class GroupWriter {
 public:
  GroupWriter(std::string& out, const PortNames& ports) : out_(out), ports_(ports) {}

  // With the name of the field's own group and `sub`; or, for the fields of encap(...), as another group.
  void Write(const Match& match, const FieldInfo& info, std::string_view group, std::string_view sub) {
    if (sub.empty() || group != open_) {
      CloseGroup();
      Separate();
      out_ += group;
      out_ += '(';
    } else {
      out_ += ',';
    }
    if (!sub.empty()) open_ = group;
    const bool flags = info.format == Format::tun_flags;
    out_ += sub;
    if (!sub.empty()) out_ += flags ? '(' : '=';
    AppendField(out_, match, info, ports_);
    if (flags) out_ += ')';
    if (sub.empty()) out_ += ')';
  }

  void OpenEncap() {
    CloseGroup();
    Separate();
    out_ += "encap(";
    ++encaps_;
  }

  [[nodiscard]] size_t Encaps() const { return encaps_; }

  void Finish() {
    CloseGroup();
    out_.append(encaps_, ')');
  }

 private:
  void CloseGroup() {
    if (!open_.empty()) out_ += ')';
    open_ = {};
  }
  void Separate() {
    if (!out_.empty() && out_.back() != '(') out_ += ',';
  }

  std::string& out_;
  const PortNames& ports_;
  std::string_view open_;
  size_t encaps_ = 0;
};

constexpr uint64_t Bit(Field field) { return uint64_t{1} << static_cast<size_t>(field); }

}  // namespace

const PortNames& NumbersOnly() {
  static const NumberedPorts ports;
  return ports;
}

Result<Match> ParseMatch(std::string_view text, const PortNames& ports) {
  TextScanner in(text);
  MatchParser parser(in, ports);
  if (text.size() > kMaxTextLength) {
    in.Fail(kMaxTextLength, "the text is longer than " + std::to_string(kMaxTextLength) + " bytes");
  } else if (parser.Groups() && parser.Finish()) {
    return parser.match();
  }
  return in.TakeError("bad_match");
}

Result<Match> ParseMatchPart(std::string_view text, const PortNames& ports) {
  TextScanner in(text);
  MatchParser parser(in, ports);
  if (text.size() > kMaxTextLength) {
    in.Fail(kMaxTextLength, "the text is longer than " + std::to_string(kMaxTextLength) + " bytes");
  } else if (parser.Groups()) {
    return parser.match();
  }
  return in.TakeError("bad_match");
}

std::string FormatMatch(const Match& match, const PortNames& ports) {
  constexpr uint64_t kFirstTag = Bit(Field::vlan_eth_type) | Bit(Field::cvlan_tci) | Bit(Field::cvlan_eth_type);
  std::string out;
  out.reserve(256);
  GroupWriter writer(out, ports);
  const uint64_t present = match.FieldBits();
  const bool one_tag = (present & kFirstTag) != 0;
  const bool two_tags = (present & Bit(Field::cvlan_eth_type)) != 0;
  for (uint64_t left = present; left != 0; left &= left - 1) {
    const FieldInfo& info = kFields[static_cast<size_t>(std::countr_zero(left))];
    if (one_tag && info.id >= Field::vlan_eth_type && writer.Encaps() < 1) writer.OpenEncap();
    if (two_tags && info.id >= Field::cvlan_eth_type && writer.Encaps() < 2) writer.OpenEncap();
    switch (info.id) {
      case Field::vlan_eth_type:
      case Field::cvlan_eth_type:
        writer.Write(match, info, "eth_type", "");
        break;
      case Field::cvlan_tci:
        writer.Write(match, info, "vlan", "");
        break;
      default:
        writer.Write(match, info, info.group, info.sub);
    }
  }
  writer.Finish();
  return out;
}

}  // namespace sluice
