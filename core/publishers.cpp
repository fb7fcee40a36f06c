// SPDX-License-Identifier: Apache-2.0
#include "publishers.h"

#include <algorithm>
#include <utility>

#include "sluice/utf8.h"

namespace sluice::core {
namespace {

constexpr uint64_t kQuietNs = 1'000'000'000;
constexpr uint64_t kAsleepNs = 60'000'000'000;  // who has said nothing for so long may make room for another
constexpr int kExamples = 8;
constexpr size_t kRuns = 8;
constexpr size_t kMaxName = 64;
constexpr size_t kMaxTopic = 64;

bool Quiet(uint64_t told_ns, uint64_t now_ns) { return told_ns != 0 && now_ns - told_ns < kQuietNs; }

}  // namespace

void Publishers::Account::Add(const Account& other) {
  messages += other.messages;
  accepted += other.accepted;
  refused += other.refused;
  missed += other.missed;
  dropped += other.dropped;
  replayed += other.replayed;
}

void Publishers::Account::Show(v1::Publisher& out) const {
  out.set_messages(messages);
  out.set_sent(accepted + refused + dropped);
  out.set_accepted(accepted);
  out.set_refused(refused);
  out.set_dropped(dropped);
  out.set_missed(missed);
  out.set_replayed(replayed);
}

void Publishers::Take(const Origin& origin, std::string_view topic, uint64_t accepted, uint64_t refused,
                      const google::protobuf::RepeatedPtrField<v1::Refusal>& examples, uint64_t now_ns) {
  One& publisher = Named(origin.name, now_ns);
  Account account{.messages = 1, .accepted = accepted, .refused = refused};
  // Without a name, or as one of many under a name, nobody's count can be followed.
  if (origin.seq != 0 && !origin.name.empty() && &publisher != &others_) {
    Run& run = RunOf(publisher, origin);
    const Account missing = Follow(run, origin, accepted + refused);
    account.Add(missing);
    run.account.Add(account);
    if (missing.missed != 0) Miss(publisher, missing);
  }
  publisher.account.Add(account);
  total_.Add(account);
  if (refused != 0) Refuse(publisher, topic, refused, examples);
}

void Publishers::TakeRequest(const std::string& name, uint64_t accepted, uint64_t refused, uint64_t now_ns) {
  const Account account{.messages = 1, .accepted = accepted, .refused = refused};
  Named(name, now_ns).account.Add(account);
  total_.Add(account);
}

Publishers::One& Publishers::Named(const std::string& full_name, uint64_t now_ns) {
  const std::string name = Utf8(full_name, kMaxName);
  auto known = by_name_.find(name);
  if (known != by_name_.end()) {
    recent_.splice(recent_.begin(), recent_, known->second);
  } else {
    if (recent_.size() >= limit_) {
      // One that counts on being followed is not pushed out by a flood of names.
      if (now_ns - recent_.back().heard_ns < kAsleepNs) return others_;
      Fold(recent_.back());
      by_name_.erase(recent_.back().name);
      recent_.pop_back();
    }
    recent_.emplace_front();
    recent_.front().name = name;
    // It may be one that made room.
    recent_.front().forgot_runs = others_.account.messages != 0;
    known = by_name_.emplace(name, recent_.begin()).first;
  }
  known->second->heard_ns = now_ns;
  return *known->second;
}

void Publishers::Fold(One& old) {
  counters_.Add("publishers_folded");
  others_.account.Add(old.account);
  if (old.refused.count() != 0) {
    --untold_;
    Refuse(others_, old.refused.topic(), old.refused.count(), old.refused.refused());
  }
  if (old.gap.messages() != 0) {
    --untold_;
    Miss(others_, Account{.missed = old.gap.messages(), .dropped = old.gap.records()});
  }
}

Publishers::Run& Publishers::RunOf(One& publisher, const Origin& origin) {
  auto& runs = publisher.runs;
  auto known = std::find_if(runs.begin(), runs.end(), [&](const Run& run) { return run.id == origin.run; });
  // Without a number of its own a run begins where the count does.
  const bool again = known != runs.end() && origin.run == 0 && origin.seq == 1;
  if (again) {
    *known = {};
    ++publisher.run_count;
  } else if (known == runs.end()) {
    if (runs.size() == kRuns) {
      runs.pop_back();
      publisher.forgot_runs = true;
    }
    ++publisher.run_count;
    Run run{.id = origin.run};
    if (publisher.forgot_runs) {
      // It may be one of those: what came before was counted then.
      run.newest_seq = origin.seq - 1;
      run.records = origin.sent_before.value_or(0);
    }
    known = runs.insert(runs.end(), run);
  }
  std::rotate(runs.begin(), known, known + 1);
  return runs.front();
}

Publishers::Account Publishers::Follow(Run& run, const Origin& origin, uint64_t records) {
  if (origin.seq <= run.newest_seq) return {.replayed = 1};
  Account missing{.missed = origin.seq - run.newest_seq - 1};
  if (origin.sent_before) {
    const bool fits = missing.missed == 0 ? *origin.sent_before == run.records : *origin.sent_before >= run.records;
    if (fits) {
      missing.dropped = *origin.sent_before - run.records;
    } else {
      counters_.Add("publisher_miscounts");
    }
  }
  run.newest_seq = origin.seq;
  run.records = origin.sent_before.value_or(run.records) + records;
  return missing;
}

void Publishers::Refuse(One& publisher, std::string_view topic, uint64_t count,
                        const google::protobuf::RepeatedPtrField<v1::Refusal>& examples) {
  v1::Refused& refused = publisher.refused;
  if (refused.count() == 0) {
    ++untold_;
    refused.set_publisher(publisher.name);
    refused.set_topic(Utf8(topic, kMaxTopic));
  }
  refused.set_count(refused.count() + count);
  for (const v1::Refusal& example : examples) {
    if (refused.refused_size() == kExamples) break;
    *refused.add_refused() = example;
  }
}

void Publishers::Miss(One& publisher, const Account& missing) {
  v1::PublisherGap& gap = publisher.gap;
  if (gap.messages() == 0) ++untold_;
  gap.set_messages(gap.messages() + missing.missed);
  gap.set_records(gap.records() + missing.dropped);
}

Publishers::News Publishers::Due(uint64_t now_ns) {
  News news;
  const auto look = [&](One& one) {
    if (one.refused.count() != 0 && !Quiet(one.refused_told_ns, now_ns)) {
      news.refused.push_back(std::exchange(one.refused, {}));
      one.refused_told_ns = now_ns;
      --untold_;
    }
    if (one.gap.messages() != 0 && !Quiet(one.gap_told_ns, now_ns)) {
      news.gaps.push_back(std::exchange(one.gap, {}));
      ShowOne(one, *news.gaps.back().mutable_publisher());
      one.gap_told_ns = now_ns;
      --untold_;
    }
  };
  if (untold_ == 0) return news;
  for (One& one : recent_) look(one);
  look(others_);
  return news;
}

void Publishers::ShowOne(const One& publisher, v1::Publisher& out) const {
  out.set_name(publisher.name);
  publisher.account.Show(out);
  out.set_runs(publisher.run_count);
  if (publisher.runs.empty()) return;
  out.set_run(publisher.runs.front().id);
  out.set_seq(publisher.runs.front().newest_seq);
}

bool Publishers::Show(const std::string& name, uint64_t run, v1::Publisher& out) const {
  const auto known = by_name_.find(Utf8(name, kMaxName));
  const One* one = known != by_name_.end() ? &*known->second : name == kOthers ? &others_ : nullptr;
  if (one == nullptr) return false;
  if (run == 0) {
    ShowOne(*one, out);
    return true;
  }
  const auto it = std::find_if(one->runs.begin(), one->runs.end(), [run](const Run& r) { return r.id == run; });
  if (it == one->runs.end()) return false;
  out.set_name(one->name);
  it->account.Show(out);
  out.set_runs(1);
  out.set_run(it->id);
  out.set_seq(it->newest_seq);
  return true;
}

void Publishers::ShowAll(google::protobuf::RepeatedPtrField<v1::Publisher>& out) const {
  for (const One& one : recent_) ShowOne(one, *out.Add());
  if (others_.account.messages != 0) ShowOne(others_, *out.Add());
}

}  // namespace sluice::core
