// SPDX-License-Identifier: Apache-2.0
// Every operation of the table with its first, second, ... system call failing: it is done or it is not, and where it
// is not, maps, table and what packets get are what they were, and the same operation then succeeds.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <set>

#include "faults.h"
#include "sluice/flow_text.h"
#include "table_rig.h"

namespace sluice::xdp {
namespace {

using Value = std::vector<uint8_t>;

// What can be seen from outside.
struct State {
  uint32_t flows = 0;
  uint32_t masks = 0;
  size_t groups = 0;
  std::map<std::pair<uint32_t, Value>, uint32_t> subtables;  // slot and key to record
  std::map<uint32_t, uint32_t> ports;
  std::vector<std::multiset<uint32_t>> group_devices;
  std::vector<std::optional<uint16_t>> vids;  // what packets to some hosts get
  bool operator==(const State&) const = default;
};

// But for which records flows have: those are others each time.
void ExpectAlike(State a, State b) {
  EXPECT_EQ(a.subtables.size(), b.subtables.size());
  EXPECT_EQ(a.vids, b.vids);
  a.subtables.clear();
  b.subtables.clear();
  EXPECT_TRUE(a == b);
}

std::string Describe(const State& state) {
  std::string text = std::to_string(state.flows) + " flows, " + std::to_string(state.masks) + " masks, " +
                     std::to_string(state.groups) + " groups, " + std::to_string(state.subtables.size()) + " keys, " +
                     std::to_string(state.ports.size()) + " ports; vids";
  for (const auto& vid : state.vids) text += vid ? " " + std::to_string(*vid) : " -";
  return text;
}

template <typename Key>
std::map<Key, uint32_t> Dump(int fd, const std::function<Key(const Value&)>& key_of) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  bpf_obj_get_info_by_fd(fd, &info, &size);
  std::map<Key, uint32_t> all;
  Value key(info.key_size);
  for (const void* from = nullptr; bpf_map_get_next_key(fd, from, key.data()) == 0; from = key.data()) {
    uint32_t value = 0;
    if (bpf_map_lookup_elem(fd, key.data(), &value) != 0) continue;
    if (value != 0 || info.type == BPF_MAP_TYPE_HASH) all[key_of(key)] = value;  // 0: no device
  }
  return all;
}

uint32_t Number(const Value& key) {
  uint32_t number = 0;
  std::memcpy(&number, key.data(), sizeof number);
  return number;
}

constexpr uint32_t kNet = 0x0a010000;
constexpr uint32_t kHosts = 80;

std::string HostMatch(uint32_t host) { return "eth_type(0x0800),ipv4(dst=10.1.0." + std::to_string(host) + ")"; }
std::string PushVid(uint32_t vid) { return "push_vlan(vid=" + std::to_string(vid) + ",pcp=0),1"; }

class Faults : public testing::Test {
 protected:
  static ObjectOptions Options() {
    ObjectOptions options;
    options.subtable_entries = 16;
    options.max_flows = 1024;
    options.miss_policy = SLUICE_MISS_PASS;
    return options;
  }

  State Look() {
    State state;
    const auto usage = rig_.table->usage();
    state.flows = usage.flows;
    state.masks = usage.masks;
    state.groups = rig_.groups->groups_in_use();
    for (const auto& [slot, id] : Dump<uint32_t>(rig_.object->MapFd("subtables"), Number)) {
      const UniqueFd inner(bpf_map_get_fd_by_id(id));
      for (const auto& [key, record] : Dump<Value>(inner.get(), [](const Value& k) { return k; })) {
        state.subtables[{slot, key}] = record;
      }
    }
    state.ports = Dump<uint32_t>(rig_.groups->ports_fd(), Number);
    for (const auto& [index, id] : Dump<uint32_t>(rig_.groups->groups_fd(), Number)) {
      const UniqueFd devices(bpf_map_get_fd_by_id(id));
      std::multiset<uint32_t> set;
      for (const auto& [place, device] : Dump<uint32_t>(devices.get(), Number)) set.insert(device);
      if (!set.empty()) state.group_devices.push_back(set);
    }
    for (uint32_t host = 0; host < kHosts; ++host) state.vids.push_back(rig_.Run(UdpFrame(kNet + host)).vid());
    return state;
  }

  // Everything that goes on in the background has come to its end.
  void Settle() {
    rig_.Stats();
    rig_.reclaimer->Drain();
  }

  // `undo` brings back what was before `operation`.
  void FailEachCall(const std::function<Result<void>()>& operation, const std::function<void()>& undo) {
    Settle();
    const State before = Look();
    ASSERT_TRUE(operation());
    Settle();
    const State after = Look();
    undo();
    Settle();
    ExpectAlike(Look(), before);
    std::set<std::string> struck;
    // The first two are tried again: the kernel says so when memory is short for a moment.
    for (const auto& errors : {std::pair{ENOMEM, EBUSY}, std::pair{EPERM, E2BIG}}) {
      for (unsigned nth = 1;; ++nth) {
        const int error = nth % 2 == 1 ? errors.first : errors.second;
        test::FailCall(nth, error);
        const auto done = operation();
        rig_.reclaimer->Drain();
        const std::string call = test::StopFailing();
        SCOPED_TRACE("call " + std::to_string(nth) + " (" + call + "): " + strerror(error));
        Settle();
        if (!done) {
          EXPECT_FALSE(done.error().reason.empty());
          EXPECT_GT(done.error().detail.size(), 10);
          const State now = Look();
          ASSERT_EQ(now, before) << done.error().detail << "\nis " << Describe(now) << "\nwas " << Describe(before);
          const auto again = operation();
          ASSERT_TRUE(again) << again.error().detail;
          Settle();
        }
        ExpectAlike(Look(), after);
        undo();
        Settle();
        ExpectAlike(Look(), before);
        if (HasFailure()) return;
        if (call.empty()) break;
        struck.insert(call);
        ASSERT_LT(nth, 300);
      }
    }
    EXPECT_FALSE(struck.empty()) << "no call failed";
  }

  Result<void> Put(const std::string& match, const std::string& actions, uint32_t priority = 0) {
    const auto compiled = CompileActions(*ParseActions(actions), rig_.object->meta(), *rig_.groups);
    if (!compiled) return compiled.error();
    FlowSpec spec = rig_.Spec(match, "drop", priority);
    spec.actions = *compiled;
    const auto put = rig_.table->Put(spec);
    if (!put) return put.error();
    ids_.push_back(*put);
    return {};
  }
  void DeleteAll() {
    for (const FlowId id : std::exchange(ids_, {})) rig_.table->Delete(id);
  }

  TableRig rig_{Options(), {.spare_subtables = 2}};
  std::vector<FlowId> ids_;
};

TEST_F(Faults, PutUnderAMaskInUse) {
  rig_.Put(HostMatch(1), PushVid(1));
  FailEachCall([&] { return Put(HostMatch(2), PushVid(2)); }, [&] { DeleteAll(); });
}

TEST_F(Faults, PutUnderNewMasks) {
  rig_.Put(HostMatch(1), PushVid(1), 5);
  // More than there are in reserve, and each comes before the others in the order.
  const auto put_all = [&]() -> Result<void> {
    for (uint32_t i = 0; i < 5; ++i) {
      auto put = Put("eth_type(0x0800),ipv4(dst=10.1.0.0/" + std::to_string(24 + i) + ")", PushVid(10 + i), i);
      if (put) continue;
      DeleteAll();
      return put;
    }
    return {};
  };
  FailEachCall(put_all, [&] { DeleteAll(); });
}

TEST_F(Faults, PutMany) {
  rig_.Put(HostMatch(1), PushVid(1));
  std::vector<FlowSpec> specs;
  for (uint32_t host = 2; host < 70; ++host) specs.push_back(rig_.Spec(HostMatch(host), PushVid(host)));
  for (uint32_t i = 0; i < 4; ++i) {
    specs.push_back(rig_.Spec("eth_type(0x0800),ipv4(dst=10.1.0.0/" + std::to_string(24 + i) + ")", PushVid(100 + i)));
  }
  specs.push_back(rig_.Spec(HostMatch(3), PushVid(200), 7));  // a second one, in front
  const auto put_all = [&]() -> Result<void> {
    Result<void> result;
    for (auto& put : rig_.table->PutMany(specs)) {
      if (put) {
        ids_.push_back(*put);
      } else {
        result = put.error();
      }
    }
    if (!result) DeleteAll();  // those that are in, so that it is all or nothing
    return result;
  };
  FailEachCall(put_all, [&] { DeleteAll(); });
}

TEST_F(Faults, Growth) {
  const auto put_all = [&]() -> Result<void> {
    for (uint32_t host = 0; host < 60; ++host) {
      auto put = Put(HostMatch(host), PushVid(host + 1));
      if (put) continue;
      DeleteAll();
      return put;
    }
    return {};
  };
  FailEachCall(put_all, [&] { DeleteAll(); });
}

TEST_F(Faults, Modify) {
  rig_.Put("eth_type(0x0800),ipv4(dst=10.1.0.0/24)", PushVid(1), 10);
  const FlowId id = rig_.Put(HostMatch(2), PushVid(2), 5);
  rig_.Put(HostMatch(2), PushVid(3), 7);  // served before it, and after no more
  const auto modify = [&](const std::string& actions, uint32_t priority) -> Result<void> {
    const auto compiled = CompileActions(*ParseActions(actions), rig_.object->meta(), *rig_.groups);
    if (!compiled) return compiled.error();
    FlowSpec spec;
    spec.priority = priority;
    spec.actions = *compiled;
    return rig_.table->Modify(id, spec);
  };
  FailEachCall([&] { return modify("push_vlan(vid=9,pcp=0),2,3", 20); }, [&] { ASSERT_TRUE(modify(PushVid(2), 5)); });
}

TEST_F(Faults, DeletionWithAnHeir) {
  rig_.Put(HostMatch(2), PushVid(2), 5);
  const FlowId low = rig_.Put(HostMatch(3), PushVid(3), 5);
  ids_.push_back(rig_.Put(HostMatch(2), PushVid(12), 6));
  ids_.push_back(rig_.Put(HostMatch(3), PushVid(13), 6));
  // It cannot be refused.
  FailEachCall([&]() -> Result<void> { return DeleteAll(), Result<void>(); },
               [&] {
                 ids_.push_back(rig_.Put(HostMatch(2), PushVid(12), 6));
                 ids_.push_back(rig_.Put(HostMatch(3), PushVid(13), 6));
               });
  DeleteAll();
  rig_.table->Delete(low);
  Settle();
  EXPECT_EQ(Look().vids[2], 2);
  EXPECT_EQ(Look().vids[3], std::nullopt);
}

TEST_F(Faults, SetsOfOutputs) {
  std::vector<std::shared_ptr<const Group>> held;
  // More than there are in reserve; the last is larger than those.
  const auto acquire = [&]() -> Result<void> {
    for (uint32_t a = 1; a <= 4; ++a) {
      for (uint32_t b = a; b <= 4; ++b) {
        auto group = rig_.groups->Acquire(a == 4 ? std::vector<uint32_t>(20, 1) : std::vector<uint32_t>{a, b, b});
        if (!group) {
          held.clear();
          return group.error();
        }
        held.push_back(*std::move(group));
      }
    }
    return {};
  };
  FailEachCall(acquire, [&] { held.clear(); });
}

TEST_F(Faults, PortThatComesAndChanges) {
  const auto group = rig_.groups->Acquire({1, 2});
  ASSERT_TRUE(group);
  // Those that are added are more than the first flood group has room for.
  for (uint32_t number = 10; number < 70; ++number) ASSERT_TRUE(rig_.groups->SetPort(number, 1));
  const auto remove = [&] {
    for (uint32_t number = 70; number < 73; ++number) rig_.groups->ClearPort(number);
  };
  const auto add = [&]() -> Result<void> {
    for (const uint32_t number : {70U, 71U, 72U, 1U}) {  // the last is there already, also in a group
      auto set = rig_.groups->SetPort(number, 1);
      if (set) continue;
      remove();
      return set;
    }
    return {};
  };
  FailEachCall(add, remove);
  EXPECT_TRUE(rig_.groups->HasPort(1));
}

}  // namespace
}  // namespace sluice::xdp
