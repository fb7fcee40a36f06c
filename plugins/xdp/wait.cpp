// SPDX-License-Identifier: Apache-2.0
#include "wait.h"

namespace sluice::xdp {

Error NotYet(const std::string& what) {
  Error error;
  error.reason = "not_yet";
  error.detail = what + " has to wait for the kernel";
  return error;
}

}  // namespace sluice::xdp
