// SPDX-License-Identifier: Apache-2.0
// flow dump --filter: which flows could share a packet with a match.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "port_numbers.h"
#include "sluice/error.h"
#include "sluice/match.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

class FlowFilter {
 public:
  // `expression` is match text that need not name the protocols its fields stand on. Ports may be given by name or, if
  // they are in `ports`, by number. Errors: as ParseMatch, but for Match::Validate.
  static Result<FlowFilter> Parse(std::string_view expression,
                                  const google::protobuf::RepeatedPtrField<v1::Port>& ports);

  // For every field that both name, the values agree in the bits that both masks have, and the protocols that the
  // expression's fields stand on are not excluded by the flow's. A match that cannot be read counts as overlapping.
  [[nodiscard]] bool Overlaps(std::string_view match_text) const;

 private:
  FlowFilter(const Match& match, PortNumbers ports) : match_(match), ports_(std::move(ports)) {}

  Match match_;
  PortNumbers ports_;
};

}  // namespace sluice::ctl
