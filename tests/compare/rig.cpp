// SPDX-License-Identifier: Apache-2.0
#include "compare/rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>

#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

#include "compare/capture_record.h"
#include "support/process.h"

namespace sluice::compare {
namespace {

void Check(int result, const char* what) {
  if (result < 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(-result));
}

void Ip(std::vector<std::string> words) {
  words.insert(words.begin(), "ip");
  test::RunOrThrow(words);
}

// Its far end is qN. The MTU leaves room for the tags that flows push.
void MakePort(const std::string& device, const std::string& far) {
  Ip({"link", "add", device, "mtu", "3000", "type", "veth", "peer", "name", far, "mtu", "3000"});
  for (const auto& end : {device, far}) {
    std::ofstream("/proc/sys/net/ipv6/conf/" + end + "/disable_ipv6") << "1";
    Ip({"link", "set", end, "up"});
  }
}

}  // namespace

void Rig::Close::operator()(bpf_object* object) const { bpf_object__close(object); }
void Rig::Close::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

Rig::Rig() {
  if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error(std::string("unshare: ") + std::strerror(errno));
  object_.reset(bpf_object__open_file(SLUICE_CAPTURE_OBJECT, nullptr));
  if (object_ == nullptr) throw std::runtime_error("cannot open " SLUICE_CAPTURE_OBJECT);
  Check(bpf_object__load(object_.get()), "load capture");
  const int program = bpf_program__fd(bpf_object__find_program_by_name(object_.get(), "capture"));
  for (uint32_t port = 1; port <= kPorts; ++port) {
    const std::string far = "q" + std::to_string(port);
    MakePort(Device(port), far);
    ifindex_[port] = if_nametoindex(Device(port).c_str());
    const unsigned far_index = if_nametoindex(far.c_str());
    port_of_[far_index] = port;
    Check(bpf_xdp_attach(static_cast<int>(far_index), program, XDP_FLAGS_DRV_MODE, nullptr), "attach capture");
  }
  auto on_frame = [](void* rig, void* data, size_t) {
    const auto* record = static_cast<const capture_record*>(data);
    auto* self = static_cast<Rig*>(rig);
    self->taken_.push_back(
        {self->port_of_.at(record->ifindex), reference::Bytes(record->bytes, record->bytes + record->length)});
    return 0;
  };
  ring_.reset(ring_buffer__new(bpf_object__find_map_fd_by_name(object_.get(), "frames"), on_frame, this, nullptr));
  if (ring_ == nullptr) throw std::runtime_error("no ring buffer");
}

Rig::~Rig() = default;

std::vector<reference::Emission> Rig::Take() {
  Check(ring_buffer__consume(ring_.get()), "ring buffer");
  return std::exchange(taken_, {});
}

}  // namespace sluice::compare
