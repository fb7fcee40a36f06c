// SPDX-License-Identifier: Apache-2.0
#include "key_index.h"

#include <bit>
#include <cstring>
#include <random>

namespace sluice::xdp {
KeyIndex::KeyIndex(const Records& records, uint32_t words, uint32_t count)
    : records_(records),
      words_(words),
      places_(std::bit_ceil(static_cast<size_t>(count) * 2)),
      mask_(places_.size() - 1) {
  // Random, so that nobody can choose flows that collide.
  std::random_device random;
  for (auto& factor : factors_) factor = (static_cast<uint64_t>(random()) << 32 | random()) | 1;
}

size_t KeyIndex::Home(const sluice_record& record) const {
  uint64_t h = record.mask_slot * factors_[kMaxKeyWords];
  for (size_t i = 0; i < words_; ++i) {
    const uint64_t product = (record.key[i] + factors_[i]) * factors_[i];
    h += product ^ product >> 32;
  }
  h ^= h >> 32;
  return h * factors_[0] >> 24 & mask_;
}

bool KeyIndex::Same(const sluice_record& a, const sluice_record& b) const {
  return a.mask_slot == b.mask_slot && std::memcmp(a.key, b.key, words_ * sizeof a.key[0]) == 0;
}

uint32_t KeyIndex::Find(const sluice_record& like) const {
  for (size_t at = Home(like); places_[at] != 0; at = (at + 1) & mask_) {
    if (Same(records_[places_[at] - 1], like)) return places_[at] - 1;
  }
  return kNone;
}

size_t KeyIndex::Place(uint32_t record) const {
  size_t at = Home(records_[record]);
  while (places_[at] != record + 1) at = (at + 1) & mask_;
  return at;
}

void KeyIndex::Insert(uint32_t record) {
  size_t at = Home(records_[record]);
  while (places_[at] != 0) at = (at + 1) & mask_;
  places_[at] = record + 1;
}

uint32_t KeyIndex::FindOrInsert(uint32_t record) {
  const sluice_record& like = records_[record];
  size_t at = Home(like);
  for (; places_[at] != 0; at = (at + 1) & mask_) {
    if (Same(records_[places_[at] - 1], like)) return places_[at] - 1;
  }
  places_[at] = record + 1;
  return kNone;
}

void KeyIndex::Replace(uint32_t old, uint32_t record) { places_[Place(old)] = record + 1; }

void KeyIndex::Erase(uint32_t record) {
  size_t hole = Place(record);
  // Move back what would not be found across the hole.
  for (size_t at = (hole + 1) & mask_; places_[at] != 0; at = (at + 1) & mask_) {
    const size_t home = Home(records_[places_[at] - 1]);
    if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
    places_[hole] = places_[at];
    hole = at;
  }
  places_[hole] = 0;
}

}  // namespace sluice::xdp
