// SPDX-License-Identifier: Apache-2.0
// Columns of text, each as wide as its widest cell.
#pragma once

#include <string>
#include <vector>

namespace sluice::ctl {

// The first row is the heading. Cells are left-aligned, two spaces apart, without blanks at the line's end. `indent`
// spaces stand before every line.
std::string Table(const std::vector<std::vector<std::string>>& rows, size_t indent = 0);

}  // namespace sluice::ctl
