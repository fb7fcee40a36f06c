// SPDX-License-Identifier: Apache-2.0
// The descriptor of a plugin that is written in C++: one line per plugin, and the barrier that exceptions stop at.
//
//   class MyPlugin {
//    public:
//     static Result<std::unique_ptr<MyPlugin>> Start(const sluice_plugin_host& host);  // its threads run when it
//     returns ~MyPlugin();                                                                     // and have ended after
//     this
//   };
//   SLUICE_DEFINE_PLUGIN(MyPlugin, "my_plugin", "1.0")
//
// Use it once in a plugin, at namespace scope of a .cpp file. An Error's reason does not cross the C interface, its
// detail does; an exception becomes -EFAULT with its text.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>

#include "sluice/error.h"
#include "sluice/plugin.h"

namespace sluice {
inline namespace plugin_interface {  // its symbols are not libsluice's

template <typename T>
int StartPlugin(const sluice_plugin_host* host, void** instance, char* error, size_t error_size) noexcept {
  try {
    auto started = T::Start(*host);
    if (!started) {
      std::snprintf(error, error_size, "%s", started.error().detail.c_str());
      return -EINVAL;
    }
    *instance = (*started).release();
    return 0;
  } catch (const std::exception& e) {
    std::snprintf(error, error_size, "%s", e.what());
  } catch (...) {
    std::snprintf(error, error_size, "unknown exception");
  }
  return -EFAULT;
}

template <typename T>
void StopPlugin(void* instance) noexcept {
  try {
    const std::unique_ptr<T> owned(static_cast<T*>(instance));
  } catch (...) {  // NOLINT(bugprone-empty-catch): nobody is left to tell
  }
}

}  // namespace plugin_interface
}  // namespace sluice

#define SLUICE_DEFINE_PLUGIN(Class, plugin_name, plugin_version)                    \
  extern "C" __attribute__((visibility("default")))                                 \
  const sluice_plugin_descriptor sluice_plugin = {SLUICE_PLUGIN_MAGIC,              \
                                                  SLUICE_PLUGIN_ABI,                \
                                                  sizeof(sluice_plugin_descriptor), \
                                                  plugin_name,                      \
                                                  plugin_version,                   \
                                                  &::sluice::StartPlugin<Class>,    \
                                                  &::sluice::StopPlugin<Class>};
