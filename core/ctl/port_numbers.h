// SPDX-License-Identifier: Apache-2.0
// The daemon's ports as names and numbers of flow text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/flow_text.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

// One thread: also looking up may add a name.
class PortNumbers : public PortNames {
 public:
  enum class Unknown {
    kRefused,   // the daemon's ports and no others, as the core reads flows
    kNumbered,  // names that it has no port for (of a flow whose port is gone) get numbers of their own, so that equal
                // names stay equal
  };
  PortNumbers(const google::protobuf::RepeatedPtrField<v1::Port>& ports, Unknown unknown);

  [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override;
  [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override;
  [[nodiscard]] bool AcceptsUnknownNumbers() const override { return unknown_ == Unknown::kNumbered; }

 private:
  Unknown unknown_;
  mutable std::map<std::string, uint32_t, std::less<>> numbers_;
  mutable std::map<uint32_t, std::string> names_;
  mutable uint32_t next_ = 0x80000000;
};

}  // namespace sluice::ctl
