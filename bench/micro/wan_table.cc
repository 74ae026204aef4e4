// The WAN table: how a long transfer and transfers of 64 KB fare over round trips, loss rates, queues and controllers,
// in virtual time; and how flows share a bottleneck. The path is that of millrace-link. Markdown on standard output,
// all runs as JSON with --json.
//
//   bench_wan_table [--controllers a,b] [--rtt MS,...] [--loss PERCENT,...] [--queue BDP,...] [--rate MBPS]
//                   [--seeds N] [--seconds S] [--short N] [--json FILE] [--fairness]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/dumbbell.h"
#include "tcp/cc/controller.h"

namespace {

using millrace::Duration;
using millrace::Instant;
using millrace::milliseconds;
using millrace::seconds;
using millrace::impair::PathConfig;
using millrace::sim::Dumbbell;
using millrace::sim::DumbbellConfig;
using millrace::sim::FlowPlan;
using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> controllers{std::begin(millrace::tcp::cc::kNames), std::end(millrace::tcp::cc::kNames)};
  std::vector<double> rtt_ms = {1, 20, 100, 300};
  std::vector<double> loss = {0, 0.1, 1, 3};
  std::vector<double> queue = {0.1, 1};
  double rate_mbps = 100;
  uint32_t seeds = 30;
  double seconds = 20;
  uint32_t transfers = 10;
  std::string json;
  bool fairness = false;
};

struct Cell {
  std::string controller;
  double rtt_ms, loss, queue;
};

constexpr uint64_t kShortBytes = 65'536;
constexpr int64_t kShortLimitSeconds = 60;  // of each transfer in the mean

Duration ms(double x) { return Duration(static_cast<int64_t>(x * 1e6)); }
Instant after(double s) { return Instant(static_cast<int64_t>(s * 1e9)); }

DumbbellConfig world(const Options& o, const Cell& cell, uint64_t seed) {
  DumbbellConfig config;
  PathConfig& path = config.bottleneck;
  path.bits_per_second = static_cast<uint64_t>(o.rate_mbps * 1e6);
  path.queue_bytes = millrace::impair::queue_bytes_of(path.bits_per_second, ms(cell.rtt_ms), cell.queue);
  path.loss = static_cast<uint32_t>(cell.loss / 100 * millrace::impair::kBillion);
  config.tcp.send_buffer = 32 << 20;
  config.tcp.receive_buffer = 32 << 20;
  config.seed = seed;
  return config;
}

/// Megabits a second that reached the receiver's program, from the connection's first packet on.
double long_transfer(const Options& o, const Cell& cell, uint64_t seed) {
  Dumbbell d(world(o, cell, seed), {{.controller = cell.controller, .round_trip = ms(cell.rtt_ms)}});
  d.run_until(after(o.seconds));
  return static_cast<double>(d.flow(0).bytes) * 8 / o.seconds / 1e6;
}

/// Milliseconds from the first SYN to the last byte, of connections one after the other.
void short_transfers(const Options& o, const Cell& cell, uint64_t seed, std::vector<double>& out) {
  std::vector<FlowPlan> flows;
  for (uint32_t i = 0; i < o.transfers; ++i) {
    flows.push_back({.controller = cell.controller,
                     .round_trip = ms(cell.rtt_ms),
                     .start = ms(cell.rtt_ms),
                     .bytes = kShortBytes,
                     .after = static_cast<int>(i) - 1});
  }
  Dumbbell d(world(o, cell, seed), flows);
  d.run_to_end(Instant(seconds(kShortLimitSeconds * o.transfers).ns()));
  for (uint32_t i = 0; i < o.transfers; ++i) {
    const auto& flow = d.flow(i);
    if (flow.began == millrace::kNever) break;
    const Instant end = flow.ended == millrace::kNever ? flow.began + seconds(kShortLimitSeconds) : flow.ended;
    out.push_back(static_cast<double>((end - flow.began).us()) / 1e3);
  }
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

Json measure(const Options& o, const Cell& cell) {
  std::vector<double> goodput;
  std::vector<double> times;
  for (uint32_t seed = 1; seed <= o.seeds; ++seed) {
    goodput.push_back(long_transfer(o, cell, seed));
    short_transfers(o, cell, seed, times);
  }
  return {{"controller", cell.controller},
          {"rtt_ms", cell.rtt_ms},
          {"loss_percent", cell.loss},
          {"queue_bdp", cell.queue},
          {"goodput_mbps",
           {{"median", quantile(goodput, 0.5)}, {"p10", quantile(goodput, 0.1)}, {"p90", quantile(goodput, 0.9)}}},
          {"short_ms", {{"median", quantile(times, 0.5)}, {"p99", quantile(times, 0.99)}, {"count", times.size()}}},
          {"goodput_all", goodput}};
}

/// One row for all controllers: goodput with its spread, and the short transfers.
void print_row(const Options& o, const Cell& first, const std::vector<Json>& cells) {
  fmt::print("| {:g} | {:g} | {:g} |", first.rtt_ms, first.queue, first.loss);
  for (const Json& c : cells) {
    const Json& g = c["goodput_mbps"];
    fmt::print(" {:.3g} ({:.3g}..{:.3g}) |", g["median"].get<double>(), g["p10"].get<double>(), g["p90"].get<double>());
  }
  if (o.transfers != 0) {
    for (const Json& c : cells) {
      fmt::print(" {:.0f}, {:.0f} |", c["short_ms"]["median"].get<double>(), c["short_ms"]["p99"].get<double>());
    }
  }
  fmt::print("\n");
  std::fflush(stdout);
}

Json wan_table(const Options& o) {
  fmt::print("| RTT, ms | queue, BDP | loss, % |");
  for (const auto& name : o.controllers) fmt::print(" {} |", name);
  if (o.transfers != 0) {
    for (const auto& name : o.controllers) fmt::print(" {}, 64 KB |", name);
  }
  fmt::print("\n|---|---|---|");
  for (size_t i = 0; i < o.controllers.size() * (o.transfers != 0 ? 2 : 1); ++i) fmt::print("---|");
  fmt::print("\n");
  Json all = Json::array();
  for (const double rtt : o.rtt_ms) {
    for (const double queue : o.queue) {
      for (const double loss : o.loss) {
        std::vector<Json> row;
        for (const auto& name : o.controllers) row.push_back(measure(o, {name, rtt, loss, queue}));
        print_row(o, {"", rtt, loss, queue}, row);
        for (Json& cell : row) all.push_back(std::move(cell));
      }
    }
  }
  return all;
}

/// (sum x)^2 / (n sum x^2): 1 when all are equal.
double jain(const std::vector<double>& x) {
  double sum = 0;
  double squares = 0;
  for (const double v : x) {
    sum += v;
    squares += v * v;
  }
  return squares == 0 ? 0 : sum * sum / (static_cast<double>(x.size()) * squares);
}

struct Mix {
  std::string name;
  std::vector<std::string> controllers;  ///< dealt out in turn
  std::vector<double> rtt_ms;            ///< likewise
};

struct Share {
  double fairness;
  std::vector<double> part;  ///< of the whole, by controller or round trip
  double used;               ///< of the rate
};

/// What flows get in the second half of the time, once they have found each other.
Share share(const Options& o, const Mix& mix, size_t flows, uint64_t seed) {
  std::vector<FlowPlan> plan;
  millrace::base::Rng rng(seed);
  for (size_t i = 0; i < flows; ++i) {
    plan.push_back({.controller = mix.controllers[i % mix.controllers.size()],
                    .round_trip = ms(mix.rtt_ms[i % mix.rtt_ms.size()]),
                    .start = milliseconds(static_cast<int64_t>(rng.below(100 * flows)))});
  }
  // A queue of one product of the longest round trip.
  const double longest = *std::max_element(mix.rtt_ms.begin(), mix.rtt_ms.end());
  DumbbellConfig config = world(o, {"", longest, 0, 1}, seed);
  config.tcp.send_buffer = 2 << 20;  // payload has a limit in all
  // Without any noise flows and drop-tail queue fall into step, and one flow's packets always find the queue full.
  config.bottleneck.jitter = millrace::microseconds(200);
  config.bottleneck.delay = millrace::microseconds(200);
  Dumbbell d(config, plan);
  d.run_until(after(o.seconds / 2));
  std::vector<double> got;
  for (size_t i = 0; i < flows; ++i) got.push_back(-static_cast<double>(d.flow(i).bytes));
  d.run_until(after(o.seconds));
  const size_t kinds = std::max(mix.controllers.size(), mix.rtt_ms.size());
  Share out{0, std::vector<double>(kinds), 0};
  double sum = 0;
  for (size_t i = 0; i < flows; ++i) {
    got[i] += static_cast<double>(d.flow(i).bytes);
    out.part[i % kinds] += got[i];
    sum += got[i];
  }
  for (double& part : out.part) part /= sum;
  out.fairness = jain(got);
  out.used = sum * 8 / (o.seconds / 2) / (o.rate_mbps * 1e6);
  return out;
}

Json fairness_table(const Options& o) {
  std::vector<Mix> mixes;
  for (const auto& name : o.controllers) mixes.push_back({name, {name}, {40}});
  for (const auto& name : o.controllers) mixes.push_back({name + ", 20 and 80 ms", {name}, {20, 80}});
  for (size_t i = 1; i < o.controllers.size(); ++i) {
    mixes.push_back({o.controllers[0] + " and " + o.controllers[i], {o.controllers[0], o.controllers[i]}, {40}});
  }
  fmt::print(
      "| flows | how many | Jain's index, median (least) | share of the first kind | used |\n|---|---|---|---|---|\n");
  Json all = Json::array();
  for (const Mix& mix : mixes) {
    for (const size_t flows : {2, 10, 50}) {
      std::vector<double> index;
      std::vector<double> first;
      std::vector<double> used;
      for (uint32_t seed = 1; seed <= o.seeds; ++seed) {
        const Share s = share(o, mix, flows, seed);
        index.push_back(s.fairness);
        first.push_back(s.part[0]);
        used.push_back(s.used);
      }
      fmt::print("| {} | {} | {:.3f} ({:.3f}) | {:.2f} | {:.2f} |\n", mix.name, flows, quantile(index, 0.5),
                 quantile(index, 0), quantile(first, 0.5), quantile(used, 0.5));
      std::fflush(stdout);
      all.push_back({{"mix", mix.name}, {"flows", flows}, {"jain", index}, {"first", first}, {"used", used}});
    }
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App cli("The WAN table in virtual time", "bench_wan_table");
  cli.add_option("--controllers", o.controllers, "names")->delimiter(',');
  cli.add_option("--rtt", o.rtt_ms, "round trips, ms")->delimiter(',');
  cli.add_option("--loss", o.loss, "percent of data frames")->delimiter(',');
  cli.add_option("--queue", o.queue, "bandwidth-delay products")->delimiter(',');
  cli.add_option("--rate", o.rate_mbps, "Mb/s of the bottleneck");
  cli.add_option("--seeds", o.seeds, "runs of each cell");
  cli.add_option("--seconds", o.seconds, "virtual seconds of a long transfer");
  cli.add_option("--short", o.transfers, "transfers of 64 KB in each run");
  cli.add_option("--json", o.json, "write all results to this file");
  cli.add_flag("--fairness", o.fairness, "shares of 2, 10 and 50 flows instead");
  CLI11_PARSE(cli, argc, argv);
  for (const auto& name : o.controllers) {
    if (millrace::tcp::cc::find_controller(name) != millrace::tcp::cc::kNoController) continue;
    fmt::print(stderr, "bench_wan_table: there is no controller {}\n", name);
    return 2;
  }
  const Json result = o.fairness ? fairness_table(o) : wan_table(o);
  if (!o.json.empty()) std::ofstream(o.json) << result.dump(1) << "\n";
  return 0;
}
