// SPDX-License-Identifier: Apache-2.0
// A main for a fuzz target where libFuzzer is not: runs the saved corpus, and each of its inputs changed at random, the
// same in every run. What fails is written to a file, as libFuzzer does.
#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "fuzz.h"

extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxSize = 16'384;

std::string& Current() {
  static std::string input;
  return input;
}

void SaveCurrent() {
  const std::string path = "crash-" + std::to_string(std::hash<std::string>{}(Current()));
  std::ofstream(path, std::ios::binary) << Current();
  std::fprintf(stderr, "the input is in %s\n", std::filesystem::absolute(path).c_str());
}

void OnAbort(int) {
  SaveCurrent();
  std::_Exit(EXIT_FAILURE);
}

std::string Read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string Change(std::mt19937_64& random, std::string input, const std::string& donor) {
  for (uint64_t n = 1 + random() % 4; n > 0; --n) {
    const size_t at = random() % (input.size() + 1);
    const size_t length = random() % 16;
    switch (random() % 6) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(random());
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << random() % 8);
        break;
      case 2:
        input.erase(at, length);
        break;
      case 3:
        input.insert(at, input.substr(random() % (input.size() + 1), length * 4));
        break;
      case 4:
        input.insert(at, donor.substr(random() % (donor.size() + 1), length * 8));
        break;
      default:
        input.resize(at);
    }
  }
  if (input.size() > kMaxSize) input.resize(kMaxSize);
  return input;
}

void Run(std::string input) {
  Current() = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(Current().data()), Current().size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s CORPUS MILLISECONDS\n", argv[0]);
    return 2;
  }
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
  __sanitizer_set_death_callback(&SaveCurrent);
  std::signal(SIGABRT, &OnAbort);
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    corpus.push_back(Read(path));
    Run(corpus.back());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "there is nothing in %s\n", argv[1]);
    return EXIT_FAILURE;
  }
  std::mt19937_64 random(1);
  const auto end = Clock::now() + std::chrono::milliseconds(std::strtoul(argv[2], nullptr, 10));
  size_t changed = 0;
  for (; Clock::now() < end; ++changed) {
    const std::string& donor = corpus[random() % corpus.size()];
    Run(Change(random, corpus[random() % corpus.size()], donor));
  }
  std::printf("%zu inputs, and %zu changed ones\n", corpus.size(), changed);
  return EXIT_SUCCESS;
}
