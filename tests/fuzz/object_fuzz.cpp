// SPDX-License-Identifier: Apache-2.0
// What an object file of somebody else's says of itself: its type information (BTF).
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "fuzz.h"
#include "object_meta.h"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  libbpf_set_print(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  btf* types = btf__new(data, static_cast<uint32_t>(size));
  if (types == nullptr) return 0;
  const auto meta = sluice::xdp::ReadTypes(types);
  if (meta) {
    FUZZ_CHECK(meta->key.size != 0 && meta->key.words() <= sluice::xdp::kMaxKeyWords);
    for (const auto& member : meta->key.members) FUZZ_CHECK(member.offset + member.size <= meta->key.size);
    FUZZ_CHECK(meta->Can(SLUICE_ACTION_DROP));
  } else {
    FUZZ_CHECK(meta.error().reason == "bad_object");
  }
  btf__free(types);
  return 0;
}
