// SPDX-License-Identifier: Apache-2.0
// flow dump --filter: which flows could share a packet with a match.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sluice/error.h"
#include "sluice/flow_text.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

class FlowFilter {
 public:
  // `expression` is match text that need not name the protocols its fields stand on. Ports may be given by name or, if
  // they are in `ports`, by number. Errors: as ParseMatch, but for Match::Validate.
  static Result<FlowFilter> Parse(std::string_view expression,
                                  const google::protobuf::RepeatedPtrField<v1::Port>& ports);
  FlowFilter(FlowFilter&&) noexcept;
  FlowFilter& operator=(FlowFilter&&) noexcept;
  ~FlowFilter();

  // For every field that both name, the values agree in the bits that both masks have, and the protocols that the
  // expression's fields stand on are not excluded by the flow's. A match that cannot be read counts as overlapping.
  [[nodiscard]] bool Overlaps(std::string_view match_text) const;

 private:
  class Ports;
  FlowFilter(Match match, std::unique_ptr<Ports> ports);

  Match match_;
  std::unique_ptr<Ports> ports_;
};

}  // namespace sluice::ctl
