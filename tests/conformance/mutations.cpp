// SPDX-License-Identifier: Apache-2.0
#include "mutations.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace sluice::mutant {
namespace {

template <typename Repeated, typename Condition>
void RemoveIf(Repeated& items, Condition condition) {
  items.erase(std::remove_if(items.begin(), items.end(), condition), items.end());
}

void Answer(v1::FromPlugin& answer, const v1::Change& change) {
  const v1::FlowState& flow = change.has_put() ? change.put() : change.del();
  v1::Verdict& verdict = *answer.add_verdicts();
  verdict.set_ufid(flow.ufid());
  verdict.set_instance(flow.instance());
  verdict.set_seq(change.seq());
  verdict.set_deleted(change.has_del());
  if (change.has_put()) verdict.set_state(v1::INSTALLED);
}

// The plugin does not hear of the changes that `which` is true of; the core hears that they are done.
template <typename Which>
void Withhold(v1::ToPlugin& message, v1::FromPlugin& answer, Which which) {
  RemoveIf(*message.mutable_changes(), [&](const v1::Change& change) {
    const bool withheld = which(change);
    if (withheld && (change.has_put() || change.has_del())) Answer(answer, change);
    return withheld;
  });
}

class NoVerdict : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    RemoveIf(*message.mutable_verdicts(), [](const v1::Verdict& verdict) { return !verdict.deleted(); });
  }
};

class NoAck : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override { message.clear_ack(); }
};

class IgnoresChanges : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    Withhold(message, answer, [this](const v1::Change& change) {
      return change.has_put() && !known_.emplace(change.put().ufid(), change.put().instance()).second;
    });
  }
  std::set<std::pair<std::string, uint64_t>> known_;
};

class ConfirmsNothing : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    RemoveIf(*message.mutable_verdicts(), [](const v1::Verdict& verdict) { return verdict.deleted(); });
  }
};

class ConfirmsTooSoon : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    Withhold(message, answer, [](const v1::Change& change) { return change.has_del(); });
  }
};

class DropsLastStatistics : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    const auto& verdicts = message.verdicts();
    if (std::any_of(verdicts.begin(), verdicts.end(), [](const auto& verdict) { return verdict.deleted(); })) {
      message.clear_stats();
    }
  }
};

class CountsForTheOld : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::FlowStats& stats : *message.mutable_stats()) {
      stats.set_instance(first_.emplace(stats.ufid(), stats.instance()).first->second);
    }
  }
  std::map<std::string, uint64_t> first_;
};

class FlushesHalf : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    Withhold(message, answer, [this](const v1::Change& change) { return change.has_del() && ++deletes_ % 2 == 0; });
  }
  uint64_t deletes_ = 0;
};

class RefusesInSilence : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::Verdict& verdict : *message.mutable_verdicts()) {
      verdict.clear_reason();
      verdict.clear_detail();
    }
  }
};

// Says so at least.
class TakesEverything : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::Verdict& verdict : *message.mutable_verdicts()) {
      if (verdict.state() == v1::REFUSED) verdict.set_state(v1::INSTALLED);
    }
  }
};

class CountsTwice : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::FlowStats& stats : *message.mutable_stats()) {
      stats.set_packets(2 * stats.packets());
      stats.set_bytes(2 * stats.bytes());
    }
  }
};

class TellsTotals : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::FlowStats& stats : *message.mutable_stats()) {
      auto& [packets, bytes] = totals_[{stats.ufid(), stats.instance()}];
      stats.set_packets(packets += stats.packets());
      stats.set_bytes(bytes += stats.bytes());
    }
  }
  std::map<std::pair<std::string, uint64_t>, std::pair<uint64_t, uint64_t>> totals_;
};

// Once used, always reported.
class TellsOfIdleFlows : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (const v1::FlowStats& stats : message.stats()) used_[stats.ufid()] = stats;
    if (!message.heartbeat()) return;
    for (const auto& [ufid, last] : used_) {
      v1::FlowStats& again = *message.add_stats();
      again = last;
      again.set_packets(0);
      again.set_bytes(0);
      again.set_used_ns(last.used_ns() + ++beats_);
    }
  }
  std::map<std::string, v1::FlowStats> used_;
  uint64_t beats_ = 0;
};

class KnowsNoPriority : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& /*answer*/) override {
    for (v1::Change& change : *message.mutable_changes()) {
      if (change.has_put()) change.mutable_put()->set_priority(0);
    }
  }
};

class PortWithoutAWord : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::Port& port : *message.mutable_ports()) port.clear_detail();
  }
};

class KeepsPorts : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    Withhold(message, answer, [](const v1::Change& change) { return change.has_port_del(); });
  }
};

class CallsItInstalled : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override {
    for (v1::Verdict& verdict : *message.mutable_verdicts()) {
      if (verdict.state() == v1::FAILED) verdict.set_state(v1::INSTALLED);
    }
  }
};

// From the second load on it says of every other flow that it is installed, and does not install it.
class ForgetsOnReload : public Mutation {
 public:
  explicit ForgetsOnReload(const std::string& run_dir) : again_(std::filesystem::exists(run_dir + "/mutant-was-here")) {
    std::ofstream(run_dir + "/mutant-was-here");
  }
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    Withhold(message, answer,
             [this](const v1::Change& change) { return again_ && change.has_put() && ++puts_ % 2 == 0; });
  }

 private:
  const bool again_;
  uint64_t puts_ = 0;
};

class KeepsTheLastWord : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& /*answer*/) override { stopping_ |= message.stop(); }
  void FromPlugin(v1::FromPlugin& message) override {
    if (stopping_) message.clear_stats();
  }
  bool stopping_ = false;
};

class SaysNoBye : public Mutation {
  void FromPlugin(v1::FromPlugin& message) override { message.clear_bye(); }
};

// The flows that are put again after a resync are not installed, every third of them.
class ForgetsOnResync : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    anew_ |= message.resync();
    Withhold(message, answer,
             [this](const v1::Change& change) { return anew_ && change.has_put() && ++puts_ % 3 == 0; });
    if (message.synced()) anew_ = false;
  }
  bool anew_ = false;
  uint64_t puts_ = 0;
};

class KeepsOnResync : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& /*answer*/) override { message.clear_resync(); }
};

// Of full batches the last change is lost.
class LosesWhenBusy : public Mutation {
  void ToPlugin(v1::ToPlugin& message, v1::FromPlugin& answer) override {
    if (message.changes_size() < 50) return;
    Withhold(message, answer, [this](const v1::Change& /*change*/) { return ++changes_ % 2 == 0; });
  }
  uint64_t changes_ = 0;
};

template <typename T>
std::unique_ptr<Mutation> Make() {
  return std::make_unique<T>();
}

}  // namespace

std::unique_ptr<Mutation> MakeMutation(const std::string& name, const std::string& run_dir) {
  if (name == "forgets_on_reload") return std::make_unique<ForgetsOnReload>(run_dir);
  // Those that are not about what is said are the relay's own (mutant.cpp).
  static const std::map<std::string, std::unique_ptr<Mutation> (*)()> kAll = {
      {"none", Make<Mutation>},
      {"takes_any_option", Make<Mutation>},
      {"leaves_a_file", Make<Mutation>},
      {"no_verdict", Make<NoVerdict>},
      {"no_ack", Make<NoAck>},
      {"ignores_changes", Make<IgnoresChanges>},
      {"confirms_nothing", Make<ConfirmsNothing>},
      {"confirms_too_soon", Make<ConfirmsTooSoon>},
      {"drops_last_statistics", Make<DropsLastStatistics>},
      {"counts_for_the_old", Make<CountsForTheOld>},
      {"flushes_half", Make<FlushesHalf>},
      {"refuses_in_silence", Make<RefusesInSilence>},
      {"takes_everything", Make<TakesEverything>},
      {"counts_twice", Make<CountsTwice>},
      {"tells_totals", Make<TellsTotals>},
      {"tells_of_idle_flows", Make<TellsOfIdleFlows>},
      {"knows_no_priority", Make<KnowsNoPriority>},
      {"port_without_a_word", Make<PortWithoutAWord>},
      {"keeps_ports", Make<KeepsPorts>},
      {"calls_it_installed", Make<CallsItInstalled>},
      {"keeps_the_last_word", Make<KeepsTheLastWord>},
      {"says_no_bye", Make<SaysNoBye>},
      {"forgets_on_resync", Make<ForgetsOnResync>},
      {"keeps_on_resync", Make<KeepsOnResync>},
      {"loses_when_busy", Make<LosesWhenBusy>},
      {"leaves_its_sockets", Make<Mutation>},
  };
  const auto found = kAll.find(name);
  return found == kAll.end() ? nullptr : found->second();
}

}  // namespace sluice::mutant
