// SPDX-License-Identifier: Apache-2.0
// Ports, plugins and the daemon's status as people and programs read them. Tables end with a line feed, lines do not.
#pragma once

#include <string>
#include <string_view>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

// Hexadecimal digits, upper or lower case; white space and ':' between bytes, and 0x in front, are read over. The error
// says what is wrong and where.
Result<std::string> ParseHex(std::string_view text);

// "5s", "2m 5s", "3h 2m 5s", "1d 3h 2m 5s".
std::string DurationText(uint64_t milliseconds);

// What plugins tell of a port under "mode", "warning" and "changed" (of the device) is shown wherever the port is; the
// rest of it is details.
std::string PortTable(const google::protobuf::RepeatedPtrField<v1::Port>& ports, size_t indent = 0);
std::string PortDetails(const v1::Port& port, size_t indent);
std::string PortCounters(const v1::Port& port, size_t indent);
std::string PluginTable(const google::protobuf::RepeatedPtrField<v1::Plugin>& plugins, size_t indent = 0);
// What a plugin can do: fields, actions, limits, options, path.
std::string PluginDetails(const v1::Plugin& plugin, size_t indent);
// How the records of each fared.
std::string PublisherTable(const google::protobuf::RepeatedPtrField<v1::Publisher>& publishers, size_t indent = 0);
std::string StatusText(const v1::Status& status);

// One port or plugin on one line: "p0: number 1, plugin xdp, up, mode native".
std::string PortLine(const v1::Port& port);
// What port add changed of the device; empty: nothing.
std::string PortChanges(const v1::Port& port);
// The counters that are not zero, on one line.
std::string PortActivity(const v1::Port& port);
std::string PluginLine(const v1::Plugin& plugin);

}  // namespace sluice::ctl
