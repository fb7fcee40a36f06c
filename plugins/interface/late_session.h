// SPDX-License-Identifier: Apache-2.0
// A PluginSession for a Handler that itself asks for it: the session's thread may call the Handler, and the Handler
// Wake or Busy, before the session's constructor has returned.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "sluice/plugin_session.h"

namespace sluice {
inline namespace plugin_interface {  // its symbols are not libsluice's

class LateSession {
 public:
  // `handler` outlives this. Throws what PluginSession's constructor does.
  void Open(PluginSession::Settings settings, PluginSession::Handler& handler) {
    const std::lock_guard lock(opening_);
    session_ = std::make_unique<PluginSession>(std::move(settings), handler);
  }
  // Joins the session's thread. Not from a Handler's call.
  void Close() {
    std::unique_ptr<PluginSession> ending;  // goes after the lock, for which its thread may be waiting
    const std::lock_guard lock(opening_);
    std::swap(ending, session_);
  }

  // As PluginSession's. Nothing where there is no session, not yet or not any more.
  void Wake() {
    const std::lock_guard lock(opening_);
    if (session_ != nullptr) session_->Wake();
  }
  void Busy(uint32_t ms) {
    const std::lock_guard lock(opening_);
    if (session_ != nullptr) session_->Busy(ms);
  }

 private:
  std::mutex opening_;
  std::unique_ptr<PluginSession> session_;
};

}  // namespace plugin_interface
}  // namespace sluice
