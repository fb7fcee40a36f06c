// SPDX-License-Identifier: Apache-2.0
#include "object_meta.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "counters.h"
#include "pass.h"

namespace sluice::xdp {
namespace {

Error Bad(const std::string& what) { return {"bad_object", what}; }

// ---- Section .sluice_meta.

// libbpf looks at a file's types less than one would wish: names and types that others refer to need not be there.
constexpr int kMaxMembers = 1024;  // of a key, in all that it is made of

std::string_view NameAt(const struct btf* btf, uint32_t offset) {
  const char* name = btf__name_by_offset(btf, offset);
  return name != nullptr ? name : "";
}

// The struct that the variable of section .sluice_meta is, or nullptr.
const btf_type* MetaType(const struct btf* btf) {
  const int id = btf__find_by_name_kind(btf, ".sluice_meta", BTF_KIND_DATASEC);
  if (id < 0) return nullptr;
  const btf_type* section = btf__type_by_id(btf, id);
  if (btf_vlen(section) == 0) return nullptr;
  const btf_type* variable = btf__type_by_id(btf, btf_var_secinfos(section)[0].type);
  if (variable == nullptr || !btf_is_var(variable)) return nullptr;
  const int type = btf__resolve_type(btf, variable->type);
  if (type < 0) return nullptr;
  const btf_type* result = btf__type_by_id(btf, type);
  return result != nullptr && btf_is_struct(result) ? result : nullptr;
}

// The type of member `name` of `meta`, with typedefs and qualifiers removed; or nullptr.
const btf_type* TypeOfMember(const struct btf* btf, const btf_type* meta, std::string_view name) {
  const btf_member* members = btf_members(meta);
  for (int i = 0; i < btf_vlen(meta); ++i) {
    if (NameAt(btf, members[i].name_off) != name) continue;
    const int id = btf__resolve_type(btf, members[i].type);
    return id < 0 ? nullptr : btf__type_by_id(btf, id);
  }
  return nullptr;
}

// A number as __uint(name, number) declares it: a pointer to an array of that many.
Result<uint32_t> Number(const struct btf* btf, const btf_type* meta, const std::string& name) {
  const btf_type* pointer = TypeOfMember(btf, meta, name);
  const btf_type* array = pointer != nullptr && btf_is_ptr(pointer) ? btf__type_by_id(btf, pointer->type) : nullptr;
  if (array == nullptr || !btf_is_array(array)) return Bad("Its .sluice_meta has no number " + name);
  return btf_array(array)->nelems;
}

// Enters the named members of `type`, which stands `base` bytes into the key, and of the unnamed structs and unions in
// it. `left`: members that may be looked at, as a struct may be said to be in itself.
Result<void> CollectFields(const struct btf* btf, const btf_type* type, uint32_t base, int& left, KeyLayout& layout) {
  const btf_member* members = btf_members(type);
  for (int i = 0; i < btf_vlen(type); ++i) {
    if (--left < 0) return Bad("Its key has more than " + std::to_string(kMaxMembers) + " members");
    const uint32_t offset = base + btf_member_bit_offset(type, i) / 8;
    const std::string_view name = NameAt(btf, members[i].name_off);
    const int id = btf__resolve_type(btf, members[i].type);
    const btf_type* member = id < 0 ? nullptr : btf__type_by_id(btf, id);
    if (member == nullptr) return Bad("The type of its key's member " + std::string(name) + " cannot be resolved");
    if (name.empty()) {
      if (!btf_is_composite(member)) continue;
      if (auto collected = CollectFields(btf, member, offset, left, layout); !collected) return collected;
      continue;
    }
    const FieldInfo* field = FindField(name);
    if (field == nullptr) continue;  // padding, or a field that this version does not know
    const auto size = btf__resolve_size(btf, members[i].type);
    if (btf_member_bitfield_size(type, i) != 0 || size < field->size) {
      return Bad("Its key's member " + std::string(name) + " has not the " + std::to_string(field->size) +
                 " bytes that the field has");
    }
    if (offset > layout.size || size > layout.size - offset) {
      return Bad("Its key's member " + std::string(name) + " is not inside the key");
    }
    layout.members[static_cast<size_t>(field->id)] = {static_cast<uint16_t>(offset), static_cast<uint16_t>(size)};
  }
  return {};
}

// The members only_<field>.
Result<void> CollectOnly(const struct btf* btf, const btf_type* meta, KeyLayout& layout) {
  constexpr std::string_view kPrefix = "only_";
  for (int i = 0; i < btf_vlen(meta); ++i) {
    const std::string name(NameAt(btf, btf_members(meta)[i].name_off));
    if (!name.starts_with(kPrefix)) continue;
    const FieldInfo* field = FindField(std::string_view(name).substr(kPrefix.size()));
    if (field == nullptr || field->size > 4)
      return Bad("Its " + name + " is about no field, or one of more than 4 bytes");
    if (layout.Has(field->id)) return Bad("Its " + name + " is about a field that its key has");
    const auto value = Number(btf, meta, name);
    if (!value) return value.error();
    layout.only.emplace_back(field->id, *value);
  }
  return {};
}

Result<KeyLayout> ReadKey(const struct btf* btf, const btf_type* meta) {
  const btf_type* key = TypeOfMember(btf, meta, "key");
  if (key == nullptr || !btf_is_struct(key)) return Bad("Its .sluice_meta names no struct as key");
  KeyLayout layout;
  layout.size = key->size;
  if (layout.size == 0 || layout.size % 8 != 0 || layout.size > kMaxKeyWords * 8) {
    return Bad("Its key has " + std::to_string(layout.size) + " bytes: not a multiple of 8 up to " +
               std::to_string(kMaxKeyWords * 8));
  }
  int left = kMaxMembers;
  if (auto collected = CollectFields(btf, key, 0, left, layout); !collected) return collected.error();
  if (auto collected = CollectOnly(btf, meta, layout); !collected) return collected.error();
  return layout;
}

constexpr std::array<std::pair<std::string_view, sluice_action_type>, 14> kActionNames = {{
    {"DROP", SLUICE_ACTION_DROP},
    {"OUTPUT", SLUICE_ACTION_OUTPUT},
    {"GROUP", SLUICE_ACTION_GROUP},
    {"FLOOD", SLUICE_ACTION_FLOOD},
    {"USERSPACE", SLUICE_ACTION_USERSPACE},
    {"SOFTWARE", SLUICE_ACTION_SOFTWARE},
    {"RECIRC", SLUICE_ACTION_RECIRC},
    {"CT", SLUICE_ACTION_CT},
    {"TNL_POP", SLUICE_ACTION_TNL_POP},
    {"TNL_PUSH", SLUICE_ACTION_TNL_PUSH},
    {"PUSH_VLAN", SLUICE_ACTION_PUSH_VLAN},
    {"POP_VLAN", SLUICE_ACTION_POP_VLAN},
    {"SET", SLUICE_ACTION_SET},
    {"DEC_TTL", SLUICE_ACTION_DEC_TTL},
}};

Result<uint32_t> ReadActions(const struct btf* btf, const btf_type* meta) {
  const btf_type* type = TypeOfMember(btf, meta, "actions");
  if (type == nullptr || !btf_is_enum(type)) return Bad("Its .sluice_meta names no enum as actions");
  constexpr std::string_view kPrefix = "SLUICE_CAN_";
  uint32_t actions = 0;
  for (int i = 0; i < btf_vlen(type); ++i) {
    const std::string_view name = NameAt(btf, btf_enum(type)[i].name_off);
    const auto known = std::find_if(kActionNames.begin(), kActionNames.end(), [&](const auto& action) {
      return name.starts_with(kPrefix) && name.substr(kPrefix.size()) == action.first;
    });
    if (known == kActionNames.end()) {
      return Bad("Its actions have " + std::string(name) + ", which is none that this version knows");
    }
    if (btf_enum(type)[i].val != known->second) {
      return Bad("Its " + std::string(name) + " is " + std::to_string(btf_enum(type)[i].val) + ", not " +
                 std::to_string(known->second));
    }
    actions |= 1U << known->second;
  }
  if ((actions & 1U << SLUICE_ACTION_DROP) == 0) return Bad("Its actions are without SLUICE_CAN_DROP");
  return actions;
}

std::vector<std::string> ReadTailCalls(const struct btf* btf, const btf_type* meta) {
  std::vector<std::string> names;
  const btf_type* type = TypeOfMember(btf, meta, "tail_calls");
  if (type == nullptr || !btf_is_struct(type)) return names;
  for (int i = 0; i < btf_vlen(type); ++i) {
    names.emplace_back(NameAt(btf, btf_members(type)[i].name_off));
  }
  return names;
}

// ---- Maps and programs.

// As enum sluice_pass_program numbers them.
const std::vector<std::string> kPassPrograms{"sluice_lookup", "sluice_ct", "sluice_pop", "sluice_push"};

enum class Wanted : uint8_t { kAlways, kIfCached, kIfTailCalls, kIfPasses, kIfLaterPasses, kOptional };

struct MapRule {
  const char* name;
  bpf_map_type type;
  uint32_t value_size;  // and word_size for each word of the key
  uint32_t word_size;
  bool mapped;  // BPF_F_MMAPABLE
  Wanted wanted;
};

constexpr std::array<MapRule, 17> kMapRules = {{
    {"records", BPF_MAP_TYPE_ARRAY, sizeof(sluice_record), 8, true, Wanted::kAlways},
    {"masks", BPF_MAP_TYPE_ARRAY, 0, 8, true, Wanted::kAlways},
    {"mask_lists", BPF_MAP_TYPE_ARRAY, sizeof(sluice_mask_list), 0, true, Wanted::kAlways},
    {"subtables", BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 0, false, Wanted::kAlways},
    {"stats", BPF_MAP_TYPE_ARRAY, sizeof(sluice_stats), 0, true, Wanted::kAlways},
    {"cpus", BPF_MAP_TYPE_ARRAY, 0, 0, true, Wanted::kAlways},
    {"ports", BPF_MAP_TYPE_DEVMAP, 4, 0, false, Wanted::kAlways},
    {"edits", BPF_MAP_TYPE_ARRAY, sizeof(sluice_edit), 0, true, Wanted::kOptional},
    {"cache", BPF_MAP_TYPE_ARRAY, 8, 0, true, Wanted::kOptional},
    {"cache_keys", BPF_MAP_TYPE_ARRAY, sizeof(sluice_cache_key), 8, false, Wanted::kIfCached},
    {"groups", BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 0, false, Wanted::kOptional},
    {"xsks", BPF_MAP_TYPE_XSKMAP, 4, 0, false, Wanted::kOptional},
    {"tail_calls", BPF_MAP_TYPE_PROG_ARRAY, 4, 0, false, Wanted::kIfTailCalls},
    {"passes", BPF_MAP_TYPE_PROG_ARRAY, 4, 0, false, Wanted::kOptional},
    {"pass_state", BPF_MAP_TYPE_ARRAY, sizeof(sluice_pass_state), 0, false, Wanted::kIfPasses},
    {"steps", BPF_MAP_TYPE_ARRAY, sizeof(sluice_step), 0, true, Wanted::kIfLaterPasses},
    {"pass_ports", BPF_MAP_TYPE_ARRAY, sizeof(sluice_pass_port), 0, true, Wanted::kIfLaterPasses},
}};

Error WrongMap(const char* name, const std::string& what) { return Bad("Its map " + std::string(name) + " " + what); }

Result<void> CheckMap(const bpf_map* map, const MapRule& rule, uint32_t words) {
  if (bpf_map__type(map) != rule.type) {
    return WrongMap(rule.name, std::string("is of type ") + libbpf_bpf_map_type_str(bpf_map__type(map)) + ", not " +
                                   libbpf_bpf_map_type_str(rule.type));
  }
  if (bpf_map__key_size(map) != 4) {
    return WrongMap(rule.name, "has keys of " + std::to_string(bpf_map__key_size(map)) + " bytes, not 4");
  }
  const uint32_t value_size = rule.value_size + rule.word_size * words;
  if (value_size != 0 && bpf_map__value_size(map) != value_size) {
    return WrongMap(rule.name, "has values of " + std::to_string(bpf_map__value_size(map)) + " bytes, not " +
                                   std::to_string(value_size));
  }
  if (rule.mapped && (bpf_map__map_flags(map) & BPF_F_MMAPABLE) == 0) {
    return WrongMap(rule.name, "is without BPF_F_MMAPABLE");
  }
  return {};
}

Result<void> CheckEntries(const bpf_object* object, const char* name, uint32_t least) {
  const bpf_map* map = bpf_object__find_map_by_name(object, name);
  if (map == nullptr || bpf_map__max_entries(map) >= least) return {};
  return WrongMap(name,
                  "has " + std::to_string(bpf_map__max_entries(map)) + " entries, fewer than " + std::to_string(least));
}

Result<void> CheckSubtables(const bpf_object* object, uint32_t words) {
  const bpf_map* inner = bpf_map__inner_map(bpf_object__find_map_by_name(object, "subtables"));
  if (inner == nullptr) return WrongMap("subtables", "says nothing of the maps in it");
  if (bpf_map__type(inner) != BPF_MAP_TYPE_HASH || bpf_map__key_size(inner) != words * 8 ||
      bpf_map__value_size(inner) != 4 || bpf_map__map_flags(inner) != BPF_F_NO_PREALLOC) {
    return WrongMap("subtables", "is not one of hash maps with BPF_F_NO_PREALLOC from the key's " +
                                     std::to_string(words * 8) + " bytes to 4");
  }
  return {};
}

Result<void> CheckMaps(const bpf_object* object, const ObjectMeta& meta, ObjectRole role) {
  const bool later = role == ObjectRole::kLaterPasses;
  const bool leaves = bpf_object__find_map_by_name(object, "passes") != nullptr;
  for (const MapRule& rule : kMapRules) {
    const bpf_map* map = bpf_object__find_map_by_name(object, rule.name);
    const bool wanted = rule.wanted == Wanted::kAlways || (rule.wanted == Wanted::kIfCached && meta.cache) ||
                        (rule.wanted == Wanted::kIfTailCalls && !meta.tail_calls.empty()) ||
                        (rule.wanted == Wanted::kIfPasses && (later || leaves)) ||
                        (rule.wanted == Wanted::kIfLaterPasses && later);
    if (map == nullptr && wanted) return Bad("It has no map " + std::string(rule.name));
    if (map == nullptr) continue;
    if (auto checked = CheckMap(map, rule, meta.key.words()); !checked) return checked;
  }
  if (auto checked = CheckSubtables(object, meta.key.words()); !checked) return checked;
  const auto tail_calls = static_cast<uint32_t>(meta.tail_calls.size());
  for (const auto& [name, least] : {std::pair<const char*, uint32_t>{"masks", SLUICE_MASK_SLOTS},
                                    {"mask_lists", SLUICE_MASK_LISTS},
                                    {"subtables", SLUICE_MASK_SLOTS},
                                    {"tail_calls", tail_calls},
                                    {"passes", SLUICE_PASS_PROGRAMS}}) {
    if (auto checked = CheckEntries(object, name, least); !checked) return checked;
  }
  const uint32_t cpu = bpf_map__value_size(bpf_object__find_map_by_name(object, "cpus"));
  const auto least = static_cast<uint32_t>(later ? SLUICE_PASS_COUNTER_SLOTS * 8 : sizeof(sluice_cpu));
  if (cpu < least || cpu % 8 != 0) {
    return WrongMap(
        "cpus", "has values of " + std::to_string(cpu) + " bytes, not a multiple of 8 from " + std::to_string(least));
  }
  return {};
}

// Sections that libbpf makes maps of: the control block, written at any time, and the configuration, before the load.
Result<void> CheckSections(const bpf_object* object, uint32_t words, ObjectRole role) {
  for (const auto& [name, size] :
       {std::pair<const char*, uint32_t>{".data.control", sizeof(sluice_control) + words * 8},
        {".rodata.config", static_cast<uint32_t>(sizeof(sluice_config)) + (words + 1) * 8},
        {".rodata.passes", sizeof(sluice_pass_config)}}) {
    if (role == ObjectRole::kPort && std::string_view(name) == ".rodata.passes") continue;
    const bpf_map* map = bpf_object__find_map_by_name(object, name);
    if (map == nullptr) return Bad("It has no section " + std::string(name));
    if (bpf_map__value_size(map) != size) {
      return Bad("Its section " + std::string(name) + " has " + std::to_string(bpf_map__value_size(map)) +
                 " bytes, not " + std::to_string(size));
    }
  }
  return {};
}

// An action without the map that it goes by could not be done.
Result<void> CheckActions(const bpf_object* object, const ObjectMeta& meta, ObjectRole role) {
  const char* next = role == ObjectRole::kLaterPasses ? "tail_calls" : "passes";
  struct Rule {
    sluice_action_type action;
    const char* name;
    const char* map;
  };
  for (const Rule& rule :
       {Rule{SLUICE_ACTION_GROUP, "SLUICE_CAN_GROUP", "groups"},
        Rule{SLUICE_ACTION_FLOOD, "SLUICE_CAN_FLOOD", "groups"},
        Rule{SLUICE_ACTION_USERSPACE, "SLUICE_CAN_USERSPACE", "xsks"},
        Rule{SLUICE_ACTION_SOFTWARE, "SLUICE_CAN_SOFTWARE", "xsks"},
        Rule{SLUICE_ACTION_PUSH_VLAN, "SLUICE_CAN_PUSH_VLAN", "edits"},
        Rule{SLUICE_ACTION_POP_VLAN, "SLUICE_CAN_POP_VLAN", "edits"},
        Rule{SLUICE_ACTION_SET, "SLUICE_CAN_SET", "edits"}, Rule{SLUICE_ACTION_DEC_TTL, "SLUICE_CAN_DEC_TTL", "edits"},
        Rule{SLUICE_ACTION_RECIRC, "SLUICE_CAN_RECIRC", next}, Rule{SLUICE_ACTION_CT, "SLUICE_CAN_CT", next},
        Rule{SLUICE_ACTION_TNL_POP, "SLUICE_CAN_TNL_POP", next},
        Rule{SLUICE_ACTION_TNL_PUSH, "SLUICE_CAN_TNL_PUSH", next}}) {
    if (meta.Can(rule.action) && bpf_object__find_map_by_name(object, rule.map) == nullptr) {
      return Bad("It has " + std::string(rule.name) + " but no map " + rule.map);
    }
  }
  return {};
}

Result<void> CheckPrograms(const bpf_object* object, const ObjectMeta& meta, ObjectRole role) {
  std::vector<std::string> names = meta.tail_calls;
  if (role == ObjectRole::kPort) {
    names.emplace_back("sluice_xdp");
  } else if (names != kPassPrograms) {
    return Bad("Its tail_calls are not sluice_lookup, sluice_ct, sluice_pop and sluice_push");
  }
  for (const std::string& name : names) {
    const bpf_program* program = bpf_object__find_program_by_name(object, name.c_str());
    if (program == nullptr) {
      return Bad("It has no program " + name + (name == "sluice_xdp" ? "" : ", which its tail_calls name"));
    }
    if (bpf_program__type(program) != BPF_PROG_TYPE_XDP) return Bad("Its program " + name + " is not for XDP");
  }
  return {};
}

}  // namespace

Result<ObjectMeta> ReadTypes(const struct btf* btf) {
  const btf_type* type = MetaType(btf);
  if (type == nullptr) return Bad("It has no section .sluice_meta with type information");
  const auto abi = Number(btf, type, "abi");
  if (!abi) return abi.error();
  if (*abi != SLUICE_CONTRACT_ABI) {
    return Bad("Its abi is " + std::to_string(*abi) + ", not " + std::to_string(SLUICE_CONTRACT_ABI));
  }
  ObjectMeta meta;
  auto key = ReadKey(btf, type);
  if (!key) return key.error();
  meta.key = *key;
  const auto actions = ReadActions(btf, type);
  if (!actions) return actions.error();
  meta.actions = *actions;
  for (const auto& [name, value] : {std::pair{"max_masks", &meta.max_masks}, {"max_edits", &meta.max_edits}}) {
    const auto number = Number(btf, type, name);
    if (!number) return number.error();
    *value = *number;
  }
  if (meta.max_masks == 0) return Bad("Its max_masks is 0");
  meta.max_masks = std::min<uint32_t>(meta.max_masks, SLUICE_MAX_MASKS);
  meta.max_edits = std::min<uint32_t>(meta.max_edits, SLUICE_MAX_EDITS);
  meta.tail_calls = ReadTailCalls(btf, type);
  return meta;
}

Result<ObjectMeta> ReadMeta(const bpf_object* object, ObjectRole role) {
  const struct btf* btf = bpf_object__btf(object);
  if (btf == nullptr) return Bad("It has no BTF: compile it with -g");
  auto read = ReadTypes(btf);
  if (!read) return read;
  ObjectMeta& meta = *read;
  if (bpf_object__find_map_by_name(object, "edits") == nullptr) meta.max_edits = 0;
  meta.cache = bpf_object__find_map_by_name(object, "cache") != nullptr;
  for (const auto& checked : {CheckPrograms(object, meta, role), CheckMaps(object, meta, role),
                              CheckSections(object, meta.key.words(), role), CheckActions(object, meta, role)}) {
    if (!checked) return checked.error();
  }
  return read;
}

}  // namespace sluice::xdp
