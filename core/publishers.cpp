// SPDX-License-Identifier: Apache-2.0
#include "publishers.h"

#include <utility>

#include "sluice/utf8.h"

namespace sluice::core {
namespace {

constexpr uint64_t kQuietNs = 1'000'000'000;
constexpr int kExamples = 8;
constexpr size_t kMaxName = 64;
constexpr size_t kMaxTopic = 64;

}  // namespace

Publishers::One& Publishers::Message(const std::string& full_name, uint64_t seq) {
  const std::string name = Utf8(full_name, kMaxName);
  auto known = by_name_.find(name);
  if (known == by_name_.end()) {
    if (recent_.size() >= limit_) {
      counters_.Add("publishers_forgotten");
      if (recent_.back().pending.count() != 0) {
        --pending_;
        counters_.Add("refusals_untold", recent_.back().pending.count());
      }
      by_name_.erase(recent_.back().told.name());
      recent_.pop_back();
    }
    recent_.emplace_front();
    recent_.front().told.set_name(name);
    known = by_name_.emplace(name, recent_.begin()).first;
  } else {
    recent_.splice(recent_.begin(), recent_, known->second);
  }
  One& one = *known->second;
  one.told.set_messages(one.told.messages() + 1);
  if (seq != 0) {
    // It counts from 1. A smaller number than before is a publisher that started anew.
    const uint64_t missed = seq > one.last_seq ? seq - one.last_seq - 1 : 0;
    one.told.set_missed(one.told.missed() + missed);
    if (missed != 0) counters_.Add("publisher_missed", missed);
    one.last_seq = seq;
  }
  return one;
}

void Publishers::Refuse(One& publisher, std::string_view topic, uint64_t count, const v1::Refusal& example) {
  v1::Refused& pending = publisher.pending;
  if (pending.count() == 0) {
    ++pending_;
    pending.set_publisher(publisher.told.name());
    pending.set_topic(Utf8(topic, kMaxTopic));
  }
  pending.set_count(pending.count() + count);
  if (pending.refused_size() < kExamples) *pending.add_refused() = example;
}

std::vector<v1::Refused> Publishers::Due(uint64_t now_ns) {
  std::vector<v1::Refused> due;
  if (pending_ == 0) return due;
  for (One& one : recent_) {
    if (one.pending.count() == 0 || (one.said_ns != 0 && now_ns - one.said_ns < kQuietNs)) continue;
    due.push_back(std::exchange(one.pending, {}));
    one.said_ns = now_ns;
    --pending_;
  }
  return due;
}

void Publishers::Show(google::protobuf::RepeatedPtrField<v1::Publisher>& out) const {
  for (const One& one : recent_) *out.Add() = one.told;
}

}  // namespace sluice::core
