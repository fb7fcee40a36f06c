// SPDX-License-Identifier: Apache-2.0
#include "action_parser.h"

#include <algorithm>
#include <array>
#include <vector>

#include "field_text.h"
#include "match_parser.h"
#include "match_validate.h"
#include "tunnel_header.h"

namespace sluice {
namespace {

constexpr uint16_t kCfi = 0x1000;
constexpr uint32_t kEthernetHeader = 14;  // the kernel truncates to no less

// What OVS has and Sluice does not.
constexpr std::array<std::string_view, 14> kForeign{"clone",         "sample",    "hash",     "meter",    "push_mpls",
                                                    "pop_mpls",      "push_eth",  "pop_eth",  "push_nsh", "pop_nsh",
                                                    "check_pkt_len", "lb_output", "add_mpls", "psample"};

// What dump-flows -m of the userspace datapath prints behind the actions.
constexpr std::string_view kAfterActions = "dp-extra-info:";

}  // namespace

const ActionParser::Known* ActionParser::Begin() {
  static constexpr std::array<Known, 14> kKnown{{{"flood", &ActionParser::ParseFlood, true},
                                                 {"drop", nullptr, true},
                                                 {"push_vlan", &ActionParser::ParsePushVlan, false},
                                                 {"pop_vlan", &ActionParser::ParsePopVlan, true},
                                                 {"set", &ActionParser::ParseSet, false},
                                                 {"dec_ttl", &ActionParser::ParseDecTtl, true},
                                                 {"upcall", &ActionParser::ParseUpcall, true},
                                                 {"userspace", &ActionParser::ParseUserspace, false},
                                                 {"recirc", &ActionParser::ParseRecirc, false},
                                                 {"ct", &ActionParser::ParseCt, true},
                                                 {"ct_clear", &ActionParser::ParseCtClear, true},
                                                 {"tnl_pop", &ActionParser::ParseTnlPop, false},
                                                 {"tnl_push", &ActionParser::ParseTnlPush, false},
                                                 {"trunc", &ActionParser::ParseTrunc, false}}};
  static_assert(kKnown.size() == 14);
  return kKnown.data();
}

const ActionParser::Known* ActionParser::End() { return Begin() + 14; }

const ActionParser::Known* ActionParser::Find(std::string_view name) {
  const Known* found = std::find_if(Begin(), End(), [name](const Known& known) { return known.name == name; });
  return found == End() ? nullptr : found;
}

bool IsActionWord(std::string_view word) { return ActionParser::Find(word) != nullptr; }

bool ActionParser::All(Actions& actions) {
  if (!List(actions, 0)) return false;
  if (!in_.AtEnd()) in_.Until("");
  return true;
}

// Up to the end of the text, or within another action (depth > 0) up to its ')'.
bool ActionParser::List(Actions& actions, size_t depth) {
  in_.SkipDelimiters();
  size_t dropped_at = 0;
  bool dropped = false;
  while (!in_.AtEnd() && (depth == 0 || in_.Peek() != ')') && !in_.Rest().starts_with(kAfterActions)) {
    const size_t position = in_.Position();
    if (dropped) return in_.Fail(dropped_at, "drop stands alone, not among other actions");
    if (++count_ > kMaxActions) {
      return in_.Fail(position, "more than " + std::to_string(kMaxActions) + " actions");
    }
    depth_ = depth;
    if (in_.Rest().starts_with("drop")) {
      dropped = in_.Token() == "drop";
      dropped_at = position;
      if (dropped && !actions.empty()) return in_.Fail(position, "drop stands alone, not among other actions");
      if (!dropped) in_.Rewind(position);
    }
    if (!dropped && !One(actions)) return false;
    const bool end = in_.AtEnd() || (depth > 0 && in_.Peek() == ')');
    if (!end && !in_.SkipDelimiters()) return in_.FailExpected("',' between actions");
  }
  return true;
}

bool ActionParser::One(Actions& actions) {
  position_ = in_.Position();
  const std::string_view token = in_.Token();
  const bool arguments = in_.Peek() == '(';
  const Known* known = Find(token);
  if (known == nullptr && (arguments || token.empty())) return Unknown(token, position_, arguments);
  if (known == nullptr) {
    uint32_t port = 0;
    const bool foreign = std::find(kForeign.begin(), kForeign.end(), token) != kForeign.end();
    if (!LooksLikeNumber(token) && !ports_.Number(token)) return Unknown(token, position_, foreign);
    if (!ResolvePort(in_, position_, token, ports_, &port)) return false;
    actions.emplace_back(Output{port});
    return true;
  }
  if (!arguments && !known->bare) return in_.FailExpected("'(' after " + std::string(token));
  if (arguments) in_.Accept('(');
  arguments_ = arguments;
  return (this->*known->parse)(actions) && (!arguments || in_.Expect(')'));
}

bool ActionParser::Unknown(std::string_view token, size_t position, bool action) {
  if (token.empty()) return in_.FailExpected("an action");
  if (std::find(kForeign.begin(), kForeign.end(), token) != kForeign.end()) {
    return in_.Fail(position, "action " + Quote(token) + " is not supported");
  }
  std::vector<std::string_view> names;
  for (const Known* known = Begin(); known != End(); ++known) names.push_back(known->name);
  if (action) return in_.Fail(position, "unknown action " + Quote(token) + DidYouMean(token, names));
  return in_.Fail(position, "unknown_port",
                  Quote(token) + " is neither a known port nor an action" + DidYouMean(token, names));
}

bool ActionParser::ParseFlood(Actions& actions) {
  actions.emplace_back(Flood{});
  return true;
}

bool ActionParser::ParsePopVlan(Actions& actions) {
  actions.emplace_back(PopVlan{});
  return true;
}

bool ActionParser::ParseCtClear(Actions& actions) {
  actions.emplace_back(CtClear{});
  return true;
}

bool ActionParser::ParsePushVlan(Actions& actions) {
  PushVlan push;
  in_.SkipSpace();
  const size_t position = in_.Position();
  if (in_.Rest().starts_with("tpid")) {
    uint64_t tpid = 0;
    in_.Word();
    if (!in_.Expect('=') || !in_.Number(0xffff, "tpid", &tpid)) return false;
    if (tpid != 0x8100 && tpid != 0x88a8) return in_.Fail(position, "tpid must be 0x8100 or 0x88a8");
    push.tpid = static_cast<uint16_t>(tpid);
    if (!in_.Expect(',')) return false;
  }
  Match tag;
  if (!ScanVlan(in_, Field::vlan_tci, tag)) return false;
  constexpr uint64_t kVid = 0xfff;
  constexpr uint64_t kPcp = 0xe000;
  const uint64_t mask = tag.MaskOf(Field::vlan_tci);
  if ((mask & kVid) != kVid) return in_.Fail(position, "push_vlan needs a vid, without a mask");
  if ((mask & kCfi) == 0 || ((mask & kPcp) != 0 && (mask & kPcp) != kPcp)) {
    return in_.Fail(position, "push_vlan takes no masks");
  }
  push.tci = static_cast<uint16_t>(tag.ValueOf(Field::vlan_tci));
  actions.emplace_back(push);
  return true;
}

bool ActionParser::ParseSet(Actions& actions) {
  in_.SkipSpace();
  const size_t position = in_.Position();
  MatchParser group(in_, ports_);
  const std::string_view word = in_.Word();
  if (!group.Group(word, position)) return false;
  const Match& fields = group.match();
  for (const FieldInfo& info : kFields) {
    if (fields.Has(info.id) && !info.settable) {
      return in_.Fail(group.PositionOf(info.id), TextName(info.id) + " cannot be set");
    }
  }
  if (fields.FieldBits() == 0) return in_.Fail(position, "set(" + std::string(word) + "(...)) sets nothing");
  actions.emplace_back(SetField{fields});
  return true;
}

bool ActionParser::ParseDecTtl(Actions& actions) {
  DecTtl dec;
  if (arguments_) {
    in_.SkipSpace();
    const size_t position = in_.Position();
    const std::string_view word = in_.Word();
    if (word != "le_1" && !(word.empty() && in_.Peek() == ')')) {
      return in_.Fail(position, "expected le_1(...) in dec_ttl(...)");
    }
    if (!word.empty()) {
      const size_t depth = depth_ + 1;
      if (depth > kMaxActionDepth) {
        return in_.Fail(position, "actions are nested more than " + std::to_string(kMaxActionDepth) + " deep");
      }
      if (!in_.Expect('(') || !List(dec.expired, depth) || !in_.Expect(')')) return false;
    }
  }
  actions.emplace_back(std::move(dec));
  return true;
}

bool ActionParser::ParseUpcall(Actions& actions) {
  ToController upcall;
  bool seen_len = false;
  bool seen_cookie = false;
  in_.SkipSpace();
  if (arguments_ && in_.Peek() != ')') {
    do {
      in_.SkipSpace();
      const size_t position = in_.Position();
      const std::string_view word = in_.Word();
      const bool len = word == "max_len";
      if (!len && word != "cookie") return in_.Fail(position, "expected max_len= or cookie= in upcall(...)");
      bool& seen = len ? seen_len : seen_cookie;
      if (seen) return in_.Fail(position, std::string(word) + " appears twice");
      seen = true;
      uint64_t value = 0;
      if (!in_.Expect('=') || !in_.Number(0xffffffff, word, &value)) return false;
      (len ? upcall.max_len : upcall.cookie) = static_cast<uint32_t>(value);
    } while (in_.Accept(','));
  }
  actions.emplace_back(upcall);
  return true;
}

// OVS's own: whom it goes to and with what is OVS's matter; how much of the packet is not.
bool ActionParser::ParseUserspace(Actions& actions) {
  constexpr std::array<std::string_view, 9> kArguments{
      "pid", "userdata", "actions", "tunnel_out_port", "sFlow", "flow_sample", "ipfix", "controller", "slow_path"};
  ToController upcall;
  do {
    in_.SkipSpace();
    const size_t position = in_.Position();
    const std::string_view word = in_.Word();
    if (std::find(kArguments.begin(), kArguments.end(), word) == kArguments.end()) {
      return in_.Fail(position,
                      "unknown argument " + Quote(word) + " of userspace(...)" + DidYouMean(word, kArguments));
    }
    const std::string_view value = in_.Balanced();
    if (word == "pid" && !(value.starts_with('=') && LooksLikeNumber(value.substr(1)))) {
      return in_.Fail(position, "expected pid=NUMBER in userspace(...)");
    }
    const size_t at = word == "controller" ? value.find("max_len=") : std::string_view::npos;
    if (at == std::string_view::npos) continue;
    TextScanner number(value.substr(at + 8));
    uint64_t max_len = 0;
    if (!number.Number(0xffff, "max_len", &max_len)) return in_.Fail(position, number.TakeError("").detail);
    upcall.max_len = static_cast<uint32_t>(max_len);
  } while (in_.Accept(','));
  actions.emplace_back(upcall);
  return true;
}

bool ActionParser::ParseRecirc(Actions& actions) {
  in_.SkipSpace();
  const size_t position = in_.Position();
  uint64_t id = 0;
  if (!in_.Number(0xffffffff, "recirculation id", &id)) return false;
  if (id == 0) return in_.Fail(position, "recirc(0) would start over; ids count from 1");
  actions.emplace_back(Recirc{static_cast<uint32_t>(id)});
  return true;
}

bool ActionParser::ParseCt(Actions& actions) {
  Ct ct;
  in_.SkipSpace();
  if (arguments_ && in_.Peek() != ')') {
    do {
      if (!CtArgument(ct)) return false;
    } while (in_.Accept(','));
  }
  if ((ct.mark || !ct.label.empty()) && !ct.commit) {
    return in_.Fail(position_, "ct needs commit to set a mark or label");
  }
  actions.emplace_back(std::move(ct));
  return true;
}

bool ActionParser::CtArgument(Ct& ct) {
  constexpr std::array<std::string_view, 5> kNames{"commit", "force_commit", "zone", "mark", "label"};
  in_.SkipSpace();
  const size_t position = in_.Position();
  const std::string_view word = in_.Word();
  if (word == "commit") {
    ct.commit = true;
    return true;
  }
  if (word == "force_commit" || word == "force") {
    ct.commit = ct.force = true;
    return true;
  }
  if (word == "zone") {
    uint64_t zone = 0;
    if (!in_.Expect('=') || !in_.Number(0xffff, word, &zone)) return false;
    ct.zone = static_cast<uint16_t>(zone);
    return true;
  }
  if (word == "mark") {
    uint64_t value = 0;
    uint64_t mask = 0;
    if (ct.mark) return in_.Fail(position, "mark appears twice");
    if (!in_.Expect('=') || !ScanMasked(in_, 32, word, &value, &mask)) return false;
    if (mask == 0) return in_.Fail(position, "a mark with mask 0 sets nothing");
    ct.mark = {static_cast<uint32_t>(value & mask), static_cast<uint32_t>(mask)};
    return true;
  }
  if (word == "label") {
    Match label;
    if (!ct.label.empty()) return in_.Fail(position, "label appears twice");
    if (!in_.Expect('=') || !ScanField(in_, Info(Field::ct_label), ports_, label)) return false;
    if (!label.Has(Field::ct_label)) return in_.Fail(position, "a label with mask 0 sets nothing");
    for (const auto bytes : {label.Value(Field::ct_label), label.Mask(Field::ct_label)}) {
      ct.label.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    return true;
  }
  if (word == "nat" || word == "helper" || word == "timeout") {
    return in_.Fail(position, "ct(" + std::string(word) + ") is not supported");
  }
  return in_.Fail(position, "unknown argument " + Quote(word) + " of ct(...)" + DidYouMean(word, kNames));
}

bool ActionParser::ParseTnlPop(Actions& actions) {
  TnlPop pop;
  if (!ScanPort(in_, ports_, &pop.port)) return false;
  actions.emplace_back(pop);
  return true;
}

bool ActionParser::ParseTnlPush(Actions& actions) {
  TnlPush push;
  auto part = [this](std::string_view name) {
    in_.SkipSpace();
    const size_t position = in_.Position();
    if (in_.Word() == name) return in_.Expect('(');
    return in_.Fail(position, "expected " + std::string(name) + "(...) in tnl_push(...)");
  };
  if (!part("tnl_port") || !ScanPort(in_, ports_, &push.tnl_port) || !in_.Expect(')') || !in_.Expect(',')) return false;
  if (!part("header") || !ScanTunnelHeader(in_, push) || !in_.Expect(')') || !in_.Expect(',')) return false;
  if (!part("out_port") || !ScanPort(in_, ports_, &push.out_port) || !in_.Expect(')')) return false;
  actions.emplace_back(std::move(push));
  return true;
}

bool ActionParser::ParseTrunc(Actions& actions) {
  in_.SkipSpace();
  const size_t position = in_.Position();
  uint64_t length = 0;
  if (!in_.Number(0xffffffff, "length", &length)) return false;
  if (length < kEthernetHeader) return in_.Fail(position, "trunc leaves at least the Ethernet header: 14 bytes");
  actions.emplace_back(Trunc{static_cast<uint32_t>(length)});
  return true;
}

Result<Actions> ParseActions(std::string_view text, const PortNames& ports) {
  TextScanner in(text);
  Actions actions;
  if (text.size() > kMaxTextLength) {
    in.Fail(kMaxTextLength, "the text is longer than " + std::to_string(kMaxTextLength) + " bytes");
  } else if (ActionParser(in, ports).All(actions)) {
    return actions;
  }
  return in.TakeError("bad_actions");
}

}  // namespace sluice
