// SPDX-License-Identifier: Apache-2.0
// What the kernel tells of a TC filter, made by hand.
#pragma once

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_gact.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace sluice::rteflow {

class FilterMessage {
 public:
  explicit FilterMessage(uint16_t protocol, const char* kind = "flower", uint16_t type = RTM_NEWTFILTER) {
    header_ = mnl_nlmsg_put_header(buffer_.data());
    header_->nlmsg_type = type;
    auto& tc = *static_cast<tcmsg*>(mnl_nlmsg_put_extra_header(header_, sizeof(tcmsg)));
    tc.tcm_ifindex = 7;
    tc.tcm_handle = 0x1234;
    tc.tcm_info = TC_H_MAKE(20U << 16, htons(protocol));
    mnl_attr_put_strz(header_, TCA_KIND, kind);
    options_ = mnl_attr_nest_start(header_, TCA_OPTIONS);
  }

  FilterMessage& Bytes(uint16_t type, std::initializer_list<uint8_t> bytes) {
    mnl_attr_put(header_, type, bytes.size(), bytes.begin());
    return *this;
  }
  FilterMessage& Number8(uint16_t type, uint8_t number) {
    mnl_attr_put_u8(header_, type, number);
    return *this;
  }
  FilterMessage& Big16(uint16_t type, uint16_t number) {
    mnl_attr_put_u16(header_, type, htons(number));
    return *this;
  }
  FilterMessage& Host16(uint16_t type, uint16_t number) {
    mnl_attr_put_u16(header_, type, number);
    return *this;
  }
  FilterMessage& Ipv4(uint16_t type, const char* address) {
    mnl_attr_put_u32(header_, type, inet_addr(address));
    return *this;
  }
  FilterMessage& Actions(std::initializer_list<int> verdicts) {
    nlattr* all = mnl_attr_nest_start(header_, TCA_FLOWER_ACT);
    uint16_t number = 0;
    for (const int verdict : verdicts) {
      nlattr* one = mnl_attr_nest_start(header_, ++number);
      mnl_attr_put_strz(header_, TCA_ACT_KIND, "gact");
      nlattr* options = mnl_attr_nest_start(header_, TCA_ACT_OPTIONS);
      tc_gact parameters{};
      parameters.action = verdict;
      mnl_attr_put(header_, TCA_GACT_PARMS, sizeof(parameters), &parameters);
      mnl_attr_nest_end(header_, options);
      mnl_attr_nest_end(header_, one);
    }
    mnl_attr_nest_end(header_, all);
    return *this;
  }
  FilterMessage& Drop() { return Actions({TC_ACT_SHOT}); }

  nlmsghdr& Finish() {
    mnl_attr_nest_end(header_, options_);
    return *header_;
  }

 private:
  std::vector<char> buffer_ = std::vector<char>(4096);
  nlmsghdr* header_;
  nlattr* options_;
};

}  // namespace sluice::rteflow
