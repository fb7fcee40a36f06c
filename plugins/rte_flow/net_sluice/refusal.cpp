// SPDX-License-Identifier: Apache-2.0
#include "refusal.h"

#include <rte_errno.h>

#include <algorithm>
#include <cctype>

namespace sluice::netsluice {
namespace {

// DPDK knows the names, by rte_flow_conv.
template <typename Type>
std::string NameOf(Type type, rte_flow_conv_op op, const char* kind) {
  const char* name = nullptr;
  const auto number = static_cast<uintptr_t>(type);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): that is how rte_flow_conv takes a number
  const int size = rte_flow_conv(op, &name, sizeof(name), reinterpret_cast<const void*>(number), nullptr);
  if (size <= 0 || name == nullptr) return std::string(kind) + " " + std::to_string(number);
  std::string text(name);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

int Report(const Refusal& refusal, rte_flow_error* error) {
  thread_local std::string message;  // rte_flow_error only points to it
  message = refusal.message;
  return rte_flow_error_set(error, refusal.code, refusal.type, refusal.cause, message.c_str());
}

std::string ItemName(rte_flow_item_type type) { return NameOf(type, RTE_FLOW_CONV_OP_ITEM_NAME_PTR, "item"); }
std::string ActionName(rte_flow_action_type type) { return NameOf(type, RTE_FLOW_CONV_OP_ACTION_NAME_PTR, "action"); }

}  // namespace sluice::netsluice
