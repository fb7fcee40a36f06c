// SPDX-License-Identifier: Apache-2.0
// The order of things: every flow, deleted flow and port stands in one list, by the sequence number of its last change.
//
// A change moves its entry to the tail. So a reader that is behind meets the newest state of each entry once, however
// often it changed meanwhile, and being behind costs no memory. Not thread-safe: the loop's thread only.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::core {

// One count over everything that happens in an epoch: journal entries and events.
struct Sequence {
  uint64_t last = 0;
  uint64_t Next() { return ++last; }
};

enum class EntryKind : uint8_t { flow, tombstone, port, port_tombstone };

// Base of what stands in the journal. The journal does not own it.
struct Entry {
  Entry* prev = nullptr;
  Entry* next = nullptr;
  uint64_t seq = 0;
  EntryKind kind;

  explicit Entry(EntryKind entry_kind) : kind(entry_kind) {}
};

class Cursor;

class Journal {
 public:
  explicit Journal(Sequence& sequence) : sequence_(sequence) {}
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void Append(Entry& entry);  // takes the next sequence number
  void Touch(Entry& entry);   // a new number, at the tail
  void Remove(Entry& entry);

  [[nodiscard]] Entry* First() const { return head_; }
  [[nodiscard]] uint64_t size() const { return size_; }
  // Tombstones that came after this position are still to be read by a snapshot under way.
  [[nodiscard]] uint64_t HeldFrom() const;

 private:
  friend class Cursor;
  void LinkAtTail(Entry& entry);
  void Unlink(Entry& entry);

  Sequence& sequence_;
  Entry* head_ = nullptr;
  Entry* tail_ = nullptr;
  uint64_t size_ = 0;
  std::vector<Cursor*> cursors_;
};

// A reader's place: everything up to position() has been read.
class Cursor {
 public:
  // `holds`: keeps tombstones that it has not read from being freed (see Journal::HeldFrom).
  explicit Cursor(Journal& journal, uint64_t after = 0, bool holds = false);
  ~Cursor();
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  [[nodiscard]] Entry* Peek() const { return next_; }
  void Advance();  // past Peek(), which is not null
  void Rewind();
  [[nodiscard]] uint64_t position() const { return position_; }
  [[nodiscard]] uint64_t lag() const { return lag_; }  // entries not read yet

 private:
  friend class Journal;
  Journal& journal_;
  Entry* next_ = nullptr;
  uint64_t position_ = 0;
  uint64_t lag_ = 0;
  bool holds_;
};

}  // namespace sluice::core
