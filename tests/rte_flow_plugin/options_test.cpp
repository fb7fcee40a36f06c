// SPDX-License-Identifier: Apache-2.0
// What users can say: options of ports, and DPDK's arguments.
#include <gtest/gtest.h>

#include <algorithm>

#include "eal.h"
#include "port_settings.h"

namespace sluice::rteflow {
namespace {

std::string Refused(const std::map<std::string, std::string>& options) {
  const auto parsed = PortSettings::Parse(options, PortSettings{});
  return parsed ? "taken" : parsed.error().reason + ": " + parsed.error().detail;
}

TEST(PortOptions, AreRead) {
  const auto parsed = PortSettings::Parse({{"devargs", "net_x0,iface=a"},
                                           {"ethdev", "net_x0"},
                                           {"queues", "4"},
                                           {"miss", "drop"},
                                           {"upcall_rate", "0"},
                                           {"upcall_match", "no"},
                                           {"offload", "partial"},
                                           {"rss", "no"},
                                           {"port_item", "represented_port"},
                                           {"promiscuous", "no"}},
                                          PortSettings{});
  ASSERT_TRUE(parsed) << parsed.error().detail;
  EXPECT_EQ(parsed->devargs, "net_x0,iface=a");
  EXPECT_EQ(parsed->ethdev, "net_x0");
  EXPECT_EQ(parsed->queues, 4);
  EXPECT_EQ(parsed->miss, MissPolicy::kDrop);
  EXPECT_EQ(parsed->upcall_rate, 0U);
  EXPECT_FALSE(parsed->upcall_match);
  EXPECT_EQ(parsed->offload, PortSettings::Offload::kPartial);
  EXPECT_EQ(parsed->rss, PortSettings::Rss::kNo);
  EXPECT_EQ(parsed->port_item, PortItem::kRepresentedPort);
  EXPECT_FALSE(parsed->promiscuous);
}

TEST(PortOptions, WhatIsNotSaidIsAsThePluginWasTold) {
  const auto defaults = PortSettings::Parse({{"miss", "drop"}, {"queues", "2"}}, PortSettings{});
  ASSERT_TRUE(defaults);
  const auto parsed = PortSettings::Parse({{"queues", "3"}}, *defaults);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->miss, MissPolicy::kDrop);
  EXPECT_EQ(parsed->queues, 3);
  EXPECT_TRUE(parsed->promiscuous);
}

TEST(PortOptions, WrongOnesAreNamed) {
  EXPECT_EQ(Refused({{"queues", "0"}}), "bad_option: option 'queues' is '0'; it takes a number from 1 to 64");
  EXPECT_EQ(Refused({{"miss", "pass"}}), "bad_option: option 'miss' is 'pass'; it takes one of: upcall, drop");
  EXPECT_EQ(Refused({{"offload", "some"}}),
            "bad_option: option 'offload' is 'some'; it takes one of: full, partial, none");
  EXPECT_TRUE(Refused({{"devarg", "x"}}).starts_with("unknown_option: there is no option 'devarg'; there are: "));
}

bool Has(const std::vector<std::string>& arguments, const std::string& word) {
  return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
}

TEST(EalArguments, OfTheUserAreTakenAndMadeThisProcesss) {
  const auto arguments = EalArguments("  --no-huge  -m 64\t-a 0000:03:00.0 ");
  const std::vector<std::string> given = {"--no-huge", "-m", "64", "-a", "0000:03:00.0"};
  ASSERT_GE(arguments.size(), given.size());
  EXPECT_TRUE(std::equal(given.begin(), given.end(), arguments.begin()));
  EXPECT_TRUE(Has(arguments, "--file-prefix"));
  EXPECT_TRUE(Has(arguments, "--lcores"));
  const auto all = EalArguments("-l 2 --file-prefix=mine");
  EXPECT_EQ(all, (std::vector<std::string>{"-l", "2", "--file-prefix=mine"}));
}

TEST(EalArguments, ByDefaultTakeNoDeviceThatNobodyNamed) {
  const auto arguments = EalArguments("");
  EXPECT_TRUE(Has(arguments, "0000:00:00.0"));
  EXPECT_TRUE(Has(arguments, "--in-memory") || Has(arguments, "--no-huge"));
}

}  // namespace
}  // namespace sluice::rteflow
