// SPDX-License-Identifier: Apache-2.0
// The C session of plugin.h on top of PluginSession: flows as text, one call a flow, and the book-keeping (instances,
// resync, last statistics) that a plugin in C should not have to do.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_map>

#include "sluice/flow_text.h"
#include "sluice/plugin_session.h"
#include "sluice/ufid.h"
#include "sluice/utf8.h"
#include "zmq_socket.h"

namespace {

using sluice::Ufid;
namespace v1 = sluice::v1;

constexpr size_t kReasonSize = 64;
constexpr size_t kDetailSize = 256;
constexpr size_t kStatsAtOnce = 256;

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// As far as ops->struct_size reaches: members that a plugin built against an older header does not know are null.
sluice_session_ops Known(const sluice_session_ops& ops) {
  sluice_session_ops known{};
  std::memcpy(&known, &ops, std::min<size_t>(ops.struct_size, sizeof(known)));
  return known;
}

template <typename Add>
void ForEachName(const char* list, Add add) {
  std::string_view rest = list != nullptr ? list : "";
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string_view name = rest.substr(0, comma);
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    if (!name.empty()) add(std::string(name));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
}

class Ports : public sluice::PortNames {
 public:
  void Put(const std::string& name, uint32_t number) {
    Remove(name);
    numbers_[name] = number;
    names_[number] = name;
  }
  void Remove(const std::string& name) {
    const auto it = numbers_.find(name);
    if (it == numbers_.end()) return;
    names_.erase(it->second);
    numbers_.erase(it);
  }
  [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override {
    const auto it = numbers_.find(name);
    return it == numbers_.end() ? std::nullopt : std::optional(it->second);
  }
  [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override {
    const auto it = names_.find(number);
    return it == names_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  std::map<std::string, uint32_t, std::less<>> numbers_;
  std::map<uint32_t, std::string> names_;
};

}  // namespace

struct sluice_session : private sluice::PluginSession::Handler {
 public:
  sluice_session(sluice::PluginSession::Settings settings, const sluice_session_ops& ops, void* user)
      : ops_(Known(ops)), user_(user), plugin_(settings.name), session_(std::move(settings), *this) {}

 private:
  struct Installed {
    uint64_t instance = 0;
    uint64_t round = 0;  // of the resync in which it was last put
  };
  // Reading of the plugin's statistics around deletions: before the first one of a batch, as its counters may go with
  // the flow, and after the last, as packets may have hit in between.
  struct Deletions {
    bool any = false;
    std::unordered_map<Ufid, uint64_t> instances;
    std::vector<v1::Verdict> verdicts;
  };

  void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) override {
    Deletions deletions;
    for (const auto& change : batch.changes()) {
      switch (change.body_case()) {
        case v1::Change::kPut:
          Put(change, deletions, reply);
          break;
        case v1::Change::kDel:
          Delete(change, deletions, reply);
          break;
        case v1::Change::kPortPut:
          PutPort(change.port_put(), reply);
          break;
        case v1::Change::kPortDel:
          DeletePort(change.port_del().name());
          break;
        default:
          break;
      }
    }
    if (batch.synced()) WithdrawStale(deletions, reply);
    Finish(deletions, reply);
  }

  void OnTick(v1::FromPlugin& out) override { ReadStats(out, {}); }

  void OnStop(bool keep, v1::FromPlugin& last) override {
    Deletions deletions;
    if (keep) {
      ReadStats(last, {});
      return;
    }
    ++round_;
    WithdrawStale(deletions, last);
    Finish(deletions, last);
  }

  void OnResync() override { ++round_; }

  void Put(const v1::Change& change, Deletions& deletions, v1::FromPlugin& reply) {
    const auto& state = change.put();
    auto& verdict = *reply.add_verdicts();
    verdict.set_ufid(state.ufid());
    verdict.set_instance(state.instance());
    verdict.set_seq(change.seq());
    const auto ufid = Ufid::FromBytes(state.ufid());
    const auto match = sluice::Match::Unpack(state.packed_match());
    if (!ufid || !match) {
      Say(verdict, SLUICE_FAILED, "bad_match", ufid ? match.error().detail : "the ufid does not have 16 bytes");
      return;
    }
    const auto it = flows_.find(*ufid);
    if (it != flows_.end() && it->second.instance != state.instance()) {
      // Another flow of the same name: for the plugin, the old one goes first.
      Remove(*ufid, it->second.instance, deletions, reply);
    }
    char reason[kReasonSize] = "";
    char detail[kDetailSize] = "";
    const int said = CallPut(*ufid, *match, state, reason, detail);
    reason[kReasonSize - 1] = detail[kDetailSize - 1] = '\0';
    Say(verdict, said, reason, detail);
    if (said == SLUICE_INSTALLED || said == SLUICE_SOFTWARE || said == SLUICE_PENDING) {
      flows_[*ufid] = {.instance = state.instance(), .round = round_};
    } else if (flows_.erase(*ufid) != 0) {
      // What it counted until now is still to be told.
      deletions.any = true;
      deletions.instances[*ufid] = state.instance();
    }
  }

  int CallPut(const Ufid& ufid, const sluice::Match& match, const v1::FlowState& state, char* reason, char* detail) {
    if (ops_.put == nullptr) {
      std::strncpy(reason, "unsupported", kReasonSize);
      std::strncpy(detail, "this plugin takes no flows", kDetailSize);
      return SLUICE_REFUSED;
    }
    const std::string text = sluice::FormatMatch(match, ports_);
    sluice_flow flow{};
    std::copy(ufid.bytes.begin(), ufid.bytes.end(), flow.ufid);
    flow.match = text.c_str();
    flow.actions = state.actions().c_str();
    flow.priority = state.priority();
    flow.instance = state.instance();
    return ops_.put(user_, &flow, reason, detail);
  }

  static void Say(v1::Verdict& verdict, int said, std::string_view reason, std::string_view detail) {
    verdict.set_time_ns(MonotonicNs());
    if (said < SLUICE_PENDING || said > SLUICE_FAILED) {
      verdict.set_state(v1::FAILED);
      verdict.set_reason("bad_verdict");
      verdict.set_detail("the plugin answered with " + std::to_string(said) + ", which is no verdict");
      return;
    }
    verdict.set_state(static_cast<v1::OffloadState>(said));
    verdict.set_reason(sluice::Utf8(reason));
    verdict.set_detail(sluice::Utf8(detail));
  }

  void Delete(const v1::Change& change, Deletions& deletions, v1::FromPlugin& reply) {
    const auto ufid = Ufid::FromBytes(change.del().ufid());
    if (ufid) {
      const auto it = flows_.find(*ufid);
      if (it != flows_.end()) Remove(*ufid, it->second.instance, deletions, reply);
    }
    auto& verdict = deletions.verdicts.emplace_back();
    verdict.set_ufid(change.del().ufid());
    verdict.set_instance(change.del().instance());
    verdict.set_seq(change.seq());
    verdict.set_deleted(true);
    verdict.set_time_ns(MonotonicNs());
  }

  void Remove(const Ufid& ufid, uint64_t instance, Deletions& deletions, v1::FromPlugin& out) {
    if (!std::exchange(deletions.any, true)) ReadStats(out, {});
    if (ops_.del != nullptr) ops_.del(user_, ufid.bytes.data());
    flows_.erase(ufid);
    deletions.instances[ufid] = instance;
  }

  // What the core did not put again in this round.
  void WithdrawStale(Deletions& deletions, v1::FromPlugin& out) {
    std::vector<std::pair<Ufid, uint64_t>> stale;
    for (const auto& [ufid, flow] : flows_) {
      if (flow.round != round_) stale.emplace_back(ufid, flow.instance);
    }
    for (const auto& [ufid, instance] : stale) Remove(ufid, instance, deletions, out);
    std::vector<std::string> stale_ports;
    for (const auto& [name, round] : port_rounds_) {
      if (round != round_) stale_ports.push_back(name);
    }
    for (const auto& name : stale_ports) DeletePort(name);
  }

  void Finish(Deletions& deletions, v1::FromPlugin& out) {
    if (deletions.any) ReadStats(out, deletions.instances);
    for (auto& verdict : deletions.verdicts) *out.add_verdicts() = std::move(verdict);
  }

  // `deleted`: instances of flows that are gone but may be counted once more.
  void ReadStats(v1::FromPlugin& out, const std::unordered_map<Ufid, uint64_t>& deleted) {
    if (ops_.stats == nullptr) return;
    for (size_t count = kStatsAtOnce; count == kStatsAtOnce;) {
      count = std::min(ops_.stats(user_, stats_.data(), stats_.size()), kStatsAtOnce);
      for (size_t i = 0; i < count; ++i) AddStats(stats_[i], deleted, out);
    }
  }

  void AddStats(const sluice_flow_stats& counted, const std::unordered_map<Ufid, uint64_t>& deleted,
                v1::FromPlugin& out) {
    Ufid ufid;
    std::copy(std::begin(counted.ufid), std::end(counted.ufid), ufid.bytes.begin());
    auto& stats = *out.add_stats();
    if (const auto it = flows_.find(ufid); it != flows_.end()) {
      stats.set_instance(it->second.instance);
    } else if (const auto gone = deleted.find(ufid); gone != deleted.end()) {
      stats.set_instance(gone->second);
    } else {
      out.mutable_stats()->RemoveLast();
      return;
    }
    stats.set_ufid(ufid.AsBytes().data(), ufid.bytes.size());
    stats.set_packets(counted.packets);
    stats.set_bytes(counted.bytes);
    stats.set_used_ns(counted.used_ns);
    stats.set_tcp_flags(counted.tcp_flags);
  }

  void PutPort(const v1::Port& port, v1::FromPlugin& reply) {
    ports_.Put(port.name(), port.number());
    auto& answer = *reply.add_ports();
    answer.set_name(port.name());
    answer.set_number(port.number());
    answer.set_plugin(plugin_);
    char detail[kDetailSize] = "";
    int failed = 0;
    if (ops_.port_add != nullptr) {
      const nlohmann::json options(std::map<std::string, std::string>(port.options().begin(), port.options().end()));
      const std::string text = options.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      failed = ops_.port_add(user_, port.name().c_str(), port.number(), text.c_str(), detail);
      detail[kDetailSize - 1] = '\0';
    }
    answer.set_state(failed == 0 ? "up" : "failed");
    answer.set_detail(sluice::Utf8(detail));
    if (failed == 0) {
      port_rounds_[port.name()] = round_;
    } else {
      Forget(port.name());
    }
  }

  void DeletePort(const std::string& name) {
    if (ops_.port_del != nullptr && ports_.Number(name)) ops_.port_del(user_, name.c_str());
    Forget(name);
  }

  void Forget(const std::string& port) {
    ports_.Remove(port);
    port_rounds_.erase(port);
  }

  const sluice_session_ops ops_;
  void* const user_;
  const std::string plugin_;
  Ports ports_;
  std::unordered_map<Ufid, Installed> flows_;
  std::map<std::string, uint64_t> port_rounds_;  // as Installed::round
  uint64_t round_ = 0;
  std::array<sluice_flow_stats, kStatsAtOnce> stats_{};
  sluice::PluginSession session_;  // last: its thread uses all the others
};

extern "C" sluice_session* sluice_session_start(const sluice_plugin_host* host, const char* version,
                                                const sluice_session_ops* ops, void* user) {
  if (host == nullptr || ops == nullptr) {
    errno = EINVAL;
    return nullptr;
  }
  try {
    auto settings = sluice::SessionSettings(*host);
    settings.version = version != nullptr ? version : "0";
    const auto ops_known = Known(*ops);
    ForEachName(ops_known.fields, [&](std::string name) { settings.capabilities.add_fields(std::move(name)); });
    ForEachName(ops_known.actions, [&](std::string name) { settings.capabilities.add_actions(std::move(name)); });
    return std::make_unique<sluice_session>(std::move(settings), *ops, user).release();
  } catch (const zmq::error_t& error) {
    errno = error.num();
  } catch (const std::system_error& error) {
    errno = error.code().value();
  } catch (...) {
    errno = ENOMEM;
  }
  return nullptr;
}

extern "C" void sluice_session_stop(sluice_session* session) { const std::unique_ptr<sluice_session> owned(session); }
