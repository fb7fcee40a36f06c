// SPDX-License-Identifier: Apache-2.0
#include "sluice/field.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice {
namespace {

TEST(Field, TableIsConsistent) {
  size_t offset = 0;
  std::set<std::string_view> names;
  for (size_t i = 0; i < kFieldCount; ++i) {
    const FieldInfo& info = kFields[i];
    EXPECT_EQ(static_cast<size_t>(info.id), i);
    EXPECT_EQ(info.offset, offset) << info.name;
    EXPECT_EQ(info.size, (info.bits + 7) / 8) << info.name;
    EXPECT_TRUE(names.insert(info.name).second) << info.name << " is declared twice";
    offset += info.size;
  }
  EXPECT_EQ(offset, kFlowKeySize);
}

TEST(Field, IsFoundByItsName) {
  for (const FieldInfo& info : kFields) EXPECT_EQ(FindField(info.name), &info);
  EXPECT_EQ(FindField("ipv5_src"), nullptr);
  EXPECT_EQ(FindField(""), nullptr);
}

// Numbers travel in packed matches: what is published stays.
TEST(Field, NumbersAreForever) {
  EXPECT_EQ(static_cast<int>(Field::recirc_id), 0);
  EXPECT_EQ(static_cast<int>(Field::tun_flags), 13);
  EXPECT_EQ(static_cast<int>(Field::in_port), 18);
  EXPECT_EQ(static_cast<int>(Field::eth_type), 21);
  EXPECT_EQ(static_cast<int>(Field::ipv4_dst), 27);
  EXPECT_EQ(static_cast<int>(Field::tcp_dst), 40);
  EXPECT_EQ(static_cast<int>(Field::nd_tll), 57);
  EXPECT_EQ(kFieldCount, 58u);
}

TEST(Field, NeedsPointForward) {
  EXPECT_EQ(NeedOf(Field::in_port).what, Need::nothing);
  EXPECT_EQ(NeedOf(Field::tcp_flags).what, Need::ip_proto);
  EXPECT_TRUE(NeedOf(Field::nd_sll).Takes(135));
  EXPECT_TRUE(NeedOf(Field::nd_sll).Takes(136));
  EXPECT_FALSE(NeedOf(Field::nd_sll).Takes(134));
  // Everything behind the tags needs something in front of it.
  for (const FieldInfo& info : kFields) {
    if (info.id <= Field::eth_type) continue;
    EXPECT_NE(NeedOf(info.id).what, Need::nothing) << info.name;
  }
}

}  // namespace
}  // namespace sluice
