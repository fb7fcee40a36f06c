// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <dlfcn.h>
#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

namespace sluice::netsluice {
namespace {

constexpr uint16_t kDescriptors = 512;
constexpr uint16_t kDataRoom = 2048 + RTE_PKTMBUF_HEADROOM;

rte_mempool* g_pool = nullptr;

// EAL starts once per process, and pins the thread that starts it.
class Eal : public ::testing::Environment {
 public:
  void SetUp() override {
    cpu_set_t before;
    ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before)) ++cpu;
    std::vector<std::string> words = {"net_sluice_test",
                                      "--no-huge",
                                      "--no-shconf",
                                      "--no-pci",
                                      "--no-telemetry",
                                      "--file-prefix",
                                      "slt" + std::to_string(getpid()),
                                      "-m",
                                      "256",
                                      "--lcores",
                                      "0@" + std::to_string(cpu),
                                      "--log-level",
                                      "lib.eal:error"};
    std::vector<char*> args;
    for (std::string& word : words) args.push_back(word.data());
    ASSERT_GE(rte_eal_init(static_cast<int>(args.size()), args.data()), 0) << rte_strerror(rte_errno);
    ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
    ASSERT_NE(dlopen(SLUICE_PMD, RTLD_NOW), nullptr) << dlerror();
    g_pool = rte_pktmbuf_pool_create("packets", 8191, 0, 0, kDataRoom, 0);
    ASSERT_NE(g_pool, nullptr) << rte_strerror(rte_errno);
  }
};

[[maybe_unused]] ::testing::Environment* const g_eal = ::testing::AddGlobalTestEnvironment(new Eal);

void Must(int result, const std::string& what) {
  if (result != 0) throw std::runtime_error(what + ": " + rte_strerror(-result));
}

}  // namespace

Port::Port(const std::string& name, const std::string& devargs, const PortOptions& options)
    : name_(name), options_(options) {
  Must(rte_dev_probe((name + "," + devargs).c_str()), name + "," + devargs);
  Must(rte_eth_dev_get_port_by_name(name.c_str(), &id_), name);
  rte_eth_conf conf{};
  conf.intr_conf.lsc = 1;
  if (options.rss) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IP;
  }
  Must(rte_eth_dev_configure(id_, options.rx_queues, options.tx_queues, &conf), "configure");
  for (uint16_t queue = 0; queue < options.rx_queues; ++queue) {
    Must(rte_eth_rx_queue_setup(id_, queue, kDescriptors, SOCKET_ID_ANY, nullptr, g_pool), "rx queue");
  }
  for (uint16_t queue = 0; queue < options.tx_queues; ++queue) {
    Must(rte_eth_tx_queue_setup(id_, queue, kDescriptors, SOCKET_ID_ANY, nullptr), "tx queue");
  }
  if (options.promiscuous) Must(rte_eth_promiscuous_enable(id_), "promiscuous");
  if (options.start) Start();
}

Port::~Port() {
  if (options_.start) Stop();
  rte_eal_hotplug_remove("vdev", name_.c_str());
}

void Port::Start() const { Must(rte_eth_dev_start(id_), "start"); }
void Port::Stop() const { rte_eth_dev_stop(id_); }

bool Port::Send(const Bytes& frame, uint16_t queue) const {
  rte_mbuf* packet = rte_pktmbuf_alloc(g_pool);
  if (packet == nullptr) throw std::runtime_error("no packets left");
  char* data = rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size()));
  if (data == nullptr) throw std::runtime_error("the frame is too long for the test");
  std::memcpy(data, frame.data(), frame.size());
  if (rte_eth_tx_burst(id_, queue, &packet, 1) == 1) return true;
  rte_pktmbuf_free(packet);
  return false;
}

std::vector<Received> Port::Receive() const {
  std::vector<Received> all;
  for (uint16_t queue = 0; queue < options_.rx_queues; ++queue) {
    rte_mbuf* packets[32];
    while (const uint16_t count = rte_eth_rx_burst(id_, queue, packets, 32)) {
      for (uint16_t i = 0; i < count; ++i) {
        const rte_mbuf& packet = *packets[i];
        const auto* data = rte_pktmbuf_mtod(&packet, const uint8_t*);
        Received received{Bytes(data, data + packet.data_len), std::nullopt, queue};
        if ((packet.ol_flags & RTE_MBUF_F_RX_FDIR_ID) != 0) received.mark = packet.hash.fdir.hi;
        received.flagged = (packet.ol_flags & RTE_MBUF_F_RX_FDIR) != 0;
        received.port = packet.port;
        EXPECT_EQ(packet.pkt_len, packet.data_len);
        EXPECT_EQ(packet.nb_segs, 1);
        all.push_back(std::move(received));
      }
      rte_pktmbuf_free_bulk(packets, count);
    }
  }
  return all;
}

std::vector<Received> Port::Await(size_t count) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::vector<Received> all;
  while (all.size() < count && std::chrono::steady_clock::now() < deadline) {
    for (Received& received : Receive()) all.push_back(std::move(received));
    sched_yield();
  }
  return all;
}

bool Port::AwaitLink(bool up) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  rte_eth_link link{};
  do {
    EXPECT_EQ(rte_eth_link_get_nowait(id_, &link), 0);
    if ((link.link_status == RTE_ETH_LINK_UP) == up) return true;
    sched_yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

std::map<std::string, uint64_t> Port::Xstats() const {
  const int count = rte_eth_xstats_get_names(id_, nullptr, 0);
  std::vector<rte_eth_xstat_name> names(static_cast<size_t>(count));
  std::vector<rte_eth_xstat> values(static_cast<size_t>(count));
  EXPECT_EQ(rte_eth_xstats_get_names(id_, names.data(), static_cast<unsigned>(count)), count);
  EXPECT_EQ(rte_eth_xstats_get(id_, values.data(), static_cast<unsigned>(count)), count);
  std::map<std::string, uint64_t> xstats;
  for (const rte_eth_xstat& value : values) xstats[names[value.id].name] = value.value;
  return xstats;
}

rte_eth_stats Port::Stats() const {
  rte_eth_stats stats{};
  EXPECT_EQ(rte_eth_stats_get(id_, &stats), 0);
  return stats;
}

unsigned Port::PacketsInUse() { return rte_mempool_in_use_count(g_pool); }

RuleSpec& RuleSpec::Item(rte_flow_item_type type) {
  items_.push_back({type, nullptr, nullptr, nullptr});
  return *this;
}

RuleSpec& RuleSpec::EthType(uint16_t type) {
  rte_flow_item_eth spec{};
  rte_flow_item_eth mask{};
  spec.type = rte_cpu_to_be_16(type);
  mask.type = 0xffff;
  return Item(RTE_FLOW_ITEM_TYPE_ETH, spec, mask);
}

RuleSpec& RuleSpec::Vid(uint16_t vid) {
  rte_flow_item_vlan spec{};
  rte_flow_item_vlan mask{};
  spec.tci = rte_cpu_to_be_16(vid);
  mask.tci = RTE_BE16(0x0fff);
  return Item(RTE_FLOW_ITEM_TYPE_VLAN, spec, mask);
}

RuleSpec& RuleSpec::UdpDst(uint16_t port) {
  rte_flow_item_udp spec{};
  rte_flow_item_udp mask{};
  spec.hdr.dst_port = rte_cpu_to_be_16(port);
  mask.hdr.dst_port = 0xffff;
  return Item(RTE_FLOW_ITEM_TYPE_UDP, spec, mask);
}

void RuleSpec::End() {
  if (items_.empty() || items_.back().type != RTE_FLOW_ITEM_TYPE_END) {
    items_.push_back({RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr});
  }
  if (actions_.empty() || actions_.back().type != RTE_FLOW_ACTION_TYPE_END) {
    actions_.push_back({RTE_FLOW_ACTION_TYPE_END, nullptr});
  }
}

rte_flow* RuleSpec::Create(const Port& port) {
  End();
  error_ = {};
  return rte_flow_create(port.id(), &attributes_, items_.data(), actions_.data(), &error_);
}

int RuleSpec::Validate(const Port& port) {
  End();
  error_ = {};
  return rte_flow_validate(port.id(), &attributes_, items_.data(), actions_.data(), &error_);
}

std::optional<Counts> Query(const Port& port, rte_flow* flow, bool reset) {
  const rte_flow_action action{RTE_FLOW_ACTION_TYPE_COUNT, nullptr};
  rte_flow_query_count answer{};
  answer.reset = reset ? 1 : 0;
  rte_flow_error error{};
  if (rte_flow_query(port.id(), flow, &action, &answer, &error) != 0) return std::nullopt;
  EXPECT_EQ(answer.hits_set, 1);
  EXPECT_EQ(answer.bytes_set, 1);
  return Counts{answer.hits, answer.bytes};
}

void Destroy(const Port& port, rte_flow* flow) {
  rte_flow_error error{};
  EXPECT_EQ(rte_flow_destroy(port.id(), flow, &error), 0) << (error.message == nullptr ? "" : error.message);
}

reference::PacketSpec NamedSpec(const std::string& name) {
  for (const auto& [known, spec] : reference::NamedPackets()) {
    if (known == name) return spec;
  }
  throw std::out_of_range(name);
}

}  // namespace sluice::netsluice

// DPDK's libraries are not built for ThreadSanitizer, which therefore does not see what orders the two ends of a pool
// of packets, or those who set and cancel alarms.
extern "C" const char* __tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier): its name
  return "race_top:rte_eal_alarm_cancel\n"
         "race_top:rte_pktmbuf_reset\n"
         "race:Pipeline::SendCopy\n";
}

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
