// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "sluice/process_mutex.h"
#include "system.h"

namespace sluice::xdp {
namespace {

constexpr size_t kLogSize = 4 << 20;
constexpr size_t kLogLines = 6;
constexpr uint32_t kCacheKeysPerEntry = 4;  // one of `cache_keys` for so many of `cache`

Error Bad(const std::string& path, const std::string& what) { return {"bad_object", path + ": " + what}; }

// What libbpf says of a failed load. Its print function is one for the process, other plugins with this code included,
// which may be unloaded: taken for the time of a load only, by one of all at a time.
class LibbpfWarnings {
 public:
  LibbpfWarnings() : lock_(ProcessMutex("libbpf_set_print")) {
    Text() = &text_;
    previous_ = libbpf_set_print(&Print);
  }
  ~LibbpfWarnings() {
    libbpf_set_print(previous_);
    Text() = nullptr;
  }
  LibbpfWarnings(const LibbpfWarnings&) = delete;
  LibbpfWarnings& operator=(const LibbpfWarnings&) = delete;

  // The first line, without libbpf's own "libbpf: ".
  [[nodiscard]] std::string First() const {
    std::string line = text_.substr(0, text_.find('\n'));
    constexpr std::string_view kPrefix = "libbpf: ";
    return line.starts_with(kPrefix) ? line.substr(kPrefix.size()) : line;
  }

 private:
  static std::string*& Text() {
    thread_local std::string* text = nullptr;
    return text;
  }
  static int Print(enum libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN || Text() == nullptr) return 0;
    char line[512];
    const int n = vsnprintf(line, sizeof line, format, arguments);
    *Text() += line;
    return n;
  }

  std::lock_guard<std::mutex> lock_;
  std::string text_;
  libbpf_print_fn_t previous_;
};

std::string LastLines(std::string_view log) {
  while (!log.empty() && log.back() == '\n') log.remove_suffix(1);
  size_t start = log.size();
  for (size_t i = 0; i < kLogLines && start != std::string_view::npos && start != 0; ++i) {
    start = log.rfind('\n', start - 1);
  }
  return std::string(log.substr(start == std::string_view::npos || start == 0 ? 0 : start + 1));
}

// Each mask of each port is a descriptor: some ports with many masks pass the usual 1024. select() is not used here.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The share of a rate that one window has; at least one packet.
uint32_t PerWindow(uint32_t packets_per_second) {
  if (packets_per_second == 0) return 0;
  const uint64_t packets = (static_cast<uint64_t>(packets_per_second) << SLUICE_UPCALL_WINDOW_BITS) / 1'000'000'000;
  return static_cast<uint32_t>(std::max<uint64_t>(packets, 1));
}

Result<void> CheckOptions(const ObjectOptions& options) {
  if (options.max_flows < 1 || options.max_flows > SLUICE_MAX_FLOWS) {
    return Error{"bad_option", "max_flows is " + std::to_string(options.max_flows) + ": it must be 1 to " +
                                   std::to_string(SLUICE_MAX_FLOWS)};
  }
  if (!std::has_single_bit(options.cache_entries) || options.cache_entries < 64 || options.cache_entries > 1 << 24) {
    return Error{"bad_option", "cache_entries is " + std::to_string(options.cache_entries) +
                                   ": it must be a power of two from 64 to " + std::to_string(1 << 24)};
  }
  if (options.subtable_entries < 1) return Error{"bad_option", "subtable_entries must be at least 1"};
  return {};
}

// Records wait for a grace period before they are used again: room for the flows changed meanwhile.
uint32_t RecordsFor(uint32_t max_flows) {
  return std::min<uint32_t>(max_flows + max_flows / 16 + 64, SLUICE_MAX_FLOWS);
}

uint32_t EditsFor(const ObjectOptions& options) {
  if (options.max_edits != 0) return options.max_edits;
  return static_cast<uint32_t>(std::clamp<uint64_t>(uint64_t{4} * options.max_flows, SLUICE_MAX_EDITS, 1U << 24));
}

sluice_config MakeConfig(const ObjectOptions& options) {
  sluice_config config{};
  config.records = RecordsFor(options.max_flows);
  config.cache_shift = 64 - std::countr_zero(options.cache_entries);
  config.cache_keys_mask = std::max(options.cache_entries / kCacheKeysPerEntry, 1U) - 1;
  config.frags = options.frags ? 1 : 0;
  return config;
}

}  // namespace

void Object::Close::operator()(bpf_object* object) const { bpf_object__close(object); }

Object::~Object() = default;

Result<std::unique_ptr<Object>> Object::Load(const ObjectOptions& options) {
  if (auto checked = CheckOptions(options); !checked) return checked.error();
  RaiseFileLimit();
  std::unique_ptr<Object> object(new Object());  // NOLINT(cppcoreguidelines-owning-memory): the constructor is private
  object->options_ = options;
  for (auto step : {&Object::Open, &Object::Prepare, &Object::LoadIntoKernel, &Object::MapMemory}) {
    if (auto done = (object.get()->*step)(); !done) return done.error();
  }
  return object;
}

Result<void> Object::Open() {
  const LibbpfWarnings warnings;
  log_ = std::unique_ptr<char[]>(new char[kLogSize]);  // not make_unique: most of it is never touched
  log_[0] = '\0';
  LIBBPF_OPTS(bpf_object_open_opts, open, .object_name = "sluice", .kernel_log_buf = log_.get(),
              .kernel_log_size = kLogSize);
  object_.reset(bpf_object__open_file(options_.path.c_str(), &open));
  if (!object_) {
    const int error = errno;
    if (error == ENOENT) return Error{"no_such_object", "There is no BPF object " + options_.path};
    const std::string said = warnings.First();
    return Bad(options_.path, said.empty() ? std::strerror(error) : said);
  }
  auto meta = ReadMeta(object_.get(), options_.passes ? ObjectRole::kLaterPasses : ObjectRole::kPort);
  if (!meta) return Bad(options_.path, meta.error().detail);
  meta_ = *std::move(meta);
  return {};
}

Result<void> Object::SizeMap(const char* name, uint32_t entries) {
  bpf_map* map = bpf_object__find_map_by_name(object_.get(), name);
  if (map == nullptr) return {};
  if (const int error = bpf_map__set_max_entries(map, entries); error != 0) {
    return SystemError(std::string("bpf_map__set_max_entries of ") + name, -error);
  }
  return {};
}

Result<void> Object::ShareMap(const char* name, int fd) {
  bpf_map* map = bpf_object__find_map_by_name(object_.get(), name);
  if (fd < 0 || map == nullptr) return {};
  if (const int error = bpf_map__reuse_fd(map, fd); error != 0) {
    return SystemError(std::string("bpf_map__reuse_fd of ") + name, -error);
  }
  return {};
}

Result<void> Object::ShareMaps() {
  for (const auto& [name, fd] : std::initializer_list<std::pair<const char*, int>>{{"ports", options_.ports_fd},
                                                                                   {"groups", options_.groups_fd},
                                                                                   {"passes", options_.programs_fd},
                                                                                   {"pass_state", options_.state_fd}}) {
    if (auto shared = ShareMap(name, fd); !shared) return shared;
  }
  if (!options_.passes) return {};
  for (const auto& [name, fd] : options_.passes->maps) {
    if (auto shared = ShareMap(name.c_str(), fd); !shared) return shared;
  }
  return options_.passes->twin != nullptr ? ShareWithTwin(*options_.passes->twin) : Result<void>();
}

// All but what the kernel keeps apart for packets of one and of several buffers, and what is fixed at the load.
Result<void> Object::ShareWithTwin(const Object& twin) {
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, twin.object_.get()) {
    const std::string name = bpf_map__name(map);
    if (name == "tail_calls" || name == "ports" || name.starts_with(".rodata") || bpf_map__fd(map) < 0) continue;
    if (auto shared = ShareMap(name.c_str(), bpf_map__fd(map)); !shared) return shared;
  }
  return {};
}

Result<void> Object::SetUpPasses() {
  if (!options_.passes) return {};
  if (!options_.passes->ct) {
    bpf_program__set_autoload(bpf_object__find_program_by_name(object_.get(), "sluice_ct"), false);
    meta_.actions &= ~(1U << SLUICE_ACTION_CT);
  }
  const auto* config = reinterpret_cast<const char*>(&options_.passes->config);
  return SetInitialValue(".rodata.passes", {config, sizeof options_.passes->config});
}

Result<void> Object::Prepare() {
  cpu_count_ = static_cast<uint32_t>(std::max(libbpf_num_possible_cpus(), 1));
  const uint64_t stats = static_cast<uint64_t>(cpu_count_) * RecordsFor(options_.max_flows);
  if (stats > UINT32_MAX) return Error{"bad_option", "max_flows times the number of CPUs is beyond 2^32"};

  const sluice_config config = MakeConfig(options_);
  record_count_ = config.records;
  const uint32_t cpus = options_.passes ? cpu_count_ * SLUICE_PASS_PORTS : cpu_count_;
  edit_count_ = meta_.max_edits == 0 ? 0 : EditsFor(options_);
  for (auto [name, entries] :
       std::initializer_list<std::pair<const char*, uint32_t>>{{"records", record_count_},
                                                               {"stats", static_cast<uint32_t>(stats)},
                                                               {"cpus", cpus},
                                                               {"pass_state", cpu_count_},
                                                               {"cache", options_.cache_entries},
                                                               {"cache_keys", config.cache_keys_mask + 1},
                                                               {"edits", edit_count_}}) {
    if (auto sized = SizeMap(name, entries); !sized) return sized;
  }
  if (auto shared = ShareMaps(); !shared) return shared;
  if (auto set = SetConfig(config); !set) return set;
  if (auto set = SetUpPasses(); !set) return set;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_.get()) {
    if (options_.frags) bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS);
    if (options_.offload_ifindex != 0) bpf_program__set_ifindex(program, options_.offload_ifindex);
  }
  if (options_.offload_ifindex != 0) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_.get()) bpf_map__set_ifindex(map, options_.offload_ifindex);
  }
  return {};
}

// The configuration, with the factors of the cache's hash behind it.
Result<void> Object::SetConfig(const sluice_config& config) {
  hash_.resize(words() + 1);
  if (options_.passes && options_.passes->twin != nullptr) {
    hash_ = options_.passes->twin->hash_;
  } else if (getrandom(hash_.data(), hash_.size() * 8, 0) != static_cast<ssize_t>(hash_.size() * 8)) {
    return SystemError("getrandom", errno);
  }
  for (auto& factor : hash_) factor |= 1;
  std::vector<char> bytes(sizeof config + hash_.size() * 8);
  std::memcpy(bytes.data(), &config, sizeof config);
  std::memcpy(bytes.data() + sizeof config, hash_.data(), hash_.size() * 8);
  return SetInitialValue(".rodata.config", bytes);
}

Result<void> Object::SetInitialValue(const char* name, std::span<const char> bytes) {
  bpf_map* map = bpf_object__find_map_by_name(object_.get(), name);
  if (const int error = bpf_map__set_initial_value(map, bytes.data(), bytes.size()); error != 0) {
    return SystemError(std::string("bpf_map__set_initial_value of ") + name, -error);
  }
  return {};
}

Result<void> Object::LoadIntoKernel() {
  const LibbpfWarnings warnings;
  const int error = -bpf_object__load(object_.get());
  const std::string log(log_.get());
  log_.reset();
  if (error != 0) {
    const std::string missing = MissingCapabilities({kCapBpf, kCapPerfmon, kCapNetAdmin});
    if ((error == EPERM || error == EACCES) && !missing.empty()) {
      return Error{"no_permission", "Loading " + options_.path + " needs " + missing};
    }
    if (!log.empty()) {
      return Error{"verifier", "The kernel's verifier refuses " + options_.path + ":\n" + LastLines(log)};
    }
    const std::string said = warnings.First();
    Error result = SystemError("Loading " + options_.path + (said.empty() ? "" : " (" + said + ")"), error);
    if (error == EPERM) result.detail += "; is the limit of locked memory (ulimit -l) too low for this kernel?";
    if (error == ENOMEM) result.detail += "; max_flows and cache_entries say how much it takes";
    return result;
  }
  program_fd_ = ProgramFd(options_.passes ? "sluice_lookup" : "sluice_xdp");
  return EnterTailCalls();
}

int Object::ProgramFd(const std::string& name) const {
  const bpf_program* program = bpf_object__find_program_by_name(object_.get(), name.c_str());
  const int fd = program == nullptr ? -1 : bpf_program__fd(program);
  return fd < 0 ? -1 : fd;
}

Result<void> Object::EnterTailCalls() {
  const int map = MapFd("tail_calls");
  for (uint32_t slot = 0; slot < meta_.tail_calls.size(); ++slot) {
    const std::string& name = meta_.tail_calls[slot];
    const int program = ProgramFd(name);
    if (program < 0) continue;  // left out
    if (bpf_map_update_elem(map, &slot, &program, BPF_ANY) != 0) {
      return SystemError("entering program " + name + " of " + options_.path + " into its tail_calls", errno);
    }
  }
  return {};
}

Result<Mapping> Object::MapArray(const char* name) {
  const bpf_map* map = bpf_object__find_map_by_name(object_.get(), name);
  if (map == nullptr) return Mapping();
  const size_t value_size = (bpf_map__value_size(map) + 7) / 8 * 8;  // as the kernel spaces them
  const size_t page = sysconf(_SC_PAGESIZE);
  const size_t size = (value_size * bpf_map__max_entries(map) + page - 1) / page * page;
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
  if (address == MAP_FAILED) return SystemError(std::string("mmap of map ") + name, errno);
  return Mapping(address, size);
}

Result<void> Object::MapMemory() {
  struct Wanted {
    const char* name;
    Mapping Object::*mapping;
  };
  for (const Wanted& wanted :
       {Wanted{"records", &Object::records_}, Wanted{"masks", &Object::masks_},
        Wanted{"mask_lists", &Object::mask_lists_}, Wanted{"edits", &Object::edits_}, Wanted{"cache", &Object::cache_},
        Wanted{"stats", &Object::stats_}, Wanted{"cpus", &Object::cpus_}, Wanted{".data.control", &Object::control_}}) {
    auto mapping = MapArray(wanted.name);
    if (!mapping) return mapping.error();
    this->*wanted.mapping = *std::move(mapping);
  }
  cpu_size_ = bpf_map__value_size(bpf_object__find_map_by_name(object_.get(), "cpus"));

  SetMissPolicy(options_.miss_policy);
  SetUpcallRate(options_.upcall_rate);
  return {};
}

KeyWords Object::mask(uint32_t slot) const {
  KeyWords mask{};
  std::copy_n(masks_.As<uint64_t>() + static_cast<size_t>(slot) * words(), words(), mask.begin());
  return mask;
}

void Object::SetMask(uint32_t slot, const KeyWords& mask) {
  std::copy_n(mask.begin(), words(), masks_.As<uint64_t>() + static_cast<size_t>(slot) * words());
}

int Object::MapFd(std::string_view name) const {
  return bpf_object__find_map_fd_by_name(object_.get(), std::string(name).c_str());
}

void Object::SetMissPolicy(sluice_miss_policy policy) {
  __atomic_store_n(&control().miss_policy, static_cast<uint32_t>(policy), __ATOMIC_RELEASE);
  options_.miss_policy = policy;
}

void Object::SetUpcallRate(uint32_t packets_per_second) {
  __atomic_store_n(&control().upcalls_per_window, PerWindow(packets_per_second), __ATOMIC_RELEASE);
  options_.upcall_rate = packets_per_second;
}

void Object::SetPassPort(uint32_t number, uint32_t slot) {
  __atomic_store_n(&control().port, number, __ATOMIC_RELEASE);
  __atomic_store_n(&control().pass_slot, slot, __ATOMIC_RELEASE);
}

Object::Counters Object::ReadCounters() const {
  Counters sum;
  for (uint32_t cpu = 0; cpu < cpu_count_; ++cpu) {
    const uint64_t* counters = CountersAt(cpu);
    for (uint32_t i = 0; i < SLUICE_COUNTER_END; ++i) {
      sum.values[i] += __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
    }
  }
  return sum;
}

uint64_t Object::Counters::rx_packets() const {
  uint64_t packets = values[SLUICE_COUNT_hit_cache] + values[SLUICE_COUNT_hit_table] + values[SLUICE_COUNT_miss];
  for (int i = SLUICE_COUNT_malformed_eth; i <= SLUICE_COUNT_malformed_l4; ++i) packets += values[i];
  return packets;
}

const std::vector<std::string>& Object::CounterNames() {
  static const std::vector<std::string> names{
#define SLUICE_COUNTER(name, text) #name,
      SLUICE_COUNTERS(SLUICE_COUNTER)
#undef SLUICE_COUNTER
  };
  return names;
}

}  // namespace sluice::xdp
