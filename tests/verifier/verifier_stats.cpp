// SPDX-License-Identifier: Apache-2.0
// verifier_stats OBJECT...: loads each BPF object as its user does and prints, as JSON, what the kernel's verifier says
// of every program (BPF_LOG_STATS). Attaches and pins nothing: all is gone when it ends.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/utsname.h>

#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "object.h"
#include "passes.h"

namespace {

using nlohmann::json;

constexpr uint32_t kLogStats = 4;       // the kernel's BPF_LOG_STATS
constexpr size_t kLogSize = 256 << 10;  // without a trace of the instructions it is some lines

struct Close {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};

// Of the load at hand.
json& Programs() {
  static json programs;
  return programs;
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the names that --wrap wants.
extern "C" {
int __real_bpf_object__load(bpf_object* object);
int __wrap_bpf_object__load(bpf_object* object) {
  std::vector<std::pair<bpf_program*, std::unique_ptr<char[]>>> logs;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    if (!bpf_program__autoload(program)) continue;
    logs.emplace_back(program, new char[kLogSize]());
    bpf_program__set_log_level(program, kLogStats);
    bpf_program__set_log_buf(program, logs.back().second.get(), kLogSize);
  }
  const int error = __real_bpf_object__load(object);
  for (const auto& [loaded, log] : logs) {
    Programs().push_back(
        {{"name", bpf_program__name(loaded)}, {"size", bpf_program__insn_cnt(loaded)}, {"log", log.get()}});
  }
  return error;
}
}
// NOLINTEND(bugprone-reserved-identifier)

namespace {

// The plugin's own way, up to the kernel: the sizes of maps and the configuration are known to the verifier. Empty, or
// why it cannot be.
std::string LoadAsPlugin(const std::string& path, bool frags) {
  sluice::xdp::ObjectOptions options;
  options.path = path;
  options.frags = frags;
  auto object = sluice::xdp::Object::Load(options);
  return object ? "" : object.error().detail;
}

// The object of later passes, both for one buffer and for several.
std::string LoadAsPasses(const std::string& path) {
  auto maps = sluice::xdp::PassMaps::Create();
  if (!maps) return maps.error().detail;
  sluice::xdp::PassOptions options;
  options.path = path;
  auto object = sluice::xdp::PassObject::Load(**maps, options);
  return object ? (*object)->why_no_ct() : object.error().detail;
}

// As it is in the file.
std::string LoadAsIs(bpf_object* object) {
  if (bpf_object__find_map_by_name(object, ".rodata.config") != nullptr) {
    return "it wants a configuration, and has no section .sluice_meta that tells which: verifier_stats.cpp does not "
           "know "
           "how it is loaded";
  }
  const int error = __wrap_bpf_object__load(object);
  return error == 0 ? "" : std::strerror(-error);
}

json Load(const std::string& path) {
  json loads = json::array();
  const auto add = [&](bool frags, const std::string& error) {
    loads.push_back(
        {{"path", path}, {"frags", frags}, {"error", error}, {"programs", std::exchange(Programs(), json::array())}});
  };
  Programs() = json::array();
  const std::unique_ptr<bpf_object, Close> object(bpf_object__open_file(path.c_str(), nullptr));
  const btf* types = object ? bpf_object__btf(object.get()) : nullptr;
  if (!object) {
    add(false, "libbpf cannot read it");
  } else if (bpf_object__find_program_by_name(object.get(), "sluice_lookup") != nullptr) {
    add(true, LoadAsPasses(path));
  } else if (types != nullptr && btf__find_by_name_kind(types, ".sluice_meta", BTF_KIND_DATASEC) > 0) {
    for (const bool frags : {false, true}) add(frags, LoadAsPlugin(path, frags));
  } else {
    add(false, LoadAsIs(object.get()));
  }
  return loads;
}

}  // namespace

int main(int argc, char** argv) {
  libbpf_set_print(nullptr);
  json loads = json::array();
  for (int i = 1; i < argc; ++i) {
    for (json& load : Load(argv[i])) loads.push_back(std::move(load));
  }
  utsname system{};
  uname(&system);
  std::cout << json{{"kernel", system.release}, {"loads", loads}}.dump(1) << "\n";
}
