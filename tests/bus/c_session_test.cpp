// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fake_core.h"
#include "sluice/match.h"
#include "sluice/plugin.h"
#include "sluice/ufid.h"

namespace sluice {
namespace {

// What a plugin in C would keep. Called by the session's thread only, read by the test between messages.
struct Recorder {
  std::mutex mutex;
  std::vector<std::string> calls;
  std::map<uint8_t, uint64_t> packets;  // by the ufid's first byte; reported and cleared by stats
  std::atomic<int> answer = SLUICE_INSTALLED;

  void Note(std::string call) {
    const std::lock_guard lock(mutex);
    calls.push_back(std::move(call));
  }
  std::vector<std::string> Calls() {
    const std::lock_guard lock(mutex);
    return calls;
  }
};

int Put(void* user, const sluice_flow* flow, char* reason, char* detail) {
  auto& recorder = *static_cast<Recorder*>(user);
  recorder.Note("put " + std::to_string(flow->ufid[0]) + " " + flow->match + " -> " + flow->actions);
  if (recorder.answer == SLUICE_REFUSED) {
    std::strcpy(reason, "no_room");
    std::strcpy(detail, "there is no room");
  }
  const std::lock_guard lock(recorder.mutex);
  recorder.packets[flow->ufid[0]] += 1;
  return recorder.answer;
}
void Del(void* user, const uint8_t ufid[16]) {
  auto& recorder = *static_cast<Recorder*>(user);
  recorder.Note("del " + std::to_string(ufid[0]));
  const std::lock_guard lock(recorder.mutex);
  recorder.packets[ufid[0]] += 100;  // hit between the last reading and the deletion
}
int PortAdd(void* user, const char* name, uint32_t number, const char* options, char* detail) {
  static_cast<Recorder*>(user)->Note(std::string("port ") + name + " " + std::to_string(number) + " " + options);
  if (std::strcmp(name, "bad") != 0) return 0;
  std::strcpy(detail, "a bad port");
  return -1;
}
void PortDel(void* user, const char* name) { static_cast<Recorder*>(user)->Note(std::string("unport ") + name); }
size_t Stats(void* user, sluice_flow_stats* stats, size_t max) {
  auto& recorder = *static_cast<Recorder*>(user);
  const std::lock_guard lock(recorder.mutex);
  size_t count = 0;
  for (auto& [first, packets] : recorder.packets) {
    if (packets == 0 || count == max) continue;
    stats[count] = {};
    stats[count].ufid[0] = first;
    stats[count++].packets = std::exchange(packets, 0);
  }
  return count;
}

class CSessionTest : public testing::Test {
 protected:
  ~CSessionTest() override { sluice_session_stop(session_); }

  void Start(sluice_session_ops ops) {
    sluice_plugin_host host{};
    host.struct_size = sizeof(host);
    host.name = "c";
    host.endpoint = path_.endpoint().c_str();
    host.token = "t";
    host.zmq_context = path_.context();
    ops.struct_size = sizeof(ops);
    session_ = sluice_session_start(&host, nullptr, &ops, &recorder_);
    ASSERT_NE(session_, nullptr);
    const auto message = path_.Next();
    ASSERT_TRUE(message);
    hello_ = message->hello();
  }
  static sluice_session_ops All() {
    sluice_session_ops ops{};
    ops.fields = "in_port, eth_type,";
    ops.actions = "*";
    ops.put = Put;
    ops.del = Del;
    ops.port_add = PortAdd;
    ops.port_del = PortDel;
    ops.stats = Stats;
    return ops;
  }

  v1::Change& Add(v1::ToPlugin& batch) {
    auto& change = *batch.add_changes();
    change.set_seq(++seq_);
    return change;
  }
  static std::string Name(uint8_t first) {
    std::string ufid(16, '\0');
    ufid[0] = static_cast<char>(first);
    return ufid;
  }
  void PutFlow(v1::ToPlugin& batch, uint8_t first, uint64_t instance) {
    auto& put = *Add(batch).mutable_put();
    Match match;
    match.SetExact(Field::in_port, 1);
    put.set_ufid(Name(first));
    put.set_packed_match(match.Pack());
    put.set_actions("p2");
    put.set_instance(instance);
  }
  void DeleteFlow(v1::ToPlugin& batch, uint8_t first, uint64_t instance) {
    auto& del = *Add(batch).mutable_del();
    del.set_ufid(Name(first));
    del.set_instance(instance);
  }
  void PutPort(v1::ToPlugin& batch, const std::string& name, uint32_t number) {
    auto& port = *Add(batch).mutable_port_put();
    port.set_name(name);
    port.set_number(number);
    (*port.mutable_options())["mode"] = "auto";
  }
  // Sends, and returns the answer; its statistics and those of ticks before it are in counted_, by name and instance.
  v1::FromPlugin Answer(v1::ToPlugin batch) {
    batch.set_epoch("e1");
    batch.set_batch(++batch_);
    path_.Send(batch);
    for (;;) {
      auto message = path_.Next();
      if (!message) {
        ADD_FAILURE() << "no answer";
        return {};
      }
      Count(*message);
      if (message->ack() == batch_) return std::move(*message);
    }
  }
  void Count(const v1::FromPlugin& message) {
    for (const auto& stats : message.stats()) {
      counted_[{static_cast<uint8_t>(stats.ufid()[0]), stats.instance()}] += stats.packets();
    }
  }

  test::FakePluginPath path_;
  Recorder recorder_;
  sluice_session* session_ = nullptr;
  v1::Hello hello_;
  uint64_t seq_ = 0;
  uint64_t batch_ = 0;
  std::map<std::pair<uint8_t, uint64_t>, uint64_t> counted_;
};

using Calls = std::vector<std::string>;

TEST_F(CSessionTest, SaysWhatItCanDo) {
  Start(All());
  EXPECT_EQ(hello_.name(), "c");
  EXPECT_EQ(hello_.version(), "0");
  ASSERT_EQ(hello_.capabilities().fields_size(), 2);
  EXPECT_EQ(hello_.capabilities().fields(1), "eth_type");
  EXPECT_EQ(hello_.capabilities().actions(0), "*");
}

TEST_F(CSessionTest, GetsFlowsAsTextWithPortNames) {
  Start(All());
  v1::ToPlugin batch;
  PutPort(batch, "p1", 1);
  PutPort(batch, "bad", 2);
  PutFlow(batch, 5, 9);
  const auto answer = Answer(batch);
  EXPECT_EQ(recorder_.Calls(),
            (Calls{R"(port p1 1 {"mode":"auto"})", R"(port bad 2 {"mode":"auto"})", "put 5 in_port(p1) -> p2"}));
  ASSERT_EQ(answer.ports_size(), 2);
  EXPECT_EQ(answer.ports(0).state(), "up");
  EXPECT_EQ(answer.ports(1).state(), "failed");
  EXPECT_EQ(answer.ports(1).detail(), "a bad port");
  ASSERT_EQ(answer.verdicts_size(), 1);
  EXPECT_EQ(answer.verdicts(0).state(), v1::INSTALLED);
  EXPECT_EQ(answer.verdicts(0).instance(), 9U);
  EXPECT_EQ(answer.verdicts(0).seq(), seq_);
  EXPECT_NE(answer.verdicts(0).time_ns(), 0U);
}

TEST_F(CSessionTest, RefusesWithReasonAndDetail) {
  recorder_.answer = SLUICE_REFUSED;
  Start(All());
  v1::ToPlugin batch;
  PutFlow(batch, 5, 1);
  const auto answer = Answer(batch);
  EXPECT_EQ(answer.verdicts(0).state(), v1::REFUSED);
  EXPECT_EQ(answer.verdicts(0).reason(), "no_room");
  EXPECT_EQ(answer.verdicts(0).detail(), "there is no room");
}

TEST_F(CSessionTest, AnAnswerThatIsNoVerdictIsAFailure) {
  recorder_.answer = 77;
  Start(All());
  v1::ToPlugin batch;
  PutFlow(batch, 5, 1);
  EXPECT_EQ(Answer(batch).verdicts(0).state(), v1::FAILED);
}

TEST_F(CSessionTest, ADeletedFlowsLastPacketsAreCounted) {
  Start(All());
  v1::ToPlugin batch;
  PutFlow(batch, 5, 1);
  Answer(batch);
  v1::ToPlugin removal;
  DeleteFlow(removal, 5, 1);
  const auto answer = Answer(removal);
  ASSERT_EQ(answer.verdicts_size(), 1);
  EXPECT_TRUE(answer.verdicts(0).deleted());
  EXPECT_EQ(counted_[std::pair(uint8_t{5}, uint64_t{1})], 101U);
}

TEST_F(CSessionTest, AnotherInstanceReplacesTheOldOne) {
  Start(All());
  v1::ToPlugin batch;
  PutFlow(batch, 5, 1);
  Answer(batch);
  v1::ToPlugin second;
  PutFlow(second, 5, 2);
  Answer(second);
  EXPECT_EQ(recorder_.Calls(), (Calls{"put 5 in_port(1) -> p2", "del 5", "put 5 in_port(1) -> p2"}));
  EXPECT_EQ(counted_[std::pair(uint8_t{5}, uint64_t{1})], 1U);
}

TEST_F(CSessionTest, WhatARefusedFlowCountedBeforeIsTold) {
  Start(All());
  v1::ToPlugin batch;
  PutFlow(batch, 5, 1);
  Answer(batch);
  recorder_.answer = SLUICE_REFUSED;
  v1::ToPlugin again;
  PutFlow(again, 5, 1);
  Answer(again);
  EXPECT_EQ(counted_[std::pair(uint8_t{5}, uint64_t{1})], 2U);
}

TEST_F(CSessionTest, AResyncWithdrawsWhatIsNotPutAgain) {
  Start(All());
  v1::ToPlugin batch;
  PutPort(batch, "p1", 1);
  PutPort(batch, "p2", 2);
  PutFlow(batch, 5, 1);
  PutFlow(batch, 6, 1);
  Answer(batch);
  v1::ToPlugin again;
  again.set_resync(true);
  PutPort(again, "p1", 1);
  PutFlow(again, 6, 1);
  Answer(again);
  v1::ToPlugin synced;
  synced.set_synced(true);
  Answer(synced);
  const auto calls = recorder_.Calls();
  EXPECT_EQ(Calls(calls.end() - 2, calls.end()), (Calls{"del 5", "unport p2"}));
  EXPECT_EQ(calls.size(), 8U);
}

TEST_F(CSessionTest, AStopWithdrawsEverythingUnlessToBeKept) {
  for (const bool keep : {true, false}) {
    Start(All());
    v1::ToPlugin batch;
    PutPort(batch, "p1", 1);
    PutFlow(batch, 5, 1);
    Answer(batch);
    v1::ToPlugin stop;
    stop.set_stop(true);
    stop.set_keep(keep);
    Answer(stop);
    bool bye = false;
    while (!bye) {
      const auto message = path_.Next();
      ASSERT_TRUE(message);
      Count(*message);
      bye = message->bye();
    }
    const auto calls = recorder_.Calls();
    const Calls ending(calls.end() - 2, calls.end());
    if (keep) {
      EXPECT_EQ(ending.back(), "put 5 in_port(p1) -> p2");
    } else {
      EXPECT_EQ(ending, (Calls{"del 5", "unport p1"}));
    }
    EXPECT_EQ(counted_[std::pair(uint8_t{5}, uint64_t{1})], keep ? 1U : 102U);
    sluice_session_stop(std::exchange(session_, nullptr));
  }
}

TEST_F(CSessionTest, WithoutCallbacksFlowsAreRefusedAndPortsAccepted) {
  Start({});
  v1::ToPlugin batch;
  PutPort(batch, "p1", 1);
  PutFlow(batch, 5, 1);
  DeleteFlow(batch, 5, 1);
  const auto answer = Answer(batch);
  EXPECT_EQ(answer.ports(0).state(), "up");
  EXPECT_EQ(answer.verdicts(0).state(), v1::REFUSED);
  EXPECT_FALSE(answer.verdicts(0).detail().empty());
  EXPECT_TRUE(answer.verdicts(1).deleted());
}

TEST_F(CSessionTest, AMatchThatCannotBeReadIsAFailureOfThatFlowOnly) {
  Start(All());
  v1::ToPlugin batch;
  auto& put = *Add(batch).mutable_put();
  put.set_ufid(Name(7));
  put.set_packed_match("\xff\xff");
  PutFlow(batch, 5, 1);
  const auto answer = Answer(batch);
  EXPECT_EQ(answer.verdicts(0).state(), v1::FAILED);
  EXPECT_EQ(answer.verdicts(0).reason(), "bad_match");
  EXPECT_EQ(answer.verdicts(1).state(), v1::INSTALLED);
}

TEST(CSession, WrongArgumentsSetErrno) {
  sluice_session_ops ops{};
  errno = 0;
  EXPECT_EQ(sluice_session_start(nullptr, "1", &ops, nullptr), nullptr);
  EXPECT_EQ(errno, EINVAL);
  sluice_plugin_host host{};
  host.endpoint = "nonsense";
  errno = 0;
  EXPECT_EQ(sluice_session_start(&host, "1", &ops, nullptr), nullptr);
  EXPECT_EQ(errno, EINVAL);
  sluice_session_stop(nullptr);
}

}  // namespace
}  // namespace sluice
