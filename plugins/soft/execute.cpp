// SPDX-License-Identifier: Apache-2.0
#include "execute.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "edit.h"
#include "sluice/flow_text.h"

namespace sluice::soft {
namespace {

constexpr size_t kHeadroom = 256;
constexpr size_t kNoCut = std::numeric_limits<size_t>::max();

// Why an action cannot be done; empty: it can.
struct WhyNot {
  std::string operator()(const Recirc&) const { return "no packet meets the flows twice"; }
  std::string operator()(const Ct&) const { return "it tracks no connections"; }
  std::string operator()(const CtClear&) const { return "it tracks no connections"; }
  std::string operator()(const TnlPop&) const { return "it has no tunnels"; }
  std::string operator()(const TnlPush&) const { return "it has no tunnels"; }
  std::string operator()(const SetField& set) const {
    for (uint64_t left = set.fields.FieldBits(); left != 0; left &= left - 1) {
      const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
      if (!CanSet(field.id)) return std::string(field.name) + " is nothing it writes into a frame";
    }
    return {};
  }
  template <typename Other>
  std::string operator()(const Other&) const {
    return {};
  }
};

Error Unsupported(const std::string& action, const std::string& why) {
  return Error{"unsupported_action", "the software path cannot do " + action + ": " + why};
}

Result<void> CheckList(const Actions& actions, size_t depth) {
  for (const Action& action : actions) {
    if (const std::string why = std::visit(WhyNot{}, action); !why.empty()) {
      return Unsupported(ActionName(action), why);
    }
    const auto* dec = std::get_if<DecTtl>(&action);
    if (dec == nullptr) continue;
    if (depth == kMaxActionDepth) {
      return Unsupported("dec_ttl", "lists are nested more than " + std::to_string(kMaxActionDepth) + " deep");
    }
    if (auto checked = CheckList(dec->expired, depth + 1); !checked) return checked;
  }
  return {};
}

class Execution {
 public:
  Execution(Frame& frame, const Headers& headers, Sink& sink) : frame_(frame), editor_(frame, headers), sink_(sink) {}

  // Returns the list to go on with in its place: that of a dec_ttl whose packet expired. nullptr: done.
  const Actions* Run(const Actions& actions) {
    for (const Action& action : actions) {
      if (std::holds_alternative<Drop>(action)) return nullptr;
      if (const auto* dec = std::get_if<DecTtl>(&action)) {
        if (editor_.DecrementTtl()) continue;
        sink_.Expired();
        return &dec->expired;
      }
      std::visit(*this, action);
    }
    return nullptr;
  }
  [[nodiscard]] bool sent() const { return sent_; }

  void operator()(const Output& output) { sink_.Output(output.port, Sent()); }
  void operator()(const Flood&) { sink_.Flood(Sent()); }
  void operator()(const ToController& action) { sink_.ToController(action, Sent(), frame_.size()); }
  void operator()(const Trunc& trunc) { cut_ = trunc.max_len; }
  void operator()(const PushVlan& tag) { editor_.Push(tag); }
  void operator()(const PopVlan&) { editor_.PopTag(); }
  void operator()(const SetField& set) { editor_.Set(set.fields); }
  template <typename Other>
  void operator()(const Other&) {}  // Check refuses them, or Run has done them

 private:
  // The packet as it is sent now. A cut is for one time.
  std::span<const uint8_t> Sent() {
    sent_ = true;
    return std::span<const uint8_t>(frame_.bytes()).first(std::min(frame_.size(), std::exchange(cut_, kNoCut)));
  }

  Frame& frame_;
  Editor editor_;
  Sink& sink_;
  size_t cut_ = kNoCut;
  bool sent_ = false;
};

}  // namespace

void Frame::Assign(std::span<const uint8_t> bytes) {
  begin_ = kHeadroom;
  size_ = bytes.size();
  if (buffer_.size() < begin_ + size_) buffer_.resize(begin_ + size_);
  if (!bytes.empty()) std::memcpy(buffer_.data() + begin_, bytes.data(), size_);
}

void Frame::GrowFront(size_t count) {
  if (begin_ < count) {
    std::vector<uint8_t> larger(kHeadroom + count + size_);
    if (size_ > 0) std::memcpy(larger.data() + kHeadroom + count, buffer_.data() + begin_, size_);
    buffer_.swap(larger);
    begin_ = kHeadroom + count;
  }
  begin_ -= count;
  size_ += count;
}

void Frame::ShrinkFront(size_t count) {
  begin_ += count;
  size_ -= count;
}

std::vector<std::string> ExecutableActions() {
  std::vector<std::string> names{"output", "flood", "drop", "push_vlan", "pop_vlan", "dec_ttl", "upcall", "trunc"};
  for (const FieldInfo& field : kFields) {
    const std::string name = "set(" + std::string(field.group) + ")";
    if (CanSet(field.id) && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

Result<void> Check(const Actions& actions) { return CheckList(actions, 0); }

void Execute(const Actions& actions, Frame& frame, const Headers& headers, Sink& sink) {
  Execution execution(frame, headers, sink);
  for (const Actions* list = &actions; list != nullptr;) list = execution.Run(*list);
  if (!execution.sent()) sink.Dropped();
}

}  // namespace sluice::soft
