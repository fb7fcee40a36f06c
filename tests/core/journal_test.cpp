// SPDX-License-Identifier: Apache-2.0
#include "journal.h"

#include <gtest/gtest.h>

namespace sluice::core {
namespace {

class JournalTest : public ::testing::Test {
 protected:
  std::vector<const Entry*> Read(Cursor& cursor) {
    std::vector<const Entry*> read;
    while (cursor.Peek() != nullptr) {
      read.push_back(cursor.Peek());
      cursor.Advance();
    }
    return read;
  }
  Sequence sequence_;
  Journal journal_{sequence_};
  Entry a_{EntryKind::flow};
  Entry b_{EntryKind::flow};
};

TEST_F(JournalTest, ReadsInOrderOfLastChange) {
  Cursor cursor(journal_);
  journal_.Append(a_);
  journal_.Append(b_);
  journal_.Touch(a_);
  EXPECT_EQ(cursor.lag(), 2U);
  EXPECT_EQ(Read(cursor), (std::vector<const Entry*>{&b_, &a_}));
  EXPECT_EQ(cursor.lag(), 0U);
  EXPECT_EQ(cursor.position(), sequence_.last);
}

TEST_F(JournalTest, ChangedAfterReadingIsReadAgainOnce) {
  journal_.Append(a_);
  journal_.Append(b_);
  Cursor cursor(journal_);
  cursor.Advance();
  journal_.Touch(a_);
  journal_.Touch(a_);
  EXPECT_EQ(cursor.lag(), 2U);
  EXPECT_EQ(Read(cursor), (std::vector<const Entry*>{&b_, &a_}));
}

TEST_F(JournalTest, TheNextToReadMayChangeOrGo) {
  journal_.Append(a_);
  journal_.Append(b_);
  Cursor cursor(journal_);
  journal_.Touch(a_);
  EXPECT_EQ(cursor.Peek(), &b_);
  journal_.Remove(b_);
  EXPECT_EQ(cursor.Peek(), &a_);
  EXPECT_EQ(cursor.lag(), 1U);
  cursor.Advance();
  journal_.Remove(a_);
  EXPECT_EQ(cursor.lag(), 0U);
  EXPECT_EQ(cursor.Peek(), nullptr);
}

TEST_F(JournalTest, ACursorCanBeginInTheMiddle) {
  journal_.Append(a_);
  const uint64_t after = a_.seq;
  journal_.Append(b_);
  Cursor cursor(journal_, after);
  EXPECT_EQ(cursor.Peek(), &b_);
  EXPECT_EQ(cursor.lag(), 1U);
}

TEST_F(JournalTest, OnlyHoldingCursorsHold) {
  journal_.Append(a_);
  Cursor plugin(journal_);
  EXPECT_EQ(journal_.HeldFrom(), UINT64_MAX);
  Cursor walk(journal_, 0, true);
  EXPECT_EQ(journal_.HeldFrom(), 0U);
  walk.Advance();
  EXPECT_EQ(journal_.HeldFrom(), a_.seq);
}

}  // namespace
}  // namespace sluice::core
