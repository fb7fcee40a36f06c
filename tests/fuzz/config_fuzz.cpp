// SPDX-License-Identifier: Apache-2.0
// The daemon's configuration file, and the argument of --port.
#include "config.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(sluice::fuzz::Text(data, size));
  sluice::core::Config config;
  if (const auto read = sluice::core::ReadConfigText(text, "f.toml", config); !read) {
    FUZZ_CHECK(read.error().reason == "bad_config");
    FUZZ_CHECK(read.error().detail.starts_with("f.toml:"));
  } else {
    FUZZ_CHECK(config.max_flows >= 1 && config.max_message >= 1'024 && config.queue_ingress >= 1);
    for (const auto& plugin : config.plugins) FUZZ_CHECK(!plugin.name.empty());
    for (const auto& port : config.ports) FUZZ_CHECK(!port.name.empty());
  }
  if (const auto port = sluice::core::ReadPortArgument(text)) FUZZ_CHECK(!port->name.empty() && !port->plugin.empty());
  return 0;
}
