// SPDX-License-Identifier: Apache-2.0
// net_sluice devices made, spoken to and taken away, and flow rules put together.
#pragma once

#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reference/packet.h"

namespace sluice::netsluice {

using reference::Bytes;

// A packet as the application gets it.
struct Received {
  Bytes frame;
  std::optional<uint32_t> mark;
  uint16_t queue = 0;
  bool flagged = false;
  uint16_t port = 0;
};

struct PortOptions {
  uint16_t rx_queues = 1;
  uint16_t tx_queues = 1;
  bool rss = false;
  bool promiscuous = true;
  bool start = true;
};

// A device, from rte_dev_probe to rte_eal_hotplug_remove.
class Port {
 public:
  // Throws std::runtime_error where it cannot be made.
  Port(const std::string& name, const std::string& devargs, const PortOptions& options = {});
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  [[nodiscard]] uint16_t id() const { return id_; }
  void Start() const;
  void Stop() const;

  // False: it was not taken.
  bool Send(const Bytes& frame, uint16_t queue = 0) const;  // NOLINT(modernize-use-nodiscard)
  // What is there now, of all queues.
  [[nodiscard]] std::vector<Received> Receive() const;
  // Polls until there are `count` packets, or 10 s are over.
  [[nodiscard]] std::vector<Received> Await(size_t count) const;

  // Whether the link is so within 10 s.
  [[nodiscard]] bool AwaitLink(bool up) const;

  [[nodiscard]] std::map<std::string, uint64_t> Xstats() const;
  [[nodiscard]] rte_eth_stats Stats() const;

  // Packets that are with the application or under way in rings.
  static unsigned PacketsInUse();

 private:
  const std::string name_;
  const PortOptions options_;
  uint16_t id_ = 0;
};

// A device `nic` and, at the other end of its wire, a plain one, `peer`.
struct Wired {
  explicit Wired(const std::string& devargs = "", const PortOptions& options = {})
      : peer("net_sluice_peer", "ring=wire"), nic("net_sluice_nic", "ring=wire," + devargs, options) {}

  // What the nic's application gets when `frame` comes by the wire.
  [[nodiscard]] std::vector<Received> Through(const Bytes& frame) const {
    EXPECT_TRUE(peer.Send(frame));
    return nic.Receive();
  }

  Port peer;
  Port nic;
};

// A rule in the making. Copies what it is given.
class RuleSpec {
 public:
  RuleSpec() { attributes_.ingress = 1; }
  RuleSpec(RuleSpec&&) = default;

  RuleSpec& Priority(uint32_t priority) {
    attributes_.priority = priority;
    return *this;
  }
  RuleSpec& Transfer() {
    attributes_.ingress = 0;
    attributes_.transfer = 1;
    return *this;
  }
  rte_flow_attr& attributes() { return attributes_; }

  RuleSpec& Item(rte_flow_item_type type);
  template <typename T>
  RuleSpec& Item(rte_flow_item_type type, const T& spec) {
    items_.push_back({type, Keep(spec), nullptr, nullptr});
    return *this;
  }
  template <typename T>
  RuleSpec& Item(rte_flow_item_type type, const T& spec, const T& mask) {
    items_.push_back({type, Keep(spec), nullptr, Keep(mask)});
    return *this;
  }
  // As it is, with the pointers in it.
  RuleSpec& RawItem(const rte_flow_item& item) {
    items_.push_back(item);
    return *this;
  }
  RuleSpec& Action(rte_flow_action_type type) {
    actions_.push_back({type, nullptr});
    return *this;
  }
  template <typename T>
  RuleSpec& Action(rte_flow_action_type type, const T& conf) {
    actions_.push_back({type, Keep(conf)});
    return *this;
  }

  // Shorthands.
  RuleSpec& Eth() { return Item(RTE_FLOW_ITEM_TYPE_ETH); }
  RuleSpec& EthType(uint16_t type);
  RuleSpec& Vid(uint16_t vid);  // a vlan item with this vid
  RuleSpec& Ipv4() { return Item(RTE_FLOW_ITEM_TYPE_IPV4); }
  RuleSpec& Ipv6() { return Item(RTE_FLOW_ITEM_TYPE_IPV6); }
  RuleSpec& Tcp() { return Item(RTE_FLOW_ITEM_TYPE_TCP); }
  RuleSpec& Udp() { return Item(RTE_FLOW_ITEM_TYPE_UDP); }
  RuleSpec& UdpDst(uint16_t port);
  RuleSpec& Mark(uint32_t mark) { return Action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{mark}); }
  RuleSpec& Queue(uint16_t queue) { return Action(RTE_FLOW_ACTION_TYPE_QUEUE, rte_flow_action_queue{queue}); }
  RuleSpec& Count() { return Action(RTE_FLOW_ACTION_TYPE_COUNT, rte_flow_action_count{}); }
  RuleSpec& Drop() { return Action(RTE_FLOW_ACTION_TYPE_DROP); }
  RuleSpec& OutOf(const Port& port) {
    return Action(RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, rte_flow_action_ethdev{port.id()});
  }

  // nullptr: refused; error() says why.
  rte_flow* Create(const Port& port);
  int Validate(const Port& port);
  [[nodiscard]] const rte_flow_error& error() const { return error_; }
  [[nodiscard]] std::string message() const { return error_.message == nullptr ? "" : error_.message; }
  [[nodiscard]] const std::vector<rte_flow_item>& items() const { return items_; }
  [[nodiscard]] const std::vector<rte_flow_action>& actions() const { return actions_; }

 private:
  template <typename T>
  const void* Keep(const T& value) {
    kept_.emplace_back(sizeof(T));
    std::memcpy(kept_.back().data(), &value, sizeof(T));
    return kept_.back().data();
  }
  void End();

  rte_flow_attr attributes_{};
  std::vector<rte_flow_item> items_;
  std::vector<rte_flow_action> actions_;
  std::deque<std::vector<std::byte>> kept_;
  rte_flow_error error_{};
};

struct Counts {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  bool operator==(const Counts&) const = default;
};
// nullopt: refused, rte_errno says why.
std::optional<Counts> Query(const Port& port, rte_flow* flow, bool reset = false);
void Destroy(const Port& port, rte_flow* flow);

reference::PacketSpec NamedSpec(const std::string& name);
inline Bytes Named(const std::string& name) { return reference::Build(NamedSpec(name)); }

}  // namespace sluice::netsluice
