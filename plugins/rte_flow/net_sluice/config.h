// SPDX-License-Identifier: Apache-2.0
// What a device is told by its devargs. README.md ("Arguments") lists them.
#pragma once

#include <rte_ether.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "profile.h"
#include "sluice/error.h"

namespace sluice::netsluice {

// Faults that a device plays.
struct Faults {
  uint64_t max_rules = UINT64_MAX;  // ENOSPC beyond
  uint32_t create_us = 0;           // how long a create takes
  bool eexist = false;              // overlapping rules of one priority are refused
  bool link_down = false;
  bool query_fails = false;
  bool query_no_reset = false;
  bool create_fails = false;
  bool destroy_fails = false;

  // False: no fault is called so. Errors: "bad_devargs", where its value is none.
  Result<bool> Apply(const std::string& name, const std::string& value);
};

struct Config {
  std::string iface;  // one of the two is empty
  std::string ring;
  const Profile* profile = nullptr;
  std::optional<rte_ether_addr> mac;
  uint32_t depth = 1024;  // packets that a ring holds, a power of two
  uint16_t queues = 16;   // at most, each of receive and transmit
  bool thread = false;    // receives, matches and edits in a thread of its own
  int cpu = -1;           // which runs there; -1: where EAL's control threads do
  bool validate_lies = false;
  Faults faults;
  std::string faults_path;  // a file with more of them; may be empty

  // Errors: "bad_devargs", naming the argument.
  static Result<Config> Parse(const std::string& devargs);
};

}  // namespace sluice::netsluice
