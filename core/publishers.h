// SPDX-License-Identifier: Apache-2.0
// Who publishes, and how the records of each fared: flows, keys, packets, flushes.
//
// sent = accepted + refused + dropped. What was dropped is known by the publisher's own running counts, which stand in
// every message on ingress: a hole in them is what never came. Counts belong to one run of a publisher; several runs of
// a name, one after another or at the same time, are told apart by their number.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "counters.h"
#include "sluice/sluice.pb.h"

namespace sluice::core {

// Where a message on ingress comes from, as it says itself.
struct Origin {
  const std::string& name;
  uint64_t run = 0;
  uint64_t seq = 0;                     // 0: it does not count
  std::optional<uint64_t> sent_before;  // records
};
template <typename Message>
Origin OriginOf(const Message& message) {
  Origin origin{message.publisher(), message.publisher_run(), message.publisher_seq(), {}};
  if (message.has_publisher_records()) origin.sent_before = message.publisher_records();
  return origin;
}

// Records, of a message that was carried out.
struct Fate {
  uint64_t accepted = 0;
  uint64_t refused = 0;
};
inline Fate Fared(const v1::FlowFlush&, const v1::Reply& reply) { return reply.ok() ? Fate{1, 0} : Fate{0, 1}; }
template <typename Message>
Fate Fared(const Message&, const v1::Reply& reply) {
  return {reply.accepted(), static_cast<uint64_t>(reply.refused_size())};
}

class Publishers {
 public:
  // Publishers that are told apart no longer, as there are too many.
  static constexpr const char* kOthers = "(others)";

  struct Account {
    uint64_t messages = 0;
    uint64_t accepted = 0;
    uint64_t refused = 0;
    uint64_t missed = 0;
    uint64_t dropped = 0;
    uint64_t replayed = 0;
    void Add(const Account& other);
    void Show(v1::Publisher& out) const;
  };

  Publishers(Counters& counters, size_t limit) : counters_(counters), limit_(limit) { others_.name = kOthers; }

  // A message came on ingress, of whose records some were accepted and some refused. Examples of these are told by
  // Due().
  void Take(const Origin& origin, std::string_view topic, uint64_t accepted, uint64_t refused,
            const google::protobuf::RepeatedPtrField<v1::Refusal>& examples, uint64_t now_ns);
  // The same by a request, which is answered: nothing is missed, and nothing to be told.
  void TakeRequest(const std::string& name, uint64_t accepted, uint64_t refused, uint64_t now_ns);

  // What is to be told now, of each publisher once a second at most.
  struct News {
    std::vector<v1::Refused> refused;
    std::vector<v1::PublisherGap> gaps;
  };
  News Due(uint64_t now_ns);
  [[nodiscard]] bool HasNews() const { return untold_ != 0; }

  // False: there is none of that name, or it has no such run (0: all of them).
  bool Show(const std::string& name, uint64_t run, v1::Publisher& out) const;
  void ShowAll(google::protobuf::RepeatedPtrField<v1::Publisher>& out) const;
  [[nodiscard]] size_t size() const { return recent_.size(); }
  [[nodiscard]] size_t limit() const { return limit_; }
  // Of all there ever were.
  [[nodiscard]] const Account& total() const { return total_; }

 private:
  struct Run {
    uint64_t id = 0;
    uint64_t newest_seq = 0;
    uint64_t records = 0;  // in the messages up to that, by the publisher's count
    Account account{};
  };
  struct One {
    std::string name;
    Account account;        // of all runs, and of requests
    std::vector<Run> runs;  // the one heard last first
    uint64_t run_count = 0;
    bool forgot_runs = false;
    uint64_t heard_ns = 0;
    v1::Refused refused;  // not told yet
    uint64_t refused_told_ns = 0;
    v1::PublisherGap gap;  // not told yet
    uint64_t gap_told_ns = 0;
  };

  One& Named(const std::string& name, uint64_t now_ns);
  Run& RunOf(One& publisher, const Origin& origin);
  // How much is missing before this message; the run goes on after it.
  Account Follow(Run& run, const Origin& origin, uint64_t records);
  void Refuse(One& publisher, std::string_view topic, uint64_t count,
              const google::protobuf::RepeatedPtrField<v1::Refusal>& examples);
  void Miss(One& publisher, const Account& missing);
  void Fold(One& old);
  void ShowOne(const One& publisher, v1::Publisher& out) const;

  Counters& counters_;
  const size_t limit_;
  size_t untold_ = 0;  // of refused and gap, those that have something in them
  Account total_;
  One others_;
  std::list<One> recent_;  // most recently heard first
  std::unordered_map<std::string, std::list<One>::iterator> by_name_;
};

}  // namespace sluice::core
