// SPDX-License-Identifier: Apache-2.0
// Numbered frames, more a second than a socket takes: made and noted by BPF programs (pump.bpf.c).
//
//   pump send DEVICE FRAME OFFSET RATE   sends FRAME (hexadecimal), with a number from 0 on as 4 bytes at OFFSET and a
//   word of its own
//                                        in the 4 after that, RATE times a second until SIGTERM; then prints "sent N"
//   pump receive DEVICE OFFSET           takes such frames off DEVICE until SIGTERM; prints "ready", "flowing" when the
//   first has
//                                        come, and "received N different D" whenever SIGUSR1 comes, and at the end
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr int kRun = 1 << 20;    // frames of one test run, which a signal ends
constexpr uint32_t kBatch = 32;  // each is delivered before the next is made

volatile std::sig_atomic_t ended = 0;
volatile std::sig_atomic_t asked = 0;

// As pump.bpf.c has them.
struct Config {
  uint32_t offset;
  uint32_t gap_ns;
};
struct Counts {
  uint64_t next, due_ns, received, different;
};

[[noreturn]] void Fail(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

template <typename T>
T Number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc() || end != text.data() + text.size()) {
    throw std::invalid_argument("not a number: " + std::string(text));
  }
  return value;
}

unsigned IfIndex(const char* device) {
  const unsigned ifindex = if_nametoindex(device);
  if (ifindex == 0) Fail(device);
  return ifindex;
}

class Programs {
 public:
  explicit Programs(const Config& config) : object_(bpf_object__open_file(PUMP_OBJECT, nullptr)) {
    if (object_ == nullptr) Fail(PUMP_OBJECT);
    bpf_map* map = bpf_object__find_map_by_name(object_.get(), ".rodata.config");
    if (int failed = bpf_map__set_initial_value(map, &config, sizeof(config)); failed != 0) Fail("config", -failed);
    if (int failed = bpf_object__load(object_.get()); failed != 0) Fail("loading " PUMP_OBJECT, -failed);
  }
  [[nodiscard]] int Program(const char* name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_.get(), name));
  }
  [[nodiscard]] int Map(const char* name) const { return bpf_object__find_map_fd_by_name(object_.get(), name); }
  [[nodiscard]] Counts Read() const {
    Counts counts{};
    const uint32_t zero = 0;
    if (bpf_map_lookup_elem(Map(".data.counts"), &zero, &counts) != 0) Fail("counts");
    return counts;
  }

 private:
  struct Close {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
  };
  std::unique_ptr<bpf_object, Close> object_;
};

void Send(const char* device, std::string_view text, uint32_t offset, uint64_t rate) {
  std::vector<uint8_t> frame;
  for (size_t i = 0; i + 1 < text.size(); i += 2) frame.push_back(Number<uint8_t>(text.substr(i, 2), 16));
  const Programs programs({offset, static_cast<uint32_t>(1'000'000'000 / rate)});
  const uint32_t zero = 0;
  const uint32_t ifindex = IfIndex(device);
  if (bpf_map_update_elem(programs.Map("tx"), &zero, &ifindex, BPF_ANY) != 0) Fail("tx");
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  run.batch_size = kBatch;
  run.repeat = kRun;
  while (ended == 0) {
    const int failed = bpf_prog_test_run_opts(programs.Program("pump_send"), &run);
    if (failed != 0 && failed != -EINTR) Fail("BPF_PROG_TEST_RUN", -failed);
  }
  std::printf("sent %llu\n", static_cast<unsigned long long>(programs.Read().next));
}

void Receive(const char* device, uint32_t offset) {
  const Programs programs({offset, 0});
  const int ifindex = static_cast<int>(IfIndex(device));
  if (int failed = bpf_xdp_attach(ifindex, programs.Program("pump_receive"), XDP_FLAGS_DRV_MODE, nullptr);
      failed != 0) {
    Fail("attaching to " + std::string(device), -failed);
  }
  std::puts("ready");
  const auto tell = [&] {
    const Counts counts = programs.Read();
    std::printf("received %llu different %llu\n", static_cast<unsigned long long>(counts.received),
                static_cast<unsigned long long>(counts.different));
  };
  bool flowing = false;
  while (ended == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!flowing && programs.Read().received != 0) {
      flowing = true;
      std::puts("flowing");
    }
    if (asked != 0) {
      asked = 0;
      tell();
    }
  }
  bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, nullptr);
  tell();
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = [](int) { ended = 1; };
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = [](int) { asked = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  const std::string_view what = argc > 1 ? argv[1] : "";
  try {
    if (what == "send" && argc == 6) {
      Send(argv[2], argv[3], Number<uint32_t>(argv[4]), Number<uint64_t>(argv[5]));
    } else if (what == "receive" && argc == 4) {
      Receive(argv[2], Number<uint32_t>(argv[3]));
    } else {
      std::fputs("usage: pump send DEVICE FRAME OFFSET RATE | pump receive DEVICE OFFSET\n", stderr);
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pump: %s\n", error.what());
    return 1;
  }
  return 0;
}
