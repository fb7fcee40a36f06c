// SPDX-License-Identifier: Apache-2.0
#include "console.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sluice::ctl {

namespace {

// errno of the first write to standard output that failed.
int write_error = 0;

bool Written(bool done) {
  if (!done && write_error == 0) write_error = errno != 0 ? errno : EIO;
  return done;
}

}  // namespace

bool PrintBlock(std::string_view text) {
  return Written(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

bool Print(std::string_view text) { return PrintBlock(text) && PrintBlock("\n"); }

bool PrintJson(const nlohmann::ordered_json& json) {
  // What came over the bus may be no UTF-8 (a device's name, a log line): shown with replacement characters.
  return Print(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

bool Flush() { return Written(std::fflush(stdout) == 0) && write_error == 0; }

int FinishOutput(int code) {
  if (Flush() || write_error == EPIPE) return code;
  std::fprintf(stderr, "sluicectl: cannot write the output: %s\n", std::strerror(write_error));
  return code == kExitOk ? kExitRefused : code;
}

void Complain(const std::string& sentence) {
  // Results first, where both go to one terminal.
  std::fflush(stdout);
  std::fprintf(stderr, "sluicectl: %s\n", sentence.c_str());
}

int Fail(const Error& error, const std::string& text) {
  if (error.reason == kNoDaemon || error.reason == kUsage) {
    Complain(error.detail);
    return error.reason == kNoDaemon ? kExitNoDaemon : kExitUsage;
  }
  const bool placed = error.line != 0 && !text.empty();
  std::string sentence = "refused (" + error.reason + "): " + (placed ? Explain(error, text) : error.detail);
  while (sentence.ends_with('\n')) sentence.pop_back();
  Complain(sentence);
  return kExitRefused;
}

int Fail(const v1::Reply& reply, const std::string& text) {
  if (reply.refused().empty()) return Fail(Error{reply.reason(), reply.detail()}, text);
  for (const v1::Refusal& refusal : reply.refused()) Fail(ToError(refusal), text);
  return kExitRefused;
}

Error ToError(const v1::Refusal& refusal) {
  return Error{refusal.reason(), refusal.detail(), refusal.line(), refusal.column()};
}

std::string CaretPicture(const Error& error, const std::string& text) {
  if (error.line == 0 || text.empty()) return "";
  std::string picture = Explain(error, text);
  const size_t first = picture.find('\n');
  if (first == std::string::npos) return "";
  picture.erase(0, first);
  while (picture.ends_with('\n')) picture.pop_back();
  return picture;
}

}  // namespace sluice::ctl
