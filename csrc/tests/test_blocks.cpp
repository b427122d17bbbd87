// Chunks of a batch over threads: each once, whoever runs it, and whatever became of the calls before.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "allocations.hpp"
#include "check.hpp"
#include "cpu/blocks.hpp"

using namespace pontryagin;

namespace {

constexpr double plenty = 1e9;  // work for any number of threads
const Chunks chunks(1000, {1, 8, 32});

// Whether a call runs every chunk once.
bool runs_each_once(int threads) {
  std::array<std::atomic<int>, 64> runs{};
  const auto body = [&runs](int chunk) { ++runs[static_cast<std::size_t>(chunk)]; };
  bool right = for_each_chunk(chunks, plenty, threads, nullptr, body);
  for (int chunk = 0; chunk < chunks.count(); ++chunk) right &= runs[static_cast<std::size_t>(chunk)] == 1;
  return right;
}

void every_chunk_runs_once() {
  for (int threads = 1; threads <= 6; ++threads)
    for (int call = 0; call < 500; ++call) CHECK(runs_each_once(threads), "%d threads, call %d", threads, call);
}

void workers_that_have_fallen_asleep_are_woken() {
  for (int call = 0; call < 50; ++call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::atomic<int> others{0};
    const std::thread::id caller = std::this_thread::get_id();
    const auto body = [&](int) {
      if (std::this_thread::get_id() != caller) ++others;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    };
    for_each_chunk(chunks, plenty, 4, nullptr, body);
    CHECK(others > 0, "call %d: the calling thread did everything", call);
  }
}

void callers_at_the_same_time_are_all_right() {
  std::atomic<int> wrong{0};
  const auto call_often = [&wrong] {
    for (int call = 0; call < 500; ++call) wrong += runs_each_once(3) ? 0 : 1;
  };
  std::array<std::thread, 3> callers;
  for (std::thread& caller : callers) caller = std::thread(call_often);
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0, "%d calls ran a chunk twice or not at all", wrong.load());
}

void the_first_exception_reaches_the_caller() {
  for (int call = 0; call < 100; ++call) {
    const char* message = "";
    try {
      for_each_chunk(chunks, plenty, 3, nullptr, [](int chunk) {
        if (chunk >= 5) throw std::runtime_error("chunk");
      });
    } catch (const std::runtime_error& error) {
      message = std::strcmp(error.what(), "chunk") == 0 ? "chunk" : "other";
    }
    CHECK(std::strcmp(message, "chunk") == 0, "call %d: '%s'", call, message);
    CHECK(runs_each_once(3), "the call after an exception, %d", call);
  }
}

void an_interrupted_call_stops() {
  const auto body = [](int) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
  CHECK(!for_each_chunk(chunks, plenty, 2, [] { return true; }, body), "not stopped");
  CHECK(runs_each_once(2), "the call after an interruption");
}

void a_forked_process_has_threads_of_its_own() {
  CHECK(runs_each_once(3), "before the fork");
  for (int round = 0; round < 5; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // rather than hang
      bool right = true;
      for (int call = 0; call < 100; ++call) right &= runs_each_once(3);
      _exit(right ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    CHECK(runs_each_once(3), "after the fork");
  }
}

void nothing_is_allocated_after_the_first_call() {
  if (!counts_allocations) return;
  runs_each_once(4);
  const long before = allocations();
  for (int call = 0; call < 100; ++call) runs_each_once(4);
  CHECK(allocations() == before, "%ld allocations", allocations() - before);
}

}  // namespace

int main() {
  every_chunk_runs_once();
  workers_that_have_fallen_asleep_are_woken();
  callers_at_the_same_time_are_all_right();
  the_first_exception_reaches_the_caller();
  an_interrupted_call_stops();
  a_forked_process_has_threads_of_its_own();
  nothing_is_allocated_after_the_first_call();
  return report();
}
