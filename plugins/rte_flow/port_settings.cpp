// SPDX-License-Identifier: Apache-2.0
#include "port_settings.h"

#include <limits>

#include "interface/options.h"

namespace sluice::rteflow {
namespace {

template <typename T>
Result<void> Number(Options& options, const char* name, uint64_t least, uint64_t most, T& to) {
  const auto number = options.Number(name, to, least, most);
  if (!number) return number.error();
  to = static_cast<T>(*number);
  return {};
}

// The names of an enum's values, in their order.
template <typename T>
Result<void> Choice(Options& options, const char* name, std::initializer_list<const char*> names, T& to) {
  const auto chosen = options.Choice(name, names, *(names.begin() + static_cast<size_t>(to)));
  if (!chosen) return chosen.error();
  uint8_t value = 0;
  for (const char* each : names) {
    if (*chosen == each) to = static_cast<T>(value);
    ++value;
  }
  return {};
}

}  // namespace

Result<PortSettings> PortSettings::Parse(const std::map<std::string, std::string>& values,
                                         const PortSettings& defaults) {
  PortSettings to = defaults;
  Options options(values);
  to.devargs = options.Text("devargs", to.devargs);
  to.ethdev = options.Text("ethdev", to.ethdev);
  constexpr uint32_t kAny = std::numeric_limits<uint32_t>::max();
  Result<void> read;
  const auto then = [&](auto&& next) {
    if (read) read = next();
  };
  then([&] { return Number(options, "queues", 1, 64, to.queues); });
  then([&] { return Number(options, "rx_descriptors", 32, 32768, to.rx_descriptors); });
  then([&] { return Number(options, "tx_descriptors", 32, 32768, to.tx_descriptors); });
  then([&] { return Number(options, "buffers", 256, 1U << 22U, to.buffers); });
  then([&] { return Number(options, "mtu", 0, 9600, to.mtu); });
  then([&] { return Choice(options, "promiscuous", {"no", "yes"}, to.promiscuous); });
  then([&] { return Choice(options, "miss", {"upcall", "drop"}, to.miss); });
  then([&] { return Number(options, "upcall_rate", 0, kAny, to.upcall_rate); });
  then([&] { return Number(options, "upcall_bytes", 0, 65535, to.upcall_bytes); });
  then([&] { return Choice(options, "upcall_match", {"no", "yes"}, to.upcall_match); });
  then([&] { return Choice(options, "offload", {"full", "partial", "none"}, to.offload); });
  then([&] { return Choice(options, "rss", {"auto", "yes", "no"}, to.rss); });
  then([&] { return Choice(options, "uncounted", {"no", "yes"}, to.uncounted); });
  then([&] {
    return Choice(options, "port_item", {"none", "port_representor", "represented_port", "port_id"}, to.port_item);
  });
  then([&] { return Choice(options, "tagged", {"no", "yes"}, to.tagged); });
  then([&] { return options.CheckUnknown(); });
  if (!read) return read.error();
  return to;
}

}  // namespace sluice::rteflow
