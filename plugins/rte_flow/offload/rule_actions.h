// SPDX-License-Identifier: Apache-2.0
// The actions of a rule in rte_flow's form, of full offload in one of its ways and of MARK in its own.
#pragma once

#include <rte_flow.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "attempts.h"
#include "full_plan.h"

namespace sluice::rteflow {

// Owns what the actions point to, but for the headers of EncapSteps: stays where it is. One thread at a time; may be
// built again and again.
class RuleActions {
 public:
  RuleActions() = default;
  RuleActions(const RuleActions&) = delete;
  RuleActions& operator=(const RuleActions&) = delete;

  // `plan` outlives its use. False: this way cannot say it.
  bool BuildFull(const FullPlan& plan, const Way& way);
  // RSS is over the queues from 0 on, QUEUE is 0.
  void BuildMark(const Way& way, uint32_t mark, uint16_t queues);

  // Up to END.
  [[nodiscard]] const rte_flow_action* Actions() const { return actions_.data(); }

 private:
  static constexpr size_t kMostActions = 128;
  static constexpr size_t kMostQueues = 128;

  // Memory that lives until the next build; nullptr: there is no more.
  template <typename T>
  T* New(size_t count = 1) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 8);
    const size_t size = (sizeof(T) * count + 7) / 8 * 8;
    if (storage_used_ + size > sizeof(storage_)) {
      overflow_ = true;
      return nullptr;
    }
    std::byte* at = storage_.data() + storage_used_;
    storage_used_ += size;
    return new (at) T[count]();
  }
  template <typename T>
  void Add(rte_flow_action_type type, const T& conf) {
    T* kept = New<T>();
    if (kept == nullptr) return;
    *kept = conf;
    AddAction({type, kept});
  }
  void AddAction(const rte_flow_action& action);
  void Clear();

  bool Say(const DecapStep& step, const Way& way);
  bool Say(const OutputStep& step, const Way& way);
  bool Say(const PushStep& step, const Way& way);
  bool Say(const PopStep& step, const Way& way);
  bool Say(const VidStep& step, const Way& way);
  bool Say(const PcpStep& step, const Way& way);
  bool Say(const SetStep& step, const Way& way);
  bool Say(const DscpStep& step, const Way& way);
  bool Say(const EcnStep& step, const Way& way);
  bool Say(const DecTtlStep& step, const Way& way);
  bool Say(const EncapStep& step, const Way& way);
  void AddRss(uint16_t queues);
  bool SayVxlanEncap(const EncapStep& step);
  void AddModify(rte_flow_field_id field, uint32_t offset, uint32_t width, const uint8_t* value);

  alignas(8) std::array<std::byte, 8192> storage_;
  size_t storage_used_ = 0;
  std::array<rte_flow_action, kMostActions> actions_{};
  size_t count_ = 0;
  size_t outputs_left_ = 0;
  bool overflow_ = false;
};

}  // namespace sluice::rteflow
