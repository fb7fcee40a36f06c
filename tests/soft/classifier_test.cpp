// SPDX-License-Identifier: Apache-2.0
#include "soft/classifier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "execution.h"
#include "reference/rng.h"
#include "sluice/flow_text.h"

namespace sluice::soft {
namespace {

using reference::Build;
using reference::Rng;

struct Flow {
  Match match;
  uint32_t priority = 0;
  int id = 0;
};

Flow Of(const std::string& text, uint32_t priority = 0) {
  const auto match = ParseMatch(text);
  if (!match) throw std::invalid_argument(Explain(match.error(), text));
  return {*match, priority};
}

Parsed Udp4() { return Parse(Build(Named("udp4")), kInPort); }

class ClassifierTest : public ::testing::Test {
 protected:
  void Insert(Flow& flow) { classifier_.Insert(flow.match, flow.priority, flow); }
  bool Remove(const Flow& flow) { return classifier_.Remove(flow.match, flow.priority, flow); }

  Classifier<Flow> classifier_;
};

TEST_F(ClassifierTest, FindsNothingWhereThereIsNothing) {
  EXPECT_EQ(classifier_.Lookup(Udp4()), nullptr);
  Flow flow = Of("in_port(3)");
  EXPECT_FALSE(Remove(flow));
  Insert(flow);
  Flow same = flow;
  EXPECT_FALSE(Remove(same)) << "another's";
  EXPECT_FALSE(classifier_.Remove(flow.match, 1, flow)) << "another priority";
  EXPECT_TRUE(Remove(flow));
  EXPECT_EQ(classifier_.Lookup(Udp4()), nullptr);
  EXPECT_EQ(classifier_.size(), 0u);
  EXPECT_EQ(classifier_.masks(), 0u);
}

TEST_F(ClassifierTest, TheHigherPriorityWinsUnderWhicheverMask) {
  Flow all{{}, 5};
  Flow port = Of("in_port(3)", 4);
  Flow type = Of("in_port(3),eth_type(0x0800)", 6);
  for (Flow* flow : {&all, &port, &type}) Insert(*flow);
  EXPECT_EQ(classifier_.Lookup(Udp4()), &type);
  EXPECT_EQ(classifier_.Lookup(Parse(Build(Named("udp6")), kInPort)), &all);
  EXPECT_TRUE(Remove(type));
  EXPECT_EQ(classifier_.Lookup(Udp4()), &all);
  EXPECT_TRUE(Remove(all));
  EXPECT_EQ(classifier_.Lookup(Udp4()), &port);
  EXPECT_EQ(classifier_.Lookup(Parse(Build(Named("udp4")), kInPort + 1)), nullptr);
}

TEST_F(ClassifierTest, TheNewestOfEqualsWinsUntilItIsRemoved) {
  Flow one = Of("in_port(3)", 1);
  Flow two = one;
  Flow higher = Of("in_port(3)", 2);
  Insert(one);
  Insert(two);
  EXPECT_EQ(classifier_.Lookup(Udp4()), &two);
  Insert(higher);
  EXPECT_EQ(classifier_.Lookup(Udp4()), &higher);
  EXPECT_TRUE(Remove(higher));
  EXPECT_TRUE(Remove(two));
  EXPECT_EQ(classifier_.Lookup(Udp4()), &one);
  Insert(two);
  EXPECT_TRUE(Remove(one));
  EXPECT_EQ(classifier_.Lookup(Udp4()), &two);
  EXPECT_EQ(classifier_.size(), 1u);
}

// What a malformed packet says before the damage does not count.
TEST_F(ClassifierTest, NoFlowTakesAMalformedPacket) {
  Flow all{};
  Insert(all);
  Bytes packet = Build(Named("udp4"));
  packet.resize(20);
  EXPECT_EQ(classifier_.Lookup(Parse(packet, kInPort)), nullptr);
}

TEST_F(ClassifierTest, MissingFieldsCountAsZero) {
  Flow no_tag;
  no_tag.match.SetMasked(Field::vlan_tci, 0, 0x1000);
  Flow tunnel;
  tunnel.match.SetExact(Field::tun_id, 7);
  tunnel.priority = 9;
  Insert(no_tag);
  Insert(tunnel);
  EXPECT_EQ(classifier_.Lookup(Udp4()), &no_tag);
  reference::PacketSpec tagged = Named("udp4");
  tagged.tags = {{0x8100, 5}};
  EXPECT_EQ(classifier_.Lookup(Parse(Build(tagged), kInPort)), nullptr);
}

// A field at each end of the key and in between, alone: the words that cover a mask leave none out and add none.
TEST_F(ClassifierTest, SeesEachBitOfEachField) {
  for (const FieldInfo& info : kFields) {
    for (size_t bit = 8 * size_t{info.size} - info.bits; bit < 8 * size_t{info.size}; ++bit) {
      std::vector<uint8_t> ones(info.size, 0);
      ones[bit / 8] = static_cast<uint8_t>(0x80 >> bit % 8);
      Flow flow;
      flow.match.Set(info.id, ones, ones);
      Insert(flow);
      Parsed packet;
      EXPECT_EQ(classifier_.Lookup(packet), nullptr) << info.name << " bit " << bit;
      packet.key[info.offset + bit / 8] = ones[bit / 8];
      EXPECT_EQ(classifier_.Lookup(packet), &flow) << info.name << " bit " << bit;
      packet.key.fill(0xff);
      EXPECT_EQ(classifier_.Lookup(packet), &flow) << info.name << " bit " << bit;
      packet.key[info.offset + bit / 8] ^= ones[bit / 8];
      EXPECT_EQ(classifier_.Lookup(packet), nullptr) << info.name << " bit " << bit;
      ASSERT_TRUE(Remove(flow));
    }
  }
}

// Some of what a packet says, some bits of that, and now and then a value that it does not have.
Match PartOf(const Match& whole, Rng& rng) {
  Match match;
  for (const FieldInfo& info : kFields) {
    if (!rng.OneIn(6)) continue;
    std::vector<uint8_t> mask(info.size, 0xff);
    if (rng.OneIn(3)) std::ranges::generate(mask, [&] { return static_cast<uint8_t>(rng.Bits()); });
    const auto value = whole.Value(info.id);
    std::vector<uint8_t> bytes(value.begin(), value.end());
    if (rng.OneIn(20)) bytes.back() ^= 1;
    match.Set(info.id, bytes, mask);
  }
  return match;
}

// The flows that may win: of the highest priority among those that match, none behind a newer one of the same match.
std::vector<const Flow*> Candidates(const std::vector<std::unique_ptr<Flow>>& flows, const Parsed& packet) {
  std::vector<const Flow*> best;
  for (const auto& flow : flows) {
    if (!Matches(flow->match, packet)) continue;
    if (!best.empty() && flow->priority < best.front()->priority) continue;
    if (!best.empty() && flow->priority > best.front()->priority) best.clear();
    std::erase_if(best, [&](const Flow* older) { return older->match == flow->match; });
    best.push_back(flow.get());
  }
  return best;
}

TEST_F(ClassifierTest, AgreesWithAScanOverAllFlowsWhileTheyChange) {
  const uint64_t seed = reference::SeedFromEnvironment();
  SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed));
  Rng rng(seed);
  std::vector<std::unique_ptr<Flow>> flows;  // the newest is the last
  std::vector<Match> used;
  size_t found = 0;
  for (int step = 0; step < 5000; ++step) {
    const Bytes frame = Build(reference::RandomPacket(rng));
    const Parsed packet =
        Parse(rng.OneIn(10) ? reference::Damage(frame, rng) : frame, 1 + static_cast<uint32_t>(rng.Below(3)));
    if (flows.size() < 200 && !rng.OneIn(3)) {
      const Match match = used.empty() || !rng.OneIn(3) ? PartOf(ToMatch(packet), rng) : rng.Pick(used);
      used.push_back(match);
      flows.push_back(std::make_unique<Flow>(Flow{match, static_cast<uint32_t>(rng.Below(5)), step}));
      Insert(*flows.back());
    } else if (!flows.empty()) {
      const auto gone = flows.begin() + static_cast<ptrdiff_t>(rng.Below(flows.size()));
      ASSERT_TRUE(Remove(**gone));
      flows.erase(gone);
    }
    ASSERT_EQ(classifier_.size(), flows.size());
    const Flow* flow = classifier_.Lookup(packet);
    const auto candidates = Candidates(flows, packet);
    if (candidates.empty()) {
      ASSERT_EQ(flow, nullptr) << "step " << step;
    } else {
      ASSERT_NE(flow, nullptr) << "step " << step;
      ASSERT_TRUE(std::ranges::count(candidates, flow) == 1) << "step " << step << ", flow of step " << flow->id;
      ++found;
    }
  }
  EXPECT_GT(found, 1000u);
}

}  // namespace
}  // namespace sluice::soft
