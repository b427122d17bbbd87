#include "cpu/workspace.hpp"

#include <cstdlib>
#include <new>

namespace pontryagin {

void Workspace::Free::operator()(void* pointer) const { std::free(pointer); }

void* Workspace::reserve(std::size_t bytes) {
  constexpr std::size_t line = 64;
  if (bytes > bytes_) {
    memory_.reset();
    bytes_ = 0;
    const std::size_t rounded = (bytes + line - 1) / line * line;
    void* memory = std::aligned_alloc(line, rounded);
    if (memory == nullptr) throw std::bad_alloc();
    memory_.reset(memory);
    bytes_ = rounded;
  }
  return memory_.get();
}

WorkspacePool::~WorkspacePool() {
  for (std::atomic<Workspace*>& place : idle_) delete place.load();
}

std::unique_ptr<Workspace> WorkspacePool::take() {
  for (std::atomic<Workspace*>& place : idle_)
    if (place.load(std::memory_order_relaxed) != nullptr)
      if (Workspace* found = place.exchange(nullptr, std::memory_order_acquire))
        return std::unique_ptr<Workspace>(found);
  return std::make_unique<Workspace>();
}

void WorkspacePool::give(std::unique_ptr<Workspace> workspace) {
  for (std::atomic<Workspace*>& place : idle_) {
    Workspace* none = nullptr;
    if (place.load(std::memory_order_relaxed) == nullptr &&
        place.compare_exchange_strong(none, workspace.get(), std::memory_order_release)) {
      (void)workspace.release();
      return;
    }
  }
}

}  // namespace pontryagin
