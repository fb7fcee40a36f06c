// SPDX-License-Identifier: Apache-2.0
// What all commands share: the options before the command, exit codes, and how results and errors are printed.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNoDaemon = 3;

// Error::reason of what ends with kExitNoDaemon.
inline constexpr const char* kNoDaemon = "no_daemon";
// Error::reason of what ends with kExitUsage.
inline constexpr const char* kUsage = "usage";

struct Global {
  bool json = false;
  std::string endpoint;           // empty: SLUICE_RUN_DIR, then the default run directory
  std::optional<double> timeout;  // seconds; none: the defaults of daemon.h
};

// To standard output. False: nobody reads it any more (EPIPE) or the disk is full, stop.
bool Print(std::string_view text);  // a line feed is added
bool PrintJson(const nlohmann::ordered_json& json);
bool PrintBlock(std::string_view text);  // as it is
// False if something that was printed could not be written.
bool Flush();
// At the end: `code`, unless it was 0 and something could not be written for another reason than that nobody reads it.
int FinishOutput(int code);

// "sluicectl: ..." on standard error.
void Complain(const std::string& sentence);
// Says what went wrong and returns the exit code for it. `text`: what the user typed, for the caret.
int Fail(const Error& error, const std::string& text = "");
// The same for a reply that is not ok.
int Fail(const v1::Reply& reply, const std::string& text = "");

Error ToError(const v1::Refusal& refusal);
// The lines below the first of Explain(): the text's line and the caret; empty where the error has no position.
std::string CaretPicture(const Error& error, const std::string& text);

}  // namespace sluice::ctl
