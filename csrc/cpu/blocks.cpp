#include "cpu/blocks.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>

#include "cpu/pool.hpp"

namespace pontryagin {

namespace {

constexpr long most_chunks = 64;
constexpr double work_per_thread = 2e5;  // scalars: below some 100 microseconds a thread costs more than it brings
constexpr std::chrono::milliseconds poll_interval{50};

}  // namespace

Chunks::Chunks(long batch, Widths widths) : batch_(batch), widths_(widths) {
  full_ = batch / widths.widest;
  const long rest = batch % widths.widest;
  // One problem runs alone; few run on the middle pack; more fill a widest pack up.
  tail_blocks_ = rest == 0 ? 0 : rest <= 2L * widths.middle ? (rest + widths.middle - 1) / widths.middle : 1;
  blocks_ = full_ + tail_blocks_;
  count_ = static_cast<int>(std::min(blocks_, most_chunks));
}

Block Chunks::block(long index) const {
  if (index < full_) return {index * widths_.widest, widths_.widest, 2};
  const long begin = full_ * widths_.widest, rest = batch_ - begin;
  if (rest > 2L * widths_.middle) return {begin, static_cast<int>(rest), 2};
  const long first = begin + (index - full_) * widths_.middle;
  const int count = static_cast<int>(std::min<long>(widths_.middle, batch_ - first));
  return {first, count, count == 1 ? 0 : 1};
}

bool for_each_chunk(const Chunks& chunks, double work, int threads, Interrupted interrupted, ChunkBody body) {
  std::atomic<int> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto loop = [&](bool calling_thread) {
    auto polled = std::chrono::steady_clock::now();
    while (!stop) {
      const int chunk = next++;
      if (chunk >= chunks.count()) return;
      try {
        body(chunk);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        stop = true;
      }
      if (!calling_thread || interrupted == nullptr) continue;
      const auto now = std::chrono::steady_clock::now();
      if (now - polled < poll_interval) continue;
      polled = now;
      if (interrupted()) stop = true;
    }
  };
  const int useful = static_cast<int>(std::min<double>(threads, 1.0 + work / work_per_thread));
  const int others = std::max(0, std::min(useful, chunks.count()) - 1);
  const auto on_worker = [&loop] { loop(false); };
  const auto on_caller = [&loop] { loop(true); };
  run_with_others(others, Task(on_worker), Task(on_caller));
  if (failure) std::rethrow_exception(failure);
  return !stop;
}

}  // namespace pontryagin
