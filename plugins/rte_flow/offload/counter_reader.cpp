// SPDX-License-Identifier: Apache-2.0
#include "counter_reader.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace sluice::rteflow {
namespace {

// So many packets do not go by between two queries in a row, hence a counter that shows fewer was reset. If they do go
// by, the device is taken for one that does not reset, which costs nothing but a subtraction.
constexpr uint64_t kEnoughToTell = 64;

}  // namespace

int CounterReader::Query(OffloadRule& rule, bool reset, rte_flow_query_count& count) {
  count = {};
  count.reset = reset ? 1 : 0;
  rte_flow_error error{};
  const int failed = api_.QueryCount(rule.handle, count, error);
  message_ = error.message;
  return failed < 0 ? -failed : 0;
}

OffloadCounts CounterReader::Since(OffloadRule& rule, const rte_flow_query_count& count, bool reset) {
  // A counter that went back has been started again.
  const auto since = [](uint64_t& last, bool set, uint64_t now) -> uint64_t {
    if (!set) return 0;
    const uint64_t more = now >= last ? now - last : now;
    last = now;
    return more;
  };
  const OffloadCounts counts{since(rule.packets, count.hits_set != 0, count.hits),
                             since(rule.bytes, count.bytes_set != 0, count.bytes)};
  if (reset) rule.packets = rule.bytes = 0;
  return counts;
}

Result<OffloadCounts> CounterReader::Fail(OffloadRule& rule, int error) const {
  const std::string why = (message_ != nullptr ? std::string(message_) + " (" : std::string("(")) +
                          std::generic_category().message(error) + ")";
  if (error == ENOTSUP || error == ENOSYS) {
    rule.counts = false;
    return Error{"not_counted", "the device took COUNT and does not tell the count: " + why};
  }
  return Error{"device_failed", "the query of a rule's counter failed: " + why};
}

void CounterReader::LearnBy(OffloadRule& rule, OffloadCounts& counts) {
  rte_flow_query_count count{};
  if (Query(rule, true, count) != 0) {
    resets_ = Habit::kNo;
    return;
  }
  const auto add = [&](const OffloadCounts& more) {
    counts.packets += more.packets;
    counts.bytes += more.bytes;
  };
  const uint64_t before = count.hits;
  add(Since(rule, count, false));
  if (Query(rule, false, count) != 0) return;
  resets_ = count.hits < before ? Habit::kYes : Habit::kNo;
  add(Since(rule, count, false));
}

Result<OffloadCounts> CounterReader::Read(OffloadRule& rule) {
  if (!rule.counts || rule.handle == nullptr) return Error{"not_counted", "the rule has no counter"};
  rte_flow_query_count count{};
  const bool reset = resets_ == Habit::kYes;
  if (const int error = Query(rule, reset, count); error != 0) return Fail(rule, error);
  if (count.hits_set == 0 && count.bytes_set == 0) {
    rule.counts = false;
    return Error{"not_counted", "the device took COUNT and tells neither packets nor bytes"};
  }
  OffloadCounts counts = Since(rule, count, reset);
  if (resets_ == Habit::kNotYetKnown && count.hits_set != 0 && rule.packets >= kEnoughToTell) LearnBy(rule, counts);
  return counts;
}

std::string_view CounterReader::Resets() const {
  switch (resets_) {
    case Habit::kYes:
      return "yes";
    case Habit::kNo:
      return "no";
    case Habit::kNotYetKnown:
      break;
  }
  return "not yet known";
}

}  // namespace sluice::rteflow
