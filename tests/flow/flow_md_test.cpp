// SPDX-License-Identifier: Apache-2.0
// bus/flow.md says what the tables say: its field table has every field, and its examples are true.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "sluice/flow_text.h"

namespace sluice {
namespace {

std::string Page() {
  std::ifstream file(FLOW_MD);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A bar within a table's cell is written with a backslash.
std::string Unescape(std::string cell) {
  for (size_t at = 0; (at = cell.find("\\|", at)) != std::string::npos;) cell.erase(at, 1);
  return cell;
}

TEST(FlowPage, ListsEveryField) {
  const std::string page = Page();
  ASSERT_FALSE(page.empty()) << FLOW_MD;
  for (const FieldInfo& info : kFields) {
    const std::string row = "\n| " + std::to_string(static_cast<int>(info.id)) + " | `" + std::string(info.name) +
                            "` | " + std::to_string(info.size) + " | ";
    EXPECT_NE(page.find(row), std::string::npos) << "no row" << row;
  }
}

// The tables of what is read and what is printed for it.
TEST(FlowPage, ExamplesAreTrue) {
  std::istringstream lines(Page());
  std::string line;
  std::string section;
  size_t checked = 0;
  while (std::getline(lines, line)) {
    if (line.starts_with("## ")) section = line.substr(3);
    if (!line.starts_with("| `") || (section != "Matches" && section != "Actions")) continue;
    std::vector<std::string> cells;
    for (size_t at = 0; (at = line.find('`', at)) != std::string::npos;) {
      const size_t end = line.find('`', at + 1);
      ASSERT_NE(end, std::string::npos) << line;
      cells.push_back(Unescape(line.substr(at + 1, end - at - 1)));
      at = end + 1;
    }
    if (cells.size() < 2) continue;
    if (section == "Matches") {
      const auto match = ParseMatch(cells[0]);
      ASSERT_TRUE(match) << Explain(match.error(), cells[0]);
      EXPECT_EQ(FormatMatch(*match), cells[1]);
    } else {
      const auto actions = ParseActions(cells[0]);
      ASSERT_TRUE(actions) << Explain(actions.error(), cells[0]);
      EXPECT_EQ(FormatActions(*actions), cells[1]);
    }
    ++checked;
  }
  EXPECT_GT(checked, 20u);
}

// The Python example's match, bytes and ufid; flow_md.py runs the Python itself.
TEST(FlowPage, PackedExampleIsTrue) {
  const std::string page = Page();
  const auto match = ParseMatch("in_port(3),eth_type(0x0800),ipv4(dst=10.0.0.0/8)");
  ASSERT_TRUE(match);
  std::string hex;
  for (const char c : match->Pack()) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[c & 0xf];
  }
  EXPECT_NE(page.find(hex), std::string::npos) << hex;
  EXPECT_NE(page.find(match->DeriveUfid().ToString()), std::string::npos) << match->DeriveUfid().ToString();
}

}  // namespace
}  // namespace sluice
