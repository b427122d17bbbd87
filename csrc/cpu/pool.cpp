#include "cpu/pool.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace pontryagin {

namespace {

// How long a thread looks for what it waits for before it sleeps; to be woken takes as long again.
constexpr std::chrono::microseconds patience{200};

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

template <class Condition>
bool came_soon(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + patience;
  do {
    for (int i = 0; i < 64; ++i) {
      if (condition()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return condition();
}

// Never destroyed: its workers sleep in it when the process ends.
class Pool {
 public:
  static Pool& instance();

  bool acquire() { return !taken_.exchange(true, std::memory_order_acquire); }
  void release() { taken_.store(false, std::memory_order_release); }

  // Between acquire and release.
  void run(int others, Task task, Task own) {
    grow(others);
    task_ = task;
    ended_ = 0;
    const int offered = others < workers_ ? others : workers_;
    tickets_ = offered;  // publishes the task
    if (asleep_ > 0) wake(work_, offered);
    own();
    const int begun = offered - tickets_.exchange(0);
    const auto all_ended = [&] { return ended_ == begun; };
    if (came_soon(all_ended)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    caller_asleep_ = true;
    end_.wait(lock, all_ended);
    caller_asleep_ = false;
  }

 private:
  void grow(int wanted) {
    while (workers_ < wanted) {
      try {
        std::thread([this] { work(); }).detach();
      } catch (const std::system_error&) {
        return;  // no more threads to be had: fewer do the rest
      }
      ++workers_;
    }
  }

  [[noreturn]] void work() {
    const auto offered = [this] { return tickets_ > 0; };
    for (;;) {
      if (!came_soon(offered)) {
        std::unique_lock<std::mutex> lock(mutex_);
        ++asleep_;
        work_.wait(lock, offered);
        --asleep_;
      }
      if (!take_ticket()) continue;
      task_();
      ++ended_;
      if (caller_asleep_) wake(end_, 1);
    }
  }

  bool take_ticket() {
    int left = tickets_;
    while (left > 0)
      if (tickets_.compare_exchange_weak(left, left - 1)) return true;
    return false;
  }

  // Whoever has counted itself asleep holds the mutex until it waits: it misses no call after this lock.
  void wake(std::condition_variable& sleepers, int count) {
    { const std::lock_guard<std::mutex> lock(mutex_); }
    for (int i = 0; i < count; ++i) sleepers.notify_one();
  }

  std::atomic<bool> taken_{false};
  int workers_ = 0;
  Task task_;
  alignas(64) std::atomic<int> tickets_{0};
  alignas(64) std::atomic<int> ended_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> caller_asleep_{false};
  std::mutex mutex_;
  std::condition_variable work_, end_;
};

std::atomic<Pool*> pool{nullptr};

// In the child of a fork, where the mutex may be held by a thread that is not there.
void forget_pool() { pool = nullptr; }

Pool& Pool::instance() {
  Pool* found = pool;
  if (found != nullptr) return *found;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
  Pool* const made = new Pool;
  if (pool.compare_exchange_strong(found, made)) return *made;
  delete made;
  return *found;
}

}  // namespace

void run_with_others(int others, Task task, Task own) {
  if (others <= 0) return own();
  Pool& shared = Pool::instance();
  if (!shared.acquire()) return own();
  shared.run(others, task, own);
  shared.release();
}

}  // namespace pontryagin
