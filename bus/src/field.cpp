// SPDX-License-Identifier: Apache-2.0
#include "sluice/field.h"

namespace sluice {

const FieldInfo* FindField(std::string_view name) {
  for (const FieldInfo& info : kFields) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

}  // namespace sluice
