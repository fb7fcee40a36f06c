// SPDX-License-Identifier: Apache-2.0
// Objects of others: the example of bpf/CONTRACT.md, and what is said of those that do not meet the contract.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <string>
#include <utility>
#include <vector>

#include "sluice/flow_text.h"
#include "table_rig.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kHost = 0x0a000002;  // 10.0.0.2

ObjectOptions Example(const std::string& path = SLUICE_TEST_EXAMPLE) {
  ObjectOptions options;
  options.path = path;
  options.miss_policy = SLUICE_MISS_PASS;
  return options;
}

TEST(Contract, KeyIsWhatTheObjectSays) {
  TableRig rig(Example());
  EXPECT_EQ(rig.object->words(), 1);
  EXPECT_EQ(rig.object->key_layout().FieldNames(), (std::vector<std::string>{"eth_type", "ipv4_dst", "ipv4_proto"}));
  EXPECT_EQ(SupportedActions(rig.object->meta()), (std::vector<std::string>{"drop", "output"}));
  EXPECT_EQ(rig.table->limits().max_masks, 32);
  EXPECT_EQ(rig.table->limits().max_edits, 0);
}

TEST(Contract, FlowsThatFitForward) {
  TableRig rig(Example());
  rig.Put("eth_type(0x0800),ipv4(dst=10.0.0.2,proto=17)", "1", 5, 1);
  rig.Put("eth_type(0x0800),ipv4(dst=10.0.0.0/24)", "drop", 1, 2);
  EXPECT_EQ(rig.Run(UdpFrame(kHost)).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig.Run(UdpFrame(kHost)).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig.Run(UdpFrame(kHost + 1)).verdict, XDP_DROP);
  EXPECT_EQ(rig.Run(UdpFrame(0x0b000001)).verdict, XDP_PASS);
  Bytes arp = UdpFrame(kHost);
  arp[13] = 0x06;
  EXPECT_EQ(rig.Run(arp).verdict, XDP_PASS);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_output), 2);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_miss), 2);
  auto stats = rig.Stats();
  EXPECT_EQ(stats[1].packets, 2);
  EXPECT_EQ(stats[2].packets, 1);
}

TEST(Contract, FlowsThatDoNotFitAreNamed) {
  TableRig rig(Example());
  const auto match = [&](const std::string& text) { return CompileMatch(*ParseMatch(text), rig.object->key_layout()); };
  // Not in the key: what a record would take is more than the flow.
  const auto wider = match("eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2)");
  ASSERT_TRUE(wider && wider->wider);
  EXPECT_NE(wider->wider->detail.find("ipv4_src"), std::string::npos) << wider->wider->detail;
  // Packets of which the object knows nothing.
  for (const char* text : {"eth_type(0x0806)", "eth(dst=02:00:00:00:00:01)"}) {
    const auto refused = match(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().reason, "unsupported_field");
    EXPECT_NE(refused.error().detail.find("eth_type"), std::string::npos) << refused.error().detail;
  }
  for (const auto& [text, name] : {std::pair{"push_vlan(vid=1,pcp=0),1", "push_vlan"},
                                   {"set(ipv4(ttl=3)),1", "set(ipv4)"},
                                   {"1,2", "output"},
                                   {"flood", "flood"},
                                   {"userspace(pid=0,controller(reason=1))", "upcall"}}) {
    const auto compiled = CompileActions(*ParseActions(text), rig.object->meta(), *rig.groups);
    ASSERT_FALSE(compiled) << text;
    EXPECT_EQ(compiled.error().reason, "unsupported_action");
    EXPECT_NE(compiled.error().detail.find(name), std::string::npos) << compiled.error().detail;
    EXPECT_NE(compiled.error().detail.find("the object is without it"), std::string::npos) << compiled.error().detail;
  }
}

TEST(Contract, ProgramsThatAreTailCalledAreEntered) {
  TableRig rig(Example(SLUICE_TEST_OBJECTS "/tail_calls.bpf.o"));
  rig.Put("eth_type(0x0800),ipv4(dst=10.0.0.2)", "1");
  EXPECT_EQ(rig.Run(UdpFrame(kHost)).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig.Run(UdpFrame(kHost + 1)).verdict, XDP_PASS);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_executed), 2);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_output), 1);
}

struct Broken {
  int number;
  const char* name;
  std::vector<const char*> said;
};

class BrokenObject : public testing::TestWithParam<Broken> {};

TEST_P(BrokenObject, IsRefusedSayingWhatIsWrong) {
  const auto object =
      Object::Load(Example(SLUICE_TEST_OBJECTS "/broken_" + std::to_string(GetParam().number) + ".bpf.o"));
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "bad_object");
  for (const char* word : GetParam().said) {
    EXPECT_NE(object.error().detail.find(word), std::string::npos) << word << ": " << object.error().detail;
  }
}

INSTANTIATE_TEST_SUITE_P(Contract, BrokenObject,
                         testing::Values(Broken{1, "NoMap", {"no map stats"}},
                                         Broken{2, "WrongType", {"map ports", "array", "devmap"}},
                                         Broken{3, "WrongValue", {"map masks", "4 bytes", "not 8"}},
                                         Broken{4, "TooFew", {"map mask_lists", "2 entries", "16"}},
                                         Broken{5, "NotMapped", {"map masks", "BPF_F_MMAPABLE"}},
                                         Broken{6, "NoProgram", {"no program sluice_xdp"}},
                                         Broken{7, "ActionWithoutMap", {"SLUICE_CAN_FLOOD", "no map groups"}},
                                         Broken{8, "UnknownAction", {"SLUICE_CAN_FLY"}}, Broken{9, "NoAbi", {"abi"}},
                                         Broken{10, "ShortField", {"eth_src", "6 bytes"}},
                                         Broken{11, "TailCallWithoutProgram", {"no program not_there", "tail_calls"}},
                                         Broken{12, "OddKey", {"12 bytes", "multiple of 8"}}),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(Contract, WithoutBtfIsRefused) {
  const auto object = Object::Load(Example(SLUICE_TEST_OBJECTS "/no_btf.bpf.o"));
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "bad_object");
  EXPECT_NE(object.error().detail.find("BTF"), std::string::npos) << object.error().detail;
}

}  // namespace
}  // namespace sluice::xdp
