// SPDX-License-Identifier: Apache-2.0
// A veth pair between two namespaces.
#pragma once

#include <string>

#include "support/netns.h"

namespace sluice::test {

struct VethEnd {
  const Netns* netns = nullptr;
  std::string device;
};

class Veth {
 public:
  // Both ends up, IPv6 autoconfiguration off (so that nothing speaks unasked), as many queues as given. Everything else
  // is left as the kernel makes it: checksum offload on, GRO off. Throws std::runtime_error.
  Veth(VethEnd a, VethEnd b, unsigned queues = 1);
  // Deletes the pair if it is still there.
  ~Veth();
  Veth(const Veth&) = delete;
  Veth& operator=(const Veth&) = delete;

  [[nodiscard]] const VethEnd& a() const { return a_; }
  [[nodiscard]] const VethEnd& b() const { return b_; }
  [[nodiscard]] unsigned IfIndexA() const { return a_.netns->IfIndex(a_.device); }
  [[nodiscard]] unsigned IfIndexB() const { return b_.netns->IfIndex(b_.device); }

 private:
  VethEnd a_;
  VethEnd b_;
};

// Has the kernel change a device: `ethtool -K device feature on|off` in its namespace.
void SetFeature(const VethEnd& end, const std::string& feature, bool on);

}  // namespace sluice::test
