// SPDX-License-Identifier: Apache-2.0
// What an XDP object says of itself, and whether it has what that takes: bpf/CONTRACT.md, before it is loaded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "action.h"
#include "key_layout.h"
#include "sluice/error.h"

struct btf;
struct bpf_object;

namespace sluice::xdp {

struct ObjectMeta {
  KeyLayout key;
  uint32_t actions = 0;  // bit n: it can do action n of enum sluice_action_type
  uint32_t max_masks = 0;
  uint32_t max_edits = 0;  // of one flow; 0 where it has no map `edits`
  bool cache = false;      // it has the maps `cache` and `cache_keys`
  // Names of programs, in the order of their slots in map `tail_calls`.
  std::vector<std::string> tail_calls;

  [[nodiscard]] bool Can(sluice_action_type action) const { return (actions >> action & 1) != 0; }
};

// The part that section .sluice_meta says in types; max_edits, cache and the rest as they are declared, whatever maps
// there are. Errors: "bad_object".
Result<ObjectMeta> ReadTypes(const struct btf* btf);
// Whose the programs are: a port's own, with sluice_xdp, or all ports' for their later passes, with those that enum
// sluice_pass_program numbers.
enum class ObjectRole : uint8_t { kPort, kLaterPasses };

// From the types in section .sluice_meta, and from the declarations of maps and programs. The object is open and not
// loaded. Errors: "bad_object", with what is missing or wrong.
Result<ObjectMeta> ReadMeta(const bpf_object* object, ObjectRole role = ObjectRole::kPort);

}  // namespace sluice::xdp
