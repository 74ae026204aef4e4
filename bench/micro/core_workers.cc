// Whether workers share anything that costs: cycles per 64-byte request and response of one worker alone, of two
// workers of one process at once (each with its client in process, hand-over rings polled at every burst, tables
// followed), and of two processes with one worker each at once. The last says what the machine itself takes when both
// CPUs are busy, so that the second against it is what sharing costs. Each runs in processes of its own, in turns.
//
//   bench_core_workers [--rounds N] [--turns N] [--cpus A,B] [CONNECTIONS of each worker]
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <fmt/core.h>

#include "echo_rounds.h"
#include "runtime/cpu.h"
#include "runtime/exchange.h"

using namespace millrace;

namespace {

constexpr uint32_t kWorkers = 2;
constexpr int kWarmUp = 2;

struct Options {
  int rounds = 9;
  int turns = 5;
  std::array<uint32_t, kWorkers> cpus{0, 1};
  uint32_t connections = 256;
};

// Between the processes of one measurement.
struct Shared {
  std::atomic<uint32_t> ready{0};
  std::atomic<uint32_t> done{0};
  std::array<double, kWorkers> cycles{};  // medians
};

// Measured rounds begin when all are ready, and go on, uncounted, until all are done.
template <class Round>
void measure(Shared& shared, uint32_t all, uint32_t self, int rounds, Round&& round) {
  for (int i = 0; i < kWarmUp; ++i) (void)round();
  ++shared.ready;
  while (shared.ready < all) _mm_pause();
  std::vector<double> samples(static_cast<size_t>(rounds));
  for (double& sample : samples) sample = round();
  std::sort(samples.begin(), samples.end());
  shared.cycles[self] = samples[samples.size() / 2];
  ++shared.done;
  while (shared.done < all) (void)round();
}

void pin(uint32_t cpu) {
  if (!runtime::run_on_cpu(cpu)) std::perror("cannot run on the CPU");
}

void one_worker(Shared& shared, uint32_t all, uint32_t self, const Options& options) {
  pin(options.cpus[self]);
  bench::Seat seat(options.connections, true);
  seat.peer.open(options.connections);
  bench::EchoRounds echo(seat.worker, seat.peer);
  measure(shared, all, self, options.rounds, [&] { return echo.run(); });
}

void two_workers(Shared& shared, const Options& options) {
  std::array<uint16_t, 128> table;
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint16_t>(i % kWorkers);
  std::array<uint8_t, steer::kKeyBytes> key;
  base::Rng rng(3);
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(rng.next());
  const steer::ShardMap map(kWorkers, key, table, true);
  runtime::Exchange exchange(kWorkers);
  std::vector<runtime::Waker> wakers;
  std::vector<std::unique_ptr<bench::Seat>> seats;
  for (uint32_t i = 0; i < kWorkers; ++i) wakers.push_back(*runtime::Waker::make());
  for (uint32_t i = 0; i < kWorkers; ++i) {
    seats.push_back(std::make_unique<bench::Seat>(options.connections, true, &map, i));
    seats[i]->peer.set_shard(map, i, [&] { exchange.settle(seats[0]->peer.now()); });
    exchange.attach(i, seats[i]->worker, wakers[i]);
  }
  seats[0]->peer.add_neighbours(4 * kWorkers * options.connections);
  for (const auto& seat : seats) seat->peer.open(options.connections);
  const auto run = [&](uint32_t i) {
    pin(options.cpus[i]);
    bench::EchoRounds echo(seats[i]->worker, seats[i]->peer);
    measure(shared, kWorkers, i, options.rounds,
            [&] { return echo.run([&](Instant now) { exchange.take_in(i, now); }, [&] { exchange.hand_out(i); }); });
  };
  std::thread other([&] { run(1); });
  run(0);
  other.join();
  for (const auto& seat : seats) MR_ASSERT(seat->worker.check().empty());
  exchange.clear();
}

// Runs each part in a process of its own; the mean of the medians of all workers.
template <class... Part>
double in_processes(uint32_t workers, Part&&... parts) {
  void* room = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  MR_ASSERT(room != MAP_FAILED);
  auto* shared = new (room) Shared();
  std::vector<pid_t> children;
  const auto start = [&](auto& part) {
    const pid_t pid = fork();
    if (pid == 0) {
      part(*shared);
      _exit(0);
    }
    children.push_back(pid);
  };
  (start(parts), ...);
  for (const pid_t pid : children) {
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) {
      fmt::print(stderr, "a part of the measurement failed\n");
      std::exit(1);
    }
  }
  double sum = 0;
  for (uint32_t i = 0; i < workers; ++i) sum += shared->cycles[i];
  munmap(room, sizeof(Shared));
  return sum / workers;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* flag) { return std::strcmp(argv[i], flag) == 0 && i + 1 < argc; };
    if (is("--rounds")) {
      options.rounds = std::max(1, std::atoi(argv[++i]));
    } else if (is("--turns")) {
      options.turns = std::max(1, std::atoi(argv[++i]));
    } else if (is("--cpus")) {
      char* rest = nullptr;
      options.cpus[0] = static_cast<uint32_t>(std::strtoul(argv[++i], &rest, 10));
      if (*rest == ',') options.cpus[1] = static_cast<uint32_t>(std::strtoul(rest + 1, nullptr, 10));
    } else {
      options.connections = static_cast<uint32_t>(std::clamp(std::atol(argv[i]), 1L, 1'000'000L));
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<double> alone, together, apart, to_one, to_apart;
  for (int turn = 0; turn < options.turns; ++turn) {
    alone.push_back(in_processes(1, [&](Shared& s) { one_worker(s, 1, 0, options); }));
    together.push_back(in_processes(kWorkers, [&](Shared& s) { two_workers(s, options); }));
    apart.push_back(in_processes(
        kWorkers, [&](Shared& s) { one_worker(s, kWorkers, 0, options); },
        [&](Shared& s) { one_worker(s, kWorkers, 1, options); }));
    to_one.push_back(together.back() / alone.back());
    to_apart.push_back(together.back() / apart.back());
  }
  fmt::print("{} connections a worker, {} turns of {} rounds; TSC cycles/request, medians\n", options.connections,
             options.turns, options.rounds);
  fmt::print("one worker alone                       {:6.0f}\n", median(alone));
  fmt::print("two processes of one worker, at once   {:6.0f}\n", median(apart));
  fmt::print("two workers of one process, at once    {:6.0f}\n", median(together));
  fmt::print("two workers to one alone               {:6.3f}\n", median(to_one));
  fmt::print("two workers to two processes           {:6.3f}\n", median(to_apart));
}
