// SPDX-License-Identifier: Apache-2.0
// A match, a list of actions and a frame, one after the other, as the XDP plugin and its software path take them. The
// reference says what the frame is; the compiled match has to take the packets that the match takes. There is no
// kernel: maps are files that say yes.
#include <bpf/bpf.h>
#include <sys/mman.h>

#include <map>
#include <set>

#include "flow_compiler.h"
#include "fuzz.h"
#include "reference/parser.h"
#include "sluice/flow_text.h"
#include "soft/execute.h"
#include "soft/packet.h"

extern "C" {
int __wrap_bpf_map_create(enum bpf_map_type, const char* name, uint32_t, uint32_t, uint32_t,
                          const bpf_map_create_opts*) {
  return memfd_create(name, MFD_CLOEXEC);
}
int __wrap_bpf_map_update_elem(int, const void*, const void*, uint64_t) { return 0; }
int __wrap_bpf_map_delete_elem(int, const void*) { return 0; }
int __wrap_bpf_map_update_batch(int, const void*, const void*, uint32_t*, const bpf_map_batch_opts*) { return 0; }
}

namespace {

using namespace sluice;
using namespace sluice::xdp;

constexpr uint32_t kInPort = 1;
constexpr uint32_t kPorts = 4;
constexpr size_t kMaxFrame = 4'096;

// As a real object has it: what excludes each other shares its place.
KeyLayout MakeLayout() {
  static const std::map<std::string_view, int> kSharing = {{"ipv4", 1}, {"ipv6", 1}, {"arp", 1},  {"tcp", 2},
                                                           {"udp", 2},  {"sctp", 2}, {"icmp", 2}, {"icmpv6", 2}};
  std::map<std::string_view, uint16_t> used;  // bytes, by group
  std::map<int, uint16_t> widest;
  const auto in_packet = [](const FieldInfo& field) {
    return field.id > Field::in_port && field.id <= Field::arp_tha && field.group != "nd" &&
           field.id != Field::tcp_flags;
  };
  const auto share = [&](const FieldInfo& field) {
    const auto found = kSharing.find(field.group);
    return found == kSharing.end() ? 0 : found->second;
  };
  for (const FieldInfo& field : kFields) {
    if (!in_packet(field)) continue;
    auto& size = share(field) == 0 ? widest[0] : used[field.group];
    size = static_cast<uint16_t>(size + field.size);
    widest[share(field)] = std::max(widest[share(field)], size);
  }
  std::map<int, uint16_t> base = {{0, 0}, {1, widest[0]}, {2, static_cast<uint16_t>(widest[0] + widest[1])}};
  KeyLayout layout;
  layout.size = (base[2] + widest[2] + 7U) / 8 * 8;
  used.clear();
  uint16_t alone = 0;
  for (const FieldInfo& field : kFields) {
    if (!in_packet(field)) continue;
    uint16_t& at = share(field) == 0 ? alone : used[field.group];
    layout.members[static_cast<size_t>(field.id)] = {static_cast<uint16_t>(base[share(field)] + at), field.size};
    at = static_cast<uint16_t>(at + field.size);
  }
  FUZZ_CHECK(layout.size <= kMaxKeyWords * 8);
  return layout;
}

struct Plugin {
  ObjectMeta meta;
  std::unique_ptr<Reclaimer> reclaimer;
  std::unique_ptr<Groups> groups;

  Plugin() {
    meta.key = MakeLayout();
    meta.actions = ~0U;
    meta.max_masks = SLUICE_MAX_MASKS;
    meta.max_edits = SLUICE_MAX_EDITS;
    reclaimer = *Reclaimer::Start();
    groups = *Groups::Create(*reclaimer);
    for (uint32_t port = 1; port <= kPorts; ++port) FUZZ_CHECK(groups->SetPort(port, port));
    reclaimer->Drain();
  }
};

class Sink : public soft::Sink {
 public:
  void Output(uint32_t, std::span<const uint8_t> frame) override { Look(frame); }
  void Flood(std::span<const uint8_t> frame) override { Look(frame); }
  void ToController(const sluice::ToController&, std::span<const uint8_t> frame, size_t) override { Look(frame); }

 private:
  void Look(std::span<const uint8_t> frame) {
    uint8_t sum = 0;
    for (const uint8_t byte : frame) sum = static_cast<uint8_t>(sum + byte);  // every byte is there
    sum_ = sum;
  }
  volatile uint8_t sum_ = 0;
};

void CheckCompiled(const Match& match, const KeyLayout& layout, const soft::Parsed& packet) {
  const auto compiled = CompileMatch(match, layout);
  if (!compiled) {
    FUZZ_CHECK(compiled.error().reason == "unsupported_field" || compiled.error().reason == "never_matches");
    return;
  }
  for (size_t i = 0; i < compiled->key.size(); ++i) FUZZ_CHECK((compiled->key[i] & ~compiled->mask[i]) == 0);
  if (packet.malformed != soft::Malformed::kNo) return;
  const KeyWords key = PacketKey(packet.key, packet.present, layout);
  bool takes = !compiled->in_port || *compiled->in_port == kInPort;
  for (size_t i = 0; i < key.size(); ++i) takes = takes && (key[i] & compiled->mask[i]) == compiled->key[i];
  const bool matches = soft::Matches(match, packet);
  FUZZ_CHECK(takes || !matches);
  FUZZ_CHECK(compiled->wider || takes == matches);
}

}  // namespace

// MATCH line feed ACTIONS line feed FRAME.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Plugin plugin;
  std::string_view rest = fuzz::Text(data, std::min(size, kMaxFrame));
  const auto line = [&] {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return text;
  };
  const auto match = ParseMatch(line());
  const auto actions = ParseActions(line());
  const std::span<const uint8_t> frame(reinterpret_cast<const uint8_t*>(rest.data()), rest.size());

  const soft::Parsed packet = soft::Parse(frame, kInPort);
  const reference::Parsed expected = reference::Parse(frame);
  FUZZ_CHECK((packet.malformed == soft::Malformed::kNo) == (expected.malformed == reference::Malformed::kNo));
  const Match exact = soft::ToMatch(packet);
  if (packet.malformed == soft::Malformed::kNo) {
    Match wanted = expected.key;
    wanted.SetExact(Field::in_port, kInPort);
    FUZZ_CHECK(FormatMatch(exact) == FormatMatch(wanted));
    FUZZ_CHECK(soft::Matches(exact, packet));
  }
  CheckCompiled(exact, plugin.meta.key, packet);
  if (match) CheckCompiled(*match, plugin.meta.key, packet);
  if (!actions) return 0;
  if (const auto compiled = CompileActions(*actions, plugin.meta, *plugin.groups, Wait::kForbidden)) {
    FUZZ_CHECK(compiled->edits.size() <= plugin.meta.max_edits);
    FUZZ_CHECK(compiled->terminal.type != SLUICE_ACTION_NONE);
  } else {
    FUZZ_CHECK(!compiled.error().reason.empty());
  }
  plugin.reclaimer->Poll();
  if (!soft::Check(*actions)) return 0;
  static soft::Frame edited;
  static Sink sink;
  edited.Assign(frame);
  soft::Execute(*actions, edited, packet.headers, sink);
  return 0;
}
