// SPDX-License-Identifier: Apache-2.0
// From what publishers write to what the table keeps.
#pragma once

#include "action_texts.h"
#include "flow.h"
#include "ports.h"
#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice::core {

// Errors: "bad_ufid", "bad_match", "bad_actions", "unknown_port", with line and column where the text is wrong.
Result<FlowSpec> ReadFlow(const v1::Flow& flow, const Ports& ports, ActionTexts& texts);

// Packed form of the match of a key that names no ufid. Errors: as above.
Result<std::string> ReadMatch(const v1::FlowKey& key, const Ports& ports);
Result<Ufid> ReadUfid(const std::string& text);

// The flow as monitors and dumps show it. `names` are those of the running plugins by index, empty where there is none.
void ShowFlow(const Flow& flow, const Ports& ports, const std::vector<std::string>& names, uint64_t now_ns,
              v1::Flow& out);

}  // namespace sluice::core
