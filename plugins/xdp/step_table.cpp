// SPDX-License-Identifier: Apache-2.0
#include "step_table.h"

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::xdp {
namespace {

// There is no padding in it (pass.h), so its bytes are its content.
std::string ContentOf(const sluice_step& step) {
  return std::string(std::string_view(reinterpret_cast<const char*>(&step), sizeof(step)));
}

}  // namespace

struct StepTable::State {
  explicit State(std::span<sluice_step> memory) : steps(memory) {}

  std::span<sluice_step> steps;
  uint32_t never_used = 0;  // this one and those after it
  std::vector<uint32_t> free;
  std::map<std::string, std::weak_ptr<const Step>> by_content;  // a step keeps its place in it
};

StepTable::StepTable(std::span<sluice_step> steps) : state_(std::make_shared<State>(steps)) {}

size_t StepTable::in_use() const { return state_->by_content.size(); }

void StepTable::ForEach(const std::function<void(const sluice_step& step)>& call) const {
  for (const auto& [content, step] : state_->by_content) {
    if (const auto held = step.lock()) call(state_->steps[held->index]);
  }
}

Result<std::shared_ptr<const Step>> StepTable::Acquire(const sluice_step& step, std::shared_ptr<const void> next) {
  State& state = *state_;
  const auto [found, fresh] = state.by_content.try_emplace(ContentOf(step));
  if (!fresh) {
    // It is taken out by its deleter, so it is there.
    return found->second.lock();
  }
  if (state.free.empty() && state.never_used == state.steps.size()) {
    state.by_content.erase(found);
    return Error{"table_full", "All " + std::to_string(state.steps.size()) +
                                   " steps between passes (ct, tnl_pop, tnl_push) are in use"};
  }
  if (state.free.empty()) state.free.push_back(state.never_used++);
  const uint32_t index = state.free.back();
  state.free.pop_back();
  state.steps[index] = step;
  ++taken_;
  std::shared_ptr<const Step> taken(new Step{index, std::move(next)},
                                    [shared = state_, found = found](const Step* gone) {
                                      shared->free.push_back(gone->index);
                                      shared->by_content.erase(found);
                                      delete gone;  // NOLINT(cppcoreguidelines-owning-memory)
                                    });
  found->second = taken;
  return taken;
}

}  // namespace sluice::xdp
