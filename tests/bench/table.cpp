// SPDX-License-Identifier: Apache-2.0
// The flow table as the core sees it: batches in, verdicts and statistics out, in this process, without a bus.
#include "table.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/samples.h"
#include "datapath/handler_rig.h"
#include "mapping.h"
#include "sluice/match.h"
#include "support/netns.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kBatch = 256;  // changes in one message of the core's
constexpr uint32_t kKeyWords = 9;

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Host `flow` under mask `flow % masks`.
Match FlowMatch(uint32_t flow, uint32_t masks) {
  Match match;
  match.SetExact(Field::in_port, 1);
  match.SetExact(Field::eth_type, 0x0800);
  match.SetMasked(Field::ipv4_src, 0x0b000000, 0xff000000U | flow % masks);
  match.SetExact(Field::ipv4_dst, flow);
  return match;
}

// Messages with these flows, as the core makes them.
std::vector<v1::ToPlugin> Batches(uint32_t flows, uint32_t masks, const std::string& actions, bool del) {
  std::vector<v1::ToPlugin> batches;
  for (uint32_t flow = 0; flow < flows; ++flow) {
    if (flow % kBatch == 0) batches.emplace_back();
    v1::Change& change = *batches.back().add_changes();
    change.set_seq(flow + 1);
    v1::FlowState& state = del ? *change.mutable_del() : *change.mutable_put();
    state.set_ufid(std::string(FlowMatch(flow, masks).DeriveUfid().AsBytes()));
    state.set_instance(1);
    if (del) continue;
    state.set_packed_match(FlowMatch(flow, masks).Pack());
    state.set_actions(actions);
  }
  return batches;
}

struct Filling {
  uint32_t flows;
  uint32_t masks;
  std::vector<v1::ToPlugin> puts, changes, deletions;
  Filling(uint32_t flows_wanted, uint32_t masks_wanted)
      : flows(flows_wanted),
        masks(masks_wanted),
        puts(Batches(flows, masks, "p1", false)),
        changes(Batches(flows, masks, "push_vlan(vid=5,pcp=0),p1", false)),
        deletions(Batches(flows, masks, "", true)) {}
};

// Until each change has its verdict.
double Rate(xdp::HandlerRig& rig, const std::vector<v1::ToPlugin>& batches, uint32_t flows) {
  uint32_t answered = 0;
  const auto count = [&](const v1::FromPlugin& out) {
    for (const auto& verdict : out.verdicts()) {
      if (verdict.state() == v1::REFUSED || verdict.state() == v1::FAILED) throw std::runtime_error(verdict.detail());
      ++answered;
    }
  };
  // As the session has it: a reply's memory is the next one's.
  v1::FromPlugin reply;
  return flows / SecondsOf([&] {
           for (const auto& batch : batches) {
             reply.Clear();
             rig.handler().OnBatch(batch, reply);
             count(reply);
           }
           while (answered < flows) count(rig.Next());
         });
}

// One more packet for each record of the program's port, as if this CPU's programs had counted it.
class Counters {
 public:
  explicit Counters(int program_fd) {
    std::vector<uint32_t> ids(64);
    bpf_prog_info info{};
    info.nr_map_ids = static_cast<uint32_t>(ids.size());
    info.map_ids = reinterpret_cast<uint64_t>(ids.data());
    uint32_t size = sizeof info;
    bpf_obj_get_info_by_fd(program_fd, &info, &size);
    for (uint32_t i = 0; i < info.nr_map_ids && !map_; ++i) {
      UniqueFd fd(bpf_map_get_fd_by_id(ids[i]));
      bpf_map_info map{};
      uint32_t map_size = sizeof map;
      bpf_obj_get_info_by_fd(fd.get(), &map, &map_size);
      if (std::strcmp(map.name, "stats") != 0) continue;
      map_ = std::move(fd);
      records_ = map.max_entries / static_cast<uint32_t>(libbpf_num_possible_cpus());
    }
    void* address = mmap(nullptr, records_ * sizeof(sluice_stats), PROT_READ | PROT_WRITE, MAP_SHARED, map_.get(), 0);
    if (address == MAP_FAILED) throw std::runtime_error("the statistics cannot be mapped");
    mapping_ = xdp::Mapping(address, records_ * sizeof(sluice_stats));
  }
  void CountAll() {
    for (uint32_t i = 0; i < records_; ++i) {
      sluice_stats& stats = mapping_.As<sluice_stats>()[i];
      ++stats.packets;
      stats.bytes += 60;
    }
  }

 private:
  UniqueFd map_;
  uint32_t records_ = 0;
  xdp::Mapping mapping_;
};

class RawMap {
 public:
  explicit RawMap(uint32_t flows) : keys_(static_cast<size_t>(flows) * kKeyWords), values_(flows), flows_(flows) {
    for (uint32_t flow = 0; flow < flows; ++flow) keys_[static_cast<size_t>(flow) * kKeyWords] = flow;
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
    fd_ = UniqueFd(bpf_map_create(BPF_MAP_TYPE_HASH, "bench", kKeyWords * 8, 4, flows, &options));
    if (!fd_) throw std::runtime_error("a BPF hash map cannot be created");
  }
  double FillByBatch() {
    return flows_ / SecondsOf([&] {
             for (uint32_t from = 0; from < flows_; from += kBatch) {
               uint32_t count = std::min(kBatch, flows_ - from);
               LIBBPF_OPTS(bpf_map_batch_opts, options);
               bpf_map_update_batch(fd_.get(), &keys_[static_cast<size_t>(from) * kKeyWords], &values_[from], &count,
                                    &options);
             }
           });
  }
  double FillOneByOne() {
    return flows_ / SecondsOf([&] {
             for (uint32_t flow = 0; flow < flows_; ++flow) {
               bpf_map_update_elem(fd_.get(), &keys_[static_cast<size_t>(flow) * kKeyWords], &values_[flow], BPF_ANY);
             }
           });
  }
  // ms to read all by BPF_MAP_LOOKUP_BATCH.
  static double ReadByBatch(uint32_t flows) {
    struct Value {
      uint64_t packets, bytes, used;
    };
    const int cpus = std::max(1, libbpf_num_possible_cpus());
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
    const UniqueFd fd(bpf_map_create(BPF_MAP_TYPE_HASH, "bench", 4, sizeof(Value) * cpus, flows, &options));
    std::vector<uint32_t> keys(flows);
    std::vector<Value> values(static_cast<size_t>(flows) * cpus);
    for (uint32_t i = 0; i < flows; ++i) keys[i] = i;
    uint32_t count = flows;
    LIBBPF_OPTS(bpf_map_batch_opts, batch);
    bpf_map_update_batch(fd.get(), keys.data(), values.data(), &count, &batch);
    uint32_t read = 0;
    const double seconds = SecondsOf([&] {
      uint64_t at = 0;
      for (void* from = nullptr;; from = &at) {
        count = 65536;
        if (read + count > flows) count = flows - read;
        if (count == 0) break;
        const int failed = bpf_map_lookup_batch(fd.get(), from, &at, &keys[read],
                                                &values[static_cast<size_t>(read) * cpus], &count, &batch);
        read += count;
        if (failed != 0) break;
      }
    });
    if (read != flows) throw std::runtime_error("BPF_MAP_LOOKUP_BATCH read " + std::to_string(read));
    return seconds * 1000;
  }

 private:
  std::vector<uint64_t> keys_;
  std::vector<uint32_t> values_;
  uint32_t flows_;
  UniqueFd fd_;
};

void Print(const std::vector<Case>& cases, const char* unit) {
  for (const Case& one : cases) {
    std::printf("  %-44s %12.0f %12.0f %12.0f %s\n", one.name.c_str(), Median(one), Quantile(one.samples, 0),
                Quantile(one.samples, 1), unit);
  }
}

void Rates(const test::Netns& netns, uint32_t flows, const TableOptions& options) {
  xdp::HandlerRig rig(netns, 1, {{"max_flows", std::to_string(flows)}});
  const Filling filling(flows, options.masks);
  std::vector<Case> cases;
  cases.push_back({"raw BPF_MAP_UPDATE_BATCH", [&] { return RawMap(flows).FillByBatch(); }, {}});
  cases.push_back({"raw BPF_MAP_UPDATE_ELEM", [&] { return RawMap(flows).FillOneByOne(); }, {}});
  // In this order, round by round. The first round makes the masks, and the subtables as large as they get.
  cases.push_back({"put, masks that exist", [&] { return Rate(rig, filling.puts, flows); }, {}});
  cases.push_back({"put again with other actions", [&] { return Rate(rig, filling.changes, flows); }, {}});
  cases.push_back({"delete, until confirmed", [&] { return Rate(rig, filling.deletions, flows); }, {}});
  RunInterleaved(cases, options.rounds);
  std::printf("table: %u flows under %u masks, batches of %u, flows a second, %u rounds: median, least, most\n", flows,
              options.masks, kBatch, options.rounds);
  Print(cases, "/s");
}

void Statistics(const test::Netns& netns, uint32_t flows, const TableOptions& options) {
  xdp::HandlerRig rig(netns, 1, {{"max_flows", std::to_string(flows)}});
  Rate(rig, Filling(flows, options.masks).puts, flows);
  rig.Drain();
  Counters counters(rig.program_fd(1));
  double read = 0;
  std::vector<Case> cases;
  cases.push_back({"BPF_MAP_LOOKUP_BATCH of as many counters", [&] { return RawMap::ReadByBatch(flows); }, {}});
  cases.push_back({"read, and as messages to the core",
                   [&] {
                     counters.CountAll();
                     uint32_t told = 0;
                     v1::FromPlugin out;
                     read = 1000 * SecondsOf([&] { rig.handler().OnTick(out); });
                     told += out.stats_size();
                     return read + 1000 * SecondsOf([&] {
                                     while (told < flows) told += rig.Next().stats_size();
                                   });
                   },
                   {}});
  cases.push_back({"of that, read", [&] { return read; }, {}});
  RunInterleaved(cases, options.rounds);
  std::printf("statistics: %u flows, all changed, ms, %u rounds: median, least, most\n", flows, options.rounds);
  Print(cases, "ms");
}

}  // namespace

void Table(const TableOptions& options) {
  const test::Netns netns("slb");
  netns.Do([&] {
    for (const uint32_t flows : {65536U, options.flows}) Rates(netns, flows, options);
    Statistics(netns, options.flows, options);
  });
}

}  // namespace sluice::bench
