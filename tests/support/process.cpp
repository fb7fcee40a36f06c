// SPDX-License-Identifier: Apache-2.0
#include "support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "support/netns.h"

namespace sluice::test {
namespace {

[[noreturn]] void ThrowErrno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

struct Pipe {
  int read = -1;
  int write = -1;
};

Pipe MakePipe() {
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC) != 0) ThrowErrno("pipe2");
  return {fds[0], fds[1]};
}

std::string Join(const std::vector<std::string>& argv) {
  std::string line;
  for (const auto& word : argv) line += (line.empty() ? "" : " ") + word;
  return line;
}

}  // namespace

class Process::Impl {
 public:
  Impl(const std::vector<std::string>& argv, const Options& options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void ReadAll();
  std::optional<int> Reap(std::chrono::milliseconds timeout);

  pid_t pid = -1;
  int pidfd = -1;
  std::optional<int> exit_code;
  Pipe in, out, err;
  std::string input;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::string out_text, err_text;
  bool closed = false;
  std::thread reader;
};

Process::Impl::Impl(const std::vector<std::string>& argv, const Options& options)
    : in(MakePipe()), out(MakePipe()), err(MakePipe()), input(options.input) {
  // Everything that allocates is done before fork: another thread may hold the allocator's lock.
  std::vector<char*> args;
  args.reserve(argv.size() + 1);
  for (const auto& word : argv) args.push_back(const_cast<char*>(word.c_str()));
  args.push_back(nullptr);
  char** end = environ;
  while (*end != nullptr) ++end;
  std::vector<std::string> strings(environ, end);
  for (const auto& variable : options.env) {
    std::string assignment = variable.first + "=";
    std::erase_if(strings, [&](const std::string& other) { return other.starts_with(assignment); });
    assignment += variable.second;
    strings.push_back(std::move(assignment));
  }
  std::vector<char*> env;
  env.reserve(strings.size() + 1);
  for (auto& variable : strings) env.push_back(variable.data());
  env.push_back(nullptr);
  int netns = options.netns != nullptr ? options.netns->fd() : -1;

  pid = fork();
  if (pid < 0) ThrowErrno("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in.read, 0);
    dup2(out.write, 1);
    dup2(err.write, 2);
    if (netns >= 0 && setns(netns, CLONE_NEWNET) != 0) _exit(126);
    execvpe(args[0], args.data(), env.data());
    _exit(127);
  }
  pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  close(in.read);
  close(out.write);
  close(err.write);
  reader = std::thread([this] { ReadAll(); });
}

Process::Impl::~Impl() {
  if (!exit_code) {
    kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  {
    // A grandchild may hold the pipes open: do not wait for it.
    std::lock_guard lock(mutex);
    closed = true;
  }
  reader.join();
  close(pidfd);
  close(out.read);
  close(err.read);
}

void Process::Impl::ReadAll() {
  size_t written = 0;
  if (!input.empty()) fcntl(in.write, F_SETFL, O_NONBLOCK);
  if (input.empty()) close(std::exchange(in.write, -1));
  bool out_open = true;
  bool err_open = true;
  while (out_open || err_open) {
    std::array<pollfd, 3> fds{
        {{out_open ? out.read : -1, POLLIN, 0}, {err_open ? err.read : -1, POLLIN, 0}, {in.write, POLLOUT, 0}}};
    int ready = poll(fds.data(), fds.size(), 50);
    std::array<char, 65536> buffer;
    for (int i = 0; i < 2 && ready > 0; ++i) {
      if (fds[i].revents == 0) continue;
      ssize_t n = read(fds[i].fd, buffer.data(), buffer.size());
      if (n <= 0) (i == 0 ? out_open : err_open) = false;
      std::lock_guard lock(mutex);
      if (n > 0) (i == 0 ? out_text : err_text).append(buffer.data(), static_cast<size_t>(n));
      changed.notify_all();
    }
    if (ready > 0 && fds[2].revents != 0) {
      ssize_t n = write(in.write, input.data() + written, input.size() - written);
      if (n > 0) written += static_cast<size_t>(n);
      if ((n < 0 && errno != EAGAIN) || written == input.size()) close(std::exchange(in.write, -1));
    }
    std::lock_guard lock(mutex);
    if (ready == 0 && closed) break;
  }
  if (in.write >= 0) close(in.write);
  std::lock_guard lock(mutex);
  closed = true;
  changed.notify_all();
}

std::optional<int> Process::Impl::Reap(std::chrono::milliseconds timeout) {
  if (exit_code) return exit_code;
  pollfd ended{pidfd, POLLIN, 0};
  if (poll(&ended, 1, static_cast<int>(timeout.count())) <= 0) return std::nullopt;
  int status = 0;
  if (waitpid(pid, &status, WNOHANG) != pid) return std::nullopt;
  exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code;
}

Process::Process(const std::vector<std::string>& argv, const Options& options)
    : impl_(std::make_unique<Impl>(argv, options)) {}
Process::~Process() = default;

pid_t Process::pid() const { return impl_->pid; }

std::string Process::Out() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->out_text;
}

std::string Process::Err() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->err_text;
}

bool Process::WaitForOutput(const std::string& text, std::chrono::milliseconds timeout) {
  auto seen = [&] {
    return impl_->out_text.find(text) != std::string::npos || impl_->err_text.find(text) != std::string::npos;
  };
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait_for(lock, timeout, [&] { return seen() || impl_->closed; });
  return seen();
}

void Process::Signal(int signal) const {
  if (!impl_->exit_code) kill(impl_->pid, signal);
}

std::optional<int> Process::Wait(std::chrono::milliseconds timeout) {
  auto code = impl_->Reap(timeout);
  if (code) {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait_for(lock, std::chrono::milliseconds(500), [&] { return impl_->closed; });
  }
  return code;
}

std::optional<int> Process::Terminate(std::chrono::milliseconds timeout) {
  Signal(SIGTERM);
  return Wait(timeout);
}

Completed RunCommand(const std::vector<std::string>& argv, const ProcessOptions& options,
                     std::chrono::milliseconds timeout) {
  Process process(argv, options);
  auto code = process.Wait(timeout);
  if (!code) throw std::runtime_error("not over in time: " + Join(argv) + "\n" + process.Out() + process.Err());
  return {*code, process.Out(), process.Err()};
}

std::string RunOrThrow(const std::vector<std::string>& argv, const ProcessOptions& options) {
  Completed done = RunCommand(argv, options);
  if (done.exit_code == 0) return done.out;
  throw std::runtime_error(Join(argv) + ": exit code " + std::to_string(done.exit_code) + "\n" + done.out + done.err);
}

}  // namespace sluice::test
