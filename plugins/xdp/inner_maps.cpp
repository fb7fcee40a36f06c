// SPDX-License-Identifier: Apache-2.0
#include "inner_maps.h"

#include <bpf/bpf.h>

#include <cerrno>

#include "system.h"

namespace sluice::xdp {

namespace {

// 0 or the error number.
int Update(int outer, const std::vector<uint32_t>& keys, const std::vector<int>& fds) {
  auto count = static_cast<uint32_t>(keys.size());
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  return bpf_map_update_batch(outer, keys.data(), fds.data(), &count, &options) == 0 ? 0 : errno;
}

}  // namespace

Result<void> InsertInnerMaps(int outer, std::span<const InnerMap> maps) {
  std::vector<uint32_t> keys;
  std::vector<int> fds;
  for (const InnerMap& map : maps) {
    keys.push_back(map.key);
    fds.push_back(map.fd.get());
  }
  if (const int error = Update(outer, keys, fds); error != 0) {
    return SystemError("BPF_MAP_UPDATE_BATCH of a map of maps", error);
  }
  return {};
}

std::vector<bool> ReplaceInnerMaps(int outer, std::span<const uint32_t> keys,
                                   std::span<const std::shared_ptr<UniqueFd>> maps) {
  std::vector<int> fds;
  fds.reserve(maps.size());
  for (const auto& map : maps) fds.push_back(map->get());
  std::vector<bool> done(keys.size(), true);
  if (Update(outer, {keys.begin(), keys.end()}, fds) == 0) return done;
  // How far it came it does not tell in every case; one by one, which of them are in is known.
  for (size_t i = 0; i < keys.size(); ++i) done[i] = bpf_map_update_elem(outer, &keys[i], &fds[i], BPF_ANY) == 0;
  return done;
}

}  // namespace sluice::xdp
