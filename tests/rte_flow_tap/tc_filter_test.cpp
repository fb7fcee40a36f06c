// SPDX-License-Identifier: Apache-2.0
#include "tap/tc_filter.h"

#include <gtest/gtest.h>

#include "filter_message.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

TEST(TcFilter, ReadsWhatFlowerCompares) {
  FilterMessage message(ETH_P_ALL);
  message.Bytes(TCA_FLOWER_KEY_ETH_DST, {2, 0, 0, 0, 0, 9})
      .Bytes(TCA_FLOWER_KEY_ETH_DST_MASK, {0xff, 0xff, 0xff, 0, 0, 0})
      .Big16(TCA_FLOWER_KEY_ETH_TYPE, ETH_P_IP)
      .Number8(TCA_FLOWER_KEY_IP_PROTO, 17)
      .Ipv4(TCA_FLOWER_KEY_IPV4_DST, "10.0.0.9")
      .Ipv4(TCA_FLOWER_KEY_IPV4_DST_MASK, "255.255.255.0")
      .Big16(TCA_FLOWER_KEY_UDP_DST, 53)
      .Number8(TCA_FLOWER_FLAGS, 0)
      .Drop();
  const auto filter = ParseTcFilter(message.Finish());
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->interface, 7U);
  EXPECT_EQ(filter->handle, 0x1234U);
  EXPECT_EQ(filter->priority, 20);
  EXPECT_EQ(filter->protocol, ETH_P_ALL);
  EXPECT_EQ(filter->eth_type, ETH_P_IP);
  EXPECT_FALSE(filter->vlan_id);
  EXPECT_TRUE(filter->drops);
  EXPECT_EQ(filter->beyond, "");
  EXPECT_EQ(FormatMatch(filter->keys),
            "eth(dst=02:00:00:00:00:00/ff:ff:ff:00:00:00),ipv4(dst=10.0.0.0/255.255.255.0,proto=17),udp(dst=53)");
}

TEST(TcFilter, ReadsTheTag) {
  FilterMessage message(ETH_P_8021Q);
  message.Host16(TCA_FLOWER_KEY_VLAN_ID, 100)
      .Number8(TCA_FLOWER_KEY_VLAN_PRIO, 5)
      .Big16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, ETH_P_IPV6)
      .Big16(TCA_FLOWER_KEY_ETH_TYPE, ETH_P_IPV6)
      .Number8(TCA_FLOWER_KEY_IP_PROTO, 6);
  const auto filter = ParseTcFilter(message.Finish());
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->protocol, ETH_P_8021Q);
  EXPECT_EQ(filter->vlan_id, 100);
  EXPECT_EQ(filter->vlan_pcp, 5);
  EXPECT_EQ(filter->vlan_eth_type, ETH_P_IPV6);
  EXPECT_FALSE(filter->drops);
  EXPECT_EQ(FormatMatch(filter->keys), "ipv6(proto=6)");
}

TEST(TcFilter, NamesWhatItDoesNotUnderstand) {
  FilterMessage unknown(ETH_P_ALL);
  unknown.Number8(TCA_FLOWER_KEY_IP_TOS, 3).Drop();
  auto filter = ParseTcFilter(unknown.Finish());
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->beyond, "flower attribute " + std::to_string(TCA_FLOWER_KEY_IP_TOS));

  FilterMessage kind(ETH_P_ALL, "bpf");
  filter = ParseTcFilter(kind.Finish());
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->beyond, "a filter of kind bpf");
}

TEST(TcFilter, DropsWithOneActionOnly) {
  FilterMessage two(ETH_P_ALL);
  two.Actions({TC_ACT_PIPE, TC_ACT_SHOT});
  EXPECT_FALSE(ParseTcFilter(two.Finish())->drops);
  FilterMessage goes_on(ETH_P_ALL);
  goes_on.Actions({TC_ACT_UNSPEC});
  EXPECT_FALSE(ParseTcFilter(goes_on.Finish())->drops);
}

TEST(TcFilter, TakesNoOtherMessage) {
  FilterMessage qdisc(ETH_P_ALL, "multiq", RTM_NEWQDISC);
  EXPECT_FALSE(ParseTcFilter(qdisc.Finish()));
  FilterMessage cut(ETH_P_ALL);
  nlmsghdr& message = cut.Finish();
  message.nlmsg_len = NLMSG_LENGTH(sizeof(tcmsg)) - 1;
  EXPECT_FALSE(ParseTcFilter(message));
}

TEST(TcFilter, TakesCutAttributesForNothing) {
  FilterMessage message(ETH_P_ALL);
  message.Bytes(TCA_FLOWER_KEY_ETH_DST, {2, 0}).Bytes(TCA_FLOWER_KEY_VLAN_ID, {}).Bytes(TCA_FLOWER_ACT, {1, 2, 3});
  const auto filter = ParseTcFilter(message.Finish());
  ASSERT_TRUE(filter);
  EXPECT_FALSE(filter->keys.Has(Field::eth_dst));
  EXPECT_EQ(filter->vlan_id, 0);
  EXPECT_FALSE(filter->drops);
}

}  // namespace
}  // namespace sluice::rteflow
