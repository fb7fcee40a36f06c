// SPDX-License-Identifier: Apache-2.0
#include "subtables.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>

#include "system.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kGrowth = 8;   // times larger, each time
constexpr size_t kCopyStep = 64;  // members copied to a successor with each insert
constexpr size_t kHurry = 64;     // slots prepared at once when somebody waits for one
constexpr size_t kBatch = 4096;   // elements of a batch update
constexpr int kTries = 100;

Error NoMemoryFor(uint32_t room) {
  return {"table_full", "No memory for a subtable of more than " + std::to_string(room) + " flows"};
}

// The kernel's per-CPU reserve of elements may be empty for a moment, or a bucket locked below us.
bool Passing(int error) { return error == ENOMEM || error == EBUSY; }

Result<UniqueFd> NewSubtable(uint32_t words, uint32_t room) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
  UniqueFd fd(bpf_map_create(BPF_MAP_TYPE_HASH, "subtable", words * 8, 4, room, &options));
  if (!fd) return SystemErrorNeeding("Creating a BPF hash map for a mask", errno, {kCapBpf});
  return fd;
}

}  // namespace

struct Subtables::Refilling {
  std::vector<uint32_t> slots;
  std::vector<InnerMap> maps;
  Result<void> result;
};

struct Subtables::Exchange {
  std::vector<uint32_t> slots;
  std::vector<std::shared_ptr<UniqueFd>> successors;
  std::vector<bool> done;
};

Subtables::Subtables(Object& object, Reclaimer& reclaimer, uint32_t spares)
    : object_(object),
      reclaimer_(reclaimer),
      target_spares_(std::clamp<uint32_t>(spares, 1, object.meta().max_masks)),
      first_room_(std::min(object.options().subtable_entries, object.record_count())),
      last_room_(object.record_count()),
      outer_(std::make_shared<UniqueFd>(fcntl(object.MapFd("subtables"), F_DUPFD_CLOEXEC, 3))),
      open_error_(*outer_ ? 0 : errno),
      tables_(SLUICE_MASK_SLOTS),
      position_(object.record_count()) {
  for (uint32_t slot = object.meta().max_masks; slot-- > 0;) unused_.push_back(slot);
  if (*outer_) StartRefill(target_spares_);
}

Result<void> Subtables::opened() const {
  if (*outer_) return {};
  return SystemError("A second descriptor of map subtables", open_error_);
}

void Subtables::StartRefill(size_t count) {
  if (refilling_ || unused_.empty()) return;
  auto refilling = std::make_shared<Refilling>();
  refill_result_ = {};
  for (; count > 0 && !unused_.empty(); --count) {
    refilling->slots.push_back(unused_.back());
    unused_.pop_back();
  }
  refilling_ = true;
  reclaimer_.Run(
      alive_,
      [refilling, outer = outer_, words = object_.words(), room = first_room_] {
        for (const uint32_t slot : refilling->slots) {
          auto map = NewSubtable(words, room);
          if (!map) {
            refilling->result = map.error();
            break;
          }
          refilling->maps.push_back({slot, *std::move(map)});
        }
        // Some are better than none.
        if (!refilling->maps.empty()) refilling->result = InsertInnerMaps(outer->get(), refilling->maps);
      },
      [this, refilling] { Refilled(*refilling); });
}

void Subtables::Refilled(Refilling& refilling) {
  refilling_ = false;
  refill_result_ = refilling.result;
  if (!refilling.result) refilling.maps.clear();
  unused_.insert(unused_.end(), refilling.slots.rbegin(),
                 refilling.slots.rend() - static_cast<ptrdiff_t>(refilling.maps.size()));
  for (InnerMap& map : refilling.maps) {
    tables_[map.key].map = std::move(map.fd);
    tables_[map.key].room = first_room_;
    spares_.push_back(map.key);
  }
}

Result<uint32_t> Subtables::Take(const KeyWords& mask, Wait wait) {
  while (spares_.empty()) {
    if (!refilling_) {
      if (std::exchange(awaited_, false) && !refill_result_) return refill_result_.error();
      if (unused_.empty()) {
        return Error{"too_many_masks", "The flows of the port have " + std::to_string(object_.meta().max_masks) +
                                           " different masks already, which is the limit"};
      }
      StartRefill(kHurry);
    }
    awaited_ = true;
    if (wait == Wait::kForbidden) return NotYet("A mask that is new");
    if (!reclaimer_.WaitOne()) break;
  }
  awaited_ = false;
  const uint32_t slot = spares_.back();
  spares_.pop_back();
  object_.SetMask(slot, mask);
  if (spares_.size() * 2 < target_spares_) StartRefill(target_spares_ - spares_.size());
  return slot;
}

void Subtables::Recycle(uint32_t slot) {
  Table& table = tables_[slot];
  AbandonGrowth(table);
  if (table.room == first_room_) {
    spares_.push_back(slot);
    return;
  }
  table = {};  // the kernel lets the large map go when a new one takes its place
  unused_.push_back(slot);
  StartRefill(1);
}

Result<void> Subtables::Write(int map, uint32_t record) {
  for (int i = 0;; ++i) {
    if (bpf_map_update_elem(map, object_.records()[record].key, &record, BPF_ANY) == 0) return {};
    if (!Passing(errno) || i == kTries) return SystemError("BPF_MAP_UPDATE_ELEM of a subtable", errno);
    std::this_thread::yield();
  }
}

size_t Subtables::WriteMany(int map, std::span<const uint32_t> records, Error& error) {
  size_t written = 0;
  while (written < records.size()) {
    const auto part = records.subspan(written, std::min(records.size() - written, kBatch));
    batch_keys_.resize(part.size() * object_.words());
    for (size_t i = 0; i < part.size(); ++i) {
      std::copy_n(object_.records()[part[i]].key, object_.words(), batch_keys_.data() + i * object_.words());
    }
    auto count = static_cast<uint32_t>(part.size());
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    const int failed = bpf_map_update_batch(map, batch_keys_.data(), part.data(), &count, &options);
    if (failed == 0) {
      written += part.size();
      continue;
    }
    // `count` tells how many are in only where the kernel got as far as the elements; one by one is always right.
    if (auto wrote = Write(map, part[0]); !wrote) {
      error = wrote.error();
      return written;
    }
    ++written;
  }
  return written;
}

// For all that is known nothing keeps a key in for longer than a moment.
void Subtables::Erase(int map, uint32_t record) {
  for (int i = 0; i < kTries; ++i) {
    if (bpf_map_delete_elem(map, object_.records()[record].key) == 0 || errno == ENOENT) return;
    std::this_thread::yield();
  }
}

void Subtables::AddMember(Table& table, uint32_t record) {
  position_[record] = static_cast<uint32_t>(table.members.size());
  table.members.push_back(record);
}

Result<void> Subtables::Insert(uint32_t record) {
  const uint32_t slot = object_.records()[record].mask_slot;
  Table& table = tables_[slot];
  if (table.members.size() >= table.room) {
    if (auto made = MakeRoom(table, slot); !made) return made;
  }
  if (auto written = Write(table.map.get(), record); !written) return written;
  if (table.next && table.copied == table.members.size()) {
    if (auto written = Write(table.next->get(), record); !written) {
      if (table.swapping) {
        Erase(table.map.get(), record);
        return written;
      }
      AbandonGrowth(table);
    } else {
      ++table.copied;
    }
  }
  AddMember(table, record);
  AfterInsert(table, slot);
  return {};
}

void Subtables::AfterInsert(Table& table, uint32_t slot) {
  if (!table.next && table.members.size() * 2 > table.room && table.room < last_room_) {
    Grow(table, slot, table.members.size());
  }
  if (table.next && !table.swapping) Copy(table, slot, kCopyStep);
}

size_t Subtables::InsertMany(uint32_t slot, std::span<const uint32_t> records, Error& error) {
  Table& table = tables_[slot];
  size_t inserted = 0;
  while (inserted < records.size()) {
    const size_t left = records.size() - inserted;
    if (!table.next && (table.members.size() + left) * 2 > table.room && table.room < last_room_) {
      Grow(table, slot, table.members.size() + left);
    }
    if (table.next) Copy(table, slot, table.members.size());
    if (table.members.size() >= table.room) {
      if (auto made = MakeRoom(table, slot); !made) {
        error = made.error();
        return inserted;
      }
    }
    const auto part = records.subspan(inserted, std::min<size_t>(left, table.room - table.members.size()));
    size_t written = WriteMany(table.map.get(), part, error);
    if (table.next) {
      const size_t too = WriteMany(table.next->get(), part.first(written), error);
      if (too < written && table.swapping) {
        for (const uint32_t record : part.subspan(too, written - too)) Erase(table.map.get(), record);
        written = too;
      }
      if (too < written) {
        AbandonGrowth(table);
      } else {
        table.copied += written;
      }
    }
    for (const uint32_t record : part.first(written)) AddMember(table, record);
    inserted += written;
    if (written < part.size()) return inserted;
  }
  return inserted;
}

bool Subtables::Has(uint32_t record) const {
  const auto& members = tables_[object_.records()[record].mask_slot].members;
  const uint32_t position = position_[record];
  return position < members.size() && members[position] == record;
}

Result<void> Subtables::Replace(uint32_t old, uint32_t record) {
  if (!Has(old)) return Insert(record);
  Table& table = tables_[object_.records()[record].mask_slot];
  if (auto written = Write(table.map.get(), record); !written) return written;
  const uint32_t position = position_[old];
  if (table.next && position < table.copied) {
    if (auto written = Write(table.next->get(), record); !written) {
      if (table.swapping) {
        // An update in place takes no memory when it goes back.
        if (auto back = Write(table.map.get(), old); !back) return back;
        return written;
      }
      AbandonGrowth(table);
    }
  }
  table.members[position] = record;
  position_[record] = position;
  return {};
}

void Subtables::Remove(uint32_t record) {
  if (!Has(record)) return;
  Table& table = tables_[object_.records()[record].mask_slot];
  const uint32_t position = position_[record];
  const uint32_t last = table.members.back();
  Erase(table.map.get(), record);
  if (table.next && position < table.copied) {
    Erase(table.next->get(), record);
    if (table.copied == table.members.size()) {
      --table.copied;
    } else if (auto written = Write(table.next->get(), last); !written) {
      AbandonGrowth(table);  // the last member, not copied yet, moves among the copied ones
    }
  }
  table.members[position] = last;
  position_[last] = position;
  table.members.pop_back();
}

// A successor for more than `members`, empty as yet.
void Subtables::Grow(Table& table, uint32_t slot, size_t members) {
  const auto wanted = std::max<uint64_t>(static_cast<uint64_t>(table.room) * kGrowth, members * 2);
  const auto room = static_cast<uint32_t>(std::min<uint64_t>(last_room_, wanted));
  auto map = NewSubtable(object_.words(), room);
  if (!map) return;  // there is room yet; it is tried again, and reported when there is none
  table.next = std::make_shared<UniqueFd>(*std::move(map));
  table.next_room = room;
  table.copied = 0;
  Copy(table, slot, kCopyStep);
}

// Copies `most` members to the successor; when all are there, has the kernel take it.
void Subtables::Copy(Table& table, uint32_t slot, size_t most) {
  if (table.swapping) return;
  const auto left = std::span<const uint32_t>(table.members).subspan(table.copied);
  const size_t count = std::min(most, left.size());
  Error error;
  if (WriteMany(table.next->get(), left.first(count), error) < count) {
    AbandonGrowth(table);
    return;
  }
  table.copied += count;
  if (table.copied < table.members.size()) return;
  table.swapping = true;
  full_successors_.push_back(slot);
  StartExchange();
}

void Subtables::StartExchange() {
  if (exchanging_ || full_successors_.empty()) return;
  exchanging_ = true;
  auto exchange = std::make_shared<Exchange>();
  exchange->slots = std::exchange(full_successors_, {});
  for (const uint32_t slot : exchange->slots) exchange->successors.push_back(tables_[slot].next);
  reclaimer_.Run(
      alive_,
      [exchange, outer = outer_] {
        exchange->done = ReplaceInnerMaps(outer->get(), exchange->slots, exchange->successors);
      },
      [this, exchange] { Exchanged(*exchange); });
}

void Subtables::Exchanged(const Exchange& exchange) {
  for (size_t i = 0; i < exchange.slots.size(); ++i) {
    Table& table = tables_[exchange.slots[i]];
    table.swapping = false;
    if (exchange.done[i]) {
      table.map = std::move(*table.next);
      table.room = table.next_room;
    }
    AbandonGrowth(table);
  }
  exchanging_ = false;
  StartExchange();
}

void Subtables::AbandonGrowth(Table& table) {
  table.next.reset();
  table.copied = 0;
}

Result<bool> Subtables::HasRoom(uint32_t slot, size_t more) {
  Table& table = tables_[slot];
  if (table.members.size() + more <= table.room) return true;
  if (!table.next) Grow(table, slot, table.members.size() + more);
  if (table.next) Copy(table, slot, table.members.size());
  if (table.swapping) return false;
  return NoMemoryFor(table.room);
}

Result<void> Subtables::MakeRoom(Table& table, uint32_t slot) {
  if (!table.next) Grow(table, slot, table.members.size());
  if (table.next) Copy(table, slot, table.members.size());
  while (table.swapping && reclaimer_.WaitOne()) {
  }
  if (table.members.size() < table.room) return {};
  return NoMemoryFor(table.room);
}

}  // namespace sluice::xdp
