// SPDX-License-Identifier: Apache-2.0
#include "flow_file.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sluice::ctl {
namespace {

constexpr int kBatchFlows = 1024;
constexpr size_t kBatchBytes = size_t{1} << 20;
// A line longer than this is no flow; it would only fill the memory.
constexpr size_t kMaxLine = size_t{1} << 20;

bool IsFlow(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos || text[first] == '#') return false;
  return !text.substr(first).starts_with("flow-dump from");
}

}  // namespace

Result<LineReader> LineReader::Open(const std::string& path) {
  if (path == "-") return LineReader(STDIN_FILENO);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{kUsage, "--file " + path + ": " + std::strerror(errno)};
  return LineReader(fd);
}

LineReader::LineReader(LineReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)),
      at_(other.at_),
      ended_(other.ended_),
      error_(std::move(other.error_)) {}

LineReader::~LineReader() {
  if (fd_ > STDIN_FILENO) close(fd_);
}

bool LineReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  std::array<char, 65536> chunk{};
  const ssize_t count = read(fd_, chunk.data(), chunk.size());
  if (count < 0 && errno == EINTR) return true;
  if (count < 0) error_ = std::strerror(errno);
  if (count <= 0) return false;
  buffer_.append(chunk.data(), static_cast<size_t>(count));
  return true;
}

std::optional<std::string> LineReader::Next() {
  for (;;) {
    const size_t end = buffer_.find('\n', at_);
    if (end != std::string::npos) {
      std::string line = buffer_.substr(at_, end - at_);
      at_ = end + 1;
      return line;
    }
    if (buffer_.size() - at_ > kMaxLine) {
      error_ = "a line of more than " + std::to_string(kMaxLine) + " characters";
      ended_ = true;
      return std::nullopt;
    }
    if (!ended_ && Fill()) continue;
    ended_ = true;
    if (at_ == buffer_.size() || !error_.empty()) return std::nullopt;
    std::string line = buffer_.substr(at_);
    at_ = buffer_.size();
    return line;
  }
}

bool LineReader::Ready() const {
  if (ended_ || buffer_.find('\n', at_) != std::string::npos) return true;
  pollfd poll_fd{fd_, POLLIN, 0};
  return poll(&poll_fd, 1, 0) != 0;
}

void Apply(const FlowDefaults& defaults, FlowLine& line) {
  if (line.ufid.empty()) line.ufid = defaults.ufid;
  if (!line.priority) line.priority = defaults.priority;
  if (!line.idle_timeout_ms) line.idle_timeout_ms = defaults.idle_timeout_ms;
  if (!line.hard_timeout_ms) line.hard_timeout_ms = defaults.hard_timeout_ms;
}

FlowFile::FlowFile(Daemon& daemon, std::string name, bool modify, FlowDefaults defaults)
    : daemon_(daemon),
      name_(name == "-" ? "<stdin>" : std::move(name)),
      modify_(modify),
      defaults_(std::move(defaults)) {}

Result<void> FlowFile::Send(LineReader& reader) {
  uint64_t number = 0;
  while (auto text = reader.Next()) {
    ++number;
    if (IsFlow(*text)) Take(number, std::move(*text));
    // Who writes slowly wants each flow in now, who writes fast wants batches.
    const bool full = batch_.flows_size() >= kBatchFlows || batch_bytes_ >= kBatchBytes;
    if (!full && reader.Ready()) continue;
    if (auto sent = SendBatch(); !sent) return sent;
  }
  if (auto sent = SendBatch(); !sent) return sent;
  if (!reader.error().empty()) return Error{kUsage, name_ + ": " + reader.error()};
  return {};
}

void FlowFile::Take(uint64_t number, std::string text) {
  auto line = SplitFlow(text);
  lines_.push_back({number, std::move(text), std::nullopt});
  if (!line) {
    lines_.back().error = line.error();
    return;
  }
  Apply(defaults_, *line);
  *batch_.add_flows() = ToFlow(*line);
  batch_bytes_ += line->match.size() + line->actions.size();
  flow_of_.push_back(lines_.size() - 1);
}

Result<void> FlowFile::SendBatch() {
  if (batch_.flows_size() != 0) {
    batch_.set_publisher("sluicectl");
    v1::Request request;
    (modify_ ? request.mutable_flow_mod() : request.mutable_flow_put())->Swap(&batch_);
    const auto reply = daemon_.Ask(std::move(request));
    if (!reply) return reply.error();
    if (!reply->ok() && reply->refused().empty()) return Error{reply->reason(), reply->detail()};
    accepted_ += flow_of_.size() - static_cast<size_t>(reply->refused_size());
    for (const v1::Refusal& refusal : reply->refused()) {
      if (refusal.index() < flow_of_.size()) lines_[flow_of_[refusal.index()]].error = ToError(refusal);
    }
  }
  for (const Line& line : lines_) {
    if (line.error) Report(line);
  }
  lines_.clear();
  flow_of_.clear();
  batch_.Clear();
  batch_bytes_ = 0;
  return {};
}

void FlowFile::Report(const Line& line) {
  ++refused_;
  std::string place = name_ + ':' + std::to_string(line.number);
  if (line.error->column != 0) place += ':' + std::to_string(line.error->column);
  std::fprintf(stderr, "%s: %s (%s)%s\n", place.c_str(), line.error->detail.c_str(), line.error->reason.c_str(),
               CaretPicture(*line.error, line.text).c_str());
}

}  // namespace sluice::ctl
