// SPDX-License-Identifier: Apache-2.0
// Flows from a file, one a line, in batches.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon.h"
#include "flow_line.h"

namespace sluice::ctl {

// Lines of a file descriptor, without their line feeds. Owns the descriptor (not standard input's).
class LineReader {
 public:
  // "-": standard input. Error: kUsage, with the reason why it cannot be read.
  static Result<LineReader> Open(const std::string& path);
  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  // nullopt at the end, and on a read error: then error() says which.
  std::optional<std::string> Next();
  // A line is there without waiting, or the end.
  [[nodiscard]] bool Ready() const;
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  explicit LineReader(int fd) : fd_(fd) {}
  bool Fill();

  int fd_ = -1;
  std::string buffer_;
  size_t at_ = 0;
  bool ended_ = false;
  std::string error_;
};

// What the options say for flows that do not say it themselves.
struct FlowDefaults {
  std::string ufid;
  std::optional<uint32_t> priority;
  std::optional<uint32_t> idle_timeout_ms;
  std::optional<uint32_t> hard_timeout_ms;
};
void Apply(const FlowDefaults& defaults, FlowLine& line);

// Adds (or modifies) the flows of a file. Blank lines, '#' comments and the headings of `ovs-appctl dpctl/dump-flows`
// are skipped. Every bad line is reported as FILE:LINE:COLUMN with its caret on standard error; the others go in.
class FlowFile {
 public:
  FlowFile(Daemon& daemon, std::string name, bool modify, FlowDefaults defaults);

  // The error is about the file or the daemon; refused flows are counted.
  Result<void> Send(LineReader& reader);

  [[nodiscard]] uint64_t accepted() const { return accepted_; }
  [[nodiscard]] uint64_t refused() const { return refused_; }

 private:
  struct Line {
    uint64_t number = 0;
    std::string text;
    std::optional<Error> error;
  };

  void Take(uint64_t number, std::string text);
  Result<void> SendBatch();
  void Report(const Line& line);

  Daemon& daemon_;
  std::string name_;
  bool modify_;
  FlowDefaults defaults_;
  std::vector<Line> lines_;      // of the batch, bad ones too, for the order of the reports
  std::vector<size_t> flow_of_;  // place in lines_ of each flow in batch_
  v1::FlowPut batch_;
  size_t batch_bytes_ = 0;
  uint64_t accepted_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace sluice::ctl
