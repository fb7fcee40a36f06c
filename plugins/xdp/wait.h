// SPDX-License-Identifier: Apache-2.0
// Some changes have the kernel wait until every packet that is under way has left the programs (8 to 50 ms).
#pragma once

#include <string>

#include "sluice/error.h"

namespace sluice::xdp {

enum class Wait {
  kAllowed,    // the call returns when it is done
  kForbidden,  // the call has the waiting done by the Reclaimer's thread, and fails with NotYet: nothing has changed,
               // and it is to be tried again when the Reclaimer has called back
};

Error NotYet(const std::string& what);
inline bool IsNotYet(const Error& error) { return error.reason == "not_yet"; }

}  // namespace sluice::xdp
