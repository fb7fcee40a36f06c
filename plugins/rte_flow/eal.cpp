// SPDX-License-Identifier: Apache-2.0
#include "eal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include "sluice/plugin.h"
#include "sluice/signals_blocked.h"

namespace sluice::rteflow {
namespace {

constexpr size_t kRememberedLines = 8;
constexpr const char* kMemoryMb = "512";

// Lines that DPDK writes, passed on one by one. Lives as long as the process, as DPDK does.
class LogStream {
 public:
  explicit LogStream(Log log) : log_(std::move(log)) {
    constexpr cookie_io_functions_t kFunctions{nullptr, &LogStream::OnWrite, nullptr, nullptr};
    file_ = fopencookie(this, "w", kFunctions);
    if (file_ != nullptr) setvbuf(file_, nullptr, _IOLBF, 0);
  }
  [[nodiscard]] FILE* file() const { return file_; }
  void Silence() {
    const std::lock_guard lock(mutex_);
    log_ = nullptr;
  }
  std::string Last() {
    const std::lock_guard lock(mutex_);
    std::string all;
    for (const auto& line : last_) all += (all.empty() ? "" : "; ") + line;
    return all;
  }

 private:
  static ssize_t OnWrite(void* self, const char* text, size_t size) {
    static_cast<LogStream*>(self)->Take({text, size});
    return static_cast<ssize_t>(size);
  }
  void Take(std::string_view text) {
    const std::lock_guard lock(mutex_);
    pending_ += text;
    for (size_t end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n')) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      if (line.empty()) continue;
      last_.push_back(line);
      if (last_.size() > kRememberedLines) last_.pop_front();
      if (log_)
        log_(rte_log_cur_msg_loglevel() <= static_cast<int>(RTE_LOG_ERR) ? SLUICE_LOG_WARN : SLUICE_LOG_INFO, line);
    }
  }

  Log log_;
  FILE* file_ = nullptr;
  std::mutex mutex_;
  std::string pending_;
  std::deque<std::string> last_;
};

// DPDK's for good once it has started.
LogStream* stream = nullptr;

bool HasFreeHugePages() {
  std::error_code failed;
  for (const auto& size : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", failed)) {
    uint64_t free = 0;
    if (std::ifstream(size.path() / "free_hugepages") >> free && free > 0) return true;
  }
  return false;
}

bool Says(const std::vector<std::string>& arguments, const std::string& option) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    return argument == option || argument.starts_with(option + "=");
  });
}

}  // namespace

std::vector<std::string> EalArguments(const std::string& given) {
  std::vector<std::string> arguments;
  std::istringstream words(given);
  for (std::string word; words >> word;) arguments.push_back(std::move(word));
  if (arguments.empty()) {
    if (HasFreeHugePages()) {
      arguments = {"--in-memory"};
    } else {
      arguments = {"--no-huge", "-m", kMemoryMb, "--no-shconf"};
    }
    // An allowed device that cannot be there: of the others none is taken before a port names it.
    arguments.insert(arguments.end(), {"-a", "0000:00:00.0", "--no-telemetry"});
  }
  if (!Says(arguments, "--file-prefix") && !Says(arguments, "--in-memory")) {
    arguments.insert(arguments.end(), {"--file-prefix", "sluice" + std::to_string(getpid())});
  }
  // One lcore for DPDK's main thread, free to run on any processor; the poll-mode loop brings its own thread.
  const auto cores = {"-l", "--lcores", "-c", "--main-lcore", "-s", "-S"};
  if (std::none_of(cores.begin(), cores.end(), [&](const char* option) { return Says(arguments, option); })) {
    arguments.insert(arguments.end(), {"--lcores", "0@0-" + std::to_string(get_nprocs_conf() - 1)});
  }
  return arguments;
}

Result<void> StartEal(const std::vector<std::string>& arguments, Log log) {
  static std::atomic<bool> started = false;
  if (started.exchange(true)) return Error{"eal_started", "DPDK can be started once in a process"};
  stream = new LogStream(std::move(log));  // NOLINT(cppcoreguidelines-owning-memory)
  if (stream->file() != nullptr) rte_openlog_stream(stream->file());
  std::promise<int> answer;
  auto failed_with = answer.get_future();
  const SignalsBlocked blocked;
  std::thread main([&arguments, answer = std::move(answer)]() mutable {
    pthread_setname_np(pthread_self(), "dpdk-main");
    std::vector<std::string> words = {"sluice"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int parsed = rte_eal_init(static_cast<int>(words.size()), argv.data());
    answer.set_value(parsed < 0 ? rte_errno : 0);
    // DPDK's main lcore has nothing to run, but its thread is to stay.
    if (parsed >= 0) {
      for (;;) pause();
    }
  });
  const int error = failed_with.get();
  if (error != 0) {
    main.join();
    std::string all;
    for (const auto& argument : arguments) all += " " + argument;
    return Error{"eal_failed",
                 "DPDK did not start with" + all + ": " + rte_strerror(error) + " (" + stream->Last() + ")"};
  }
  main.detach();
  return {};
}

void SilenceEal() {
  if (stream != nullptr) stream->Silence();
}

Result<void> LoadDriver(const std::string& path) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE) != nullptr) return {};
  return Error{"no_driver", std::string("the driver cannot be loaded: ") + dlerror()};
}

}  // namespace sluice::rteflow
