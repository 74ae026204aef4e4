// Runs seeds of the simulated world.
//
//   sim_seeds --from 1 --count 1000          the quick suite
//   sim_seeds --seed 4711 --verbose --capture seed.pcapng
//   sim_seeds --from 1 --count 200 --workers 4   hosts with several workers behind an RSS NIC
//
// The first failure prints its seed, the checker's text, the workers' trace rings and the command that repeats it,
// writes a capture and ends the run with status 1.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/planted.h"
#include "sim/world.h"

namespace {

using millrace::sim::Outcome;
using millrace::sim::Plan;
using millrace::sim::World;
using millrace::sim::WorldOptions;

struct Options {
  uint64_t from = 1;
  uint64_t count = 1'000;
  bool single = false;
  bool verbose = false;
  uint32_t workers = 1;  ///< of one host or both
  bool replay = false;  ///< record each seed, replay it, run it twice and compare
  std::string capture;
  std::string planted;
};

struct Current {
  uint64_t seed = 0;
  World* world = nullptr;
  const Options* options = nullptr;
} g_current;

void write_capture(const World& world, const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  const auto& bytes = world.capture().bytes();
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  std::cout << "capture: " << path << "\n";
}

void report(World& world, const std::string& what) {
  const Options& options = *g_current.options;
  std::cout << "FAILED seed " << g_current.seed << ": " << what << "\n"
            << Plan::from_seed(g_current.seed, options.workers).describe();
  std::cout << world.statistics() << world.traces(options.verbose ? 400 : 40);
  if (options.planted.empty()) {
    write_capture(world, options.capture.empty() ? "sim-seed-" + std::to_string(g_current.seed) + ".pcapng"
                                                 : options.capture);
  }
  std::cout << "again: sim_seeds --seed " << g_current.seed
            << (options.workers == 1 ? "" : " --workers " + std::to_string(options.workers))
            << (options.planted.empty() ? "" : " --planted " + options.planted) << " --verbose\n";
  std::cout.flush();
}

void on_panic(const char* expression, const char* file, int line) {
  if (g_current.world == nullptr) return;
  report(*g_current.world, std::string("assertion failed: ") + expression + " at " + file + ":" + std::to_string(line));
  std::_Exit(1);
}

[[noreturn]] void usage(const std::string& wrong) {
  std::cerr << wrong << "\nusage: sim_seeds [--from A] [--count N] [--seed X] [--capture FILE] [--replay] [--verbose]"
            << " [--workers N]"
            << " [--planted BUG]\nexample: sim_seeds --from 1 --count 1000\n";
  std::exit(2);
}

void switch_on([[maybe_unused]] const std::string& bug) {
#ifdef MILLRACE_PLANTED
  for (size_t i = 0; i < std::size(millrace::base::kPlantedRows); ++i) {
    if (bug != millrace::base::kPlantedRows[i].name) continue;
    millrace::base::g_planted = 1u << i;
    return;
  }
  usage("no planted bug is called " + bug);
#else
  usage("this build has no planted bugs (cmake --preset planted)");
#endif
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) usage(arg + " needs a value");
      return argv[++i];
    };
    const auto number = [&] { return std::strtoull(value().c_str(), nullptr, 10); };
    if (arg == "--from") {
      o.from = number();
    } else if (arg == "--count") {
      o.count = number();
    } else if (arg == "--seed") {
      o.from = number();
      o.count = 1;
      o.single = true;
    } else if (arg == "--capture") {
      o.capture = value();
    } else if (arg == "--planted") {
      o.planted = value();
    } else if (arg == "--verbose") {
      o.verbose = true;
    } else if (arg == "--workers") {
      o.workers = static_cast<uint32_t>(number());
    } else if (arg == "--replay") {
      o.replay = true;
    } else {
      usage("unknown argument " + arg);
    }
  }
  return o;
}

// Same seed, same frames; same inputs, same outputs.
std::string run_again(uint64_t seed, uint32_t workers, uint64_t digest) {
  WorldOptions options;
  options.record = true;
  World world(Plan::from_seed(seed, workers), options);
  const Outcome outcome = world.run();
  if (outcome.digest != digest) return "a second run of the seed gave other frames";
  for (int i = 0; i < 2; ++i) {
    for (uint32_t worker = 0; worker < world.host(i).workers(); ++worker) {
      const std::string difference = millrace::sim::replay(world.recording(i, worker));
      if (difference.empty()) continue;
      return "host " + std::to_string(i) + ", worker " + std::to_string(worker) + ": " + difference;
    }
  }
  return {};
}

bool run_one(uint64_t seed, const Options& options, uint64_t& payload) {
  WorldOptions world_options;
  if (options.single && !options.capture.empty()) world_options.snap_length = 65'535 + 14;
  World world(Plan::from_seed(seed, options.workers), world_options);
  g_current = {seed, &world, &options};
  Outcome outcome = world.run();
  if (outcome.failure.empty() && outcome.weak() && options.planted.empty()) {
    outcome.failure = std::to_string(outcome.bytes_under_faults) + " bytes went through " +
                      std::to_string(outcome.fault_kinds) + " kinds of fault: a seed owes 1 MB and three kinds";
  }
  if (outcome.failure.empty() && options.replay) outcome.failure = run_again(seed, options.workers, outcome.digest);
  if (!outcome.failure.empty()) {
    report(world, outcome.failure);
    g_current.world = nullptr;
    return false;
  }
  payload += outcome.payload_bytes;
  if (options.verbose) {
    std::printf("seed %llu: %llu bytes, %llu segments, %llu retransmitted, %u kinds of fault, %.3f s, digest %016llx\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(outcome.payload_bytes),
                static_cast<unsigned long long>(outcome.segments),
                static_cast<unsigned long long>(outcome.retransmissions), outcome.fault_kinds,
                static_cast<double>(outcome.ended.ns()) / 1e9, static_cast<unsigned long long>(outcome.digest));
    if (options.single) std::cout << Plan::from_seed(seed, options.workers).describe() << world.statistics();
  }
  if (options.single && !options.capture.empty()) write_capture(world, options.capture);
  g_current.world = nullptr;
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (!options.planted.empty()) switch_on(options.planted);
  millrace::base::set_panic_hook(&on_panic);
  const auto start = std::chrono::steady_clock::now();
  uint64_t payload = 0;
  for (uint64_t i = 0; i < options.count; ++i) {
    if (!run_one(options.from + i, options, payload)) return 1;
    if ((i + 1) % 100 == 0) {
      std::printf("%llu seeds\n", static_cast<unsigned long long>(i) + 1);
      std::fflush(stdout);
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%llu seeds clean, %.1f MB, %.1f s\n",
              static_cast<unsigned long long>(options.count), static_cast<double>(payload) / 1e6, took.count());
  return 0;
}
