// SPDX-License-Identifier: Apache-2.0
#include "key_layout.h"

#include <bpf/btf.h>

#include <string_view>

namespace sluice::xdp {
namespace {

Error Bad(const std::string& what) { return {"bad_object", what}; }

// The struct that the variable of section .sluice_meta is, or nullptr.
const btf_type* MetaType(const struct btf* btf) {
  const int id = btf__find_by_name_kind(btf, ".sluice_meta", BTF_KIND_DATASEC);
  if (id < 0) return nullptr;
  const btf_type* section = btf__type_by_id(btf, id);
  if (btf_vlen(section) == 0) return nullptr;
  const btf_type* variable = btf__type_by_id(btf, btf_var_secinfos(section)[0].type);
  if (!btf_is_var(variable)) return nullptr;
  const int type = btf__resolve_type(btf, variable->type);
  if (type < 0) return nullptr;
  const btf_type* result = btf__type_by_id(btf, type);
  return btf_is_struct(result) ? result : nullptr;
}

// The type of member `name` of `meta`, with typedefs and qualifiers removed; or nullptr.
const btf_type* TypeOfMember(const struct btf* btf, const btf_type* meta, std::string_view name) {
  const btf_member* members = btf_members(meta);
  for (int i = 0; i < btf_vlen(meta); ++i) {
    if (btf__name_by_offset(btf, members[i].name_off) != name) continue;
    const int id = btf__resolve_type(btf, members[i].type);
    return id < 0 ? nullptr : btf__type_by_id(btf, id);
  }
  return nullptr;
}

// Enters the named members of `type`, which stands `base` bytes into the key, and of the unnamed structs and unions in
// it.
Result<void> Collect(const struct btf* btf, const btf_type* type, uint32_t base, KeyLayout& layout) {
  const btf_member* members = btf_members(type);
  for (int i = 0; i < btf_vlen(type); ++i) {
    const uint32_t offset = base + btf_member_bit_offset(type, i) / 8;
    const std::string_view name = btf__name_by_offset(btf, members[i].name_off);
    const int id = btf__resolve_type(btf, members[i].type);
    if (id < 0) return Bad("The type of the key's member " + std::string(name) + " cannot be resolved");
    const btf_type* member = btf__type_by_id(btf, id);
    if (name.empty()) {
      if (!btf_is_composite(member)) continue;
      if (auto collected = Collect(btf, member, offset, layout); !collected) return collected;
      continue;
    }
    const FieldInfo* field = FindField(name);
    if (field == nullptr) continue;  // padding, or a field that this version does not know
    const auto size = btf__resolve_size(btf, members[i].type);
    if (btf_member_bitfield_size(type, i) != 0 || size < field->size) {
      return Bad("The key's member " + std::string(name) + " has not the " + std::to_string(field->size) +
                 " bytes that the field has");
    }
    layout.members[static_cast<size_t>(field->id)] = {static_cast<uint16_t>(offset), static_cast<uint16_t>(size)};
  }
  return {};
}

const btf_type* MetaMember(const struct btf* btf, std::string_view name) {
  const btf_type* meta = MetaType(btf);
  return meta == nullptr ? nullptr : TypeOfMember(btf, meta, name);
}

}  // namespace

std::vector<std::string> KeyLayout::FieldNames() const {
  std::vector<std::string> names;
  for (const FieldInfo& field : kFields) {
    if (Has(field.id)) names.emplace_back(field.name);
  }
  return names;
}

Result<KeyLayout> KeyLayout::FromBtf(const struct btf* btf) {
  if (MetaType(btf) == nullptr) return Bad("The object has no .sluice_meta section with type information");
  const btf_type* key = MetaMember(btf, "key");
  if (key == nullptr || !btf_is_struct(key)) return Bad("The object's .sluice_meta names no struct as key");
  KeyLayout layout;
  layout.size = key->size;
  if (layout.size == 0 || layout.size % 8 != 0 || layout.size > kMaxKeyWords * 8) {
    return Bad("The object's key has " + std::to_string(layout.size) + " bytes: not a multiple of 8 up to " +
               std::to_string(kMaxKeyWords * 8));
  }
  if (auto collected = Collect(btf, key, 0, layout); !collected) return collected.error();
  return layout;
}

Result<std::vector<std::string>> ActionNamesFromBtf(const struct btf* btf) {
  const btf_type* type = MetaMember(btf, "actions");
  if (type == nullptr || !btf_is_enum(type)) return Bad("The object's .sluice_meta names no enum as actions");
  std::vector<std::string> names;
  names.reserve(btf_vlen(type));
  for (int i = 0; i < btf_vlen(type); ++i) {
    names.emplace_back(btf__name_by_offset(btf, btf_enum(type)[i].name_off));
  }
  return names;
}

}  // namespace sluice::xdp
