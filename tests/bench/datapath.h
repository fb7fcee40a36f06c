// SPDX-License-Identifier: Apache-2.0
// An XDP object with flows in it, without daemon and session; and the programs that it is compared with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "flow_table.h"
#include "groups.h"
#include "object.h"
#include "reclaimer.h"

struct bpf_object;

namespace sluice::bench {

// What a benchmark takes for granted; throws std::runtime_error with the error where it is not so.
template <typename T>
T OrThrow(Result<T> result);
[[noreturn]] void Throw(const Error& error);

class Datapath : xdp::FlowTable::Listener {
 public:
  struct Options {
    std::string object = "bench";  // "bench": with the generator inside; "plain": the real one
    uint32_t flows = 1000;
    uint32_t masks = 1;
    uint32_t cache_entries = 65536;
  };

  // All flows go out on port 2, which is `ifindex`.
  Datapath(const Options& options, unsigned ifindex);
  ~Datapath() override;
  Datapath(const Datapath&) = delete;
  Datapath& operator=(const Datapath&) = delete;

  [[nodiscard]] int program_fd() const { return object_->program_fd(); }
  [[nodiscard]] xdp::Object& object() { return *object_; }

 private:
  void OnReclaimed(uint64_t /*cookie*/, const xdp::FlowStatsDelta& /*rest*/) override {}

  std::unique_ptr<xdp::Reclaimer> reclaimer_;
  std::unique_ptr<xdp::Groups> groups_;
  std::unique_ptr<xdp::Object> object_;
  std::unique_ptr<xdp::FlowTable> table_;
};

// bench_base.bpf.o. Port 2 is `ifindex`.
class Baseline {
 public:
  explicit Baseline(unsigned ifindex);
  ~Baseline();
  Baseline(const Baseline&) = delete;
  Baseline& operator=(const Baseline&) = delete;

  [[nodiscard]] int ProgramFd(const char* name) const;
  void SetTransmit(unsigned ifindex) const;
  void SetFlows(uint32_t flows) const;
  [[nodiscard]] uint64_t Received() const;

 private:
  struct Close {
    void operator()(bpf_object* object) const;
  };
  std::unique_ptr<bpf_object, Close> object_;
};

// Sets how many flows the generator in map `bench_fd` draws from.
void SetGenerator(int bench_fd, uint32_t flows);

template <typename T>
T OrThrow(Result<T> result) {
  if (!result) Throw(result.error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace sluice::bench
