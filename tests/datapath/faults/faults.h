// SPDX-License-Identifier: Apache-2.0
// System calls that fail when a test wants it: the linker puts these functions between the plugin and libbpf, libxdp
// and libc (--wrap, see CMakeLists.txt). Nothing in the plugin knows of it.
#pragma once

#include <string>

namespace sluice::test {

// From now on the `nth` (from 1) of the calls that are wrapped, by any thread, and the next one if `twice`,
// fails with `error` and does nothing.
void FailCall(unsigned nth, int error, bool twice = false);
// No call fails any more. The name of the one that did; empty: there were fewer.
std::string StopFailing();

}  // namespace sluice::test
