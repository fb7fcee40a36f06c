// SPDX-License-Identifier: Apache-2.0
#include "passes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "conntrack.h"
#include "system.h"

namespace sluice::xdp {
namespace {

Result<Mapping> MapMemory(int map, const char* name, size_t size) {
  const size_t page = sysconf(_SC_PAGESIZE);
  size = (size + page - 1) / page * page;
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (address == MAP_FAILED) return SystemError(std::string("mmap of map ") + name, errno);
  return Mapping(address, size);
}

// The coarse clocks advance once a tick.
uint32_t JiffiesPerSecond() {
  timespec tick{};
  clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
  return static_cast<uint32_t>(1'000'000'000 / std::max<int64_t>(tick.tv_nsec, 1));
}

}  // namespace

Result<std::unique_ptr<PassMaps>> PassMaps::Create() {
  std::unique_ptr<PassMaps> maps(
      new PassMaps());  // NOLINT(cppcoreguidelines-owning-memory): the constructor is private
  const auto cpus = static_cast<uint32_t>(std::max(libbpf_num_possible_cpus(), 1));
  struct Wanted {
    UniqueFd PassMaps::*fd;
    bpf_map_type type;
    const char* name;
    uint32_t key_size;
    uint32_t value_size;
    uint32_t entries;
    uint32_t flags;
  };
  for (const Wanted& wanted :
       {Wanted{&PassMaps::programs_, BPF_MAP_TYPE_PROG_ARRAY, "passes", 4, 4, SLUICE_PASS_PROGRAMS, 0},
        Wanted{&PassMaps::frags_programs_, BPF_MAP_TYPE_PROG_ARRAY, "passes", 4, 4, SLUICE_PASS_PROGRAMS, 0},
        Wanted{&PassMaps::state_, BPF_MAP_TYPE_ARRAY, "pass_state", 4, sizeof(sluice_pass_state), cpus, 0},
        Wanted{&PassMaps::steps_, BPF_MAP_TYPE_ARRAY, "steps", 4, sizeof(sluice_step), SLUICE_STEPS, BPF_F_MMAPABLE},
        Wanted{&PassMaps::ports_, BPF_MAP_TYPE_ARRAY, "pass_ports", 4, sizeof(sluice_pass_port), SLUICE_PASS_PORTS,
               BPF_F_MMAPABLE},
        Wanted{&PassMaps::xsks_, BPF_MAP_TYPE_XSKMAP, "xsks", 4, 4, kPassXsks, 0},
        Wanted{&PassMaps::echoes_, BPF_MAP_TYPE_LRU_HASH, "ct_echoes", sizeof(sluice_ct_echo_key),
               sizeof(sluice_ct_echo), SLUICE_CT_ECHOES, 0}}) {
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = wanted.flags);
    UniqueFd map(
        bpf_map_create(wanted.type, wanted.name, wanted.key_size, wanted.value_size, wanted.entries, &options));
    if (!map) {
      return SystemErrorNeeding(std::string("creating map ") + wanted.name, errno, {kCapBpf, kCapNetAdmin});
    }
    maps.get()->*wanted.fd = std::move(map);
  }
  auto steps = MapMemory(maps->steps_.get(), "steps", sizeof(sluice_step) * SLUICE_STEPS);
  if (!steps) return steps.error();
  maps->steps_memory_ = *std::move(steps);
  auto ports = MapMemory(maps->ports_.get(), "pass_ports", sizeof(sluice_pass_port) * SLUICE_PASS_PORTS);
  if (!ports) return ports.error();
  maps->ports_memory_ = *std::move(ports);
  return maps;
}

Result<void> PassMaps::Clear() {
  for (const int map : {programs_.get(), frags_programs_.get()}) {
    for (uint32_t slot = 0; slot < SLUICE_PASS_PROGRAMS; ++slot) {
      if (bpf_map_delete_elem(map, &slot) != 0 && errno != ENOENT) {
        return SystemError("emptying a slot of map passes", errno);
      }
    }
  }
  return {};
}

Result<std::unique_ptr<PassObject>> PassObject::Load(const PassMaps& maps, const PassOptions& options) {
  const Conntrack conntrack = ProbeConntrack();
  ObjectOptions wanted;
  wanted.path = options.path;
  wanted.max_flows = options.max_flows;
  wanted.cache_entries = options.cache_entries;
  wanted.ports_fd = options.ports_fd;
  wanted.groups_fd = options.groups_fd;
  wanted.state_fd = maps.state_fd();
  wanted.passes = ObjectOptions::Passes{};
  ObjectOptions::Passes& passes = *wanted.passes;
  passes.config.depth = options.depth;
  passes.config.cpus = static_cast<uint32_t>(std::max(libbpf_num_possible_cpus(), 1));
  passes.config.hz = JiffiesPerSecond();
  passes.config.ct_opts_size = conntrack.opts_size;
  std::copy(conntrack.timeouts.begin(), conntrack.timeouts.end(), passes.config.ct_timeouts);
  passes.ct = conntrack.why_not.empty();
  passes.maps = {{"steps", maps.steps_fd()},
                 {"pass_ports", maps.ports_fd()},
                 {"xsks", maps.xsks_fd()},
                 {"ct_echoes", maps.echoes_.get()}};

  std::unique_ptr<PassObject> object(new PassObject());  // NOLINT(cppcoreguidelines-owning-memory): as above
  object->maps_ = &maps;
  object->why_no_ct_ = conntrack.why_not;
  auto loaded = Object::Load(wanted);
  if (!loaded && passes.ct && loaded.error().reason != "no_such_object" && loaded.error().reason != "bad_object") {
    // The functions are there by name, and are not what they should be; or ct is not what is wrong.
    object->why_no_ct_ = loaded.error().detail;
    passes.ct = false;
    loaded = Object::Load(wanted);
  }
  if (!loaded) return loaded.error();
  object->has_zones_ = passes.ct && conntrack.zones;
  object->object_ = *std::move(loaded);
  wanted.frags = true;
  wanted.ports_fd = options.frags_ports_fd;
  passes.twin = object->object_.get();
  loaded = Object::Load(wanted);
  if (!loaded) return loaded.error();
  object->frags_ = *std::move(loaded);
  return object;
}

PassObject::~PassObject() = default;

Result<void> PassObject::Enter() {
  for (const bool frags : {false, true}) {
    const Object& object = frags ? *frags_ : *object_;
    const int map = maps_->programs_fd(frags);
    for (uint32_t slot = 0; slot < SLUICE_PASS_PROGRAMS; ++slot) {
      const int program = object.ProgramFd(object.meta().tail_calls[slot]);
      if (program < 0) {  // left out
        bpf_map_delete_elem(map, &slot);
      } else if (bpf_map_update_elem(map, &slot, &program, BPF_ANY) != 0) {
        return SystemError("entering program " + object.meta().tail_calls[slot] + " into map passes", errno);
      }
    }
  }
  return {};
}

PassObject::Counters PassObject::ReadCounters(uint32_t slot) const {
  Counters sum;
  for (uint32_t cpu = 0; cpu < object_->cpu_count(); ++cpu) {
    const uint64_t* counters = object_->CountersAt(slot * object_->cpu_count() + cpu);
    for (uint32_t i = 0; i < SLUICE_PASS_COUNTER_END; ++i) {
      sum.values[i] += __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
    }
  }
  return sum;
}

void PassObject::ClearCounters(uint32_t slot) {
  for (uint32_t cpu = 0; cpu < object_->cpu_count(); ++cpu) {
    uint64_t* counters = object_->CountersAt(slot * object_->cpu_count() + cpu);
    for (uint32_t i = 0; i < SLUICE_PASS_COUNTER_END; ++i) __atomic_store_n(&counters[i], 0, __ATOMIC_RELAXED);
  }
}

const std::vector<std::string>& PassObject::CounterNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = Object::CounterNames();
    all.resize(SLUICE_PASS_COUNT_FIRST);
#define SLUICE_COUNTER(name, text) all.emplace_back(#name);
    SLUICE_PASS_COUNTERS(SLUICE_COUNTER)
#undef SLUICE_COUNTER
    return all;
  }();
  return names;
}

}  // namespace sluice::xdp
