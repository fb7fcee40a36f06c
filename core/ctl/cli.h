// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sluice::ctl {

// All of sluicectl; returns the exit code.
int Run(int argc, char** argv);

}  // namespace sluice::ctl
