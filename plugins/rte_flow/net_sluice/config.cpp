// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <net/if.h>
#include <rte_kvargs.h>

#include <bit>
#include <charconv>
#include <memory>

namespace sluice::netsluice {
namespace {

Error Bad(const std::string& name, const std::string& value, const std::string& why) {
  return {"bad_devargs", name + "=" + value + ": " + why};
}

template <typename Number>
Result<Number> ParseNumber(const std::string& name, const std::string& value, Number least, Number most) {
  Number number{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least || number > most) {
    return Bad(name, value, "must be a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

template <typename Number>
Result<bool> SetNumber(const std::string& name, const std::string& value, Number least, Number most, Number& number) {
  auto parsed = ParseNumber<Number>(name, value, least, most);
  if (!parsed) return parsed.error();
  number = *parsed;
  return true;
}

// `no`: what stands for false.
Result<bool> SetFlag(const std::string& name, const std::string& value, const char* yes, const char* no, bool& flag) {
  if (value != yes && value != no) return Bad(name, value, std::string("must be ") + yes + " or " + no);
  flag = value == yes;
  return true;
}

Result<bool> Set(Config& config, const std::string& name, const std::string& value) {
  if (name == "iface") {
    if (value.empty() || value.size() >= IF_NAMESIZE) return Bad(name, value, "is no name of a network device");
    config.iface = value;
    return true;
  }
  if (name == "ring") {
    if (value.empty()) return Bad(name, value, "must be a name");
    config.ring = value;
    return true;
  }
  if (name == "profile") {
    config.profile = FindProfile(value);
    if (config.profile == nullptr) return Bad(name, value, "must be one of " + ProfileNames());
    return true;
  }
  if (name == "mac") {
    rte_ether_addr mac;
    if (rte_ether_unformat_addr(value.c_str(), &mac) != 0 || rte_is_valid_assigned_ether_addr(&mac) == 0) {
      return Bad(name, value, "is no MAC address of one station");
    }
    config.mac = mac;
    return true;
  }
  if (name == "depth") {
    auto set = SetNumber<uint32_t>(name, value, 64, 1 << 20, config.depth);
    if (set && !std::has_single_bit(config.depth)) return Bad(name, value, "must be a power of two");
    return set;
  }
  if (name == "queues") return SetNumber<uint16_t>(name, value, 1, 64, config.queues);
  if (name == "thread") return SetFlag(name, value, "1", "0", config.thread);
  if (name == "cpu") return SetNumber<int>(name, value, 0, 1023, config.cpu);
  if (name == "validate") return SetFlag(name, value, "lies", "true", config.validate_lies);
  if (name == "faults") {
    config.faults_path = value;
    return true;
  }
  return config.faults.Apply(name, value);
}

struct FreeKvargs {
  void operator()(rte_kvargs* kvargs) const { rte_kvargs_free(kvargs); }
};

}  // namespace

Result<bool> Faults::Apply(const std::string& name, const std::string& value) {
  if (name == "max_rules") return SetNumber<uint64_t>(name, value, 0, UINT64_MAX, max_rules);
  if (name == "create_us") return SetNumber<uint32_t>(name, value, 0, 10'000'000, create_us);
  if (name == "eexist") return SetFlag(name, value, "1", "0", eexist);
  if (name == "link") return SetFlag(name, value, "down", "up", link_down);
  if (name == "query") return SetFlag(name, value, "fail", "ok", query_fails);
  if (name == "query_noreset") return SetFlag(name, value, "1", "0", query_no_reset);
  if (name == "create") return SetFlag(name, value, "fail", "ok", create_fails);
  if (name == "destroy") return SetFlag(name, value, "fail", "ok", destroy_fails);
  return false;
}

Result<Config> Config::Parse(const std::string& devargs) {
  Config config;
  config.profile = FindProfile("full");
  const std::unique_ptr<rte_kvargs, FreeKvargs> kvargs(rte_kvargs_parse(devargs.c_str(), nullptr));
  if (kvargs == nullptr) return Error{"bad_devargs", "\"" + devargs + "\" is no list of key=value"};
  for (unsigned i = 0; i < kvargs->count; ++i) {
    const rte_kvargs_pair& pair = kvargs->pairs[i];
    const std::string name = pair.key;
    if (pair.value == nullptr) return Error{"bad_devargs", name + ": has no value"};
    auto set = Set(config, name, pair.value);
    if (!set) return set.error();
    if (!*set) return Error{"bad_devargs", name + ": there is no such argument"};
  }
  if (config.iface.empty() == config.ring.empty()) {
    return Error{"bad_devargs", "either iface=DEVICE or ring=NAME must say what the wire is"};
  }
  return config;
}

}  // namespace sluice::netsluice
