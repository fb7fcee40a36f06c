// SPDX-License-Identifier: Apache-2.0
// What reading, printing and packing a flow cost.
#include <benchmark/benchmark.h>

#include "random_flow.h"

namespace {

using namespace sluice;

constexpr const char* kTcp =
    "recirc_id(0),in_port(2),eth(src=52:54:00:aa:bb:01,dst=52:54:00:aa:bb:02),eth_type(0x0800),"
    "ipv4(src=10.1.0.0/255.255.0.0,dst=10.2.0.9,proto=6,frag=no),tcp(dst=443)";
constexpr const char* kTcp6 =
    "recirc_id(0),in_port(2),eth(src=52:54:00:aa:bb:01,dst=52:54:00:aa:bb:02),eth_type(0x86dd),"
    "ipv6(src=2001:db8:1::/ffff:ffff:ffff::,dst=2001:db8:2::9,proto=6,frag=no),tcp(dst=443)";
constexpr const char* kVlan =
    "recirc_id(0),in_port(2),eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),"
    "ipv4(dst=10.2.0.9,proto=17,frag=no),udp(src=53,dst=1024))";
constexpr const char* kActions = "set(eth(src=0a:00:00:00:00:11,dst=0a:00:00:00:00:12)),push_vlan(vid=5,pcp=0),4";
constexpr const char* kDump =
    "ufid:2f2b3c40-91d6-4d3a-b0a5-7b0a4c2b8c11, "
    "recirc_id(0),in_port(2),eth(src=52:54:00:aa:bb:01,dst=52:54:00:aa:bb:02),"
    "eth_type(0x0800),ipv4(src=10.1.0.0/255.255.0.0,dst=10.2.0.9,proto=6,frag=no),tcp(dst=443), packets:12, "
    "bytes:9000, "
    "used:1.008s, flags:P., actions:set(eth(src=0a:00:00:00:00:11,dst=0a:00:00:00:00:12)),push_vlan(vid=5,pcp=0),4";

void BM_ParseMatch(benchmark::State& state, const char* text) {
  if (!ParseMatch(text)) return state.SkipWithError("does not parse");
  for (auto _ : state) benchmark::DoNotOptimize(ParseMatch(text));
}
BENCHMARK_CAPTURE(BM_ParseMatch, tcp_10_fields, kTcp);
BENCHMARK_CAPTURE(BM_ParseMatch, tcp_ipv6, kTcp6);
BENCHMARK_CAPTURE(BM_ParseMatch, vlan_udp, kVlan);

void BM_FormatMatch(benchmark::State& state, const char* text) {
  const Match match = *ParseMatch(text);
  for (auto _ : state) benchmark::DoNotOptimize(FormatMatch(match));
}
BENCHMARK_CAPTURE(BM_FormatMatch, tcp_10_fields, kTcp);
BENCHMARK_CAPTURE(BM_FormatMatch, tcp_ipv6, kTcp6);
BENCHMARK_CAPTURE(BM_FormatMatch, vlan_udp, kVlan);

void BM_ParseActions(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(ParseActions(kActions));
}
BENCHMARK(BM_ParseActions);

void BM_FormatActions(benchmark::State& state) {
  const Actions actions = *ParseActions(kActions);
  for (auto _ : state) benchmark::DoNotOptimize(FormatActions(actions));
}
BENCHMARK(BM_FormatActions);

void BM_ParseFlow(benchmark::State& state) {
  if (!ParseFlow(kDump)) return state.SkipWithError("does not parse");
  for (auto _ : state) benchmark::DoNotOptimize(ParseFlow(kDump));
}
BENCHMARK(BM_ParseFlow);

void BM_Pack(benchmark::State& state) {
  const Match match = *ParseMatch(kTcp);
  for (auto _ : state) benchmark::DoNotOptimize(match.Pack());
}
BENCHMARK(BM_Pack);

void BM_Unpack(benchmark::State& state) {
  const std::string packed = ParseMatch(kTcp)->Pack();
  for (auto _ : state) benchmark::DoNotOptimize(Match::Unpack(packed));
}
BENCHMARK(BM_Unpack);

void BM_Validate(benchmark::State& state) {
  const Match match = *ParseMatch(kTcp);
  for (auto _ : state) benchmark::DoNotOptimize(match.Validate());
}
BENCHMARK(BM_Validate);

void BM_DeriveUfid(benchmark::State& state) {
  const Match match = *ParseMatch(kTcp);
  for (auto _ : state) benchmark::DoNotOptimize(match.DeriveUfid());
}
BENCHMARK(BM_DeriveUfid);

}  // namespace

BENCHMARK_MAIN();
