// SPDX-License-Identifier: Apache-2.0
#include "inner_maps.h"

#include <bpf/bpf.h>

#include <cerrno>

#include "system.h"

namespace sluice::xdp {

Result<void> InsertInnerMaps(int outer, std::span<const InnerMap> maps) {
  std::vector<uint32_t> keys;
  std::vector<int> fds;
  for (const InnerMap& map : maps) {
    keys.push_back(map.key);
    fds.push_back(map.fd.get());
  }
  auto count = static_cast<uint32_t>(maps.size());
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  if (bpf_map_update_batch(outer, keys.data(), fds.data(), &count, &options) == 0) return {};
  return SystemError("BPF_MAP_UPDATE_BATCH of a map of maps", errno);
}

}  // namespace sluice::xdp
