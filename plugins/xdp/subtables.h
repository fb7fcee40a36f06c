// SPDX-License-Identifier: Apache-2.0
// The mask slots of a tuple space: `masks` and the hash maps in `subtables`, a reserve of them, and their growth.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "inner_maps.h"
#include "object.h"
#include "reclaimer.h"
#include "sluice/error.h"
#include "sluice/unique_fd.h"
#include "table.h"
#include "wait.h"

namespace sluice::xdp {

// Session thread.
class Subtables {
 public:
  Subtables(Object& object, Reclaimer& reclaimer, uint32_t spares);
  // What the constructor could not do.
  [[nodiscard]] Result<void> opened() const;
  Subtables(const Subtables&) = delete;
  Subtables& operator=(const Subtables&) = delete;

  // A slot with an empty subtable and this mask. Has to wait where no spare is left. Errors: "too_many_masks", those of
  // creating a map.
  Result<uint32_t> Take(const KeyWords& mask, Wait wait);
  // No reader may know of the slot any more, and no flow be in it.
  void Recycle(uint32_t slot);

  // So many more can be inserted without waiting. False: their room is on its way. Errors: as for Insert.
  Result<bool> HasRoom(uint32_t slot, size_t more);
  // Packets find `record`, which is completely written, under its key. Waits for room.
  Result<void> Insert(uint32_t record);
  // Several of one slot, whose keys differ and are not in. Returns how many are in: the first ones.
  size_t InsertMany(uint32_t slot, std::span<const uint32_t> records, Error& error);
  // `record` has the slot and key of `old`. Packets find one or the other, if `old` is in.
  Result<void> Replace(uint32_t old, uint32_t record);
  // Packets do not find it any more, if they did.
  void Remove(uint32_t record);

  [[nodiscard]] bool Has(uint32_t record) const;
  [[nodiscard]] bool empty(uint32_t slot) const { return tables_[slot].members.empty(); }
  // Its map is being exchanged: not to be recycled.
  [[nodiscard]] bool busy(uint32_t slot) const { return tables_[slot].swapping; }
  [[nodiscard]] size_t spares() const { return spares_.size(); }

 private:
  struct Table {
    UniqueFd map;
    uint32_t room = 0;
    std::vector<uint32_t> members;  // records in it
    // Its successor while it grows: the first `copied` members are in there too.
    std::shared_ptr<UniqueFd> next;
    uint32_t next_room = 0;
    uint32_t copied = 0;
    bool swapping = false;  // the kernel is being given the successor
  };

  struct Refilling;
  // Successors that the kernel is to be given; those of one go together, so that it waits once for them.
  struct Exchange;

  void StartRefill(size_t count);
  void Refilled(Refilling& refilling);
  Result<void> MakeRoom(Table& table, uint32_t slot);
  void Grow(Table& table, uint32_t slot, size_t members);
  void Copy(Table& table, uint32_t slot, size_t most);
  void StartExchange();
  void Exchanged(const Exchange& exchange);
  void AbandonGrowth(Table& table);
  Result<void> Write(int map, uint32_t record);
  size_t WriteMany(int map, std::span<const uint32_t> records, Error& error);
  void Erase(int map, uint32_t record);
  void AddMember(Table& table, uint32_t record);
  void AfterInsert(Table& table, uint32_t slot);

  Object& object_;
  Reclaimer& reclaimer_;
  uint32_t target_spares_;
  uint32_t first_room_;
  uint32_t last_room_;
  std::shared_ptr<UniqueFd> outer_;  // its own: the reclaimer's thread may be at it when the object goes
  int open_error_;
  std::vector<Table> tables_;     // by slot
  std::vector<uint32_t> unused_;  // slots without a subtable that could be used
  std::vector<uint32_t> spares_;  // slots whose subtable is empty and known to the kernel
  bool refilling_ = false;
  bool awaited_ = false;                   // somebody was told to come again when there are spares
  std::vector<uint32_t> full_successors_;  // slots whose successors have all members, and wait for an exchange
  bool exchanging_ = false;
  Result<void> refill_result_;
  std::vector<uint32_t> position_;  // of a record in its table's members
  std::vector<uint64_t> batch_keys_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace sluice::xdp
