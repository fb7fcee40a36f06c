// SPDX-License-Identifier: Apache-2.0
#include "ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "sluice/unique_fd.h"
#include "system.h"

namespace sluice::xdp {
namespace {

// 0 or the errno.
int Ethtool(const std::string& device, void* command) {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  ifreq request{};
  if (device.size() >= sizeof(request.ifr_name)) return ENODEV;
  std::memcpy(request.ifr_name, device.data(), device.size());
  request.ifr_data = static_cast<char*>(command);
  return ioctl(fd.get(), SIOCETHTOOL, &request) < 0 ? errno : 0;
}

// ethtool's commands end in arrays: room for a T with `extra` bytes behind it.
template <typename T>
class Command {
 public:
  explicit Command(uint32_t number, size_t extra = 0) : words_((sizeof(T) + extra + 7) / 8) { get()->cmd = number; }
  T* get() { return reinterpret_cast<T*>(words_.data()); }
  T* operator->() { return get(); }

 private:
  std::vector<uint64_t> words_;
};

constexpr uint32_t kBitsPerBlock = 32;
uint32_t Blocks(size_t features) { return static_cast<uint32_t>((features + kBitsPerBlock - 1) / kBitsPerBlock); }

Result<std::vector<std::string>> FeatureNames(const std::string& device) {
  Command<ethtool_sset_info> info(ETHTOOL_GSSET_INFO, sizeof(uint32_t));
  info->sset_mask = 1ULL << ETH_SS_FEATURES;
  if (const int error = Ethtool(device, info.get())) return SystemError("reading the features of " + device, error);
  const uint32_t count = info->sset_mask == 0 ? 0 : info->data[0];
  Command<ethtool_gstrings> strings(ETHTOOL_GSTRINGS, static_cast<size_t>(count) * ETH_GSTRING_LEN);
  strings->string_set = ETH_SS_FEATURES;
  strings->len = count;
  if (const int error = Ethtool(device, strings.get())) return SystemError("reading the features of " + device, error);
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; ++i) {
    const auto* name = reinterpret_cast<const char*>(strings->data) + static_cast<size_t>(i) * ETH_GSTRING_LEN;
    names.emplace_back(name, strnlen(name, ETH_GSTRING_LEN));
  }
  return names;
}

}  // namespace

Result<Features> ReadFeatures(const std::string& device) {
  const auto names = FeatureNames(device);
  if (!names) return names.error();
  const uint32_t blocks = Blocks(names->size());
  Command<ethtool_gfeatures> state(ETHTOOL_GFEATURES, blocks * sizeof(ethtool_get_features_block));
  state->size = blocks;
  if (const int error = Ethtool(device, state.get())) return SystemError("reading the features of " + device, error);
  Features features;
  for (size_t i = 0; i < names->size(); ++i) {
    if ((*names)[i].empty()) continue;
    const auto& block = state->features[i / kBitsPerBlock];
    const uint32_t bit = 1U << (i % kBitsPerBlock);
    features[(*names)[i]] = {(block.active & bit) != 0, (block.requested & bit) != 0,
                             (block.available & bit) != 0 && (block.never_changed & bit) == 0};
  }
  return features;
}

Result<void> SetFeatures(const std::string& device, const std::map<std::string, bool>& wanted) {
  const auto names = FeatureNames(device);
  if (!names) return names.error();
  const uint32_t blocks = Blocks(names->size());
  Command<ethtool_sfeatures> change(ETHTOOL_SFEATURES, blocks * sizeof(ethtool_set_features_block));
  change->size = blocks;
  for (size_t i = 0; i < names->size(); ++i) {
    const auto found = wanted.find((*names)[i]);
    if (found == wanted.end()) continue;
    auto& block = change->features[i / kBitsPerBlock];
    const uint32_t bit = 1U << (i % kBitsPerBlock);
    block.valid |= bit;
    if (found->second) block.requested |= bit;
  }
  if (const int error = Ethtool(device, change.get())) {
    return SystemErrorNeeding("setting features of " + device, error, {kCapNetAdmin});
  }
  // The kernel takes a request that it cannot fulfil; see what became of it.
  const auto now = ReadFeatures(device);
  if (!now) return now.error();
  for (const auto& [name, on] : wanted) {
    const auto found = now->find(name);
    if (found == now->end() || found->second.requested != on) {
      return Error{
          "not_supported",
          std::string(device).append(" does not let ").append(name).append(on ? " be turned on" : " be turned off")};
    }
  }
  return {};
}

std::string ReadDriver(const std::string& device) {
  Command<ethtool_drvinfo> info(ETHTOOL_GDRVINFO);
  if (Ethtool(device, info.get()) != 0) return {};
  return {info->driver, strnlen(info->driver, sizeof(info->driver))};
}

Channels ReadChannels(const std::string& device) {
  Command<ethtool_channels> channels(ETHTOOL_GCHANNELS);
  if (Ethtool(device, channels.get()) != 0) return {};
  return {channels->rx_count + channels->combined_count, channels->tx_count + channels->combined_count};
}

}  // namespace sluice::xdp
