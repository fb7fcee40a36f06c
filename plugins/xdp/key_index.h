// SPDX-License-Identifier: Apache-2.0
// User space's own index from (mask, masked key) to the record that serves it.
//
// A hash table of record indexes with open addressing; the keys stay where they are, in the records.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "object.h"

namespace sluice::xdp {

class KeyIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // For `count` records, all of which may be in. `records` must outlive the index.
  KeyIndex(const Records& records, uint32_t words, uint32_t count);

  // The record in the index with this one's mask and key; kNone.
  [[nodiscard]] uint32_t Find(const sluice_record& like) const;
  // No other with its mask and key may be in.
  void Insert(uint32_t record);
  // Find, and where that finds none, Insert.
  uint32_t FindOrInsert(uint32_t record);
  // `old` must be in; `record` has the same mask and key.
  void Replace(uint32_t old, uint32_t record);
  void Erase(uint32_t record);

 private:
  [[nodiscard]] size_t Home(const sluice_record& record) const;
  [[nodiscard]] size_t Place(uint32_t record) const;

  [[nodiscard]] bool Same(const sluice_record& a, const sluice_record& b) const;

  Records records_;
  uint32_t words_;
  std::vector<uint32_t> places_;  // record + 1; 0: empty
  size_t mask_;
  std::array<uint64_t, kMaxKeyWords + 1> factors_;
};

}  // namespace sluice::xdp
