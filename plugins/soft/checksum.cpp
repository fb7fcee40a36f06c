// SPDX-License-Identifier: Apache-2.0
#include "checksum.h"

#include <isa-l/crc.h>

namespace sluice::soft {

uint32_t Crc32c(std::span<const uint8_t> bytes) {
  // ISA-L's function has neither of the two complements of the standard, and does not write.
  auto* data = const_cast<uint8_t*>(bytes.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~0U);
}

}  // namespace sluice::soft
