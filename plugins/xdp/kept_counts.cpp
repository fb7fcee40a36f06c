// SPDX-License-Identifier: Apache-2.0
#include "kept_counts.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "table.h"

namespace sluice::xdp {
namespace {

constexpr uint64_t kMagic = 0x31544b45534c53;  // of this file's form

struct Header {
  uint64_t magic;
  uint64_t flows;
  char epoch[64];
};

Header MakeHeader(const std::string& epoch, uint64_t flows) {
  Header header{kMagic, flows, {}};
  std::strncpy(header.epoch, epoch.c_str(), sizeof(header.epoch) - 1);
  return header;
}

// The program's map of that name.
UniqueFd FindMap(uint32_t program_id, std::string_view name) {
  const UniqueFd program(bpf_prog_get_fd_by_id(program_id));
  uint32_t ids[64];
  bpf_prog_info info{};
  info.nr_map_ids = std::size(ids);
  info.map_ids = reinterpret_cast<uintptr_t>(ids);
  uint32_t size = sizeof(info);
  if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) return {};
  for (uint32_t i = 0; i < info.nr_map_ids && i < std::size(ids); ++i) {
    UniqueFd map(bpf_map_get_fd_by_id(ids[i]));
    bpf_map_info found{};
    size = sizeof(found);
    if (map && bpf_obj_get_info_by_fd(map.get(), &found, &size) == 0 && name == found.name) return map;
  }
  return {};
}

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void WriteKeptFlows(const std::string& path, const std::string& epoch, const std::vector<KeptFlow>& flows) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  const Header header = MakeHeader(epoch, flows.size());
  file.write(reinterpret_cast<const char*>(&header), sizeof(header));
  file.write(reinterpret_cast<const char*>(flows.data()),
             static_cast<std::streamsize>(flows.size() * sizeof(KeptFlow)));
}

std::optional<KeptCounts> KeptCounts::Open(const std::string& path, const std::string& epoch, uint32_t program_id) {
  return Open(path, epoch, FindMap(program_id, "stats"));
}

std::optional<KeptCounts> KeptCounts::Open(const std::string& path, const std::string& epoch, UniqueFd fd) {
  std::ifstream file(path, std::ios::binary);
  Header header{};
  file.read(reinterpret_cast<char*>(&header), sizeof(header));
  const Header expected = MakeHeader(epoch, header.flows);
  if (!file || std::memcmp(&header, &expected, sizeof(header)) != 0 || header.flows > SLUICE_MAX_FLOWS) {
    return std::nullopt;
  }
  // Cut short: no memory for what is not there.
  std::error_code failed;
  if (std::filesystem::file_size(path, failed) < sizeof(header) + header.flows * sizeof(KeptFlow)) return std::nullopt;
  KeptCounts counts;
  counts.flows_.resize(header.flows);
  file.read(reinterpret_cast<char*>(counts.flows_.data()),
            static_cast<std::streamsize>(header.flows * sizeof(KeptFlow)));
  const int cpus = libbpf_num_possible_cpus();
  bpf_map_info map{};
  uint32_t info_size = sizeof(map);
  if (!file || cpus <= 0 || !fd || bpf_obj_get_info_by_fd(fd.get(), &map, &info_size) != 0 ||
      map.value_size != sizeof(sluice_stats))
    return std::nullopt;
  counts.cpus_ = static_cast<uint32_t>(cpus);
  counts.records_ = map.max_entries / counts.cpus_;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = (static_cast<size_t>(map.max_entries) * sizeof(sluice_stats) + page - 1) / page * page;
  void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return std::nullopt;
  counts.stats_ = Mapping(memory, size);
  return counts;
}

void KeptCounts::Read(const Report& report) const {
  const uint64_t now = MonotonicNs();
  for (const KeptFlow& flow : flows_) {
    if (flow.record >= records_) continue;
    FlowStatsDelta delta;
    for (uint32_t cpu = 0; cpu < cpus_; ++cpu) {
      const sluice_stats& stats = stats_.As<const sluice_stats>()[static_cast<size_t>(cpu) * records_ + flow.record];
      delta.packets += __atomic_load_n(&stats.packets, __ATOMIC_RELAXED);
      delta.bytes += __atomic_load_n(&stats.bytes, __ATOMIC_RELAXED);
      delta.tcp_flags |=
          static_cast<uint16_t>(__atomic_load_n(&stats.used_and_flags, __ATOMIC_RELAXED) & SLUICE_STATS_FLAGS);
    }
    if (delta.packets <= flow.packets) continue;
    delta.packets -= flow.packets;
    delta.bytes -= flow.bytes;
    delta.used_ns = now;
    report(flow.ufid, flow.instance, delta);
  }
}

}  // namespace sluice::xdp
