// SPDX-License-Identifier: Apache-2.0
// The ports: veth pairs in a network namespace of this process's own, and what comes out of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "reference/datapath.h"

struct bpf_object;
struct ring_buffer;

namespace sluice::compare {

class Rig {
 public:
  static constexpr uint32_t kPorts = 4;

  // Moves the calling thread into a new network namespace; threads made before it stay where they are. Throws
  // std::runtime_error.
  Rig();
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  [[nodiscard]] uint32_t IfIndex(uint32_t port) const { return ifindex_.at(port); }
  [[nodiscard]] static std::set<uint32_t> ports() { return {1, 2, 3, 4}; }
  [[nodiscard]] static std::string Device(uint32_t port) { return "p" + std::to_string(port); }

  // What has come out of the ports since the last call. A live test run has delivered when it returns: the receiving
  // veths are polled in its own softirq.
  std::vector<reference::Emission> Take();

 private:
  struct Close {
    void operator()(bpf_object* object) const;
    void operator()(ring_buffer* ring) const;
  };

  std::map<uint32_t, uint32_t> ifindex_;  // of the ports
  std::map<uint32_t, uint32_t> port_of_;  // by the ifindex of the far end
  std::vector<reference::Emission> taken_;
  std::unique_ptr<bpf_object, Close> object_;
  std::unique_ptr<ring_buffer, Close> ring_;
};

}  // namespace sluice::compare
