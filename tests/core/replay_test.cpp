// SPDX-License-Identifier: Apache-2.0
// Whatever happens to the table, and however slowly a plugin reads: what it has been told, replayed, is the table.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

#include "feed.h"
#include "table_rig.h"

namespace sluice::core::test {
namespace {

// Replays what it is told; acknowledges and confirms when it is let.
class SlowPlugin {
 public:
  SlowPlugin(TableRig& rig, uint8_t index)
      : rig_(rig),
        index_(index),
        feed_(rig.journal, rig.table, rig.ports, "p", index, {.window = 2, .batch = 5, .packets = 4}) {
    feed_.Start(false);
  }

  struct Known {
    std::string match;
    std::string actions;
    uint64_t instance;
  };

  void Receive() {
    v1::ToPlugin batch;
    if (!feed_.Fill(batch)) return;
    EXPECT_LE(batch.changes_size(), 6);  // a replacement is two
    if (batch.resync()) {
      old_ = std::exchange(flows_, {});
      synced_ = false;
    }
    for (const v1::Change& change : batch.changes()) Apply(change);
    if (batch.synced()) {
      synced_ = true;
      old_.clear();  // what was not put again is withdrawn
    }
    acks_.push_back(batch.batch());
  }
  void Ack() {
    if (acks_.empty()) return;
    feed_.Ack(acks_.front());
    acks_.pop_front();
  }
  void Confirm() {
    if (deleted_.empty()) return;
    v1::Verdict verdict = deleted_.front();
    deleted_.pop_front();
    rig_.table.Judge(index_, verdict);
  }
  void Resync() {
    rig_.table.Forget(index_);
    feed_.Start(true);
  }
  // The process is gone, and another has come.
  void Restart() {
    flows_.clear();
    acks_.clear();
    deleted_.clear();
    rig_.table.Forget(index_);
    feed_.ForgetDebt();
    feed_.Start(false);
  }
  bool Idle() const { return acks_.empty() && deleted_.empty() && feed_.lag() == 0; }
  void Drain() {
    for (int i = 0; i < 100'000; ++i) {
      Receive();
      Ack();
      Confirm();
      if (Idle()) return;
    }
    FAIL() << "it never ends";
  }
  const std::map<std::string, Known>& flows() const { return flows_; }
  bool synced() const { return synced_; }
  uint64_t applied() const { return applied_; }

 private:
  void Apply(const v1::Change& change) {
    ++applied_;
    if (change.has_del()) {
      auto it = flows_.find(change.del().ufid());
      // Told only of what it has, and exactly that.
      ASSERT_TRUE(it != flows_.end()) << "a delete of what was never put";
      EXPECT_EQ(it->second.instance, change.del().instance());
      flows_.erase(it);
      v1::Verdict& verdict = deleted_.emplace_back();
      verdict.set_ufid(change.del().ufid());
      verdict.set_instance(change.del().instance());
      verdict.set_deleted(true);
      return;
    }
    const v1::FlowState& put = change.put();
    auto it = flows_.find(put.ufid());
    if (it != flows_.end()) {
      EXPECT_EQ(it->second.instance, put.instance()) << "replaced without a delete";
      EXPECT_EQ(it->second.match, put.packed_match());
    }
    flows_[put.ufid()] = {put.packed_match(), put.actions(), put.instance()};
  }

  TableRig& rig_;
  uint8_t index_;
  Feed feed_;
  std::map<std::string, Known> flows_;
  std::map<std::string, Known> old_;
  std::deque<uint64_t> acks_;
  std::deque<v1::Verdict> deleted_;
  bool synced_ = false;
  uint64_t applied_ = 0;
};

void ExpectEqualToTable(const SlowPlugin& plugin, const TableRig& rig, const std::map<uint32_t, FlowSpec>& model) {
  EXPECT_EQ(rig.table.size(), model.size());
  EXPECT_EQ(plugin.flows().size(), model.size());
  EXPECT_TRUE(plugin.synced());
  for (const auto& [number, spec] : model) {
    const Flow* flow = rig.table.Find(spec.ufid);
    ASSERT_NE(flow, nullptr);
    EXPECT_EQ(flow->match(), spec.match);
    EXPECT_EQ(flow->actions(), spec.actions);
    auto known = plugin.flows().find(std::string(spec.ufid.AsBytes()));
    ASSERT_TRUE(known != plugin.flows().end()) << "flow " << number << " is missing";
    EXPECT_EQ(known->second.match, spec.match);
    EXPECT_EQ(known->second.actions, spec.actions);
    EXPECT_EQ(known->second.instance, flow->instance);
  }
}

// For every flow events alternate, beginning with add, and end as the model has it.
void ExpectEventsInOrder(const std::vector<std::string>& told, const std::map<uint32_t, FlowSpec>& model) {
  std::map<std::string, bool> there;
  for (const std::string& line : told) {
    const std::string flow = line.substr(4);
    if (line.starts_with("add ")) {
      EXPECT_FALSE(there[flow]) << line;
      there[flow] = true;
    } else if (line.starts_with("mod ")) {
      EXPECT_TRUE(there[flow]) << line;
    } else if (line.starts_with("del ")) {
      EXPECT_TRUE(there[flow]) << line;
      there[flow] = false;
    }
  }
  for (const auto& [flow, is] : there) EXPECT_EQ(is, model.contains(static_cast<uint32_t>(std::stoul(flow)))) << flow;
}

class ReplayTest : public ::testing::TestWithParam<int> {};

TEST_P(ReplayTest, EveryPluginEndsWithTheTable) {
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  RecordProperty("seed", GetParam());
  const uint64_t max_tombstones = GetParam() % 3 == 0 ? 4 : 1'000;
  TableRig rig({.max_flows = 1'000, .max_tombstones = max_tombstones});
  SlowPlugin quick(rig, 0);
  SlowPlugin slow(rig, 1);
  std::map<uint32_t, FlowSpec> model;
  uint64_t resyncs = 0;
  for (int step = 0; step < 4'000; ++step) {
    const uint32_t number = random() % 24;
    const uint32_t what = random() % 100;
    if (what < 45) {
      FlowSpec spec = SpecOf(number, std::to_string(number) + "/" + std::to_string(random() % 2),
                             "p" + std::to_string(random() % 3));
      ASSERT_TRUE(rig.table.Put(spec, 1));
      model[number] = spec;
    } else if (what < 70) {
      if (Flow* flow = rig.table.Find(UfidOf(number))) rig.table.Delete(*flow, Cause::request);
      model.erase(number);
    } else if (what < 72) {
      rig.table.Reoffer(1);
    } else if (what < 86) {
      quick.Receive();
      quick.Ack();
      quick.Confirm();
    } else if (what < 90) {
      slow.Receive();
    } else if (what < 93) {
      slow.Ack();
    } else if (what < 96) {
      slow.Confirm();
    } else if (what == 99 && random() % 40 == 0) {
      slow.Restart();
    }
    const uint8_t laggard = rig.table.Laggard();
    if (laggard < kMaxPlugins) {
      ++resyncs;
      (laggard == 0 ? quick : slow).Resync();
    }
  }
  quick.Drain();
  slow.Drain();
  ExpectEqualToTable(quick, rig, model);
  ExpectEqualToTable(slow, rig, model);
  ExpectEventsInOrder(rig.record.told, model);
  EXPECT_EQ(rig.table.tombstones(), 0U);
  EXPECT_EQ(rig.journal.size(), model.size());
  if (max_tombstones == 4) {
    EXPECT_GT(resyncs, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReplayTest, ::testing::Range(1, 25));

TEST(Replay, ASlowPluginSeesTheNewestStateOnly) {
  TableRig rig;
  SlowPlugin plugin(rig, 0);
  plugin.Drain();
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(rig.table.Put(SpecOf(1, "m", "p" + std::to_string(i)), 1));
    ASSERT_TRUE(rig.table.Put(SpecOf(2, "n"), 1));
    rig.table.Delete(*rig.table.Find(UfidOf(2)), Cause::request);
  }
  plugin.Drain();
  EXPECT_EQ(plugin.applied(), 1U);
  EXPECT_EQ(plugin.flows().begin()->second.actions, "p999");
}

TEST(Replay, DeleteThenAddIsNeverNeither) {
  TableRig rig;
  SlowPlugin plugin(rig, 0);
  ASSERT_TRUE(rig.table.Put(SpecOf(1, "m"), 1));
  plugin.Drain();
  const uint64_t before = plugin.applied();
  rig.table.Delete(*rig.table.Find(UfidOf(1)), Cause::request);
  ASSERT_TRUE(rig.table.Put(SpecOf(1, "m"), 1));
  plugin.Drain();
  EXPECT_EQ(plugin.applied() - before, 2U);  // a delete and a put
  EXPECT_EQ(plugin.flows().size(), 1U);
}

}  // namespace
}  // namespace sluice::core::test
