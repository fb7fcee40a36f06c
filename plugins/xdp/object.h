// SPDX-License-Identifier: Apache-2.0
// One loaded XDP object: the programs and maps of one port.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "action.h"
#include "counters.h"
#include "mapping.h"
#include "object_meta.h"
#include "pass.h"
#include "sluice/error.h"
#include "table.h"
#include "upcall.h"

struct bpf_object;

namespace sluice::xdp {

// The default object, in the plugin's object directory.
inline constexpr std::string_view kDefaultObject = "sluice_xdp.bpf.o";

// Port numbers that `ports` has room for: 1 to kMaxPort.
inline constexpr uint32_t kMaxPort = 65535;

struct ObjectOptions {
  std::string path;                  // of the ELF file
  uint32_t max_flows = 65536;        // 1 to SLUICE_MAX_FLOWS
  uint32_t max_edits = 0;            // of all flows together; 0: four for each flow
  uint32_t cache_entries = 65536;    // a power of two, 64 to 2^24
  uint32_t subtable_entries = 4096;  // of a new subtable; it grows by 8 up to max_flows
  sluice_miss_policy miss_policy = SLUICE_MISS_UPCALL;
  uint32_t upcall_rate = 10000;  // packets a second; 0: no limit
  bool frags = false;            // take packets of several buffers (jumbo frames)
  uint32_t offload_ifindex = 0;  // not 0: load for this device's own offload
  int ports_fd = -1;             // map `ports` to share (Groups has it); -1: one of its own
  int groups_fd = -1;            // map `groups` to share; -1: one of its own
  int programs_fd = -1;          // map `passes` to share (PassMaps has it); -1: one of its own, which is empty
  int state_fd = -1;             // the same with `pass_state`
  // The object of later passes (PassObject): its configuration, and the maps to share, by name.
  struct Passes {
    sluice_pass_config config{};
    bool ct = false;  // load what does ct
    std::vector<std::pair<std::string, int>> maps;
    const class Object* twin = nullptr;  // take this one's maps and hash instead of making others
  };
  std::optional<Passes> passes;
};

// The records in this process's memory. How large each is follows from the object's key.
class Records {
 public:
  Records(void* base, uint32_t words) : base_(static_cast<char*>(base)), size_(sizeof(sluice_record) + words * 8U) {}
  sluice_record& operator[](uint32_t index) const {
    return *reinterpret_cast<sluice_record*>(base_ + static_cast<size_t>(index) * size_);
  }

 private:
  char* base_;
  size_t size_;
};

// Owned by the session thread. Everything is gone with the object: programs that are still attached to a device live
// on, with their maps, until they are detached.
class Object {
 public:
  // Errors: "no_such_object" (file), "bad_object" (not one of ours: says what is missing), "bad_option" (a size),
  // "no_permission" (names the capability, or the locked memory limit), "verifier" (with the log's last lines), and
  // those of SystemError (naming what failed).
  static Result<std::unique_ptr<Object>> Load(const ObjectOptions& options);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  [[nodiscard]] const ObjectOptions& options() const { return options_; }
  [[nodiscard]] const ObjectMeta& meta() const { return meta_; }
  [[nodiscard]] const KeyLayout& key_layout() const { return meta_.key; }
  // Of its key, in 8 bytes.
  [[nodiscard]] uint32_t words() const { return meta_.key.words(); }

  // For attaching and for BPF_PROG_TEST_RUN; owned by the object. That of later passes: sluice_lookup.
  [[nodiscard]] int program_fd() const { return program_fd_; }
  // -1: there is none by that name, or it was left out.
  [[nodiscard]] int ProgramFd(const std::string& name) const;
  // By name: "records", "masks", "mask_lists", "subtables", "cache", "cache_keys", "edits", "stats", "cpus", "ports",
  // "groups", "xsks", "tail_calls". -1 where there is none.
  [[nodiscard]] int MapFd(std::string_view name) const;
  [[nodiscard]] int xsks_fd() const { return MapFd("xsks"); }

  // May be called while packets flow. Takes effect at once.
  void SetMissPolicy(sluice_miss_policy policy);
  void SetUpcallRate(uint32_t packets_per_second);
  // What later passes are to know of this port: its number, and its entry of `pass_ports`.
  void SetPassPort(uint32_t number, uint32_t slot);

  // Sum over all CPUs; indexed by enum sluice_counter.
  struct Counters {
    uint64_t values[SLUICE_COUNTER_SLOTS] = {};
    uint64_t operator[](sluice_counter counter) const { return values[counter]; }
    [[nodiscard]] uint64_t rx_packets() const;
  };
  [[nodiscard]] Counters ReadCounters() const;
  // "rx_bytes", "hit_cache", ... in the order of enum sluice_counter.
  static const std::vector<std::string>& CounterNames();

  // The maps in this process's memory, for the flow table.
  [[nodiscard]] sluice_control& control() const { return *control_.As<sluice_control>(); }
  [[nodiscard]] Records records() const { return {records_.As<void>(), words()}; }
  [[nodiscard]] KeyWords mask(uint32_t slot) const;
  void SetMask(uint32_t slot, const KeyWords& mask);
  [[nodiscard]] sluice_mask_list* mask_lists() const { return mask_lists_.As<sluice_mask_list>(); }
  [[nodiscard]] std::span<sluice_edit> edits() const { return {edits_.As<sluice_edit>(), edit_count_}; }
  // Empty where the object has none.
  [[nodiscard]] std::span<uint64_t> cache() const {
    return {cache_.As<uint64_t>(), meta_.cache ? options_.cache_entries : 0};
  }
  [[nodiscard]] sluice_stats* stats() const { return stats_.As<sluice_stats>(); }
  [[nodiscard]] uint32_t cpu_count() const { return cpu_count_; }
  // The counters in an entry of `cpus`.
  [[nodiscard]] uint64_t* CountersAt(uint32_t entry) const {
    return reinterpret_cast<uint64_t*>(cpus_.As<char>() + entry * cpu_size_);
  }
  // Entries of `records`: some more than max_flows, for records that are on their way out.
  [[nodiscard]] uint32_t record_count() const { return record_count_; }

 private:
  struct Close {
    void operator()(bpf_object* object) const;
  };

  Object() = default;
  Result<void> Open();
  Result<void> Prepare();
  Result<void> SizeMap(const char* name, uint32_t entries);
  Result<void> ShareMap(const char* name, int fd);
  Result<void> ShareMaps();
  Result<void> ShareWithTwin(const Object& twin);
  Result<void> SetConfig(const sluice_config& config);
  Result<void> SetInitialValue(const char* name, std::span<const char> bytes);
  Result<void> SetUpPasses();
  Result<void> LoadIntoKernel();
  Result<void> EnterTailCalls();
  Result<void> MapMemory();
  Result<Mapping> MapArray(const char* name);

  ObjectOptions options_;
  std::unique_ptr<bpf_object, Close> object_;
  ObjectMeta meta_;
  int program_fd_ = -1;
  uint32_t cpu_count_ = 0;
  uint32_t record_count_ = 0;
  uint32_t edit_count_ = 0;
  size_t cpu_size_ = 0;          // of an entry of `cpus`
  std::vector<uint64_t> hash_;   // the cache's, of struct sluice_config
  std::unique_ptr<char[]> log_;  // the verifier's, while it loads
  Mapping records_, masks_, mask_lists_, edits_, cache_, stats_, cpus_, control_;
};

}  // namespace sluice::xdp
