// SPDX-License-Identifier: Apache-2.0
#include "journal.h"

#include <algorithm>

namespace sluice::core {

void Journal::LinkAtTail(Entry& entry) {
  entry.seq = sequence_.Next();
  entry.prev = tail_;
  entry.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &entry;
  tail_ = &entry;
  ++size_;
  for (Cursor* cursor : cursors_) {
    ++cursor->lag_;
    if (cursor->next_ == nullptr) cursor->next_ = &entry;
  }
}

void Journal::Unlink(Entry& entry) {
  for (Cursor* cursor : cursors_) {
    if (entry.seq > cursor->position_) --cursor->lag_;
    if (cursor->next_ == &entry) cursor->next_ = entry.next;
  }
  (entry.prev != nullptr ? entry.prev->next : head_) = entry.next;
  (entry.next != nullptr ? entry.next->prev : tail_) = entry.prev;
  entry.prev = nullptr;
  entry.next = nullptr;
  --size_;
}

void Journal::Append(Entry& entry) { LinkAtTail(entry); }

void Journal::Touch(Entry& entry) {
  Unlink(entry);
  LinkAtTail(entry);
}

void Journal::Remove(Entry& entry) { Unlink(entry); }

uint64_t Journal::HeldFrom() const {
  uint64_t from = UINT64_MAX;
  for (const Cursor* cursor : cursors_) {
    if (cursor->holds_) from = std::min(from, cursor->position_);
  }
  return from;
}

Cursor::Cursor(Journal& journal, uint64_t after, bool holds) : journal_(journal), holds_(holds) {
  Rewind();
  while (next_ != nullptr && next_->seq <= after) Advance();
  journal_.cursors_.push_back(this);
}

Cursor::~Cursor() { std::erase(journal_.cursors_, this); }

void Cursor::Advance() {
  position_ = next_->seq;
  next_ = next_->next;
  --lag_;
}

void Cursor::Rewind() {
  position_ = 0;
  next_ = journal_.head_;
  lag_ = journal_.size_;
}

}  // namespace sluice::core
