// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "field_text.h"
#include "sluice/flow_text.h"
#include "tunnel_header.h"

namespace sluice {
namespace {

// Appends one action's text.
class ActionWriter {
 public:
  ActionWriter(std::string& out, const PortNames& ports) : out_(out), ports_(ports) {}

  void List(const Actions& actions) {
    if (actions.empty()) out_ += "drop";
    for (size_t i = 0; i < actions.size(); ++i) {
      if (i > 0) out_ += ',';
      std::visit(*this, actions[i]);
    }
  }

  void operator()(const Output& output) { AppendPort(out_, output.port, ports_); }
  void operator()(const Flood&) { out_ += "flood"; }
  void operator()(const Drop&) { out_ += "drop"; }
  void operator()(const PopVlan&) { out_ += "pop_vlan"; }
  void operator()(const CtClear&) { out_ += "ct_clear"; }
  void operator()(const SetField& set) { out_ += "set(" + FormatMatch(set.fields, ports_) + ')'; }

  void operator()(const PushVlan& push) {
    out_ += "push_vlan(";
    if (push.tpid != 0x8100) {
      out_ += "tpid=";
      AppendHex(out_, push.tpid, 4);
      out_ += ',';
    }
    Match tag;
    tag.SetExact(Field::vlan_tci, push.tci);
    AppendField(out_, tag, Info(Field::vlan_tci), ports_);
    out_ += ')';
  }

  void operator()(const DecTtl& dec) {
    out_ += "dec_ttl";
    if (dec.expired.empty()) return;
    out_ += "(le_1(";
    List(dec.expired);
    out_ += "))";
  }

  void operator()(const ToController& upcall) {
    out_ += "upcall";
    if (upcall.max_len == 0 && upcall.cookie == 0) return;
    out_ += '(';
    if (upcall.max_len != 0) {
      out_ += "max_len=";
      AppendDecimal(out_, upcall.max_len);
      if (upcall.cookie != 0) out_ += ',';
    }
    if (upcall.cookie != 0) {
      out_ += "cookie=";
      AppendHex(out_, upcall.cookie);
    }
    out_ += ')';
  }

  void operator()(const Recirc& recirc) {
    out_ += "recirc(";
    AppendHexOrZero(out_, recirc.id);
    out_ += ')';
  }

  void operator()(const Ct& ct) {
    std::string arguments;
    if (ct.force) {
      arguments += ",force_commit";
    } else if (ct.commit) {
      arguments += ",commit";
    }
    if (ct.zone != 0) {
      arguments += ",zone=";
      AppendDecimal(arguments, ct.zone);
    }
    if (ct.mark) {
      arguments += ",mark=";
      AppendHexOrZero(arguments, ct.mark->first);
      arguments += '/';
      AppendHexOrZero(arguments, ct.mark->second);
    }
    if (ct.label.size() == 32) {
      const auto* label = reinterpret_cast<const uint8_t*>(ct.label.data());
      Match match;
      match.Set(Field::ct_label, {label, 16}, {label + 16, 16});
      arguments += ",label=";
      AppendField(arguments, match, Info(Field::ct_label), ports_);
    }
    out_ += "ct";
    if (!arguments.empty()) out_.append("(").append(arguments, 1, std::string::npos).append(")");
  }

  void operator()(const TnlPop& pop) {
    out_ += "tnl_pop(";
    AppendPort(out_, pop.port, ports_);
    out_ += ')';
  }

  void operator()(const TnlPush& push) {
    out_ += "tnl_push(tnl_port(";
    AppendPort(out_, push.tnl_port, ports_);
    out_ += "),header(";
    AppendTunnelHeader(out_, push);
    out_ += "),out_port(";
    AppendPort(out_, push.out_port, ports_);
    out_ += "))";
  }

  void operator()(const Trunc& trunc) {
    out_ += "trunc(";
    AppendDecimal(out_, trunc.max_len);
    out_ += ')';
  }

 private:
  std::string& out_;
  const PortNames& ports_;
};

struct NameOf {
  std::string operator()(const Output&) const { return "output"; }
  std::string operator()(const Flood&) const { return "flood"; }
  std::string operator()(const Drop&) const { return "drop"; }
  std::string operator()(const PushVlan&) const { return "push_vlan"; }
  std::string operator()(const PopVlan&) const { return "pop_vlan"; }
  std::string operator()(const SetField& set) const {
    const uint64_t fields = set.fields.FieldBits();
    if (fields == 0) return "set";
    return "set(" + std::string(kFields[static_cast<size_t>(std::countr_zero(fields))].group) + ')';
  }
  std::string operator()(const DecTtl&) const { return "dec_ttl"; }
  std::string operator()(const ToController&) const { return "upcall"; }
  std::string operator()(const Recirc&) const { return "recirc"; }
  std::string operator()(const Ct&) const { return "ct"; }
  std::string operator()(const CtClear&) const { return "ct_clear"; }
  std::string operator()(const TnlPop&) const { return "tnl_pop"; }
  std::string operator()(const TnlPush&) const { return "tnl_push"; }
  std::string operator()(const Trunc&) const { return "trunc"; }
};

}  // namespace

// Written out: clang 14 crashes on its default.
bool DecTtl::operator==(const DecTtl& other) const { return expired == other.expired; }

std::string ActionName(const Action& action) { return std::visit(NameOf{}, action); }

std::string FormatActions(const Actions& actions, const PortNames& ports) {
  std::string out;
  ActionWriter(out, ports).List(actions);
  return out;
}

}  // namespace sluice
