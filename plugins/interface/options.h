// SPDX-License-Identifier: Apache-2.0
// Options of a plugin or a port: strings by name, read one by one with their type; what nobody read is refused by name.
#pragma once

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "sluice/error.h"

namespace sluice {
inline namespace plugin_interface {  // its symbols are not libsluice's

class Options {
 public:
  using Map = std::map<std::string, std::string>;

  explicit Options(Map values) : values_(std::move(values)) {}

  // A JSON object; strings as they are, numbers and booleans as text. Null or empty text: no options.
  static Result<Options> FromJson(const char* text) {
    if (text == nullptr || *text == '\0') return Options(Map{});
    const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return Error{"bad_option", "the options are not a JSON object"};
    Map values;
    for (const auto& [name, value] : json.items()) {
      if (value.is_structured()) return Error{"bad_option", "option '" + name + "' is not a string"};
      values[name] = value.is_string() ? value.get<std::string>() : value.dump();
    }
    return Options(std::move(values));
  }

  [[nodiscard]] const Map& values() const { return values_; }

  Result<std::string> Choice(const std::string& name, std::initializer_list<const char*> choices,
                             const std::string& otherwise) {
    known_.insert(name);
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    std::string all;
    for (const char* choice : choices) {
      if (found->second == choice) return found->second;
      all += (all.empty() ? "" : ", ") + std::string(choice);
    }
    return Error{"bad_option", "option '" + name + "' is '" + found->second + "'; it takes one of: " + all};
  }

  Result<uint64_t> Number(const std::string& name, uint64_t otherwise, uint64_t least, uint64_t most) {
    known_.insert(name);
    const auto found = values_.find(name);
    if (found == values_.end()) return otherwise;
    const std::string& text = found->second;
    uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size() || value < least || value > most) {
      return Error{"bad_option", "option '" + name + "' is '" + text + "'; it takes a number from " +
                                     std::to_string(least) + " to " + std::to_string(most)};
    }
    return value;
  }

  std::string Text(const std::string& name, const std::string& otherwise) {
    known_.insert(name);
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }

  // After all that are known have been asked for: refuses the first that was not.
  [[nodiscard]] Result<void> CheckUnknown() const {
    for (const auto& [name, value] : values_) {
      if (known_.count(name) != 0) continue;
      std::string all;
      for (const auto& each : known_) {
        if (!all.empty()) all += ", ";
        all += each;
      }
      return Error{"unknown_option", std::string("there is no option '").append(name).append("'; there are: ") + all};
    }
    return {};
  }

 private:
  Map values_;
  std::set<std::string> known_;
};

}  // namespace plugin_interface
}  // namespace sluice
